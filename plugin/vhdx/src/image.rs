//! An opened image: what it says of itself, and its one disk.

use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;
use core::cell::RefCell;

use fumehood_plugin::{
    Disk, DiskInfo, Error, Extent, Finding, Image, ImageInfo, Parent, Placement, Result,
};

use crate::check::check;
use crate::store::Store;

/// An image whose disk shares its state.
pub struct VhdxImage {
    store: Rc<RefCell<Store>>,
}

impl VhdxImage {
    /// Around what was opened.
    pub fn new(store: Store) -> Self {
        Self { store: Rc::new(RefCell::new(store)) }
    }
}

fn detail(name: &str, value: impl ToString) -> (String, String) {
    (name.to_string(), value.to_string())
}

fn details(store: &Store) -> Vec<(String, String)> {
    let kind = match (&store.metadata.parent, store.metadata.fixed) {
        (Some(_), _) => "differencing",
        (None, true) => "fixed",
        (None, false) => "dynamic",
    };
    let mut details = vec![
        detail("type", kind),
        detail("block size", store.bat.geometry.block_size),
        detail("log size", store.header.log_region.length),
    ];
    details.extend(store.metadata.disk_id.map(|id| detail("disk identifier", id)));
    details
}

impl Image for VhdxImage {
    fn info(&self) -> ImageInfo {
        let store = self.store.borrow();
        let mut warnings = Vec::new();
        if store.replayed {
            let what = "the image was not closed: its log is shown carried out, \
                        and will be when it is opened for writing";
            warnings.push(what.to_string());
        }
        ImageInfo { details: details(&store), warnings, ..ImageInfo::default() }
    }

    fn disks(&self) -> Vec<DiskInfo> {
        let store = self.store.borrow();
        let geometry = store.bat.geometry;
        // At most 256 MiB, as a sector is at most 4096.
        let mut info = DiskInfo::new(geometry.size, store.granularity as u32);
        info.logical_sector = geometry.sector as u32;
        info.physical_sector = store.metadata.physical_sector;
        info.parent = store.metadata.parent.clone();
        info.identity = Some(store.header.data_write.to_string());
        vec![info]
    }

    fn disk(&self, number: u32) -> Result<Box<dyn Disk>> {
        match number {
            0 => Ok(Box::new(VhdxDisk { store: self.store.clone() })),
            _ => Err(Error::OutOfRange),
        }
    }

    fn close(&self) -> Result<()> {
        self.store.borrow_mut().close()
    }
}

struct VhdxDisk {
    store: Rc<RefCell<Store>>,
}

impl Disk for VhdxDisk {
    fn extents(&mut self, offset: u64, length: u64) -> Result<Vec<Extent>> {
        self.store.borrow_mut().extents(offset, length)
    }
    fn read(&mut self, offset: u64, length: usize) -> Result<Vec<u8>> {
        self.store.borrow_mut().read(offset, length)
    }
    fn place(&mut self, offset: u64, length: u64) -> Result<Vec<Placement>> {
        self.store.borrow_mut().place(offset, length)
    }
    fn commit(&mut self, ranges: &[(u64, u64)]) -> Result<()> {
        self.store.borrow_mut().commit(ranges)
    }
    fn zero(&mut self, offset: u64, length: u64, drop: bool) -> Result<()> {
        self.store.borrow_mut().zero(offset, length, drop)
    }
    fn flush(&mut self) -> Result<()> {
        self.store.borrow_mut().flush()
    }
    fn resize(&mut self, size: u64) -> Result<()> {
        self.store.borrow_mut().resize(size)
    }
    fn rebase(&mut self, parent: Option<Parent>) -> Result<()> {
        self.store.borrow_mut().rebase(parent)
    }
    fn check(&mut self, repair: bool) -> Result<Vec<Finding>> {
        let mut store = self.store.borrow_mut();
        if repair && store.writing.is_none() {
            return Err(Error::ReadOnly);
        }
        check(&mut store)
    }
}
