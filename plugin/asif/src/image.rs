//! The opened image as the host sees it.

use alloc::boxed::Box;
use alloc::format;
use alloc::rc::Rc;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

use fumehood_plugin::{Disk, DiskInfo, Error, Image, ImageInfo, Result, SourceHandle};

use crate::header::Header;
use crate::map::{Layout, MappedDisk};
use crate::metadata;
use crate::tables::Directory;

/// The property list in the image.
const LIST: &str = "metadata.plist";
const EXPERIMENTAL: &str = "the format is known from a few images only: compare what matters with \
                            what macOS shows of it";

/// An opened image.
pub struct AsifImage {
    layout: Layout,
    list: Option<String>,
    info: ImageInfo,
}

impl AsifImage {
    /// The image in `main`.
    ///
    /// # Errors
    /// As [`Header::read`].
    pub fn open(main: SourceHandle) -> Result<Self> {
        let header = Rc::new(Header::read(&*main)?);
        let directory = Directory::choose(&*main, &header)?;
        let layout = Layout { main, header, directory };
        let mut warnings = vec![EXPERIMENTAL.to_string()];
        let list = metadata::read(&layout).unwrap_or_else(|error| {
            warnings.push(error.to_string());
            None
        });
        let documents = list.iter().map(|_| LIST.to_string()).collect();
        let details = details(&layout, list.as_deref());
        let info = ImageInfo { details, documents, warnings, snapshots: Vec::new() };
        Ok(Self { layout, list, info })
    }
}

fn details(layout: &Layout, list: Option<&str>) -> Vec<(String, String)> {
    let header = &*layout.header;
    let digits: String = header.identifier.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut details = vec![
        ("identifier".to_string(), digits),
        ("chunk size".to_string(), header.chunk.to_string()),
        ("may grow to".to_string(), header.most.to_string()),
        ("directory version".to_string(), layout.directory.version.to_string()),
    ];
    let stable = list.and_then(|list| metadata::value(list, "stable uuid"));
    details.extend(stable.map(|uuid| ("stable uuid".to_string(), uuid)));
    details
}

impl Image for AsifImage {
    fn info(&self) -> ImageInfo {
        self.info.clone()
    }

    fn disks(&self) -> Vec<DiskInfo> {
        let header = &*self.layout.header;
        let block = header.block as u32;
        // At most 64 MiB.
        let granularity = header.chunk as u32;
        vec![DiskInfo {
            logical_sector: block,
            physical_sector: block,
            ..DiskInfo::new(header.size, granularity)
        }]
    }

    fn disk(&self, number: u32) -> Result<Box<dyn Disk>> {
        match number {
            0 => Ok(Box::new(MappedDisk::new(self.layout.clone()))),
            _ => Err(Error::OutOfRange),
        }
    }

    fn document(&self, name: &str) -> Result<Vec<u8>> {
        let list = self.list.as_ref().filter(|_| name == LIST);
        list.map(|list| list.clone().into_bytes()).ok_or_else(|| Error::Missing(name.into()))
    }
}
