//! Keys: from a password to what blocks and metadata are decrypted with.
//!
//! Source: Macrium, *Encryption Implementation Overview*; where its fragments differ from
//! the published reader, as that does it.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use aes::cipher::{BlockCipherDecrypt, BlockCipherEncrypt, KeyInit};
use aes::{Aes128, Aes256};
use fumehood_plugin::{Error, Host, Key, Result};
use hmac::{Hmac, Mac};
use sha2::{Digest as _, Sha256};

use crate::layout::Layout;

/// Rounds of the derivation, over all passwords that are tried: what a call has time for.
const MOST_ROUNDS: u64 = 2_000_000;

/// Of a block cipher.
const BLOCK: usize = 16;

enum Decryptor {
    Short(Aes128),
    Long(Aes256),
}

/// The keys of a set.
pub struct Keys {
    /// By this number the host knows the key of blocks.
    pub number: u32,
    decryptor: Decryptor,
    /// Encrypts vectors.
    essiv: Aes256,
    imageid: [u8; 8],
}

impl Keys {
    /// The keys of an encrypted set, and None for one that is not encrypted.
    ///
    /// # Errors
    /// [`Error::NeedsKey`] without the right password, [`Error::Unsupported`] for ways
    /// of encryption that are not known, [`Error::Corrupt`].
    pub fn derive(layout: &Layout, given: &[Key], host: &dyn Host) -> Result<Option<Self>> {
        let settings = &layout.encryption;
        let length = match (settings.enable, settings.aes_type.as_str()) {
            (_, "" | "none") => return Ok(None),
            (false, kind) => {
                let what = format!("blocks encrypted by {kind:?}, but no encryption");
                return Err(Error::corrupt(0, what));
            }
            (true, "aes-128") => 16,
            (true, "aes-256") => 32,
            (true, "aes-192") => {
                return Err(Error::Unsupported("AES with keys of 192 bits (aes-192)".into()));
            }
            (true, other) => return Err(Error::Unsupported(format!("encryption by {other:?}"))),
        };
        if !matches!(settings.key_derivation.as_str(), "" | "pbkdf2") {
            let what = format!("keys derived by {:?}", settings.key_derivation);
            return Err(Error::Unsupported(what));
        }
        let imageid: [u8; 8] = unhex(&layout.header.imageid)
            .ok_or_else(|| Error::corrupt(0, "an image id that is no 16 hexadecimal digits"))?;
        let hmac: [u8; 32] = unhex(&settings.hmac)
            .ok_or_else(|| Error::corrupt(0, "an HMAC that is no 64 hexadecimal digits"))?;
        let derived = search(layout, given, imageid, hmac)?;
        let (short, _) = derived.split_at(BLOCK);
        let key = if length == 16 { short } else { &derived[..] };
        let wrong = |_| Error::corrupt(0, "a key of a wrong length");
        let decryptor = match length {
            16 => Decryptor::Short(Aes128::new_from_slice(key).map_err(wrong)?),
            _ => Decryptor::Long(Aes256::new_from_slice(key).map_err(wrong)?),
        };
        let essiv = Aes256::new_from_slice(&Sha256::digest(derived)).map_err(wrong)?;
        Ok(Some(Self { number: host.keep_secret(key)?, decryptor, essiv, imageid }))
    }

    /// The vector of a block.
    pub fn vector(&self, disk: i32, partition: i32, index: u32) -> [u8; BLOCK] {
        let [d0, d1, ..] = disk.to_le_bytes();
        let [p0, p1, ..] = partition.to_le_bytes();
        let [i0, i1, i2, i3] = index.to_le_bytes();
        let [a, b, c, d, e, f, g, h] = self.imageid;
        let mut block = [a, b, c, d, e, f, g, h, d0, d1, p0, p1, i0, i1, i2, i3].into();
        self.essiv.encrypt_block(&mut block);
        block.into()
    }

    /// Decrypts the first two blocks of what CBC made, or what there is of them.
    pub fn decrypt_head(&self, vector: [u8; BLOCK], stored: &[u8]) -> Vec<u8> {
        let (blocks, _) = stored.as_chunks::<BLOCK>();
        let mut before = vector;
        let mut out = Vec::with_capacity(2 * BLOCK);
        for block in blocks.iter().take(2) {
            let plain = self.decrypt_block(*block);
            out.extend(plain.iter().zip(before).map(|(byte, mask)| byte ^ mask));
            before = *block;
        }
        out
    }

    /// Decrypts a metadata block: AES in ECB mode.
    ///
    /// # Errors
    /// In words, for a length that is no multiple of a cipher's block.
    pub fn decrypt_metadata(&self, mut bytes: Vec<u8>) -> core::result::Result<Vec<u8>, String> {
        let (blocks, rest) = bytes.as_chunks_mut::<BLOCK>();
        if !rest.is_empty() {
            return Err("an encrypted metadata block of a length that is no multiple of 16".into());
        }
        for block in blocks {
            *block = self.decrypt_block(*block);
        }
        Ok(bytes)
    }

    fn decrypt_block(&self, block: [u8; BLOCK]) -> [u8; BLOCK] {
        let mut block = block.into();
        match &self.decryptor {
            Decryptor::Short(aes) => aes.decrypt_block(&mut block),
            Decryptor::Long(aes) => aes.decrypt_block(&mut block),
        }
        block.into()
    }
}

/// Tries the passwords given.
fn search(layout: &Layout, given: &[Key], imageid: [u8; 8], hmac: [u8; 32]) -> Result<[u8; 32]> {
    let id = &layout.header.imageid;
    let named = |key: &&Key| key.id.is_empty() || key.id.eq_ignore_ascii_case(id);
    let candidates: Vec<&Key> = given.iter().filter(named).collect();
    if candidates.is_empty() {
        return Err(Error::NeedsKey(format!("the image is encrypted; give set {id}'s password")));
    }
    let rounds = layout.encryption.key_iterations;
    if rounds == 0 || rounds > MOST_ROUNDS {
        let what = format!("a key derived in {rounds} rounds; 1 to {MOST_ROUNDS} are supported");
        return Err(Error::Unsupported(what));
    }
    let salt = Sha256::digest(imageid);
    let most = (MOST_ROUNDS / rounds).max(1);
    for key in candidates.into_iter().take(usize::try_from(most).unwrap_or(1)) {
        let mut derived = [0; 32];
        let rounds = u32::try_from(rounds).unwrap_or(u32::MAX);
        pbkdf2::pbkdf2_hmac::<Sha256>(&key.secret, &salt, rounds, &mut derived);
        let mac = <Hmac<Sha256> as KeyInit>::new_from_slice(&derived)
            .map_err(|error| Error::Unsupported(error.to_string()))?;
        if mac.finalize().into_bytes().as_slice() == hmac {
            return Ok(derived);
        }
    }
    Err(Error::NeedsKey(format!("the password given for set {id} is wrong")))
}

/// Bytes from exactly as many hexadecimal digits.
fn unhex<const LENGTH: usize>(text: &str) -> Option<[u8; LENGTH]> {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if pairs.len() != LENGTH || !rest.is_empty() {
        return None;
    }
    let mut bytes = [0; LENGTH];
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
        let digit = |character: u8| char::from(character).to_digit(16);
        *byte = u8::try_from(digit(*high)? * 16 + digit(*low)?).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hexadecimal_is_read_exactly() {
        assert_eq!(unhex("0Af9"), Some([0x0a, 0xf9]));
        for text in ["0A", "0Af", "0Af90", "0Ag9", "+1-1", ""] {
            assert_eq!(unhex::<2>(text), None, "{text}");
        }
    }
}
