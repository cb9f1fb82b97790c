//! A set of parts as one source: `NAME.001`, `NAME.002` and so on, or `NAME.aa`,
//! `NAME.ab`, as `split` names them.

use std::any::Any;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fumehood_core::{Access, Source, SourceError};

use super::FileSource;
use crate::error::{Error, Result};

/// The most parts of a set.
const PART_LIMIT: u32 = 10_000;

/// How the parts of a set are numbered.
pub(super) struct Numbering {
    stem: String,
    first: u32,
    width: usize,
    letters: bool,
}

/// The numbering of a set whose first part `path` is, by its name alone: at least three
/// digits, beginning at 0 or 1, or at least two letters `a`.
pub(super) fn numbered(path: &Path) -> Option<Numbering> {
    let name = path.to_str()?;
    let (stem, number) = name.rsplit_once('.')?;
    let (stem, width) = (stem.into(), number.len());
    if width >= 2 && number.bytes().all(|byte| byte == b'a') {
        return Some(Numbering { stem, first: 0, width, letters: true });
    }
    if width < 3 || !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let first = number.parse().ok().filter(|first| *first <= 1)?;
    Some(Numbering { stem, first, width, letters: false })
}

impl Numbering {
    /// The path of a part; `None` past the last that the ending has room for.
    fn part(&self, number: u32) -> Option<PathBuf> {
        let Self { stem, width, .. } = self;
        if !self.letters {
            return Some(PathBuf::from(format!("{stem}.{number:0width$}")));
        }
        let mut letters = vec![b'a'; *width];
        let mut rest = number;
        for letter in letters.iter_mut().rev() {
            *letter += (rest % 26) as u8;
            rest /= 26;
        }
        let ending = String::from_utf8(letters).ok().filter(|_| rest == 0)?;
        Some(PathBuf::from(format!("{stem}.{ending}")))
    }
}

/// Parts, one behind the other.
#[derive(Debug)]
pub struct SplitSource {
    name: String,
    /// Each part with the offset at which it begins, in order.
    parts: Vec<(u64, FileSource)>,
    size: u64,
    access: Access,
}

impl SplitSource {
    /// The set that begins with `first`; a set of one part is that file.
    pub(super) fn gather(
        first: FileSource,
        path: &Path,
        numbering: &Numbering,
        access: Access,
    ) -> Result<Arc<dyn Source>> {
        let mut size = first.size();
        let mut parts = vec![(0, first)];
        for number in numbering.first + 1..PART_LIMIT {
            let Some(part) = numbering.part(number) else { break };
            let Ok(metadata) = part.symlink_metadata() else { break };
            if metadata.is_symlink() {
                let shown = part.display();
                return Err(Error::Chain(format!(
                    "{shown} is a symbolic link; the parts of a set are files beside the first"
                )));
            }
            let part = FileSource::open(&part, access)?;
            let start = size;
            size += part.size();
            parts.push((start, part));
        }
        if parts.len() == 1 {
            return Ok(Arc::new(parts.remove(0).1));
        }
        let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
        Ok(Arc::new(Self { name, parts, size, access }))
    }

    /// The file that holds `offset`, the offset in it, and how many bytes from
    /// there on it holds.
    pub fn locate(&self, offset: u64) -> Option<(&Arc<File>, u64, u64)> {
        let (start, part) = self.part(offset)?;
        Some((part.file(), offset - start, part.size() - (offset - start)))
    }

    fn part(&self, offset: u64) -> Option<&(u64, FileSource)> {
        let index = self.parts.partition_point(|(start, _)| *start <= offset).checked_sub(1)?;
        let part = &self.parts[index];
        (offset < part.0 + part.1.size()).then_some(part)
    }

    /// Calls `move_part` for each part that a range touches, with the offset in
    /// the part and the range of the caller's buffer.
    fn each_part(
        &self,
        offset: u64,
        length: usize,
        mut move_part: impl FnMut(&FileSource, u64, std::ops::Range<usize>) -> Result<(), SourceError>,
    ) -> Result<(), SourceError> {
        let mut done = 0;
        while done < length {
            let at = offset + done as u64;
            let Some((start, part)) = self.part(at) else {
                return Err(SourceError::Io(format!(
                    "offset {at} of {} lies past its parts' end at {}",
                    self.name, self.size
                )));
            };
            let within = at - start;
            let step = (part.size() - within).min((length - done) as u64) as usize;
            move_part(part, within, done..done + step)?;
            done += step;
        }
        Ok(())
    }
}

impl Source for SplitSource {
    fn name(&self) -> &str {
        &self.name
    }

    fn size(&self) -> u64 {
        self.size
    }

    fn access(&self) -> Access {
        self.access
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), SourceError> {
        self.each_part(offset, buffer.len(), |part, at, range| part.read_at(at, &mut buffer[range]))
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<(), SourceError> {
        if offset.checked_add(bytes.len() as u64).is_none_or(|end| end > self.size) {
            return Err(SourceError::NoSpace(format!("{} is a fixed set of parts", self.name)));
        }
        self.each_part(offset, bytes.len(), |part, at, range| part.write_at(at, &bytes[range]))
    }

    fn resize(&self, _size: u64) -> Result<(), SourceError> {
        Err(SourceError::NoSpace(format!("{} is a fixed set of parts", self.name)))
    }

    fn flush(&self) -> Result<(), SourceError> {
        self.parts.iter().try_for_each(|(_, part)| part.flush())
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_reads_as_its_parts_in_order() {
        let bytes: Vec<u8> = (0..2500u32).map(|byte| byte as u8).collect();
        for endings in [["001", "002", "003"], ["0000", "0001", "0002"], ["aa", "ab", "ac"]] {
            let folder = tempfile::tempdir().unwrap();
            let path = |ending: &str| folder.path().join(format!("disk.{ending}"));
            for (ending, part) in endings.iter().zip(bytes.chunks(1000)) {
                std::fs::write(path(ending), part).unwrap();
            }
            let set = crate::source::open_path(&path(endings[0]), Access::Read).unwrap();
            assert_eq!(set.size(), 2500);
            let mut read = vec![0; 1600];
            set.read_at(700, &mut read).unwrap();
            assert_eq!(read, bytes[700..2300]);
            assert!(set.read_at(2400, &mut [0; 101]).is_err());
        }
    }

    #[test]
    fn letters_carry_as_digits_do() {
        let numbering = numbered(Path::new("x.gz.aa")).unwrap();
        let name = |number| numbering.part(number).map(|path| path.display().to_string());
        assert_eq!(name(27).as_deref(), Some("x.gz.bb"));
        assert_eq!(name(675).as_deref(), Some("x.gz.zz"));
        assert_eq!(name(676), None);
        assert!(numbered(Path::new("x.ab")).is_none() && numbered(Path::new("x.a")).is_none());
    }
}
