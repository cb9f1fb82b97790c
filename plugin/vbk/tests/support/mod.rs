//! What the tests share: opening an archive over memory, and reading its disks as a
//! host does, digests included.
#![allow(dead_code)]

pub mod writer;

use fumehood_plugin::{Codec, DigestValue, Encoded, Error, Image, OpenOptions, Result};
use fumehood_test_support::Sources;
use fumehood_vbk::Vbk;
use md5::{Digest as _, Md5};

fn sources(bytes: &[u8]) -> Sources {
    Sources::new("backup.vbk", bytes)
}

pub fn open(bytes: &[u8]) -> Result<Box<dyn Image>> {
    sources(bytes).open::<Vbk>(OpenOptions::read_only())
}

/// All of the disk with this number; a digest that fails fails the read.
pub fn read(bytes: &[u8], image: &dyn Image, number: u32) -> Result<Vec<u8>> {
    sources(bytes).read(image, number, 0, u64::MAX, &decode)
}

fn decode(encoded: &Encoded, stored: &[u8]) -> Result<Vec<u8>> {
    let length = encoded.decoded_length as usize;
    let fail = |what: &str| Error::Io(format!("{what} at {}", encoded.offset));
    let block = match encoded.codec {
        Codec::Identity => stored.to_vec(),
        Codec::Lz4 => {
            lz4_flex::block::decompress(stored, length).map_err(|_| fail("broken LZ4"))?
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(block.len(), length);
    let Some(DigestValue::Given(expected)) = encoded.digest.as_ref().map(|it| &it.value) else {
        panic!("every block has a digest")
    };
    if Md5::digest(&block).as_slice() != &expected[..] {
        return Err(fail("another MD5"));
    }
    Ok(block)
}

/// Opens and maps everything, as a host would with a hostile archive: whatever comes
/// out must keep the contract.
pub fn survive(bytes: &[u8]) -> bool {
    let Ok(image) = open(bytes) else { return false };
    for name in &image.info().documents {
        let _ = image.document(name);
    }
    let sources = sources(bytes);
    for (number, info) in image.disks().iter().enumerate() {
        let Ok(mut disk) = image.disk(number as u32) else { continue };
        sources.walk(&mut *disk, info.size, 64 << 20, 20).unwrap();
        if info.size < 1 << 30 {
            disk.check(false).unwrap();
        }
    }
    true
}

/// The error's text.
pub fn refusal(bytes: &[u8]) -> String {
    match open(bytes) {
        Ok(_) => panic!("it was not refused"),
        Err(error) => error.to_string(),
    }
}

/// Contents that no codec treats alike: noise, text, zeroes.
pub fn sample(length: usize) -> Vec<u8> {
    let mut random = fumehood_plugin::simulate::Random::new(9);
    let mut bytes: Vec<u8> = (0..length / 3).map(|_| random.next_word() as u8).collect();
    let text = (0u32..).flat_map(|number| format!("line {number}\n").into_bytes());
    bytes.extend(text.take(length / 3));
    bytes.resize(length, 0);
    bytes
}
