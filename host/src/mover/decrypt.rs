//! Decrypting stored bytes, in place, by what the extent says.

use aes::cipher::{BlockModeDecrypt, KeyIvInit};
use aes::{Aes128, Aes256};
use aes_gcm::aead::AeadInOut;
use aes_gcm::aead::consts::{U12, U16};
use aes_gcm::{AesGcm, KeyInit};
use fumehood_core::{Cipher, Encryption};

/// Decrypts `bytes` with `key`.
///
/// # Errors
/// What is wrong with them, in words.
pub(super) fn decrypt(encryption: &Encryption, key: &[u8], bytes: &mut [u8]) -> Result<(), String> {
    let vector = &encryption.vector;
    match (encryption.cipher, key.len(), vector.len()) {
        (Cipher::AesCbc, 16, _) => cbc::<cbc::Decryptor<Aes128>>(key, vector, bytes),
        (Cipher::AesCbc, _, _) => cbc::<cbc::Decryptor<Aes256>>(key, vector, bytes),
        (Cipher::AesGcm, 16, 12) => gcm::<AesGcm<Aes128, U12>>(key, encryption, bytes),
        (Cipher::AesGcm, 16, _) => gcm::<AesGcm<Aes128, U16>>(key, encryption, bytes),
        (Cipher::AesGcm, _, 12) => gcm::<AesGcm<Aes256, U12>>(key, encryption, bytes),
        (Cipher::AesGcm, _, _) => gcm::<AesGcm<Aes256, U16>>(key, encryption, bytes),
    }
}

fn cbc<D: KeyIvInit + BlockModeDecrypt>(
    key: &[u8],
    vector: &[u8],
    bytes: &mut [u8],
) -> Result<(), String> {
    let decryptor = D::new_from_slices(key, vector).map_err(|_| "its key has another length")?;
    let length = bytes.len();
    decryptor
        .decrypt_padded::<aes::cipher::block_padding::NoPadding>(bytes)
        .map(drop)
        .map_err(|_| format!("{length} encrypted bytes are not whole blocks"))
}

fn gcm<A: KeyInit + AeadInOut>(
    key: &[u8],
    encryption: &Encryption,
    bytes: &mut [u8],
) -> Result<(), String> {
    let wrong = |_| "its vector or tag has another length";
    let cipher = A::new_from_slice(key).map_err(|_| "its key has another length")?;
    let vector = aes_gcm::aead::Nonce::<A>::try_from(&*encryption.vector).map_err(wrong)?;
    let tag = aes_gcm::aead::Tag::<A>::try_from(&*encryption.tag).map_err(wrong)?;
    cipher
        .decrypt_inout_detached(&vector, &[], bytes.into(), &tag)
        .map_err(|_| "it does not authenticate: it was changed, or the key is another".into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use aes::cipher::BlockModeEncrypt;

    fn encryption(cipher: Cipher, vector: &[u8], tag: &[u8]) -> Encryption {
        Encryption { cipher, key: 0, vector: vector.into(), tag: tag.into() }
    }

    #[test]
    fn the_published_blocks_decrypt() {
        // NIST SP 800-38A, F.2.5: the first block of CBC with a key of 256 bits.
        let key: Vec<u8> = hex("603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4");
        let vector: Vec<u8> = (0..16).collect();
        let mut bytes = hex("f58c4c04d6e5f1ba779eabfb5f7bfbd6");
        let cbc = encryption(Cipher::AesCbc, &vector, &[]);
        decrypt(&cbc, &key, &mut bytes).unwrap();
        assert_eq!(bytes, hex("6bc1bee22e409f96e93d7e117393172a"));
        assert!(decrypt(&cbc, &key, &mut bytes[..15]).is_err(), "no whole block");
    }

    #[test]
    fn a_key_of_128_bits_is_as_good() {
        let (key, vector) = ([7; 16], [9; 16]);
        let mut bytes = *b"sixteen bytes and sixteen more..";
        let plain = bytes;
        cbc::Encryptor::<Aes128>::new_from_slices(&key, &vector)
            .unwrap()
            .encrypt_padded::<aes::cipher::block_padding::NoPadding>(&mut bytes, 32)
            .unwrap();
        decrypt(&encryption(Cipher::AesCbc, &vector, &[]), &key, &mut bytes).unwrap();
        assert_eq!(bytes, plain);
    }

    #[test]
    fn what_was_changed_does_not_authenticate() {
        let (key, vector) = ([7; 32], [9; 16]);
        let mut bytes = *b"any number of bytes";
        let cipher = AesGcm::<Aes256, U16>::new_from_slice(&key).unwrap();
        let tag = cipher
            .encrypt_inout_detached((&vector).into(), &[], bytes.as_mut_slice().into())
            .unwrap();
        let gcm = encryption(Cipher::AesGcm, &vector, &tag);
        let stored = bytes;
        decrypt(&gcm, &key, &mut bytes).unwrap();
        assert_eq!(&bytes, b"any number of bytes");
        for at in 0..stored.len() {
            let mut changed = stored;
            changed[at] ^= 1;
            assert!(decrypt(&gcm, &key, &mut changed).is_err(), "byte {at}");
        }
        assert!(decrypt(&gcm, &[8; 32], &mut { stored }).is_err(), "another key");
    }

    fn hex(text: &str) -> Vec<u8> {
        let digits = |at| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
        (0..text.len()).step_by(2).map(digits).collect()
    }
}
