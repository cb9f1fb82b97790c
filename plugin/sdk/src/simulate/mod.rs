//! A host over memory that carries out writes, so that a writer can be tested
//! natively, at every point of a crash.
//!
//! ```text
//!   SimulatedHost ──▶ Disk::place / commit / zero / flush     (rules: every answer is checked)
//!        │ payload          │ tables
//!        └──▶ JournalSource ◀┘ ──▶ events ──▶ crashes ──▶ open again, compare   (replay)
//! ```
//!
//! * [`JournalSource`] records every change in order.
//! * [`SimulatedHost`] writes to a disk the way the host does, and refuses each
//!   answer that breaks a rule of the contract, naming the rule.
//! * [`crashes`] makes of a journal what a storage device may hold after a crash.
//! * [`crash_replay`] puts the three together: one call tests a writer.
//!
//! What it does not do: threads, caches of extents, or anything timed.

mod crash;
mod host;
mod journal;
mod random;
mod reading;
mod replay;
mod rooms;
mod rules;
#[cfg(test)]
mod toy;

pub use crash::{Crash, Crashes, crashes};
pub use host::{DecodeBlock, SimulatedHost};
pub use journal::{Event, JournalSource};
pub use random::Random;
pub use replay::{CrashReplay, crash_replay};
