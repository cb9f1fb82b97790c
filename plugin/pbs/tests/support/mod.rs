//! What the integration tests share: a datastore built by hand, opening over memory, and
//! carrying out extents as the host does.
#![allow(dead_code)]

use std::collections::BTreeMap;
use std::rc::Rc;

use aes_gcm::AesGcm;
use aes_gcm::aead::consts::U16;
use aes_gcm::aead::{AeadInOut, KeyInit};
use aes_gcm::aes::Aes256;
use fumehood_pbs::Pbs;
use fumehood_plugin::memory::{MemoryHost, MemorySource};
use fumehood_plugin::{
    Codec, DigestKind, DigestValue, Encoded, Error, Image, Key, OpenOptions, Result,
};
use fumehood_test_support::Sources;
use fumehood_test_support::tool::try_filter;
use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};

pub type Cipher = AesGcm<Aes256, U16>;

pub const CHUNK: usize = 4096;
pub const KEY: [u8; 32] = *b"a key that is thirty-two bytes. ";
const MAGICS: [[u8; 8]; 4] = [
    [66, 171, 56, 7, 190, 131, 112, 161],
    [49, 185, 88, 66, 111, 182, 163, 127],
    [123, 103, 133, 190, 34, 45, 76, 240],
    [230, 89, 27, 191, 11, 191, 216, 11],
];

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub fn unhex(text: &str) -> Vec<u8> {
    let digit = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
    (0..text.len()).step_by(2).map(digit).collect()
}

pub fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    parts.iter().fold(Sha256::new(), |sum, part| sum.chain_update(part)).finalize().into()
}

/// HMAC, by its definition where the key is short.
fn hmac(key: &[u8], text: &[u8]) -> [u8; 32] {
    let mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.chain_update(text).finalize().into_bytes().into()
}

pub fn id_key(key: &[u8; 32]) -> [u8; 32] {
    // PBKDF2 of one block, by its definition.
    let mut round = hmac(key, b"_id_key\0\0\0\x01");
    let mut sum = round;
    for _ in 1..10 {
        round = hmac(key, &round);
        sum.iter_mut().zip(round).for_each(|(sum, byte)| *sum ^= byte);
    }
    sum
}

pub fn fingerprint(key: &[u8; 32]) -> String {
    let constant = sha256(&[b"Proxmox Backup Encryption Key Fingerprint"]);
    let hash = sha256(&[&constant, &id_key(key)]);
    hash.map(|byte| format!("{byte:02x}")).join(":")
}

fn crc(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| {
            if sum & 1 == 1 { sum >> 1 ^ 0xedb8_8320 } else { sum >> 1 }
        })
    })
}

/// A frame of blocks that are stored or one byte repeated, by hand.
fn frame(data: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0xa0];
    frame.extend((data.len() as u32).to_le_bytes());
    let blocks = data.chunks(1024).count();
    for (number, block) in data.chunks(1024).enumerate() {
        let repeated = block.iter().all(|byte| *byte == block[0]);
        let last = u32::from(number + 1 == blocks);
        let header = last | u32::from(repeated) << 1 | (block.len() as u32) << 3;
        frame.extend(&header.to_le_bytes()[..3]);
        frame.extend(if repeated { &block[..1] } else { block });
    }
    frame
}

/// Wraps data up.
pub fn blob(data: &[u8], compress: bool, key: Option<&[u8; 32]>) -> Vec<u8> {
    let mut data = if compress { frame(data) } else { data.to_vec() };
    let mut bytes = MAGICS[usize::from(compress) + 2 * usize::from(key.is_some())].to_vec();
    let Some(key) = key else {
        bytes.extend(crc(&data).to_le_bytes());
        return [bytes, data].concat();
    };
    let vector: [u8; 16] = sha256(&[&data])[..16].try_into().unwrap();
    let sealer = Cipher::new(key.into());
    let tag =
        sealer.encrypt_inout_detached((&vector).into(), &[], data.as_mut_slice().into()).unwrap();
    bytes.extend(crc(&data).to_le_bytes());
    [bytes, vector.to_vec(), tag.to_vec(), data].concat()
}

/// What a disk is made of, a letter a chunk: `0` zeroes, `t` text, `n` noise.
pub fn contents(map: &str, tail: usize) -> Vec<u8> {
    let mut disk = Vec::new();
    for (number, letter) in map.bytes().enumerate() {
        match letter {
            b'0' => disk.resize(disk.len() + CHUNK, 0),
            b't' => disk.resize(disk.len() + CHUNK, b'a' + number as u8),
            _ => {
                let noise = (0..CHUNK / 32).flat_map(|at| sha256(&[&[number as u8], &[at as u8]]));
                disk.extend(noise);
            }
        }
    }
    disk.truncate(disk.len() - CHUNK + tail);
    disk
}

/// A snapshot in a datastore: its files by the names under which it asks for them.
#[derive(Clone, Default)]
pub struct Snapshot {
    pub files: BTreeMap<String, Vec<u8>>,
    listed: Vec<String>,
    key: Option<[u8; 32]>,
    /// How far above the datastore is.
    up: String,
}

impl Snapshot {
    pub fn new(key: Option<[u8; 32]>, namespaces: usize) -> Self {
        let up = "../".repeat(3 + 2 * namespaces);
        Self { key, up, ..Self::default() }
    }

    pub fn chunk_name(&self, data: &[u8]) -> String {
        let id_key = self.key.map(|key| id_key(&key));
        let digest = sha256(&[data, id_key.as_ref().map_or(&[], |key| &key[..])]);
        let name = hex(&digest);
        format!("{}.chunks/{}/{name}", self.up, &name[..4])
    }

    fn mode(&self) -> &'static str {
        if self.key.is_some() { "encrypt" } else { "none" }
    }

    pub fn list(&mut self, name: &str, size: usize, digest: &[u8], mode: &str) {
        self.listed.push(format!(
            r#"{{"filename":"{name}","size":{size},"csum":"{}","crypt-mode":"{mode}"}}"#,
            hex(digest)
        ));
    }

    /// Adds a disk; chunks that are the same byte throughout are compressed.
    pub fn disk(mut self, name: &str, data: &[u8]) -> Self {
        let mut digests = Vec::new();
        for chunk in data.chunks(CHUNK) {
            let path = self.chunk_name(chunk);
            digests.extend(unhex(path.rsplit('/').next().unwrap()));
            let compress = chunk.iter().all(|byte| *byte == chunk[0]);
            self.files.insert(path, blob(chunk, compress, self.key.as_ref()));
        }
        let name = format!("{name}.img.fidx");
        self.list(&name, data.len(), &sha256(&[&digests]), self.mode());
        self.files.insert(name, index(data.len() as u64, CHUNK as u64, &digests));
        self
    }

    pub fn document(mut self, name: &str, data: &[u8]) -> Self {
        let bytes = blob(data, true, self.key.as_ref());
        let name = format!("{name}.blob");
        self.list(&name, bytes.len(), &sha256(&[&bytes]), self.mode());
        self.files.insert(name, bytes);
        self
    }

    /// The manifest's text.
    pub fn manifest(&self) -> String {
        let files: Vec<String> = self.listed.iter().map(|file| sorted(file)).collect();
        let body = |files: &[String]| {
            let time = r#""backup-id":"100","backup-time":1704164645,"backup-type":"vm""#;
            format!(r#"{{{time},"files":[{}]"#, files.join(","))
        };
        let mut text = body(&self.listed);
        let mut unprotected = r#""notes":"two\nlines""#.to_string();
        if let Some(key) = &self.key {
            let signature = hmac(&id_key(key), format!("{}}}", body(&files)).as_bytes());
            text += &format!(r#","signature":"{}""#, hex(&signature));
            unprotected += &format!(r#","key-fingerprint":"{}""#, fingerprint(key));
        }
        format!(r#"{text},"unprotected":{{{unprotected}}}}}"#)
    }

    pub fn host(&self) -> Rc<MemoryHost> {
        let host = MemoryHost::new();
        for (name, bytes) in &self.files {
            host.grant(name, bytes.clone());
        }
        Rc::new(host)
    }

    pub fn opened(&self, keys: &[&[u8]]) -> Result<Opened> {
        self.opened_as("index.json.blob", blob(self.manifest().as_bytes(), true, None), keys, &[])
    }

    /// Opens one of its indexes, with the manifest beside it if there is one.
    pub fn opened_index(&self, name: &str, keys: &[&[u8]]) -> Result<Opened> {
        self.opened_as(name, self.files[name].clone(), keys, &[])
    }

    pub fn opened_as(
        &self,
        name: &str,
        main: Vec<u8>,
        keys: &[&[u8]],
        settings: &[(&str, &str)],
    ) -> Result<Opened> {
        let main = Rc::new(MemorySource::new(0, name, main));
        let sources = Sources { main, host: self.host() };
        let keys = keys.iter().map(|key| Key { id: String::new(), secret: key.to_vec() });
        let options = OpenOptions {
            keys: keys.collect(),
            settings: fumehood_test_support::settings(settings),
            ..OpenOptions::read_only()
        };
        let image = sources.open::<Pbs>(options)?;
        Ok(Opened { image, sources })
    }
}

/// A file of the manifest as it is signed: its fields sorted.
fn sorted(file: &str) -> String {
    let mut fields: Vec<&str> = file[1..file.len() - 1].split(',').collect();
    fields.sort_unstable();
    format!("{{{}}}", fields.join(","))
}

pub fn index(size: u64, chunk: u64, digests: &[u8]) -> Vec<u8> {
    let mut bytes = vec![47, 127, 65, 237, 145, 253, 15, 205];
    bytes.extend(*b"sixteen letters.");
    bytes.extend(1_704_164_645u64.to_le_bytes());
    bytes.extend(sha256(&[digests]));
    bytes.extend(size.to_le_bytes());
    bytes.extend(chunk.to_le_bytes());
    bytes.resize(4096, 0);
    bytes.extend(digests);
    bytes
}

pub struct Opened {
    pub image: Box<dyn Image>,
    pub sources: Sources,
}

impl Opened {
    /// All of a disk, every digest and tag compared.
    pub fn read(&self, number: u32) -> Result<Vec<u8>> {
        self.range(number, 0, u64::MAX)
    }

    pub fn range(&self, number: u32, offset: u64, length: u64) -> Result<Vec<u8>> {
        let decode = |block: &Encoded, stored: &[u8]| self.decode(block, stored);
        self.sources.read(&*self.image, number, offset, length, &decode)
    }

    fn decode(&self, block: &Encoded, stored: &[u8]) -> Result<Vec<u8>> {
        let mut bytes = stored.to_vec();
        if let Some(encryption) = &block.encryption {
            let key: [u8; 32] =
                self.sources.host.secrets()[encryption.key as usize].as_slice().try_into().unwrap();
            let vector: [u8; 16] = encryption.vector.as_slice().try_into().unwrap();
            let tag: [u8; 16] = encryption.tag.as_slice().try_into().unwrap();
            Cipher::new((&key).into())
                .decrypt_inout_detached(
                    (&vector).into(),
                    &[],
                    bytes.as_mut_slice().into(),
                    (&tag).into(),
                )
                .map_err(|_| Error::Io("it does not decrypt".into()))?;
        }
        if block.codec == Codec::Zstd {
            bytes = unpack(&bytes)?;
        }
        if bytes.len() != block.decoded_length as usize {
            return Err(Error::Io("another length".into()));
        }
        match &block.digest {
            None => assert!(block.encryption.is_some(), "neither digest nor tag"),
            Some(digest) => {
                assert_eq!((digest.kind, digest.over_decoded), (DigestKind::Sha256, true));
                if digest.value != DigestValue::Given(sha256(&[&bytes]).to_vec()) {
                    return Err(Error::Io("digest".into()));
                }
            }
        }
        Ok(bytes)
    }
}

fn unpack(frame: &[u8]) -> Result<Vec<u8>> {
    try_filter("zstd", &["-dcq"], frame).ok_or(Error::Io("no frame".into()))
}
