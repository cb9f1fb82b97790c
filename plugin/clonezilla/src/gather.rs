//! The pieces of a file, one after the other, and whether they are all there.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use fumehood_plugin::{Error, Result, Source, SourceHandle};

use crate::compression::Compression;
use crate::folder::Folder;
use crate::naming::{Candidate, Split};
use crate::plan::Planned;
use crate::search::Found;
use crate::stream::{Piece, Stream, examine};
use crate::sums::Sums;

/// Pieces asked for in one step.
const STEP: usize = 512;
/// Names behind the last piece that are asked for, to find a gap.
const LOOK_AHEAD: u32 = 16;

/// A file whose pieces are being gathered.
pub struct Gather {
    file: Candidate,
    split: Split,
    compression: Compression,
    pieces: Vec<Piece>,
}

impl Gather {
    /// The file that was found.
    ///
    /// # Errors
    /// [`Error::Missing`] without the first piece, or as [`examine`] says.
    pub fn new(found: Found) -> Result<Self> {
        let Found { file, split, first } = found;
        let first = first.ok_or_else(|| missing(&file.stem, split, 0, 1))?;
        let compression = examine(&file, &*first)?;
        let mut gather = Self { file, split, compression, pieces: Vec::new() };
        gather.add(&*first)?;
        Ok(gather)
    }

    /// How many pieces are gathered.
    pub fn done(&self) -> usize {
        self.pieces.len()
    }

    /// Gathers some more; answers whether these are all.
    ///
    /// # Errors
    /// [`Error::Missing`] for a gap, and for what `sums` lists and the folder lacks;
    /// [`Error::Corrupt`] for a piece that is not as long as it must be.
    pub fn step(&mut self, folder: &Folder, sums: &Sums) -> Result<bool> {
        for _ in 0..STEP {
            match self.next(folder)? {
                Some(piece) => self.add(&*piece)?,
                None => return self.check_end(folder, sums).map(|()| true),
            }
        }
        Ok(false)
    }

    fn next(&self, folder: &Folder) -> Result<Option<SourceHandle>> {
        let name = self.split.piece(&self.file.stem, self.count());
        name.map_or(Ok(None), |name| folder.find(&name))
    }

    fn count(&self) -> u32 {
        self.pieces.len() as u32
    }

    fn add(&mut self, source: &dyn Source) -> Result<()> {
        let (length, name) = (source.size(), source.name());
        let corrupt = |expected: &str| {
            let what = format!("expected {expected} in {name}, found {length}; copy it again");
            Error::corrupt_in(source.id(), length, what)
        };
        if length == 0 {
            return Err(corrupt("bytes"));
        }
        let first = self.pieces.first().map_or(length, |piece| piece.length);
        if length > first {
            return Err(corrupt(&format!("the {first} bytes at most of the first piece")));
        }
        let start = self.pieces.last().map_or(Some(0), |last| {
            // All pieces but the last have one length.
            (last.length == first).then(|| last.start.checked_add(last.length)).flatten()
        });
        let start = start.ok_or_else(|| self.short(first))?;
        if start.checked_add(length).is_none() {
            return Err(corrupt("fewer bytes than 64 bits count"));
        }
        self.pieces.push(Piece { start, length, source: source.id() });
        Ok(())
    }

    /// The last piece so far is shorter than the first, and others follow.
    fn short(&self, first: u64) -> Error {
        let number = self.count().saturating_sub(1);
        let name = self.split.piece(&self.file.stem, number).unwrap_or_default();
        let last = self.pieces.last();
        let (source, length) = last.map_or((0, 0), |last| (last.source, last.length));
        let what = format!(
            "expected {first} bytes in {name}, as in the first piece, found {length}, and more \
             pieces behind it; copy it again"
        );
        Error::corrupt_in(source, length, what)
    }

    /// Whether nothing lies behind the last piece.
    fn check_end(&self, folder: &Folder, sums: &Sums) -> Result<()> {
        let (stem, split, count) = (&self.file.stem, self.split, self.count());
        let Some(next) = split.piece(stem, count) else { return Ok(()) };
        let listed = sums.names_from(&next).next();
        if let Some(listed) = listed.filter(|name| split.is_piece(stem, name)) {
            let what = format!("{listed}, which the folder's list of files names; copy it again");
            return Err(Error::Missing(what));
        }
        for number in count + 1..=count + LOOK_AHEAD {
            let Some(name) = split.piece(stem, number) else { break };
            if folder.find(&name)?.is_some() {
                return Err(missing(stem, split, count, number));
            }
        }
        Ok(())
    }

    /// The stream of `partition`, whose pieces are gathered.
    pub fn finish(self, partition: &Planned, sums: &Sums) -> Stream {
        let Self { file, split, compression, pieces } = self;
        let first = split.piece(&file.stem, 0).unwrap_or_default();
        let full = pieces.first().map(|piece| piece.length);
        let even = pieces.len() > 1 && pieces.last().map(|piece| piece.length) == full;
        let next = split.piece(&file.stem, pieces.len() as u32);
        Stream {
            name: partition.name.clone(),
            device: partition.device.clone(),
            digests: if pieces.len() == 1 { sums.of(&first) } else { Vec::new() },
            doubtful: next.filter(|_| even && !sums.has(&first)),
            file,
            compression,
            pieces,
        }
    }
}

/// A piece is not there, and a later one is.
fn missing(stem: &str, split: Split, number: u32, later: u32) -> Error {
    let name = |number| -> String { split.piece(stem, number).unwrap_or_default() };
    let (name, later) = (name(number), name(later));
    Error::Missing(format!("{name}, though {later} is there; copy it again"))
}
