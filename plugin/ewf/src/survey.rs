//! Walks all files of a set once. Reads section descriptors and small structures
//! only; no table entries, no chunks.
//!
//! What contradicts itself in a way that could show a wrong image is refused.
//! What is merely damaged or missing is noted, and the rest can be read.

use alloc::format;
use alloc::rc::Rc;
use alloc::string::String;
use alloc::vec::Vec;

use fumehood_plugin::{Access, Error, Host, Result, Source, SourceHandle};

use crate::digests::Digests;
use crate::evidence::{Evidence, Flaw, Placed, Segment};
use crate::naming::Series;
use crate::section::{Kind, Section};
use crate::segment::{FIRST_SECTION, check_first, check_further};
use crate::table::{Table, TableCopy, count_by_size, read_header};
use crate::unreadable::Unreadable;
use crate::volume::Media;

/// Far above what any writer makes, and what bounds the work of opening.
const MOST_SECTIONS: u32 = 1 << 20;
/// Contradictions noted; more of them say nothing new.
const MOST_FLAWS: usize = 1000;

/// Surveys the set that begins with `main`.
///
/// # Errors
/// As [`check_first`] and [`Media::read`]; [`Error::Corrupt`] for files of
/// different sets and for sections that state two lengths; what a source answers.
pub fn survey(main: SourceHandle, host: &dyn Host) -> Result<Evidence> {
    check_first(&*main)?;
    let series = Series::of(&main.name());
    let mut survey = Survey::default();
    let mut source = main;
    for number in 1..=u16::MAX {
        survey.add(&source);
        match survey.walk(&source)? {
            SegmentEnd::Done => break,
            SegmentEnd::Broken(what) => {
                survey.stop(what);
                break;
            }
            SegmentEnd::Next => (),
        }
        let Some(further) = survey.further(number.checked_add(1), series.as_ref(), host)? else {
            break;
        };
        source = further;
    }
    survey.finish()
}

/// How a segment's chain of sections ends.
enum SegmentEnd {
    Next,
    Done,
    Broken(String),
}

/// What of the current segment matters for the next table.
#[derive(Default)]
struct Group {
    sectors: Option<Section>,
    /// The last section was a table, which may have a mirror.
    open: bool,
}

#[derive(Default)]
struct Survey {
    media: Option<Media>,
    segments: Vec<Segment>,
    tables: Vec<Table>,
    absence: Option<String>,
    texts: Vec<Placed<Section>>,
    digests: Digests,
    unreadable: Vec<Placed<Unreadable>>,
    flaws: Vec<Flaw>,
    chunks_in_tables: bool,
    sections: u32,
}

impl Survey {
    fn add(&mut self, source: &SourceHandle) {
        self.segments.push(Segment {
            source: Rc::clone(source),
            id: source.id(),
            name: source.name(),
            size: source.size(),
        });
    }

    fn walk(&mut self, source: &SourceHandle) -> Result<SegmentEnd> {
        let source = &**source;
        let mut group = Group::default();
        let mut at = FIRST_SECTION;
        loop {
            self.sections += 1;
            if self.sections > MOST_SECTIONS {
                let what = format!("more than {MOST_SECTIONS} sections");
                return Err(Error::corrupt_in(source.id(), at, what));
            }
            let section = match Section::read(source, at) {
                Err(error) if self.media.is_some() => {
                    return self.describe(source, error).map(SegmentEnd::Broken);
                }
                other => other?,
            };
            section.require_one_length(source.id())?;
            if let Some(what) = self.take(source, &section, &mut group)? {
                return Ok(SegmentEnd::Broken(what));
            }
            match section.kind {
                Kind::Next => return Ok(SegmentEnd::Next),
                Kind::Done => return Ok(SegmentEnd::Done),
                _ => at = section.end,
            }
        }
    }

    /// Takes note of a section. Answers why the segment cannot be followed any
    /// further, if so.
    fn take(
        &mut self,
        source: &dyn Source,
        section: &Section,
        group: &mut Group,
    ) -> Result<Option<String>> {
        let segment = self.segments.len().saturating_sub(1);
        let mirror = section.kind == Kind::Table2 && group.open;
        group.open = false;
        match section.kind {
            Kind::Header | Kind::Header2 | Kind::XmlHeader | Kind::XmlHash => {
                if !self.texts.iter().any(|text| text.item.kind == section.kind) {
                    self.texts.push(Placed { segment, item: *section });
                }
            }
            Kind::Volume if self.media.is_none() => {
                self.media = Some(Media::read(source, section)?);
            }
            Kind::Volume | Kind::Data => self.compare(source, section)?,
            Kind::Sectors => group.sectors = Some(*section),
            Kind::Table2 if mirror => self.mirror(source, section)?,
            Kind::Table | Kind::Table2 => return self.table(source, section, group),
            Kind::Hash => {
                let taken = self.digests.take_hash(source, section);
                self.tolerate(source, taken)?;
            }
            Kind::Digest => {
                let taken = self.digests.take_digest(source, section);
                self.tolerate(source, taken)?;
            }
            Kind::Error2 => {
                let list = self.tolerate(source, Unreadable::read(source, section))?;
                self.unreadable.extend(list.map(|item| Placed { segment, item }));
            }
            Kind::Next | Kind::Done | Kind::Other => (),
        }
        Ok(None)
    }

    fn compare(&mut self, source: &dyn Source, section: &Section) -> Result<()> {
        let Some(media) = self.media.as_ref().filter(|media| !media.is_original()) else {
            return Ok(());
        };
        if let Some(what) = media.compare(source, section)? {
            let what = format!("{} at {}: {what}", source.name(), section.start);
            self.note(what);
        }
        Ok(())
    }

    fn table(
        &mut self,
        source: &dyn Source,
        section: &Section,
        group: &mut Group,
    ) -> Result<Option<String>> {
        let Some(sealed) = self.media.as_ref().map(|media| !media.is_original()) else {
            let what = "a table before the volume section";
            return Err(Error::corrupt_in(source.id(), section.start, what));
        };
        let (count, copy) = match read_header(source, section, sealed) {
            Ok((count, copy)) => (count, Some(copy)),
            Err(error) => {
                let what = self.describe(source, error)?;
                // Chunks behind a table of unknown length have unknown numbers.
                if group.sectors.is_none() {
                    return Ok(Some(what));
                }
                self.note(what);
                (count_by_size(section), None)
            }
        };
        if count == 0 {
            return Ok(None);
        }
        self.chunks_in_tables |= group.sectors.is_none();
        let copies = if section.kind == Kind::Table { [copy, None] } else { [None, copy] };
        self.tables.push(Table {
            first: self.placed(),
            count,
            segment: self.segments.len().saturating_sub(1),
            data_end: group.sectors.map_or(section.end, |sectors| sectors.end),
            sealed,
            copies,
        });
        group.open = section.kind == Kind::Table;
        Ok(None)
    }

    /// Adds a mirror to the table before it.
    fn mirror(&mut self, source: &dyn Source, section: &Section) -> Result<()> {
        let sealed = self.tables.last().is_some_and(|table| table.sealed);
        let header = self.tolerate(source, read_header(source, section, sealed))?;
        let Some((count, copy)) = header else { return Ok(()) };
        if let Err(own) = self.join(count, copy) {
            let (name, at) = (source.name(), section.start);
            self.note(format!("{name} at {at}: table2 has {count} entries and its table {own}"));
        }
        Ok(())
    }

    fn join(&mut self, count: u32, copy: TableCopy) -> core::result::Result<(), u32> {
        let Some(table) = self.tables.last_mut() else { return Ok(()) };
        let [first, second] = &mut table.copies;
        if first.is_some() && table.count != count {
            return Err(table.count);
        }
        table.count = count;
        *second = Some(copy);
        Ok(())
    }

    /// Asks the host for segment `number`; `None`, and noted, where there is none.
    fn further(
        &mut self,
        number: Option<u16>,
        series: Option<&Series>,
        host: &dyn Host,
    ) -> Result<Option<SourceHandle>> {
        if self.media.is_none() {
            return Err(Error::corrupt(FIRST_SECTION, "no volume section in the first segment"));
        }
        let Some((number, name)) = number.and_then(|number| Some((number, series?.name(number)?)))
        else {
            let count = self.segments.len();
            self.stop(format!("the segment after the first {count} has no name in this series"));
            return Ok(None);
        };
        match host.open(&name, Access::Read) {
            Ok(source) => check_further(&*source, number).map(|()| Some(source)),
            Err(Error::Missing(_)) => {
                self.stop(format!("segment {name} is missing"));
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    fn finish(mut self) -> Result<Evidence> {
        let placed = self.placed();
        let Some(media) = self.media.take() else {
            return Err(Error::corrupt(FIRST_SECTION, "no volume section"));
        };
        let stated = media.measures.chunks;
        if self.absence.is_none() && placed != u64::from(stated) {
            let offset = placed.saturating_mul(u64::from(media.chunk)).min(media.size);
            let what = format!("the tables place {placed} chunks, the volume states {stated}");
            self.flaws.push(Flaw { offset, what });
        }
        Ok(Evidence {
            media,
            segments: self.segments,
            tables: self.tables,
            absence: self.absence.unwrap_or_else(|| "no table places this chunk".into()),
            texts: self.texts,
            digests: self.digests,
            unreadable: self.unreadable,
            flaws: self.flaws,
            chunks_in_tables: self.chunks_in_tables,
        })
    }

    /// Chunks placed so far.
    fn placed(&self) -> u64 {
        self.tables.last().map_or(0, Table::end)
    }

    /// Nothing behind this point of the set can be placed.
    fn stop(&mut self, what: String) {
        self.note(what.clone());
        self.absence = Some(what);
    }

    fn note(&mut self, what: String) {
        if self.flaws.len() < MOST_FLAWS {
            let (chunk, size) =
                self.media.as_ref().map_or((0, 0), |media| (media.chunk, media.size));
            let offset = self.placed().saturating_mul(u64::from(chunk)).min(size);
            self.flaws.push(Flaw { offset, what });
        }
    }

    /// Notes a contradiction that leaves the rest readable.
    fn tolerate<T>(&mut self, source: &dyn Source, result: Result<T>) -> Result<Option<T>> {
        match result {
            Ok(value) => Ok(Some(value)),
            Err(error) => {
                let what = self.describe(source, error)?;
                self.note(what);
                Ok(None)
            }
        }
    }

    /// The text of a contradiction; any other error stays one.
    fn describe(&self, source: &dyn Source, error: Error) -> Result<String> {
        match error {
            Error::Corrupt { offset, what, .. } => {
                Ok(format!("{} at {offset}: {what}", source.name()))
            }
            other => Err(other),
        }
    }
}
