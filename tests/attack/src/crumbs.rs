//! Answers that keep every rule and still never come to an end, or to too much.

use alloc::vec;
use alloc::vec::Vec;
use core::hint::black_box;

use fumehood_plugin::{Content, Extent};

use crate::hostile;
use crate::image::Attacker;

const SECTOR: u64 = 512;

/// The disk's size, chosen so that an attack that succeeds does so visibly.
pub fn disk_size(attack: &str) -> u64 {
    match attack {
        "crumbs:damage" => 256 * SECTOR,
        _ => 1 << 40,
    }
}

/// The answer of this attack about `offset`; nothing where it is none of these.
pub fn answer(attacker: &Attacker, offset: u64) -> Option<Vec<Extent>> {
    let one = |length, content| Some(vec![Extent { offset, length, content }]);
    match attacker.attack.as_str() {
        // A byte an answer: a sequence that the host can join, so that it sees no end.
        "crumbs:bytes" => one(1, Content::Zero),
        // A sector an answer, each just within the time of a call.
        "crumbs:slow" => {
            linger();
            let even = (offset / SECTOR).is_multiple_of(2);
            one(SECTOR, if even { Content::Zero } else { Content::Absent })
        }
        // A giant text a sector.
        "crumbs:damage" => one(SECTOR, Content::Damaged(hostile::giant("woe "))),
        _ => None,
    }
}

/// Takes some tens of milliseconds.
fn linger() {
    for turn in 0..40_000_000_u64 {
        black_box(turn);
    }
}
