//! The archive as its disks share it: the manifest, and the index once it is there.

use alloc::vec::Vec;
use core::cell::RefCell;

use fumehood_plugin::read::read_bytes;
use fumehood_plugin::{Error, Progress, Result, Source, SourceHandle};
use sha2::{Digest, Sha256};

use crate::index::{Index, Summary};
use crate::manifest::{MOST_MANIFEST, Manifest};
use crate::scan::Scan;
use crate::tar::{BLOCK, Kind, Member};
use crate::walk::{Found, Next, Walk};

/// The name of the manifest, which is the first member.
pub const MANIFEST: &str = "ova.xml";

/// Folders and headers that may come before it.
const MOST_BEFORE: usize = 8;

/// An opened archive.
pub struct Archive {
    /// Its file.
    pub main: SourceHandle,
    /// What its first member says.
    pub manifest: Manifest,
    text: Found,
    state: RefCell<State>,
}

enum State {
    Scanning(Scan),
    Ready(Index, Summary),
}

/// Whether an export begins like this: it is tar, and the manifest is its first file.
/// What packs an export anew may put folders and pax headers before it.
pub fn is_signature(head: &[u8]) -> bool {
    let mut at = 0;
    for _ in 0..MOST_BEFORE {
        let block = head.get(at..).and_then(|rest| rest.get(..BLOCK as usize));
        let member = block.and_then(|block| Member::parse(block, 0).ok().flatten());
        let Some(member) = member else { return false };
        if member.kind == Kind::File {
            return member.name.strip_prefix("./").unwrap_or(&member.name) == MANIFEST;
        }
        let Ok(size) = usize::try_from(member.size) else { return false };
        at = size.saturating_add(at).saturating_add(2 * BLOCK as usize - 1);
        at -= at % BLOCK as usize;
    }
    false
}

/// The first file, and the place behind it.
fn first(main: &dyn Source) -> Result<(Found, Walk)> {
    let mut walk = Walk::default();
    for _ in 0..MOST_BEFORE {
        match walk.next(main)? {
            Next::Member(found) if found.is_file => return Ok((found, walk)),
            Next::Member(_) => (),
            Next::Cut => {
                return Err(Error::corrupt(walk.at(), "the archive ends within its first file"));
            }
            Next::End => break,
        }
    }
    Err(Error::Unrecognised)
}

impl Archive {
    /// Opens the archive in `main`; takes the index from the scratch if it is there.
    ///
    /// # Errors
    /// [`Error::Unrecognised`] where the manifest does not come first, as
    /// [`Manifest::parse`], or what the source answers.
    pub fn open(
        main: SourceHandle,
        scratch: Option<SourceHandle>,
        seed: &[u8; 32],
    ) -> Result<Self> {
        let (text, walk) = first(&*main)?;
        if text.name != MANIFEST {
            return Err(Error::Unrecognised);
        }
        if text.size > MOST_MANIFEST {
            let what = alloc::format!("an ova.xml of {} bytes, over {MOST_MANIFEST}", text.size);
            return Err(Error::Unsupported(what));
        }
        let bytes = read_bytes(&*main, text.data, text.size, MANIFEST)?;
        let manifest = Manifest::parse(&bytes, text.data)?;
        let mut identity = Sha256::new();
        identity.update(main.size().to_le_bytes());
        identity.update(&bytes);
        let identity = (identity.finalize().into(), main.size());
        let sizes: Vec<u64> = manifest.vdis.iter().map(|vdi| vdi.size).collect();
        let loaded = scratch.as_ref().and_then(|scratch| Index::load(identity, scratch, &sizes));
        let state = match loaded {
            Some((index, summary)) => State::Ready(index, summary),
            None => {
                let index = Index::new(identity, scratch, seed);
                State::Scanning(Scan::new(walk, &manifest.vdis, index))
            }
        };
        Ok(Self { main, manifest, text, state: RefCell::new(state) })
    }

    /// Scans on.
    ///
    /// # Errors
    /// As [`Scan::step`].
    pub fn prepare(&self) -> Result<Progress> {
        let mut state = self.state.borrow_mut();
        let State::Scanning(scan) = &mut *state else { return Ok(Progress::DONE) };
        let flow = scan.step(&*self.main, &self.manifest.vdis)?;
        let progress = scan.progress(&*self.main);
        if flow.is_break() {
            let index = Index::new(([0; 32], 0), None, &[0; 32]);
            let scan = core::mem::replace(scan, Scan::new(Walk::default(), &[], index));
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

    /// The manifest as it stands in the archive.
    ///
    /// # Errors
    /// What the source answers.
    pub fn text(&self) -> Result<Vec<u8>> {
        read_bytes(&*self.main, self.text.data, self.text.size, MANIFEST)
    }
}

fn not_scanned() -> Error {
    Error::Io("the archive is not scanned yet".into())
}
