//! The parent locator ([MS-VHDX] 2.6.2.6): how a differencing image names its parent.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use fumehood_plugin::read::parse_struct;
use fumehood_plugin::{Error, Parent, Result};
use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::guid::Guid;

const TYPE: Guid = Guid::from_number(0xb04aefb7_d19e_4a81_b789_25b8e9445913);
const LINKAGES: [&str; 2] = ["parent_linkage", "parent_linkage2"];
/// Keys of paths, in the order in which they are to be tried.
const PATHS: [&str; 3] = ["relative_path", "volume_path", "absolute_win32_path"];
/// The format that this type of locator speaks of.
const FORMAT: &str = "vhdx";
/// More keys than this are no locator.
const KEY_LIMIT: u16 = 256;
/// The longest text, in bytes.
const TEXT_LIMIT: usize = u16::MAX as usize;

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Clone, Copy)]
#[repr(C)]
struct RawLocator {
    kind: Guid,
    reserved: U16,
    count: U16,
}

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Clone, Copy)]
#[repr(C)]
struct RawEntry {
    key: U32,
    value: U32,
    key_length: U16,
    value_length: U16,
}

/// Reads the item's `bytes`, which came from `offset` of the file. Backslashes of
/// paths become slashes.
///
/// # Errors
/// [`Error::Corrupt`] for texts outside the item and where the linkage is missing,
/// [`Error::Unsupported`] for another type of locator.
pub fn read(bytes: &[u8], offset: u64) -> Result<Parent> {
    let raw: RawLocator = parse_struct(bytes, 0, offset, "parent locator")?;
    if raw.kind != TYPE {
        return Err(Error::Unsupported(format!("a parent locator of type {}", raw.kind)));
    }
    if raw.count.get() > KEY_LIMIT {
        let what = format!("a parent locator with {} keys", raw.count);
        return Err(Error::corrupt(offset + 18, what));
    }
    let mut pairs = Vec::new();
    let mut at = size_of::<RawLocator>();
    for _ in 0..raw.count.get() {
        let field = offset + at as u64;
        let entry = bytes.get(at..).unwrap_or(&[]);
        let entry: RawEntry = parse_struct(entry, 0, field, "parent locator entry")?;
        let key = text(bytes, entry.key, entry.key_length, field)?;
        pairs.push((key, text(bytes, entry.value, entry.value_length, field)?));
        at += size_of::<RawEntry>();
    }
    parent(&pairs, offset)
}

fn parent(pairs: &[(String, String)], offset: u64) -> Result<Parent> {
    let find = |key: &str| pairs.iter().find(|(known, _)| known == key).map(|(_, value)| value);
    let mut identities = Vec::new();
    for key in LINKAGES {
        let Some(value) = find(key) else { continue };
        let guid = Guid::parse(value).ok_or_else(|| {
            Error::corrupt(offset, format!("expected a GUID as {key}, found {value:?}"))
        })?;
        if guid != Guid::NIL {
            identities.push(guid.to_string());
        }
    }
    if identities.is_empty() {
        let what = "expected the parent's GUID under parent_linkage, found none";
        return Err(Error::corrupt(offset, what));
    }
    let paths = PATHS.into_iter().filter_map(find).filter(|path| !path.is_empty());
    let references = paths.map(|path| path.replace('\\', "/")).collect();
    Ok(Parent { references, identities, format: Some(FORMAT.into()) })
}

fn text(item: &[u8], offset: U32, length: U16, field: u64) -> Result<String> {
    let start = offset.get() as usize;
    let bytes = item.get(start..start.saturating_add(usize::from(length.get())));
    let Some((units, [])) = bytes.map(<[u8]>::as_chunks::<2>) else {
        let what = format!("expected a text inside the locator, found {length} bytes at {start}");
        return Err(Error::corrupt(field, what));
    };
    let units = units.iter().map(|unit| u16::from_le_bytes(*unit));
    Ok(char::decode_utf16(units).map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER)).collect())
}

/// The item that records `parent`: its first identities that are GUIDs as linkage,
/// its first relative and its first absolute reference.
///
/// # Errors
/// [`Error::Unsupported`] where no identity is a GUID, where the parent is of another
/// format, and for texts that do not fit.
pub fn build(parent: &Parent) -> Result<Vec<u8>> {
    if let Some(format) = parent.format.as_ref().filter(|format| *format != FORMAT) {
        return Err(Error::Unsupported(format!("a parent in the format {format}, not {FORMAT}")));
    }
    let guids: Vec<_> = parent.identities.iter().filter_map(|text| Guid::parse(text)).collect();
    if guids.is_empty() {
        let what = "a parent without an identity that is a UUID: a VHDX records its parent's";
        return Err(Error::Unsupported(what.into()));
    }
    let linkages = LINKAGES.into_iter().zip(guids).map(|(key, guid)| (key, format!("{{{guid}}}")));
    let find = |absolute| parent.references.iter().find(|path| is_absolute(path) == absolute);
    let paths = [(PATHS[0], find(false)), (PATHS[2], find(true))];
    let paths = paths.into_iter().filter_map(|(key, path)| Some((key, path?.replace('/', "\\"))));
    pack(&linkages.chain(paths).collect::<Vec<_>>())
}

fn is_absolute(path: &str) -> bool {
    path.starts_with(['/', '\\']) || path.as_bytes().get(1) == Some(&b':')
}

fn pack(pairs: &[(&str, String)]) -> Result<Vec<u8>> {
    let header =
        RawLocator { kind: TYPE, reserved: U16::ZERO, count: U16::new(pairs.len() as u16) };
    let mut entries = Vec::new();
    let mut texts = Vec::new();
    let start = size_of::<RawLocator>() + pairs.len() * size_of::<RawEntry>();
    for (key, value) in pairs {
        let mut put = |text: &str| {
            let place = start + texts.len();
            texts.extend(text.encode_utf16().flat_map(u16::to_le_bytes));
            (U32::new(place as u32), start + texts.len() - place)
        };
        let (key, key_length) = put(key);
        let (value, value_length) = put(value);
        if value_length > TEXT_LIMIT {
            return Err(Error::Unsupported("a reference of more than 32767 characters".into()));
        }
        let (key_length, value_length) =
            (U16::new(key_length as u16), U16::new(value_length as u16));
        entries.push(RawEntry { key, value, key_length, value_length });
    }
    Ok([header.as_bytes(), entries.as_bytes(), &texts].concat())
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    #[test]
    fn what_is_built_is_read() {
        let parent = Parent {
            references: vec!["../base/größe.vhdx".into(), "C:/base/größe.vhdx".into()],
            identities: vec!["FF34003B-11ed-4cf8-a166-b2be05e20b80".into()],
            format: Some("vhdx".into()),
        };
        let item = build(&parent).unwrap();
        let found = read(&item, 0).unwrap();
        assert_eq!(found.references, parent.references);
        assert_eq!(found.identities, ["ff34003b-11ed-4cf8-a166-b2be05e20b80"]);
        for length in 0..item.len() {
            assert!(matches!(read(&item[..length], 0), Err(Error::Corrupt { .. })), "{length}");
        }
        let unnamed = Parent { identities: vec!["7".into()], ..parent.clone() };
        assert!(matches!(build(&unnamed), Err(Error::Unsupported(_))));
        let other = Parent { format: Some("raw".into()), ..parent };
        assert!(matches!(build(&other), Err(Error::Unsupported(_))));
    }
}
