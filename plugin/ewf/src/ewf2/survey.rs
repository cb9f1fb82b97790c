//! Walks all files of a set of version 2 once, each from its end. Reads section
//! descriptors and small structures only; no table entries, no chunks.
//!
//! Tables state the chunks that they place, so what is lost of one segment does not keep
//! the others from being read.

use alloc::format;

use fumehood_plugin::{Error, Host, Result, Source, SourceHandle};

use crate::evidence::Evidence;
use crate::ewf2::device::read_media;
use crate::ewf2::header::{FIRST_DATA, Header};
use crate::ewf2::section::{Kind, Section};
use crate::ewf2::table::read_table;
use crate::gathered::{Gathered, describe};
use crate::media::Media;
use crate::table::Table;
use crate::texts::{Text, TextKind};
use crate::unreadable::Unreadable;

/// Surveys the set that begins with `main`.
///
/// # Errors
/// As [`Header::read_first`] and [`read_media`]; [`Error::Corrupt`] for files of
/// different sets and for tables that place the same chunk; [`Error::Unsupported`] for
/// encrypted ones; what a source answers.
pub fn survey(main: SourceHandle, host: &dyn Host) -> Result<Evidence> {
    let header = Header::read_first(&*main)?;
    let mut survey = Survey { gathered: Gathered::new(&main), header, lost: None };
    let mut source = main;
    let mut number = 1u32;
    loop {
        survey.gathered.add(&source);
        let end = survey.segment(&*source)?;
        if end == Some(Kind::Done) {
            break;
        }
        number = number.saturating_add(1);
        let check = |source: &dyn Source, number| header.check_further(source, number);
        match survey.gathered.further(Some(number), host, check)? {
            Ok(further) => source = further,
            Err(what) => {
                // A segment that does not say so need not have one behind it.
                if end == Some(Kind::Next) {
                    survey.gathered.stop(what);
                }
                break;
            }
        }
    }
    survey.finish()
}

/// Sections of one segment of which there is at most one, or of which one counts.
#[derive(Default)]
struct Found {
    /// The last of the segment.
    end: Option<Kind>,
    device: Option<Section>,
    case: Option<Section>,
    md5: Option<Section>,
    sha1: Option<Section>,
}

struct Survey {
    gathered: Gathered,
    header: Header,
    /// Why the first segment that did not tell what the media is did not.
    lost: Option<Error>,
}

impl Survey {
    /// Takes note of a segment; answers with what kind of section it ends.
    fn segment(&mut self, source: &dyn Source) -> Result<Option<Kind>> {
        let mut found = Found::default();
        if let Err(error) = self.walk(source, &mut found) {
            self.lost.get_or_insert_with(|| error.clone());
            let what = describe(source, error)?;
            self.gathered.note(what);
        }
        self.take_media(source, &found)?;
        let gathered = &mut self.gathered;
        if let Some(section) = found.md5 {
            let taken = section
                .verify(source)
                .and_then(|()| gathered.digests.take_md5(source, section.data));
            gathered.tolerate(source, taken)?;
        }
        if let Some(section) = found.sha1 {
            let taken = section
                .verify(source)
                .and_then(|()| gathered.digests.take_sha1(source, section.data));
            gathered.tolerate(source, taken)?;
        }
        if !matches!(found.end, None | Some(Kind::Next | Kind::Done)) {
            let name = source.name();
            gathered.note(format!("{name} ends without a section that says whether more follow"));
        }
        Ok(found.end)
    }

    /// Looks at every section, the last first: each stands before the one that named it,
    /// so this comes to an end.
    fn walk(&mut self, source: &dyn Source, found: &mut Found) -> Result<()> {
        let mut section = Section::read_last(source)?;
        found.end = Some(section.kind);
        loop {
            self.gathered.count_section(source, section.descriptor)?;
            self.take(source, &section, found)?;
            let Some(previous) = section.previous else { return Ok(()) };
            section = Section::read(source, previous)?;
        }
    }

    fn take(&mut self, source: &dyn Source, section: &Section, found: &mut Found) -> Result<()> {
        let gathered = &mut self.gathered;
        match section.kind {
            // Of several the first counts, which is met last.
            Kind::Device => found.device = Some(*section),
            Kind::Case => found.case = Some(*section),
            // And of these the last.
            Kind::Md5 => _ = found.md5.get_or_insert(*section),
            Kind::Sha1 => _ = found.sha1.get_or_insert(*section),
            Kind::SectorTable => {
                let table = read_table(source, section, gathered.segment());
                if let Some(Some(table)) = gathered.tolerate(source, table)? {
                    gathered.add_table(source, section.data, table)?;
                }
            }
            Kind::ErrorTable => {
                let list = section
                    .verify(source)
                    .and_then(|()| Unreadable::read_second(source, section.data, section.length));
                if let Some(list) = gathered.tolerate(source, list)? {
                    gathered.add_unreadable(list);
                }
            }
            Kind::Restart => self.add_text(section, TextKind::Restart),
            Kind::Analysis => self.add_text(section, TextKind::Analysis),
            Kind::SectorData | Kind::Keys | Kind::Next | Kind::Done | Kind::Other => (),
        }
        Ok(())
    }

    fn add_text(&mut self, section: &Section, kind: TextKind) {
        let (segment, offset, length) = (self.gathered.segment(), section.data, section.length);
        self.gathered.add_text(Text { kind, segment, offset, length });
    }

    /// Takes the media from the first segment that tells it, and compares it with what
    /// the others repeat.
    fn take_media(&mut self, source: &dyn Source, found: &Found) -> Result<()> {
        let (Some(device), Some(case)) = (&found.device, &found.case) else { return Ok(()) };
        let read = read_media(source, self.header, device, case);
        let Some(media) = &self.gathered.media else {
            if let Err(error @ Error::Corrupt { .. }) = &read {
                self.lost.get_or_insert_with(|| error.clone());
            }
            let Some(media) = self.gathered.tolerate(source, read)? else { return Ok(()) };
            self.gathered.media = Some(media);
            self.add_text(device, TextKind::Device);
            self.add_text(case, TextKind::Case);
            return Ok(());
        };
        let own = media.measures;
        match self.gathered.tolerate(source, read)? {
            Some(Media { measures, .. }) if measures != own => {
                let name = source.name();
                self.gathered
                    .note(format!("{name} says {measures:?} and the first segment {own:?}"));
            }
            _ => (),
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Evidence> {
        self.gathered.tables.sort_unstable_by_key(|table| table.first);
        self.require_disjoint()?;
        let nothing = Error::corrupt(FIRST_DATA, "no device information and case data");
        self.gathered.finish(self.lost.unwrap_or(nothing))
    }

    /// Refuses tables that place the same chunk: such a set holds two images.
    fn require_disjoint(&self) -> Result<()> {
        let overlap = self.gathered.tables.windows(2).find_map(|pair| match pair {
            [before, after] if before.end() > after.first => Some((before, after)),
            _ => None,
        });
        let Some((before, after)) = overlap else { return Ok(()) };
        let (first, end) = (after.first, Table::end(before));
        let what = format!("a table begins with chunk {first}, but chunks up to {end} are placed");
        let entries = after.copies.iter().flatten().next().map_or(0, |copy| copy.entries);
        Err(Error::corrupt_in(self.gathered.source_of(after), entries, what))
    }
}
