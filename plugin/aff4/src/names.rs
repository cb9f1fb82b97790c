//! Names of members and what they stand for: the URN of an object, and of a stream's
//! segments which of them.
//!
//! Source: AFF4 Standard v1.0a, sections 3.1, 5.1, 5.2 and 6.2; names of block hashes as
//! in its reference images.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use fumehood_plugin::DigestKind;

/// Begins every URN of an object.
pub const SCHEME: &str = "aff4://";
/// Names of members longer than this are of no interest.
pub const MOST_NAME: usize = 1024;
/// Digits of a segment's number, at least.
const DIGITS: usize = 8;
/// Digits of a number that still fits.
const MOST_DIGITS: usize = 18;

/// The URN of the member `name` of the volume `volume`; `None` where it is no text.
pub fn urn(name: &[u8], volume: &str) -> Option<String> {
    if name.len() > MOST_NAME {
        return None;
    }
    let name = String::from_utf8(unescape(name)).ok()?;
    if name.starts_with(SCHEME) {
        return Some(name);
    }
    Some(format!("{volume}/{}", name.trim_start_matches('/')))
}

/// `%3A` becomes a colon, and so on.
fn unescape(name: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(name.len());
    let mut rest = name;
    while let Some((byte, behind)) = rest.split_first() {
        let escaped = behind.split_first_chunk().filter(|_| *byte == b'%');
        match escaped.and_then(|(digits, behind)| Some((hex_byte(digits)?, behind))) {
            Some((byte, behind)) => {
                bytes.push(byte);
                rest = behind;
            }
            None => {
                bytes.push(*byte);
                rest = behind;
            }
        }
    }
    bytes
}

/// Two hexadecimal digits.
pub fn hex_byte(digits: &[u8; 2]) -> Option<u8> {
    let [high, low] = digits.map(|digit| char::from(digit).to_digit(16));
    u8::try_from(high? << 4 | low?).ok()
}

/// What a member is of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The chunks, one behind the other.
    Chunks,
    /// Where each chunk lies in it.
    Index,
    /// The same before the standard: where each chunk ends.
    OldIndex,
    /// A digest of each chunk.
    Hashes(DigestKind),
}

/// A segment ("bevy") of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment<'a> {
    /// The stream's URN.
    pub stream: &'a str,
    /// Counted from 0.
    pub number: u64,
    /// What the member is of it.
    pub part: Part,
}

impl<'a> Segment<'a> {
    /// The segment that the member of this URN belongs to, if it does.
    pub fn of(urn: &'a str) -> Option<Self> {
        let (parent, last) = urn.rsplit_once('/')?;
        let named = last.split_once('.');
        let named = named.and_then(|(number, ending)| Some((number_of(number)?, ending)));
        if let Some((number, ending)) = named {
            let part = if ending == "index" { Part::Index } else { Part::Hashes(kind(ending)?) };
            return Some(Self { stream: parent, number, part });
        }
        if let Some(number) = number_of(last) {
            return Some(Self { stream: parent, number, part: Part::Chunks });
        }
        let (stream, number) = parent.rsplit_once('/')?;
        let part = if last == "index" { Part::OldIndex } else { Part::Hashes(kind(last)?) };
        Some(Self { stream, number: number_of(number)?, part })
    }
}

fn number_of(digits: &str) -> Option<u64> {
    let fits = (DIGITS..=MOST_DIGITS).contains(&digits.len());
    (fits && digits.bytes().all(|digit| digit.is_ascii_digit())).then(|| digits.parse().ok())?
}

/// The function of a member of block hashes, where the host has it.
fn kind(ending: &str) -> Option<DigestKind> {
    match ending.strip_prefix("blockHash.").unwrap_or(ending) {
        "md5" => Some(DigestKind::Md5),
        "sha1" => Some(DigestKind::Sha1),
        "sha256" => Some(DigestKind::Sha256),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_urns() {
        let urn = |name: &str| urn(name.as_bytes(), "aff4://v").unwrap();
        assert_eq!(urn("aff4%3A%2F%2Fa-b/00000000.index"), "aff4://a-b/00000000.index");
        assert_eq!(urn("aff4%3a%2f%2fa-b/map"), "aff4://a-b/map");
        assert_eq!(urn("version.txt"), "aff4://v/version.txt");
        assert_eq!(urn("/disk%20a/100%/idx%2"), "aff4://v/disk a/100%/idx%2");
        assert_eq!(super::urn(b"\xff", "aff4://v"), None);
        assert_eq!(super::urn(&[b'a'; 2000], "aff4://v"), None);
    }

    #[test]
    fn segments_are_told_apart() {
        let find = |urn| Segment::of(urn).map(|found| (found.stream, found.number, found.part));
        assert_eq!(find("aff4://a/00000012"), Some(("aff4://a", 12, Part::Chunks)));
        assert_eq!(find("aff4://a/b/00000000.index"), Some(("aff4://a/b", 0, Part::Index)));
        assert_eq!(find("aff4://a/00000000/index"), Some(("aff4://a", 0, Part::OldIndex)));
        let hashes = Part::Hashes(DigestKind::Sha1);
        assert_eq!(find("aff4://a/00000000.blockHash.sha1"), Some(("aff4://a", 0, hashes)));
        assert_eq!(find("aff4://a/00000000.sha1"), Some(("aff4://a", 0, hashes)));
        assert_eq!(find("aff4://a/00000000/blockHash.sha1"), Some(("aff4://a", 0, hashes)));
        for other in [
            "aff4://a/map",
            "aff4://a/0000000",
            "aff4://a/00000000.blake2b",
            "aff4://a/0000000x",
            "aff4://a/9999999999999999999",
            "00000000",
            "",
        ] {
            assert_eq!(find(other), None, "{other}");
        }
    }
}
