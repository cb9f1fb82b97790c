//! Writes files of version 2 by the letter of its description, honest and otherwise:
//! J. Metz, libewf, "Expert Witness Compression Format version 2".

use miniz_oxide::deflate::compress_to_vec_zlib;

use super::{Files, Set, bzip2, md5};

/// Length of a descriptor.
pub const DESCRIPTOR: usize = 64;
/// Length of a file header, behind which the first data stands.
pub const HEADER: usize = 32;

/// Section types.
pub const DEVICE: u32 = 1;
pub const CASE: u32 = 2;
pub const DATA: u32 = 3;
pub const TABLE: u32 = 4;
pub const ERRORS: u32 = 5;
pub const MD5: u32 = 8;
pub const SHA1: u32 = 9;
pub const RESTART: u32 = 0xa;
pub const KEYS: u32 = 0xb;
pub const NEXT: u32 = 0xd;
pub const DONE: u32 = 0xf;

/// Data flags.
pub const HASHED: u32 = 1;
pub const ENCRYPTED: u32 = 2;

/// A chunk as it is to be stored.
#[derive(Clone)]
pub enum Chunk {
    Packed(Vec<u8>),
    Sealed(Vec<u8>),
    Plain(Vec<u8>),
    Fill([u8; 8]),
    /// Compressed already.
    Stream(Vec<u8>),
    /// An entry as given, and no data.
    Entry(u64, u32, u32),
}

pub fn seal(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.extend(adler2::adler32_slice(&bytes).to_le_bytes());
    bytes
}

/// What `text` is stored as: UTF-16 with its mark, compressed.
pub fn text(text: &str) -> Vec<u8> {
    compress_to_vec_zlib(&utf16(text), 6)
}

fn utf16(text: &str) -> Vec<u8> {
    std::iter::once(0xfeff).chain(text.encode_utf16()).flat_map(u16::to_le_bytes).collect()
}

/// An object with these tags and values.
pub fn object(values: &[(&str, &str)]) -> Vec<u8> {
    text(&plain_object(values))
}

/// The same, compressed by another method.
pub fn bzip2_object(values: &[(&str, &str)]) -> Vec<u8> {
    bzip2(&utf16(&plain_object(values)), "-zc").unwrap()
}

fn plain_object(values: &[(&str, &str)]) -> String {
    let join = |values: Vec<&str>| values.join("\t");
    let tags = join(values.iter().map(|(tag, _)| *tag).collect());
    let values = join(values.iter().map(|(_, value)| *value).collect());
    format!("1\nmain\n{tags}\n{values}\n\n")
}

/// Writes one segment, section by section.
#[derive(Clone)]
pub struct Builder {
    pub file: Vec<u8>,
    /// Offset of the last descriptor.
    pub last: u64,
    /// Whether sections have a hash.
    hashed: bool,
}

impl Builder {
    pub fn new(number: u32, set: u8) -> Self {
        Self::with_header(2, 1, number, set)
    }

    pub fn with_header(major: u8, method: u16, number: u32, set: u8) -> Self {
        let mut file = b"EVF2\r\n\x81\0".to_vec();
        file.extend([major, 1]);
        file.extend(method.to_le_bytes());
        file.extend(number.to_le_bytes());
        file.extend([set; 16]);
        Self { file, last: 0, hashed: true }
    }

    pub fn unhashed(mut self) -> Self {
        self.hashed = false;
        self
    }

    /// A section whose descriptor states these values, whatever its data is.
    pub fn stating(mut self, kind: u32, flags: u32, previous: u64, size: u64, data: &[u8]) -> Self {
        let padding = data.len().next_multiple_of(16) - data.len();
        self.file.extend(data);
        self.file.extend(vec![0; padding]);
        let hash = match flags & HASHED {
            0 => vec![0; 16],
            _ => md5(&self.file[self.file.len() - data.len() - padding..]),
        };
        let mut descriptor = [kind.to_le_bytes(), flags.to_le_bytes()].concat();
        descriptor.extend(previous.to_le_bytes());
        descriptor.extend(size.to_le_bytes());
        descriptor.extend((DESCRIPTOR as u32).to_le_bytes());
        descriptor.extend((padding as u32).to_le_bytes());
        descriptor.extend(hash);
        descriptor.extend([0; 12]);
        self.last = self.file.len() as u64;
        self.file.extend(seal(descriptor));
        self
    }

    pub fn section(self, kind: u32, data: &[u8]) -> Self {
        let (previous, size) = (self.last, data.len().next_multiple_of(16) as u64);
        let flags = if self.hashed && size > 0 { HASHED } else { 0 };
        self.stating(kind, flags, previous, size, data)
    }

    /// Device information and case data of media in chunks of 64 sectors.
    pub fn media(self, chunks: u64, sectors: u64) -> Self {
        self.device(&[("ts", &sectors.to_string()), ("bp", "512"), ("dt", "f"), ("ph", "1")])
            .case(&[("cn", "7"), ("tb", &chunks.to_string()), ("sb", "64"), ("gr", "1")])
    }

    pub fn device(self, values: &[(&str, &str)]) -> Self {
        self.section(DEVICE, &object(values))
    }

    pub fn case(self, values: &[(&str, &str)]) -> Self {
        self.section(CASE, &object(values))
    }

    /// Sector data and its table, which begins with chunk `first`.
    pub fn chunks(self, first: u64, chunks: &[Chunk]) -> Self {
        let base = self.file.len();
        let (mut data, mut entries) = (Vec::new(), Vec::new());
        for chunk in chunks {
            let at = (base + data.len()) as u64;
            let (stored, flags) = match chunk {
                Chunk::Packed(bytes) => (compress_to_vec_zlib(bytes, 6), 1),
                Chunk::Stream(bytes) => (bytes.clone(), 1),
                Chunk::Sealed(bytes) => (seal(bytes.clone()), 2),
                Chunk::Plain(bytes) => (bytes.clone(), 0),
                Chunk::Fill(pattern) => {
                    entries.push((u64::from_le_bytes(*pattern), 0, 5));
                    continue;
                }
                Chunk::Entry(offset, size, flags) => {
                    entries.push((*offset, *size, *flags));
                    continue;
                }
            };
            entries.push((at, stored.len() as u32, flags));
            data.extend(stored);
            data.resize(data.len().next_multiple_of(16), 0);
        }
        self.section(DATA, &data).section(TABLE, &table(first, &entries))
    }

    /// The last section, without data.
    pub fn end(self, kind: u32) -> Vec<u8> {
        self.section(kind, &[]).file
    }
}

/// A table: header, entries, footer, and the padding in between.
pub fn table(first: u64, entries: &[(u64, u32, u32)]) -> Vec<u8> {
    let mut header = first.to_le_bytes().to_vec();
    header.extend((entries.len() as u32).to_le_bytes());
    header.extend([0; 4]);
    let mut bytes = seal(header);
    bytes.extend([0; 12]);
    let mut body = Vec::new();
    for (offset, size, flags) in entries {
        body.extend(offset.to_le_bytes());
        body.extend(size.to_le_bytes());
        body.extend(flags.to_le_bytes());
    }
    bytes.extend(seal(body));
    bytes
}

/// The table of unreadable sectors.
pub fn errors(ranges: &[(u64, u32)]) -> Vec<u8> {
    let mut header = (ranges.len() as u32).to_le_bytes().to_vec();
    header.extend([0; 12]);
    let mut bytes = seal(header);
    bytes.extend([0; 12]);
    let mut body = Vec::new();
    for (first, count) in ranges {
        body.extend(first.to_le_bytes());
        body.extend(count.to_le_bytes());
        body.extend([0; 4]);
    }
    bytes.extend(seal(body));
    bytes
}

/// `bytes` in segments of so many chunks, stored in all ways by turns.
pub fn split(bytes: &[u8], chunk: usize, per_segment: usize, stem: &str) -> Files {
    let chunks: Vec<Chunk> = bytes.chunks(chunk).enumerate().map(store).collect();
    let sectors = bytes.len() as u64 / 512;
    let count = chunks.len().div_ceil(per_segment);
    let files = chunks.chunks(per_segment).enumerate().map(|(number, part)| {
        let builder = Builder::new(number as u32 + 1, 7).media(chunks.len() as u64, sectors);
        // Two tables a segment.
        let first = (number * per_segment) as u64;
        let (one, two) = part.split_at(part.len() / 2);
        let builder = builder.chunks(first, one).chunks(first + one.len() as u64, two);
        let file = match number + 1 == count {
            false => builder.end(NEXT),
            true => builder.section(MD5, &seal(md5(bytes))).end(DONE),
        };
        (format!("{stem}{:02}", number + 1), file)
    });
    files.collect()
}

fn store((number, bytes): (usize, &[u8])) -> Chunk {
    let pattern: [u8; 8] = bytes[..8].try_into().unwrap();
    if bytes.chunks(8).all(|part| part == pattern) {
        return Chunk::Fill(pattern);
    }
    match number % 3 {
        0 => Chunk::Sealed(bytes.to_vec()),
        1 => Chunk::Packed(bytes.to_vec()),
        _ => Chunk::Plain(bytes.to_vec()),
    }
}

/// Offsets of the descriptors of an intact file, the last first.
pub fn descriptors(file: &[u8]) -> Vec<usize> {
    let mut all = vec![file.len() - DESCRIPTOR];
    while let Some(at) = all.last() {
        let previous = u64::from_le_bytes(file[at + 8..at + 16].try_into().unwrap()) as usize;
        if previous == 0 {
            break;
        }
        all.push(previous);
    }
    all
}

/// Makes the checksum and the hash of the section with its descriptor at `at` good again,
/// and those of the structures in a table.
pub fn reseal(file: &mut [u8], at: usize) {
    let word = |file: &[u8], at: usize| u32::from_le_bytes(file[at..at + 4].try_into().unwrap());
    let size = u64::from_le_bytes(file[at + 16..at + 24].try_into().unwrap());
    let data = usize::try_from(size).ok().and_then(|size| at.checked_sub(size)).unwrap_or(at);
    if word(file, at) == TABLE && at - data >= 52 {
        let count = word(file, data + 8) as usize;
        for (start, length) in [(data, 16), (data + 32, count.saturating_mul(16))] {
            if start.saturating_add(length).saturating_add(4) <= at {
                let sum = adler2::adler32_slice(&file[start..start + length]);
                file[start + length..start + length + 4].copy_from_slice(&sum.to_le_bytes());
            }
        }
    }
    let hash = md5(&file[data..at]);
    file[at + 32..at + 48].copy_from_slice(&hash);
    let sum = adler2::adler32_slice(&file[at..at + 60]);
    file[at + 60..at + 64].copy_from_slice(&sum.to_le_bytes());
}

pub fn single(file: Vec<u8>) -> Set {
    Set::new(&vec![("a.Ex01".to_string(), file)])
}

/// A file whose texts and chunks, all but the second, are compressed with bzip2. The last
/// chunk is stored as `last` says, at whatever length.
pub fn with_bzip2(bytes: &[u8], chunk: usize, last: &[u8]) -> Vec<u8> {
    let sectors = (bytes.len() / 512).to_string();
    let per_chunk = (chunk / 512).to_string();
    let whole = bytes.len() / chunk;
    let mut chunks: Vec<Chunk> =
        bytes.chunks_exact(chunk).map(|part| Chunk::Stream(bzip2(part, "-zc").unwrap())).collect();
    chunks[1] = Chunk::Sealed(bytes[chunk..2 * chunk].to_vec());
    chunks.truncate(whole);
    chunks.push(Chunk::Stream(bzip2(last, "-zc").unwrap()));
    Builder::with_header(2, 2, 1, 5)
        .section(DEVICE, &bzip2_object(&[("ts", &sectors), ("bp", "512"), ("dt", "f")]))
        .section(CASE, &bzip2_object(&[("cn", "case 7"), ("sb", &per_chunk), ("cp", "2")]))
        .chunks(0, &chunks)
        .section(MD5, &seal(md5(bytes)))
        .end(DONE)
}
