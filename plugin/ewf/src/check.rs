//! Looking for contradictions without the payload: tables and their mirrors, what
//! opening noted, sectors unreadable at acquisition. Decoding the chunks and
//! comparing digests is the host's.
//!
//! A finding's offset is on the disk: that of the chunk in question, or of the
//! first chunk of the table in question, or how far the tables had placed the
//! disk where a section was met. File names and offsets in files are in the text.

use alloc::format;
use alloc::vec::Vec;

use fumehood_plugin::findings::Findings;
use fumehood_plugin::{Content, Disk, Error, Finding, Result, Source};

use crate::evidence::Evidence;
use crate::ewf2::section::Section;
use crate::map::ChunkMap;
use crate::sealed::verify_long;
use crate::table::{Layout, Table, TableCopy};

/// Bytes of the disk asked for at once.
const WINDOW: u64 = 1 << 30;

/// Checks all of a set that is not payload.
///
/// # Errors
/// What a source answers.
pub fn check(evidence: &Evidence, map: &mut ChunkMap) -> Result<Vec<Finding>> {
    let mut findings = Findings::default();
    for flaw in &evidence.flaws {
        findings.add(flaw.offset, flaw.what.clone());
    }
    for table in &evidence.tables {
        check_table(evidence, table, &mut findings)?;
    }
    check_unreadable(evidence, &mut findings)?;
    check_chunks(evidence, map, &mut findings)?;
    Ok(findings.finish())
}

fn check_table(evidence: &Evidence, table: &Table, findings: &mut Findings) -> Result<()> {
    if !table.sealed {
        return Ok(());
    }
    let segment = evidence.segment_of(table)?;
    let offset = table.first.saturating_mul(u64::from(evidence.media.chunk));
    let mut sums = Vec::new();
    for copy in table.copies.iter().flatten() {
        match sum(&*segment.source, table, copy) {
            Ok(sum) => sums.push((copy, sum)),
            Err(Error::Corrupt { offset: at, what, .. }) => {
                findings.add(offset, format!("{} at {at}: {what}", segment.name));
            }
            Err(error) => return Err(error),
        }
    }
    if let [(one, first), (two, second)] = sums.as_slice()
        && (first != second || one.base != two.base)
    {
        let what = format!("{} at {}: table2 differs from its table", segment.name, two.entries);
        findings.add(offset, what);
    }
    Ok(())
}

/// A digest of the entries of one copy, which is verified: only for comparing mirrors,
/// FNV-1a a word.
fn sum(source: &dyn Source, table: &Table, copy: &TableCopy) -> Result<u64> {
    let mut sum = 0xcbf2_9ce4_8422_2325_u64;
    if let Layout::Places { descriptor } = table.layout {
        Section::read(source, descriptor)?.verify(source)?;
    }
    verify_long(source, copy.entries, table.length(), "table entries", |bytes| {
        for word in bytes.as_chunks::<4>().0 {
            let word = u64::from(u32::from_le_bytes(*word));
            sum = (sum ^ word).wrapping_mul(0x0100_0000_01b3);
        }
    })?;
    Ok(sum)
}

fn check_unreadable(evidence: &Evidence, findings: &mut Findings) -> Result<()> {
    let sector = u64::from(evidence.media.measures.bytes_per_sector);
    for list in &evidence.unreadable {
        let Some(segment) = evidence.segments.get(list.segment) else { continue };
        let seen = list.item.for_each(&*segment.source, |range| {
            let (first, count) = (range.first, range.count);
            let what =
                format!("{count} sectors from sector {first} were unreadable at acquisition");
            findings.add(first.saturating_mul(sector), what);
        });
        match seen {
            Ok(()) => (),
            Err(Error::Corrupt { offset, what, .. }) => {
                findings.add(0, format!("{} at {offset}: {what}", segment.name));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn check_chunks(evidence: &Evidence, map: &mut ChunkMap, findings: &mut Findings) -> Result<()> {
    let size = evidence.media.size;
    let mut at = 0;
    while at < size {
        let extents = map.extents(at, WINDOW)?;
        let end = extents.last().map_or(size, |extent| extent.end());
        for extent in extents {
            if let Content::Damaged(what) = extent.content {
                let what = format!("{} bytes cannot be read: {what}", extent.length);
                findings.add(extent.offset, what);
            }
        }
        at = end;
    }
    Ok(())
}
