//! A format of a page, to test the simulation itself: a header, a table of one entry
//! a block, and blocks. One that is right, and ones that are wrong in one point.

use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::vec;
use alloc::vec::Vec;
use core::cell::RefCell;

use super::{CrashReplay, JournalSource, SimulatedHost, crash_replay};
use crate::error::{Error, Result};
use crate::extent::{Content, Extent, Extents, Placement, Stored};
use crate::format::{Disk, DiskInfo, Image, ImageInfo};
use crate::source::Source;

const BLOCK: u64 = 2048;
const BLOCKS: u64 = 48;
const SIZE: u64 = BLOCK * BLOCKS - 512;

/// What is wrong with a writer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    LinksBeforeData,
    LinksNeverFlushed,
    LiesAboutZeroes,
    ReusesAtOnce,
}

/// Blocks by their numbers in the file, from 1 on (0 is the table); 0 is absent,
/// `u32::MAX` zero.
struct State {
    table: Vec<u32>,
    placed: Vec<Option<u32>>,
    free: Vec<u32>,
    dropped: Vec<u32>,
    next: u32,
}

#[derive(Clone)]
struct Toy {
    main: JournalSource,
    state: Rc<RefCell<State>>,
    fault: Fault,
}

impl Toy {
    fn create(main: JournalSource, fault: Fault) -> Result<Box<dyn Image>> {
        main.resize(BLOCK)?;
        Self::open(main, fault)
    }

    fn open(main: JournalSource, fault: Fault) -> Result<Box<dyn Image>> {
        let bytes = main.read(0, BLOCKS as usize * 4)?;
        let table: Vec<u32> = bytes
            .chunks_exact(4)
            .map(|entry| u32::from_le_bytes([entry[0], entry[1], entry[2], entry[3]]))
            .collect();
        let next = main.size().div_ceil(BLOCK) as u32;
        let used = table.iter().any(|entry| *entry != u32::MAX && *entry >= next);
        if used {
            return Err(Error::corrupt(0, "an entry past the end"));
        }
        let placed = vec![None; BLOCKS as usize];
        let state = State { table, placed, free: vec![], dropped: vec![], next };
        Ok(Box::new(Self { main, state: Rc::new(RefCell::new(state)), fault }))
    }

    fn write_entry(&self, block: u64) -> Result<()> {
        let entry = self.state.borrow().table[block as usize];
        self.main.write(block * 4, &entry.to_le_bytes())
    }
}

impl Image for Toy {
    fn info(&self) -> ImageInfo {
        ImageInfo::default()
    }
    fn disks(&self) -> Vec<DiskInfo> {
        vec![DiskInfo::new(SIZE, BLOCK as u32)]
    }
    fn disk(&self, _number: u32) -> Result<Box<dyn Disk>> {
        Ok(Box::new(self.clone()))
    }
}

impl Disk for Toy {
    fn extents(&mut self, offset: u64, length: u64) -> Result<Vec<Extent>> {
        let mut extents = Extents::new();
        let end = (offset + length).min(SIZE);
        for block in offset / BLOCK..end.div_ceil(BLOCK) {
            let content = match self.state.borrow().table[block as usize] {
                0 => Content::Absent,
                u32::MAX => Content::Zero,
                number => Content::Stored(stored(number)),
            };
            extents.push(block * BLOCK, BLOCK.min(SIZE - block * BLOCK), content);
        }
        Ok(extents.finish())
    }

    fn place(&mut self, offset: u64, length: u64) -> Result<Vec<Placement>> {
        let mut placements = Vec::new();
        for block in offset / BLOCK..(offset + length).div_ceil(BLOCK) {
            let mut state = self.state.borrow_mut();
            let (index, at) = (block as usize, block * BLOCK);
            let length = BLOCK.min(SIZE - at);
            let linked = ![0, u32::MAX].contains(&state.table[index]);
            let reused = state.placed[index].or_else(|| state.free.pop());
            let fresh = !linked && reused.is_none();
            let number = if linked { state.table[index] } else { reused.unwrap_or(state.next) };
            if fresh {
                self.main.resize(u64::from(number + 1) * BLOCK)?;
                state.next = number + 1;
            }
            if !linked {
                state.placed[index] = Some(number);
            }
            let zeroed = fresh || (!linked && self.fault == Fault::LiesAboutZeroes);
            let stored = stored(number);
            placements.push(Placement { offset: at, length, stored, fresh: !linked, zeroed });
            drop(state);
            if !linked && self.fault == Fault::LinksBeforeData {
                self.main.write(block * 4, &number.to_le_bytes())?;
            }
        }
        Ok(placements)
    }

    fn commit(&mut self, ranges: &[(u64, u64)]) -> Result<()> {
        for (offset, length) in ranges {
            for block in offset / BLOCK..(offset + length).div_ceil(BLOCK) {
                let mut state = self.state.borrow_mut();
                let placed = state.placed[block as usize].take().ok_or(Error::OutOfRange)?;
                state.table[block as usize] = placed;
                drop(state);
                self.write_entry(block)?;
            }
        }
        Ok(())
    }

    fn zero(&mut self, offset: u64, length: u64, _drop: bool) -> Result<()> {
        for block in offset / BLOCK..(offset + length).div_ceil(BLOCK) {
            let mut state = self.state.borrow_mut();
            let placed = state.placed[block as usize].take();
            state.free.extend(placed);
            let entry = core::mem::replace(&mut state.table[block as usize], u32::MAX);
            if ![0, u32::MAX].contains(&entry) {
                let at_once = self.fault == Fault::ReusesAtOnce;
                if at_once { &mut state.free } else { &mut state.dropped }.push(entry);
            }
            drop(state);
            self.write_entry(block)?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        if self.fault != Fault::LinksNeverFlushed {
            self.main.flush()?;
        }
        let mut state = self.state.borrow_mut();
        let dropped = core::mem::take(&mut state.dropped);
        state.free.extend(dropped);
        Ok(())
    }
}

fn stored(number: u32) -> Stored {
    Stored { source: 0, offset: u64::from(number) * BLOCK, writable: true }
}

fn replay(fault: Fault, seed: u64) {
    let parent: Vec<u8> = (0..SIZE / 2).map(|at| (at / 512) as u8 | 1).collect();
    let options = CrashReplay { seed, operations: 60, parent, disk_size: SIZE, crashes: 600 };
    let create = move |main| Toy::create(main, fault);
    let open = move |main| Toy::open(main, fault);
    crash_replay(options, &create, &open, &|bytes| assert!(bytes.len() as u64 >= BLOCK));
}

#[test]
fn a_right_writer_survives_every_crash() {
    (0..20).for_each(|seed| replay(Fault::None, seed));
}

#[test]
#[should_panic(expected = "were allowed")]
fn a_link_before_its_data_is_found() {
    (0..20).for_each(|seed| replay(Fault::LinksBeforeData, seed));
}

#[test]
#[should_panic(expected = "were allowed")]
fn a_link_that_is_never_flushed_is_found() {
    (0..20).for_each(|seed| replay(Fault::LinksNeverFlushed, seed));
}

#[test]
#[should_panic(expected = "zeroed")]
fn room_that_is_not_zeroed_is_found() {
    (0..20).for_each(|seed| replay(Fault::LiesAboutZeroes, seed));
}

#[test]
#[should_panic(expected = "given back and not flushed")]
fn room_that_was_just_given_back_is_found() {
    (0..20).for_each(|seed| replay(Fault::ReusesAtOnce, seed));
}

#[test]
fn no_space_is_an_answer_and_the_write_can_be_tried_again() {
    let main = JournalSource::new(0, "toy", vec![]);
    let image = Toy::create(main.clone(), Fault::None).unwrap();
    let mut host = SimulatedHost::new(image, main.clone(), vec![]).unwrap();
    main.limit(3 * BLOCK);
    host.write(0, &[1; 4096]).unwrap();
    assert_eq!(host.write(2 * BLOCK, &[2; 512]), Err(Error::NoSpace));
    main.limit(4 * BLOCK);
    host.write(2 * BLOCK, &[2; 512]).unwrap();
    assert_eq!(host.read(2 * BLOCK, 512).unwrap(), [2; 512]);
    host.close().unwrap();
}
