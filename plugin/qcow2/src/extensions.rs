//! Header extensions (specification, "Header extensions"): typed records between
//! the header and the end of the first cluster. Unknown ones are skipped; LUKS
//! headers belong to encrypted images, which are refused before.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use fumehood_plugin::read::parse_struct;
use fumehood_plugin::{Error, Result};
use zerocopy::big_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

const END: u32 = 0;
/// Format of the backing file.
pub const BACKING_FORMAT: u32 = 0xe279_2aca;
/// Names of feature bits: for messages only.
pub const FEATURE_NAMES: u32 = 0x6803_f857;
/// Ours ("Fhid"), which no specification names: the text of an identity that the
/// backing file must show. There is a record for each that will do. Other software
/// skips it.
pub const IDENTITY: u32 = 0x4668_6964;
const DATA_FILE: u32 = 0x4441_5441;
const BITMAPS: u32 = 0x2385_2875;

/// The longest name taken out of an extension, as for the backing file's name.
const NAME_LIMIT: usize = 1023;

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct RecordHeader {
    kind: U32,
    length: U32,
}

#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct FeatureNameEntry {
    kind: u8,
    bit: u8,
    name: [u8; 46],
}

#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct BitmapsRecord {
    count: U32,
    reserved: U32,
    directory_size: U64,
    directory_offset: U64,
}

/// Which feature word a feature name belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FeatureKind {
    /// A reader must know it.
    Incompatible = 0,
}

/// Where the directory of persistent bitmaps lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BitmapDirectory {
    /// Bitmaps it lists.
    pub count: u32,
    /// Its length in bytes.
    pub size: u64,
    /// Its offset in the file; not yet checked.
    pub offset: u64,
}

/// An extension as it stands in the header.
#[derive(Debug, Clone, Copy)]
pub struct Record<'a> {
    /// What it is.
    pub kind: u32,
    /// Its bytes, without padding.
    pub data: &'a [u8],
    /// Where those stand in the file.
    pub offset: u64,
}

/// The extensions in `area`, which stands at `offset` of the file, and where they
/// end, terminator included.
///
/// # Errors
/// [`Error::Corrupt`] for a record that reaches past the area.
pub fn records(area: &[u8], offset: u64) -> Result<(Vec<Record<'_>>, u64)> {
    let mut records = Vec::new();
    let (mut rest, mut at) = (area, offset);
    while rest.len() >= size_of::<RecordHeader>() {
        let header: RecordHeader = parse_struct(rest, 0, at, "header extension")?;
        let (kind, length) = (header.kind.get(), header.length.get() as usize);
        let body = rest.get(size_of::<RecordHeader>()..).unwrap_or_default();
        let data_offset = at + size_of::<RecordHeader>() as u64;
        if kind == END {
            return Ok((records, data_offset));
        }
        let data = body.get(..length).ok_or_else(|| {
            let what = format!(
                "expected header extension {kind:#010x} inside the {} bytes left, \
                 found a length of {length}",
                body.len()
            );
            Error::corrupt(at, what)
        })?;
        records.push(Record { kind, data, offset: data_offset });
        let padded = length.next_multiple_of(8);
        rest = body.get(padded..).unwrap_or_default();
        at = data_offset + padded as u64;
    }
    Ok((records, at))
}

/// Appends an extension to `area`.
pub fn append(area: &mut Vec<u8>, kind: u32, data: &[u8]) {
    // Callers keep data to a cluster at most.
    let header = RecordHeader { kind: U32::new(kind), length: U32::new(data.len() as u32) };
    area.extend_from_slice(header.as_bytes());
    area.extend_from_slice(data);
    area.resize(area.len().next_multiple_of(8), 0);
}

/// Ends the extensions in `area`.
pub fn terminate(area: &mut Vec<u8>) {
    append(area, END, &[]);
}

/// What the extensions say.
#[derive(Debug, Default)]
pub struct Extensions {
    /// Format of the backing file.
    pub backing_format: Option<String>,
    /// What the backing file must show to be the right one.
    pub parent_identities: Vec<String>,
    /// Name of the external data file.
    pub data_file: Option<String>,
    /// Persistent bitmaps.
    pub bitmaps: Option<BitmapDirectory>,
    feature_names: Vec<(u8, u8, String)>,
}

impl Extensions {
    /// Parses `area`, which stands at `offset` of the file and ends where the
    /// backing file's name or the cluster does.
    ///
    /// # Errors
    /// [`Error::Corrupt`] for a record that reaches past the area, and
    /// [`Error::Unsupported`] for a name that is not UTF-8.
    pub fn parse(area: &[u8], offset: u64) -> Result<Self> {
        let mut extensions = Self::default();
        let (records, _) = records(area, offset)?;
        for Record { kind, data, offset } in records {
            extensions.take(kind, data, offset)?;
        }
        Ok(extensions)
    }

    fn take(&mut self, kind: u32, data: &[u8], offset: u64) -> Result<()> {
        match kind {
            BACKING_FORMAT => self.backing_format = name(data, offset, "backing format")?,
            IDENTITY => self.parent_identities.extend(name(data, offset, "parent's identity")?),
            DATA_FILE => self.data_file = name(data, offset, "data file name")?,
            FEATURE_NAMES => self.take_feature_names(data, offset)?,
            BITMAPS => {
                let record: BitmapsRecord = parse_struct(data, 0, offset, "bitmaps extension")?;
                self.bitmaps = Some(BitmapDirectory {
                    count: record.count.get(),
                    size: record.directory_size.get(),
                    offset: record.directory_offset.get(),
                });
            }
            _ => {}
        }
        Ok(())
    }

    fn take_feature_names(&mut self, data: &[u8], offset: u64) -> Result<()> {
        // No word has more than 64 bits, and there are three words.
        for entry in data.chunks_exact(size_of::<FeatureNameEntry>()).take(3 * 64) {
            let entry: FeatureNameEntry = parse_struct(entry, 0, offset, "feature name")?;
            let text = String::from_utf8_lossy(until_nul(&entry.name)).into_owned();
            self.feature_names.push((entry.kind, entry.bit, text));
        }
        Ok(())
    }

    /// The image's own name for a feature bit.
    pub fn feature_name(&self, kind: FeatureKind, bit: u8) -> Option<&str> {
        let found = self.feature_names.iter().find(|name| name.0 == kind as u8 && name.1 == bit);
        found.map(|name| name.2.as_str()).filter(|name| !name.is_empty())
    }
}

/// A name out of the header, which ends at its length or at a NUL; `None` where it
/// is empty.
///
/// # Errors
/// [`Error::Corrupt`] above 1023 bytes, [`Error::Unsupported`] where it is not UTF-8.
pub fn name(bytes: &[u8], offset: u64, what: &str) -> Result<Option<String>> {
    let bytes = until_nul(bytes);
    if bytes.len() > NAME_LIMIT {
        let what =
            format!("expected a {what} of at most {NAME_LIMIT} bytes, found {}", bytes.len());
        return Err(Error::corrupt(offset, what));
    }
    match core::str::from_utf8(bytes) {
        Ok("") => Ok(None),
        Ok(text) => Ok(Some(text.to_string())),
        Err(_) => Err(Error::Unsupported(format!("the {what} at offset {offset} is not UTF-8"))),
    }
}

fn until_nul(bytes: &[u8]) -> &[u8] {
    bytes.split(|byte| *byte == 0).next().unwrap_or_default()
}
