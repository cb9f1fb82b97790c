//! Fixed indexes: a disk as a list of digests of its chunks, all of one size
//! (`file-formats.rst`, "Fixed Index Format"). The list is read in parts.

use alloc::format;
use alloc::vec::Vec;

use fumehood_plugin::read::{read_bytes, read_struct, read_table};
use fumehood_plugin::{Error, Result, SourceHandle};
use zerocopy::little_endian::{I64, U64};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

use crate::hex::Hash;

const MAGIC: [u8; 8] = [0x2f, 0x7f, 0x41, 0xed, 0x91, 0xfd, 0x0f, 0xcd];
const DYNAMIC_MAGIC: [u8; 8] = [0x1c, 0x91, 0x4e, 0xa5, 0x19, 0xba, 0xb3, 0xcd];
/// Where the digests begin.
const TABLE: u64 = 4096;
/// Bytes a digest.
const DIGEST: u64 = size_of::<Hash>() as u64;
/// The smallest and the largest chunk, in bytes; clients make 64 KiB to 4 MiB.
const CHUNKS: (u64, u64) = (512, 64 << 20);

/// The header as it lies on disk.
#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Header {
    magic: [u8; 8],
    uuid: [u8; 16],
    created: I64,
    checksum: Hash,
    size: U64,
    chunk_size: U64,
}

/// Whether a file that begins like this is an index, of either kind.
pub fn is_index(head: &[u8]) -> bool {
    head.starts_with(&MAGIC) || head.starts_with(&DYNAMIC_MAGIC)
}

/// A fixed index. Its numbers fit together.
pub struct Index {
    main: SourceHandle,
    /// Identifies it.
    pub uuid: [u8; 16],
    /// Seconds since 1970.
    pub created: i64,
    /// SHA-256 over all digests.
    pub checksum: Hash,
    /// Bytes of the disk, more than 0.
    pub size: u64,
    /// Bytes a chunk, a power of two.
    pub chunk: u32,
    /// How many chunks there are.
    pub chunks: u64,
}

impl Index {
    /// The index in `main`; reads its header only.
    ///
    /// # Errors
    /// [`Error::Unrecognised`] where it is none, [`Error::Unsupported`] for a dynamic
    /// one and for chunks too large, [`Error::Corrupt`] by the field that is wrong.
    pub fn read(main: SourceHandle) -> Result<Self> {
        let magic = main.read(0, MAGIC.len()).map_err(|_| Error::Unrecognised)?;
        if magic == DYNAMIC_MAGIC {
            let what = "a dynamic index (.didx) holds an archive of files and no disk";
            return Err(Error::Unsupported(what.into()));
        }
        if magic != MAGIC {
            return Err(Error::Unrecognised);
        }
        let id = main.id();
        let header: Header = read_struct(&*main, 0, "header of an index")?;
        let (size, chunk) = (header.size.get(), header.chunk_size.get());
        if size == 0 || i64::try_from(size).is_err() {
            return Err(Error::corrupt_in(id, 64, format!("a disk of {size} bytes")));
        }
        let (least, most) = CHUNKS;
        if !chunk.is_power_of_two() || chunk < least {
            let what = format!("expected chunks of a power of two of bytes, found {chunk}");
            return Err(Error::corrupt_in(id, 72, what));
        }
        let chunk = u32::try_from(chunk).ok().filter(|chunk| u64::from(*chunk) <= most);
        let Some(chunk) = chunk else {
            let found = header.chunk_size.get();
            let what = format!("chunks of {found} bytes; up to {most} are read");
            return Err(Error::Unsupported(what));
        };
        let chunks = size.div_ceil(chunk.into());
        let expected = chunks.checked_mul(DIGEST).and_then(|length| length.checked_add(TABLE));
        if expected != Some(main.size()) {
            let found = main.size().saturating_sub(TABLE) / DIGEST;
            let what = format!(
                "expected digests of {chunks} chunks, found {found} in the file's {} bytes",
                main.size()
            );
            return Err(Error::corrupt_in(id, TABLE, what));
        }
        Ok(Self {
            uuid: header.uuid,
            created: header.created.get(),
            checksum: header.checksum,
            size,
            chunk,
            chunks,
            main,
        })
    }

    /// The digests of `count` chunks from `first` on.
    ///
    /// # Errors
    /// What the source answers.
    pub fn digests(&self, first: u64, count: u64) -> Result<Vec<Hash>> {
        let offset = first.saturating_mul(DIGEST).saturating_add(TABLE);
        read_table(&*self.main, offset, count, "digests")
    }

    /// The same as they lie in the file.
    ///
    /// # Errors
    /// What the source answers.
    pub fn raw_digests(&self, first: u64, count: u64) -> Result<Vec<u8>> {
        let offset = first.saturating_mul(DIGEST).saturating_add(TABLE);
        read_bytes(&*self.main, offset, count.saturating_mul(DIGEST), "digests")
    }

    /// Bytes of chunk `number`; the last may be short.
    pub fn length_of(&self, number: u64) -> u32 {
        let start = number.saturating_mul(self.chunk.into());
        let rest = self.size.saturating_sub(start);
        u32::try_from(rest).map_or(self.chunk, |rest| rest.min(self.chunk))
    }

    /// The number of the source it is in.
    pub fn source(&self) -> u32 {
        self.main.id()
    }
}
