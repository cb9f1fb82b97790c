//! An opened image: what it says of itself, and its one disk.

use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

use fumehood_plugin::{
    Access, Disk, DiskInfo, Error, Extent, Finding, Image, ImageInfo, OpenOptions, Result,
    SourceHandle,
};

use crate::header::{Header, Kind};
use crate::{check, map, parent};

/// Opens the image in `main`.
///
/// # Errors
/// [`Error::ReadOnly`] for writing; as [`Header::read`].
pub fn open(main: SourceHandle, options: &OpenOptions) -> Result<Box<dyn Image>> {
    if options.access == Access::ReadWrite {
        return Err(Error::ReadOnly);
    }
    let header = Header::read(&*main)?;
    let settings = options.settings.clone();
    Ok(Box::new(VdiImage(Rc::new(State { main, header, settings }))))
}

struct State {
    main: SourceHandle,
    header: Header,
    settings: Vec<(String, String)>,
}

impl State {
    fn details(&self) -> Vec<(String, String)> {
        let Header { kind, creator, comment, uuids, .. } = &self.header;
        let mut details = vec![
            detail("type", kind.name()),
            detail("creator", creator),
            detail("created as", uuids.create.text()),
            detail("last change", uuids.modify.text()),
            detail("block size", self.header.block_size),
            detail("allocated blocks", self.header.blocks_allocated),
        ];
        if *kind == Kind::Differencing {
            details.push(detail("parent created as", uuids.linkage.text()));
            details.push(detail("parent's last change", uuids.parent_modify.text()));
        }
        if let Some(geometry) = self.header.geometry {
            details.push(detail("cylinders/heads/sectors", geometry.text()));
        }
        if self.header.flags != 0 {
            details.push(detail("flags", alloc::format!("{:#x}", self.header.flags)));
        }
        if !comment.is_empty() {
            details.push(detail("comment", comment));
        }
        details
    }
}

fn detail(name: &str, value: impl ToString) -> (String, String) {
    (name.to_string(), value.to_string())
}

struct VdiImage(Rc<State>);

impl Image for VdiImage {
    fn info(&self) -> ImageInfo {
        let State { main, header, settings } = &*self.0;
        let warnings = match header.kind {
            Kind::Differencing => parent::warnings(&main.name(), &header.uuids, settings),
            Kind::Dynamic | Kind::Fixed => Vec::new(),
        };
        ImageInfo { details: self.0.details(), warnings, ..ImageInfo::default() }
    }

    fn disks(&self) -> Vec<DiskInfo> {
        let State { main, header, settings } = &*self.0;
        let differs = header.kind == Kind::Differencing;
        vec![DiskInfo {
            parent: differs.then(|| parent::parent(&main.name(), &header.uuids, settings)),
            identity: parent::identity(&header.uuids),
            ..DiskInfo::new(header.disk_size, header.block_size)
        }]
    }

    fn disk(&self, number: u32) -> Result<Box<dyn Disk>> {
        if number == 0 { Ok(Box::new(VdiDisk(self.0.clone()))) } else { Err(Error::OutOfRange) }
    }
}

struct VdiDisk(Rc<State>);

impl Disk for VdiDisk {
    fn extents(&mut self, offset: u64, length: u64) -> Result<Vec<Extent>> {
        map::extents(&*self.0.main, &self.0.header, offset, length)
    }

    fn check(&mut self, repair: bool) -> Result<Vec<Finding>> {
        if repair {
            return Err(Error::ReadOnly);
        }
        check::check(&*self.0.main, &self.0.header)
    }
}
