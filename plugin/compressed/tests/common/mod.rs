//! What the integration tests share: tools that are not ours, opening over memory, and
//! decoding as a host does, by crates that the plugin does not use for it.
#![allow(dead_code)]

use std::cell::RefCell;
use std::fs;
use std::io::Read;
use std::process::Command;
use std::rc::Rc;

use fumehood_compressed::Compressed;
use fumehood_plugin::memory::{MemoryHost, MemorySource, check_answer, read_disk, scratch};
use fumehood_plugin::{
    Codec, Content, DigestKind, DigestValue, Encoded, Error, Extent, Format, Image, OpenOptions,
    Result, SourceHandle,
};
use fumehood_test_support::tool::output;
use fumehood_test_support::{Bench, prepare};
use miniz_oxide::inflate::core::inflate_flags::TINFL_FLAG_HAS_MORE_INPUT;
use miniz_oxide::inflate::core::{BlockBoundaryState, DecompressorOxide, decompress};

/// What a tool writes to its standard output when it reads `plain` from a file.
pub fn filter(bench: &Bench, tool: &str, arguments: &[&str], plain: &[u8]) -> Vec<u8> {
    bench.write("plain", plain);
    let plain = fs::File::open(bench.path("plain")).unwrap();
    output(Command::new(tool).args(arguments).current_dir(bench.path("")).stdin(plain))
}

/// Repeatable bytes like those of a disk: text, noise, repetition, and long zeroes.
pub fn sample(length: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(length + 4096);
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut word = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    while bytes.len() < length {
        match bytes.len() / 50_000 % 4 {
            0 => bytes.extend(word().to_le_bytes()),
            1 => bytes.extend(format!("line {} of a text, {}\n", bytes.len(), word() % 9).bytes()),
            2 => bytes.extend(std::iter::repeat_n((word() % 5) as u8, (word() % 700) as usize)),
            _ if bytes.len() % 3 == 0 => bytes.resize(bytes.len() + 170_000, 0),
            _ => bytes.extend(std::iter::repeat_n(b"abcdefgh", 9).flatten()),
        }
    }
    bytes.truncate(length);
    bytes
}

/// A file, its scratch and its host.
pub struct File {
    pub main: MemorySource,
    pub scratch: MemorySource,
    pub host: Rc<MemoryHost>,
    /// The block decoded last.
    pub last: RefCell<Option<(Encoded, Vec<u8>)>>,
}

impl File {
    pub fn new(name: &str, bytes: &[u8]) -> Self {
        Self {
            main: MemorySource::new(0, name, bytes.to_vec()),
            scratch: scratch(99),
            host: Rc::new(MemoryHost::new()),
            last: RefCell::new(None),
        }
    }

    /// Opens it; tells in how many steps it was prepared.
    pub fn open(&self) -> Result<(Box<dyn Image>, usize)> {
        let scratch: SourceHandle = Rc::new(self.scratch.clone());
        let options = OpenOptions { scratch: Some(scratch), ..OpenOptions::read_only() };
        prepared(Compressed::open(Rc::new(self.main.clone()), self.host.clone(), options)?)
    }

    /// Opens it without a scratch.
    pub fn open_bare(&self) -> Result<Box<dyn Image>> {
        let options = OpenOptions::read_only();
        let image = Compressed::open(Rc::new(self.main.clone()), self.host.clone(), options)?;
        prepared(image).map(|(image, _)| image)
    }

    pub fn find(&self, id: u32) -> Option<SourceHandle> {
        match id {
            0 => Some(Rc::new(self.main.clone())),
            99 => Some(Rc::new(self.scratch.clone())),
            _ => None,
        }
    }

    pub fn extents(&self, image: &dyn Image) -> Vec<Extent> {
        let size = image.disks()[0].size;
        let (mut list, mut at) = (Vec::new(), 0);
        let mut disk = image.disk(0).unwrap();
        while at < size {
            let answer = disk.extents(at, u64::MAX).unwrap();
            check_answer(&answer, at, size).unwrap();
            at = answer.last().unwrap().end();
            list.extend(answer);
        }
        list
    }

    /// All of the contents.
    pub fn contents(&self, image: &dyn Image) -> Result<Vec<u8>> {
        let size = image.disks()[0].size;
        self.range(image, 0, size)
    }

    pub fn range(&self, image: &dyn Image, offset: u64, length: u64) -> Result<Vec<u8>> {
        let size = image.disks()[0].size;
        let find = |id| self.find(id);
        let decode = |encoded: &Encoded, stored: &[u8]| {
            if let Some((known, decoded)) = &*self.last.borrow()
                && known == encoded
            {
                return Ok(decoded.clone());
            }
            let decoded = self.decode(encoded, stored)?;
            *self.last.borrow_mut() = Some((encoded.clone(), decoded.clone()));
            Ok(decoded)
        };
        read_disk(&mut *image.disk(0)?, size, offset, length, &find, &decode)
    }

    /// Decodes a block, and compares it with its digest.
    fn decode(&self, encoded: &Encoded, stored: &[u8]) -> Result<Vec<u8>> {
        let length = encoded.decoded_length as usize;
        let broken = |what: &str| Error::Io(format!("{what}: {encoded:?}"));
        let decoded = match encoded.codec {
            Codec::Identity => stored.to_vec(),
            Codec::Deflate => self.inflate(encoded, stored)?,
            Codec::Zstd => {
                let mut decoded = Vec::new();
                let mut decoder =
                    ruzstd::decoding::StreamingDecoder::new(stored).map_err(|_| broken("zstd"))?;
                decoder.read_to_end(&mut decoded).map_err(|_| broken("zstd"))?;
                decoded
            }
            Codec::Lz4 => lz4_flex::block::decompress(stored, length).map_err(|_| broken("lz4"))?,
            Codec::Lzo => {
                lzokay_native::decompress_all(stored, Some(length)).map_err(|_| broken("lzo"))?
            }
            Codec::Lzma2 => {
                let mut decoded = vec![0; length];
                let dictionary = encoded.decoded_length.max(4096);
                let mut decoder = lzma_rust2::Lzma2Stream::new(dictionary);
                let done = decoder.process(stored, &mut decoded, lzma_rust2::Action::Finish);
                let done = done.map_err(|_| broken("lzma2"))?;
                assert_eq!(done.bytes_produced, length);
                decoded
            }
            other => panic!("{other:?}"),
        };
        if decoded.len() != length {
            return Err(broken("another length"));
        }
        if let Some(digest) = &encoded.digest {
            assert!(digest.over_decoded || encoded.codec == Codec::Identity);
            let found = match digest.kind {
                DigestKind::Adler32 => adler2::adler32_slice(&decoded).to_le_bytes().to_vec(),
                DigestKind::Crc32 => {
                    let crc = crc::Crc::<u32>::new(&crc::CRC_32_ISO_HDLC);
                    crc.checksum(&decoded).to_le_bytes().to_vec()
                }
                DigestKind::Crc64 => {
                    let crc = crc::Crc::<u64>::new(&crc::CRC_64_XZ);
                    crc.checksum(&decoded).to_le_bytes().to_vec()
                }
                DigestKind::Sha256 => {
                    use sha2::Digest;
                    sha2::Sha256::digest(&decoded).to_vec()
                }
                other => panic!("{other:?}"),
            };
            let expected = match &digest.value {
                DigestValue::Given(value) => value.clone(),
                DigestValue::Follows => {
                    let at = encoded.offset + u64::from(encoded.stored_length);
                    self.find(encoded.source).unwrap().read(at, found.len())?
                }
            };
            if expected != found {
                return Err(broken("another digest"));
            }
        }
        Ok(decoded)
    }

    fn inflate(&self, encoded: &Encoded, stored: &[u8]) -> Result<Vec<u8>> {
        let length = encoded.decoded_length as usize;
        let mut core = Box::<DecompressorOxide>::default();
        let (mut out, mut input) = (Vec::new(), stored);
        if let Some(window) = &encoded.window {
            let source = self.find(window.source).unwrap();
            out = source.read(window.offset, window.length as usize)?;
            let mut state = BlockBoundaryState::default();
            if window.bits > 0 {
                state.num_bits = 8 - window.bits;
                state.bit_buf = stored[0] >> window.bits;
                input = &stored[1..];
            }
            *core = DecompressorOxide::from_block_boundary_state(&state);
        }
        let start = out.len();
        out.resize(start + length, 0);
        let flags = TINFL_FLAG_HAS_MORE_INPUT
            | miniz_oxide::inflate::core::inflate_flags::TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF;
        let (_, _, written) = decompress(&mut core, input, &mut out, start, flags);
        if written != length {
            return Err(Error::Io(format!("{written} bytes of {encoded:?}")));
        }
        Ok(out.split_off(start))
    }
}

fn prepared(image: Box<dyn Image>) -> Result<(Box<dyn Image>, usize)> {
    let steps = prepare(&*image)?;
    Ok((image, steps))
}

/// How many extents there are of each kind: zero, stored in the file, in the scratch,
/// encoded, damaged.
pub fn count(extents: &[Extent]) -> [usize; 5] {
    let mut counts = [0; 5];
    for extent in extents {
        counts[match &extent.content {
            Content::Zero => 0,
            Content::Stored(stored) if stored.source == 0 => 1,
            Content::Encoded(encoded) if encoded.source == 99 => 2,
            Content::Encoded(_) => 3,
            Content::Damaged(_) => 4,
            other => panic!("{other:?}"),
        }] += 1;
    }
    counts
}

/// Opens `packed` twice, compares the contents with `plain`, and tells what extents there
/// are.
pub fn verify(what: &str, packed: &[u8], plain: &[u8]) -> [usize; 5] {
    let file = File::new("disk.img.gz", packed);
    let (image, _) = file.open().unwrap_or_else(|error| panic!("{what}: {error}"));
    let disk = &image.disks()[0];
    assert_eq!((disk.size, disk.name.as_str()), (plain.len() as u64, "disk.img"), "{what}");
    let found = file.contents(&*image).unwrap_or_else(|error| panic!("{what}: {error}"));
    assert!(found == plain, "{what}: other contents");
    // Ranges that begin and end anywhere.
    let mut state = 7u64;
    for _ in 0..8 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let offset = (state >> 16) % plain.len() as u64;
        let length = ((state >> 40) % 100_000).min(plain.len() as u64 - offset);
        let found = file.range(&*image, offset, length).unwrap();
        assert!(found == plain[offset as usize..][..length as usize], "{what}: {offset} {length}");
    }
    let extents = file.extents(&*image);
    let (again, steps) = file.open().unwrap();
    assert_eq!((steps, again.disks()), (1, image.disks()), "{what}: it is remembered");
    assert_eq!(again.info(), image.info());
    assert!(file.extents(&*again) == extents, "{what}: other extents the second time");
    count(&extents)
}
