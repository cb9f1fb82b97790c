//! Decodes for the host, inside the sandbox: one module a codec.
//!
//! A decoder that is fast is unsafe, and one that is long is wrong somewhere. Blocks come
//! from whoever wrote the image, so these run where a mistake costs one block and nothing
//! else. This is no plugin: it is a core module that imports nothing, and the host calls
//! it for one block at a time.
//!
//! ```text
//!   host                                      this module
//!   input(n)          ───────────────────▶    room for n bytes
//!   output(m)         ───────────────────▶    room for m bytes
//!   writes the block into the one
//!   zstd(n, m)        ───────────────────▶    decodes; how many bytes, or why not
//!   reads the other   ◀───────────────────
//! ```
//!
//! Each codec writes into the room that the host asked for and no further. What it needs
//! besides is bounded by that room, not by what the block says of itself.
#![deny(unsafe_code)]
#![warn(missing_docs)]

mod adc;
mod bytes;
mod bzip2;
#[cfg(target_family = "wasm")]
mod exports;
mod lzfse;
mod lzma2;
mod lzo;
mod snappy;
mod xz;
mod zstd;

/// Why a block was not decoded. The numbers are what the host is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum Failure {
    /// It is not sound, uses what is not implemented, or passes the room there is before
    /// it says how long it is.
    Corrupt = -1,
    /// It decodes to more than there is room for.
    TooLong = -2,
    /// It decodes to other bytes than those that were encoded.
    Checksum = -3,
    /// Decoding it takes more memory than there is.
    Memory = -4,
}

/// The state of decoding, and a buffer at either end, kept from block to block.
#[derive(Default)]
pub struct Decoder {
    frames: zstd::Frames,
    rings: lzfse::Rings,
    input: Vec<u8>,
    output: Vec<u8>,
}

/// A method that decodes what the module of its name knows.
macro_rules! codec {
    ($(#[$text:meta])* $codec:ident) => {
        $(#[$text])*
        ///
        /// # Errors
        /// [`Failure`]; the output's contents are then undefined.
        pub fn $codec(&mut self, stored: usize, most: usize) -> Result<usize, Failure> {
            let stored = self.input.get(..stored).ok_or(Failure::Corrupt)?;
            let output = self.output.get_mut(..most).ok_or(Failure::TooLong)?;
            $codec::decode(stored, output)
        }
    };
}

impl Decoder {
    /// Room for a block of `length` bytes.
    pub fn input(&mut self, length: usize) -> &mut [u8] {
        room(&mut self.input, length)
    }

    /// Room for `length` decoded bytes.
    pub fn output(&mut self, length: usize) -> &mut [u8] {
        room(&mut self.output, length)
    }

    /// Decodes the first Zstandard frame of the `stored` bytes in the input to at most
    /// `most` bytes in the output, and says how many they are. What follows the frame is
    /// not looked at.
    ///
    /// # Errors
    /// [`Failure`]; the output's contents are then undefined.
    pub fn zstd(&mut self, stored: usize, most: usize) -> Result<usize, Failure> {
        let stored = self.input.get(..stored).ok_or(Failure::Corrupt)?;
        let output = self.output.get_mut(..most).ok_or(Failure::TooLong)?;
        self.frames.decode(stored, output)
    }

    codec! {
        /// Decodes a bzip2 stream, and those that follow it directly while there is room.
        bzip2
    }
    codec! {
        /// Decodes one stream of the .xz format, with all of its blocks. What follows the
        /// stream is not looked at.
        xz
    }
    codec! {
        /// Decodes the chunks of LZMA2 up to their end mark. What follows it is not looked
        /// at. The dictionary is as large as the output.
        lzma2
    }

    /// Decodes LZFSE blocks up to the end mark, LZVN and stored ones among them. What
    /// follows it is not looked at.
    ///
    /// # Errors
    /// [`Failure`]; the output's contents are then undefined.
    pub fn lzfse(&mut self, stored: usize, most: usize) -> Result<usize, Failure> {
        let stored = self.input.get(..stored).ok_or(Failure::Corrupt)?;
        let output = self.output.get_mut(..most).ok_or(Failure::TooLong)?;
        self.rings.decode(stored, output)
    }

    codec! {
        /// Decodes one block of LZO1X up to its end mark. What follows it is not looked at.
        lzo
    }
    codec! {
        /// Decodes Apple Data Compression, to the last stored byte.
        adc
    }
    codec! {
        /// Decodes one block of Snappy, as long as it says that it is. What follows it is not
        /// looked at.
        snappy
    }
}

/// A buffer never shrinks, and grows by no more than it must.
fn room(buffer: &mut Vec<u8>, length: usize) -> &mut [u8] {
    if let Some(more) = length.checked_sub(buffer.len()) {
        buffer.reserve_exact(more);
        buffer.resize(length, 0);
    }
    buffer.get_mut(..length).unwrap_or_default()
}

/// Decodes `stored` with `codec` to at most `most` bytes.
#[cfg(test)]
pub(crate) fn decoded(
    codec: fn(&mut Decoder, usize, usize) -> Result<usize, Failure>,
    stored: &[u8],
    most: usize,
) -> Result<Vec<u8>, Failure> {
    let mut decoder = Decoder::default();
    decoder.input(stored.len()).copy_from_slice(stored);
    decoder.output(most);
    let length = codec(&mut decoder, stored.len(), most)?;
    Ok(decoder.output(length).to_vec())
}
