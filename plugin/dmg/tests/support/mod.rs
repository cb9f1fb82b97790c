//! What the integration tests share: opening over memory, decoding, tools.
#![allow(dead_code)]

pub mod udif;

use fumehood_decoder::Decoder;
use fumehood_dmg::Dmg;
use fumehood_plugin::simulate::Random;
use fumehood_plugin::{Codec, Encoded, Error, Image, OpenOptions, Result};
use fumehood_test_support::{Bench, Sources};

/// What 7-Zip finds in an image: its partitions, one behind the other.
pub fn seven_zip(bench: &Bench, image: &str) -> Vec<u8> {
    bench.output("7zz", &["x", "-so", "-tdmg", image])
}

/// A main file of this name, and the files beside it.
pub fn set(name: &str, bytes: &[u8], beside: &[(&str, Vec<u8>)]) -> Sources {
    Sources::new(name, bytes).beside(beside)
}

/// Opens what [`set`] made.
pub fn open_set(set: &Sources) -> Result<Box<dyn Image>> {
    set.open::<Dmg>(OpenOptions::read_only())
}

/// Opens `bytes`.
pub fn open(bytes: &[u8]) -> Result<Box<dyn Image>> {
    open_set(&set("disk.dmg", bytes, &[]))
}

/// The error of opening `bytes`, as text.
pub fn refusal(bytes: &[u8]) -> String {
    open(bytes).err().expect("it is refused").to_string()
}

/// All of the disk.
pub fn read_set(set: &Sources) -> Result<Vec<u8>> {
    read_part(set, 0, u64::MAX)
}

/// A range of the disk.
pub fn read_part(set: &Sources, offset: u64, length: u64) -> Result<Vec<u8>> {
    set.read(&*open_set(set)?, 0, offset, length, &decode)
}

pub fn read_all(bytes: &[u8]) -> Result<Vec<u8>> {
    read_set(&set("disk.dmg", bytes, &[]))
}

/// Decodes as the host does, which wants exactly the decoded length.
fn decode(encoded: &Encoded, stored: &[u8]) -> Result<Vec<u8>> {
    let most = encoded.decoded_length as usize;
    let failed = |what: String| Error::Io(format!("{:?}: {what}", encoded.codec));
    let codec = match encoded.codec {
        Codec::Zlib => {
            let bytes = miniz_oxide::inflate::decompress_to_vec_zlib_with_limit(stored, most);
            return match bytes {
                Ok(bytes) if bytes.len() == most => Ok(bytes),
                Ok(bytes) => Err(failed(format!("{} bytes", bytes.len()))),
                Err(error) => Err(failed(format!("{error:?}"))),
            };
        }
        Codec::Bzip2 => Decoder::bzip2,
        Codec::Xz => Decoder::xz,
        Codec::Lzfse => Decoder::lzfse,
        Codec::Adc => Decoder::adc,
        other => return Err(Error::Io(format!("{other:?} is no codec of the format"))),
    };
    let mut decoder = Decoder::default();
    decoder.input(stored.len()).copy_from_slice(stored);
    decoder.output(most);
    match codec(&mut decoder, stored.len(), most) {
        Ok(length) if length == most => Ok(decoder.output(length).to_vec()),
        other => Err(failed(format!("{other:?}, expected {most}"))),
    }
}

/// Bytes that compress a little, with room that is zero.
pub fn sample(sectors: usize) -> Vec<u8> {
    let mut random = Random::new(sectors as u64);
    let mut bytes = Vec::new();
    while bytes.len() < sectors * 512 {
        match random.below(3) {
            0 => bytes.extend(vec![0; 512 * 40]),
            1 => bytes.extend((0..512 * 24).map(|_| random.below(256) as u8)),
            _ => (0..700).for_each(|_| {
                bytes.extend(format!("sector {}\n", random.below(50)).bytes());
            }),
        }
    }
    bytes.truncate(sectors * 512);
    bytes
}

/// The CRC-32 of `bytes`, as zlib has it.
pub fn crc32(bytes: &[u8]) -> u32 {
    let table: Vec<u32> = (0..256u32)
        .map(|byte| {
            (0..8).fold(byte, |crc, _| (crc >> 1) ^ if crc & 1 == 1 { 0xedb8_8320 } else { 0 })
        })
        .collect();
    !bytes
        .iter()
        .fold(!0, |crc: u32, byte| (crc >> 8) ^ table[((crc ^ u32::from(*byte)) & 0xff) as usize])
}
