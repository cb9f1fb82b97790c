//! The manifest, `index.json`: which files make the snapshot, how each is protected,
//! and which key it takes.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use fumehood_plugin::{Error, Result};
use serde_json::Value;

use crate::hex::{self, Hash};
use crate::keys::BackupKey;

/// The most files of a snapshot.
const MOST_FILES: usize = 1024;

/// How a file is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Not encrypted.
    Plain,
    /// Not encrypted, and covered by the manifest's signature.
    Signed,
    /// Encrypted.
    Encrypted,
}

impl Mode {
    /// Its name, for people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "none",
            Self::Signed => "sign-only",
            Self::Encrypted => "encrypt",
        }
    }
}

/// A file of the snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Its name in the snapshot's folder; one name, no path.
    pub name: String,
    /// Its size; for an index, the disk's.
    pub size: u64,
    /// Its digest; for an index, that over its digests.
    pub checksum: Hash,
    /// How it is protected.
    pub mode: Mode,
}

/// A manifest.
pub struct Manifest {
    /// Its text.
    pub text: Vec<u8>,
    /// The files, in its order.
    pub files: Vec<File>,
    /// The fingerprint of the key that it takes.
    pub fingerprint: Option<Hash>,
    value: Value,
}

impl Manifest {
    /// Parses the text of a manifest.
    ///
    /// # Errors
    /// [`Error::Unrecognised`] for what is none, [`Error::Corrupt`] for names that are
    /// paths, and fields that are not what they must be.
    pub fn parse(text: Vec<u8>) -> Result<Self> {
        let value: Value = serde_json::from_slice(&text).map_err(|_| Error::Unrecognised)?;
        let list = value.get("files").and_then(Value::as_array).ok_or(Error::Unrecognised)?;
        value.get("backup-type").ok_or(Error::Unrecognised)?;
        if list.len() > MOST_FILES {
            let what = format!("a snapshot of {} files; up to {MOST_FILES} are read", list.len());
            return Err(Error::Unsupported(what));
        }
        let mut files: Vec<File> = Vec::with_capacity(list.len());
        for entry in list {
            let file = file(entry)?;
            if files.iter().any(|other| other.name == file.name) {
                return Err(corrupt(format!("two files named {}", file.name)));
            }
            files.push(file);
        }
        let fingerprint = value.pointer("/unprotected/key-fingerprint").filter(|it| !it.is_null());
        let fingerprint =
            match fingerprint {
                None => None,
                Some(value) => Some(value.as_str().and_then(hex::parse).ok_or_else(|| {
                    corrupt(format!("expected a key's fingerprint, found {value}"))
                })?),
            };
        Ok(Self { text, files, fingerprint, value })
    }

    /// The file of that name.
    pub fn file(&self, name: &str) -> Option<&File> {
        self.files.iter().find(|file| file.name == name)
    }

    /// Whether a part of it takes a key.
    pub fn is_encrypted(&self) -> bool {
        self.files.iter().any(|file| file.mode == Mode::Encrypted)
    }

    /// Whether it is signed.
    pub fn is_signed(&self) -> bool {
        self.value.get("signature").is_some_and(Value::is_string)
    }

    /// That its signature, if it has one, is `key`'s.
    ///
    /// # Errors
    /// [`Error::Corrupt`] where it is not: the manifest was changed by someone without
    /// the key.
    pub fn check_signature(&self, key: &BackupKey) -> Result<()> {
        let Some(text) = self.value.get("signature").and_then(Value::as_str) else { return Ok(()) };
        let wrong = || corrupt("its signature is not that of the key: it was changed".into());
        let signature = hex::parse(text).ok_or_else(wrong)?;
        let mut signed = self.value.clone();
        if let Some(object) = signed.as_object_mut() {
            object.remove("signature");
            object.remove("unprotected");
        }
        // Sorted by name and without spaces, which is how it is signed.
        if key.signed(signed.to_string().as_bytes(), &signature) { Ok(()) } else { Err(wrong()) }
    }

    /// A field of text.
    pub fn text_of(&self, pointer: &str) -> Option<&str> {
        self.value.pointer(pointer).and_then(Value::as_str)
    }

    /// Seconds since 1970 at which the snapshot was made.
    pub fn time(&self) -> Option<i64> {
        self.value.get("backup-time").and_then(Value::as_i64)
    }
}

fn file(entry: &Value) -> Result<File> {
    let field = |name: &str| entry.get(name).and_then(Value::as_str);
    let name = field("filename").ok_or_else(|| corrupt("a file without a name".into()))?;
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "-_.".contains(letter);
    if name.is_empty() || name.starts_with('.') || name.len() > 255 || !name.chars().all(plain) {
        let shown: String = name.chars().take(64).collect();
        return Err(corrupt(format!("expected the name of a file, found {shown:?}")));
    }
    let wrong = |what: &str| corrupt(format!("{name} without its {what}"));
    let size = entry.get("size").and_then(Value::as_u64).ok_or_else(|| wrong("size"))?;
    let checksum = field("csum").and_then(hex::parse).ok_or_else(|| wrong("digest"))?;
    let mode = match field("crypt-mode") {
        None | Some("none") => Mode::Plain,
        Some("sign-only") => Mode::Signed,
        Some("encrypt") => Mode::Encrypted,
        Some(other) => {
            let shown: String = other.chars().take(64).collect();
            return Err(Error::Unsupported(format!("{name} with crypt-mode {shown:?}")));
        }
    };
    Ok(File { name: name.into(), size, checksum, mode })
}

fn corrupt(what: String) -> Error {
    Error::corrupt(0, format!("the manifest: {what}"))
}
