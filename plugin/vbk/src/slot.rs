//! Snapshot slots: two copies of the archive's root, of which a crash spoils one.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use crc::{CRC_32_ISCSI, CRC_32_ISO_HDLC, Crc};
use fumehood_plugin::read::{parse_struct, read_bytes, read_struct};
use fumehood_plugin::{Error, Result, Source};
use zerocopy::little_endian::{I64, U32, U64};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

use crate::header::{Header, PAGE};

const CRC32: Crc<u32> = Crc::<u32>::new(&CRC_32_ISO_HDLC);
const CRC32C: Crc<u32> = Crc::<u32>::new(&CRC_32_ISCSI);

#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct SlotHead {
    checksum: U32,
    contains_snapshot: U32,
    version: U64,
    storage_end: U64,
    banks: U32,
    directory_root: I64,
    directory_count: U64,
    blocks_root: I64,
    blocks_count: U64,
    blocks_free_root: I64,
    blocks_dedup_root: I64,
    blocks_unknown: [I64; 2],
    crypto_root: I64,
    unknown: [U64; 2],
    most_banks: U32,
    stored_banks: U32,
}

const HEAD: u64 = size_of::<SlotHead>() as u64;

/// What a slot says of one bank.
#[derive(Debug, FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct BankEntry {
    checksum: U32,
    offset: U64,
    size: U32,
}

const ENTRY: u64 = size_of::<BankEntry>() as u64;

/// A run of pages in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bank {
    /// CRC over all of it, of the slot's kind.
    pub checksum: u32,
    /// Where its header page lies.
    pub offset: u64,
    /// Its bytes, the header page among them.
    pub size: u32,
}

/// Where a vector begins, and how many entries it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Root {
    /// Its first page, if it has one.
    pub page: Option<u64>,
    /// Its entries.
    pub count: u64,
}

impl Root {
    /// A root as it is stored: a negative page is none.
    pub fn new(page: I64, count: u64) -> Self {
        Self { page: u64::try_from(page.get()).ok(), count }
    }
}

/// A state of the archive.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// Which of the two slots holds it, from 1.
    pub slot: u32,
    /// Banks that the slot has room for.
    pub most_banks: u32,
    /// Counts the states.
    pub version: u64,
    /// Length of the file when it was written.
    pub storage_end: u64,
    /// The items of the root folder.
    pub directory: Root,
    /// The block store.
    pub blocks: Root,
    /// Where pages lie.
    pub banks: Vec<Bank>,
}

/// The states that can be used, newest first, and what is wrong with the others.
#[derive(Debug, Default)]
pub struct Slots {
    /// Whole ones.
    pub whole: Vec<Snapshot>,
    /// Why the others are not.
    pub flaws: Vec<String>,
}

/// Reads both slots.
///
/// # Errors
/// What the source answers.
pub fn read_slots(source: &dyn Source, header: &Header) -> Result<Slots> {
    let mut slots = Slots::default();
    let first = read_slot(source, header, 1, PAGE);
    // Both are of one size, and the second lies directly behind the first.
    let second = match &first {
        Ok(Some(first)) => Some(PAGE + slot_size(first.most_banks)),
        _ => search(source, header)?,
    };
    take(&mut slots, 1, first)?;
    match second {
        Some(offset) => take(&mut slots, 2, read_slot(source, header, 2, offset))?,
        None => slots.flaws.push("snapshot slot 2 is not where it should be".into()),
    }
    // The first of two that are equal stays first.
    slots.whole.sort_by_key(|snapshot| core::cmp::Reverse(snapshot.version));
    Ok(slots)
}

fn take(slots: &mut Slots, number: u32, found: Result<Option<Snapshot>>) -> Result<()> {
    match found {
        Ok(Some(snapshot)) => slots.whole.push(snapshot),
        Ok(None) => (),
        Err(Error::Corrupt { what, .. }) => {
            slots.flaws.push(format!("snapshot slot {number} is damaged: {what}"));
        }
        Err(other) => return Err(other),
    }
    Ok(())
}

/// Bytes of a slot for so many banks: whole pages.
fn slot_size(most_banks: u32) -> u64 {
    (HEAD + u64::from(most_banks) * ENTRY).next_multiple_of(PAGE)
}

/// Looks for the second slot where the first does not tell its size: the second's own
/// size has to agree with where it lies, and its CRC has to hold, for what looks like a
/// slot may be what the first one holds.
fn search(source: &dyn Source, header: &Header) -> Result<Option<u64>> {
    let end = PAGE + slot_size(header.most_banks);
    let mut offset = 2 * PAGE;
    while offset <= end && offset + HEAD <= source.size() {
        let head: SlotHead = read_struct(source, offset, "snapshot slot")?;
        let most = head.most_banks.get();
        if most > 0 && most <= header.most_banks && PAGE + slot_size(most) == offset {
            match read_slot(source, header, 2, offset) {
                Ok(Some(_)) => return Ok(Some(offset)),
                Ok(None) | Err(Error::Corrupt { .. }) => (),
                Err(other) => return Err(other),
            }
        }
        offset += PAGE;
    }
    Ok(None)
}

fn read_slot(
    source: &dyn Source,
    header: &Header,
    slot: u32,
    offset: u64,
) -> Result<Option<Snapshot>> {
    let head: SlotHead = read_struct(source, offset, "snapshot slot")?;
    let (most, stored) = (head.most_banks.get(), head.stored_banks.get());
    if head.contains_snapshot.get() == 0 {
        return Ok(None);
    }
    if most > header.most_banks || stored > most {
        let what = format!("{stored} banks of at most {most}, where {} are", header.most_banks);
        return Err(Error::corrupt(offset + 116, what));
    }
    let length = HEAD + u64::from(most) * ENTRY;
    let bytes = read_bytes(source, offset, length, "snapshot slot")?;
    let found = checksum(header, bytes.get(4..).unwrap_or_default());
    if found != head.checksum.get() {
        let expected = head.checksum.get();
        return Err(Error::corrupt(offset, format!("its CRC is {found:08x}, not {expected:08x}")));
    }
    let mut banks = Vec::with_capacity(stored as usize);
    let table = bytes.get(HEAD as usize..).unwrap_or_default();
    for entry in table.chunks_exact(ENTRY as usize).take(stored as usize) {
        let entry: BankEntry = parse_struct(entry, 0, offset, "bank entry")?;
        banks.push(Bank {
            checksum: entry.checksum.get(),
            offset: entry.offset.get(),
            size: entry.size.get(),
        });
    }
    Ok(Some(Snapshot {
        slot,
        most_banks: most,
        version: head.version.get(),
        storage_end: head.storage_end.get(),
        directory: Root::new(head.directory_root, head.directory_count.get()),
        blocks: Root::new(head.blocks_root, head.blocks_count.get()),
        banks,
    }))
}

/// The checksum that this archive uses, over `bytes`.
pub fn checksum(header: &Header, bytes: &[u8]) -> u32 {
    if header.castagnoli { CRC32C.checksum(bytes) } else { CRC32.checksum(bytes) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn structures_have_their_sizes() {
        assert_eq!((HEAD, ENTRY), (124, 16));
        assert_eq!(slot_size(2976), 0xc000);
        assert_eq!(slot_size(32512), 0x80000);
    }
}
