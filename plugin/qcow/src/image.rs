//! An opened image: what it says of itself, and its one disk.

use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

use fumehood_plugin::two_level::{self, TwoLevel};
use fumehood_plugin::{
    Access, Disk, DiskInfo, Error, Extent, Finding, Image, ImageInfo, OpenOptions, Parent, Result,
    SourceHandle,
};

use crate::check;
use crate::header::Header;

/// Opens the image in `main`.
///
/// # Errors
/// [`Error::ReadOnly`] for writing; as [`Header::read`].
pub fn open(main: SourceHandle, options: &OpenOptions) -> Result<Box<dyn Image>> {
    if options.access == Access::ReadWrite {
        return Err(Error::ReadOnly);
    }
    let header = Header::read(&*main)?;
    Ok(Box::new(QcowImage(Rc::new(State { main, header }))))
}

struct State {
    main: SourceHandle,
    header: Header,
}

fn detail(name: &str, value: impl ToString) -> (String, String) {
    (name.to_string(), value.to_string())
}

struct QcowImage(Rc<State>);

impl Image for QcowImage {
    fn info(&self) -> ImageInfo {
        let (header, shape) = (&self.0.header, self.0.header.shape());
        let mut details = vec![
            detail("cluster size", shape.cluster_size),
            detail("table size", shape.table_length()),
        ];
        if header.modified != 0 {
            let text = alloc::format!("{} s since 1970", header.modified);
            details.push(detail("backing file's last change", text));
        }
        ImageInfo { details, ..ImageInfo::default() }
    }

    fn disks(&self) -> Vec<DiskInfo> {
        let (header, shape) = (&self.0.header, self.0.header.shape());
        // What format a backing file has was not recorded yet.
        let parent = header.backing_file.as_ref().map(|name| Parent {
            references: vec![name.clone()],
            identities: Vec::new(),
            format: None,
        });
        // At most 64 KiB.
        vec![DiskInfo { parent, ..DiskInfo::new(shape.disk_size, shape.cluster_size as u32) }]
    }

    fn disk(&self, number: u32) -> Result<Box<dyn Disk>> {
        if number == 0 { Ok(Box::new(QcowDisk(self.0.clone()))) } else { Err(Error::OutOfRange) }
    }
}

struct QcowDisk(Rc<State>);

impl Disk for QcowDisk {
    fn extents(&mut self, offset: u64, length: u64) -> Result<Vec<Extent>> {
        two_level::extents(&*self.0.main, &self.0.header, offset, length)
    }

    fn check(&mut self, repair: bool) -> Result<Vec<Finding>> {
        if repair {
            return Err(Error::ReadOnly);
        }
        check::check(&*self.0.main, &self.0.header)
    }
}
