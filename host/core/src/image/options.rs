//! What is opened or made, and with what.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::contract::format;
use crate::source::{Grants, NoGrants, Source};

/// What to open, and with what.
pub struct OpenImage {
    /// The image's main source; its access is what the plugin is granted.
    pub main: Arc<dyn Source>,
    /// What else it may open, by name.
    pub grants: Arc<dyn Grants>,
    /// A private writable source that outlives this open.
    pub scratch: Option<Arc<dyn Source>>,
    /// The internal snapshot to show instead of the present state.
    pub snapshot: Option<String>,
    /// Secrets, by id.
    pub keys: Vec<(String, Vec<u8>)>,
    /// Free settings, format by format.
    pub settings: Vec<(String, String)>,
    /// Random bytes, new for every open.
    pub seed: [u8; 32],
    /// Is told how far the plugin's preparation has come, if it takes several steps.
    pub on_progress: Option<OnProgress>,
}

/// Called with what is done and what there is to do, in whatever unit; answers whether
/// to go on.
pub type OnProgress = Arc<dyn Fn(u64, u64) -> bool + Send + Sync>;

/// What a new image is to hold.
pub struct NewImage {
    /// Size of its disk in bytes.
    pub size: u64,
    /// Bytes a logical sector.
    pub logical_sector: u32,
    /// What it differs from.
    pub parent: Option<format::Parent>,
    /// Seconds since 1970.
    pub now: u64,
}

impl OpenImage {
    /// Just `main`, nothing else granted.
    pub fn alone(main: Arc<dyn Source>) -> Self {
        Self {
            main,
            grants: Arc::new(NoGrants),
            scratch: None,
            snapshot: None,
            keys: Vec::new(),
            settings: Vec::new(),
            seed: [0; 32],
            on_progress: None,
        }
    }
}
