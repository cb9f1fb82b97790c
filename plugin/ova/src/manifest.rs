//! The manifest: a digest of each file, one a line (DSP0243, 5.1): `SHA256(name)= hex`.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use fumehood_plugin::DigestKind;

/// A line of the manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    pub name: String,
    /// Which function, in capitals.
    pub function: String,
    pub digest: Vec<u8>,
}

impl Line {
    /// The function, if the host knows it and the digest has its length.
    pub fn kind(&self) -> Option<DigestKind> {
        match (self.function.as_str(), self.digest.len()) {
            ("SHA1", 20) => Some(DigestKind::Sha1),
            ("SHA256", 32) => Some(DigestKind::Sha256),
            _ => None,
        }
    }
}

/// The lines of a manifest; what is none is passed over.
pub fn parse(text: &str) -> Vec<Line> {
    text.lines().filter_map(line).collect()
}

fn line(text: &str) -> Option<Line> {
    let (function, rest) = text.trim().split_once('(')?;
    let (name, hex) = rest.rsplit_once('=')?;
    let name = name.trim_end().strip_suffix(')')?;
    let function = function.trim().to_ascii_uppercase().replace('-', "");
    let digest = digest(hex.trim())?;
    Some(Line { name: name.trim().to_string(), function, digest })
}

fn digest(hex: &str) -> Option<Vec<u8>> {
    let nibbles: Option<Vec<u8>> =
        hex.chars().map(|digit| digit.to_digit(16).map(|digit| digit as u8)).collect();
    let nibbles = nibbles.filter(|list| list.len().is_multiple_of(2))?;
    Some(
        nibbles
            .chunks_exact(2)
            .map(|pair| pair.iter().fold(0, |byte, own| byte << 4 | own))
            .collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_all_writers() {
        let lines = parse(
            "SHA256(a-disk1.vmdk)= 00ff\nSHA1 (b (1).ovf) =AB\r\nSHA-512(c)= 1122\n\nnothing\nSHA1(d)= 1\n\
             SHA1(e)= zz\n",
        );
        let seen: Vec<_> =
            lines.iter().map(|line| (&*line.name, &*line.function, &*line.digest)).collect();
        assert_eq!(
            seen,
            [
                ("a-disk1.vmdk", "SHA256", &[0, 255][..]),
                ("b (1).ovf", "SHA1", &[0xab]),
                ("c", "SHA512", &[0x11, 0x22]),
            ]
        );
        assert!(lines.iter().all(|line| line.kind().is_none()), "of other lengths");
    }
}
