//! The stream of one partition, and whether it is what its name says.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use fumehood_plugin::{
    Content, Contents, DiskDigest, DiskInfo, Error, Extent, Extents, Result, Source, Stored,
};

use crate::compression::Compression;
use crate::devices::Device;
use crate::naming::{Candidate, Tool};

/// How an image of partclone begins.
const PARTCLONE: &[u8] = b"partclone-image";

/// A piece of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece {
    /// Where in the stream it begins.
    pub start: u64,
    pub length: u64,
    /// Its source.
    pub source: u32,
}

/// What one partition was saved to.
#[derive(Debug)]
pub struct Stream {
    pub name: String,
    pub device: Device,
    pub file: Candidate,
    pub compression: Compression,
    /// In order and gapless; none is empty.
    pub pieces: Vec<Piece>,
    pub digests: Vec<DiskDigest>,
    /// The name that a piece behind the last one would have, if nothing says that there is
    /// none and every piece is of the same length: a last one is nearly always shorter.
    pub doubtful: Option<String>,
}

/// How a file's stream is compressed, by its name and its first bytes.
///
/// # Errors
/// [`Error::Unsupported`] for what no plugin reads, [`Error::Corrupt`] where the first
/// bytes are not what the name says.
pub fn examine(file: &Candidate, first: &dyn Source) -> Result<Compression> {
    let name = first.name();
    let head = first.read(0, first.size().min(16) as usize)?;
    let compression = file.compression.unwrap_or_else(|| Compression::of(&head));
    match file.tool {
        Tool::Ntfsclone => return Err(refusal(&name, file.tool, "ntfsclone --restore-image")),
        Tool::Partimage => return Err(refusal(&name, file.tool, "partimage restore")),
        Tool::Partclone | Tool::Dd => (),
    }
    let corrupt = |expected: &str| {
        let what = format!("expected {expected} at the beginning of {name}, found {head:02x?}");
        Error::corrupt_in(first.id(), 0, what)
    };
    if !compression.begins(&head) {
        return Err(corrupt(&format!("a stream of {}", compression.name())));
    }
    if !compression.is_read() {
        return Err(Error::Unsupported(format!(
            "{name} is compressed by {}; compress it in another way with ocs-cvtimg-comp",
            compression.name()
        )));
    }
    let bare = compression == Compression::None && file.tool == Tool::Partclone;
    match bare && !head.starts_with(PARTCLONE) {
        true => Err(corrupt("an image of partclone")),
        false => Ok(compression),
    }
}

fn refusal(name: &str, tool: Tool, command: &str) -> Error {
    let tool = tool.name();
    Error::Unsupported(format!(
        "{name} was saved by {tool}, which is not read; restore it with `{command}`"
    ))
}

impl Stream {
    /// Its length in bytes.
    pub fn size(&self) -> u64 {
        self.pieces.last().map_or(0, |last| last.start + last.length)
    }

    /// Whether its bytes are the partition's own.
    fn is_bare(&self) -> bool {
        self.compression == Compression::None && self.file.tool == Tool::Dd
    }

    /// It as a disk. The partition's own bytes are a volume, which nothing is recognised
    /// in: whoever used the partition wrote them.
    pub fn info(&self) -> DiskInfo {
        let bare = self.is_bare();
        DiskInfo {
            name: self.name.clone(),
            contents: if bare { Contents::Volume } else { Contents::File },
            digests: self.digests.clone(),
            start_on_disk: self.device.start.filter(|_| bare),
            details: self.details().into_iter().collect(),
            ..DiskInfo::new(self.size(), 512)
        }
    }

    /// What is known of it, for people; `None` where nothing is.
    fn details(&self) -> Option<(String, String)> {
        let facts = self.device.describe();
        (!facts.is_empty()).then(|| ("partition".to_string(), facts.join(", ")))
    }

    /// What is known of it and of its file, for people.
    pub fn describe(&self) -> String {
        let mut facts = self.device.describe();
        let pieces = self.pieces.len();
        let place = if pieces == 1 { "whole".into() } else { format!("{pieces} pieces") };
        let (tool, compression) = (self.file.tool.name(), self.compression.name());
        facts.push(format!("saved by {tool} with {compression} to {}, {place}", self.file.stem));
        facts.join(", ")
    }

    /// What speaks against it.
    pub fn warning(&self) -> Option<String> {
        let (size, stem) = (self.size(), &self.file.stem);
        if let Some(stated) = self.device.size.filter(|_| self.is_bare()) {
            return (size != stated).then(|| {
                format!(
                    "{stem} holds {size} bytes, and the partition table says {stated}: its last \
                     piece may be missing"
                )
            });
        }
        let next = self.doubtful.as_ref()?;
        Some(format!("all pieces of {stem} are of one length: another, {next}, may be missing"))
    }

    /// Where a range of it lies.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] past the end.
    pub fn extents(&self, offset: u64, length: u64) -> Result<Vec<Extent>> {
        if offset >= self.size() {
            return Err(Error::OutOfRange);
        }
        let end = offset.saturating_add(length);
        let first = self.pieces.partition_point(|piece| piece.start <= offset).saturating_sub(1);
        let mut extents = Extents::new();
        for piece in self.pieces.iter().skip(first) {
            if piece.start >= end && !extents.is_empty() {
                break;
            }
            let stored = Stored { source: piece.source, offset: 0, writable: false };
            extents.push(piece.start, piece.length, Content::Stored(stored));
        }
        Ok(extents.finish())
    }
}
