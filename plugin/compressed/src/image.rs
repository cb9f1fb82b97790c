//! The opened file: its survey while it is prepared, its index afterwards, and its disk.

use alloc::boxed::Box;
use alloc::format;
use alloc::rc::Rc;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};

use fumehood_plugin::read::read_bytes;
use fumehood_plugin::{
    Codec, Content, Contents, Digest, DigestKind, DigestValue, Disk, DiskDigest, DiskInfo, Encoded,
    Error, Extent, Extents, Finding, Host, Image, ImageInfo, Level, Progress, Result, SourceHandle,
    Stored, Window,
};

use crate::PIECE_LIMIT;
use crate::feed::Feed;
use crate::gzip_header::GzipHeader;
use crate::identity::identity;
use crate::index::Index;
use crate::index_writer::{IndexWriter, START};
use crate::kind::{Kind, inner_name};
use crate::piece::{Check, EncodedPiece, Piece, UnpackedPiece};
use crate::room::Room;
use crate::survey::{Survey, begin};

/// The most pieces of an answer: some need a read.
const ANSWER: usize = 4096;
/// Parts of a byte in which progress is told.
const PARTS: u64 = 1 << 16;
/// The most pages that `check` looks at.
const CHECKED_PAGES: usize = 1024;

/// An opened file.
pub struct CompressedImage {
    kind: Kind,
    main: SourceHandle,
    host: Rc<dyn Host>,
    identity: [u8; 32],
    state: RefCell<State>,
    /// What was told of the survey so far.
    done: Cell<u64>,
}

enum State {
    Survey(Box<dyn Survey>, Box<IndexWriter>),
    Ready(Rc<Index>),
    /// The survey failed.
    Failed(Error),
}

impl CompressedImage {
    /// The file `main`, as the scratch knows it or to be surveyed.
    ///
    /// # Errors
    /// [`Error::Unrecognised`], or what the source answers.
    pub fn open(
        main: SourceHandle,
        host: Rc<dyn Host>,
        scratch: Option<SourceHandle>,
    ) -> Result<Self> {
        let head = read_bytes(&*main, 0, main.size().min(64 << 10), "the file's beginning")?;
        let kind = Kind::of(&head).ok_or(Error::Unrecognised)?;
        let identity = identity(&*main)?;
        let known = scratch.as_ref().and_then(|scratch| Index::load(scratch, &identity));
        let state = match known {
            Some(index) => State::Ready(Rc::new(index)),
            None => {
                if let Some(scratch) = &scratch {
                    scratch.resize(0)?;
                }
                let writer = IndexWriter::new(Room::new(scratch, START));
                State::Survey(begin(kind, &main), Box::new(writer))
            }
        };
        let (state, done) = (RefCell::new(state), Cell::new(0));
        Ok(Self { kind, main, host, identity, state, done })
    }

    fn index(&self) -> Result<Rc<Index>> {
        match &*self.state.borrow() {
            State::Ready(index) => Ok(Rc::clone(index)),
            State::Failed(error) => Err(error.clone()),
            State::Survey(..) => Err(Error::Io("the file is not surveyed yet".into())),
        }
    }

    /// Ends the survey.
    fn finish(&self, writer: IndexWriter) -> Result<State> {
        let index = writer.finish(&self.identity)?;
        for warning in self.warnings(&index) {
            self.host.log(Level::Warn, &format!("{}: {warning}", self.main.name()));
        }
        Ok(State::Ready(Rc::new(index)))
    }

    fn warnings(&self, index: &Index) -> Vec<String> {
        let summary = &index.summary;
        let (unpacked, damaged) = (summary.unpacked.get(), summary.damaged.get());
        let trailing = summary.trailing.get();
        let mut warnings = Vec::new();
        if unpacked > 0 {
            warnings.push(format!(
                "{} that cannot be entered in the middle was unpacked into {unpacked} bytes of \
                 scratch; to read it in place, {}",
                self.kind.name(),
                self.kind.way_out()
            ));
        }
        if damaged > 0 {
            warnings.push(format!("{damaged} bytes do not have their stored checksum"));
        }
        if trailing > 0 {
            warnings.push(format!("{trailing} bytes behind the end are ignored"));
        }
        warnings
    }

    /// What must be unpacked does not fit: says so, and what to do.
    fn no_room(&self, writer: &IndexWriter) -> Error {
        let (unpacked, size) = (writer.summary.unpacked.get(), writer.size());
        Error::Unsupported(format!(
            "{} of {} bytes that cannot be entered in the middle: it unpacks to more than {size} \
             bytes, of which {unpacked} were not zero, and the scratch has no room for more: {}",
            self.kind.name(),
            self.main.size(),
            self.kind.way_out()
        ))
    }

    fn details(&self, index: &Index) -> Vec<(String, String)> {
        let summary = &index.summary;
        let mut list = vec![
            ("container", self.kind.name().to_string()),
            ("compressed size", self.main.size().to_string()),
        ];
        let parts = match self.kind {
            Kind::Gzip => "members",
            Kind::Zstd | Kind::Lz4 => "frames",
            Kind::Xz | Kind::Bzip2 => "streams",
            Kind::Lzop => "files",
        };
        list.push((parts, summary.parts.get().to_string()));
        list.push(("pieces decoded when read", summary.encoded.get().to_string()));
        if summary.unpacked.get() > 0 {
            list.push(("bytes unpacked into the scratch", summary.unpacked.get().to_string()));
        }
        if self.kind == Kind::Gzip
            && let Ok(Some(header)) =
                GzipHeader::read(&mut Feed::new(self.main.clone(), 0, self.main.size()))
        {
            list.extend(header.name.map(|name| ("original name", harmless(&name))));
            if header.modified > 0 {
                list.push(("modified (seconds since 1970)", header.modified.to_string()));
            }
        }
        list.into_iter().map(|(name, value)| (name.to_string(), value)).collect()
    }
}

/// A text of the file's, fit to be shown.
fn harmless(text: &str) -> String {
    text.chars().take(255).map(|own| if own.is_control() { '?' } else { own }).collect()
}

impl Image for CompressedImage {
    fn prepare(&self) -> Result<Progress> {
        let state = &mut *self.state.borrow_mut();
        let (survey, writer) = match state {
            State::Ready(_) => return Ok(Progress::DONE),
            State::Failed(error) => return Err(error.clone()),
            State::Survey(survey, writer) => (survey, writer),
        };
        // In small parts of a byte: one can decode to so much that a step passes none.
        let total = self.main.size().saturating_add(1).saturating_mul(PARTS);
        let result = match survey.step(writer) {
            Ok(false) => {
                let done = survey.position().saturating_mul(PARTS).max(self.done.get() + 1);
                let done = done.min(total - 1);
                self.done.set(done);
                return Ok(Progress { done, total });
            }
            Ok(true) => {
                let empty = Box::new(IndexWriter::new(Room::new(None, START)));
                let error = State::Failed(Error::NoSpace);
                match core::mem::replace(state, error) {
                    State::Survey(_, writer) => self.finish(*writer),
                    _ => self.finish(*empty),
                }
            }
            Err(Error::NoSpace) => Err(self.no_room(writer)),
            Err(error) => Err(error),
        };
        match result {
            Ok(ready) => *state = ready,
            Err(error) => {
                *state = State::Failed(error.clone());
                return Err(error);
            }
        }
        Ok(Progress { done: total, total })
    }

    fn info(&self) -> ImageInfo {
        let Ok(index) = self.index() else { return ImageInfo::default() };
        ImageInfo {
            details: self.details(&index),
            documents: Vec::new(),
            snapshots: Vec::new(),
            warnings: self.warnings(&index),
        }
    }

    fn disks(&self) -> Vec<DiskInfo> {
        let Ok(index) = self.index() else { return Vec::new() };
        let mut disk = DiskInfo::new(index.size(), 512);
        disk.name = inner_name(&self.main.name());
        disk.contents = Contents::File;
        let summary = &index.summary;
        if summary.has_crc.get() == 1 {
            let value = summary.crc.get().to_le_bytes().to_vec();
            disk.digests.push(DiskDigest { kind: DigestKind::Crc32, value });
        }
        vec![disk]
    }

    fn disk(&self, number: u32) -> Result<Box<dyn Disk>> {
        if number != 0 {
            return Err(Error::OutOfRange);
        }
        let index = self.index()?;
        Ok(Box::new(Contained { main: self.main.clone(), index }))
    }
}

/// What was compressed.
struct Contained {
    main: SourceHandle,
    index: Rc<Index>,
}

impl Contained {
    fn content(&self, length: u64, piece: Piece) -> Result<Content> {
        let doubtful = || {
            Error::Io(
                "what was learned of this compressed file does not fit it: drop its scratch".into(),
            )
        };
        let fits = |offset: u64, length: u64| {
            offset.checked_add(length).is_some_and(|end| end <= self.main.size())
        };
        Ok(match piece {
            Piece::Zero => Content::Zero,
            Piece::Damaged => {
                Content::Damaged("this block does not have the checksum stored with it".into())
            }
            Piece::Stored(offset) if fits(offset, length) => {
                Content::Stored(Stored { source: 0, offset, writable: false })
            }
            Piece::Unpacked(piece)
                if self.index.has_room(piece.offset, length) && length <= PIECE_LIMIT =>
            {
                let source = self.index.scratch_id().ok_or_else(doubtful)?;
                Content::Encoded(unpacked(source, length as u32, &piece))
            }
            Piece::Encoded(piece)
                if fits(piece.offset, piece.stored.into())
                    && length.max(piece.stored.into()) <= PIECE_LIMIT =>
            {
                Content::Encoded(self.encoded(length as u32, &piece)?)
            }
            _ => return Err(doubtful()),
        })
    }

    fn encoded(&self, length: u32, piece: &EncodedPiece) -> Result<Encoded> {
        let mut encoded = Encoded::new(0, piece.offset, piece.stored, piece.codec, length);
        let given =
            |kind, value| Digest { kind, value: DigestValue::Given(value), over_decoded: true };
        encoded.digest = match piece.check {
            Check::None => None,
            Check::Given(kind, value) => Some(given(kind, value.to_le_bytes().to_vec())),
            Check::At(kind, at) if at == piece.offset + u64::from(piece.stored) => {
                Some(Digest { kind, value: DigestValue::Follows, over_decoded: true })
            }
            Check::At(kind, at) => {
                let length = match kind {
                    DigestKind::Crc64 => 8,
                    DigestKind::Sha256 => 32,
                    _ => 4,
                };
                Some(given(kind, read_bytes(&*self.main, at, length, "a block's check")?))
            }
        };
        if let (Some(entrance), Some(source)) = (piece.entrance, self.index.scratch_id()) {
            if !self.index.has_room(entrance.window, entrance.length.into()) {
                return Err(Error::Io("a window that was kept is no longer in the scratch".into()));
            }
            encoded.window = Some(Window {
                bits: entrance.bits,
                source,
                offset: entrance.window,
                length: entrance.length,
            });
        }
        Ok(encoded)
    }
}

/// Bytes of the scratch as they are, to be compared before they are believed.
fn unpacked(source: u32, length: u32, piece: &UnpackedPiece) -> Encoded {
    let mut encoded = Encoded::new(source, piece.offset, length, Codec::Identity, length);
    let value = DigestValue::Given(piece.crc.to_le_bytes().to_vec());
    encoded.digest = Some(Digest { kind: DigestKind::Crc32, value, over_decoded: false });
    encoded
}

impl Disk for Contained {
    fn extents(&mut self, offset: u64, length: u64) -> Result<Vec<Extent>> {
        if offset >= self.index.size() {
            return Err(Error::OutOfRange);
        }
        let end = offset.saturating_add(length).min(self.index.size());
        let mut extents = Extents::new();
        let mut at = offset;
        while at < end && extents.len() < ANSWER {
            let pieces = self.index.page(self.index.page_of(at))?;
            for (start, length, piece) in pieces.from(at).take_while(|(start, ..)| *start < end) {
                extents.push(start, length, self.content(length, piece)?);
            }
            at = pieces.end();
        }
        Ok(extents.finish())
    }

    fn check(&mut self, _repair: bool) -> Result<Vec<Finding>> {
        let mut findings = Vec::new();
        if self.index.summary.damaged.get() == 0 {
            return Ok(findings);
        }
        for number in 0..self.index.pages().min(CHECKED_PAGES) {
            let pieces = self.index.page(number)?;
            for (offset, length, _) in pieces.from(0).filter(|(.., piece)| *piece == Piece::Damaged)
            {
                let what = format!("{length} bytes do not have their stored checksum");
                findings.push(Finding { offset, what, repaired: false });
            }
        }
        Ok(findings)
    }
}
