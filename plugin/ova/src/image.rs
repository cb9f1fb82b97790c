//! The opened appliance: its scan while it is prepared, its disks afterwards.

use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::string::ToString;
use alloc::vec::Vec;
use core::cell::RefCell;

use fumehood_plugin::read::{read_bytes, read_struct};
use fumehood_plugin::{
    Content, Contents, Disk, DiskInfo, Error, Extent, Extents, Image, ImageInfo, Progress, Result,
    SourceHandle, Stored,
};

use crate::appliance::{Appliance, Contained};
use crate::members::Scan;
use crate::tar::Header;

/// An opened appliance.
pub struct OvaImage {
    main: SourceHandle,
    state: RefCell<State>,
}

enum State {
    Scan(Scan),
    Ready(Rc<Appliance>),
    Failed(Error),
}

impl OvaImage {
    /// The archive `main`, which is not scanned yet.
    ///
    /// # Errors
    /// [`Error::Unrecognised`] where no member begins it.
    pub fn open(main: SourceHandle) -> Result<Self> {
        let header: Header = read_struct(&*main, 0, "member header")?;
        if header.is_end() || !header.is_sound() {
            return Err(Error::Unrecognised);
        }
        if header.name() == "ova.xml" {
            return Err(Error::Unsupported("an XVA, which is no OVF appliance".into()));
        }
        let state = RefCell::new(State::Scan(Scan::new(main.clone())));
        Ok(Self { main, state })
    }

    fn appliance(&self) -> Result<Rc<Appliance>> {
        match &*self.state.borrow() {
            State::Ready(appliance) => Ok(Rc::clone(appliance)),
            State::Failed(error) => Err(error.clone()),
            State::Scan(_) => Err(Error::Io("the archive is not scanned yet".into())),
        }
    }

    fn finish(&self, scan: &Scan) -> Result<State> {
        let mut appliance = Appliance::new(&self.main, &scan.members)?;
        if !scan.ended {
            appliance.warnings.push("the archive has no end mark: it may be cut".into());
        }
        Ok(State::Ready(Rc::new(appliance)))
    }
}

impl Image for OvaImage {
    fn prepare(&self) -> Result<Progress> {
        let state = &mut *self.state.borrow_mut();
        let scan = match state {
            State::Ready(_) => return Ok(Progress::DONE),
            State::Failed(error) => return Err(error.clone()),
            State::Scan(scan) => scan,
        };
        let total = self.main.size();
        let result = match scan.step() {
            Ok(false) => return Ok(Progress { done: scan.position().min(total - 1), total }),
            Ok(true) => self.finish(scan),
            Err(error) => Err(error),
        };
        *state = result.map_err(State::Failed).unwrap_or_else(|failed| failed);
        match state {
            State::Failed(error) => Err(error.clone()),
            _ => Ok(Progress { done: total, total }),
        }
    }

    fn info(&self) -> ImageInfo {
        let Ok(appliance) = self.appliance() else { return ImageInfo::default() };
        ImageInfo {
            details: appliance.details.clone(),
            documents: appliance.documents.iter().map(|text| text.name.clone()).collect(),
            snapshots: Vec::new(),
            warnings: appliance.warnings.clone(),
        }
    }

    fn disks(&self) -> Vec<DiskInfo> {
        let Ok(appliance) = self.appliance() else { return Vec::new() };
        let info = |disk: &Contained| {
            let mut info = DiskInfo::new(disk.size, 512);
            info.name = disk.name.clone();
            info.contents = Contents::File;
            info.digests = disk.digests.clone();
            info.details = disk.details.clone();
            info
        };
        appliance.disks.iter().map(info).collect()
    }

    fn disk(&self, number: u32) -> Result<Box<dyn Disk>> {
        let appliance = self.appliance()?;
        match appliance.disks.get(number as usize) {
            Some(_) => Ok(Box::new(Member { appliance, number: number as usize })),
            None => Err(Error::OutOfRange),
        }
    }

    fn document(&self, name: &str) -> Result<Vec<u8>> {
        let appliance = self.appliance()?;
        let text = appliance.documents.iter().find(|text| text.name == name);
        let text = text.ok_or_else(|| Error::Missing(name.to_string()))?;
        read_bytes(&*self.main, text.offset, text.length, "a text")
    }
}

/// A disk of the appliance.
struct Member {
    appliance: Rc<Appliance>,
    number: usize,
}

impl Disk for Member {
    fn extents(&mut self, offset: u64, length: u64) -> Result<Vec<Extent>> {
        let disk = self.appliance.disks.get(self.number).ok_or(Error::OutOfRange)?;
        if offset >= disk.size {
            return Err(Error::OutOfRange);
        }
        let end = offset.saturating_add(length);
        let first = disk.parts.partition_point(|(start, ..)| *start <= offset).saturating_sub(1);
        let mut extents = Extents::new();
        for (start, at, length) in
            disk.parts.iter().skip(first).take_while(|(start, ..)| *start < end)
        {
            let stored = Stored { source: 0, offset: *at, writable: false };
            extents.push(*start, *length, Content::Stored(stored));
        }
        Ok(extents.finish())
    }
}
