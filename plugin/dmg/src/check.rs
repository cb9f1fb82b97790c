//! Looking for contradictions without the payload: what the tables say of each other and
//! of the file, and the checksums over the tables and over the data fork. What the runs
//! decode to is the host's to compare.

use alloc::format;
use alloc::vec::Vec;

use crc::{CRC_32_ISO_HDLC, Crc, Table};
use fumehood_plugin::findings::Findings;
use fumehood_plugin::read::read_bytes;
use fumehood_plugin::{Content, Finding, Result};

use crate::SECTOR;
use crate::image::Udif;
use crate::runs::Kind;
use crate::trailer::Checksum;

/// A longer data fork is not compared with its checksum: that takes longer than a call
/// may. Every run has a checksum of its own, its table's.
const MOST_DATA: u64 = 256 << 20;
/// Bytes of it read at once.
const STEP: u64 = 4 << 20;

const CRC: Crc<u32, Table<16>> = Crc::<u32, Table<16>>::new(&CRC_32_ISO_HDLC);

/// Checks all of an image that is not payload.
///
/// # Errors
/// What the source answers.
pub fn check(udif: &Udif) -> Result<Vec<Finding>> {
    let mut findings = Findings::default();
    check_runs(udif, &mut findings);
    check_tables(udif, &mut findings);
    check_master(udif, &mut findings);
    check_data(udif, &mut findings)?;
    Ok(findings.finish())
}

/// Where a sector begins on the disk.
fn offset(sector: u64) -> u64 {
    sector.saturating_mul(SECTOR)
}

/// Runs that cannot be read, or lie outside of the data fork.
fn check_runs(udif: &Udif, findings: &mut Findings) {
    let (data, file_size) = (udif.trailer.data, udif.stored_end());
    for run in udif.runs.all() {
        if let Content::Damaged(what) = run.content(file_size) {
            let bytes = run.count.saturating_mul(SECTOR);
            findings.add(offset(run.first), format!("{bytes} bytes cannot be read: {what}"));
        } else if matches!(run.kind, Kind::Stored | Kind::Packed(_)) {
            let end = run.offset.saturating_add(run.length);
            if run.offset < data.offset || end > data.offset.saturating_add(data.length) {
                let what = format!(
                    "the run of sector {} at {} to {end} lies outside of the data fork",
                    run.first, run.offset
                );
                findings.add(offset(run.first), what);
            }
        }
    }
}

/// Tables that overlap, or leave the disk.
fn check_tables(udif: &Udif, findings: &mut Findings) {
    let mut places: Vec<_> = udif.tables.iter().collect();
    places.sort_by_key(|table| table.first);
    for (one, next) in places.iter().zip(places.iter().skip(1)) {
        if one.end() > next.first {
            let what = format!("the tables {:?} and {:?} overlap", one.name, next.name);
            findings.add(offset(next.first), what);
        }
    }
    for table in places {
        if table.end() > udif.sectors {
            let what = format!(
                "the table {:?} ends at sector {}, the disk at {}",
                table.name,
                table.end(),
                udif.sectors
            );
            findings.add(offset(table.first), what);
        }
    }
}

/// The checksum over the tables' own.
fn check_master(udif: &Udif, findings: &mut Findings) {
    let Checksum::Crc32(stored) = udif.trailer.master_checksum else { return };
    let mut digest = CRC.digest();
    for table in &udif.tables {
        match table.checksum {
            Checksum::Crc32(value) => digest.update(&value.to_be_bytes()),
            _ => return,
        }
    }
    compare("master checksum", stored, digest.finalize(), findings);
}

/// The checksum over the data fork, unless that is long.
fn check_data(udif: &Udif, findings: &mut Findings) -> Result<()> {
    let data = udif.trailer.data;
    let Checksum::Crc32(stored) = udif.trailer.data_checksum else { return Ok(()) };
    if data.length > MOST_DATA {
        return Ok(());
    }
    let mut digest = CRC.digest();
    let mut done = 0;
    while done < data.length {
        let step = STEP.min(data.length - done);
        digest.update(&read_bytes(&*udif.source, data.offset + done, step, "data fork")?);
        done += step;
    }
    compare("data checksum", stored, digest.finalize(), findings);
    Ok(())
}

fn compare(name: &str, stored: u32, found: u32, findings: &mut Findings) {
    if stored != found {
        findings.add(0, format!("the {name} is {found:08x}, not {stored:08x} as stored"));
    }
}
