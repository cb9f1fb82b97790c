//! Payload that the plugin itself has to move, which is rare: what a cluster held,
//! where its new host cluster must hold all of it and the host fills only a part.

use alloc::format;
use alloc::vec;
use alloc::vec::Vec;

use fumehood_plugin::{Codec, Error, Result};
use ruzstd::decoding::StreamingDecoder;
use ruzstd::io::Read;

use crate::l2::{Mapping, clamp_compressed};
use crate::state::State;

impl State {
    /// Writes what `old` maps into the host cluster at `to`, at the same places.
    ///
    /// # Errors
    /// [`Error::Corrupt`] where it cannot be decoded, or what the source answers.
    pub fn copy_cluster(&mut self, old: Mapping, to: u64) -> Result<()> {
        if let Mapping::Compressed { offset, length } = old {
            let bytes = self.expand(offset, length)?;
            return self.tables.write(to, &bytes);
        }
        let Some(old) = old.subclusters() else { return Ok(()) };
        let Some(host) = old.host else { return Ok(()) };
        let size = self.map.geometry.granularity();
        for number in 0..self.map.geometry.cluster_size() / size {
            if old.allocated >> number & 1 == 0 {
                continue;
            }
            let skip = number * size;
            let there = self.tables.file_size().saturating_sub(host + skip).min(size);
            let mut bytes = self.tables.payload(host + skip, there)?;
            // What lies past the file's end reads as zeroes.
            bytes.resize(size as usize, 0);
            self.tables.write(to + skip, &bytes)?;
        }
        Ok(())
    }

    /// The cluster that `length` bytes at `offset` hold in compressed form.
    fn expand(&mut self, offset: u64, length: u32) -> Result<Vec<u8>> {
        let length = clamp_compressed(offset, length, self.tables.file_size(), offset)?;
        let stored = self.tables.payload(offset, u64::from(length))?;
        let mut bytes = vec![0; self.map.geometry.cluster_size() as usize];
        let expanded = match self.map.codec {
            // A frame ends before the sector that it is in, so that it is not all there is.
            Codec::Zstd => StreamingDecoder::new(&stored[..])
                .is_ok_and(|mut frame| frame.read_exact(&mut bytes).is_ok()),
            _ => inflate(&mut bytes, &stored),
        };
        if expanded {
            return Ok(bytes);
        }
        let what = format!("expected a compressed cluster of {length} bytes, found none");
        Err(Error::corrupt(offset, what))
    }
}

/// Raw deflate; what lies behind its end is ignored.
fn inflate(bytes: &mut [u8], stored: &[u8]) -> bool {
    let input = core::iter::once(stored);
    let length = bytes.len();
    miniz_oxide::inflate::decompress_slice_iter_to_slice(bytes, input, false, true)
        .is_ok_and(|found| found == length)
}
