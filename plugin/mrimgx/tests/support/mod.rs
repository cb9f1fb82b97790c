//! What the tests share: sets of files in memory, and reading them as a host does,
//! decryption and digests included.
#![allow(dead_code)]

pub mod writer;

use std::io::Read;

use aes::cipher::{BlockModeDecrypt, KeyIvInit};
use fumehood_mrimgx::Mrimgx;
use fumehood_plugin::memory::{check_answer, read_disk};
use fumehood_plugin::{
    Codec, DigestValue, Disk, Encoded, Encryption, Error, Image, Key, OpenOptions, Result,
};
use fumehood_test_support::Sources;
use md5::{Digest as _, Md5};

/// Files by name, the one that is opened first.
pub type Files = Vec<(String, Vec<u8>)>;

/// A set over memory.
pub struct Set {
    pub sources: Sources,
    pub password: Option<String>,
}

impl Set {
    pub fn new(files: &[(String, Vec<u8>)]) -> Self {
        let (name, bytes) = &files[0];
        Self { sources: Sources::new(name, bytes).beside(&files[1..]), password: None }
    }

    pub fn with_password(mut self, password: &str) -> Self {
        self.password = Some(password.into());
        self
    }

    pub fn open(&self) -> Result<Box<dyn Image>> {
        let key = |password: &String| Key { id: String::new(), secret: password.clone().into() };
        let keys = self.password.iter().map(key).collect();
        let options = OpenOptions { keys, ..OpenOptions::read_only() };
        self.sources.open::<Mrimgx>(options)
    }

    /// The error's text.
    pub fn refusal(&self) -> String {
        match self.open() {
            Ok(_) => panic!("it was not refused"),
            Err(error) => error.to_string(),
        }
    }

    /// Reads a range of a disk; a digest or codec that fails fails the read.
    pub fn read_range(
        &self,
        disk: &mut dyn Disk,
        size: u64,
        from: u64,
        length: u64,
    ) -> Result<Vec<u8>> {
        let find = |id| self.sources.find(id);
        let decode = |encoded: &Encoded, stored: &[u8]| self.decode(encoded, stored);
        read_disk(disk, size, from, length, &find, &decode)
    }

    /// All of the disk with this number.
    pub fn read(&self, number: u32) -> Result<Vec<u8>> {
        let image = self.open()?;
        let size = image.disks()[number as usize].size;
        self.read_range(&mut *image.disk(number)?, size, 0, size)
    }

    pub fn decode(&self, encoded: &Encoded, stored: &[u8]) -> Result<Vec<u8>> {
        let fail = |what: &str| Error::Io(format!("{what} at {}", encoded.offset));
        let stored = match &encoded.encryption {
            None => stored.to_vec(),
            Some(encryption) => self.decrypt(encryption, stored),
        };
        let block = match encoded.codec {
            Codec::Identity => stored,
            Codec::Zstd => {
                let mut block = Vec::new();
                let decoder = ruzstd::decoding::StreamingDecoder::new(&stored[..]);
                let read = decoder.ok().map(|mut decoder| decoder.read_to_end(&mut block));
                read.and_then(|read| read.ok()).ok_or_else(|| fail("broken zstd"))?;
                block
            }
            other => panic!("{other:?}"),
        };
        if block.len() != encoded.decoded_length as usize {
            return Err(fail(&format!("{} bytes, not {},", block.len(), encoded.decoded_length)));
        }
        let digest = encoded.digest.as_ref().expect("every block has a digest");
        let DigestValue::Given(expected) = &digest.value else { panic!() };
        if Md5::digest(&block).as_slice() != &expected[..] {
            return Err(fail("another MD5"));
        }
        Ok(block)
    }

    fn decrypt(&self, encryption: &Encryption, stored: &[u8]) -> Vec<u8> {
        let key = &self.sources.host.secrets()[encryption.key as usize];
        let vector = &encryption.vector;
        let mut bytes = stored.to_vec();
        let (blocks, rest) = bytes.as_chunks_mut::<16>();
        assert!(rest.is_empty());
        if key.len() == 16 {
            let mut cipher = cbc::Decryptor::<aes::Aes128>::new_from_slices(key, vector).unwrap();
            blocks.iter_mut().for_each(|block| cipher.decrypt_block(block.into()));
        } else {
            let mut cipher = cbc::Decryptor::<aes::Aes256>::new_from_slices(key, vector).unwrap();
            blocks.iter_mut().for_each(|block| cipher.decrypt_block(block.into()));
        }
        bytes
    }
}

/// Opens and maps everything, as a host would with a hostile image: whatever comes out
/// must keep the contract.
pub fn survive(set: &Set) -> bool {
    let Ok(image) = set.open() else { return false };
    let _ = image.document("image.json");
    for (number, info) in image.disks().iter().enumerate() {
        let Ok(mut disk) = image.disk(number as u32) else { continue };
        let size = info.size;
        set.sources.walk(&mut *disk, size, 64 << 20, 20).unwrap();
        for at in [size / 2, size - 1] {
            check_answer(&disk.extents(at, 1).unwrap(), at, size).unwrap();
        }
        if size < 1 << 30 {
            let _ = disk.check(false);
        }
    }
    true
}
