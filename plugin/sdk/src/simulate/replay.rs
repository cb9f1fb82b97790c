//! A workload against a model, and every crash of it opened again: one call that
//! tests a writer.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use super::crash::{Crash, crashes};
use super::host::SimulatedHost;
use super::journal::{JournalSource, all_zero, parent_bytes};
use super::random::Random;
use crate::error::Result;
use crate::format::Image;

const SECTOR: u64 = 512;
/// The outside checker sees one crash in so many.
const JUDGED: usize = 16;
/// One crash in so many is written to again.
const REVIVED: usize = 4;

/// What [`crash_replay`] does.
pub struct CrashReplay {
    /// Chooses workload and crashes.
    pub seed: u64,
    /// Writes, zeroes and flushes carried out.
    pub operations: usize,
    /// What shows where the image has nothing.
    pub parent: Vec<u8>,
    /// Size of the image's disk, a multiple of 512.
    pub disk_size: u64,
    /// About how many crashes are tried.
    pub crashes: usize,
}

/// What one sector of the disk holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Value {
    Parent,
    Zero,
    /// What this operation wrote.
    Written(u64),
}

/// What each sector has held, and since which operation.
struct Model {
    parent: Vec<u8>,
    sectors: Vec<Vec<(u64, Value)>>,
    /// Operations that were completed flushes, in ascending order.
    flushes: Vec<u64>,
}

impl Model {
    fn new(parent: Vec<u8>, disk_size: u64) -> Self {
        let sectors = vec![vec![(0, Value::Parent)]; (disk_size / SECTOR) as usize];
        Self { parent, sectors, flushes: vec![0] }
    }

    fn set(&mut self, operation: u64, (first, count): (u64, u64), value: Value) {
        for sector in &mut self.sectors[first as usize..(first + count) as usize] {
            sector.push((operation, value));
        }
    }

    fn bytes(&self, sector: u64, value: Value) -> Vec<u8> {
        match value {
            Value::Parent => parent_bytes(&self.parent, sector * SECTOR, SECTOR),
            Value::Zero => vec![0; SECTOR as usize],
            Value::Written(operation) => stamp(operation, sector),
        }
    }

    /// What the disk shows now.
    fn contents(&self) -> Vec<u8> {
        let last = |(sector, values): (usize, &Vec<(u64, Value)>)| {
            let value = values.last().map_or(Value::Parent, |(_, value)| *value);
            self.bytes(sector as u64, value)
        };
        self.sectors.iter().enumerate().flat_map(last).collect()
    }

    /// What a sector may hold after a crash in operation `last`: the value of the
    /// last completed flush, or any it had since.
    fn allowed(&self, sector: u64, last: u64) -> Vec<Value> {
        let flushed = self.flushes.iter().rev().find(|flush| **flush < last).copied().unwrap_or(0);
        let values = &self.sectors[sector as usize];
        let first = values.iter().rposition(|(since, _)| *since <= flushed).unwrap_or(0);
        let had = values[first..].iter().filter(|(since, _)| *since <= last);
        had.map(|(_, value)| *value).collect()
    }

    /// The first sector of `disk` that holds what it may not.
    fn fault(&self, disk: &[u8], last: u64) -> Option<String> {
        for (sector, found) in disk.chunks_exact(SECTOR as usize).enumerate() {
            let allowed = self.allowed(sector as u64, last);
            if !allowed.iter().any(|value| self.bytes(sector as u64, *value) == found) {
                let found = if all_zero(found) { "zeroes" } else { "foreign bytes" };
                return Some(format!(
                    "the sector at disk offset {} holds {found} where {allowed:?} were allowed",
                    sector as u64 * SECTOR
                ));
            }
        }
        None
    }
}

/// Contents that say which operation wrote them, and where.
fn stamp(operation: u64, sector: u64) -> Vec<u8> {
    let words = [operation + 1, sector, !operation, 0x5eed_5eed_5eed_5eed];
    let words: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    words.repeat(SECTOR as usize / words.len())
}

/// Carries out a reproducible workload of writes, zeroes and flushes on an image
/// that `create` makes in an empty source, against a model; closes it, and opens
/// every crash of it again with `open`. There, sectors must hold what they held at
/// the last completed flush or anything they held since. Some crashes are then
/// written to again, flushed, closed and read.
///
/// `judge` is given the bytes of some crashes, and of what was closed, for a checker
/// of other people's.
///
/// # Panics
/// At the first fault, naming the seed and the operation.
pub fn crash_replay(
    options: CrashReplay,
    create: &dyn Fn(JournalSource) -> Result<Box<dyn Image>>,
    open: &dyn Fn(JournalSource) -> Result<Box<dyn Image>>,
    judge: &dyn Fn(&[u8]),
) {
    let CrashReplay { seed, operations, parent, disk_size, crashes: limit } = options;
    let source = JournalSource::new(0, "created", vec![]);
    let image = create(source.clone()).unwrap_or_else(|e| panic!("seed {seed}: create: {e}"));
    let mut host = SimulatedHost::new(image, source.clone(), parent.clone())
        .unwrap_or_else(|e| panic!("seed {seed}: open: {e}"));
    assert_eq!(host.size(), disk_size, "seed {seed}: the size of the created disk");
    host.flush().unwrap_or_else(|e| panic!("seed {seed}: the first flush: {e}"));
    source.take_events();
    let initial = source.bytes();

    let mut model = Model::new(parent.clone(), disk_size);
    run_workload(&mut host, &source, &mut model, seed, operations);
    let shown = host.contents().unwrap_or_else(|e| panic!("seed {seed}: read: {e}"));
    assert!(shown == model.contents(), "seed {seed}: the disk differs from the model");
    let closing = operations as u64 + 1;
    source.mark(closing);
    host.close().unwrap_or_else(|e| panic!("seed {seed}: close: {e}"));
    model.flushes.push(closing);
    source.mark(closing + 1);
    let closed = source.bytes();
    let events = source.take_events();
    judge(&closed);
    let closed = Crash { bytes: closed, mark: 0, last: closing + 1 };
    check_crash(&closed, &model, open, &format!("seed {seed}: closed"));

    let judged = (limit / JUDGED).max(1);
    for (number, crash) in crashes(&initial, &events, seed, limit).enumerate() {
        let name = format!("seed {seed}: crash {number} in operation {}", crash.last);
        if number % judged == 0 {
            judge(&crash.bytes);
        }
        let disk = check_crash(&crash, &model, open, &name);
        if number % REVIVED == 0 {
            revive(crash.bytes, disk, &parent, open, &name);
        }
    }
}

/// Writes, zeroes and flushes, in the host and in the model.
fn run_workload(
    host: &mut SimulatedHost,
    source: &JournalSource,
    model: &mut Model,
    seed: u64,
    operations: usize,
) {
    let mut random = Random::new(seed);
    let sectors = model.sectors.len() as u64;
    for operation in 1..=operations as u64 {
        source.mark(operation);
        let range = random_range(&mut random, sectors);
        let (offset, length) = (range.0 * SECTOR, range.1 * SECTOR);
        let done = match random.below(8) {
            0 => {
                let done = host.flush();
                model.flushes.push(operation);
                done
            }
            1 => host.commit(),
            2 | 3 => {
                model.set(operation, range, Value::Zero);
                host.zero(offset, length, random.one_in(2))
            }
            _ => {
                model.set(operation, range, Value::Written(operation));
                let bytes: Vec<u8> =
                    (range.0..range.0 + range.1).flat_map(|at| stamp(operation, at)).collect();
                host.write(offset, &bytes)
            }
        };
        done.unwrap_or_else(|e| panic!("seed {seed}: operation {operation}: {e}"));
    }
}

/// Sectors (first, count): mostly a few, sometimes very many, some of them aligned.
fn random_range(random: &mut Random, sectors: u64) -> (u64, u64) {
    let longest = [8, 8, sectors / 16, sectors / 2][random.below(4) as usize];
    let count = (1 + random.below(longest.max(1))).min(sectors);
    let first = random.below(sectors - count + 1);
    if random.one_in(3) {
        let alignment = count.next_power_of_two();
        let first = first - first % alignment;
        return (first, alignment.min(sectors - first));
    }
    (first, count)
}

/// Opens a crash and compares it; gives what the disk holds.
fn check_crash(
    crash: &Crash,
    model: &Model,
    open: &dyn Fn(JournalSource) -> Result<Box<dyn Image>>,
    name: &str,
) -> Vec<u8> {
    let source = JournalSource::new(0, "crashed", crash.bytes.clone());
    let image = open(source.clone()).unwrap_or_else(|e| panic!("{name}: open: {e}"));
    let disk = SimulatedHost::new(image, source, model.parent.clone())
        .and_then(|mut host| host.contents())
        .unwrap_or_else(|e| panic!("{name}: read: {e}"));
    assert_eq!(disk.len() as u64, model.sectors.len() as u64 * SECTOR, "{name}: size");
    if let Some(fault) = model.fault(&disk, crash.last) {
        panic!("{name}: {fault}");
    }
    disk
}

/// Writes to a crashed image whose disk shows `disk`, flushes, closes, and reads it.
fn revive(
    bytes: Vec<u8>,
    mut disk: Vec<u8>,
    parent: &[u8],
    open: &dyn Fn(JournalSource) -> Result<Box<dyn Image>>,
    name: &str,
) {
    let mut random = Random::new(bytes.len() as u64);
    let source = JournalSource::new(0, "revived", bytes);
    let run = |disk: &mut Vec<u8>, source: JournalSource| -> Result<()> {
        let mut host = SimulatedHost::new(open(source.clone())?, source, parent.to_vec())?;
        for round in 0..4 {
            let (first, count) = random_range(&mut random, disk.len() as u64 / SECTOR);
            let (first, count) = (first * SECTOR, count * SECTOR);
            let range = first as usize..(first + count) as usize;
            if round == 2 {
                host.zero(first, count, true)?;
                disk[range].fill(0);
            } else {
                let sectors = first / SECTOR..(first + count) / SECTOR;
                let new: Vec<u8> = sectors.flat_map(|at| stamp(u64::MAX / 2 + round, at)).collect();
                host.write(first, &new)?;
                disk[range].copy_from_slice(&new);
            }
        }
        host.close()
    };
    let mut run = run;
    run(&mut disk, source.clone()).unwrap_or_else(|e| panic!("{name}: written again: {e}"));
    let image = open(source.clone()).unwrap_or_else(|e| panic!("{name}: opened again: {e}"));
    let shown = SimulatedHost::new(image, source, parent.to_vec())
        .and_then(|mut host| host.contents())
        .unwrap_or_else(|e| panic!("{name}: read again: {e}"));
    assert!(shown == disk, "{name}: the disk differs after it was written again");
}
