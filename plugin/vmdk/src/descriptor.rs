//! The descriptor (Virtual Disk Format, "The Descriptor"): the text that says what a
//! disk is made of. Extent lines are [`crate::line`]'s.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

use fumehood_plugin::read::read_bytes;
use fumehood_plugin::{Error, Parent, Result, Source};

use crate::line::Line;
use crate::text::{decode, file_name, unquoted};

/// The longest descriptor read, in bytes.
pub const DESCRIPTOR_LIMIT: u64 = 1 << 20;
/// So much of a text is looked at to find its signature.
const SIGNATURE_LIMIT: usize = 4096;
/// The comment by which a descriptor is known, in lower case.
const SIGNATURE: &str = "# disk descriptorfile";
/// The content number that stands for none.
const NO_CONTENT: u32 = u32::MAX;

/// Kinds of disk that lie on a device of the machine they were made on.
const DEVICES: [&str; 6] = [
    "fullDevice",
    "partitionedDevice",
    "vmfsRaw",
    "vmfsRDM",
    "vmfsRawDeviceMap",
    "vmfsPassthroughRawDeviceMap",
];

/// A parsed descriptor.
#[derive(Debug)]
pub struct Descriptor {
    /// All of it, as it stands.
    pub text: String,
    /// Keys and values in order, quotes taken off.
    keys: Vec<(String, String)>,
    /// Its extents, in the order of the disk.
    pub lines: Vec<Line>,
    /// Number of the content.
    content: Option<u32>,
    /// What the disk differs from.
    pub parent: Option<Parent>,
}

/// Whether the first bytes of a file are those of a descriptor: before the signature,
/// itself a comment, only blank lines and comments may stand. Some tools leave it out,
/// and begin with the version.
pub fn begins(head: &[u8]) -> bool {
    let head = decode(head.get(..SIGNATURE_LIMIT).unwrap_or(head));
    for line in head.lines().map(|line| line.trim().to_lowercase()) {
        if line == SIGNATURE {
            return true;
        }
        if !line.is_empty() && !line.starts_with('#') {
            return line.starts_with("version") && head.contains("createType");
        }
    }
    false
}

impl Descriptor {
    /// The descriptor that is a whole source.
    ///
    /// # Errors
    /// As [`Descriptor::read_embedded`].
    pub fn read_file(source: &dyn Source) -> Result<Self> {
        Self::read_embedded(source, 0, source.size())
    }

    /// The descriptor inside of a sparse extent: up to the first NUL in a range. QEMU
    /// writes a new content id over the old one, and leaves the end of a text that was
    /// longer behind a NUL.
    ///
    /// # Errors
    /// As [`Descriptor::parse`]; [`Error::Corrupt`] for a range past the source's end.
    pub fn read_embedded(source: &dyn Source, offset: u64, length: u64) -> Result<Self> {
        let bytes = read_limited(source, offset, length)?;
        let text = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
        Self::parse(text, source.id(), offset)
    }

    /// The descriptor in `bytes`, which stand at `start` of source `id`.
    ///
    /// # Errors
    /// [`Error::Unrecognised`] for another text, [`Error::Unsupported`] for what is not
    /// read, [`Error::Corrupt`] for lines and numbers that are not whole.
    fn parse(bytes: &[u8], id: u32, start: u64) -> Result<Self> {
        if !begins(bytes) {
            return Err(Error::Unrecognised);
        }
        let (mut keys, mut lines) = (vec![], vec![]);
        // Lines end as on any system; text that is not UTF-8 is decoded line by line, so
        // that offsets stay those of the file.
        let mut at = start;
        for raw in bytes.split(|byte| matches!(byte, b'\n' | b'\r')) {
            let line = decode(raw);
            let line = line.trim();
            if line.starts_with('#') {
                // A comment.
            } else if let Some(line) = Line::parse(line, id, at)? {
                lines.push(line);
            } else if let Some((key, value)) = line.split_once('=') {
                keys.push((key.trim().to_string(), unquoted(value).to_string()));
            }
            at += raw.len() as u64 + 1;
        }
        let mut descriptor = Self { text: decode(bytes), keys, lines, content: None, parent: None };
        descriptor.check_support()?;
        descriptor.content = descriptor.number("CID", id, start)?;
        descriptor.parent = descriptor.find_parent(id, start)?;
        Ok(descriptor)
    }

    /// The value of the first key of that name, in any case.
    pub fn get(&self, name: &str) -> Option<&str> {
        let mut keys = self.keys.iter();
        keys.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// What a child records of this disk: its content's number, 8 digits in lower case.
    pub fn identity(&self) -> Option<String> {
        self.content.map(hex)
    }

    /// The kind of disk it names; empty where it names none.
    pub fn create_type(&self) -> &str {
        self.get("createType").unwrap_or("")
    }

    fn check_support(&self) -> Result<()> {
        let encrypted = |key: &str| key.to_lowercase().starts_with("encryption");
        if self.keys.iter().any(|(key, _)| encrypted(key)) {
            return Err(Error::Unsupported("a disk that VMware encrypted".into()));
        }
        let version = self.get("version").unwrap_or("1");
        if !["1", "2", "3"].contains(&version) {
            return Err(Error::Unsupported(format!("a descriptor of version {version}")));
        }
        let kind = self.create_type();
        if DEVICES.iter().any(|device| device.eq_ignore_ascii_case(kind)) {
            return Err(Error::Unsupported(format!("a disk that lies on a device ({kind})")));
        }
        Ok(())
    }

    /// A content's number, in hexadecimal.
    fn number(&self, name: &str, id: u32, start: u64) -> Result<Option<u32>> {
        let Some(text) = self.get(name) else { return Ok(None) };
        let plain = text.chars().all(|digit| digit.is_ascii_hexdigit());
        let number = u32::from_str_radix(text, 16).ok().filter(|_| plain);
        let what = || format!("expected {name} of 8 hexadecimal digits, found {text:?}");
        number.map(Some).ok_or_else(|| Error::corrupt_in(id, start, what()))
    }

    fn find_parent(&self, id: u32, start: u64) -> Result<Option<Parent>> {
        let number = self.number("parentCID", id, start)?;
        let Some(number) = number.filter(|number| *number != NO_CONTENT) else { return Ok(None) };
        let hint = self.get("parentFileNameHint").unwrap_or("");
        let mut references: Vec<String> = Vec::new();
        // The hint may be of another machine; parents mostly lie beside their children.
        for reference in [hint, file_name(hint)] {
            if !reference.is_empty() && !references.iter().any(|known| known == reference) {
                references.push(reference.to_string());
            }
        }
        let identities = vec![hex(number)];
        Ok(Some(Parent { references, identities, format: Some("vmdk".into()) }))
    }
}

fn hex(number: u32) -> String {
    format!("{number:08x}")
}

fn read_limited(source: &dyn Source, offset: u64, length: u64) -> Result<Vec<u8>> {
    if length > DESCRIPTOR_LIMIT {
        let what = format!("a descriptor of {length} bytes; {DESCRIPTOR_LIMIT} are read");
        return Err(Error::corrupt_in(source.id(), offset, what));
    }
    read_bytes(source, offset, length, "descriptor")
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# Disk DescriptorFile\r\nversion=1\r\nCID=52db3b7\r\nparentCID=FFFFFFFF\r\n\
        createType=\"monolithicFlat\"\r\n\r\nRW 2048 FLAT \"a.vmdk\" 0\r\nddb.adapterType = \"ide\"\r\n";

    fn parse(text: &str) -> Result<Descriptor> {
        Descriptor::parse(text.as_bytes(), 0, 0)
    }

    #[test]
    fn keys_and_lines_are_found() {
        let descriptor = parse(TEXT).unwrap();
        assert_eq!(descriptor.identity().unwrap(), "052db3b7");
        assert_eq!(descriptor.parent, None);
        assert_eq!(descriptor.lines.len(), 1);
        assert_eq!(descriptor.get("ddb.adaptertype"), Some("ide"));
    }

    #[test]
    fn a_parent_is_named_by_its_hint_and_by_its_file_name() {
        let child = TEXT.replace("FFFFFFFF", "Ab") + "parentFileNameHint=\"C:\\vm\\base.vmdk\"";
        let parent = parse(&child).unwrap().parent.unwrap();
        assert_eq!(parent.references, ["C:\\vm\\base.vmdk", "base.vmdk"]);
        assert_eq!(parent.identities, ["000000ab"]);
        let lost = parse(&TEXT.replace("FFFFFFFF", "ab")).unwrap().parent.unwrap();
        assert!(lost.references.is_empty());
    }

    #[test]
    fn the_signature_may_follow_comments() {
        assert!(begins(b"\n#!/bin/x\n  # disk descriptorfile \nversion=1"));
        assert!(begins(b"version=1\ncreateType=\"vmfs\"\n"));
        assert!(!begins(b"hello\n# Disk DescriptorFile\n"));
        assert!(!begins(b""));
    }

    #[test]
    fn what_is_not_read_is_refused_by_name() {
        for (from, to, name) in [
            ("version=1", "version=9", "version 9"),
            ("monolithicFlat", "fullDevice", "fullDevice"),
            ("monolithicFlat", "partitionedDevice", "partitionedDevice"),
            ("ddb.adapterType", "encryption.keySafe", "encrypted"),
        ] {
            let found = parse(&TEXT.replace(from, to)).unwrap_err();
            assert!(matches!(&found, Error::Unsupported(what) if what.contains(name)), "{found}");
        }
        for number in ["xyz", "123456789", "", "+1"] {
            let found = parse(&TEXT.replace("52db3b7", number));
            assert!(matches!(found, Err(Error::Corrupt { .. })), "{number}");
        }
    }
}
