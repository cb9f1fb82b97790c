//! An opened image: what it says of itself, and its one disk.

use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

use fumehood_plugin::{
    Access, Codec, Disk, DiskInfo, Error, Extent, Finding, Host, Image, ImageInfo, Parent, Result,
    Source, SourceHandle,
};

use crate::check;
use crate::features::INCOMPATIBLE_OFFSET;
use crate::header::{Header, Version};
use crate::l2::EntryRules;
use crate::map::{DataSource, Map};
use crate::snapshots::Snapshots;
use crate::tables::Tables;

/// An image with one of its disk states chosen.
pub struct Qcow2Image {
    main: SourceHandle,
    header: Rc<Header>,
    snapshots: Rc<Snapshots>,
    map: Map,
}

impl Qcow2Image {
    /// Opens the active state, or the snapshot with this id or name.
    ///
    /// # Errors
    /// What [`Header::read`], [`Snapshots::read`] and the host answer;
    /// [`Error::Missing`] for an unknown snapshot.
    pub fn open(main: SourceHandle, host: &dyn Host, snapshot: Option<&str>) -> Result<Self> {
        let header = Header::read(&*main)?;
        let mut tables = Tables::new(main.clone(), header.geometry.cluster_size());
        let snapshots = Snapshots::read(&mut tables, &header)?;
        let (l1, disk_size) = match snapshot {
            None => (header.l1, header.disk_size),
            Some(wanted) => {
                let found = snapshots.find(wanted)?;
                (found.l1(header.geometry, tables.file_size())?, found.info.disk_size)
            }
        };
        let map = Map {
            geometry: header.geometry,
            rules: EntryRules::new(&header),
            l1,
            disk_size,
            data: open_data(&*main, &header, host)?,
            codec: header.codec,
        };
        Ok(Self { main, header: Rc::new(header), snapshots: Rc::new(snapshots), map })
    }

    fn tables(&self) -> Tables {
        Tables::new(self.main.clone(), self.header.geometry.cluster_size())
    }

    fn details(&self) -> Vec<(String, String)> {
        let Header { version, geometry, features, refcounts, extensions, codec, .. } =
            &*self.header;
        let version = if *version == Version::Two { "2" } else { "3" };
        let compression = if *codec == Codec::Zstd { "zstd" } else { "deflate" };
        let mut details = vec![
            detail("version", version),
            detail("cluster size", geometry.cluster_size()),
            detail("compression", compression),
            detail("refcount bits", 1u64 << refcounts.order),
            detail("lazy refcounts", yes_no(features.lazy_refcounts())),
            detail("subclusters", yes_no(geometry.extended())),
        ];
        if let Some(name) = extensions.data_file.as_ref().filter(|_| features.data_file()) {
            details.push(detail("data file", name));
            details.push(detail("data file is raw", yes_no(features.raw_data_file())));
        }
        details.push(detail("dirty", yes_no(features.dirty())));
        details.push(detail("corrupt", yes_no(features.corrupt())));
        details
    }

    fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if self.header.features.dirty() {
            warnings.push(
                "the image was not closed: its reference counts may be stale, \
                 which does not matter for reading"
                    .into(),
            );
        }
        if self.header.features.corrupt() {
            warnings.push(
                "the image is marked corrupt: a writer found contradictions in its metadata".into(),
            );
        }
        warnings
    }
}

/// The source of host clusters. A data file that the image names is opened by the
/// host's policy.
fn open_data(main: &dyn Source, header: &Header, host: &dyn Host) -> Result<DataSource> {
    if !header.features.data_file() {
        return Ok(DataSource { id: main.id(), size: main.size() });
    }
    let Some(name) = &header.extensions.data_file else {
        let what = "expected a header extension with the external data file's name, found none";
        return Err(Error::corrupt(INCOMPATIBLE_OFFSET, what));
    };
    let source = host.open(name, Access::Read)?;
    Ok(DataSource { id: source.id(), size: source.size() })
}

fn detail(name: &str, value: impl ToString) -> (String, String) {
    (name.to_string(), value.to_string())
}

fn yes_no(value: bool) -> &'static str {
    if value { "yes" } else { "no" }
}

impl Image for Qcow2Image {
    fn info(&self) -> ImageInfo {
        ImageInfo {
            details: self.details(),
            documents: Vec::new(),
            snapshots: self.snapshots.list.iter().map(|snapshot| snapshot.info.clone()).collect(),
            warnings: self.warnings(),
        }
    }

    fn disks(&self) -> Vec<DiskInfo> {
        // At most 2 MiB.
        let granularity = self.header.geometry.granularity() as u32;
        let mut info = DiskInfo::new(self.map.disk_size, granularity);
        info.parent = self.header.backing_file.as_ref().map(|reference| Parent {
            references: vec![reference.clone()],
            identities: Vec::new(),
            format: self.header.extensions.backing_format.clone(),
        });
        vec![info]
    }

    fn disk(&self, number: u32) -> Result<Box<dyn Disk>> {
        if number != 0 {
            return Err(Error::OutOfRange);
        }
        Ok(Box::new(Qcow2Disk {
            tables: self.tables(),
            map: self.map,
            header: self.header.clone(),
            snapshots: self.snapshots.clone(),
        }))
    }
}

struct Qcow2Disk {
    tables: Tables,
    map: Map,
    header: Rc<Header>,
    snapshots: Rc<Snapshots>,
}

impl Disk for Qcow2Disk {
    fn extents(&mut self, offset: u64, length: u64) -> Result<Vec<Extent>> {
        self.map.extents(&mut self.tables, offset, length)
    }

    fn check(&mut self, repair: bool) -> Result<Vec<Finding>> {
        if repair {
            return Err(Error::ReadOnly);
        }
        check::check(&mut self.tables, &self.header, &self.snapshots)
    }
}
