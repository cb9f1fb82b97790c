//! An opened image's state, shared by the image and its disk: what was read at
//! opening, and, where it may be written, what a session of writing has begun.

use alloc::collections::BTreeMap;
use alloc::format;

use fumehood_plugin::{Access, Error, Result, SourceHandle};
use zerocopy::IntoBytes;

use crate::bat::{Bat, Payload};
use crate::geometry::ENTRY_SIZE;
use crate::guid::{Guid, Guids};
use crate::header::Header;
use crate::journal::Journal;
use crate::layout::{Region, SIGNATURE};
use crate::log_entry::Ring;
use crate::metadata::Metadata;
use crate::overlay::Overlay;
use crate::pages::Pages;
use crate::region::Regions;
use crate::replay::Sequence;
use crate::space::Space;

/// An opened image.
pub struct Store {
    /// The file.
    pub source: SourceHandle,
    /// The current header.
    pub header: Header,
    /// What the metadata items say; of the size, [`Store::bat`] knows better.
    pub metadata: Metadata,
    /// How entries are found and read.
    pub bat: Bat,
    /// The metadata as it shall be.
    pub pages: Pages,
    /// Unit of allocation as the disk was opened, in bytes.
    pub granularity: u64,
    /// Whether a log is shown carried out that still is to be.
    pub replayed: bool,
    /// Present where it may be written.
    pub writing: Option<Writing>,
}

/// What is kept for writing.
pub struct Writing {
    /// For new GUIDs.
    pub guids: Guids,
    /// The session's log, once there is one.
    pub journal: Option<Journal>,
    /// Whether the header names that log: the session has begun.
    pub begun: bool,
    /// Room in the file.
    pub space: Space,
    /// Blocks that are placed and not linked, and where.
    pub rooms: BTreeMap<u64, u64>,
    /// The same for sector bitmaps, by the entry that will name them.
    pub bitmap_rooms: BTreeMap<u64, u64>,
    /// Whether something was written that links to come rely on, and that may not be
    /// durable.
    pub unsettled: bool,
    /// The file is durably at least this long.
    pub durable_size: u64,
}

impl Store {
    /// Opens an image; where it may be written, what a crash left in its log is carried
    /// out first.
    ///
    /// # Errors
    /// [`Error::Unrecognised`], [`Error::Corrupt`] and [`Error::Unsupported`] by the
    /// field that says so, and what the source answers.
    pub fn open(source: SourceHandle, access: Access, seed: &[u8; 32]) -> Result<Self> {
        let length = SIGNATURE.len() as u64;
        if source.size() < length || source.read(0, SIGNATURE.len())? != SIGNATURE {
            return Err(Error::Unrecognised);
        }
        let mut header = Header::read(&*source)?;
        let salt = [header.file_write.as_bytes(), &header.sequence.to_le_bytes()].concat();
        let mut guids = Guids::new(seed, &salt);
        let replayed = header.log != Guid::NIL;
        let (overlay, size) = match (replayed, access) {
            (false, _) => (Overlay::default(), source.size()),
            (true, Access::Read) => {
                let sequence = find_sequence(&source, &header)?;
                (sequence.to_overlay()?, sequence.file_size)
            }
            (true, Access::ReadWrite) => {
                find_sequence(&source, &header)?.to_file()?;
                let next = Header { file_write: guids.next(), log: Guid::NIL, ..header };
                header.replace(&*source, next)?;
                (Overlay::default(), source.size())
            }
        };
        let mut pages = Pages::new(source.clone(), size, overlay);
        let regions = Regions::read(&mut pages, header.log_region)?;
        let metadata = Metadata::read(&mut pages, regions.metadata)?;
        let geometry = metadata.geometry;
        let bat = Bat { geometry, regions, differencing: metadata.parent.is_some() };
        check_bat_size(&bat)?;
        let granularity = if bat.differencing { geometry.sector } else { geometry.block_size };
        let replayed = replayed && access == Access::Read;
        let mut store =
            Self { source, header, metadata, bat, pages, granularity, replayed, writing: None };
        if access == Access::ReadWrite {
            store.writing = Some(store.new_writing(guids)?);
        }
        Ok(store)
    }

    fn new_writing(&mut self, guids: Guids) -> Result<Writing> {
        let size = self.pages.file_size();
        // The last block may reach past the file's end, and then owns what lies there.
        let last = self.bat.payload(&mut self.pages, self.bat.geometry.block_count() - 1);
        let last = last.ok().and_then(Payload::offset).unwrap_or(0);
        Ok(Writing {
            guids,
            journal: None,
            begun: false,
            space: Space::new(size.max(last + self.bat.geometry.block_size)),
            rooms: BTreeMap::new(),
            bitmap_rooms: BTreeMap::new(),
            unsettled: false,
            durable_size: size,
        })
    }

    /// Before the first change of a session: new GUIDs, so that children of the old
    /// contents are told apart, and a log.
    ///
    /// # Errors
    /// [`Error::ReadOnly`], or what the source answers.
    pub fn begin(&mut self) -> Result<&mut Writing> {
        let writing = self.writing.as_mut().ok_or(Error::ReadOnly)?;
        if writing.begun {
            return Ok(writing);
        }
        let log = writing.guids.next();
        let journal = match writing.journal.take() {
            Some(journal) => journal,
            None => Journal::begin(self.source.clone(), self.header.log_region, log)?,
        };
        let log = writing.journal.insert(journal).guid();
        let (file_write, data_write) = (writing.guids.next(), writing.guids.next());
        let next = Header { file_write, data_write, log, ..self.header };
        self.header.replace(&*self.source, next)?;
        writing.begun = true;
        Ok(writing)
    }

    /// What is kept for writing.
    ///
    /// # Errors
    /// [`Error::ReadOnly`].
    pub fn writing(&mut self) -> Result<&mut Writing> {
        self.writing.as_mut().ok_or(Error::ReadOnly)
    }

    /// Whether bytes may be written in place: a session has begun.
    pub fn is_writable(&self) -> bool {
        self.writing.as_ref().is_some_and(|writing| writing.begun)
    }

    /// What the entry of a payload block says.
    ///
    /// # Errors
    /// [`Error::Corrupt`] at the entry, or what reading answers.
    pub fn payload(&mut self, block: u64) -> Result<Payload> {
        self.bat.payload(&mut self.pages, block)
    }

    /// Changes the entry of a payload block in memory.
    ///
    /// # Errors
    /// What reading answers.
    pub fn set_payload(&mut self, block: u64, payload: Payload) -> Result<()> {
        self.bat.set_payload(&mut self.pages, block, payload)
    }

    /// The end of a range of the disk in whole granules.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] where it is not.
    pub fn check_granules(&self, offset: u64, length: u64) -> Result<u64> {
        let end = self.check_range(offset, length)?;
        let is_edge = |at: u64| at.is_multiple_of(self.granularity);
        match is_edge(offset) && (is_edge(end) || end == self.bat.geometry.size) {
            true => Ok(end),
            false => Err(Error::OutOfRange),
        }
    }

    /// The end of a range of the disk.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] where it is none.
    pub fn check_range(&self, offset: u64, length: u64) -> Result<u64> {
        let end = offset.checked_add(length).filter(|end| *end <= self.bat.geometry.size);
        end.ok_or(Error::OutOfRange)
    }
}

fn find_sequence(source: &SourceHandle, header: &Header) -> Result<Sequence> {
    let ring = Ring { source: source.clone(), region: header.log_region };
    Sequence::find(ring, header.log)
}

/// Checks that the BAT has an entry for each block.
fn check_bat_size(bat: &Bat) -> Result<()> {
    let needed = bat.geometry.entry_count(bat.differencing) * ENTRY_SIZE;
    let Region { offset, length } = bat.regions.bat;
    if length < needed {
        let what = format!("expected a BAT of at least {needed} bytes, found {length}");
        return Err(Error::corrupt(offset, what));
    }
    Ok(())
}
