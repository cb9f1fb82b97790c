//! The archive as its disks share it: the header, and the index once it is there.

use core::cell::RefCell;

use fumehood_plugin::{Error, Progress, Result, SourceHandle};

use crate::header::Header;
use crate::index::{Index, Summary};
use crate::scan::Scan;

/// An opened archive.
pub struct Archive {
    /// Its file.
    pub main: SourceHandle,
    /// Its header.
    pub header: Header,
    state: RefCell<State>,
}

enum State {
    Scanning(Scan),
    Ready(Index, Summary),
}

impl Archive {
    /// The archive in `main`; takes the index from the scratch if it is there.
    pub fn new(
        main: SourceHandle,
        header: Header,
        scratch: Option<SourceHandle>,
        seed: &[u8; 32],
    ) -> Self {
        let loaded = scratch.as_ref().and_then(|scratch| Index::load(&*main, &header, scratch));
        let state = match loaded {
            Some((index, summary)) => State::Ready(index, summary),
            None => {
                let index = Index::new(&*main, &header, scratch, seed);
                State::Scanning(Scan::new(&header, index))
            }
        };
        Self { main, header, state: RefCell::new(state) }
    }

    /// Scans on.
    ///
    /// # Errors
    /// As [`Scan::step`].
    pub fn prepare(&self) -> Result<Progress> {
        let mut state = self.state.borrow_mut();
        let State::Scanning(scan) = &mut *state else { return Ok(Progress::DONE) };
        let flow = scan.step(&*self.main, &self.header)?;
        let progress = scan.progress(&*self.main, &self.header);
        if flow.is_break() {
            let index = Index::new(&*self.main, &self.header, None, &[0; 32]);
            let scan = core::mem::replace(scan, Scan::new(&self.header, index));
            *state = State::Ready(scan.index, scan.summary);
        }
        Ok(progress)
    }

    /// What the scan found.
    ///
    /// # Errors
    /// [`Error::Io`] before it is done.
    pub fn summary(&self) -> Result<Summary> {
        match &*self.state.borrow() {
            State::Ready(_, summary) => Ok(summary.clone()),
            State::Scanning(_) => Err(not_scanned()),
        }
    }

    /// Does something with the index.
    ///
    /// # Errors
    /// What `action` answers; [`Error::Io`] before the scan is done.
    pub fn with_index<R>(&self, action: impl FnOnce(&mut Index) -> Result<R>) -> Result<R> {
        match &mut *self.state.borrow_mut() {
            State::Ready(index, _) => action(index),
            State::Scanning(_) => Err(not_scanned()),
        }
    }
}

fn not_scanned() -> Error {
    Error::Io("the archive is not scanned yet".into())
}
