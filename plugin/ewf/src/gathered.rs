//! What a survey gathers while it walks through a set, whichever version of the format
//! that is in. What the sections of a version mean is the survey's own.
//!
//! What contradicts itself in a way that could show a wrong image is refused.
//! What is merely damaged or missing is noted, and the rest can be read.

use alloc::format;
use alloc::rc::Rc;
use alloc::string::String;
use alloc::vec::Vec;

use fumehood_plugin::{Access, Error, Host, Result, Source, SourceHandle};

use crate::digests::Digests;
use crate::evidence::{Evidence, Flaw, Placed, Segment, UNPLACED};
use crate::media::Media;
use crate::naming::Series;
use crate::table::Table;
use crate::texts::Text;
use crate::unreadable::Unreadable;

/// Far above what any writer makes, and what bounds the work of opening.
const MOST_SECTIONS: u32 = 1 << 20;
/// What bounds the memory of an opened set: at 16375 entries a table these place
/// chunks of 32 KiB for 128 TiB.
const MOST_TABLES: usize = 1 << 18;
/// Lists of unreadable sectors kept; writers make one.
const MOST_LISTS: usize = 1024;
/// Contradictions noted; more of them say nothing new.
const MOST_FLAWS: usize = 1000;

/// A set as far as it is known.
pub struct Gathered {
    /// The media's measures, once they are known.
    pub media: Option<Media>,
    /// Digests over the media.
    pub digests: Digests,
    /// The tables found so far.
    pub tables: Vec<Table>,
    series: Option<Series>,
    segments: Vec<Segment>,
    texts: Vec<Text>,
    unreadable: Vec<Placed<Unreadable>>,
    flaws: Vec<Flaw>,
    absence: Option<String>,
    sections: u32,
}

impl Gathered {
    /// Nothing is known of the set that begins with `main` but its name.
    pub fn new(main: &SourceHandle) -> Self {
        Self {
            media: None,
            digests: Digests::default(),
            tables: Vec::new(),
            series: Series::of(&main.name()),
            segments: Vec::new(),
            texts: Vec::new(),
            unreadable: Vec::new(),
            flaws: Vec::new(),
            absence: None,
            sections: 0,
        }
    }

    /// Adds the next file of the set; what is gathered from now on stands in it.
    pub fn add(&mut self, source: &SourceHandle) {
        self.segments.push(Segment {
            source: Rc::clone(source),
            id: source.id(),
            name: source.name(),
            size: source.size(),
        });
    }

    /// The place of the current segment in the set, counted from 0.
    pub fn segment(&self) -> usize {
        self.segments.len().saturating_sub(1)
    }

    /// The number of the source that holds `table`.
    pub fn source_of(&self, table: &Table) -> u32 {
        self.segments.get(table.segment).map_or(0, |segment| segment.id)
    }

    /// Asks the host for segment `number`, whose header `check` looks at; or answers why
    /// there is none.
    ///
    /// # Errors
    /// What the host or `check` answers.
    pub fn further(
        &self,
        number: Option<u32>,
        host: &dyn Host,
        check: impl FnOnce(&dyn Source, u32) -> Result<()>,
    ) -> Result<core::result::Result<SourceHandle, String>> {
        let name = number.and_then(|number| self.series.as_ref()?.name(number));
        let (Some(number), Some(name)) = (number, name) else {
            let count = self.segments.len();
            return Ok(Err(format!(
                "the segment after the first {count} has no name in this series"
            )));
        };
        match host.open(&name, Access::Read) {
            Ok(source) => check(&*source, number).map(|()| Ok(source)),
            Err(Error::Missing(_)) => Ok(Err(format!("segment {name} is missing"))),
            Err(error) => Err(error),
        }
    }

    /// Counts one more section, at `offset` of `source`.
    ///
    /// # Errors
    /// [`Error::Corrupt`] for more than any writer makes.
    pub fn count_section(&mut self, source: &dyn Source, offset: u64) -> Result<()> {
        self.sections += 1;
        if self.sections <= MOST_SECTIONS {
            return Ok(());
        }
        let what = format!("more than {MOST_SECTIONS} sections");
        Err(Error::corrupt_in(source.id(), offset, what))
    }

    /// Adds a table that stands at `offset` of `source`.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for more than memory has room for.
    pub fn add_table(&mut self, source: &dyn Source, offset: u64, table: Table) -> Result<()> {
        if self.tables.len() >= MOST_TABLES {
            let name = source.name();
            let what =
                format!("more than {MOST_TABLES} chunk tables, the last at {offset} of {name}");
            return Err(Error::Unsupported(what));
        }
        self.tables.push(table);
        Ok(())
    }

    /// Adds a text, unless there is one of its kind.
    pub fn add_text(&mut self, text: Text) {
        if !self.texts.iter().any(|own| own.kind == text.kind) {
            self.texts.push(text);
        }
    }

    /// Adds a list of unreadable sectors.
    pub fn add_unreadable(&mut self, item: Unreadable) {
        if self.unreadable.len() < MOST_LISTS {
            self.unreadable.push(Placed { segment: self.segment(), item });
        }
    }

    /// All there is to know. `nameless` is why there is no media, if there is none.
    ///
    /// # Errors
    /// `nameless`.
    pub fn finish(mut self, nameless: Error) -> Result<Evidence> {
        let Some(media) = self.media.take() else { return Err(nameless) };
        let placed: u64 = self.tables.iter().map(|table| u64::from(table.count)).sum();
        let stated = media.measures.chunks;
        if self.absence.is_none() && placed != stated {
            let offset = placed.saturating_mul(u64::from(media.chunk)).min(media.size);
            let what = format!("the tables place {placed} chunks, the image states {stated}");
            self.flaws.push(Flaw { offset, what });
        }
        Ok(Evidence {
            media,
            segments: self.segments,
            tables: self.tables,
            absence: self.absence.unwrap_or_else(|| UNPLACED.into()),
            texts: self.texts,
            digests: self.digests,
            unreadable: self.unreadable,
            flaws: self.flaws,
            chunks_in_tables: false,
        })
    }

    /// The number behind that of the last chunk placed so far.
    pub fn placed(&self) -> u64 {
        self.tables.last().map_or(0, Table::end)
    }

    /// Nothing behind this point of the set can be placed.
    pub fn stop(&mut self, what: String) {
        self.note(what.clone());
        self.absence = Some(what);
    }

    /// Notes a contradiction.
    pub fn note(&mut self, what: String) {
        if self.flaws.len() < MOST_FLAWS {
            let (chunk, size) =
                self.media.as_ref().map_or((0, 0), |media| (media.chunk, media.size));
            let offset = self.placed().saturating_mul(u64::from(chunk)).min(size);
            self.flaws.push(Flaw { offset, what });
        }
    }

    /// Notes a contradiction that leaves the rest readable.
    ///
    /// # Errors
    /// Any other error.
    pub fn tolerate<T>(&mut self, source: &dyn Source, result: Result<T>) -> Result<Option<T>> {
        match result {
            Ok(value) => Ok(Some(value)),
            Err(error) => {
                let what = describe(source, error)?;
                self.note(what);
                Ok(None)
            }
        }
    }
}

/// The text of a contradiction; any other error stays one.
///
/// # Errors
/// Any other error.
pub fn describe(source: &dyn Source, error: Error) -> Result<String> {
    match error {
        Error::Corrupt { offset, what, .. } => Ok(format!("{} at {offset}: {what}", source.name())),
        other => Err(other),
    }
}
