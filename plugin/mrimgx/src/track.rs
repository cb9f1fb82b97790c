//! What lies on a disk outside of partitions: its first sectors, the boot records of
//! logical drives, and the partition table at a GPT disk's end, which is not stored but
//! follows from the one at its beginning.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use fumehood_plugin::read::parse_struct;
use fumehood_plugin::{Result, Source};
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

use crate::gpt;
use crate::keys::Keys;
use crate::layout::Disk;
use crate::tables::DiskTables;

/// Bytes of a disk's first sectors, at most, as the format has it.
const MOST_TRACK: usize = 1 << 20;
/// Bytes of boot records, at most: some two thousand.
const MOST_RECORDS: usize = 1 << 20;
const COUNT: usize = size_of::<U32>();

/// A boot record of a logical drive. Some writers pad it to 528 bytes.
#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct BootRecord {
    sector: [u8; 512],
    offset: U64,
    partition: U16,
}

/// Bytes and where they belong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// Offset on the disk.
    pub offset: u64,
    /// What is there.
    pub bytes: Vec<u8>,
}

/// The pieces of a disk, those first that count more, and what the operator should know.
#[derive(Debug, Default)]
pub struct Track {
    /// In order of precedence.
    pub pieces: Vec<Piece>,
    /// What is missing.
    pub warnings: Vec<String>,
    /// Where partitions begin by the table, in bytes, as far as that can be told.
    pub starts: Vec<u64>,
}

/// Reads the pieces of a disk.
///
/// # Errors
/// As [`crate::metadata::Block::payload`].
pub fn read_track(
    source: &dyn Source,
    disk: &Disk,
    tables: &DiskTables,
    keys: Option<&Keys>,
) -> Result<Track> {
    let mut track = Track::default();
    let first = tables.track0.payload(source, keys, MOST_TRACK)?;
    if let Some(block) = &tables.extended
        && disk.header.disk_format != "gpt"
    {
        let records = block.payload(source, keys, MOST_RECORDS)?;
        match boot_records(&records) {
            Some(pieces) => track.pieces.extend(pieces),
            None => {
                let length = records.len();
                let what = format!("boot records of logical drives: {length} bytes are not whole");
                track.warnings.push(what);
            }
        }
    }
    let sector = disk.geometry.bytes_per_sector.into();
    let mut behind = Vec::new();
    if disk.header.disk_format == "gpt" {
        match gpt::read(&first, sector, disk.geometry.disk_size) {
            Ok(table) => {
                track.starts.clone_from(&table.starts);
                behind.extend(table.backup);
            }
            Err(why) => {
                let what =
                    "the partition table at the disk's end is not stored, and reads as zeroes";
                track.warnings.push(format!("{what}: {why}"));
            }
        }
    } else {
        track.starts = gpt::master_boot_record(&first, sector);
    }
    track.pieces.push(Piece { offset: 0, bytes: first });
    track.pieces.extend(behind);
    Ok(track)
}

/// The records, of whichever of the two lengths fits.
fn boot_records(bytes: &[u8]) -> Option<Vec<Piece>> {
    let (count, rest) = bytes.split_at_checked(COUNT)?;
    let count = U32::read_from_bytes(count).ok()?.get() as usize;
    if count == 0 {
        return Some(Vec::new());
    }
    let length = rest.len().checked_div(count).filter(|_| rest.len().is_multiple_of(count))?;
    if length != 522 && length != 528 {
        return None;
    }
    let piece = |record: &[u8]| {
        let record: BootRecord = parse_struct(record, 0, 0, "boot record").ok()?;
        Some(Piece { offset: record.offset.get(), bytes: record.sector.to_vec() })
    };
    rest.chunks_exact(length).map(piece).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_of_both_lengths_are_read() {
        for length in [522, 528] {
            let mut bytes = 2u32.to_le_bytes().to_vec();
            for number in 1..3u8 {
                let mut record = alloc::vec![number; 512];
                record.extend((u64::from(number) << 30).to_le_bytes());
                record.resize(length, 0);
                bytes.extend(record);
            }
            let pieces = boot_records(&bytes).unwrap();
            assert_eq!((pieces.len(), pieces[1].offset), (2, 2 << 30));
            assert_eq!(pieces[1].bytes, [2; 512]);
            bytes.push(0);
            assert_eq!(boot_records(&bytes), None);
        }
        assert_eq!(boot_records(&[0; 4]), Some(Vec::new()));
        assert_eq!(boot_records(&[0; 3]), None);
        assert_eq!(boot_records(&[0xff; 600]), None);
    }
}
