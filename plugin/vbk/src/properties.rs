//! Properties of a file: names and values in a chain of pages of their own.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use fumehood_plugin::text::harmless;
use fumehood_plugin::{Error, Result};
use zerocopy::FromBytes;
use zerocopy::little_endian::{I64, U32, U64};

use crate::archive::Archive;

/// The most bytes of a file's properties that are looked at.
const MOST: usize = 1 << 20;
/// Values longer than this are not shown.
const SHOWN: usize = 256;

/// Only disks have it: which of their blocks are defined.
pub const DISK_MARK: &str = "DefinedBlocksMask";

/// A name, and the value if it can be shown.
pub type Property = (String, Option<String>);

/// The properties in the chain that begins with `page`.
///
/// # Errors
/// [`Error::Corrupt`], and as [`Archive::page`].
pub fn read_properties(archive: &Archive, page: u64) -> Result<Vec<Property>> {
    let bytes = read_chain(archive, page)?;
    let mut rest = bytes.as_slice();
    let mut list = Vec::new();
    loop {
        let kind = word(&mut rest)?;
        if kind == u32::MAX {
            return Ok(list);
        }
        let name = text(counted(&mut rest)?);
        let value = match kind {
            1 => Some(word(&mut rest)?.to_string()),
            2 => Some(take::<U64>(&mut rest)?.get().to_string()),
            3 => Some(text(counted(&mut rest)?)),
            4 => Some(wide(counted(&mut rest)?)),
            5 => counted(&mut rest).map(|_| None)?,
            6 => Some((word(&mut rest)? != 0).to_string()),
            _ => return Err(corrupt(format!("property {name:?} of type {kind}"))),
        };
        list.push((name, value.filter(|value| value.len() <= SHOWN)));
    }
}

/// The bytes of a chain: each page begins with a link to the next, and the first goes
/// on with the length of it all.
fn read_chain(archive: &Archive, page: u64) -> Result<Vec<u8>> {
    let mut page = archive.page(page)?;
    let length: U32 = page.at(8, "length of properties")?;
    let length = length.get() as usize;
    if length > MOST {
        return Err(corrupt(format!("{length} bytes of properties")));
    }
    let mut bytes = page.from(12).to_vec();
    while bytes.len() < length {
        let next: I64 = page.at(0, "link to a page")?;
        let Ok(next) = u64::try_from(next.get()) else {
            return Err(corrupt(format!("properties end after {} of {length} bytes", bytes.len())));
        };
        page = archive.page(next)?;
        bytes.extend_from_slice(page.from(8));
    }
    bytes.truncate(length);
    Ok(bytes)
}

fn corrupt(what: String) -> Error {
    Error::corrupt(0, what)
}

fn take<T: FromBytes>(rest: &mut &[u8]) -> Result<T> {
    let ended = |_| corrupt("properties end in the middle of one".into());
    let (head, tail) = rest.split_at_checked(size_of::<T>()).ok_or(()).map_err(ended)?;
    *rest = tail;
    T::read_from_bytes(head).map_err(|_| ended(()))
}

fn word(rest: &mut &[u8]) -> Result<u32> {
    take::<U32>(rest).map(U32::get)
}

fn counted<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8]> {
    let length = word(rest)?;
    let whole: &'a [u8] = rest;
    let (bytes, tail) = whole
        .split_at_checked(length as usize)
        .ok_or_else(|| corrupt(format!("{length} bytes of a property, where they end before")))?;
    *rest = tail;
    Ok(bytes)
}

fn text(bytes: &[u8]) -> String {
    harmless(&String::from_utf8_lossy(bytes))
}

fn wide(bytes: &[u8]) -> String {
    let (pairs, _) = bytes.as_chunks::<2>();
    let units = pairs.iter().map(|pair| u16::from_le_bytes(*pair));
    let text: String =
        char::decode_utf16(units).map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER)).collect();
    harmless(&text)
}
