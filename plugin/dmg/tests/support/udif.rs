//! A writer of UDIF images, byte by byte from the description of the format. It shares
//! nothing with the reader.

use fumehood_test_support::tool::filter;

use super::crc32;

pub const ZERO: u32 = 0;
pub const RAW: u32 = 1;
pub const IGNORE: u32 = 2;
pub const COMMENT: u32 = 0x7fff_fffe;
pub const ADC: u32 = 0x8000_0004;
pub const ZLIB: u32 = 0x8000_0005;
pub const BZIP2: u32 = 0x8000_0006;
pub const LZFSE: u32 = 0x8000_0007;
pub const XZ: u32 = 0x8000_0008;
pub const END: u32 = 0xffff_ffff;

/// A run as it stands in a table.
#[derive(Clone, Copy)]
pub struct Run {
    pub kind: u32,
    pub first: u64,
    pub count: u64,
    pub offset: u64,
    pub length: u64,
}

/// A block table.
#[derive(Clone)]
pub struct Table {
    pub name: String,
    pub first: u64,
    pub sectors: u64,
    pub data_offset: u64,
    pub runs: Vec<Run>,
    pub checksum: u32,
    /// What the header says of their number, if not the truth.
    pub count: Option<u32>,
}

impl Table {
    fn bytes(&self) -> Vec<u8> {
        let mut bytes = b"mish\0\0\0\x01".to_vec();
        for number in [self.first, self.sectors, self.data_offset] {
            bytes.extend(number.to_be_bytes());
        }
        bytes.extend([0, 0, 8, 8, 0, 0, 0, 0]);
        bytes.extend([0; 24]);
        bytes.extend(checksum(Some(self.checksum)));
        bytes.extend(self.count.unwrap_or(self.runs.len() as u32).to_be_bytes());
        for run in &self.runs {
            bytes.extend(run.kind.to_be_bytes());
            bytes.extend([0; 4]);
            for number in [run.first, run.count, run.offset, run.length] {
                bytes.extend(number.to_be_bytes());
            }
        }
        bytes
    }
}

fn checksum(value: Option<u32>) -> Vec<u8> {
    let mut bytes = vec![0; 136];
    if let Some(value) = value {
        bytes[3] = 2;
        bytes[7] = 32;
        bytes[8..12].copy_from_slice(&value.to_be_bytes());
    }
    bytes
}

/// An image that is being made.
#[derive(Clone, Default)]
pub struct Image {
    pub data: Vec<u8>,
    pub tables: Vec<Table>,
    pub sectors: u64,
    /// In a classic resource fork, not a property list.
    pub fork: bool,
    /// What the trailer says of segments.
    pub segments: u32,
    /// Bytes in front of the data fork.
    pub before: usize,
    /// The property list, if not the one of the tables.
    pub list: Option<Vec<u8>>,
}

impl Image {
    /// An image of `disk` with one table, in runs of `run` sectors of this kind; runs of
    /// zeroes are stored as such.
    pub fn of(disk: &[u8], kind: u32, run: usize) -> Self {
        let mut image = Self { sectors: disk.len() as u64 / 512, ..Self::default() };
        image.add(disk, 0, kind, run);
        image
    }

    /// Adds a table for the sectors `part` from `first` on.
    pub fn add(&mut self, part: &[u8], first: u64, kind: u32, run: usize) {
        let mut runs = Vec::new();
        for (number, bytes) in part.chunks(run * 512).enumerate() {
            let empty = bytes.iter().all(|byte| *byte == 0);
            let stored = if empty { vec![] } else { packed(kind, bytes) };
            runs.push(Run {
                kind: if empty { ZERO } else { kind },
                first: (number * run) as u64,
                count: bytes.len() as u64 / 512,
                offset: self.data.len() as u64,
                length: stored.len() as u64,
            });
            self.data.extend(stored);
        }
        let sectors = part.len() as u64 / 512;
        runs.push(Run { kind: END, first: sectors, count: 0, offset: 0, length: 0 });
        let name = format!("part {} of {}", self.tables.len(), "<&>");
        let checksum = crc32(part);
        let table = Table { name, first, sectors, data_offset: 0, runs, checksum, count: None };
        self.tables.push(table);
    }

    /// The file.
    pub fn bytes(&self) -> Vec<u8> {
        let mut file = vec![0x55; self.before];
        file.extend(&self.data);
        let fork_offset = file.len();
        if self.fork {
            file.extend(self.resource_fork());
        }
        let list_offset = file.len();
        if !self.fork {
            file.extend(self.list.clone().unwrap_or_else(|| self.property_list()));
        }
        let end = file.len();
        file.extend(b"koly\0\0\0\x04\0\0\x02\0\0\0\0\x01");
        for number in [0, self.before, self.data.len(), fork_offset, list_offset - fork_offset] {
            file.extend((number as u64).to_be_bytes());
        }
        file.extend([1, self.segments.max(1)].map(u32::to_be_bytes).concat());
        file.extend([7; 16]);
        file.extend(checksum(Some(crc32(&self.data))));
        // An image without a list says 0 of both.
        let list = if self.fork { [0, 0] } else { [list_offset, end - list_offset] };
        for number in list {
            file.extend((number as u64).to_be_bytes());
        }
        file.extend([0; 120]);
        let sums: Vec<u8> = self.tables.iter().flat_map(|t| t.checksum.to_be_bytes()).collect();
        file.extend(checksum(Some(crc32(&sums))));
        file.extend(1u32.to_be_bytes());
        file.extend(self.sectors.to_be_bytes());
        file.extend([0; 12]);
        assert_eq!(file.len(), end + 512);
        file
    }

    fn property_list(&self) -> Vec<u8> {
        let mut text = String::from(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<!DOCTYPE plist PUBLIC \"-//Apple//DTD \
             PLIST 1.0//EN\" \"http://www.apple.com/DTDs/PropertyList-1.0.dtd\">\n<plist \
             version=\"1.0\">\n<dict>\n\t<key>resource-fork</key>\n\t<dict>\n\t\t<key>blkx</key>\n\
             \t\t<array>\n",
        );
        for (number, table) in self.tables.iter().enumerate() {
            let name = table.name.replace('&', "&amp;").replace('<', "&lt;");
            text += &format!(
                "\t\t\t<dict>\n\t\t\t\t<key>Attributes</key>\n\t\t\t\t<string>0x0050</string>\n\
                 \t\t\t\t<key>CFName</key>\n\t\t\t\t<string>{name}</string>\n\
                 \t\t\t\t<key>Data</key>\n\t\t\t\t<data>\n"
            );
            for line in base64(&table.bytes()).as_bytes().chunks(52) {
                text += &format!("\t\t\t\t{}\n", std::str::from_utf8(line).unwrap());
            }
            text += &format!(
                "\t\t\t\t</data>\n\t\t\t\t<key>ID</key>\n\t\t\t\t<string>{number}</string>\n\
                 \t\t\t\t<key>Name</key>\n\t\t\t\t<string>{name}</string>\n\t\t\t</dict>\n"
            );
        }
        text += "\t\t</array>\n\t</dict>\n</dict>\n</plist>\n";
        text.into_bytes()
    }

    /// Header, data, then the map with one type.
    fn resource_fork(&self) -> Vec<u8> {
        let (mut data, mut places) = (vec![], vec![]);
        for table in &self.tables {
            let bytes = table.bytes();
            places.push(data.len() as u32);
            data.extend((bytes.len() as u32).to_be_bytes());
            data.extend(bytes);
        }
        let map_length = 28 + 2 + 8 + 12 * self.tables.len();
        let numbers = [256, 256 + data.len(), data.len(), map_length];
        let header = numbers.map(|number| (number as u32).to_be_bytes()).concat();
        let mut fork = header.clone();
        fork.resize(256, 0);
        fork.extend(data);
        fork.extend(header);
        fork.extend([0; 8]);
        fork.extend([28u16, map_length as u16, 0].map(u16::to_be_bytes).concat());
        fork.extend(b"blkx");
        fork.extend([self.tables.len() as u16 - 1, 10].map(u16::to_be_bytes).concat());
        for (number, place) in places.iter().enumerate() {
            fork.extend([number as u16, 0xffff].map(u16::to_be_bytes).concat());
            fork.extend((0x5000_0000 | place).to_be_bytes());
            fork.extend([0; 4]);
        }
        fork
    }
}

/// `bytes` as a run of this kind stores them.
fn packed(kind: u32, bytes: &[u8]) -> Vec<u8> {
    match kind {
        RAW => bytes.to_vec(),
        ZLIB => miniz_oxide::deflate::compress_to_vec_zlib(bytes, 6),
        BZIP2 => filter("bzip2", &["-c"], bytes),
        XZ => filter("xz", &["-c"], bytes),
        // Literals alone: a sound stream, if not a short one.
        ADC => {
            bytes.chunks(128).flat_map(|part| [&[0x7f + part.len() as u8], part].concat()).collect()
        }
        LZFSE => {
            let length = (bytes.len() as u32).to_le_bytes();
            [&b"bvx-"[..], &length, bytes, b"bvx$"].concat()
        }
        other => panic!("type {other:#x}"),
    }
}

fn base64(bytes: &[u8]) -> String {
    let letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for part in bytes.chunks(3) {
        let word = part.iter().fold(0, |word, byte| word << 8 | u32::from(*byte));
        let word = word << (8 * (3 - part.len()));
        for place in 0..4 {
            let letter = letters[(word >> (18 - 6 * place)) as usize & 63];
            text.push(if place <= part.len() { letter as char } else { '=' });
        }
    }
    text
}
