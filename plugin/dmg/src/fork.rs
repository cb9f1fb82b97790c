//! The classic resource fork, in which old images keep their tables.
//!
//! Source: Apple, "Inside Macintosh: More Macintosh Toolbox", Resource file format.

use alloc::format;
use alloc::vec::Vec;

use fumehood_plugin::read::{read_bytes, read_struct, read_table};
use fumehood_plugin::{Error, Result, Source};
use zerocopy::big_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

use crate::data::Data;
use crate::trailer::Place;

#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Header {
    data_offset: U32,
    map_offset: U32,
    data_length: U32,
    map_length: U32,
}

#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Map {
    copy_of_header: [u8; 16],
    next: U32,
    file: U16,
    attributes: U16,
    types_offset: U16,
    names_offset: U16,
}

#[derive(Clone, FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Type {
    name: [u8; 4],
    last: U16,
    list_offset: U16,
}

#[derive(Clone, FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Reference {
    id: U16,
    name_offset: U16,
    attributes: u8,
    data_offset: [u8; 3],
    handle: U32,
}

/// Hands every resource of `kind` to `each`, in the order of the fork.
///
/// # Errors
/// [`Error::Corrupt`] where the fork is not sound, or what `each` answers.
pub fn for_each(
    source: &dyn Source,
    fork: Place,
    kind: &[u8; 4],
    mut each: impl FnMut(Data<'_>) -> Result<()>,
) -> Result<()> {
    let at = |part: u64| inside(fork, part);
    let header: Header = read_struct(source, fork.offset, "resource fork")?;
    let data = u64::from(header.data_offset.get());
    let map = u64::from(header.map_offset.get());
    let types =
        map + u64::from(read_struct::<Map>(source, at(map)?, "resource map")?.types_offset.get());
    let last: U16 = read_struct(source, at(types)?, "count of types")?;
    // A count of 0xFFFF stands for none.
    let count = u64::from(last.get().wrapping_add(1));
    let list: Vec<Type> = read_table(source, at(types + 2)?, count, "list of types")?;
    for entry in list.iter().filter(|entry| entry.name == *kind) {
        let place = at(types + u64::from(entry.list_offset.get()))?;
        let count = u64::from(entry.last.get()) + 1;
        let references: Vec<Reference> = read_table(source, place, count, "list of resources")?;
        for reference in references {
            let [a, b, c] = reference.data_offset;
            let place = at(data + u64::from(u32::from_be_bytes([0, a, b, c])))?;
            let length: U32 = read_struct(source, place, "length of a resource")?;
            each(Data::plain(read_bytes(source, place + 4, length.get().into(), "resource")?))?;
        }
    }
    Ok(())
}

/// Where in the file a part of the fork begins.
fn inside(fork: Place, part: u64) -> Result<u64> {
    if part >= fork.length {
        let what = format!("byte {part} of a resource fork of {}", fork.length);
        return Err(Error::corrupt(fork.offset, what));
    }
    Ok(fork.offset + part)
}
