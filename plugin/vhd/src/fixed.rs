//! A fixed image: the file is the disk, and a footer behind it.

use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::vec;
use alloc::vec::Vec;
use core::cell::RefCell;

use fumehood_plugin::{
    Access, Content, Disk, DiskInfo, Error, Extent, Image, ImageInfo, OpenOptions, Placement,
    Result, SourceHandle, Stored,
};
use zerocopy::IntoBytes;

use crate::footer::{Footer, Found, Kind};
use crate::geometry::{SECTOR, SizeRule};
use crate::resize::check_size;
use crate::sparse::{common_details, common_warnings};
use crate::uuid;

/// Nothing is allocated; this keeps what the host hands over reasonably whole.
const GRANULARITY: u32 = 4096;

struct Fixed {
    main: SourceHandle,
    writable: bool,
    footer: Footer,
    disk_size: u64,
    dirty: bool,
}

/// Opens the image whose footer was found.
///
/// # Errors
/// [`Error::Corrupt`] where the file holds less than the disk, [`Error::Unsupported`]
/// for writing under a saved state.
pub fn open(main: SourceHandle, found: Found, options: &OpenOptions) -> Result<Box<dyn Image>> {
    let rule = SizeRule::from_settings(&options.settings)?;
    let footer = found.footer;
    let disk_size = rule.choose(footer.creator, footer.current_size.get(), footer.geometry());
    if disk_size > found.offset {
        let what = alloc::format!(
            "expected a disk in the {} bytes before the footer, found one of {disk_size}",
            found.offset
        );
        return Err(Error::corrupt(found.offset + 48, what));
    }
    let writable = options.access == Access::ReadWrite;
    if writable && footer.saved_state != 0 {
        let what = "writing to a disk that a machine's saved state belongs to";
        return Err(Error::Unsupported(what.into()));
    }
    Ok(image(Fixed { main, writable, footer, disk_size, dirty: false }))
}

/// Makes a new image in `main`, which is empty.
///
/// # Errors
/// What the source answers.
pub fn create(main: SourceHandle, footer: Footer) -> Result<Box<dyn Image>> {
    let disk_size = footer.current_size.get();
    main.resize(disk_size + SECTOR)?;
    main.write(disk_size, footer.as_bytes())?;
    Ok(image(Fixed { main, writable: true, footer, disk_size, dirty: true }))
}

fn image(fixed: Fixed) -> Box<dyn Image> {
    Box::new(FixedImage(Rc::new(RefCell::new(fixed))))
}

impl Fixed {
    /// Where a range lies.
    fn stored(&self, offset: u64, length: u64) -> Result<Stored> {
        let end = offset.checked_add(length).filter(|end| *end <= self.disk_size);
        end.ok_or(Error::OutOfRange)?;
        Ok(Stored { source: self.main.id(), offset, writable: self.writable })
    }

    fn writable_range(&self, offset: u64, length: u64) -> Result<Stored> {
        if !self.writable {
            return Err(Error::ReadOnly);
        }
        self.stored(offset, length)
    }

    /// The new footer is durable before the old one is given up. A crash in between
    /// may leave the old one's sector in a disk that has grown.
    fn resize(&mut self, size: u64) -> Result<()> {
        check_size(size)?;
        self.writable_range(0, 0)?;
        let (old, old_end) = (self.disk_size, self.main.size());
        if size == old {
            return Ok(());
        }
        let mut footer = self.footer;
        footer.set_size(size);
        self.main.write(size, footer.as_bytes())?;
        self.main.flush()?;
        self.footer = footer;
        self.disk_size = size;
        if size < old {
            self.main.resize(size + SECTOR)?;
        } else {
            // The old footer, and what little may have stood before it.
            self.main.zero(old, old_end.min(size) - old)?;
        }
        self.dirty = true;
        Ok(())
    }
}

struct FixedImage(Rc<RefCell<Fixed>>);

impl Image for FixedImage {
    fn info(&self) -> ImageInfo {
        let fixed = self.0.borrow();
        ImageInfo {
            details: common_details(&fixed.footer, Kind::Fixed),
            warnings: common_warnings(&fixed.footer, fixed.disk_size),
            ..ImageInfo::default()
        }
    }

    fn disks(&self) -> Vec<DiskInfo> {
        let fixed = self.0.borrow();
        vec![DiskInfo {
            identity: Some(uuid::to_text(&fixed.footer.unique_id)),
            ..DiskInfo::new(fixed.disk_size, GRANULARITY)
        }]
    }

    fn disk(&self, number: u32) -> Result<Box<dyn Disk>> {
        if number == 0 { Ok(Box::new(FixedDisk(self.0.clone()))) } else { Err(Error::OutOfRange) }
    }
}

struct FixedDisk(Rc<RefCell<Fixed>>);

impl Disk for FixedDisk {
    fn extents(&mut self, offset: u64, _length: u64) -> Result<Vec<Extent>> {
        let fixed = self.0.borrow();
        if offset >= fixed.disk_size {
            return Err(Error::OutOfRange);
        }
        let stored = fixed.stored(0, fixed.disk_size)?;
        Ok(vec![Extent { offset: 0, length: fixed.disk_size, content: Content::Stored(stored) }])
    }

    fn place(&mut self, offset: u64, length: u64) -> Result<Vec<Placement>> {
        let stored = self.0.borrow().writable_range(offset, length)?;
        Ok(vec![Placement { offset, length, stored, fresh: false, zeroed: false }])
    }

    fn commit(&mut self, ranges: &[(u64, u64)]) -> Result<()> {
        // Placements are in place, so there is nothing to link.
        let fixed = self.0.borrow();
        ranges.iter().try_for_each(|(at, length)| fixed.writable_range(*at, *length).map(drop))
    }

    fn zero(&mut self, offset: u64, length: u64, drop: bool) -> Result<()> {
        let mut fixed = self.0.borrow_mut();
        fixed.writable_range(offset, length)?;
        fixed.dirty = true;
        if drop && fixed.main.discard(offset, length)? {
            return Ok(());
        }
        fixed.main.zero(offset, length)
    }

    fn flush(&mut self) -> Result<()> {
        let mut fixed = self.0.borrow_mut();
        if fixed.dirty {
            fixed.main.flush()?;
            fixed.dirty = false;
        }
        Ok(())
    }

    fn resize(&mut self, size: u64) -> Result<()> {
        self.0.borrow_mut().resize(size)
    }
}
