//! The footer: the last 20 bytes, which prove the format and lead to the metadata.

use alloc::format;

use fumehood_plugin::read::read_struct;
use fumehood_plugin::{Confidence, Error, Glimpse, Result, Source};
use zerocopy::little_endian::U64;
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Footer {
    metadata: U64,
    magic: [u8; 12],
}

/// Bytes of the footer.
pub const LENGTH: u64 = size_of::<Footer>() as u64;
const MAGIC: &[u8; 12] = b"MACRIUM_FILE";

/// Endings of files of Reflect 8 and before.
fn is_older(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    name.ends_with(".mrimg") || name.ends_with(".mrbak")
}

/// Whether it is ours: the magic proves it, an older file's name only hints at it.
pub fn probe(glimpse: &Glimpse) -> Confidence {
    match (glimpse.tail.ends_with(MAGIC), is_older(&glimpse.name)) {
        (true, _) if glimpse.tail.len() as u64 >= LENGTH => Confidence::Certain,
        (false, true) => Confidence::Maybe,
        _ => Confidence::No,
    }
}

/// Where the first block of metadata lies.
///
/// # Errors
/// [`Error::Unsupported`] for files of older versions, [`Error::Unrecognised`],
/// [`Error::Corrupt`] for an offset past the end.
pub fn read(source: &dyn Source) -> Result<u64> {
    let size = source.size();
    let footer = match size.checked_sub(LENGTH) {
        Some(offset) => Some(read_struct::<Footer>(source, offset, "footer")?),
        None => None,
    };
    let Some(footer) = footer.filter(|footer| footer.magic == *MAGIC) else {
        return Err(match is_older(&source.name()) {
            true => Error::Unsupported(
                "an image of Macrium Reflect 8 or before; only those of Reflect X are published"
                    .into(),
            ),
            false => Error::Unrecognised,
        });
    };
    let metadata = footer.metadata.get();
    if metadata >= size - LENGTH {
        let what = format!("metadata at {metadata}, where the footer is at {}", size - LENGTH);
        return Err(Error::corrupt_in(source.id(), size - LENGTH, what));
    }
    Ok(metadata)
}
