//! What the fuzz targets of parsers share: opening an image over memory and asking
//! for everything that a host would, within limits.

use std::rc::Rc;

use fumehood_plugin::memory::{MemoryHost, MemorySource, check_answer, scratch};
use fumehood_plugin::{
    Access, Content, Disk, Error, Extent, Format, Image, OpenOptions, Progress, Result, Source,
    SourceHandle,
};

/// The most answers of one disk that are looked at.
const ANSWERS: usize = 128;
/// How much of a disk is asked for at once.
const WINDOW: u64 = 64 << 20;
/// The most steps of a preparation.
const STEPS: u32 = 64;
/// The number of the scratch source, which no other has.
const SCRATCH: u32 = 1 << 20;
/// The most bytes of scratch.
const SCRATCH_LIMIT: u64 = 64 << 20;
/// Larger disks are not checked: that takes as long as they are large.
const CHECK_LIMIT: u64 = 1 << 34;

/// Longer granules would take more memory than a fuzzer has.
const WRITE_LIMIT: u64 = 2 << 20;

/// Scratch that takes no more memory than a fuzzer has: offsets in it may be as large as
/// an image says.
struct Scratch(MemorySource);

impl Scratch {
    fn check(end: Option<u64>) -> Result<()> {
        end.filter(|end| *end <= SCRATCH_LIMIT).map(drop).ok_or(Error::NoSpace)
    }
}

impl Source for Scratch {
    fn id(&self) -> u32 {
        self.0.id()
    }
    fn name(&self) -> String {
        self.0.name()
    }
    fn size(&self) -> u64 {
        self.0.size()
    }
    fn read(&self, offset: u64, length: usize) -> Result<Vec<u8>> {
        self.0.read(offset, length)
    }
    fn write(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        Self::check(offset.checked_add(bytes.len() as u64))?;
        self.0.write(offset, bytes)
    }
    fn resize(&self, size: u64) -> Result<()> {
        Self::check(Some(size))?;
        self.0.resize(size)
    }
}

/// An image over memory, and the files that its host grants.
pub struct Set {
    main: MemorySource,
    host: Rc<MemoryHost>,
}

impl Set {
    /// A set whose main file is `name`; `granted` lie beside it.
    pub fn new(name: &str, bytes: &[u8], granted: &[(String, &[u8])]) -> Self {
        let host = MemoryHost::new();
        for (name, bytes) in granted {
            host.grant(name, bytes.to_vec());
        }
        Self { main: MemorySource::new(0, name, bytes.to_vec()), host: Rc::new(host) }
    }

    /// Opens it with a format, walks it, and does the same for its first snapshot; then
    /// writes to a copy, if the format can.
    pub fn explore<F: Format>(&self) {
        if F::describe().can_write {
            self.write_to_copy::<F>();
        }
        let Some(snapshot) = self.explore_state::<F>(None) else { return };
        self.explore_state::<F>(Some(snapshot));
    }

    /// Answers the name of the image's first snapshot.
    fn explore_state<F: Format>(&self, snapshot: Option<String>) -> Option<String> {
        let scratch: SourceHandle = Rc::new(Scratch(scratch(SCRATCH)));
        let first = self.open_prepared::<F>(snapshot.clone(), &scratch)?;
        let info = first.info();
        // What the first left in the scratch is what it learned.
        let image = self.open_prepared::<F>(snapshot, &scratch).expect("it opened before");
        assert_eq!(image.info(), info, "opened with its scratch");
        assert_eq!(image.disks(), first.disks(), "opened with its scratch");
        for name in info.documents.iter().take(8) {
            let _ = image.document(name);
        }
        for (number, disk) in image.disks().iter().enumerate().take(4) {
            self.walk(&*image, number as u32, disk.size, &*scratch);
        }
        info.snapshots.first().map(|snapshot| snapshot.name.clone())
    }

    /// Opens it and prepares it to the end; none where that fails or takes long.
    fn open_prepared<F: Format>(
        &self,
        snapshot: Option<String>,
        scratch: &SourceHandle,
    ) -> Option<Box<dyn Image>> {
        let scratch = Some(scratch.clone());
        let options = OpenOptions { snapshot, scratch, ..OpenOptions::read_only() };
        let image = F::open(Rc::new(self.main.clone()), self.host.clone(), options).ok()?;
        for _ in 0..STEPS {
            let Progress { done, total } = image.prepare().ok()?;
            if done >= total {
                return Some(image);
            }
        }
        None
    }

    /// Asks for what a host asks when it writes. Any error may be the answer.
    fn write_to_copy<F: Format>(&self) {
        let copy = MemorySource::new(0, &self.main.name(), self.main.bytes()).writable();
        let options = OpenOptions { access: Access::ReadWrite, ..OpenOptions::read_only() };
        let Ok(image) = F::open(Rc::new(copy), self.host.clone(), options) else { return };
        let Some(info) = image.disks().into_iter().next() else { return };
        let Ok(mut disk) = image.disk(0) else { return };
        let granule = u64::from(info.granularity);
        let last = info.size.saturating_sub(1) / granule * granule;
        for at in [0, last / 2 / granule * granule, last] {
            let length = granule.min(info.size.saturating_sub(at));
            if length == 0 || length > WRITE_LIMIT {
                continue;
            }
            if disk.place(at, length).is_ok_and(|room| room.iter().any(|room| room.fresh)) {
                let _ = disk.commit(&[(at, length)]);
            }
            let _ = disk.zero(at, length, at == 0);
            let _ = disk.flush();
        }
        if info.size <= CHECK_LIMIT {
            let _ = disk.check(true);
        }
        let _ = image.close();
    }

    fn walk(&self, image: &dyn Image, number: u32, size: u64, scratch: &dyn Source) {
        let Ok(mut disk) = image.disk(number) else { return };
        let mut at = 0;
        for _ in 0..ANSWERS {
            if at >= size {
                break;
            }
            match self.ask(&mut *disk, at, size, scratch) {
                Some(end) => at = end,
                None => break,
            }
        }
        // The end, where sizes are odd, and the middle.
        for at in [size.saturating_sub(1), size / 2] {
            if at < size {
                self.ask(&mut *disk, at, size, scratch);
            }
        }
        assert!(disk.extents(size, 1).is_err() || size == u64::MAX, "an extent past the end");
        if size <= CHECK_LIMIT {
            let _ = disk.check(false);
        }
    }

    /// Asks for extents, which must keep the contract; answers where they end.
    fn ask(&self, disk: &mut dyn Disk, at: u64, size: u64, scratch: &dyn Source) -> Option<u64> {
        let extents = match disk.extents(at, WINDOW) {
            Ok(extents) => extents,
            Err(Error::OutOfRange) => panic!("offset {at} lies inside of {size}"),
            Err(_) => return None,
        };
        if let Err(rule) = check_answer(&extents, at, size) {
            panic!("{rule}");
        }
        extents.iter().for_each(|extent| self.within_source(extent, scratch));
        extents.last().map(Extent::end)
    }

    /// Compressed blocks lie inside of their sources.
    fn within_source(&self, extent: &Extent, scratch: &dyn Source) {
        let Content::Encoded(encoded) = &extent.content else { return };
        let size = match encoded.source {
            0 => self.main.size(),
            SCRATCH => scratch.size(),
            id => self.host.source(id).expect("a source that was granted").size(),
        };
        let end = encoded.offset.checked_add(u64::from(encoded.stored_length));
        assert!(end.is_some_and(|end| end <= size), "a block past its source: {extent:?}");
    }
}
