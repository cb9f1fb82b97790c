//! Feature bits of the version 3 header (specification, "Header": bytes 72–95).
//! Whether a combination makes sense is for [`crate::header`].

use alloc::format;
use alloc::string::String;

use fumehood_plugin::{Error, Result};

use crate::extensions::{Extensions, FeatureKind};

/// The image was not closed.
pub const DIRTY: u64 = 1 << 0;
const CORRUPT: u64 = 1 << 1;
const DATA_FILE: u64 = 1 << 2;
/// Compressed clusters are not deflated.
pub const COMPRESSION: u64 = 1 << 3;
/// Clusters have subclusters.
pub const EXTENDED_L2: u64 = 1 << 4;
const KNOWN_INCOMPATIBLE: u64 = DIRTY | CORRUPT | DATA_FILE | COMPRESSION | EXTENDED_L2;

const LAZY_REFCOUNTS: u64 = 1 << 0;

/// The persistent bitmaps are in step with the image.
pub const BITMAPS: u64 = 1 << 0;
const RAW_DATA_FILE: u64 = 1 << 1;

/// Offset of the incompatible bits in the header.
pub const INCOMPATIBLE_OFFSET: u64 = 72;

/// The bits as the header has them; all clear in version 2.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Features {
    /// Bits a reader must know.
    pub incompatible: u64,
    /// Bits a reader may ignore.
    pub compatible: u64,
    /// Bits that a writer clears where it does not know them.
    pub autoclear: u64,
}

impl Features {
    /// Whether the image was not closed: its refcounts may be stale.
    pub fn dirty(self) -> bool {
        self.incompatible & DIRTY != 0
    }

    /// Whether a writer found contradictions in the metadata.
    pub fn corrupt(self) -> bool {
        self.incompatible & CORRUPT != 0
    }

    /// Whether the payload lies in an external file.
    pub fn data_file(self) -> bool {
        self.incompatible & DATA_FILE != 0
    }

    /// Whether compressed clusters are not deflated.
    pub fn other_compression(self) -> bool {
        self.incompatible & COMPRESSION != 0
    }

    /// Whether clusters have subclusters.
    pub fn extended_l2(self) -> bool {
        self.incompatible & EXTENDED_L2 != 0
    }

    /// Whether refcounts are written late.
    pub fn lazy_refcounts(self) -> bool {
        self.compatible & LAZY_REFCOUNTS != 0
    }

    /// Whether the persistent bitmaps are in step with the image.
    pub fn bitmaps(self) -> bool {
        self.autoclear & BITMAPS != 0
    }

    /// Whether the external file can be read as a raw disk of its own.
    pub fn raw_data_file(self) -> bool {
        self.autoclear & RAW_DATA_FILE != 0
    }

    /// Refuses incompatible bits that this plugin does not know, by the names that
    /// the image itself gives them.
    ///
    /// # Errors
    /// [`Error::Unsupported`].
    pub fn check_known(self, extensions: &Extensions) -> Result<()> {
        let unknown = self.incompatible & !KNOWN_INCOMPATIBLE;
        if unknown == 0 {
            return Ok(());
        }
        let mut names = String::new();
        for bit in (0..64u8).filter(|bit| unknown >> bit & 1 != 0) {
            let separator = if names.is_empty() { "" } else { ", " };
            names.push_str(separator);
            match extensions.feature_name(FeatureKind::Incompatible, bit) {
                Some(name) => names.push_str(&format!("\"{name}\" (bit {bit})")),
                None => names.push_str(&format!("unnamed (bit {bit})")),
            }
        }
        Err(Error::Unsupported(format!("incompatible features of the image: {names}")))
    }
}
