//! The image's own data: a property list in a chunk far behind the disk's end.

use alloc::format;
use alloc::string::{String, ToString};

use fumehood_plugin::read::{parse_struct, read_bytes};
use fumehood_plugin::{Content, Error, Result};
use zerocopy::big_endian::U32;
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

use crate::map::Layout;

const MAGIC: &[u8; 4] = b"meta";
/// As much is looked through for the list.
const WINDOW: u64 = 64 << 10;
const LIST_END: &str = "</plist>";

/// As it lies on disk; what follows is understood in two ways, and not needed.
#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct RawMetadata {
    magic: [u8; 4],
    version: U32,
    header_size: U32,
}

/// The property list; `None` where there is none.
///
/// # Errors
/// [`Error::Corrupt`] for one that is not where it should be, or what the source
/// answers.
pub fn read(layout: &Layout) -> Result<Option<String>> {
    let header = &layout.header;
    let Some(chunk) = header.metadata else { return Ok(None) };
    let wrong = |what: &str| Error::corrupt(72, format!("the metadata's chunk {chunk} {what}"));
    let offset = chunk.checked_mul(header.chunk).filter(|offset| *offset < header.most);
    let offset = offset.ok_or_else(|| wrong("lies where no chunk can be"))?;
    let piece = layout.find(&mut layout.tables(), offset)?;
    let stored = match piece.content {
        Content::Stored(stored) => stored,
        Content::Damaged(what) => return Err(wrong(&what)),
        _ => return Ok(None),
    };
    let length = WINDOW.min(header.chunk);
    let bytes = read_bytes(&*layout.main, stored.offset, length, "metadata")?;
    let raw: RawMetadata = parse_struct(&bytes, 0, stored.offset, "metadata")?;
    if &raw.magic != MAGIC {
        return Err(wrong("holds something else"));
    }
    let list = bytes.get(raw.header_size.get() as usize..).unwrap_or(&[]);
    let text = String::from_utf8_lossy(list);
    let end = text.find(LIST_END).ok_or_else(|| wrong("holds no property list"))?;
    Ok(text.get(..end + LIST_END.len()).map(ToString::to_string))
}

/// The string that stands under a key, by a look at the text alone.
pub fn value(list: &str, key: &str) -> Option<String> {
    let (_, behind) = list.split_once(&format!("<key>{key}</key>"))?;
    let text = behind.trim_start().strip_prefix("<string>")?;
    let (text, _) = text.split_once("</string>")?;
    Some(text.chars().filter(|c| !c.is_control()).take(200).collect())
}
