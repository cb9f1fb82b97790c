//! A source over memory that records every change.

use alloc::rc::Rc;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;
use core::cell::RefCell;

use crate::error::{Error, Result};
use crate::memory::slice;
use crate::source::Source;

/// One thing done to a [`JournalSource`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Bytes were written.
    Write {
        /// Where.
        offset: u64,
        /// What.
        bytes: Vec<u8>,
    },
    /// The source was grown or shrunk to this size.
    Resize(u64),
    /// Zeroes were written.
    Zero {
        /// Where.
        offset: u64,
        /// How many.
        length: u64,
    },
    /// Storage was given back; the bytes read as zeroes.
    Discard {
        /// Where.
        offset: u64,
        /// How many bytes.
        length: u64,
    },
    /// All before is durable.
    Flush,
    /// A test's own mark.
    Mark(u64),
}

impl Event {
    /// Does to `bytes` what was done to the source.
    pub(super) fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Event::Write { offset, bytes: new } => overwrite(bytes, *offset, new),
            Event::Resize(size) => bytes.resize(*size as usize, 0),
            Event::Zero { offset, length } => fill(bytes, *offset, *length, true),
            Event::Discard { offset, length } => fill(bytes, *offset, *length, false),
            Event::Flush | Event::Mark(_) => {}
        }
    }
}

/// Puts `new` at `offset` of `bytes`, which grow where they are too short.
pub(super) fn overwrite(bytes: &mut Vec<u8>, offset: u64, new: &[u8]) {
    let start = offset as usize;
    let end = start + new.len();
    if bytes.len() < end {
        bytes.resize(end, 0);
    }
    bytes[start..end].copy_from_slice(new);
}

/// Zeroes a range of `bytes`; what lies past their end makes them `grow` or is ignored.
pub(super) fn fill(bytes: &mut Vec<u8>, offset: u64, length: u64, grow: bool) {
    let end = (offset + length) as usize;
    if grow && bytes.len() < end {
        bytes.resize(end, 0);
    }
    let size = bytes.len();
    bytes[(offset as usize).min(size)..end.min(size)].fill(0);
}

struct Journal {
    bytes: Vec<u8>,
    events: Vec<Event>,
    limit: u64,
}

/// A writable source over memory that records every change. Clones share it.
#[derive(Clone)]
pub struct JournalSource {
    id: u32,
    name: String,
    journal: Rc<RefCell<Journal>>,
}

impl JournalSource {
    /// A source numbered `id` that holds `bytes`, with an empty journal.
    pub fn new(id: u32, name: &str, bytes: Vec<u8>) -> Self {
        let journal = Journal { bytes, events: Vec::new(), limit: 1 << 32 };
        Self { id, name: name.to_string(), journal: Rc::new(RefCell::new(journal)) }
    }

    /// A copy of what it holds now.
    pub fn bytes(&self) -> Vec<u8> {
        self.journal.borrow().bytes.clone()
    }

    /// What was done since it was made.
    pub fn events(&self) -> Vec<Event> {
        self.journal.borrow().events.clone()
    }

    /// Empties the journal and gives what it held.
    pub fn take_events(&self) -> Vec<Event> {
        core::mem::take(&mut self.journal.borrow_mut().events)
    }

    /// Records [`Event::Mark`].
    pub fn mark(&self, mark: u64) {
        self.journal.borrow_mut().events.push(Event::Mark(mark));
    }

    /// From now on a change that would make it larger than `bytes` is
    /// [`Error::NoSpace`].
    pub fn limit(&self, bytes: u64) {
        self.journal.borrow_mut().limit = bytes;
    }

    /// How many flushes the journal holds.
    pub fn flushes(&self) -> usize {
        self.journal.borrow().events.iter().filter(|event| **event == Event::Flush).count()
    }

    /// Carries out a change that reaches to `end`.
    fn change(&self, end: Option<u64>, event: Event) -> Result<()> {
        let mut journal = self.journal.borrow_mut();
        if end.is_none_or(|end| end > journal.limit && end > journal.bytes.len() as u64) {
            return Err(Error::NoSpace);
        }
        event.apply(&mut journal.bytes);
        journal.events.push(event);
        Ok(())
    }
}

impl Source for JournalSource {
    fn id(&self) -> u32 {
        self.id
    }
    fn name(&self) -> String {
        self.name.clone()
    }
    fn size(&self) -> u64 {
        self.journal.borrow().bytes.len() as u64
    }
    fn read(&self, offset: u64, length: usize) -> Result<Vec<u8>> {
        slice(&self.journal.borrow().bytes, offset, length).map(<[u8]>::to_vec)
    }
    fn write(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        let end = offset.checked_add(bytes.len() as u64);
        self.change(end, Event::Write { offset, bytes: bytes.to_vec() })
    }
    fn resize(&self, size: u64) -> Result<()> {
        self.change(Some(size), Event::Resize(size))
    }
    fn flush(&self) -> Result<()> {
        self.change(Some(0), Event::Flush)
    }
    fn discard(&self, offset: u64, length: u64) -> Result<bool> {
        let nothing_grows = offset.checked_add(length).map(|_| 0);
        self.change(nothing_grows, Event::Discard { offset, length }).map(|()| true)
    }
    fn zero(&self, offset: u64, length: u64) -> Result<()> {
        self.change(offset.checked_add(length), Event::Zero { offset, length })
    }
}

impl core::fmt::Debug for JournalSource {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let journal = self.journal.borrow();
        let lengths = (journal.bytes.len(), journal.events.len());
        write!(formatter, "JournalSource({}, {} bytes, {} events)", self.id, lengths.0, lengths.1)
    }
}

/// Whether all of `bytes` are zero.
pub(super) fn all_zero(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| *byte == 0)
}

/// `length` bytes of `parent` at `offset`; zeroes past its end.
pub(super) fn parent_bytes(parent: &[u8], offset: u64, length: u64) -> Vec<u8> {
    let mut bytes = vec![0; length as usize];
    let start = (offset as usize).min(parent.len());
    let end = ((offset + length) as usize).min(parent.len());
    bytes[..end - start].copy_from_slice(&parent[start..end]);
    bytes
}
