//! How a stream is compressed: by the ending of its name, or by its first bytes.

/// A compression that Clonezilla offers, or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    Gzip,
    Zstd,
    Xz,
    Lz4,
    Bzip2,
    Lzo,
    None,
    Lzma,
    Lzip,
    Lrzip,
}

impl Compression {
    /// All of them, the likely ones first.
    pub const ALL: [Self; 10] = [
        Self::Gzip,
        Self::Zstd,
        Self::Xz,
        Self::Lz4,
        Self::Bzip2,
        Self::Lzo,
        Self::None,
        Self::Lzma,
        Self::Lzip,
        Self::Lrzip,
    ];

    /// The ending of a file's name.
    pub fn ending(self) -> &'static str {
        match self {
            Self::Gzip => "gz",
            Self::Zstd => "zst",
            Self::Xz => "xz",
            Self::Lz4 => "lz4",
            Self::Bzip2 => "bz2",
            Self::Lzo => "lzo",
            Self::None => "uncomp",
            Self::Lzma => "lzma",
            Self::Lzip => "lzip",
            Self::Lrzip => "lrz",
        }
    }

    /// For people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Zstd => "Zstandard",
            Self::Xz => "xz",
            Self::Lz4 => "LZ4",
            Self::Bzip2 => "bzip2",
            Self::Lzo => "lzop",
            Self::None => "no compression",
            Self::Lzma => "LZMA",
            Self::Lzip => "lzip",
            Self::Lrzip => "lrzip",
        }
    }

    /// Whether another plugin unpacks it.
    pub fn is_read(self) -> bool {
        !matches!(self, Self::Lzma | Self::Lzip | Self::Lrzip)
    }

    /// The compression that a stream begins with.
    pub fn of(head: &[u8]) -> Self {
        let compressed = Self::ALL.into_iter().filter(|one| *one != Self::None);
        compressed.into_iter().find(|one| one.begins(head)).unwrap_or(Self::None)
    }

    /// Whether a stream of this kind may begin with `head`.
    pub fn begins(self, head: &[u8]) -> bool {
        // Frames that decoders pass over, which some writers put first.
        let skipped = matches!(head, [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..]);
        match self {
            Self::Gzip => head.starts_with(b"\x1f\x8b"),
            Self::Zstd => skipped || head.starts_with(b"\x28\xb5\x2f\xfd"),
            Self::Xz => head.starts_with(b"\xfd7zXZ\0"),
            Self::Lz4 => {
                let frames: [&[u8]; 2] = [b"\x04\x22\x4d\x18", b"\x02\x21\x4c\x18"];
                skipped || frames.iter().any(|magic| head.starts_with(magic))
            }
            Self::Bzip2 => head.starts_with(b"BZh"),
            Self::Lzo => head.starts_with(b"\x89LZO"),
            Self::None => true,
            // Properties of the usual kind, and a dictionary of whole 64 KiB.
            Self::Lzma => head.starts_with(b"\x5d\0\0"),
            Self::Lzip => head.starts_with(b"LZIP"),
            Self::Lrzip => head.starts_with(b"LRZI"),
        }
    }
}
