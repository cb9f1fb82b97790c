//! The seek table of the Zstandard seekable format: a skippable frame at the end that
//! lists all frames with their lengths, stored and decoded.

use fumehood_plugin::read::{read_struct, read_table};
use fumehood_plugin::{Codec, Error, Result, SourceHandle};
use zerocopy::little_endian::U32;
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

use crate::PIECE_LIMIT;
use crate::index_writer::IndexWriter;
use crate::piece::{Check, EncodedPiece, Piece};
use crate::zstd_frame;

const MAGIC: u32 = 0x8f92_eab1;
const CHECKSUMS: u8 = 0x80;
const RESERVED: u8 = 0x7c;
/// Entries that are read at once.
const WINDOW: u32 = 2048;
/// The header of a skippable frame.
const FRAME_HEADER: u64 = 8;

/// The last bytes of the file.
#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Footer {
    frames: U32,
    descriptor: u8,
    magic: U32,
}

const FOOTER: u64 = size_of::<Footer>() as u64;

#[derive(Clone, FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Plain {
    stored: U32,
    decoded: U32,
}

#[derive(Clone, FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Checked {
    plain: Plain,
    /// Of the decoded bytes: the low half of their XXH64, which is no digest of ours.
    checksum: U32,
}

/// A walk over the table.
pub struct SeekTable {
    main: SourceHandle,
    /// Where the entries begin.
    entries: u64,
    count: u32,
    checked: bool,
    /// Where the table's frame begins: all other frames end there.
    end: u64,
    next: u32,
    /// Where the next frame begins.
    position: u64,
}

impl SeekTable {
    /// The table at the end of `main`, if there is one that fits the file.
    ///
    /// # Errors
    /// What the source answers.
    pub fn find(main: &SourceHandle) -> Result<Option<Self>> {
        let size = main.size();
        let Some(footer_at) = size.checked_sub(FOOTER) else { return Ok(None) };
        let footer: Footer = read_struct(&**main, footer_at, "seek table footer")?;
        if footer.magic.get() != MAGIC || footer.descriptor & RESERVED != 0 {
            return Ok(None);
        }
        let checked = footer.descriptor & CHECKSUMS != 0;
        let count = footer.frames.get();
        let entry = if checked { size_of::<Checked>() } else { size_of::<Plain>() } as u64;
        let Some(entries) = footer_at.checked_sub(u64::from(count) * entry) else {
            return Ok(None);
        };
        let Some(end) = entries.checked_sub(FRAME_HEADER) else { return Ok(None) };
        let header = main.read(end, FRAME_HEADER as usize)?;
        if zstd_frame::skippable(&header) != Some(size - end) {
            return Ok(None);
        }
        Ok(Some(Self { main: main.clone(), entries, count, checked, end, next: 0, position: 0 }))
    }

    /// Where it has come to.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Takes the next entries; true when all are taken.
    ///
    /// # Errors
    /// [`Error::Corrupt`] where the table is not the file's; the frames are then to be
    /// walked.
    pub fn step(&mut self, index: &mut IndexWriter) -> Result<bool> {
        let count = WINDOW.min(self.count - self.next);
        for entry in self.window(count)? {
            self.frame(entry.stored.get(), entry.decoded.get(), index)?;
        }
        self.next += count;
        if self.next < self.count {
            return Ok(false);
        }
        if self.position != self.end {
            let what = alloc::format!(
                "expected frames up to {}, found a seek table for {} bytes",
                self.end,
                self.position
            );
            return Err(Error::corrupt(self.entries, what));
        }
        Ok(true)
    }

    fn window(&self, count: u32) -> Result<alloc::vec::Vec<Plain>> {
        let (next, count) = (u64::from(self.next), u64::from(count));
        if !self.checked {
            let at = self.entries + next * size_of::<Plain>() as u64;
            return read_table(&*self.main, at, count, "seek table");
        }
        let at = self.entries + next * size_of::<Checked>() as u64;
        let table: alloc::vec::Vec<Checked> = read_table(&*self.main, at, count, "seek table")?;
        Ok(table.into_iter().map(|entry| entry.plain).collect())
    }

    /// Takes a frame, if it is one that the host can decode whole.
    fn frame(&mut self, stored: u32, decoded: u32, index: &mut IndexWriter) -> Result<()> {
        let (start, end) = (self.position, self.position + u64::from(stored));
        let corrupt = |what: &str| {
            let what = alloc::format!("{what}: {stored} bytes, {decoded} decoded");
            Err(Error::corrupt(start, what))
        };
        if end > self.end || u64::from(stored.max(decoded)) > PIECE_LIMIT {
            return corrupt("expected a frame as the seek table says");
        }
        self.position = end;
        if decoded == 0 {
            return Ok(());
        }
        let mut feed = crate::feed::Feed::new(self.main.clone(), start, start + 18);
        let sound = match zstd_frame::next(&mut feed)? {
            zstd_frame::Next::Frame(frame) => {
                frame.dictionary == 0
                    && frame.content.is_none_or(|content| content == u64::from(decoded))
            }
            _ => false,
        };
        if !sound {
            return corrupt("expected a frame of this length");
        }
        index.summary.parts += 1;
        let piece = EncodedPiece {
            offset: start,
            stored,
            codec: Codec::Zstd,
            check: Check::None,
            entrance: None,
        };
        index.push(decoded.into(), Piece::Encoded(piece))
    }
}
