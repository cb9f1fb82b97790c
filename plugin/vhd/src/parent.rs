//! How a differencing image names its parent (specification, "Parent Locator" and
//! "Parent Unicode Name"): decoded for the host, and encoded for the image.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use fumehood_plugin::read::read_bytes;
use fumehood_plugin::{Error, Parent, Result, Source};

use crate::geometry::SECTOR;
use crate::header::{DynamicHeader, LOCATORS, Locator};
use crate::uuid;

/// A relative path, UTF-16.
const RELATIVE: [u8; 4] = *b"W2ru";
/// An absolute path, UTF-16.
const ABSOLUTE: [u8; 4] = *b"W2ku";
/// A file URL, UTF-8.
const URL: [u8; 4] = *b"MacX";
/// Deprecated kinds in an 8-bit character set: relative, absolute.
const OLD: [[u8; 4]; 2] = [*b"Wi2r", *b"Wi2k"];

/// The longest name read.
const NAME_LIMIT: u32 = 64 << 10;

/// The parent that `header` records, its names best first. A name that cannot be
/// read is left out: names are hints.
pub fn read(main: &dyn Source, header: &DynamicHeader) -> Parent {
    let mut references: Vec<String> = Vec::new();
    for platform in [RELATIVE, ABSOLUTE, URL, OLD[0], OLD[1]] {
        for locator in header.locators.iter().filter(|locator| locator.platform == platform) {
            references.extend(read_name(main, locator));
        }
    }
    references.push(utf16(&header.parent_name, u16::from_be_bytes));
    let mut seen: Vec<String> = Vec::new();
    for reference in references {
        if !reference.is_empty() && !seen.contains(&reference) {
            seen.push(reference);
        }
    }
    let recorded = Some(header.parent_id).filter(|id| *id != [0; 16]);
    let identities = recorded.iter().map(uuid::to_text).collect();
    Parent { references: seen, identities, format: Some("vhd".into()) }
}

fn read_name(main: &dyn Source, locator: &Locator) -> Option<String> {
    let length = locator.data_length.get();
    if length > NAME_LIMIT {
        return None;
    }
    let bytes = read_bytes(main, locator.data_offset.get(), length.into(), "parent name").ok()?;
    match locator.platform {
        RELATIVE => {
            let path = utf16_of_any_order(&bytes).replace('\\', "/");
            Some(path.strip_prefix("./").unwrap_or(&path).to_string())
        }
        ABSOLUTE => Some(utf16_of_any_order(&bytes)),
        URL => {
            let url = String::from_utf8_lossy(&bytes);
            let url = url.trim_end_matches('\0');
            let path = url.strip_prefix("file://").map(|path| path.trim_start_matches("localhost"));
            // Escapes would have to be undone; the host may do so.
            Some(path.filter(|path| !path.contains('%')).unwrap_or(url).to_string())
        }
        _ => Some(
            bytes.iter().take_while(|byte| **byte != 0).map(|byte| char::from(*byte)).collect(),
        ),
    }
}

/// UTF-16 text up to a NUL.
fn utf16(bytes: &[u8], word: fn([u8; 2]) -> u16) -> String {
    let words = bytes.chunks_exact(2).filter_map(|pair| pair.try_into().ok()).map(word);
    char::decode_utf16(words.take_while(|word| *word != 0))
        .map(|decoded| decoded.unwrap_or(char::REPLACEMENT_CHARACTER))
        .collect()
}

/// UTF-16 text whose byte order the format leaves open and writers chose both ways.
/// Paths hold ASCII characters, whose high byte is zero.
fn utf16_of_any_order(bytes: &[u8]) -> String {
    let zeroes = |skip| bytes.iter().skip(skip).step_by(2).filter(|byte| **byte == 0).count();
    if zeroes(0) > zeroes(1) {
        utf16(bytes, u16::from_be_bytes)
    } else {
        utf16(bytes, u16::from_le_bytes)
    }
}

/// Records `parent` in `header`; gives the bytes of its names, which are to lie at
/// `offset`. The header is to be sealed by the caller.
///
/// # Errors
/// [`Error::Unsupported`] for a parent without a UUID.
pub fn record(header: &mut DynamicHeader, parent: &Parent, offset: u64) -> Result<Vec<u8>> {
    let identity = parent.identities.iter().find_map(|identity| uuid::from_text(identity));
    header.parent_id = identity.ok_or_else(|| {
        let found = &parent.identities;
        Error::Unsupported(format!("a VHD's parent is known by a UUID, and this by {found:?}"))
    })?;
    header.parent_timestamp = 0.into();
    header.parent_name = file_name(parent.references.first().map_or("", String::as_str));
    header.locators = [Locator::NONE; LOCATORS];
    let mut names = Vec::new();
    let mut recorded: Vec<[u8; 4]> = Vec::new();
    for reference in &parent.references {
        let (platform, name) = encode(reference);
        let Some(locator) = header.locators.get_mut(recorded.len()) else { break };
        if recorded.contains(&platform) || name.len() > NAME_LIMIT as usize {
            continue;
        }
        let space = name.len().next_multiple_of(SECTOR as usize);
        // Both are at most NAME_LIMIT.
        let (room, length) = (space as u32, name.len() as u32);
        *locator = Locator::new(platform, room, length, offset + names.len() as u64);
        recorded.push(platform);
        names.extend_from_slice(&name);
        names.resize(names.len().next_multiple_of(SECTOR as usize), 0);
    }
    Ok(names)
}

/// Takes a parent out of `header`, which is to be sealed by the caller.
pub fn remove(header: &mut DynamicHeader) {
    header.parent_id = [0; 16];
    header.parent_timestamp = 0.into();
    header.parent_name = [0; 512];
    header.locators = [Locator::NONE; LOCATORS];
}

/// The kind of name that a reference is, and its bytes.
fn encode(reference: &str) -> ([u8; 4], Vec<u8>) {
    let drive = reference.as_bytes().get(1) == Some(&b':') || reference.starts_with("\\\\");
    let words = |text: &str| text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    if reference.starts_with("file://") {
        (URL, reference.as_bytes().to_vec())
    } else if reference.starts_with('/') {
        (URL, format!("file://{reference}").into_bytes())
    } else if drive {
        (ABSOLUTE, words(reference))
    } else {
        let dots = if reference.starts_with('.') { "" } else { ".\\" };
        (RELATIVE, words(&format!("{dots}{}", reference.replace('/', "\\"))))
    }
}

/// The file's name in a reference, as the header holds it.
fn file_name(reference: &str) -> [u8; 512] {
    let name = reference.rsplit(['/', '\\']).next().unwrap_or("");
    let mut field = [0; 512];
    let bytes = name.encode_utf16().flat_map(u16::to_be_bytes);
    // The last two stay zero.
    field.iter_mut().take(510).zip(bytes).for_each(|(field, byte)| *field = byte);
    field
}
