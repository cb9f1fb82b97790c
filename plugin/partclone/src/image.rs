//! The opened image as the host sees it: counting its bitmap, and what is known of it.

use alloc::boxed::Box;
use alloc::format;
use alloc::rc::Rc;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;
use core::cell::RefCell;

use fumehood_plugin::{
    Contents, Disk, DiskInfo, Error, Image, ImageInfo, Progress, Result, SourceHandle,
};

use crate::bitmap::Form;
use crate::check;
use crate::checksum::Checksums;
use crate::header::{Header, Trailers};
use crate::layout::Layout;
use crate::map::{Counting, VolumeMap};
use crate::remember;
use crate::scan::{Counted, Scan};

/// Granularity of a volume whose blocks are no power of two.
const SECTOR: u32 = 512;

/// An opened image.
pub struct PartcloneImage {
    main: SourceHandle,
    header: Header,
    scratch: Option<SourceHandle>,
    verify: bool,
    state: RefCell<State>,
}

/// How far the bitmap has been counted.
enum State {
    Scanning(Scan),
    Counted(Rc<Counting>),
    Failed(Error),
}

impl PartcloneImage {
    /// The image with that header. Takes the first step of counting, which for all but
    /// large volumes is the only one.
    ///
    /// # Errors
    /// As [`Scan::finish`]; [`Error::Corrupt`] where the file's length fits neither
    /// form of format 0001.
    pub fn new(
        main: SourceHandle,
        header: Header,
        scratch: Option<SourceHandle>,
        verify: bool,
    ) -> Result<Self> {
        let known = match (&scratch, header.bitmap.form) {
            (_, Form::All) => Some(Vec::new()),
            (Some(scratch), _) => remember::recall(&*main, &header, &**scratch),
            (None, _) => None,
        };
        let state = RefCell::new(State::Scanning(Scan::new()));
        let image = Self { main, header, scratch, verify, state };
        match known {
            Some(ranks) => {
                let counted = image.counted(Counted { ranks, strange: 0 })?;
                image.state.replace(State::Counted(Rc::new(counted)));
            }
            None => {
                image.step()?;
            }
        }
        Ok(image)
    }

    /// Counts on, if that is not done.
    fn step(&self) -> Result<Progress> {
        let mut state = self.state.borrow_mut();
        let progress = match &mut *state {
            State::Counted(_) => return Ok(Progress::DONE),
            State::Failed(error) => return Err(error.clone()),
            State::Scanning(scan) => {
                scan.step(&*self.main, &self.header)?;
                scan.progress(&self.header)
            }
        };
        if progress.done < progress.total {
            return Ok(progress);
        }
        let scan = match core::mem::replace(&mut *state, State::Failed(Error::OutOfRange)) {
            State::Scanning(scan) => scan,
            other => {
                *state = other;
                return Ok(progress);
            }
        };
        let counted = scan.finish(&*self.main, &self.header).and_then(|counted| {
            self.remember(&counted);
            self.counted(counted)
        });
        *state = match counted {
            Ok(counted) => State::Counted(Rc::new(counted)),
            Err(error) => State::Failed(error.clone()),
        };
        match &*state {
            State::Failed(error) => Err(error.clone()),
            _ => Ok(progress),
        }
    }

    /// What was counted, to the end.
    fn finished(&self) -> Result<Rc<Counting>> {
        loop {
            if let State::Counted(counting) = &*self.state.borrow() {
                return Ok(Rc::clone(counting));
            }
            self.step()?;
        }
    }

    /// A scratch that cannot be written costs the next open its time and nothing else.
    fn remember(&self, counted: &Counted) {
        if let Some(scratch) = &self.scratch {
            let _ = remember::leave(&*self.main, &self.header, &**scratch, &counted.ranks);
        }
    }

    fn counted(&self, counted: Counted) -> Result<Counting> {
        let used = match self.header.bitmap.form {
            Form::All => self.header.blocks,
            _ => counted.ranks.last().copied().unwrap_or(0),
        };
        let layout = Layout {
            data: self.header.data,
            block: self.header.block_size.into(),
            used,
            checksums: None,
            file_size: self.main.size(),
        };
        let layout = match self.header.trailers {
            Trailers::Declared(checksums) => Layout { checksums, ..layout },
            Trailers::Guessed => guess_trailers(layout)?,
        };
        Ok(Counting {
            header: self.header.clone(),
            layout,
            ranks: counted.ranks,
            strange: counted.strange,
            verify: self.verify,
        })
    }
}

/// Format 0001: some builds wrote eight bytes behind each block where four were meant.
/// What is in them is no checksum over the block, and is not looked at.
fn guess_trailers(layout: Layout) -> Result<Layout> {
    let with = |length| {
        let checksums =
            Checksums { blocks: 1, length, kind: None, name: "none that can be compared" };
        Layout { checksums: Some(checksums), ..layout }
    };
    let fits = |layout: &Layout| layout.expected_size() == Some(layout.file_size);
    [with(4), with(8)].into_iter().find(fits).ok_or_else(|| {
        let size = |length| with(length).expected_size().unwrap_or(u64::MAX);
        let what = format!(
            "expected {} bytes, or {} as some versions wrote, and found {}: where the blocks \
             are cannot be told",
            size(4),
            size(8),
            layout.file_size
        );
        Error::corrupt(layout.data, what)
    })
}

impl Image for PartcloneImage {
    fn prepare(&self) -> Result<Progress> {
        self.step()
    }

    fn info(&self) -> ImageInfo {
        let header = &self.header;
        let mut details: Vec<(&str, String)> = vec![
            ("format version", header.version.into()),
            ("file system", header.file_system.clone()),
        ];
        details.extend(header.tool.clone().map(|tool| ("partclone version", tool)));
        details.extend(header.bits.map(|bits| ("written on", format!("{bits} bits"))));
        details.push(("block size", header.block_size.to_string()));
        details.push(("blocks", header.blocks.to_string()));
        let mut warnings = Vec::new();
        match self.finished() {
            Ok(counting) => {
                details.push(("blocks stored", counting.layout.used.to_string()));
                details.push(("checksums", checksums(&counting)));
                warnings = check::warnings(&counting);
            }
            Err(error) => warnings.push(error.to_string()),
        }
        if header.used.is_some_and(|used| used != header.used_by_file_system) {
            details
                .push(("blocks in use by the file system", header.used_by_file_system.to_string()));
        }
        let details = details.into_iter().map(|(name, value)| (name.into(), value)).collect();
        ImageInfo { details, warnings, ..ImageInfo::default() }
    }

    fn disks(&self) -> Vec<DiskInfo> {
        let block = self.header.block_size;
        let granularity = if block.is_power_of_two() { block } else { SECTOR };
        let mut disk = DiskInfo::new(self.header.volume_size(), granularity);
        disk.contents = Contents::Volume;
        disk.details = vec![
            ("file system".into(), self.header.file_system.clone()),
            ("device size".into(), self.header.device_size.to_string()),
        ];
        vec![disk]
    }

    fn disk(&self, number: u32) -> Result<Box<dyn Disk>> {
        if number != 0 {
            return Err(Error::OutOfRange);
        }
        Ok(Box::new(VolumeMap::new(Rc::clone(&self.main), self.finished()?)))
    }
}

/// What is to say of the checksums.
fn checksums(counting: &Counting) -> String {
    let Some(sums) = &counting.layout.checksums else { return "none".into() };
    let group = format!("{} over every {} blocks", sums.name, sums.blocks);
    match (sums.kind, counting.header.version) {
        (_, "0001") => sums.name.into(),
        (None, _) => format!("{}, each over all before it too: not compared", sums.name),
        (Some(_), _) if !counting.verify => format!("{group}, ignored"),
        (Some(_), _) if !counting.layout.is_verified() => format!("{group}, too long to compare"),
        (Some(_), _) => group,
    }
}
