//! Placements that lie, and traps half-way through a write.
//!
//! The `writes:` attacks keep a minimal format in the main source: a disk of one
//! granule at [`ROOM`], linked by the byte at [`LINKED`].

use alloc::vec;
use alloc::vec::Vec;

use fumehood_plugin::{Content, Error, Extent, Placement, Result, Stored};

use crate::image::Attacker;

/// Whether the granule is linked.
const LINKED: u64 = 0;
/// Whether the attack was carried out, so that it comes only once.
const DONE: u64 = 1;
/// Where the granule lies; the disk is as long as the source, and zero elsewhere.
const ROOM: u64 = 4096;
const GRANULE: u64 = 4096;

/// Where the disk's bytes lie; nothing for attacks that are none of these.
///
/// # Errors
/// What the source answers.
pub fn answer(attacker: &Attacker) -> Result<Option<Vec<Extent>>> {
    if !attacker.attack.starts_with("writes:") {
        return Ok(None);
    }
    let first = match is_set(attacker, LINKED)? {
        true => Content::Stored(attacker.stored(ROOM)),
        false => Content::Absent,
    };
    let rest = attacker.main.size() - GRANULE;
    Ok(Some(vec![
        Extent { offset: 0, length: GRANULE, content: first },
        Extent { offset: GRANULE, length: rest, content: Content::Zero },
    ]))
}

/// Makes room in the way of the attack.
///
/// # Errors
/// [`Error::NoSpace`] for what the format has no room for.
pub fn place(attacker: &Attacker, offset: u64, length: u64) -> Result<Vec<Placement>> {
    let honest = Placement {
        offset: 0,
        length: GRANULE,
        stored: attacker.stored(ROOM),
        fresh: !is_set(attacker, LINKED)?,
        zeroed: false,
    };
    let stored = |stored: Stored| Placement { stored, ..honest.clone() };
    Ok(vec![match attacker.attack.as_str() {
        "writes:place:not-writable" => stored(Stored { writable: false, ..honest.stored }),
        "writes:place:never-granted" => stored(Stored { source: 12_345, ..honest.stored }),
        "writes:place:wrapping" => stored(Stored { offset: u64::MAX - 1, ..honest.stored }),
        "writes:place:elsewhere" => Placement { offset: 1 << 30, ..honest },
        "writes:place:part" => Placement { length: GRANULE / 2, ..honest },
        "writes:place:endless" => Placement { offset: 1, length: u64::MAX, ..honest },
        "writes:place:nothing" => return Ok(Vec::new()),
        _ if offset.saturating_add(length) > GRANULE => return Err(Error::NoSpace),
        _ => honest,
    }])
}

/// Links, or traps before it or after it.
///
/// # Errors
/// What the source answers.
pub fn commit(attacker: &Attacker, _ranges: &[(u64, u64)]) -> Result<()> {
    let first = !is_set(attacker, DONE)?;
    match attacker.attack.as_str() {
        "writes:trap-before-link" if first => {
            attacker.main.write(DONE, &[1])?;
            panic!("before the room was linked");
        }
        "writes:trap-after-link" if first => {
            attacker.main.write(LINKED, &[1, 1])?;
            panic!("after the room was linked");
        }
        "writes:trap-always" => panic!("whenever room is linked"),
        _ => attacker.main.write(LINKED, &[1]),
    }
}

fn is_set(attacker: &Attacker, offset: u64) -> Result<bool> {
    Ok(attacker.main.read(offset, 1)? == [1])
}
