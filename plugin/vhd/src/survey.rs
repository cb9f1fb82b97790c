//! One look at the whole block allocation table: entries that lie where none may, and
//! blocks that overlap. Before writing, and for a check.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use fumehood_plugin::{Error, Finding, Result};

use crate::geometry::SECTOR;
use crate::sparse::Sparse;

/// The most entries looked at: a disk of the largest size in blocks of 512 KiB.
const ENTRY_LIMIT: u64 = 4 << 20;
/// The most findings listed.
const FINDING_LIMIT: usize = 1000;

/// A contradiction in the table.
#[derive(Debug)]
pub struct Contradiction {
    /// The block whose entry it is.
    pub block: u64,
    /// What is wrong.
    pub what: String,
}

/// The contradictions in the table of `sparse`, up to a limit.
///
/// # Errors
/// [`Error::Unsupported`] for a table too large to look at, or what the source answers.
pub fn survey(sparse: &mut Sparse) -> Result<Vec<Contradiction>> {
    let entries = sparse.bat.entries();
    if entries > ENTRY_LIMIT {
        let what = format!("a table of {entries} entries; up to {ENTRY_LIMIT} are checked");
        return Err(Error::Unsupported(what));
    }
    let mut found = Vec::new();
    // Up to 16 MiB; which block an entry belongs to is looked up where it matters.
    let mut sectors: Vec<u32> = Vec::new();
    let mut block = 0;
    while block < entries && found.len() < FINDING_LIMIT {
        for place in sparse.bat.page_of(&*sparse.main, block)? {
            if let Some(place) = place {
                match sparse.check_place(block, place) {
                    // A place is an entry of 32 bits, in sectors.
                    Ok(()) => sectors.push((place / SECTOR) as u32),
                    Err(Error::Corrupt { what, .. }) => found.push(Contradiction { block, what }),
                    Err(error) => return Err(error),
                }
            }
            block += 1;
        }
    }
    sectors.sort_unstable();
    let stored = sparse.shape.stored() / SECTOR;
    let close = |pair: &&[u32]| matches!(pair, [one, other] if u64::from(other - one) < stored);
    let clashes: Vec<u64> = sectors
        .windows(2)
        .filter(close)
        .filter_map(|pair| pair.last().map(|sector| u64::from(*sector) * SECTOR))
        .take(FINDING_LIMIT)
        .collect();
    if !clashes.is_empty() {
        drop(sectors);
        name_clashes(sparse, &clashes, &mut found)?;
    }
    found.truncate(FINDING_LIMIT);
    Ok(found)
}

/// Adds the blocks at `clashes`, places in ascending order.
fn name_clashes(
    sparse: &mut Sparse,
    clashes: &[u64],
    found: &mut Vec<Contradiction>,
) -> Result<()> {
    let mut block = 0;
    while block < sparse.bat.entries() && found.len() < FINDING_LIMIT {
        for place in sparse.bat.page_of(&*sparse.main, block)? {
            if let Some(place) = place.filter(|place| clashes.binary_search(place).is_ok()) {
                let what = format!("block {block} at {place} overlaps another block");
                found.push(Contradiction { block, what });
            }
            block += 1;
        }
    }
    Ok(())
}

/// The same, as findings on the disk.
///
/// # Errors
/// As [`survey`].
pub fn findings(sparse: &mut Sparse) -> Result<Vec<Finding>> {
    let size = sparse.shape.size;
    let contradictions = survey(sparse)?.into_iter();
    let finding =
        |Contradiction { block, what }| Finding { offset: block * size, what, repaired: false };
    Ok(contradictions.map(finding).collect())
}
