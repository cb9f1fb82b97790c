//! Raw disks: the file is the disk.
//!
//! Nothing proves a file to be a raw disk, so [`probe`](Format::probe) never says
//! more than *maybe*, and the host takes the format only when it is named: a guest
//! that writes another format's signature into its first sector changes nothing.
#![cfg_attr(target_family = "wasm", no_std)]
#![forbid(unsafe_code)]
#![warn(missing_docs)]

extern crate alloc;

use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::vec;
use alloc::vec::Vec;

use fumehood_plugin::{
    Access, Confidence, Content, CreateOptions, Description, Disk, DiskInfo, Error, Extent, Format,
    Glimpse, Host, Image, ImageInfo, OpenOptions, Placement, Result, SourceHandle, Stored,
};

/// The format.
pub struct Raw;

impl Format for Raw {
    fn describe() -> Description {
        Description {
            name: "raw",
            title: "Raw disk",
            version: env!("CARGO_PKG_VERSION"),
            extensions: &["raw", "img", "dd"],
            folder_entry: None,
            can_write: true,
            can_create: true,
        }
    }

    fn probe(_glimpse: &Glimpse) -> Confidence {
        Confidence::Maybe
    }

    fn open(
        main: SourceHandle,
        _host: Rc<dyn Host>,
        options: OpenOptions,
    ) -> Result<Box<dyn Image>> {
        Ok(Box::new(RawImage { main, writable: options.access == Access::ReadWrite }))
    }

    fn create(
        main: SourceHandle,
        _host: Rc<dyn Host>,
        options: CreateOptions,
    ) -> Result<Box<dyn Image>> {
        if options.parent.is_some() {
            return Err(Error::Unsupported("a raw disk cannot have a parent".into()));
        }
        if let Some((name, _)) = options.settings.first() {
            let what = alloc::format!("the setting {name}: a raw disk has none");
            return Err(Error::Unsupported(what));
        }
        main.resize(options.size)?;
        Ok(Box::new(RawImage { main, writable: true }))
    }
}

#[derive(Clone)]
struct RawImage {
    main: SourceHandle,
    writable: bool,
}

impl RawImage {
    fn stored(&self, offset: u64) -> Stored {
        Stored { source: self.main.id(), offset, writable: self.writable }
    }

    fn checked_end(&self, offset: u64, length: u64) -> Result<u64> {
        let end = offset.checked_add(length).ok_or(Error::OutOfRange)?;
        if end > self.main.size() { Err(Error::OutOfRange) } else { Ok(end) }
    }
}

impl Image for RawImage {
    fn info(&self) -> ImageInfo {
        ImageInfo::default()
    }

    fn disks(&self) -> Vec<DiskInfo> {
        vec![DiskInfo::new(self.main.size(), 4096)]
    }

    fn disk(&self, number: u32) -> Result<Box<dyn Disk>> {
        if number == 0 { Ok(Box::new(self.clone())) } else { Err(Error::OutOfRange) }
    }
}

impl Disk for RawImage {
    fn extents(&mut self, offset: u64, _length: u64) -> Result<Vec<Extent>> {
        let size = self.main.size();
        if offset >= size {
            return Err(Error::OutOfRange);
        }
        Ok(vec![Extent { offset: 0, length: size, content: Content::Stored(self.stored(0)) }])
    }

    fn place(&mut self, offset: u64, length: u64) -> Result<Vec<Placement>> {
        if !self.writable {
            return Err(Error::ReadOnly);
        }
        self.checked_end(offset, length)?;
        Ok(vec![Placement {
            offset,
            length,
            stored: self.stored(offset),
            fresh: false,
            zeroed: false,
        }])
    }

    fn commit(&mut self, ranges: &[(u64, u64)]) -> Result<()> {
        // Placements are in place, so there is nothing to link.
        ranges.iter().try_for_each(|(offset, length)| self.checked_end(*offset, *length).map(drop))
    }

    fn zero(&mut self, offset: u64, length: u64, drop: bool) -> Result<()> {
        self.checked_end(offset, length)?;
        if drop && self.main.discard(offset, length)? {
            return Ok(());
        }
        self.main.zero(offset, length)
    }

    fn flush(&mut self) -> Result<()> {
        self.main.flush()
    }

    fn resize(&mut self, size: u64) -> Result<()> {
        self.main.resize(size)
    }
}

fumehood_plugin::export_format!(Raw);

#[cfg(test)]
mod tests {
    use super::*;
    use fumehood_plugin::memory::{MemoryHost, MemorySource};

    #[test]
    fn the_file_is_the_disk() {
        let source = MemorySource::new(0, "disk.raw", vec![7; 4096]);
        let image =
            Raw::open(Rc::new(source), Rc::new(MemoryHost::new()), OpenOptions::read_only())
                .unwrap();
        assert_eq!(image.disks()[0].size, 4096);
        let mut disk = image.disk(0).unwrap();
        let extents = disk.extents(1024, 512).unwrap();
        assert_eq!(extents.len(), 1);
        assert_eq!((extents[0].offset, extents[0].length), (0, 4096));
        assert_eq!(disk.extents(4096, 1), Err(Error::OutOfRange));
        assert_eq!(disk.place(0, 512), Err(Error::ReadOnly));
    }
}
