//! The chunk store, which lies above the folder of a snapshot: how far above depends on
//! its namespace. Found once, by the first chunk that is there.

use alloc::format;
use alloc::rc::Rc;
use alloc::string::String;
use core::cell::Cell;

use fumehood_plugin::{Access, Error, Host, Result, SourceHandle};

use crate::hex::{Hash, hex};

/// Folders between a snapshot and its datastore: type, id, time.
const LEAST: usize = 3;
/// Each namespace adds two, `ns` and its name; they nest seven deep at most.
const NAMESPACES: usize = 7;

/// A store of chunks.
pub struct Store {
    host: Rc<dyn Host>,
    /// How many folders up it is, once that is known.
    height: Cell<Option<usize>>,
}

/// What looking for a chunk gave.
pub enum Found {
    /// It is there.
    Chunk(SourceHandle),
    /// Why it is not.
    Missing(String),
}

impl Store {
    /// A store that is still to be found.
    pub fn new(host: Rc<dyn Host>) -> Self {
        Self { host, height: Cell::new(None) }
    }

    /// Looks for the store by the chunks of these digests, unless it was found before:
    /// by several, so that one that is missing does not look as if all were. Whether it
    /// is found.
    ///
    /// # Errors
    /// What the host answers, unless that it is not there.
    pub fn find(&self, digests: &[Hash]) -> Result<bool> {
        for digest in digests {
            if self.height.get().is_some() {
                break;
            }
            self.look_everywhere(&hex(digest))?;
        }
        Ok(self.height.get().is_some())
    }

    /// Opens the chunk of that digest, once the store was found.
    ///
    /// # Errors
    /// What the host answers, unless that it is not there.
    pub fn open(&self, digest: &Hash) -> Result<Found> {
        let name = hex(digest);
        let Some(height) = self.height.get() else { return Ok(Found::Missing(nowhere(&name))) };
        if let Some(chunk) = self.try_open(&name, "", height)? {
            return Ok(Found::Chunk(chunk));
        }
        let what = match self.try_open(&name, ".0.bad", height)? {
            Some(_) => format!("chunk {name} was found to be corrupt by its server"),
            None => format!("chunk {name} is missing"),
        };
        Ok(Found::Missing(what))
    }

    fn look_everywhere(&self, name: &str) -> Result<()> {
        for height in (LEAST..).step_by(2).take(NAMESPACES + 1) {
            if self.try_open(name, "", height)?.is_some() {
                self.height.set(Some(height));
                break;
            }
        }
        Ok(())
    }

    fn try_open(&self, name: &str, suffix: &str, height: usize) -> Result<Option<SourceHandle>> {
        let folder = name.get(..4).unwrap_or_default();
        let reference = format!("{}.chunks/{folder}/{name}{suffix}", "../".repeat(height));
        match self.host.open(&reference, Access::Read) {
            Ok(source) => Ok(Some(source)),
            Err(Error::Missing(_) | Error::NotGranted(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// What is to say of a chunk where there is no store.
pub fn nowhere(name: &str) -> String {
    format!(
        "chunk {name} is missing, as is every other so far: the folder .chunks is looked for \
         above the snapshot's own, and the datastore it is in has to be granted, with \
         --allow DATASTORE"
    )
}
