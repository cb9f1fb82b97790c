//! New images: fixed, dynamic, or differencing where a parent is given.

use alloc::boxed::Box;
use alloc::format;

use fumehood_plugin::{CreateOptions, Error, Image, Result, SourceHandle};
use zerocopy::IntoBytes;

use crate::bat::ENTRY_SIZE;
use crate::fixed;
use crate::footer::{Footer, Found, Kind, Tail};
use crate::geometry::SECTOR;
use crate::header::{self, BLOCK_LIMIT, DynamicHeader};
use crate::parent;
use crate::resize::check_size;
use crate::sparse::Sparse;
use crate::uuid;

const BLOCK_SIZE: u32 = 2 << 20;
const SMALLEST_BLOCK: u32 = 4096;
/// Bytes of the table written at once.
const STEP: u64 = 1 << 20;

struct Settings {
    fixed: bool,
    block_size: u32,
}

impl Settings {
    fn parse(options: &CreateOptions) -> Result<Self> {
        let mut settings = Self { fixed: false, block_size: BLOCK_SIZE };
        for (name, value) in &options.settings {
            match (name.as_str(), value.as_str()) {
                ("subformat", "dynamic") => settings.fixed = false,
                ("subformat", "fixed") => settings.fixed = true,
                ("block_size", value) => settings.block_size = parse_block_size(value)?,
                _ => {
                    let what = format!(
                        "the setting {name}={value}; a VHD knows subformat=dynamic, \
                         subformat=fixed and block_size=BYTES"
                    );
                    return Err(Error::Unsupported(what));
                }
            }
        }
        if settings.fixed && options.parent.is_some() {
            return Err(Error::Unsupported("a fixed VHD cannot have a parent".into()));
        }
        Ok(settings)
    }
}

fn parse_block_size(value: &str) -> Result<u32> {
    let allowed =
        |size: &u32| size.is_power_of_two() && (SMALLEST_BLOCK..=BLOCK_LIMIT).contains(size);
    value.parse().ok().filter(allowed).ok_or_else(|| {
        Error::Unsupported(format!(
            "block_size={value}; it is a power of two from {SMALLEST_BLOCK} to {BLOCK_LIMIT}"
        ))
    })
}

/// Makes a new image in `main`, which is empty.
///
/// # Errors
/// [`Error::Unsupported`] for settings and sizes the format does not have, or what the
/// source answers.
pub fn create(main: SourceHandle, options: &CreateOptions) -> Result<Box<dyn Image>> {
    let settings = Settings::parse(options)?;
    check_size(options.size)?;
    if options.logical_sector != SECTOR as u32 {
        let what = format!("a VHD with sectors of {} bytes", options.logical_sector);
        return Err(Error::Unsupported(what));
    }
    let format = options.parent.as_ref().and_then(|parent| parent.format.as_deref());
    if let Some(format) = format.filter(|format| *format != "vhd") {
        let what = format!("a parent in the format {format}, not vhd");
        return Err(Error::Unsupported(what));
    }
    let kind = match (&options.parent, settings.fixed) {
        (Some(_), _) => Kind::Differencing,
        (None, true) => Kind::Fixed,
        (None, false) => Kind::Dynamic,
    };
    let footer = Footer::new(kind, options.size, uuid::random(&options.seed), options.now);
    match kind {
        Kind::Fixed => fixed::create(main, footer),
        _ => create_sparse(main, options, footer, kind, settings.block_size),
    }
}

/// Footer, header, table, the parent's names, footer.
fn create_sparse(
    main: SourceHandle,
    options: &CreateOptions,
    footer: Footer,
    kind: Kind,
    block_size: u32,
) -> Result<Box<dyn Image>> {
    let entries = options.size.div_ceil(block_size.into());
    let table = SECTOR + header::LENGTH;
    let table_length = (entries * ENTRY_SIZE).next_multiple_of(SECTOR);
    // The largest disk in the smallest blocks has fewer than 2^32.
    let mut header = DynamicHeader::new(table, entries as u32, block_size);
    let names_at = table + table_length;
    let mut offset = names_at;
    if let Some(parent) = &options.parent {
        let names = parent::record(&mut header, parent, names_at)?;
        main.write(names_at, &names)?;
        offset += names.len() as u64;
    }
    header.seal();
    let mut at = 0;
    while at < table_length {
        let step = STEP.min(table_length - at);
        main.write(table + at, &alloc::vec![0xff; step as usize])?;
        at += step;
    }
    main.write(SECTOR, header.as_bytes())?;
    let found = Found { footer, kind, offset, tail: Tail::Sound };
    let mut sparse = Sparse::new(main, found, header, options.size);
    sparse.write_footers()?;
    sparse.dirty = true;
    sparse.writable = true;
    Ok(sparse.into_image())
}
