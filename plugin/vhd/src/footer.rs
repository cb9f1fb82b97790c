//! The hard disk footer (specification, "Hard Disk Footer Format"): declared as it is
//! on disk, found at the end or, as a copy, at the start, and checked.

use alloc::format;

use fumehood_plugin::read::{parse_struct, read_bytes};
use fumehood_plugin::{Confidence, Error, Glimpse, Result, Source};
use zerocopy::big_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::geometry::{Geometry, SECTOR};

/// Seconds from 1970 to 2000, where the format's clock begins.
const EPOCH: u64 = 946_684_800;
const COOKIE: [u8; 8] = *b"conectix";
const VERSION: u32 = 0x0001_0000;
/// The bit that is always set.
const FEATURES: u32 = 2;
/// Images from before Virtual PC 2004 leave out the last byte.
const OLD_LENGTH: u64 = 511;

/// The footer as it lies on disk.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct Footer {
    cookie: [u8; 8],
    features: U32,
    version: U32,
    /// Where the dynamic header is; all ones in a fixed image.
    pub data_offset: U64,
    timestamp: U32,
    /// Which software made the image.
    pub creator: [u8; 4],
    creator_version: U32,
    creator_system: [u8; 4],
    original_size: U64,
    /// Size of the disk in bytes.
    pub current_size: U64,
    cylinders: U16,
    heads: u8,
    sectors: u8,
    kind: U32,
    checksum: U32,
    /// What a child records of this image.
    pub unique_id: [u8; 16],
    /// 1 where a machine's state was saved with the disk.
    pub saved_state: u8,
    reserved: [u8; 427],
}

/// How an image keeps its disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// All of it, one to one.
    Fixed,
    /// In blocks, where they were written.
    Dynamic,
    /// In blocks, sector by sector, what differs from a parent.
    Differencing,
}

impl Kind {
    const ALL: [(Self, u32, &str); 3] = [
        (Self::Fixed, 2, "fixed"),
        (Self::Dynamic, 3, "dynamic"),
        (Self::Differencing, 4, "differencing"),
    ];

    fn of_code(code: u32) -> Option<Self> {
        Self::ALL.iter().find(|(_, other, _)| *other == code).map(|(kind, _, _)| *kind)
    }

    fn code(self) -> u32 {
        Self::ALL.iter().find(|(kind, _, _)| *kind == self).map_or(0, |(_, code, _)| *code)
    }

    /// Its name, for people.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(kind, _, _)| *kind == self).map_or("", |(_, _, name)| *name)
    }
}

impl Footer {
    /// The footer of a new image.
    pub fn new(kind: Kind, size: u64, unique_id: [u8; 16], now: u64) -> Self {
        let mut footer = Self {
            cookie: COOKIE,
            features: U32::new(FEATURES),
            version: U32::new(VERSION),
            data_offset: U64::new(if kind == Kind::Fixed { u64::MAX } else { SECTOR }),
            timestamp: U32::new(u32::try_from(now.saturating_sub(EPOCH)).unwrap_or(u32::MAX)),
            creator: *b"win ",
            creator_version: U32::new(0x000a_0000),
            creator_system: *b"Wi2k",
            original_size: U64::new(size),
            current_size: U64::new(0),
            cylinders: U16::new(0),
            heads: 0,
            sectors: 0,
            kind: U32::new(0),
            checksum: U32::new(0),
            unique_id,
            saved_state: 0,
            reserved: [0; 427],
        };
        footer.set_kind(kind);
        footer.set_size(size);
        footer
    }

    /// Records another kind.
    pub fn set_kind(&mut self, kind: Kind) {
        self.kind = U32::new(kind.code());
        self.seal();
    }

    /// Records where the dynamic header is.
    pub fn set_data_offset(&mut self, offset: u64) {
        self.data_offset = U64::new(offset);
        self.seal();
    }

    /// Records a size and its geometry, which rounds it down. QEMU takes the size
    /// rather than the geometry from a few creators only, Windows among them, so
    /// whose sizes are exact is marked as made there.
    pub fn set_size(&mut self, size: u64) {
        let geometry = Geometry::of(size);
        self.current_size = U64::new(size);
        self.cylinders = U16::new(geometry.cylinders);
        self.heads = geometry.heads;
        self.sectors = geometry.sectors;
        self.creator = *b"win ";
        self.seal();
    }

    /// The recorded geometry.
    pub fn geometry(&self) -> Geometry {
        let Self { cylinders, heads, sectors, .. } = *self;
        Geometry { cylinders: cylinders.get(), heads, sectors }
    }

    /// Seconds since 1970 at which the image was made.
    pub fn created(&self) -> u64 {
        EPOCH + u64::from(self.timestamp.get())
    }

    fn seal(&mut self) {
        self.checksum = U32::new(0);
        self.checksum = U32::new(checksum(self.as_bytes()));
    }

    fn has_cookie(&self) -> bool {
        self.cookie == COOKIE
    }

    fn is_sealed(&self) -> bool {
        let mut sealed = *self;
        sealed.seal();
        sealed.checksum == self.checksum
    }

    fn is_sound(&self) -> bool {
        self.has_cookie() && self.is_sealed()
    }

    fn checked_kind(&self, offset: u64) -> Result<Kind> {
        let version = self.version.get();
        if version >> 16 != VERSION >> 16 {
            return Err(Error::Unsupported(format!("format version {version:#x} of a VHD")));
        }
        Kind::of_code(self.kind.get()).ok_or_else(|| {
            let found = self.kind.get();
            let what = format!("expected disk type 2, 3 or 4, found {found}");
            Error::corrupt(offset + 60, what)
        })
    }
}

/// One's complement of the sum of `bytes`, whose checksum field is zero
/// (specification, "Checksum").
pub fn checksum(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(0, |sum: u32, byte| sum.wrapping_add(u32::from(*byte)))
}

/// What became of the footer at the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tail {
    /// It is sound, and a copy at the start is the same.
    Sound,
    /// It is sound, and the copy at the start is not the same.
    CopyDiffers,
    /// It is lost; the copy at the start is used.
    Lost,
}

/// A sound footer that was found.
#[derive(Debug, Clone, Copy)]
pub struct Found {
    /// The footer.
    pub footer: Footer,
    /// Its kind, checked.
    pub kind: Kind,
    /// Where the footer at the end stands, or would stand.
    pub offset: u64,
    /// What became of it.
    pub tail: Tail,
}

impl Found {
    /// The footer at the end, or else its copy. With `trusting`, two that are equal
    /// are taken whatever their checksum.
    ///
    /// # Errors
    /// [`Error::Unrecognised`] without either, [`Error::Corrupt`] where both have a
    /// wrong checksum, or for an unknown kind.
    pub fn read(main: &dyn Source, trusting: bool) -> Result<Self> {
        let size = main.size();
        let Some(offset) = size.checked_sub(SECTOR) else { return Err(Error::Unrecognised) };
        let last = read_bytes(main, offset, SECTOR, "footer")?;
        let tail: Footer = parse_struct(&last, main.id(), offset, "footer")?;
        let equal = || tail.has_cookie() && read_footer(main, 0).is_ok_and(|head| head == tail);
        if tail.is_sound() || (trusting && equal()) {
            let kind = tail.checked_kind(offset)?;
            let copy_differs = kind != Kind::Fixed && read_footer(main, 0)? != tail;
            let tail_state = if copy_differs { Tail::CopyDiffers } else { Tail::Sound };
            return Ok(Self { footer: tail, kind, offset, tail: tail_state });
        }
        if let Some(old) = old_footer(&last).filter(Footer::is_sound) {
            let (offset, kind) = (size - OLD_LENGTH, old.checked_kind(size - OLD_LENGTH)?);
            if kind == Kind::Fixed {
                return Ok(Self { footer: old, kind, offset, tail: Tail::Sound });
            }
        }
        let head = read_footer(main, 0)?;
        if !head.has_cookie() && !tail.has_cookie() {
            return Err(Error::Unrecognised);
        }
        if !head.is_sound() {
            let (at, bad) = if tail.has_cookie() { (offset, tail) } else { (0, head) };
            let found = bad.checksum.get();
            let what = format!(
                "expected a footer's checksum, found {found:#010x}; where only the checksum is \
                 wrong, the setting footer_checksum=ignore opens it for reading"
            );
            return Err(Error::corrupt(at + 64, what));
        }
        let kind = head.checked_kind(0)?;
        if kind == Kind::Fixed {
            let what = "expected a fixed disk's footer at the end, found none";
            return Err(Error::corrupt(offset, what));
        }
        let offset = size.next_multiple_of(SECTOR);
        Ok(Self { footer: head, kind, offset, tail: Tail::Lost })
    }
}

fn read_footer(main: &dyn Source, offset: u64) -> Result<Footer> {
    fumehood_plugin::read::read_struct(main, offset, "footer")
}

/// The footer of 511 bytes at the end of `last`.
fn old_footer(last: &[u8]) -> Option<Footer> {
    let mut whole = [0; SECTOR as usize];
    let (short, bytes) = (last.get(1..)?, whole.get_mut(..OLD_LENGTH as usize)?);
    bytes.copy_from_slice(short.get(..OLD_LENGTH as usize)?);
    Footer::read_from_bytes(&whole).ok()
}

/// Whether a glimpse is of this format. What begins like a dynamic disk is claimed
/// whatever its state, so that the refusal says why. A fixed disk's beginning is its
/// guest's, so its footer must be sound and fit the file.
pub fn probe(glimpse: &Glimpse) -> Confidence {
    if glimpse.head.starts_with(&COOKIE) {
        return Confidence::Certain;
    }
    let start = glimpse.tail.len().checked_sub(SECTOR as usize);
    let Some(last) = start.and_then(|start| glimpse.tail.get(start..)) else {
        return Confidence::No;
    };
    let whole = Footer::read_from_bytes(last).ok().map(|footer| (footer, SECTOR));
    let old = old_footer(last).map(|footer| (footer, OLD_LENGTH));
    let sound = whole.into_iter().chain(old).find(|(footer, _)| footer.is_sound());
    let Some((footer, length)) = sound else { return Confidence::No };
    let (before, size) = (glimpse.size.saturating_sub(length), footer.current_size.get());
    match Kind::of_code(footer.kind.get()) {
        Some(Kind::Fixed) if size > before => Confidence::No,
        // More than the disk lies before it: a raw disk that ends in a VHD, perhaps.
        Some(Kind::Fixed) if size < before => Confidence::Maybe,
        Some(_) => Confidence::Certain,
        None => Confidence::No,
    }
}
