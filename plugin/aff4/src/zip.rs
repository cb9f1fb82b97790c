//! The zip archive that an AFF4 volume is: its structures, where its directory lies, and
//! the contents of small members. What members mean is not known here.
//!
//! Source: PKWARE, APPNOTE.TXT, sections 4.3.7 (local header), 4.3.12 (directory), 4.3.14
//! to 4.3.16 (end records), 4.5.3 (zip64 field).

use alloc::format;
use alloc::vec::Vec;

use fumehood_plugin::read::{parse_struct, read_bytes, read_struct};
use fumehood_plugin::{Error, Result, Source};
use miniz_oxide::inflate::decompress_to_vec_with_limit;
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

/// Begins every local header, and so the file.
pub const LOCAL_SIGNATURE: [u8; 4] = *b"PK\x03\x04";
const ENTRY_SIGNATURE: [u8; 4] = *b"PK\x01\x02";
const END_SIGNATURE: [u8; 4] = *b"PK\x05\x06";
const LOCATOR_SIGNATURE: [u8; 4] = *b"PK\x06\x07";
const END64_SIGNATURE: [u8; 4] = *b"PK\x06\x06";

/// The longest comment behind the end record.
const MOST_COMMENT: u64 = 0xffff;
/// The field of an entry that holds what does not fit 32 bits.
const ZIP64_FIELD: u16 = 1;
/// Says that a value stands in the zip64 field or record.
const ELSEWHERE: u32 = u32::MAX;
const ELSEWHERE_SHORT: u16 = u16::MAX;

/// A local header.
#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct LocalHeader {
    signature: [u8; 4],
    /// Version, flags, method, time, date, checksum, sizes: the directory counts.
    repeated: [u8; 22],
    name_length: U16,
    extra_length: U16,
}

/// An entry of the directory; name, extra fields and comment follow.
#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct EntryHeader {
    signature: [u8; 4],
    versions: [u8; 4],
    flags: U16,
    method: U16,
    time: [u8; 4],
    checksum: U32,
    stored: U32,
    size: U32,
    name_length: U16,
    extra_length: U16,
    comment_length: U16,
    disk: U16,
    attributes: [u8; 6],
    offset: U32,
}

/// Begins every extra field.
#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Field {
    kind: U16,
    length: U16,
}

#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct EndRecord {
    signature: [u8; 4],
    disks: [u8; 4],
    entries_here: U16,
    entries: U16,
    size: U32,
    offset: U32,
    comment_length: U16,
}

#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Locator {
    signature: [u8; 4],
    disk: U32,
    offset: U64,
    disks: U32,
}

#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct EndRecord64 {
    signature: [u8; 4],
    length: U64,
    versions: [u8; 4],
    disks: [u8; 8],
    entries_here: U64,
    entries: U64,
    size: U64,
    offset: U64,
}

/// Bytes of the shortest entry.
pub const ENTRY: u64 = size_of::<EntryHeader>() as u64;
const END: u64 = size_of::<EndRecord>() as u64;
const LOCATOR: u64 = size_of::<Locator>() as u64;

/// Where the directory lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Directory {
    /// Of its first entry.
    pub offset: u64,
    /// In bytes.
    pub size: u64,
    /// What stands behind the end record.
    pub comment: Vec<u8>,
}

/// The comment behind the end record at the end of `tail`, and the record's place in it.
pub fn comment(tail: &[u8]) -> Option<(usize, &[u8])> {
    let record = size_of::<EndRecord>();
    (0..=tail.len().checked_sub(record)?).rev().find_map(|at| {
        let found = tail.get(at..)?;
        if !found.starts_with(&END_SIGNATURE) {
            return None;
        }
        let comment = found.get(record..)?;
        let end = EndRecord::read_from_prefix(found).ok()?.0;
        (usize::from(end.comment_length.get()) == comment.len()).then_some((at, comment))
    })
}

impl Directory {
    /// Finds it from the end of the file.
    ///
    /// # Errors
    /// [`Error::Unrecognised`] without an end record, [`Error::Corrupt`] where it
    /// contradicts the file's size, or what the source answers.
    pub fn find(source: &dyn Source) -> Result<Self> {
        let size = source.size();
        let length = size.min(END + MOST_COMMENT);
        let tail = read_bytes(source, size - length, length, "end of the archive")?;
        let (place, comment) = comment(&tail).ok_or(Error::Unrecognised)?;
        let at = size - length + place as u64;
        let bytes = tail.get(place..).unwrap_or_default();
        let end: EndRecord = parse_struct(bytes, source.id(), at, "end record")?;
        let needed = end.size.get() == ELSEWHERE || end.offset.get() == ELSEWHERE;
        let long =
            if needed || end.entries.get() == ELSEWHERE_SHORT { end64(source, at)? } else { None };
        let (offset, length, limit) = match long {
            Some(long) => long,
            None if needed => {
                let what = "expected the zip64 locator, PK 06 07, before the end record";
                return Err(Error::corrupt_in(source.id(), at, what));
            }
            // 65535 entries may also be that many.
            None => (u64::from(end.offset.get()), u64::from(end.size.get()), at),
        };
        if offset.checked_add(length).is_none_or(|end| end > limit) {
            let what = format!(
                "a directory of {length} bytes at {offset}, which must end before {limit}: the \
                 file is damaged or cut"
            );
            return Err(Error::corrupt_in(source.id(), at, what));
        }
        Ok(Self { offset, size: length, comment: comment.to_vec() })
    }
}

/// Offset and size of the directory from the zip64 record before the end record at `at`,
/// and where that record begins; `None` where no locator tells.
fn end64(source: &dyn Source, at: u64) -> Result<Option<(u64, u64, u64)>> {
    let Some(place) = at.checked_sub(LOCATOR) else { return Ok(None) };
    let locator: Locator = read_struct(source, place, "zip64 locator")?;
    if locator.signature != LOCATOR_SIGNATURE {
        return Ok(None);
    }
    let place = locator.offset.get();
    let end: EndRecord64 = read_struct(source, place, "zip64 end record")?;
    if end.signature != END64_SIGNATURE {
        let what = "expected the zip64 end record, PK 06 06";
        return Err(Error::corrupt_in(source.id(), place, what));
    }
    Ok(Some((end.offset.get(), end.size.get(), place.min(at))))
}

/// How a member is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// As it is.
    Stored,
    /// A raw deflate stream.
    Deflated,
    /// Anything else, by its number.
    Other(u16),
}

/// A member, as the directory has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Member {
    /// Where its local header lies.
    pub header: u64,
    /// Bytes in the archive.
    pub stored: u64,
    /// Bytes once inflated.
    pub size: u64,
    /// How it is stored.
    pub method: Method,
}

/// An entry of the directory.
pub struct Entry<'a> {
    /// The member's name.
    pub name: &'a [u8],
    /// The member.
    pub member: Member,
    /// Bytes of the entry.
    pub length: usize,
}

impl<'a> Entry<'a> {
    /// The entry that `bytes` begin with; `None` where they hold only a part of it. They
    /// came from `at` of the source `source_id`.
    ///
    /// # Errors
    /// [`Error::Corrupt`], or [`Error::Unsupported`] for an encrypted member.
    pub fn parse(bytes: &'a [u8], source_id: u32, at: u64) -> Result<Option<Self>> {
        let Ok((header, rest)) = EntryHeader::read_from_prefix(bytes) else { return Ok(None) };
        if header.signature != ENTRY_SIGNATURE {
            return Err(Error::corrupt_in(source_id, at, "expected a directory entry, PK 01 02"));
        }
        let name_length = usize::from(header.name_length.get());
        let extra_length = usize::from(header.extra_length.get());
        let length = name_length + extra_length + usize::from(header.comment_length.get());
        if rest.len() < length {
            return Ok(None);
        }
        if header.flags.get() & 1 != 0 {
            return Err(Error::Unsupported(format!("an encrypted member of the zip (at {at})")));
        }
        let name = rest.get(..name_length).unwrap_or_default();
        let extra = rest.get(name_length..name_length + extra_length).unwrap_or_default();
        let (size, stored, offset) = long_values(&header, extra)
            .ok_or_else(|| Error::corrupt_in(source_id, at, "an entry without its zip64 field"))?;
        let method = match header.method.get() {
            0 => Method::Stored,
            8 => Method::Deflated,
            other => Method::Other(other),
        };
        let member = Member { header: offset, stored, size, method };
        Ok(Some(Self { name, member, length: size_of::<EntryHeader>() + length }))
    }
}

/// Size, stored size and offset: those that do not fit stand in the zip64 field, in
/// this order.
fn long_values(header: &EntryHeader, extra: &[u8]) -> Option<(u64, u64, u64)> {
    let mut long = zip64_field(extra).unwrap_or_default();
    let mut value = |short: U32| {
        if short.get() != ELSEWHERE {
            return Some(u64::from(short.get()));
        }
        let (value, rest) = U64::read_from_prefix(long).ok()?;
        long = rest;
        Some(value.get())
    };
    Some((value(header.size)?, value(header.stored)?, value(header.offset)?))
}

fn zip64_field(mut extra: &[u8]) -> Option<&[u8]> {
    loop {
        let (field, rest) = Field::read_from_prefix(extra).ok()?;
        let (body, behind) = rest.split_at_checked(usize::from(field.length.get()))?;
        if field.kind.get() == ZIP64_FIELD {
            return Some(body);
        }
        extra = behind;
    }
}

/// Where the contents of a member begin, which lie inside of the file.
///
/// # Errors
/// [`Error::Corrupt`], or what the source answers.
pub fn contents_offset(source: &dyn Source, member: &Member) -> Result<u64> {
    let at = member.header;
    let header: LocalHeader = read_struct(source, at, "local header")?;
    if header.signature != LOCAL_SIGNATURE {
        let what = "expected the local header of a member, PK 03 04";
        return Err(Error::corrupt_in(source.id(), at, what));
    }
    let behind = u64::from(header.name_length.get()) + u64::from(header.extra_length.get());
    let offset = at.saturating_add(size_of::<LocalHeader>() as u64).saturating_add(behind);
    if offset.checked_add(member.stored).is_none_or(|end| end > source.size()) {
        let (stored, size) = (member.stored, source.size());
        let what = format!("a member of {stored} bytes reaches past the end at {size}");
        return Err(Error::corrupt_in(source.id(), at, what));
    }
    Ok(offset)
}

/// All of a member of at most `most` bytes; `what` names it in errors.
///
/// # Errors
/// [`Error::Unsupported`] for a longer one or another method, [`Error::Corrupt`], or what
/// the source answers.
pub fn contents(source: &dyn Source, member: &Member, most: u64, what: &str) -> Result<Vec<u8>> {
    if member.size.max(member.stored) > most {
        let size = member.size.max(member.stored);
        return Err(Error::Unsupported(format!("{what} of {size} bytes; {most} are read")));
    }
    let offset = contents_offset(source, member)?;
    let stored = read_bytes(source, offset, member.stored, what)?;
    let bytes = match member.method {
        Method::Stored => stored,
        Method::Deflated => {
            decompress_to_vec_with_limit(&stored, member.size as usize).map_err(|_| {
                Error::corrupt_in(source.id(), offset, format!("{what} does not inflate"))
            })?
        }
        Method::Other(number) => {
            let what = format!("{what} is stored by method {number} of zip; expected 0 or 8");
            return Err(Error::Unsupported(what));
        }
    };
    if bytes.len() as u64 != member.size {
        let what = format!("{what} has {} bytes, expected {}", bytes.len(), member.size);
        return Err(Error::corrupt_in(source.id(), offset, what));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn structures_have_their_sizes() {
        assert_eq!((size_of::<LocalHeader>(), size_of::<EntryHeader>()), (30, 46));
        assert_eq!((END, LOCATOR, size_of::<EndRecord64>()), (22, 20, 56));
    }

    #[test]
    fn the_last_record_whose_comment_fits_is_taken() {
        let mut tail = [&b"xxPK\x05\x06"[..], &[0; 16], &[3, 0], b"abc"].concat();
        assert_eq!(comment(&tail), Some((2, &b"abc"[..])));
        tail.push(0);
        assert_eq!(comment(&tail), None);
        assert_eq!(comment(b"PK"), None);
    }
}
