//! An image under test, over memory: opened and prepared, read as the host reads, and
//! mapped as the host maps what it does not trust.

use std::rc::Rc;

use fumehood_plugin::memory::{Decode, MemoryHost, MemorySource, check_answer, read_disk};
use fumehood_plugin::{
    Content, Disk, Encoded, Error, Extent, Format, Image, OpenOptions, Result, SourceHandle,
};

/// Bytes of a block, stored or decoded, that the host takes at the most.
const BLOCK_LIMIT: u32 = 64 << 20;

/// What an image is opened from.
#[derive(Clone)]
pub struct Sources {
    /// The source that is opened.
    pub main: SourceHandle,
    /// The host that grants what lies beside it.
    pub host: Rc<MemoryHost>,
}

impl Sources {
    /// A file of this name, and nothing beside it.
    pub fn new(name: &str, bytes: &[u8]) -> Self {
        Self::single(Rc::new(MemorySource::new(0, name, bytes.to_vec())))
    }

    /// A source, and nothing beside it.
    pub fn single(main: SourceHandle) -> Self {
        Self { main, host: Rc::new(MemoryHost::new()) }
    }

    /// The same with these files beside it.
    pub fn beside<N: AsRef<str>, B: AsRef<[u8]>>(self, files: &[(N, B)]) -> Self {
        for (name, bytes) in files {
            self.host.grant(name.as_ref(), bytes.as_ref().to_vec());
        }
        self
    }

    /// The source with this number.
    pub fn find(&self, id: u32) -> Option<SourceHandle> {
        match id {
            0 => Some(self.main.clone()),
            id => self.host.source(id).map(|source| Rc::new(source) as SourceHandle),
        }
    }

    /// Opens it and prepares it.
    ///
    /// # Errors
    /// What the plugin answers to either.
    pub fn open<F: Format>(&self, options: OpenOptions) -> Result<Box<dyn Image>> {
        let image = F::open(self.main.clone(), self.host.clone(), options)?;
        prepare(&*image)?;
        Ok(image)
    }

    /// `length` bytes of a disk, or up to its end; absent reads as zeroes.
    ///
    /// # Errors
    /// As [`read_disk`].
    pub fn read(
        &self,
        image: &dyn Image,
        number: u32,
        offset: u64,
        length: u64,
        decode: Decode<'_>,
    ) -> Result<Vec<u8>> {
        let size = image.disks()[number as usize].size;
        let length = length.min(size - offset);
        read_disk(&mut *image.disk(number)?, size, offset, length, &|id| self.find(id), decode)
    }

    /// All of the first disk, asked for in windows of `window` bytes.
    ///
    /// # Errors
    /// As [`read_disk`].
    pub fn read_windows(
        &self,
        image: &dyn Image,
        window: u64,
        decode: Decode<'_>,
    ) -> Result<Vec<u8>> {
        let size = image.disks()[0].size;
        let mut disk = image.disk(0)?;
        let mut read = Vec::new();
        while (read.len() as u64) < size {
            let at = read.len() as u64;
            let length = window.min(size - at);
            read.extend(read_disk(&mut *disk, size, at, length, &|id| self.find(id), decode)?);
        }
        Ok(read)
    }

    /// Maps a disk from its start on, in questions of `window` bytes and so many answers
    /// at the most. Each must keep the contract, and so must the one to a question past
    /// the end.
    ///
    /// # Errors
    /// What the disk answers inside of its size.
    pub fn walk(&self, disk: &mut dyn Disk, size: u64, window: u64, answers: u32) -> Result<()> {
        assert_eq!(disk.extents(size, 1), Err(Error::OutOfRange));
        let mut at = 0;
        for _ in 0..answers {
            if at >= size {
                break;
            }
            at = self.answer(disk, size, at, window)?;
        }
        Ok(())
    }

    /// Checks one answer, and says where it ends.
    ///
    /// # Errors
    /// What the disk answers instead.
    pub fn answer(&self, disk: &mut dyn Disk, size: u64, at: u64, window: u64) -> Result<u64> {
        let extents = match disk.extents(at, window) {
            Err(Error::OutOfRange) => panic!("{at} is inside of {size}"),
            answer => answer?,
        };
        check_answer(&extents, at, size).unwrap();
        assert!(extents.len() <= 65536);
        for extent in &extents {
            self.check_extent(disk, extent);
        }
        Ok(extents.last().expect("an answer is not empty").end())
    }

    /// What an extent names lies in its source, and what it computes can be had.
    fn check_extent(&self, disk: &mut dyn Disk, extent: &Extent) {
        let (source, end) = match &extent.content {
            Content::Stored(stored) => (stored.source, stored.offset + extent.length),
            Content::Encoded(encoded) => {
                assert!(encoded.decoded_length.max(encoded.stored_length) <= BLOCK_LIMIT);
                (encoded.source, encoded.offset + u64::from(encoded.stored_length))
            }
            Content::Computed => return check_computed(disk, extent),
            Content::Absent | Content::Zero | Content::Damaged(_) => return,
        };
        let size = self.find(source).expect("it was granted").size();
        assert!(end <= size, "past the source's end {size}: {extent:?}");
    }
}

/// What an extent computes can be had: all of it, or both ends of a long one.
fn check_computed(disk: &mut dyn Disk, extent: &Extent) {
    let length = if extent.length <= 1 << 20 { extent.length } else { 4096 };
    for offset in [extent.offset, extent.end() - length] {
        let bytes = disk.read(offset, length as usize).unwrap();
        assert_eq!(bytes.len() as u64, length);
    }
}

/// Prepares an image to its end, by the contract's rules; in how many steps.
///
/// # Errors
/// What the plugin answers.
pub fn prepare(image: &dyn Image) -> Result<usize> {
    let mut before = None;
    for steps in 1..100_000 {
        let progress = image.prepare()?;
        assert!(progress.done <= progress.total);
        if progress.done == progress.total {
            return Ok(steps);
        }
        assert!(before.is_none_or(|before| progress.done > before), "it stands still");
        before = Some(progress.done);
    }
    panic!("it does not end")
}

/// For formats that encode nothing.
///
/// # Errors
/// Always: there should have been no block to decode.
pub fn not_encoded(_: &Encoded, _: &[u8]) -> Result<Vec<u8>> {
    Err(Error::Io("nothing is encoded".into()))
}

/// Settings as the host hands them over.
pub fn settings(list: &[(&str, &str)]) -> Vec<(String, String)> {
    list.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
}
