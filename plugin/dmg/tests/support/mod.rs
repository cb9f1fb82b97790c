//! What the integration tests share: opening over memory, decoding, tools.
#![allow(dead_code)]

pub mod udif;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::rc::Rc;

use fumehood_decoder::Decoder;
use fumehood_dmg::Dmg;
use fumehood_plugin::memory::{MemoryHost, MemorySource, read_disk};
use fumehood_plugin::simulate::Random;
use fumehood_plugin::{
    Codec, Encoded, Error, Format, Host, Image, OpenOptions, Result, SourceHandle,
};

/// A directory of its own for one test, removed at the end.
pub struct Bench {
    directory: PathBuf,
}

impl Bench {
    pub fn new(name: &str) -> Self {
        let own = format!("fumehood-dmg-{name}-{}", std::process::id());
        let directory = std::env::temp_dir().join(own);
        fs::create_dir_all(&directory).unwrap();
        Self { directory }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    pub fn text(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_string()
    }

    pub fn write(&self, name: &str, bytes: &[u8]) {
        fs::write(self.path(name), bytes).unwrap();
    }

    pub fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap()
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// Runs a tool that must succeed, and gives what it says.
pub fn run(tool: &str, arguments: &[&str]) -> String {
    let output = Command::new(tool)
        .args(arguments)
        .output()
        .unwrap_or_else(|_| panic!("{tool} is missing: tests/run installs what the tests need"));
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{tool} {arguments:?}: {error}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// What 7-Zip finds in an image: its partitions, one behind the other.
pub fn seven_zip(bench: &Bench, image: &str) -> Vec<u8> {
    let output = Command::new("7zz").args(["x", "-so", "-tdmg", &bench.text(image)]).output();
    let output =
        output.unwrap_or_else(|_| panic!("7zz is missing: tests/run installs what the tests need"));
    assert!(output.status.success(), "{image}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// The collection of images that others made, if it is at hand: `FUMEHOOD_CORPUS` names
/// it, or it is `shared/corpus` beside the project.
pub fn corpus() -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/corpus");
    let named = std::env::var_os("FUMEHOOD_CORPUS").map(PathBuf::from);
    let folder = named.or(Some(root)).map(|folder| folder.join("dmg"))?;
    if folder.is_dir() {
        return Some(folder);
    }
    println!("skipped: there is no collection of images; name one with FUMEHOOD_CORPUS");
    None
}

/// A main file of this name, and the files beside it.
pub fn set(name: &str, bytes: &[u8], beside: &[(&str, Vec<u8>)]) -> (MemorySource, Rc<MemoryHost>) {
    let host = MemoryHost::new();
    for (name, bytes) in beside {
        host.grant(name, bytes.clone());
    }
    (MemorySource::new(0, name, bytes.to_vec()), Rc::new(host))
}

/// Opens what [`set`] made.
pub fn open_set((main, host): &(MemorySource, Rc<MemoryHost>)) -> Result<Box<dyn Image>> {
    Dmg::open(Rc::new(main.clone()), Rc::clone(host) as Rc<dyn Host>, OpenOptions::read_only())
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
pub fn read_set(set: &(MemorySource, Rc<MemoryHost>)) -> Result<Vec<u8>> {
    let image = open_set(set)?;
    let size = image.disks()[0].size;
    read_part(set, 0, size)
}

/// A range of the disk.
pub fn read_part(
    set: &(MemorySource, Rc<MemoryHost>),
    offset: u64,
    length: u64,
) -> Result<Vec<u8>> {
    let image = open_set(set)?;
    let size = image.disks()[0].size;
    let find = |id| match id {
        0 => Some(Rc::new(set.0.clone()) as SourceHandle),
        id => set.1.source(id).map(|source| Rc::new(source) as SourceHandle),
    };
    read_disk(&mut *image.disk(0)?, size, offset, length, &find, &decode)
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
