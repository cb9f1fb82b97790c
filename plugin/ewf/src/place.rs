//! What a table entry says of its chunk, in whichever version of the format. Reading
//! entries is [`crate::entries`]'s, making extents of them [`crate::map`]'s.

/// Where and how a chunk is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChunkPlace {
    /// In its segment.
    Held {
        /// Offset of its first stored byte; may lie past the end of a bad image.
        start: u64,
        /// Offset just past it, never before the start. In version 1 an upper bound:
        /// chunks of a table usually but not surely lie in the order of their numbers.
        end: u64,
        /// What the stored bytes are.
        form: Form,
    },
    /// Nowhere: these bytes again and again.
    Fill([u8; 8]),
    /// In a way that no version knows, with these flags.
    Unknown(u32),
}

/// What the stored bytes of a chunk are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// A compressed stream.
    Compressed,
    /// The chunk's bytes and their Adler-32.
    Sealed,
    /// The chunk's bytes alone.
    Plain,
}
