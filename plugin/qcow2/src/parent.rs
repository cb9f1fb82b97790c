//! How the header names a parent (specification, "Header extensions", and
//! "backing_file_offset"): a format and identities in extensions, and the name itself
//! behind those, all in the first cluster.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::mem::offset_of;

use fumehood_plugin::{Access, Error, Parent, Result};
use zerocopy::IntoBytes;
use zerocopy::big_endian::{U32, U64};

use crate::extensions::{self, BACKING_FORMAT, FEATURE_NAMES, IDENTITY, Record};
use crate::header::{BACKING_NAME_LIMIT, HeaderVersion2};
use crate::state::State;

/// A write of this much at a multiple of it is done or not done.
const SECTOR: u64 = 512;

/// The name under which a parent is recorded, after a look at all that is recorded
/// of it.
///
/// # Errors
/// [`Error::Unsupported`] for one that the format cannot hold.
pub fn reference(parent: Option<&Parent>) -> Result<Option<&str>> {
    let Some(parent) = parent else { return Ok(None) };
    let name = parent.references.first().map_or("", String::as_str);
    if name.is_empty() || name.len() > BACKING_NAME_LIMIT as usize || name.contains('\0') {
        let what = format!(
            "a backing file is named in 1 to {BACKING_NAME_LIMIT} bytes, not in {}",
            name.len()
        );
        return Err(Error::Unsupported(what));
    }
    for identity in &parent.identities {
        let length = identity.len();
        if length == 0 || length > BACKING_NAME_LIMIT as usize || identity.contains('\0') {
            let what = format!("a parent's identity of {length} bytes");
            return Err(Error::Unsupported(what));
        }
    }
    Ok(Some(name))
}

/// The header extensions that describe `parent`, and behind them `others`.
pub fn extension_area(parent: Option<&Parent>, others: &[Record<'_>]) -> Vec<u8> {
    let mut area = Vec::new();
    if let Some(format) = parent.and_then(|parent| parent.format.as_deref()) {
        extensions::append(&mut area, BACKING_FORMAT, format.as_bytes());
    }
    for identity in parent.map(|parent| &parent.identities[..]).unwrap_or_default() {
        extensions::append(&mut area, IDENTITY, identity.as_bytes());
    }
    others.iter().for_each(|record| extensions::append(&mut area, record.kind, record.data));
    extensions::terminate(&mut area);
    area
}

/// What there is of the header now.
struct Layout {
    /// The first cluster.
    bytes: Vec<u8>,
    /// Where extensions begin, and where they end.
    extensions: (u64, u64),
    /// Where the backing file's name stands: (offset, length).
    name: (u64, u64),
}

impl State {
    /// Records another parent, or none.
    ///
    /// The new name is put where the old one is not, and the first sector, which
    /// refers to it, is written after it.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for a parent that the header cannot hold.
    pub fn rebase(&mut self, parent: Option<&Parent>) -> Result<()> {
        if self.access != Access::ReadWrite {
            return Err(Error::ReadOnly);
        }
        let name = reference(parent)?;
        self.prepare()?;
        let layout = self.layout()?;
        let area = layout.new_area(parent)?;
        let (at, length) = layout.new_name(area.len() as u64, name)?;
        let mut bytes = layout.bytes;
        replace(&mut bytes, layout.extensions.0, &area);
        replace(&mut bytes, at, name.unwrap_or_default().as_bytes());
        let field = offset_of!(HeaderVersion2, backing_file_offset) as u64;
        replace(&mut bytes, field, U64::new(at).as_bytes());
        let field = offset_of!(HeaderVersion2, backing_file_size) as u64;
        replace(&mut bytes, field, U32::new(length as u32).as_bytes());
        let (first, rest) = bytes.split_at_checked(SECTOR as usize).unwrap_or((&bytes, &[]));
        if at + length > SECTOR || layout.extensions.0 + area.len() as u64 > SECTOR {
            self.tables.write(SECTOR, rest)?;
            self.tables.flush()?;
        }
        self.tables.write(0, first)?;
        self.header.backing_file = name.map(Into::into);
        self.header.extensions.backing_format = parent.and_then(|parent| parent.format.clone());
        self.header.extensions.parent_identities =
            parent.map(|parent| parent.identities.clone()).unwrap_or_default();
        Ok(())
    }

    fn layout(&mut self) -> Result<Layout> {
        let bytes = self.tables.bytes(0, self.map.geometry.cluster_size(), "first cluster")?;
        let (offset, length) = crate::header::backing_name_place(&bytes)?;
        let start = self.header.length;
        let end = if length > 0 { offset } else { bytes.len() as u64 };
        let area = bytes.get(start as usize..end as usize).unwrap_or_default();
        let (_, end) = extensions::records(area, start)?;
        Ok(Layout { bytes, extensions: (start, end), name: (offset, length) })
    }
}

impl Layout {
    fn new_area(&self, parent: Option<&Parent>) -> Result<Vec<u8>> {
        let (start, end) = self.extensions;
        let area = self.bytes.get(start as usize..end as usize).unwrap_or_default();
        let (mut others, _) = extensions::records(area, start)?;
        others.retain(|record| ![BACKING_FORMAT, IDENTITY].contains(&record.kind));
        let whole = extension_area(parent, &others);
        if start + whole.len() as u64 <= SECTOR {
            return Ok(whole);
        }
        // The names of features are worth less than a change in one sector.
        others.retain(|record| record.kind != FEATURE_NAMES);
        Ok(extension_area(parent, &others))
    }

    /// Where a new name goes: (offset, length).
    fn new_name(&self, area_length: u64, name: Option<&str>) -> Result<(u64, u64)> {
        let length = name.map_or(0, str::len) as u64;
        let (start, old_end) = self.extensions;
        let end = start + area_length;
        let size = self.bytes.len() as u64;
        if end > size {
            return Err(too_long(size));
        }
        if length == 0 {
            return Ok((0, 0));
        }
        if end + length <= SECTOR {
            return Ok((end, length));
        }
        let mut at = end.max(old_end).max(SECTOR.min(size)).next_multiple_of(8);
        let (old, old_length) = self.name;
        if at < old + old_length && old < at + length {
            at = (old + old_length).next_multiple_of(8);
        }
        if at + length > size { Err(too_long(size)) } else { Ok((at, length)) }
    }
}

/// That names do not fit.
pub fn too_long(cluster_size: u64) -> Error {
    let what = format!("the parent's names do not fit in a cluster of {cluster_size} bytes");
    Error::Unsupported(what)
}

fn replace(bytes: &mut [u8], at: u64, new: &[u8]) {
    let at = at as usize;
    if let Some(old) = bytes.get_mut(at..at + new.len()) {
        old.copy_from_slice(new);
    }
}
