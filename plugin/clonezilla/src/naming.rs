//! What the file of a partition may be called: `sda1.ext4-ptcl-img.gz` and its older
//! kin, whole or in pieces.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use crate::compression::Compression;

/// What the streams of a folder may be named after, the likely ones first: file systems as
/// partclone's programs call them, and `dd` for bytes as they are.
const FILE_SYSTEMS: [&str; 29] = [
    "ext4", "ntfs", "vfat", DD, "xfs", "btrfs", "ext3", "ext2", "exfat", "fat32", "fat16", "fat12",
    "fat", "f2fs", "hfsplus", "hfs+", "hfsp", "apfs", "reiserfs", "reiser4", "jfs", "ufs", "minix",
    "nilfs2", "vmfs", "vmfs3", "vmfs5", "vmfs6", "ext4dev",
];
const DD: &str = "dd";

/// Names for one thing: one text says `vfat`, and another `fat32`.
const FAMILIES: [&[&str]; 3] = [
    &["vfat", "fat32", "fat16", "fat12", "fat"],
    &["hfsplus", "hfs+", "hfsp"],
    &["ext4", "ext3", "ext2", "ext4dev"],
];

/// What wrote a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tool {
    /// Used blocks of a file system.
    Partclone,
    /// All bytes as they are.
    Dd,
    /// Not read.
    Ntfsclone,
    /// Not read.
    Partimage,
}

impl Tool {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Partclone => "partclone",
            Self::Dd => DD,
            Self::Ntfsclone => "ntfsclone",
            Self::Partimage => "partimage",
        }
    }
}

/// A name that a partition's file may have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The name of the whole, without the ending of a piece.
    pub stem: String,
    pub tool: Tool,
    /// What the name says of it.
    pub compression: Option<Compression>,
    /// What the name says of it.
    pub file_system: Option<&'static str>,
}

/// How the pieces of a file are called: letters behind a dot, and how many of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Split {
    letters: u32,
}

impl Split {
    /// Whole, and in pieces with endings of two and of three letters.
    pub const ALL: [Self; 3] = [Self { letters: 0 }, Self { letters: 2 }, Self { letters: 3 }];

    /// The most pieces.
    pub fn most(self) -> u32 {
        26u32.pow(self.letters)
    }

    /// Whether there are pieces at all.
    pub fn is_split(self) -> bool {
        self.letters > 0
    }

    /// The name of a piece; `None` behind the last that there may be.
    pub fn piece(self, stem: &str, number: u32) -> Option<String> {
        if number >= self.most() {
            return None;
        }
        let mut name = stem.to_string();
        if self.is_split() {
            name.push('.');
        }
        for place in (0..self.letters).rev() {
            let digit = number / 26u32.pow(place) % 26;
            name.push(char::from(b'a' + digit as u8));
        }
        Some(name)
    }

    /// Whether `name` is that of a piece of `stem`.
    pub fn is_piece(self, stem: &str, name: &str) -> bool {
        let ending = name.strip_prefix(stem).and_then(|rest| rest.strip_prefix('.'));
        ending.is_some_and(|ending| {
            ending.len() as u32 == self.letters
                && ending.bytes().all(|byte| byte.is_ascii_lowercase())
        })
    }
}

/// All names that the file of a partition may have, the likely ones first: by the file
/// system that it is said to hold, and by how other partitions of the image were saved.
pub fn candidates(
    partition: &str,
    file_system: Option<&str>,
    usual: Option<Compression>,
) -> Vec<Candidate> {
    let likely = likely(file_system);
    let mut list = Vec::new();
    let (first, rest) = likely.split_at(likely.len().min(2));
    list.extend(first.iter().flat_map(|name| of_now(partition, name, usual)));
    list.extend(first.iter().map(|name| of_old(partition, name)));
    list.extend(rest.iter().flat_map(|name| of_now(partition, name, usual)));
    list.extend(rest.iter().map(|name| of_old(partition, name)));
    for stem in [partition.to_string(), format!("{partition}.000")] {
        let (compression, file_system) = (None, None);
        list.push(Candidate { stem, tool: Tool::Partimage, compression, file_system });
    }
    list
}

/// The names of file systems: the stated one and `dd`, those of its family, all others.
fn likely(stated: Option<&str>) -> Vec<&'static str> {
    let known = |name: &str| FILE_SYSTEMS.into_iter().find(|own| *own == name);
    let stated = stated.and_then(known);
    let mut list: Vec<&'static str> = stated.into_iter().collect();
    // What has no program of its own is copied byte by byte.
    list.push(DD);
    let families =
        FAMILIES.into_iter().filter(|family| stated.is_some_and(|stated| family.contains(&stated)));
    list.extend(families.flatten().copied());
    list.extend(FILE_SYSTEMS);
    let mut seen = Vec::new();
    list.retain(|name| {
        let new = !seen.contains(name);
        seen.push(*name);
        new
    });
    list
}

/// Names as they are today, with the compression in them.
fn of_now(
    partition: &str,
    file_system: &'static str,
    usual: Option<Compression>,
) -> impl Iterator<Item = Candidate> {
    let base = format!("{partition}.{file_system}-ptcl-img");
    let tool = if file_system == DD { Tool::Dd } else { Tool::Partclone };
    let others = Compression::ALL.into_iter().filter(move |one| Some(*one) != usual);
    usual.into_iter().chain(others).map(Some).chain([None]).map(move |compression| Candidate {
        stem: match compression {
            Some(compression) => format!("{base}.{}", compression.ending()),
            None => base.clone(),
        },
        tool,
        compression,
        file_system: Some(file_system),
    })
}

/// The name as it was before, when the first bytes alone told the compression.
fn of_old(partition: &str, file_system: &'static str) -> Candidate {
    let tool = match file_system {
        DD => Tool::Dd,
        "ntfs" => Tool::Ntfsclone,
        _ => Tool::Partclone,
    };
    let stem = format!("{partition}.{file_system}-img");
    Candidate { stem, tool, compression: None, file_system: Some(file_system) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_count_in_letters() {
        let [whole, two, three] = Split::ALL;
        assert_eq!(whole.piece("x", 0).as_deref(), Some("x"));
        assert_eq!(whole.piece("x", 1), None);
        for (number, name) in [(0, "x.aa"), (25, "x.az"), (26, "x.ba"), (675, "x.zz")] {
            assert_eq!(two.piece("x", number).as_deref(), Some(name));
            assert!(two.is_piece("x", name) && !three.is_piece("x", name));
        }
        assert_eq!(two.piece("x", 676), None);
        assert_eq!(three.piece("x", 26 * 26).as_deref(), Some("x.baa"));
        assert!(
            !two.is_piece("x", "x.a1") && !two.is_piece("x", "y.aa") && !two.is_piece("x", "x")
        );
    }

    #[test]
    fn likely_names_come_first_and_none_twice() {
        let list = candidates("sda1", Some("vfat"), Some(Compression::Zstd));
        let stems: Vec<&str> = list.iter().map(|one| &*one.stem).collect();
        assert_eq!(stems[0], "sda1.vfat-ptcl-img.zst");
        let place = |name: &str| stems.iter().position(|stem| *stem == name).unwrap();
        assert!(place("sda1.dd-ptcl-img.gz") < place("sda1.fat32-ptcl-img.gz"));
        assert!(place("sda1.fat32-ptcl-img.gz") < place("sda1.ext4-ptcl-img.gz"));
        assert_eq!(stems.last(), Some(&"sda1.000"));
        let mut sorted = stems.clone();
        sorted.sort_unstable();
        sorted.dedup();
        assert_eq!(sorted.len(), stems.len());
        assert!(stems.len() < 400);
    }
}
