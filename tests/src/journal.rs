//! A source that records what is done to it, for the host to write to.

use std::any::Any;
use std::sync::{Arc, Mutex, PoisonError};

use fumehood::core::{Access, Source, SourceError};
use fumehood_plugin::simulate::Event;

/// A source over memory; recorded if it is for writing.
pub struct JournalSource {
    access: Access,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    bytes: Vec<u8>,
    events: Vec<Event>,
    limit: Option<u64>,
}

impl JournalSource {
    /// A source that holds `bytes`, opened for `access`.
    pub fn new(bytes: Vec<u8>, access: Access) -> Arc<Self> {
        Arc::new(Self { access, state: Mutex::new(State { bytes, ..State::default() }) })
    }

    /// What it holds now, and what was done to it so far, which is forgotten.
    pub fn take(&self) -> (Vec<u8>, Vec<Event>) {
        let mut state = self.state();
        (state.bytes.clone(), std::mem::take(&mut state.events))
    }

    /// Records a mark of the test's own.
    pub fn mark(&self, mark: u64) {
        self.state().events.push(Event::Mark(mark));
    }

    /// From now on it has room for so many bytes only.
    pub fn limit(&self, bytes: Option<u64>) {
        self.state().limit = bytes;
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, end: u64, event: Event) -> Result<(), SourceError> {
        if self.access == Access::Read {
            return Err(SourceError::ReadOnly("journal".into()));
        }
        let mut state = self.state();
        if state.limit.is_some_and(|limit| end > limit) && end > state.bytes.len() as u64 {
            return Err(SourceError::NoSpace("journal".into()));
        }
        let bytes = &mut state.bytes;
        match &event {
            Event::Write { offset, bytes: new } => {
                bytes.resize(bytes.len().max(end as usize), 0);
                bytes[*offset as usize..end as usize].copy_from_slice(new);
            }
            Event::Resize(size) => bytes.resize(*size as usize, 0),
            Event::Zero { offset, .. } => {
                bytes.resize(bytes.len().max(end as usize), 0);
                bytes[*offset as usize..end as usize].fill(0);
            }
            Event::Discard { offset, .. } => {
                let end = (end as usize).min(bytes.len());
                bytes[(*offset as usize).min(end)..end].fill(0);
            }
            Event::Flush | Event::Mark(_) => {}
        }
        state.events.push(event);
        Ok(())
    }
}

impl Source for JournalSource {
    fn name(&self) -> &str {
        "journal"
    }
    fn size(&self) -> u64 {
        self.state().bytes.len() as u64
    }
    fn access(&self) -> Access {
        self.access
    }
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), SourceError> {
        let state = self.state();
        let part = state.bytes.get(offset as usize..offset as usize + buffer.len());
        let part = part.ok_or_else(|| SourceError::Io(format!("nothing at {offset}")))?;
        buffer.copy_from_slice(part);
        Ok(())
    }
    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<(), SourceError> {
        let end = offset + bytes.len() as u64;
        self.change(end, Event::Write { offset, bytes: bytes.to_vec() })
    }
    fn resize(&self, size: u64) -> Result<(), SourceError> {
        self.change(size, Event::Resize(size))
    }
    fn flush(&self) -> Result<(), SourceError> {
        if self.access == Access::Read { Ok(()) } else { self.change(0, Event::Flush) }
    }
    fn discard(&self, offset: u64, length: u64) -> Result<bool, SourceError> {
        self.change(offset + length, Event::Discard { offset, length }).map(|()| true)
    }
    fn zero(&self, offset: u64, length: u64) -> Result<(), SourceError> {
        self.change(offset + length, Event::Zero { offset, length })
    }
    fn as_any(&self) -> &dyn Any {
        self
    }
}
