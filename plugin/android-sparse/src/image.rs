//! The opened image as the host sees it: opens the parts of a set, walks them step by
//! step, keeps what was learned in the scratch.

use alloc::boxed::Box;
use alloc::format;
use alloc::rc::Rc;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;
use core::cell::RefCell;

use fumehood_plugin::scratch::{self, Identity};
use fumehood_plugin::{
    Access, DigestKind, Disk, DiskDigest, DiskInfo, Error, Host, Image, ImageInfo, Progress,
    Result, SourceHandle,
};
use zerocopy::IntoBytes;

use crate::map::{Parts, SparseDisk};
use crate::naming::PartName;
use crate::part::{Learned, Part, Walk};

/// Parts of a set; real ones have some dozens.
const PART_LIMIT: u32 = 256;
/// Entries of contents, of all parts together: 2 MiB.
const ENTRY_LIMIT: usize = 1 << 17;
/// Chunks walked over in one step.
const STEP: u32 = 8192;
/// Fewer chunks are walked again faster than looked up.
const SCRATCH_FROM: u64 = 1 << 15;
/// Of what [`scratch`] holds.
const RECORD_VERSION: u8 = 1;
/// The host knows none larger.
const GRANULARITY_LIMIT: u64 = 1 << 26;

/// An opened image.
pub struct SparseImage {
    parts: Vec<Rc<Part>>,
    part_name: Option<PartName>,
    scratch: Option<SourceHandle>,
    state: RefCell<State>,
}

/// How far the walk has come.
#[derive(Default)]
struct State {
    learned: Vec<Learned>,
    walk: Option<Walk>,
    /// Whether the scratch was looked at.
    begun: bool,
}

impl SparseImage {
    /// The image that begins in `main`, with the further parts of its set.
    ///
    /// # Errors
    /// As [`Part::open`]; [`Error::Missing`] for a part that is not there while the next
    /// one is, [`Error::Corrupt`] for parts of different sets.
    pub fn open(
        main: SourceHandle,
        host: &dyn Host,
        scratch: Option<SourceHandle>,
    ) -> Result<Self> {
        let part_name = PartName::parse(&main.name());
        let first = Part::open(main)?;
        let mut parts = vec![Rc::new(first)];
        if let Some(name) = part_name.as_ref().filter(|name| name.number == 0) {
            add_parts(name, host, &mut parts)?;
        }
        Ok(Self { parts, part_name, scratch, state: RefCell::default() })
    }

    fn first(&self) -> Result<&Part> {
        self.parts.first().map(|part| &**part).ok_or(Error::OutOfRange)
    }

    fn entry_limit(&self) -> usize {
        ENTRY_LIMIT / self.parts.len().max(1)
    }

    /// Chunks of all parts.
    fn chunks(&self) -> u64 {
        self.parts.iter().map(|part| u64::from(part.header.chunks)).sum()
    }

    fn step(&self) -> Result<Progress> {
        let state = &mut *self.state.borrow_mut();
        if !state.begun {
            state.begun = true;
            state.learned = self.remembered().unwrap_or_default();
        }
        let Some(part) = self.parts.get(state.learned.len()) else { return Ok(Progress::DONE) };
        let walk = state.walk.get_or_insert_with(|| Walk::new(part));
        walk.advance(part, STEP, self.entry_limit())?;
        if walk.is_done(part)
            && let Some(walk) = state.walk.take()
        {
            state.learned.push(walk.learned);
        }
        if state.learned.len() == self.parts.len() {
            self.remember(&state.learned);
            return Ok(Progress::DONE);
        }
        let finished = self.parts.iter().take(state.learned.len());
        let before: u64 = finished.map(|part| u64::from(part.header.chunks)).sum();
        let now = state.walk.as_ref().map_or(0, |walk| u64::from(walk.learned.chunks));
        let total = self.chunks().max(1);
        Ok(Progress { done: (before + now).min(total - 1), total })
    }

    /// What an earlier opening learned, if it is of this image and whole.
    fn remembered(&self) -> Option<Vec<Learned>> {
        let scratch = self.scratch.as_ref().filter(|_| self.chunks() >= SCRATCH_FROM)?;
        let record: Vec<Learned> = scratch::load(&**scratch, RECORD_VERSION, &self.identity())?;
        let limit = self.entry_limit();
        let fits = |(part, learned): (&Rc<Part>, &Learned)| {
            let header = &part.header;
            learned.contents.fits(header, learned.chunks, part.source.size(), limit)
                && learned.blocks <= header.blocks
                && learned.chunks <= header.chunks
                && (learned.broken.is_some() || learned.chunks == header.chunks)
        };
        let whole = record.len() == self.parts.len();
        (whole && self.parts.iter().zip(&record).all(fits)).then_some(record)
    }

    fn remember(&self, learned: &Vec<Learned>) {
        if self.chunks() >= SCRATCH_FROM
            && let Some(scratch) = &self.scratch
        {
            // Without it the next opening walks again, and that is all.
            let _ = scratch::store(&**scratch, RECORD_VERSION, &self.identity(), learned);
        }
    }

    /// Headers and sizes of all parts, four sums of them.
    fn identity(&self) -> Identity {
        let mut sums = [0xcbf2_9ce4_8422_2325_u64, 1, 2, 3];
        for part in &self.parts {
            let size = part.source.size().to_le_bytes();
            for (number, byte) in part.header.raw.as_bytes().iter().chain(&size).enumerate() {
                if let Some(sum) = sums.get_mut(number % 4) {
                    *sum = (*sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
                }
            }
        }
        let mut identity = [0; 32];
        for (target, sum) in identity.chunks_exact_mut(8).zip(sums) {
            target.copy_from_slice(&sum.to_le_bytes());
        }
        identity
    }

    /// The CRC-32 of the whole disk, if one is recorded that has one meaning.
    fn checksum(&self) -> Option<u32> {
        let ([part], [learned]) = (&*self.parts, &*self.state.borrow().learned) else {
            return None;
        };
        let at_end = learned.checksum.filter(|_| !learned.ambiguous);
        part.header.checksum.or(at_end)
    }
}

fn add_parts(name: &PartName, host: &dyn Host, parts: &mut Vec<Rc<Part>>) -> Result<()> {
    for number in 1..=PART_LIMIT {
        let source = match host.open(&name.of(number), Access::Read) {
            Ok(source) => source,
            Err(Error::Missing(_)) => {
                let gap = host.open(&name.of(number + 1), Access::Read).is_ok();
                return if gap { Err(Error::Missing(name.of(number))) } else { Ok(()) };
            }
            Err(error) => return Err(error),
        };
        let part = Part::open(source)?;
        let shape = |part: &Part| (part.header.block, part.header.blocks);
        if parts.first().is_some_and(|first| shape(first) != shape(&part)) {
            let ((block, blocks), id) = (shape(&part), part.source.id());
            let what = format!("{blocks} blocks of {block} bytes, other than in the first part");
            return Err(Error::corrupt_in(id, 12, what));
        }
        parts.push(Rc::new(part));
    }
    Err(Error::Unsupported(format!("a set of more than {PART_LIMIT} parts")))
}

impl Image for SparseImage {
    fn prepare(&self) -> Result<Progress> {
        self.step()
    }

    fn info(&self) -> ImageInfo {
        let mut info = ImageInfo::default();
        let mut detail = |name: &str, value: String| info.details.push((name.into(), value));
        if let Ok(first) = self.first() {
            detail("block size", first.header.block.to_string());
        }
        detail("chunks", self.chunks().to_string());
        if self.parts.len() > 1 {
            detail("parts", self.parts.len().to_string());
        }
        for (part, learned) in self.parts.iter().zip(&self.state.borrow().learned) {
            info.warnings.extend(learned.flaw(part));
        }
        if let Some(name) = self.part_name.as_ref().filter(|name| name.number > 0) {
            let (number, first) = (name.number, name.of(0));
            info.warnings.push(format!("this is part {number} of a set alone: open {first}"));
        }
        info
    }

    fn disks(&self) -> Vec<DiskInfo> {
        let Ok(first) = self.first() else { return Vec::new() };
        let granularity = GRANULARITY_LIMIT.min(1 << first.header.block.trailing_zeros());
        let digest = |value: u32| DiskDigest {
            kind: DigestKind::Crc32,
            value: value.to_le_bytes().to_vec(),
        };
        vec![DiskInfo {
            digests: self.checksum().map(digest).into_iter().collect(),
            ..DiskInfo::new(first.header.size(), granularity as u32)
        }]
    }

    fn disk(&self, number: u32) -> Result<Box<dyn Disk>> {
        if number != 0 {
            return Err(Error::OutOfRange);
        }
        let learned = &self.state.borrow().learned;
        if learned.len() < self.parts.len() {
            return Err(Error::Io("the image is not walked over yet".into()));
        }
        let list = self.parts.iter().cloned().zip(learned.iter().cloned()).collect();
        let header = &self.first()?.header;
        let parts = Parts { list, block: header.block, blocks: header.blocks };
        Ok(Box::new(SparseDisk::new(Rc::new(parts))))
    }
}
