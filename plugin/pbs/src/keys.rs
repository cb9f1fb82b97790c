//! The key of a snapshot: found among what the operator gave, told from a wrong one by
//! its fingerprint, and what follows from it.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use fumehood_plugin::{Error, Key, Result};
use hmac::{Hmac, KeyInit, Mac};
use pbkdf2::pbkdf2_hmac;
use sha2::{Digest, Sha256};

use crate::hex::{Hash, hex};
use crate::key_file::KeyFile;

/// Passphrases tried; each can take seconds.
const MOST_TRIES: usize = 2;

/// A key, and the one that is mixed into digests.
#[derive(Clone)]
pub struct BackupKey {
    /// Encrypts.
    pub key: [u8; 32],
    /// Mixed into the digests of encrypted chunks, so that they do not tell contents.
    pub id_key: [u8; 32],
}

impl BackupKey {
    /// The key of those bytes.
    pub fn new(key: [u8; 32]) -> Self {
        let mut id_key = [0; 32];
        pbkdf2_hmac::<Sha256>(&key, b"_id_key", 10, &mut id_key);
        Self { key, id_key }
    }

    /// Tells keys apart without telling them.
    pub fn fingerprint(&self) -> Hash {
        let constant = Sha256::digest(b"Proxmox Backup Encryption Key Fingerprint");
        Sha256::new().chain_update(constant).chain_update(self.id_key).finalize().into()
    }

    /// Whether `signature` is this key's over `text`.
    pub fn signed(&self, text: &[u8], signature: &Hash) -> bool {
        Hmac::<Sha256>::new_from_slice(&self.id_key)
            .is_ok_and(|mac| mac.chain_update(text).verify_slice(signature).is_ok())
    }
}

/// The key among `given`; `None` where nothing was given. With `fingerprint`, it is
/// the one of that fingerprint.
///
/// # Errors
/// [`Error::NeedsKey`] where what was given does not yield the key, and
/// [`Error::Unsupported`] for key files that cannot be opened here.
pub fn find(given: &[Key], fingerprint: Option<&Hash>) -> Result<Option<BackupKey>> {
    let (mut files, mut others) = (Vec::new(), Vec::new());
    for key in given {
        match KeyFile::parse(&key.secret)? {
            Some(file) => files.push(file),
            None => others.push(&*key.secret),
        }
    }
    if files.is_empty() && others.is_empty() {
        return Ok(None);
    }
    let mut wrong = Vec::new();
    for key in candidates(&files, &others)? {
        let key = BackupKey::new(key);
        match fingerprint {
            Some(expected) if key.fingerprint() != *expected => {
                wrong.push(brief(&key.fingerprint()))
            }
            _ => return Ok(Some(key)),
        }
    }
    let expected = fingerprint.map(brief).unwrap_or_default();
    Err(Error::NeedsKey(match wrong.as_slice() {
        [] => "none of the keys given is a key file, or 32 bytes".into(),
        _ => format!("the one with fingerprint {expected}; given was {}", wrong.join(", ")),
    }))
}

/// The keys in `files`, opened with `others` where they need a passphrase; or those of
/// `others` that are just a key.
fn candidates(files: &[KeyFile], others: &[&[u8]]) -> Result<Vec<[u8; 32]>> {
    if files.is_empty() {
        return Ok(others.iter().filter_map(|bytes| (*bytes).try_into().ok()).collect());
    }
    let mut keys = Vec::new();
    let (mut tries, mut locked) = (0, None);
    for file in files {
        if !file.is_protected() {
            keys.extend(file.key(&[]));
            locked = locked
                .or(Some("the key file holds no key of 32 bytes"))
                .filter(|_| keys.is_empty());
            continue;
        }
        locked = Some("the key file's passphrase, as a second key");
        for passphrase in others {
            if tries >= MOST_TRIES {
                break;
            }
            tries += 1;
            locked = Some("the key file's passphrase; the one given is another");
            if let Some(key) = file.key(passphrase) {
                keys.push(key);
                break;
            }
        }
    }
    match locked {
        Some(what) if keys.is_empty() => Err(Error::NeedsKey(what.into())),
        _ => Ok(keys),
    }
}

/// The part of a fingerprint that people compare.
pub fn brief(fingerprint: &Hash) -> String {
    let digits: Vec<String> = fingerprint.iter().take(8).map(|byte| hex(&[*byte])).collect();
    digits.join(":")
}
