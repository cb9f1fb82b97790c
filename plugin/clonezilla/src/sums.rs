//! The folder's own list of its files: `MD5SUMS` and its kin, where they were asked for.

use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use fumehood_plugin::{DigestKind, DiskDigest, Result};

use crate::folder::Folder;
use crate::names::is_plain;

/// Lists of digests, with what the host can compare of them and its length in bytes.
pub const LISTS: [(&str, Option<(DigestKind, usize)>); 4] = [
    ("MD5SUMS", Some((DigestKind::Md5, 16))),
    ("SHA1SUMS", Some((DigestKind::Sha1, 20))),
    ("SHA256SUMS", Some((DigestKind::Sha256, 32))),
    ("B2SUMS", None),
];

/// The longest list that is read: a line for each of at most 17,576 pieces.
const LIST_LIMIT: u64 = 4 << 20;
/// The most files that are kept in mind. Without its line a file is found, too.
const FILES_LIMIT: usize = 40_000;

/// Files that the folder had when it was saved, and their digests.
#[derive(Debug, Default)]
pub struct Sums {
    files: BTreeMap<String, Vec<DiskDigest>>,
}

impl Sums {
    /// What the lists in `folder` say.
    ///
    /// # Errors
    /// As [`Folder::text`].
    pub fn read(folder: &Folder) -> Result<Self> {
        let mut sums = Self::default();
        for (list, kind) in LISTS {
            if let Some(text) = folder.text(list, LIST_LIMIT)? {
                text.lines().for_each(|line| sums.add(line, kind));
            }
        }
        Ok(sums)
    }

    /// A line: a digest, a space, a space or a star, a name.
    fn add(&mut self, line: &str, kind: Option<(DigestKind, usize)>) {
        let Some((digest, name)) = line.split_once(' ') else { return };
        let name = name.trim_start_matches([' ', '*']).trim_end();
        let name = name.strip_prefix("./").unwrap_or(name);
        let Some(value) = bytes_of(digest).filter(|_| is_plain(name)) else { return };
        if self.files.len() >= FILES_LIMIT && !self.has(name) {
            return;
        }
        let digests = self.files.entry(name.to_string()).or_default();
        let kind = kind.filter(|(_, length)| *length == value.len());
        digests.extend(kind.map(|(kind, _)| DiskDigest { kind, value }));
    }

    /// Whether a file is listed.
    pub fn has(&self, name: &str) -> bool {
        self.files.contains_key(name)
    }

    /// The digests of a file.
    pub fn of(&self, name: &str) -> Vec<DiskDigest> {
        self.files.get(name).cloned().unwrap_or_default()
    }

    /// The listed files whose names are `first` or come after it.
    pub fn names_from(&self, first: &str) -> impl Iterator<Item = &str> {
        self.files.range(first.to_string()..).map(|(name, _)| &**name)
    }
}

/// The bytes that hexadecimal digits stand for.
fn bytes_of(digits: &str) -> Option<Vec<u8>> {
    let pairs = digits.as_bytes().chunks(2);
    let byte = |pair: &[u8]| match pair {
        [high, low] => {
            let digit = |letter: &u8| char::from(*letter).to_digit(16);
            u8::try_from(digit(high)? << 4 | digit(low)?).ok()
        }
        _ => None,
    };
    pairs.map(byte).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_both_kinds_are_read() {
        let mut sums = Sums::default();
        for line in ["0aFF  a.aa", "00 *./b", "00  ../c", "0  d", "xy  e", "", "00"] {
            sums.add(line, Some((DigestKind::Md5, 2)));
        }
        sums.add("01  a.aa", None);
        assert_eq!(sums.of("a.aa"), [DiskDigest { kind: DigestKind::Md5, value: vec![10, 255] }]);
        assert!(sums.has("b") && sums.of("c").is_empty());
        assert_eq!(sums.names_from("a.ab").collect::<Vec<_>>(), ["b"]);
    }
}
