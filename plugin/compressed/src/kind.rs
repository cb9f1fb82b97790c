//! Which container it is, by its first bytes, and what it and its contents are called.

use alloc::string::{String, ToString};

use fumehood_plugin::bzip2::is_bzip2;

use crate::checksum::CRC32;
use crate::{gzip_header, lz4, lzop, zstd_frame};

/// A container that is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Gzip,
    Xz,
    Zstd,
    Bzip2,
    Lz4,
    Lzop,
}

/// Endings that are taken away to name the contents.
const ENDINGS: [&str; 8] = ["gz", "bgz", "xz", "zst", "zstd", "bz2", "lz4", "lzo"];

/// First bytes of an .xz stream.
pub const XZ_MAGIC: &[u8] = b"\xfd7zXZ\0";

impl Kind {
    /// The container that begins with `head`.
    pub fn of(head: &[u8]) -> Option<Self> {
        // Frames that decoders skip come before either kind's first frame.
        let frames = zstd_frame::behind_skippable(head);
        let kind = match () {
            () if gzip_header::is_gzip(head) => Self::Gzip,
            () if is_xz(head) => Self::Xz,
            () if is_bzip2(head) => Self::Bzip2,
            () if head.starts_with(lzop::MAGIC) => Self::Lzop,
            () if zstd_frame::is_frame(frames) => Self::Zstd,
            () if lz4::is_frame(frames) => Self::Lz4,
            () => return None,
        };
        Some(kind)
    }

    /// For people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Xz => "xz",
            Self::Zstd => "Zstandard",
            Self::Bzip2 => "bzip2",
            Self::Lz4 => "LZ4",
            Self::Lzop => "lzop",
        }
    }

    /// How to unpack it, or to make one that can be entered in the middle.
    pub fn way_out(self) -> &'static str {
        match self {
            Self::Gzip => "unpack it with gzip -d",
            Self::Xz => "unpack it with xz -d, or compress it in several blocks with xz -T0",
            Self::Zstd => {
                "unpack it with zstd -d, or compress it in several frames with pzstd, or in \
                 the seekable format"
            }
            Self::Bzip2 => {
                "unpack it with bzip2 -d, or compress it in several blocks with xz -T0 or pzstd"
            }
            Self::Lz4 => "unpack it with lz4 -d, or compress it in independent blocks with lz4 -BI",
            Self::Lzop => "unpack it with lzop -d",
        }
    }
}

fn is_xz(head: &[u8]) -> bool {
    let Some([flags @ .., a, b, c, d]) = head.get(6..12) else { return false };
    let checksum = u32::from_le_bytes([*a, *b, *c, *d]);
    head.starts_with(XZ_MAGIC) && CRC32.checksum(flags) == checksum
}

/// The name of what is in the file called `name`.
pub fn inner_name(name: &str) -> String {
    let known = |ending: &str| ENDINGS.iter().any(|own| own.eq_ignore_ascii_case(ending));
    match name.rsplit_once('.') {
        Some((inner, ending)) if known(ending) && !inner.is_empty() => inner.to_string(),
        _ => name.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_ending_is_taken_away() {
        for (name, inner) in [
            ("disk.vma.zst", "disk.vma"),
            ("disk.raw.GZ", "disk.raw"),
            ("disk.tgz", "disk.tgz"),
            ("disk", "disk"),
            (".gz", ".gz"),
            ("a.b.c.xz", "a.b.c"),
        ] {
            assert_eq!(inner_name(name), inner);
        }
    }

    #[test]
    fn containers_are_known_by_their_first_bytes() {
        for (head, kind) in [
            (&b"\x1f\x8b\x08\x00\0\0\0\0\x00\x03"[..], Some(Kind::Gzip)),
            (b"\x1f\x8b\x08\xe0\0\0\0\0\x00\x03", None),
            (b"\x1f\x8b\x07\x00\0\0\0\0\x00\x03", None),
            (b"\xfd7zXZ\0\0\x04\xe6\xd6\xb4\x46", Some(Kind::Xz)),
            (b"\xfd7zXZ\0\0\x04\xe6\xd6\xb4\x47", None),
            (b"\x28\xb5\x2f\xfd\x04\x58\0\0\0\0\0", Some(Kind::Zstd)),
            (b"\x50\x2a\x4d\x18\x02\0\0\0\xaa\xaa\x28\xb5\x2f\xfd\x04\x58", Some(Kind::Zstd)),
            (b"\x50\x2a\x4d\x18\x02\0\0\0\xaa\xaa\x04\x22\x4d\x18\x64\x40\xa7", Some(Kind::Lz4)),
            (b"\x50\x2a\x4d\x18\xff\xff\xff\xff\xaa", None),
            (b"\x04\x22\x4d\x18\x64\x40\xa7", Some(Kind::Lz4)),
            (b"\x04\x22\x4d\x18\x24\x40\xa7", None),
            (b"\x02\x21\x4c\x18\x10\0\0\0", Some(Kind::Lz4)),
            (b"BZh91AY&SY", Some(Kind::Bzip2)),
            (b"BZh01AY&SY", None),
            (b"BZh9 a text", None),
            (b"\x89LZO\0\r\n\x1a\n", Some(Kind::Lzop)),
            (b"QFI\xfb", None),
            (b"", None),
        ] {
            assert_eq!(Kind::of(head), kind, "{head:x?}");
        }
    }
}
