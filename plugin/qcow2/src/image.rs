//! An opened image: what it says of itself, and its one disk.

use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

use core::cell::RefCell;

use fumehood_plugin::{
    Access, Codec, Disk, DiskInfo, Encoding, Error, Extent, Finding, Host, Image, ImageInfo,
    OpenOptions, Parent, Placement, Result, Source, SourceHandle, Stored,
};

use crate::features::INCOMPATIBLE_OFFSET;
use crate::fixed::FixedAreas;
use crate::header::{Header, Version};
use crate::l2::EntryRules;
use crate::map::{DataSource, Map};
use crate::snapshots::Snapshots;
use crate::state::State;
use crate::tables::Tables;

/// An image with one of its disk states chosen.
pub struct Qcow2Image {
    state: Rc<RefCell<State>>,
}

impl Qcow2Image {
    /// Opens the active state, or the snapshot with this id or name. An image that is
    /// to be written and was not closed is repaired first.
    ///
    /// # Errors
    /// What [`Header::read`], [`Snapshots::read`] and the host answer;
    /// [`Error::Missing`] for an unknown snapshot; what [`check_writable`] refuses.
    pub fn open(main: SourceHandle, host: &dyn Host, options: &OpenOptions) -> Result<Self> {
        let header = Header::read(&*main)?;
        let mut tables = Tables::new(main.clone(), header.geometry.cluster_size());
        let snapshots = Snapshots::read(&mut tables, &header)?;
        let (l1, disk_size) = match options.snapshot.as_deref() {
            None => (header.l1, header.disk_size),
            Some(wanted) => {
                let found = snapshots.find(wanted)?;
                (found.l1(header.geometry, tables.file_size())?, found.info.disk_size)
            }
        };
        if options.access == Access::ReadWrite {
            check_writable(&header, options)?;
        }
        let fixed = FixedAreas::new(&header, snapshots.length);
        let map = Map {
            geometry: header.geometry,
            rules: EntryRules::new(&header),
            l1,
            disk_size,
            data: open_data(&*main, &header, host)?,
            codec: header.codec,
            writable: false,
            fixed,
        };
        let mut state = State::new(tables, header, snapshots, map, options.access);
        if options.access == Access::ReadWrite && state.header.features.dirty() {
            state.recover()?;
        }
        Ok(Self { state: Rc::new(RefCell::new(state)) })
    }
}

/// Refuses to write what cannot be written.
fn check_writable(header: &Header, options: &OpenOptions) -> Result<()> {
    if options.snapshot.is_some() {
        return Err(Error::ReadOnly);
    }
    if header.features.data_file() {
        let what = "writing an image whose payload lies in an external data file";
        return Err(Error::Unsupported(what.into()));
    }
    if header.features.corrupt() {
        let what = "expected an image to write, found one that is marked corrupt";
        return Err(Error::corrupt(INCOMPATIBLE_OFFSET, what));
    }
    Ok(())
}

impl State {
    fn details(&self) -> Vec<(String, String)> {
        let Header { version, geometry, features, refcounts, extensions, codec, .. } = &self.header;
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
        let state = self.state.borrow();
        let snapshots = &state.snapshots.list;
        ImageInfo {
            details: state.details(),
            documents: Vec::new(),
            snapshots: snapshots.iter().map(|snapshot| snapshot.info.clone()).collect(),
            warnings: state.warnings(),
        }
    }

    fn disks(&self) -> Vec<DiskInfo> {
        let state = self.state.borrow();
        let State { header, map, .. } = &*state;
        // At most 2 MiB.
        let granularity = map.geometry.granularity() as u32;
        let mut info = DiskInfo::new(map.disk_size, granularity);
        info.parent = header.backing_file.as_ref().map(|reference| Parent {
            references: vec![reference.clone()],
            identities: header.extensions.parent_identities.clone(),
            format: header.extensions.backing_format.clone(),
        });
        if state.access == Access::ReadWrite {
            let unit = map.geometry.cluster_size() as u32;
            info.encoding = Some(Encoding { codec: map.codec, unit });
        }
        vec![info]
    }

    fn disk(&self, number: u32) -> Result<Box<dyn Disk>> {
        if number != 0 {
            return Err(Error::OutOfRange);
        }
        Ok(Box::new(Qcow2Disk { state: self.state.clone() }))
    }

    fn close(&self) -> Result<()> {
        self.state.borrow_mut().close()
    }
}

/// The one disk; the image's state is behind it and the image both, and neither
/// calls the other.
struct Qcow2Disk {
    state: Rc<RefCell<State>>,
}

impl Disk for Qcow2Disk {
    fn extents(&mut self, offset: u64, length: u64) -> Result<Vec<Extent>> {
        self.state.borrow_mut().extents(offset, length)
    }

    fn place(&mut self, offset: u64, length: u64) -> Result<Vec<Placement>> {
        self.state.borrow_mut().place(offset, length)
    }

    fn place_encoded(&mut self, offset: u64, stored_length: u32) -> Result<Stored> {
        self.state.borrow_mut().place_encoded(offset, stored_length)
    }

    fn commit(&mut self, ranges: &[(u64, u64)]) -> Result<()> {
        self.state.borrow_mut().commit(ranges)
    }

    fn zero(&mut self, offset: u64, length: u64, drop: bool) -> Result<()> {
        self.state.borrow_mut().zero(offset, length, drop)
    }

    fn flush(&mut self) -> Result<()> {
        self.state.borrow_mut().flush()
    }

    fn resize(&mut self, size: u64) -> Result<()> {
        self.state.borrow_mut().resize(size)
    }

    fn rebase(&mut self, parent: Option<Parent>) -> Result<()> {
        self.state.borrow_mut().rebase(parent.as_ref())
    }

    fn check(&mut self, repair: bool) -> Result<Vec<Finding>> {
        self.state.borrow_mut().check(repair)
    }
}
