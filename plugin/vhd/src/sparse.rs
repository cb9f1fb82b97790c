//! An opened dynamic or differencing image: its state, which the image and its disk
//! share, and what it says of itself.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::rc::Rc;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;
use core::cell::RefCell;

use fumehood_plugin::{
    Access, Disk, DiskInfo, Error, Extent, Finding, Image, ImageInfo, OpenOptions, Parent,
    Placement, Result, SourceHandle,
};
use zerocopy::IntoBytes;

use crate::bat::Bat;
use crate::bitmap::Bitmaps;
use crate::footer::{Footer, Found, Kind, Tail};
use crate::geometry::{SECTOR, SizeRule};
use crate::header::{self, BlockShape, DynamicHeader};
use crate::space::Space;
use crate::{check, parent, survey, uuid};

/// The state of an image.
pub struct Sparse {
    pub main: SourceHandle,
    pub writable: bool,
    pub footer: Footer,
    /// What became of the footers, as they were found.
    pub tail: Tail,
    pub header: DynamicHeader,
    pub disk_size: u64,
    pub shape: BlockShape,
    /// Whether a sector counts only once its bit is set. Stays as it was opened when
    /// the parent is taken away.
    pub sectorwise: bool,
    pub parent: Option<Parent>,
    pub bat: Bat,
    pub bitmaps: Bitmaps,
    pub space: Space,
    /// Blocks that have room and no link.
    pub placed: BTreeMap<u64, u64>,
    /// Blocks of a dynamic disk whose bits are all set, so that the host may write.
    pub prepared: BTreeSet<u64>,
    /// Whether something was written that the host's own flush did not cover.
    pub dirty: bool,
}

/// Opens the image whose footer was found.
///
/// # Errors
/// [`Error::Corrupt`] and [`Error::Unsupported`] by the field that says so.
pub fn open(main: SourceHandle, found: Found, options: &OpenOptions) -> Result<Box<dyn Image>> {
    let rule = SizeRule::from_settings(&options.settings)?;
    let footer = found.footer;
    let size = rule.choose(footer.creator, footer.current_size.get(), footer.geometry());
    let header = DynamicHeader::read(&*main, footer.data_offset.get(), size)?;
    let mut sparse = Sparse::new(main, found, header, size);
    if options.access == Access::ReadWrite {
        sparse.make_writable()?;
    }
    Ok(sparse.into_image())
}

impl Sparse {
    /// The state of an image that was just read or made; read-only.
    pub fn new(main: SourceHandle, found: Found, header: DynamicHeader, disk_size: u64) -> Self {
        let shape = BlockShape::new(header.block_size.get());
        let sectorwise = found.kind == Kind::Differencing;
        Self {
            writable: false,
            footer: found.footer,
            tail: found.tail,
            disk_size,
            shape,
            sectorwise,
            parent: sectorwise.then(|| parent::read(&*main, &header)),
            bat: Bat::new(header.table_offset.get(), header.table_entries.get().into()),
            bitmaps: Bitmaps::new(shape.bitmap),
            space: Space::new(found.offset),
            placed: BTreeMap::new(),
            prepared: BTreeSet::new(),
            dirty: false,
            header,
            main,
        }
    }

    /// The image, to hand out.
    pub fn into_image(self) -> Box<dyn Image> {
        Box::new(SparseImage(Rc::new(RefCell::new(self))))
    }

    /// Refuses what must not be written to, and makes good what a crash left.
    fn make_writable(&mut self) -> Result<()> {
        if self.footer.saved_state != 0 {
            let what = "writing to a disk that a machine's saved state belongs to";
            return Err(Error::Unsupported(what.into()));
        }
        let (offset, table) = (self.footer.data_offset.get(), self.bat.offset());
        if !offset.is_multiple_of(SECTOR) || !table.is_multiple_of(SECTOR) {
            let what = format!("writing with a header at {offset} and a table at {table}");
            return Err(Error::Unsupported(what));
        }
        if !self.space.footer_at().is_multiple_of(SECTOR) || self.shape.size < 4096 {
            let what = "writing to an image of odd length, or with blocks below 4096 bytes";
            return Err(Error::Unsupported(what.into()));
        }
        if let Some(first) = survey::survey(self)?.into_iter().next() {
            return Err(Error::corrupt(self.bat.entry_offset(first.block), first.what));
        }
        if self.tail != Tail::Sound {
            self.write_footers()?;
            self.main.flush()?;
        }
        self.writable = true;
        Ok(())
    }

    /// Writes both copies of the footer. Each alone is a valid image.
    ///
    /// # Errors
    /// What the source answers.
    pub fn write_footers(&self) -> Result<()> {
        self.main.write(self.space.footer_at(), self.footer.as_bytes())?;
        self.main.write(0, self.footer.as_bytes())
    }

    /// Where `block` lies on the disk: its start and its end.
    pub fn block_range(&self, block: u64) -> (u64, u64) {
        let start = block.saturating_mul(self.shape.size);
        (start, start.saturating_add(self.shape.size).min(self.disk_size))
    }

    /// The place of `block` in the file, if it is linked.
    ///
    /// # Errors
    /// [`Error::Corrupt`] where it lies past the end, or in other structures.
    pub fn linked(&mut self, block: u64) -> Result<Option<u64>> {
        let Some(place) = self.bat.get(&*self.main, block)? else { return Ok(None) };
        self.check_place(block, place).map(|()| Some(place))
    }

    /// That `block` may lie at `place`.
    ///
    /// # Errors
    /// As [`Sparse::linked`].
    pub fn check_place(&self, block: u64, place: u64) -> Result<()> {
        let end = place + self.shape.stored();
        let file_end = self.space.footer_at().min(self.main.size());
        let overlaps = |start: u64, length: u64| place < start + length && start < end;
        let taken = overlaps(0, SECTOR)
            || overlaps(self.footer.data_offset.get(), header::LENGTH)
            || overlaps(self.bat.offset(), self.bat.length());
        if taken || end > file_end {
            let what = format!(
                "expected block {block} between the table and the footer at {file_end}, \
                 found it from {place} to {end}"
            );
            return Err(Error::corrupt(self.bat.entry_offset(block), what));
        }
        Ok(())
    }

    fn info(&self) -> ImageInfo {
        let footer = &self.footer;
        let kind = if self.parent.is_some() { Kind::Differencing } else { Kind::Dynamic };
        let mut details = common_details(footer, kind);
        details.push(("block size".into(), self.shape.size.to_string()));
        let mut warnings = common_warnings(footer, self.disk_size);
        if let Some(text) = check::footer_text(self.tail) {
            warnings.push(text.into());
        }
        ImageInfo { details, warnings, ..ImageInfo::default() }
    }

    fn disk_info(&self) -> DiskInfo {
        // A block has at most 256 MiB.
        let granularity = if self.sectorwise { SECTOR } else { self.shape.size } as u32;
        DiskInfo {
            parent: self.parent.clone(),
            identity: Some(uuid::to_text(&self.footer.unique_id)),
            ..DiskInfo::new(self.disk_size, granularity)
        }
    }
}

/// What is shown of every kind of image.
pub fn common_details(footer: &Footer, kind: Kind) -> Vec<(String, String)> {
    let geometry = footer.geometry();
    let geometry = format!("{}/{}/{}", geometry.cylinders, geometry.heads, geometry.sectors);
    vec![
        ("type".into(), kind.name().into()),
        ("creator".into(), footer.creator.escape_ascii().to_string()),
        ("created".into(), footer.created().to_string()),
        ("unique id".into(), uuid::to_text(&footer.unique_id)),
        ("cylinders/heads/sectors".into(), geometry),
    ]
}

/// What is to say of every kind of image before it is trusted.
pub fn common_warnings(footer: &Footer, disk_size: u64) -> Vec<String> {
    let mut warnings = Vec::new();
    let current = footer.current_size.get();
    if current != disk_size {
        warnings.push(format!(
            "the disk is shown with the {disk_size} bytes of its geometry, as its creator \
             showed it; it records {current} (setting size=current)"
        ));
    }
    if footer.saved_state != 0 {
        warnings.push("a machine's saved state belongs to this disk".into());
    }
    warnings
}

struct SparseImage(Rc<RefCell<Sparse>>);

impl Image for SparseImage {
    fn info(&self) -> ImageInfo {
        self.0.borrow().info()
    }

    fn disks(&self) -> Vec<DiskInfo> {
        vec![self.0.borrow().disk_info()]
    }

    fn disk(&self, number: u32) -> Result<Box<dyn Disk>> {
        if number == 0 { Ok(Box::new(SparseDisk(self.0.clone()))) } else { Err(Error::OutOfRange) }
    }

    fn close(&self) -> Result<()> {
        self.0.borrow_mut().close()
    }
}

struct SparseDisk(Rc<RefCell<Sparse>>);

impl SparseDisk {
    /// The state, if it may be written.
    fn writable(&self) -> Result<core::cell::RefMut<'_, Sparse>> {
        let sparse = self.0.borrow_mut();
        if sparse.writable { Ok(sparse) } else { Err(Error::ReadOnly) }
    }
}

impl Disk for SparseDisk {
    fn extents(&mut self, offset: u64, length: u64) -> Result<Vec<Extent>> {
        self.0.borrow_mut().extents(offset, length)
    }

    fn place(&mut self, offset: u64, length: u64) -> Result<Vec<Placement>> {
        self.writable()?.place(offset, length)
    }

    fn commit(&mut self, ranges: &[(u64, u64)]) -> Result<()> {
        self.writable()?.commit(ranges)
    }

    fn zero(&mut self, offset: u64, length: u64, drop: bool) -> Result<()> {
        self.writable()?.zero(offset, length, drop)
    }

    fn flush(&mut self) -> Result<()> {
        self.0.borrow_mut().flush()
    }

    fn resize(&mut self, size: u64) -> Result<()> {
        self.writable()?.resize(size)
    }

    fn rebase(&mut self, parent: Option<Parent>) -> Result<()> {
        self.writable()?.rebase(parent)
    }

    fn check(&mut self, repair: bool) -> Result<Vec<Finding>> {
        check::check(&mut self.0.borrow_mut(), repair)
    }
}
