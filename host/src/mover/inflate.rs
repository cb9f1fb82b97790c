//! Deflate, in memory-safe code: whole streams, and pieces from their middle.

use miniz_oxide::inflate::TINFLStatus;
use miniz_oxide::inflate::core::inflate_flags::{
    TINFL_FLAG_HAS_MORE_INPUT, TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF,
};
use miniz_oxide::inflate::core::{BlockBoundaryState, DecompressorOxide, decompress};
use zune_inflate::{DeflateDecoder, DeflateOptions};

/// Fills `out` from a stream, with its checksum compared where there is a header. Bytes
/// behind the stream are not looked at.
///
/// # Errors
/// What is wrong with it, in words.
pub(super) fn inflate(header: bool, stored: &[u8], out: &mut [u8]) -> Result<(), String> {
    let options = DeflateOptions::default().set_limit(out.len()).set_size_hint(out.len());
    let mut decoder = DeflateDecoder::new_with_options(stored, options);
    let inflated = if header { decoder.decode_zlib() } else { decoder.decode_deflate() };
    let inflated = match inflated {
        Ok(bytes) => bytes,
        Err(error) => {
            return Err(format!(
                "its deflate stream is corrupt: {}",
                format!("{:?}", error.error).trim()
            ));
        }
    };
    if inflated.len() != out.len() {
        return Err(format!("it inflates to {} bytes, not {}", inflated.len(), out.len()));
    }
    out.copy_from_slice(&inflated);
    Ok(())
}

/// Fills `out` from the middle of a stream, between two of its blocks: `bits` low bits of
/// the first stored byte belong to what came before, which `window` is the end of. The
/// stream may go on.
///
/// # Errors
/// What is wrong with it, in words.
pub(super) fn resume(bits: u8, window: &[u8], stored: &[u8], out: &mut [u8]) -> Result<(), String> {
    let mut state = BlockBoundaryState::default();
    let mut stored = stored;
    if bits > 0 {
        let (first, rest) = stored.split_first().ok_or("it is empty")?;
        (state.num_bits, state.bit_buf) = (8 - bits, first >> bits);
        stored = rest;
    }
    let mut decompressor = DecompressorOxide::from_block_boundary_state(&state);
    let mut all = vec![0; window.len() + out.len()];
    all[..window.len()].copy_from_slice(window);
    let flags = TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF | TINFL_FLAG_HAS_MORE_INPUT;
    let (status, _, written) = decompress(&mut decompressor, stored, &mut all, window.len(), flags);
    match status {
        _ if written == out.len() => {
            out.copy_from_slice(&all[window.len()..]);
            Ok(())
        }
        TINFLStatus::Done | TINFLStatus::NeedsMoreInput => {
            Err(format!("it inflates to {written} bytes, not {}", out.len()))
        }
        _ => Err(format!("its deflate stream is corrupt {written} bytes into this part")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use miniz_oxide::inflate::core::inflate_flags::TINFL_FLAG_STOP_ON_BLOCK_BOUNDARY;

    /// Entry points of a raw stream: (bytes consumed, bits, offset in the output).
    fn boundaries(stream: &[u8], out: &mut [u8]) -> Vec<(usize, u8, usize)> {
        let mut decompressor = DecompressorOxide::new();
        let (mut read, mut written, mut found) = (0, 0, Vec::new());
        loop {
            let flags =
                TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF | TINFL_FLAG_STOP_ON_BLOCK_BOUNDARY;
            let (status, consumed, produced) =
                decompress(&mut decompressor, &stream[read..], out, written, flags);
            (read, written) = (read + consumed, written + produced);
            if status != TINFLStatus::BlockBoundary {
                assert_eq!(status, TINFLStatus::Done);
                return found;
            }
            let state = decompressor.block_boundary_state().unwrap();
            found.push((read, state.num_bits, written));
        }
    }

    #[test]
    fn a_stream_is_entered_between_any_two_of_its_blocks() {
        let plain: Vec<u8> = (0..700_000u32).map(|at| (at.wrapping_mul(at) >> 11) as u8).collect();
        let stream = miniz_oxide::deflate::compress_to_vec(&plain, 6);
        let mut out = vec![0; plain.len()];
        let found = boundaries(&stream, &mut out);
        assert!(found.iter().any(|(_, bits, _)| *bits > 0), "{found:?}");
        for (read, left, written) in found {
            // `left` high bits of the byte before are still to be read.
            let (bits, start) = if left > 0 { (8 - left, read - 1) } else { (0, read) };
            let window = &plain[written.saturating_sub(32768)..written];
            let mut rest = vec![0; (plain.len() - written).min(100_000)];
            resume(bits, window, &stream[start..], &mut rest).unwrap();
            assert_eq!(rest, plain[written..written + rest.len()], "from {written} on");
            assert!(resume(bits, window, &stream[start..start + 1], &mut rest).is_err());
        }
    }
}
