//! Sizes that follow from the cluster size and the kind of L2 entry, and the
//! checks of offsets against them. Nothing here reads the image.

use alloc::format;

use fumehood_plugin::{Error, Result};

/// The largest offset an entry can express: bits 0–55 (specification, "L1 table entry").
pub const OFFSET_LIMIT: u64 = 1 << 56;

/// How an image divides its disk and its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Geometry {
    cluster_bits: u32,
    extended: bool,
}

impl Geometry {
    /// The sizes for clusters of `1 << cluster_bits` bytes; with `extended`, each
    /// cluster has 32 subclusters (specification, "Extended L2 Entries").
    ///
    /// # Errors
    /// [`Error::Corrupt`] at `offset` for clusters outside 512 B … 2 MiB, and for
    /// subclusters smaller than a 512-byte sector.
    pub fn new(cluster_bits: u32, extended: bool, offset: u64) -> Result<Self> {
        if !(9..=21).contains(&cluster_bits) {
            let what = format!("expected cluster bits from 9 to 21, found {cluster_bits}");
            return Err(Error::corrupt(offset, what));
        }
        if extended && cluster_bits < 14 {
            let what =
                format!("extended L2 entries need cluster bits from 14 on, found {cluster_bits}");
            return Err(Error::corrupt(offset, what));
        }
        Ok(Self { cluster_bits, extended })
    }

    /// Base-2 logarithm of the cluster size.
    pub fn cluster_bits(self) -> u32 {
        self.cluster_bits
    }

    /// Whether L2 entries carry subcluster bitmaps.
    pub fn extended(self) -> bool {
        self.extended
    }

    /// Bytes a cluster.
    pub fn cluster_size(self) -> u64 {
        1 << self.cluster_bits
    }

    /// Bytes of the smallest unit of allocation.
    pub fn granularity(self) -> u64 {
        if self.extended { self.cluster_size() / 32 } else { self.cluster_size() }
    }

    /// Bytes an L2 entry.
    pub fn entry_size(self) -> u64 {
        if self.extended { 16 } else { 8 }
    }

    /// Entries an L2 table, which fills one cluster.
    pub fn table_entries(self) -> u64 {
        self.cluster_size() / self.entry_size()
    }

    /// Bytes of the disk that one L2 table maps.
    pub fn table_span(self) -> u64 {
        self.table_entries() << self.cluster_bits
    }

    /// Clusters that `bytes` touch when they begin on a boundary.
    pub fn clusters(self, bytes: u64) -> u64 {
        bytes.div_ceil(self.cluster_size())
    }

    /// The start of the cluster that holds `offset`.
    pub fn cluster_start(self, offset: u64) -> u64 {
        offset & !(self.cluster_size() - 1)
    }

    /// Which of a cluster's subclusters the bytes from `from` to `to` of it touch. A
    /// cluster without subclusters is touched as a whole.
    pub fn subclusters_touched(self, from: u64, to: u64) -> u32 {
        if !self.extended || from >= to {
            return if from < to { u32::MAX } else { 0 };
        }
        let (first, end) = (from / self.granularity(), to.div_ceil(self.granularity()));
        // From 0 to 32 bits.
        let below = |count: u64| ((1u64 << count.min(32)) - 1) as u32;
        below(end) & !below(first)
    }

    /// Whether `offset` is the start of a cluster.
    pub fn is_aligned(self, offset: u64) -> bool {
        self.cluster_start(offset) == offset
    }

    /// Checks a table of `length` bytes at `offset` of a file of `file_size` bytes;
    /// `field` is where the offset stands and `name` what the table is called.
    ///
    /// # Errors
    /// [`Error::Corrupt`] for a table that is unaligned, overlaps the header or
    /// reaches past the file's end.
    pub fn check_table(
        self,
        name: &str,
        field: u64,
        offset: u64,
        length: u64,
        file_size: u64,
    ) -> Result<()> {
        if !self.is_aligned(offset) || offset == 0 {
            let size = self.cluster_size();
            let what =
                format!("expected the {name} at a multiple of {size} above 0, found {offset}");
            return Err(Error::corrupt(field, what));
        }
        let end = offset.checked_add(length).filter(|end| *end <= OFFSET_LIMIT.min(file_size));
        if end.is_none() {
            let what = format!(
                "expected the {name} inside the file's {file_size} bytes, \
                 found {length} bytes at {offset}"
            );
            return Err(Error::corrupt(field, what));
        }
        Ok(())
    }
}
