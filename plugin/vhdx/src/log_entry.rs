//! Entries of the log ([MS-VHDX] 2.3.1): how they are read, checked, and made. Which
//! of them count is for [`crate::replay`], where they go for [`crate::journal`].

use alloc::vec;
use alloc::vec::Vec;

use fumehood_plugin::{Result, SourceHandle};
use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::crc::{Crc, checksum};
use crate::guid::Guid;
use crate::layout::{PAGE, Region};

const ENTRY: [u8; 4] = *b"loge";
const ZERO: [u8; 4] = *b"zero";
const DATA: [u8; 4] = *b"desc";
const SECTOR: [u8; 4] = *b"data";
/// Bytes of a page that its data sector holds; the others stand in the descriptor.
const LEADING: usize = 8;
const TRAILING: usize = 4;
const DESCRIPTOR: u64 = 32;
/// Sectors read at once.
const BATCH: u64 = 16;

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Clone, Copy)]
#[repr(C)]
struct RawEntry {
    signature: [u8; 4],
    checksum: U32,
    length: U32,
    tail: U32,
    sequence: U64,
    descriptors: U32,
    reserved: U32,
    log: Guid,
    flushed: U64,
    last: U64,
}

/// Of zeroes (`tail` is nothing, `head` a length) or of a page, of which it holds the
/// first eight and the last four bytes.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Clone, Copy)]
#[repr(C)]
struct Descriptor {
    signature: [u8; 4],
    tail: [u8; TRAILING],
    head: [u8; LEADING],
    offset: U64,
    sequence: U64,
}

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Clone, Copy)]
#[repr(C)]
struct DataSector {
    signature: [u8; 4],
    sequence_high: U32,
    bytes: [u8; PAGE as usize - LEADING - TRAILING],
    sequence_low: U32,
}

/// What an entry's header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// Where in the log it begins.
    pub start: u64,
    /// Its length in bytes.
    pub length: u64,
    /// Where in the log the oldest entry begins that is still needed.
    pub tail: u64,
    /// Its number; 0 is none.
    pub sequence: u64,
    descriptors: u64,
    /// The file was at least this long when it was written.
    pub flushed: u64,
    /// The file is to be at least this long once it is replayed.
    pub last: u64,
}

/// One change of an entry.
pub enum Change {
    /// A page of 4096 bytes, and where in the file it belongs.
    Page(u64, Vec<u8>),
    /// Zeroes in this part of the file.
    Zero(Region),
}

/// The log as a ring of sectors.
pub struct Ring {
    /// The file.
    pub source: SourceHandle,
    /// Where in it the log lies.
    pub region: Region,
}

impl Ring {
    /// `length` bytes from `start` on, around the end.
    ///
    /// # Errors
    /// What the source answers.
    pub fn read(&self, start: u64, length: u64) -> Result<Vec<u8>> {
        let first = length.min(self.region.length - start);
        let mut bytes = self.source.read(self.region.offset + start, first as usize)?;
        if first < length {
            bytes.extend(self.source.read(self.region.offset, (length - first) as usize)?);
        }
        Ok(bytes)
    }

    /// Writes `bytes` from `start` on, around the end.
    ///
    /// # Errors
    /// What the source answers.
    pub fn write(&self, start: u64, bytes: &[u8]) -> Result<()> {
        let room = (self.region.length - start) as usize;
        let (first, second) = bytes.split_at(room.min(bytes.len()));
        self.source.write(self.region.offset + start, first)?;
        match second.is_empty() {
            true => Ok(()),
            false => self.source.write(self.region.offset, second),
        }
    }

    /// The place `length` bytes behind `start`.
    pub fn advance(&self, start: u64, length: u64) -> u64 {
        (start + length) % self.region.length
    }
}

impl Entry {
    /// What `sector`, which lies at `start`, says of the entry that begins there, if
    /// its sizes make sense and it belongs to the log `log`.
    pub fn parse(sector: &[u8], start: u64, log: Guid, log_length: u64) -> Option<Self> {
        let (raw, _) = RawEntry::read_from_prefix(sector).ok()?;
        let (length, tail) = (u64::from(raw.length.get()), u64::from(raw.tail.get()));
        let descriptors = u64::from(raw.descriptors.get());
        let sequence = raw.sequence.get();
        let entry = Self {
            start,
            length,
            tail,
            sequence,
            descriptors,
            flushed: raw.flushed.get(),
            last: raw.last.get(),
        };
        let sound = raw.signature == ENTRY
            && raw.log == log
            && sequence > 0
            && length.is_multiple_of(PAGE)
            && length >= entry.descriptor_bytes()
            && length < log_length
            && tail.is_multiple_of(PAGE)
            && tail < log_length;
        sound.then_some(entry)
    }

    /// Length of header and descriptors, in whole sectors.
    fn descriptor_bytes(&self) -> u64 {
        descriptor_bytes(self.descriptors)
    }

    /// Whether all of it is what was once written: checksum, descriptors, and the
    /// numbers in its data sectors.
    ///
    /// # Errors
    /// What the source answers.
    pub fn is_whole(&self, ring: &Ring) -> Result<bool> {
        let mut crc = Crc::new();
        let mut expected = 0;
        let (mut pages, mut left) = (0, self.descriptors);
        let mut done = 0;
        while done < self.length {
            let count = (BATCH * PAGE).min(self.length - done);
            let mut batch = ring.read(ring.advance(self.start, done), count)?;
            if done == 0
                && let Some(field) = batch.get_mut(4..8)
            {
                expected = field.try_into().map_or(0, u32::from_le_bytes);
                field.fill(0);
            }
            for sector in batch.chunks_exact(PAGE as usize) {
                if done < self.descriptor_bytes() {
                    let skip = if done == 0 { size_of::<RawEntry>() } else { 0 };
                    let Some(found) = self.count_pages(sector.get(skip..), &mut left) else {
                        return Ok(false);
                    };
                    pages += found;
                } else if self.page(sector).is_none() {
                    return Ok(false);
                }
                done += PAGE;
            }
            crc = crc.update(&batch);
        }
        let length = self.descriptor_bytes() + pages * PAGE;
        Ok(crc.finish() == expected && length == self.length && left == 0)
    }

    /// How many of the descriptors in one sector are of pages; `None` where one is not
    /// sound. `left` is how many are still to come.
    fn count_pages(&self, bytes: Option<&[u8]>, left: &mut u64) -> Option<u64> {
        let mut pages = 0;
        for bytes in bytes?.chunks_exact(DESCRIPTOR as usize) {
            if *left == 0 {
                break;
            }
            let descriptor = Descriptor::read_from_bytes(bytes).ok()?;
            let known = [ZERO, DATA].contains(&descriptor.signature);
            if !known || descriptor.sequence.get() != self.sequence {
                return None;
            }
            pages += u64::from(descriptor.signature == DATA);
            *left -= 1;
        }
        Some(pages)
    }

    /// The bytes of a data sector, if it belongs to this entry.
    fn page(&self, sector: &[u8]) -> Option<DataSector> {
        let data = DataSector::read_from_bytes(sector).ok()?;
        let sequence =
            u64::from(data.sequence_high.get()) << 32 | u64::from(data.sequence_low.get());
        (data.signature == SECTOR && sequence == self.sequence).then_some(data)
    }

    /// Its changes, in order. The entry [`Entry::is_whole`].
    ///
    /// # Errors
    /// What the source and `carry_out` answer.
    pub fn changes(
        &self,
        ring: &Ring,
        carry_out: &mut dyn FnMut(Change) -> Result<()>,
    ) -> Result<()> {
        let mut data_at = ring.advance(self.start, self.descriptor_bytes());
        let mut place = size_of::<RawEntry>() as u64;
        for _ in 0..self.descriptors {
            let bytes = ring.read(ring.advance(self.start, place), DESCRIPTOR)?;
            place += DESCRIPTOR;
            let Ok(descriptor) = Descriptor::read_from_bytes(&bytes) else { continue };
            let offset = descriptor.offset.get();
            if descriptor.signature == ZERO {
                let length = u64::from_le_bytes(descriptor.head);
                carry_out(Change::Zero(Region { offset, length }))?;
                continue;
            }
            let sector = ring.read(data_at, PAGE)?;
            data_at = ring.advance(data_at, PAGE);
            if let Some(data) = self.page(&sector) {
                let page = [&descriptor.head[..], &data.bytes, &descriptor.tail].concat();
                carry_out(Change::Page(offset, page))?;
            }
        }
        Ok(())
    }
}

fn descriptor_bytes(count: u64) -> u64 {
    (size_of::<RawEntry>() as u64 + count * DESCRIPTOR).next_multiple_of(PAGE)
}

/// How long an entry of so many pages is.
pub fn entry_length(pages: u64) -> u64 {
    descriptor_bytes(pages) + pages * PAGE
}

/// What a new entry says besides its pages.
pub struct NewEntry {
    /// Which log it belongs to.
    pub log: Guid,
    /// Its number.
    pub sequence: u64,
    /// Where in the log the oldest entry begins that is still needed.
    pub tail: u64,
    /// The file is durably at least this long.
    pub flushed: u64,
    /// Its present length.
    pub last: u64,
}

impl NewEntry {
    /// The entry's bytes.
    pub fn to_bytes<'a>(&self, pages: impl Iterator<Item = (u64, &'a [u8])>) -> Vec<u8> {
        let (mut descriptors, mut sectors) = (Vec::new(), Vec::new());
        for (offset, page) in pages {
            let Some((head, rest)) = page.split_first_chunk::<LEADING>() else { continue };
            let Some((body, tail)) = rest.split_last_chunk::<TRAILING>() else { continue };
            let Ok(bytes) = body.try_into() else { continue };
            descriptors.push(Descriptor {
                signature: DATA,
                tail: *tail,
                head: *head,
                offset: U64::new(offset),
                sequence: U64::new(self.sequence),
            });
            let sector = DataSector {
                signature: SECTOR,
                sequence_high: U32::new((self.sequence >> 32) as u32),
                bytes,
                sequence_low: U32::new(self.sequence as u32),
            };
            sectors.extend_from_slice(sector.as_bytes());
        }
        let count = descriptors.len() as u64;
        let raw = RawEntry {
            signature: ENTRY,
            checksum: U32::ZERO,
            // Less than the log's 4 GiB, as the tail is.
            length: U32::new(entry_length(count) as u32),
            tail: U32::new(self.tail as u32),
            sequence: U64::new(self.sequence),
            descriptors: U32::new(count as u32),
            reserved: U32::ZERO,
            log: self.log,
            flushed: U64::new(self.flushed),
            last: U64::new(self.last),
        };
        let mut entry = vec![0; descriptor_bytes(count) as usize];
        let head = [raw.as_bytes(), descriptors.as_bytes()].concat();
        if let Some(place) = entry.get_mut(..head.len()) {
            place.copy_from_slice(&head);
        }
        entry.extend(sectors);
        let sum = checksum(&entry).to_le_bytes();
        if let Some(field) = entry.get_mut(4..8) {
            field.copy_from_slice(&sum);
        }
        entry
    }
}
