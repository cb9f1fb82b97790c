//! Ranks in the scratch, so that the next open need not count the bitmap.
//!
//! Only for bitmaps of bits: their checksum tells two images apart. Whatever is found
//! there is checked here, and each page again when it is used ([`crate::map`]).

use alloc::vec::Vec;

use fumehood_plugin::{Result, Source, scratch};

use crate::bitmap::Form;
use crate::header::Header;
use crate::scan::bitmap_checksum;

const VERSION: u8 = 1;

/// The image's identity, if it has one.
fn identity(main: &dyn Source, header: &Header) -> Option<scratch::Identity> {
    if header.bitmap.form != Form::Bits {
        return None;
    }
    let bitmap = bitmap_checksum(main, header).ok()?;
    let words = [u64::from(header.checksum) << 32 | u64::from(bitmap), main.size(), header.blocks];
    let mut identity = [0; 32];
    let bytes = words.iter().chain(header.used.iter()).flat_map(|word| word.to_le_bytes());
    for (place, byte) in identity.iter_mut().zip(bytes) {
        *place = byte;
    }
    Some(identity)
}

/// The ranks that an earlier open left, if they can be this image's.
pub fn recall(main: &dyn Source, header: &Header, scratch: &dyn Source) -> Option<Vec<u64>> {
    let ranks: Vec<u64> = scratch::load(scratch, VERSION, &identity(main, header)?)?;
    let most = header.bitmap.page_blocks();
    let steps = ranks.windows(2).all(|pair| match pair {
        [before, after] => after.checked_sub(*before).is_some_and(|step| step <= most),
        _ => false,
    });
    let ends = (ranks.first().copied(), ranks.last().copied());
    let fits = ranks.len() as u64 == header.bitmap.pages() + 1;
    (fits && steps && ends == (Some(0), header.used)).then_some(ranks)
}

/// Leaves ranks for the next open.
///
/// # Errors
/// What the scratch answers.
pub fn leave(
    main: &dyn Source,
    header: &Header,
    scratch: &dyn Source,
    ranks: &Vec<u64>,
) -> Result<()> {
    match identity(main, header) {
        Some(identity) => scratch::store(scratch, VERSION, &identity, ranks),
        None => Ok(()),
    }
}
