//! The two headers ([MS-VHDX] 2.2.2): which one is current, and how it is replaced.

use alloc::format;
use alloc::vec;
use alloc::vec::Vec;

use fumehood_plugin::read::{parse_struct, read_bytes};
use fumehood_plugin::{Error, Result, Source};
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::crc::checksum;
use crate::guid::Guid;
use crate::layout::{HEADERS, MIB, PAGE, Region};

const SIGNATURE: [u8; 4] = *b"head";
/// Offsets of fields, for errors.
const VERSION: u64 = 66;
const LOG_OFFSET: u64 = 72;
/// The longest log that is read.
const LOG_LIMIT: u64 = 1 << 30;

/// As it lies on disk; zeroes up to 4096 bytes follow.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Clone, Copy)]
#[repr(C)]
struct RawHeader {
    signature: [u8; 4],
    checksum: U32,
    sequence: U64,
    file_write: Guid,
    data_write: Guid,
    log: Guid,
    log_version: U16,
    version: U16,
    log_length: U32,
    log_offset: U64,
}

/// The current header.
#[derive(Debug, Clone, Copy)]
pub struct Header {
    /// Which of the two it is.
    pub slot: usize,
    /// Grows with each header written.
    pub sequence: u64,
    /// Changes in each session that writes to the file.
    pub file_write: Guid,
    /// Changes in each session that changes the disk's contents: what children record.
    pub data_write: Guid,
    /// Which log entries count; nil where none do.
    pub log: Guid,
    /// Where the log lies.
    pub log_region: Region,
}

impl Header {
    /// The header of a new image, not written yet.
    pub fn new(file_write: Guid, data_write: Guid, log_region: Region) -> Self {
        Self { slot: 1, sequence: 0, file_write, data_write, log: Guid::NIL, log_region }
    }

    /// The valid header with the larger sequence number, the first one where they
    /// are equal (there is software that writes them so).
    ///
    /// # Errors
    /// [`Error::Corrupt`] where none is valid or the log lies outside the file,
    /// [`Error::Unsupported`] for another version.
    pub fn read(source: &dyn Source) -> Result<Self> {
        let mut current: Option<(usize, RawHeader)> = None;
        for (slot, offset) in HEADERS.into_iter().enumerate() {
            let Some(found) = read_valid(source, offset)? else { continue };
            if current.is_none_or(|(_, known)| found.sequence.get() > known.sequence.get()) {
                current = Some((slot, found));
            }
        }
        let Some((slot, raw)) = current else {
            let what = "expected a valid header here or 64 KiB further on, found none";
            return Err(Error::corrupt(HEADERS[0], what));
        };
        let offset = HEADERS[slot];
        if raw.version.get() != 1 || raw.log_version.get() != 0 {
            let (version, log) = (raw.version, raw.log_version);
            let what = format!("version {version} with log version {log} at {}", offset + VERSION);
            return Err(Error::Unsupported(what));
        }
        let log_region =
            Region { offset: raw.log_offset.get(), length: u64::from(raw.log_length.get()) };
        log_region.check("log", offset + LOG_OFFSET, source.size())?;
        if log_region.length > LOG_LIMIT {
            let what = format!("a log of {} bytes, more than 1 GiB", log_region.length);
            return Err(Error::corrupt(offset + LOG_OFFSET, what));
        }
        Ok(Self {
            slot,
            sequence: raw.sequence.get(),
            file_write: raw.file_write,
            data_write: raw.data_write,
            log: raw.log,
            log_region,
        })
    }

    /// Makes `next` the contents of both headers: first the one that is not current,
    /// so that at every moment one of them is valid.
    ///
    /// # Errors
    /// What the source answers; `self` is then what is known to be on storage.
    pub fn replace(&mut self, source: &dyn Source, next: Header) -> Result<()> {
        for _ in HEADERS {
            let slot = 1 - self.slot;
            let sequence = self.sequence.wrapping_add(1);
            let written = Header { slot, sequence, ..next };
            source.write(HEADERS[slot], &written.to_bytes())?;
            source.flush()?;
            *self = written;
        }
        Ok(())
    }

    fn to_bytes(self) -> Vec<u8> {
        let mut raw = RawHeader {
            signature: SIGNATURE,
            checksum: U32::ZERO,
            sequence: U64::new(self.sequence),
            file_write: self.file_write,
            data_write: self.data_write,
            log: self.log,
            log_version: U16::ZERO,
            version: U16::new(1),
            // At most 1 GiB.
            log_length: U32::new(self.log_region.length as u32),
            log_offset: U64::new(self.log_region.offset),
        };
        let pad = vec![0; PAGE as usize - size_of::<RawHeader>()];
        raw.checksum = U32::new(checksum(&[raw.as_bytes(), &pad].concat()));
        [raw.as_bytes(), &pad].concat()
    }
}

/// The header at `offset`, if it is one.
fn read_valid(source: &dyn Source, offset: u64) -> Result<Option<RawHeader>> {
    // All that is checked lies within the first MiB, or nothing behind it can.
    if source.size() < MIB {
        let what = format!("expected a file of at least 1 MiB, found {} bytes", source.size());
        return Err(Error::corrupt(source.size(), what));
    }
    let bytes = read_bytes(source, offset, PAGE, "header")?;
    let raw: RawHeader = parse_struct(&bytes, source.id(), offset, "header")?;
    let valid = raw.signature == SIGNATURE && raw.checksum.get() == checksum(&bytes);
    Ok(valid.then_some(raw))
}
