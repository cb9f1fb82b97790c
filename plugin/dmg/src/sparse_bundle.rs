//! Sparse bundles: a folder with a property list and a file for each band that was
//! written, named by its number in hexadecimal.
//!
//! Source: keramics, "Mac OS sparse bundle format".

use alloc::boxed::Box;
use alloc::format;
use alloc::rc::Rc;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

use fumehood_plugin::{
    Access, Content, Disk, DiskInfo, Error, Extent, Extents, Host, Image, ImageInfo, Result,
    Source, SourceHandle, Stored,
};

use crate::sparse_image::{granularity, holding};
use crate::trailer::Place;
use crate::{ENCRYPTED, SECTOR, plist};

/// The type that the property list names.
const TYPE: &str = "com.apple.diskimage.sparsebundle";
/// The names of the list and of its copy.
const NAMES: [&str; 2] = ["Info.plist", "Info.bckup"];
/// The list as a document.
const DOCUMENT: &str = "Info.plist";
/// The only way of storing bands that is known.
const VERSION: u64 = 1;
/// Bands looked for in one answer: each is a file to open.
const MOST_BANDS: u64 = 1024;
/// A list longer than this is none of a bundle.
const MOST_LIST: u64 = 1 << 20;

/// Whether a file of this name, with these first bytes, is a bundle's list.
pub fn is_one(name: &str, head: &[u8]) -> bool {
    NAMES.iter().any(|known| name.eq_ignore_ascii_case(known))
        && head.windows(TYPE.len()).any(|part| part == TYPE.as_bytes())
}

/// An opened bundle.
pub struct SparseBundle {
    source: SourceHandle,
    host: Rc<dyn Host>,
    size: u64,
    band: u64,
    warnings: Vec<String>,
}

impl SparseBundle {
    /// Opens the bundle whose list is `source`.
    ///
    /// # Errors
    /// As [`fumehood_plugin::Format::open`].
    pub fn open(source: SourceHandle, host: Rc<dyn Host>) -> Result<Self> {
        let (size, band) = read_list(&*source)?;
        // The token of an encrypted bundle holds its keys; of others, nothing.
        if let Ok(token) = host.open("token", Access::Read)
            && token.read(0, token.size().min(8) as usize)? == ENCRYPTED
        {
            return Err(Error::Unsupported("an encrypted sparse bundle (encrcdsa)".into()));
        }
        let mut warnings = Vec::new();
        if size > 0 && open_band(&*host, 0)?.is_none() {
            warnings.push("the first band is missing: is this the whole bundle?".into());
        }
        Ok(Self { source, host, size, band, warnings })
    }
}

/// The disk's size and the bands', in bytes.
fn read_list(source: &dyn Source) -> Result<(u64, u64)> {
    let place = Place { offset: 0, length: source.size().min(MOST_LIST) };
    let text = plist::read_text(source, place)?;
    let document = plist::parse(source, 0, &text)?;
    let corrupt = |what: String| Error::corrupt_in(source.id(), 0, what);
    let list = plist::root(&document);
    let list = list.ok_or_else(|| corrupt("a property list without a dictionary".into()))?;
    if plist::string(list, "diskimage-bundle-type") != Some(TYPE) {
        return Err(Error::Unrecognised);
    }
    let number = |key: &str| {
        let missing = || corrupt(format!("a property list without the number {key:?}"));
        plist::integer(list, key).ok_or_else(missing)
    };
    if let Some(version) = plist::integer(list, "bundle-backingstore-version")
        && version != VERSION
    {
        let what = format!("a sparse bundle that stores its bands in version {version}");
        return Err(Error::Unsupported(what));
    }
    let (size, band) = (number("size")?, number("band-size")?);
    if band == 0 || band % SECTOR != 0 || size % SECTOR != 0 || i64::try_from(size).is_err() {
        return Err(corrupt(format!("a disk of {size} bytes in bands of {band}")));
    }
    Ok((size, band))
}

/// The file of a band, if there is one. One that is there and not granted is an error: it
/// does not read as zeroes.
fn open_band(host: &dyn Host, number: u64) -> Result<Option<SourceHandle>> {
    match host.open(&format!("bands/{number:x}"), Access::Read) {
        Ok(source) => Ok(Some(source)),
        Err(Error::Missing(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

impl Image for SparseBundle {
    fn info(&self) -> ImageInfo {
        let details =
            [("variant", "UDSB (sparse bundle)".to_string()), ("band size", self.band.to_string())];
        ImageInfo {
            details: details.map(|(name, value)| (name.to_string(), value)).into(),
            documents: vec![DOCUMENT.to_string()],
            snapshots: Vec::new(),
            warnings: self.warnings.clone(),
        }
    }

    fn disks(&self) -> Vec<DiskInfo> {
        vec![DiskInfo::new(self.size, granularity(self.band))]
    }

    fn disk(&self, number: u32) -> Result<Box<dyn Disk>> {
        if number != 0 {
            return Err(Error::OutOfRange);
        }
        let host = Rc::clone(&self.host);
        Ok(Box::new(BandFiles { host, size: self.size, band: self.band }))
    }

    fn document(&self, name: &str) -> Result<Vec<u8>> {
        if name != DOCUMENT {
            return Err(Error::Missing(name.to_string()));
        }
        let place = Place { offset: 0, length: self.source.size().min(MOST_LIST) };
        plist::read_text(&*self.source, place).map(String::into_bytes)
    }
}

/// An opened disk. Bands are opened when they are asked for, and their handles dropped:
/// the host knows them by number.
struct BandFiles {
    host: Rc<dyn Host>,
    size: u64,
    band: u64,
}

impl Disk for BandFiles {
    fn extents(&mut self, offset: u64, length: u64) -> Result<Vec<Extent>> {
        if offset >= self.size {
            return Err(Error::OutOfRange);
        }
        let end = offset.saturating_add(length.max(1)).min(self.size);
        let first = offset / self.band;
        let last = end.div_ceil(self.band).min(first.saturating_add(MOST_BANDS));
        let mut answer = Extents::new();
        for number in first..last {
            let start = number * self.band;
            let length = self.band.min(self.size - start);
            let mut held = 0;
            if let Some(source) = open_band(&*self.host, number)? {
                // What a band lacks at its end is zeroes.
                held = source.size().min(length);
                let stored = Stored { source: source.id(), offset: 0, writable: false };
                answer.push(start, held, Content::Stored(stored));
            }
            answer.push(start + held, length - held, Content::Zero);
        }
        Ok(holding(offset, answer))
    }
}
