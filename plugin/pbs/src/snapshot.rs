//! What was opened: the manifest if there is one, its disks, and the key.

use alloc::rc::Rc;
use alloc::string::String;
use alloc::vec::Vec;

use fumehood_plugin::{Error, Host, Result};

use crate::fixed::Index;
use crate::hex::Hash;
use crate::keys::BackupKey;
use crate::manifest::{Manifest, Mode};
use crate::store::Store;

/// A snapshot, or a single index of one.
pub struct Snapshot {
    /// Opens what lies beside the main file.
    pub host: Rc<dyn Host>,
    /// The manifest.
    pub manifest: Option<Manifest>,
    /// The disks, in its order.
    pub disks: Vec<Entry>,
    /// Names of archives, which are not shown.
    pub archives: Vec<String>,
    /// Names of small files.
    pub documents: Vec<String>,
    /// The chunks of all disks.
    pub store: Rc<Store>,
    /// The key, if it is needed and was given.
    pub key: Option<ActiveKey>,
    /// Whether an index that contradicts its checksum is read all the same.
    pub lenient: bool,
    /// What the operator should know.
    pub warnings: Vec<String>,
}

/// A key that the host holds too.
pub struct ActiveKey {
    /// The key.
    pub key: BackupKey,
    /// The host's number for it.
    pub number: u32,
}

/// A disk of the snapshot.
pub struct Entry {
    /// Its name.
    pub name: String,
    /// Its size in bytes.
    pub size: u64,
    /// Its index, or why there is none.
    pub index: Result<Rc<Index>>,
    /// How it is protected, where a manifest says so.
    pub mode: Option<Mode>,
}

/// What is learned of a disk before it is read.
#[derive(Clone, Default)]
pub struct Findings {
    /// Digests of chunks of nothing but zeroes, by their length.
    pub zeroes: Vec<(u32, Hash)>,
    /// Why its index cannot be relied on.
    pub flaw: Option<Error>,
}

impl Snapshot {
    /// Whether chunks of a disk may be encrypted.
    pub fn may_be_encrypted(&self, entry: &Entry) -> bool {
        !matches!(entry.mode, Some(Mode::Plain | Mode::Signed)) && self.key.is_some()
    }
}
