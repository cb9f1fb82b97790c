//! Walking through the archive, member by member. What members mean is not known here.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use fumehood_plugin::read::read_bytes;
use fumehood_plugin::{Error, Result, Source};

use crate::pax::{Overrides, sparse};
use crate::tar::{BLOCK, Kind, Member};

/// Bytes read at once: the header of a checksum, the checksum, the header of the chunk
/// behind it.
const WINDOW: u64 = 3 * BLOCK;
/// The longest name, or records about a member, that are read.
const MOST_EXTENDED: u64 = 64 << 10;

/// A place in the archive.
#[derive(Debug, Default)]
pub struct Walk {
    at: u64,
    window_at: u64,
    window: Vec<u8>,
}

/// A member and where it lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Its name, with its path in the archive.
    pub name: String,
    /// Whether it is a file.
    pub is_file: bool,
    /// Offset of its header.
    pub header: u64,
    /// Offset of its data.
    pub data: u64,
    /// Length of its data, which is all there.
    pub size: u64,
}

/// What comes next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// A member.
    Member(Found),
    /// The end: of zeroes, or of the file where a member could begin.
    End,
    /// The file ends in the middle of a member.
    Cut,
}

impl Walk {
    /// Where the next header lies.
    pub fn at(&self) -> u64 {
        self.at
    }

    /// The next member.
    ///
    /// # Errors
    /// [`Error::Corrupt`] for what is no header, [`Error::Unsupported`] for members with
    /// holes left out, or what the source answers.
    pub fn next(&mut self, main: &dyn Source) -> Result<Next> {
        let mut overrides = Overrides::default();
        loop {
            let header = self.at;
            if header >= main.size() {
                return Ok(Next::End);
            }
            let Some(block) = self.read(main, header, BLOCK)? else { return Ok(Next::Cut) };
            let Some(member) = Member::parse(&block, header)? else { return Ok(Next::End) };
            let data = header + BLOCK;
            let is_about_next = matches!(member.kind, Kind::LongName | Kind::Extended);
            let stated = overrides.size.filter(|_| !is_about_next);
            let size = stated.unwrap_or(member.size);
            let Some(end) = data.checked_add(size).filter(|end| *end <= main.size()) else {
                return Ok(Next::Cut);
            };
            self.at = end.next_multiple_of(BLOCK);
            match member.kind {
                Kind::LongName => {
                    let bytes = self.extended(main, header, size)?;
                    let name = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
                    overrides.name = Some(String::from_utf8_lossy(name).into_owned());
                }
                Kind::Extended => {
                    let bytes = self.extended(main, header, size)?;
                    overrides.parse(&bytes, header)?;
                }
                Kind::Sparse => return Err(sparse()),
                Kind::File | Kind::Other => {
                    let name = overrides.name.unwrap_or(member.name);
                    // Tools that pack a folder put this before every name.
                    let name = name.strip_prefix("./").map_or(name.clone(), String::from);
                    let is_file = member.kind == Kind::File;
                    return Ok(Next::Member(Found { name, is_file, header, data, size }));
                }
            }
        }
    }

    /// Bytes of a member's data near its header, or `None` past the file's end.
    ///
    /// # Errors
    /// What the source answers.
    pub fn read(&mut self, main: &dyn Source, at: u64, length: u64) -> Result<Option<Vec<u8>>> {
        let fits = at.checked_add(length).is_some_and(|end| end <= main.size());
        if !fits || length > WINDOW {
            return Ok(None);
        }
        if at < self.window_at || at + length > self.window_at + self.window.len() as u64 {
            self.window = read_bytes(main, at, WINDOW.min(main.size() - at), "tar header")?;
            self.window_at = at;
        }
        let from = (at - self.window_at) as usize;
        Ok(self.window.get(from..from + length as usize).map(<[u8]>::to_vec))
    }

    /// The data of the member at `header` that is about the next one.
    fn extended(&self, main: &dyn Source, header: u64, size: u64) -> Result<Vec<u8>> {
        if size > MOST_EXTENDED {
            let what = format!("a name or a pax header of {size} bytes");
            return Err(Error::corrupt(header, what));
        }
        read_bytes(main, header + BLOCK, size, "pax header")
    }
}
