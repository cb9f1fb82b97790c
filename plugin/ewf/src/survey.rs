//! Walks all files of a set of version 1 once. Reads section descriptors and small
//! structures only; no table entries, no chunks.

use alloc::format;
use alloc::string::String;

use fumehood_plugin::{Error, Host, Result, Source, SourceHandle};

use crate::evidence::Evidence;
use crate::gathered::{Gathered, describe};
use crate::section::{Kind, Section};
use crate::segment::{FIRST_SECTION, check_first, check_further};
use crate::table::{Layout, Table, TableCopy, count_by_size, read_header};
use crate::texts::{Text, TextKind};
use crate::unreadable::Unreadable;
use crate::volume;

/// Surveys the set that begins with `main`.
///
/// # Errors
/// As [`check_first`] and [`volume::read`]; [`Error::Corrupt`] for files of
/// different sets and for sections that state two lengths; what a source answers.
pub fn survey(main: SourceHandle, host: &dyn Host) -> Result<Evidence> {
    check_first(&*main)?;
    let mut survey = Survey { gathered: Gathered::new(&main), chunks_in_tables: false };
    let mut source = main;
    for number in 1..=u16::MAX {
        survey.gathered.add(&source);
        match survey.walk(&source)? {
            SegmentEnd::Done => break,
            SegmentEnd::Broken(what) => {
                survey.gathered.stop(what);
                break;
            }
            SegmentEnd::Next => (),
        }
        let next = number.checked_add(1).map(u32::from);
        match survey.gathered.further(next, host, check_further)? {
            Ok(further) => source = further,
            Err(what) => {
                survey.gathered.stop(what);
                break;
            }
        }
    }
    let nameless = Error::corrupt(FIRST_SECTION, "no volume section");
    let chunks_in_tables = survey.chunks_in_tables;
    Ok(Evidence { chunks_in_tables, ..survey.gathered.finish(nameless)? })
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

struct Survey {
    gathered: Gathered,
    chunks_in_tables: bool,
}

impl Survey {
    fn walk(&mut self, source: &SourceHandle) -> Result<SegmentEnd> {
        let source = &**source;
        let mut group = Group::default();
        let mut at = FIRST_SECTION;
        loop {
            self.gathered.count_section(source, at)?;
            let section = match Section::read(source, at) {
                Err(error) if self.gathered.media.is_some() => {
                    return describe(source, error).map(SegmentEnd::Broken);
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
        let gathered = &mut self.gathered;
        let mirror = section.kind == Kind::Table2 && group.open;
        group.open = false;
        match section.kind {
            Kind::Header => self.text(section, TextKind::Header),
            Kind::Header2 => self.text(section, TextKind::Header2),
            Kind::XmlHeader => self.text(section, TextKind::XmlHeader),
            Kind::XmlHash => self.text(section, TextKind::XmlHash),
            Kind::Volume if gathered.media.is_none() => {
                gathered.media = Some(volume::read(source, section)?);
            }
            Kind::Volume | Kind::Data => self.compare(source, section)?,
            Kind::Sectors => group.sectors = Some(*section),
            Kind::Table2 if mirror => self.mirror(source, section)?,
            Kind::Table | Kind::Table2 => return self.table(source, section, group),
            Kind::Hash => {
                let taken = gathered.digests.take_hash(source, section.payload());
                gathered.tolerate(source, taken)?;
            }
            Kind::Digest => {
                let taken = gathered.digests.take_digest(source, section.payload());
                gathered.tolerate(source, taken)?;
            }
            Kind::Error2 => {
                let (offset, length) = (section.payload(), section.payload_length());
                let list = Unreadable::read(source, offset, length);
                if let Some(list) = gathered.tolerate(source, list)? {
                    gathered.add_unreadable(list);
                }
            }
            Kind::Next | Kind::Done | Kind::Other => (),
        }
        Ok(None)
    }

    fn text(&mut self, section: &Section, kind: TextKind) {
        let (offset, length) = (section.payload(), section.payload_length());
        self.gathered.add_text(Text { kind, segment: self.gathered.segment(), offset, length });
    }

    fn compare(&mut self, source: &dyn Source, section: &Section) -> Result<()> {
        let Some(media) = self.gathered.media.as_ref().filter(|media| !media.is_original()) else {
            return Ok(());
        };
        if let Some(what) = volume::compare(media, source, section)? {
            let what = format!("{} at {}: {what}", source.name(), section.start);
            self.gathered.note(what);
        }
        Ok(())
    }

    fn table(
        &mut self,
        source: &dyn Source,
        section: &Section,
        group: &mut Group,
    ) -> Result<Option<String>> {
        let Some(sealed) = self.gathered.media.as_ref().map(|media| !media.is_original()) else {
            let what = "a table before the volume section";
            return Err(Error::corrupt_in(source.id(), section.start, what));
        };
        let (count, copy) = match read_header(source, section, sealed) {
            Ok((count, copy)) => (count, Some(copy)),
            Err(error) => {
                let what = describe(source, error)?;
                // Chunks behind a table of unknown length have unknown numbers.
                if group.sectors.is_none() {
                    return Ok(Some(what));
                }
                self.gathered.note(what);
                (count_by_size(section), None)
            }
        };
        if count == 0 {
            return Ok(None);
        }
        self.chunks_in_tables |= group.sectors.is_none();
        let copies = if section.kind == Kind::Table { [copy, None] } else { [None, copy] };
        let data_end = group.sectors.map_or(section.end, |sectors| sectors.end);
        let table = Table {
            first: self.gathered.placed(),
            count,
            segment: self.gathered.segment(),
            layout: Layout::Offsets { data_end },
            sealed,
            copies,
        };
        self.gathered.add_table(source, section.start, table)?;
        group.open = section.kind == Kind::Table;
        Ok(None)
    }

    /// Adds a mirror to the table before it.
    fn mirror(&mut self, source: &dyn Source, section: &Section) -> Result<()> {
        let sealed = self.gathered.tables.last().is_some_and(|table| table.sealed);
        let header = self.gathered.tolerate(source, read_header(source, section, sealed))?;
        let Some((count, copy)) = header else { return Ok(()) };
        if let Err(own) = self.join(count, copy) {
            let (name, at) = (source.name(), section.start);
            self.gathered
                .note(format!("{name} at {at}: table2 has {count} entries and its table {own}"));
        }
        Ok(())
    }

    fn join(&mut self, count: u32, copy: TableCopy) -> core::result::Result<(), u32> {
        let Some(table) = self.gathered.tables.last_mut() else { return Ok(()) };
        let [first, second] = &mut table.copies;
        if first.is_some() && table.count != count {
            return Err(table.count);
        }
        table.count = count;
        *second = Some(copy);
        Ok(())
    }
}
