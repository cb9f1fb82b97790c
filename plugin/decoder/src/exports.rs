//! What the host calls. The module is one thread's, and so is its state.

use std::cell::RefCell;

use super::Decoder;

thread_local! {
    static DECODER: RefCell<Decoder> = RefCell::default();
}

/// The address of room for a block of `length` bytes.
// An exported name is all that is unsafe here: no other export may have it.
#[allow(unsafe_code)]
#[unsafe(no_mangle)]
pub extern "C" fn input(length: usize) -> *mut u8 {
    DECODER.with_borrow_mut(|decoder| decoder.input(length).as_mut_ptr())
}

/// The address of room for `length` decoded bytes.
#[allow(unsafe_code)]
#[unsafe(no_mangle)]
pub extern "C" fn output(length: usize) -> *mut u8 {
    DECODER.with_borrow_mut(|decoder| decoder.output(length).as_mut_ptr())
}

/// Exports that decode; how many bytes, or a [`Failure`](super::Failure), which is
/// negative.
macro_rules! export {
    ($($codec:ident)*) => {$(
        #[allow(unsafe_code)]
        #[unsafe(no_mangle)]
        pub extern "C" fn $codec(stored: usize, most: usize) -> i32 {
            let decoded = DECODER.with_borrow_mut(|decoder| decoder.$codec(stored, most));
            decoded.map_or_else(|failure| failure as i32, |length| length as i32)
        }
    )*};
}

export!(zstd bzip2 xz lzma2 lzfse lzo adc snappy);
