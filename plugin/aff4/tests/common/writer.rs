//! Writes AFF4 volumes from the standard's text: zip members one behind the other, streams
//! in segments, maps, and a turtle. Shares nothing with the reader.

use md5::{Digest as _, Md5};

/// A zip file on its way.
pub struct Zip {
    file: Vec<u8>,
    directory: Vec<u8>,
    pub count: u64,
    pub comment: Vec<u8>,
    /// Whether sizes and offsets are in zip64 fields, and the end in a zip64 record.
    pub long: bool,
}

/// How a member is put into a zip.
pub struct Put<'a> {
    pub method: u16,
    pub stored: &'a [u8],
    pub size: u64,
}

impl Zip {
    pub fn new(urn: &str) -> Self {
        let (file, directory) = (Vec::new(), Vec::new());
        Self { file, directory, count: 0, comment: urn.as_bytes().to_vec(), long: true }
    }

    pub fn store(&mut self, name: &str, bytes: &[u8]) {
        self.put(name, Put { method: 0, stored: bytes, size: bytes.len() as u64 });
    }

    pub fn deflate(&mut self, name: &str, bytes: &[u8]) {
        let stored = miniz_oxide::deflate::compress_to_vec(bytes, 6);
        self.put(name, Put { method: 8, stored: &stored, size: bytes.len() as u64 });
    }

    pub fn put(&mut self, name: &str, put: Put<'_>) {
        let offset = self.file.len() as u64;
        // As a streaming writer: sizes stand in the directory and behind the bytes.
        self.file.extend(b"PK\x03\x04\x2d\0\x08\0");
        self.file.extend(put.method.to_le_bytes());
        self.file.extend([0; 8]);
        self.file.extend([0xff; 8]);
        self.file.extend((name.len() as u16).to_le_bytes());
        self.file.extend([4, 0]);
        self.file.extend(name.as_bytes());
        self.file.extend([0x99, 0x99, 0, 0]);
        self.file.extend(put.stored);
        let stored = put.stored.len() as u64;
        self.entry(name, put.method, put.size, stored, offset);
    }

    /// An entry of the directory, whatever it points to.
    pub fn entry(&mut self, name: &str, method: u16, size: u64, stored: u64, offset: u64) {
        self.count += 1;
        let directory = &mut self.directory;
        directory.extend(b"PK\x01\x02\x2d\0\x2d\0\x08\0");
        directory.extend(method.to_le_bytes());
        directory.extend([0; 8]);
        let values = [stored, size, offset];
        let short = |value: u64| if self.long { u32::MAX } else { value as u32 };
        directory.extend(short(values[0]).to_le_bytes());
        directory.extend(short(values[1]).to_le_bytes());
        directory.extend((name.len() as u16).to_le_bytes());
        let extra: Vec<u8> = if self.long {
            let mut extra = b"\x99\x99\x02\0xx\x01\0\x18\0".to_vec();
            extra.extend([size, stored, offset].map(u64::to_le_bytes).concat());
            extra
        } else {
            Vec::new()
        };
        directory.extend((extra.len() as u16).to_le_bytes());
        directory.extend([0; 2 + 2 + 6]);
        directory.extend(short(values[2]).to_le_bytes());
        directory.extend(name.as_bytes());
        directory.extend(extra);
    }

    pub fn finish(mut self) -> Vec<u8> {
        let (offset, size) = (self.file.len() as u64, self.directory.len() as u64);
        self.file.extend(&self.directory);
        if self.long {
            let record = self.file.len() as u64;
            self.file.extend(b"PK\x06\x06");
            self.file.extend(44u64.to_le_bytes());
            self.file.extend([0x2d, 0, 0x2d, 0]);
            self.file.extend([0; 8]);
            for value in [self.count, self.count, size, offset] {
                self.file.extend(value.to_le_bytes());
            }
            self.file.extend(b"PK\x06\x07\0\0\0\0");
            self.file.extend(record.to_le_bytes());
            self.file.extend(1u32.to_le_bytes());
        }
        self.file.extend(b"PK\x05\x06\0\0\0\0");
        if self.long {
            self.file.extend([0xff; 12]);
        } else {
            let count = self.count as u16;
            self.file.extend([count, count].map(u16::to_le_bytes).concat());
            self.file.extend((size as u32).to_le_bytes());
            self.file.extend((offset as u32).to_le_bytes());
        }
        self.file.extend((self.comment.len() as u16).to_le_bytes());
        self.file.extend(&self.comment);
        self.file
    }
}

/// Name of the member that a URN is stored as.
pub fn member(urn: &str) -> String {
    match urn.strip_prefix("aff4://") {
        Some(rest) => format!("aff4%3A%2F%2F{rest}"),
        None => urn.to_string(),
    }
}

/// Codecs by their names in a turtle.
pub const SNAPPY: &str = "http://code.google.com/p/snappy/";
pub const LZ4: &str = "https://code.google.com/p/lz4/";
pub const DEFLATE: &str = "https://tools.ietf.org/html/rfc1951";
pub const ZLIB: &str = "https://www.ietf.org/rfc/rfc1950.txt";
/// What a stream has of which none is told.
pub const UNTOLD: &str = "";
pub const STORED: &str = "http://aff4.org/Schema#NullCompressor";

/// A stream to write.
#[derive(Clone)]
pub struct Stream<'a> {
    pub urn: &'a str,
    pub bytes: &'a [u8],
    pub chunk: usize,
    pub per_segment: usize,
    pub codec: &'a str,
    /// Whether the last chunk is padded.
    pub padded: bool,
    /// Whether LZ4 blocks have their length before them.
    pub prefixed: bool,
    pub hashes: bool,
}

impl<'a> Stream<'a> {
    pub fn new(urn: &'a str, bytes: &'a [u8], codec: &'a str) -> Self {
        let (chunk, per_segment) = (4096, 5);
        Self { urn, bytes, chunk, per_segment, codec, padded: true, prefixed: false, hashes: true }
    }

    pub fn turtle(&self) -> String {
        let codec = match self.codec {
            UNTOLD => String::new(),
            codec => format!("aff4:compressionMethod <{codec}> ;"),
        };
        format!(
            "<{}> a aff4:ImageStream ; aff4:chunkSize \"{}\"^^xsd:int ;\n aff4:chunksInSegment \
             \"{}\"^^xsd:int ; {codec}\n aff4:size \"{}\"^^xsd:long ; aff4:stored : .\n",
            self.urn,
            self.chunk,
            self.per_segment,
            self.bytes.len()
        )
    }

    fn encode(&self, chunk: &[u8]) -> Vec<u8> {
        match self.codec {
            SNAPPY => snap::raw::Encoder::new().compress_vec(chunk).unwrap(),
            LZ4 if self.prefixed => {
                let mut block = (chunk.len() as u32).to_le_bytes().to_vec();
                block.extend(lz4_flex::block::compress(chunk));
                block
            }
            LZ4 => lz4_flex::block::compress(chunk),
            DEFLATE => miniz_oxide::deflate::compress_to_vec(chunk, 6),
            ZLIB | UNTOLD => miniz_oxide::deflate::compress_to_vec_zlib(chunk, 6),
            _ => chunk.to_vec(),
        }
    }

    pub fn write(&self, zip: &mut Zip) {
        let chunks: Vec<&[u8]> = self.bytes.chunks(self.chunk).collect();
        for (number, chunks) in chunks.chunks(self.per_segment).enumerate() {
            let (mut segment, mut index, mut hashes) = (Vec::new(), Vec::new(), Vec::new());
            for chunk in chunks {
                let mut plain = chunk.to_vec();
                if self.padded {
                    plain.resize(self.chunk, 0);
                }
                let packed = self.encode(&plain);
                let stored = if packed.len() + 16 < self.chunk { packed } else { plain.clone() };
                index.extend((segment.len() as u64).to_le_bytes());
                index.extend((stored.len() as u32).to_le_bytes());
                hashes.extend(Md5::digest(&plain));
                segment.extend(stored);
            }
            let name = format!("{}/{number:08}", member(self.urn));
            zip.store(&name, &segment);
            zip.store(&format!("{name}.index"), &index);
            if self.hashes {
                zip.store(&format!("{name}.blockHash.md5"), &hashes);
            }
        }
    }
}

/// An entry of a map: offset, length, offset in the target, target.
pub type Range = (u64, u64, u64, u32);

pub fn map_bytes(ranges: &[Range]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (mapped, length, offset, target) in ranges {
        bytes.extend([*mapped, *length, *offset].map(u64::to_le_bytes).concat());
        bytes.extend(target.to_le_bytes());
    }
    bytes
}

pub const PREFIXES: &str = "@prefix aff4: <http://aff4.org/Schema#> .\n\
    @prefix xsd: <http://www.w3.org/2001/XMLSchema#> .\n";

/// A volume with one disk over a map.
pub struct Volume<'a> {
    pub urn: &'a str,
    pub size: u64,
    pub streams: Vec<Stream<'a>>,
    pub targets: Vec<&'a str>,
    pub ranges: Vec<Range>,
    /// Added to the turtle.
    pub more: String,
    /// Said of the image.
    pub image: String,
    pub gap: &'a str,
    pub long: bool,
    pub deflated: bool,
}

pub const MAP: &str = "aff4://map-1";
pub const IMAGE: &str = "aff4://image-1";

impl<'a> Volume<'a> {
    pub fn new(urn: &'a str, size: u64) -> Self {
        Self {
            urn,
            size,
            streams: Vec::new(),
            targets: Vec::new(),
            ranges: Vec::new(),
            more: String::new(),
            image: String::new(),
            gap: "aff4:Zero",
            long: true,
            deflated: false,
        }
    }

    pub fn turtle(&self) -> String {
        let (urn, size) = (self.urn, self.size);
        let mut turtle = format!("@prefix : <{urn}> .\n{PREFIXES}");
        turtle += &format!(
            "<{IMAGE}> a aff4:ContiguousImage , aff4:DiskImage , aff4:Image ;\n aff4:dataStream \
             <{MAP}> ; aff4:blockSize \"512\"^^xsd:int ; {} aff4:size \"{size}\"^^xsd:long .\n\
             <{MAP}> a aff4:Map ; aff4:size \"{size}\"^^xsd:long ;\n aff4:mapGapDefaultStream {} \
             ; aff4:stored : .\n",
            self.image, self.gap
        );
        self.streams.iter().for_each(|stream| turtle += &stream.turtle());
        turtle + &self.more
    }

    pub fn zip(&self) -> Zip {
        let mut zip = Zip::new(self.urn);
        zip.long = self.long;
        zip.store("container.description", self.urn.as_bytes());
        zip.store("version.txt", b"major=1\nminor=0\ntool=a test\n");
        self.streams.iter().for_each(|stream| stream.write(&mut zip));
        let map = map_bytes(&self.ranges);
        let name = member(MAP);
        // A line feed behind the last target, too, as in the reference images.
        let idx = format!("{}\n", self.targets.join("\n"));
        if self.deflated {
            zip.deflate(&format!("{name}/map"), &map);
            zip.deflate(&format!("{name}/idx"), idx.as_bytes());
            zip.deflate("information.turtle", self.turtle().as_bytes());
        } else {
            zip.store(&format!("{name}/map"), &map);
            zip.store(&format!("{name}/idx"), idx.as_bytes());
            zip.store("information.turtle", self.turtle().as_bytes());
        }
        zip
    }

    pub fn write(&self) -> Vec<u8> {
        self.zip().finish()
    }
}
