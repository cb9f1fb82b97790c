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
    Ok(Box::new(QedImage(Rc::new(State { main, header }))))
}

struct State {
    main: SourceHandle,
    header: Header,
}

fn detail(name: &str, value: impl ToString) -> (String, String) {
    (name.to_string(), value.to_string())
}

struct QedImage(Rc<State>);

impl Image for QedImage {
    fn info(&self) -> ImageInfo {
        let (header, shape) = (&self.0.header, self.0.header.shape());
        let mut details = vec![
            detail("cluster size", shape.cluster_size),
            detail("table size", shape.table_length()),
            detail("needs a check", if header.needs_check { "yes" } else { "no" }),
        ];
        if header.other_features != (0, 0) {
            let (compatible, autoclear) = header.other_features;
            let text = alloc::format!("compatible {compatible:#x}, autoclear {autoclear:#x}");
            details.push(detail("unknown features", text));
        }
        let mut warnings = Vec::new();
        if header.needs_check {
            let what = "the image was not closed: its tables may contradict each other, which a \
                        check shows";
            warnings.push(what.into());
        }
        ImageInfo { details, warnings, ..ImageInfo::default() }
    }

    fn disks(&self) -> Vec<DiskInfo> {
        let (header, shape) = (&self.0.header, self.0.header.shape());
        let parent = header.backing.as_ref().map(|backing| Parent {
            references: vec![backing.name.clone()],
            identities: Vec::new(),
            format: backing.raw.then(|| "raw".into()),
        });
        // At most 64 MiB.
        vec![DiskInfo { parent, ..DiskInfo::new(shape.disk_size, shape.cluster_size as u32) }]
    }

    fn disk(&self, number: u32) -> Result<Box<dyn Disk>> {
        if number == 0 { Ok(Box::new(QedDisk(self.0.clone()))) } else { Err(Error::OutOfRange) }
    }
}

struct QedDisk(Rc<State>);

impl Disk for QedDisk {
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
