//! Extents put together by hand, from the format's description alone: nothing here is
//! shared with the reader. QEMU is asked to read what comes out.

use miniz_oxide::deflate::compress_to_vec_zlib;

pub const SECTOR: usize = 512;

/// What a grain of the disk is to be.
#[derive(Clone)]
pub enum Grain {
    Absent,
    Zero,
    Data(Vec<u8>),
}

pub fn put16(bytes: &mut [u8], at: usize, value: u16) {
    bytes[at..at + 2].copy_from_slice(&value.to_le_bytes());
}

pub fn put32(bytes: &mut [u8], at: usize, value: u32) {
    bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
}

pub fn put64(bytes: &mut [u8], at: usize, value: u64) {
    bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
}

pub fn get32(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
}

/// Fills up to a sector's end, and says which sector comes next.
fn align(file: &mut Vec<u8>) -> u64 {
    file.resize(file.len().next_multiple_of(SECTOR), 0);
    (file.len() / SECTOR) as u64
}

/// A descriptor without a parent, or with one.
pub fn descriptor(kind: &str, lines: &[&str], parent: Option<(&str, &str)>) -> String {
    let (number, hint) = parent.unwrap_or(("ffffffff", ""));
    let hint =
        if hint.is_empty() { String::new() } else { format!("parentFileNameHint=\"{hint}\"\n") };
    format!(
        "# Disk DescriptorFile\nversion=1\nencoding=\"UTF-8\"\nCID=0badcafe\nparentCID={number}\n\
         createType=\"{kind}\"\n{hint}\n# Extent description\n{}\n\n# The Disk Data Base\n#DDB\n\n\
         ddb.adapterType = \"lsilogic\"\n",
        lines.join("\n")
    )
}

/// Contents of `count` grains of `sectors`, some of each kind.
pub fn pattern(count: usize, sectors: usize, zeroes: bool) -> Vec<Grain> {
    let fill = |number: usize| {
        let text = format!("grain {number} of many; ");
        text.bytes().cycle().take(sectors * SECTOR).collect()
    };
    let grain = |number: usize| match number % 7 {
        0 | 5 => Grain::Absent,
        3 if zeroes => Grain::Zero,
        _ if number / 40 % 3 == 1 => Grain::Absent,
        _ => Grain::Data(fill(number)),
    };
    (0..count).map(grain).collect()
}

/// The disk that grains make over a parent's bytes, cut to `sectors`.
pub fn disk(grains: &[Grain], grain: usize, sectors: usize, parent: Option<&[u8]>) -> Vec<u8> {
    let mut disk = vec![0; grains.len() * grain * SECTOR];
    if let Some(parent) = parent {
        disk[..parent.len()].copy_from_slice(parent);
    }
    for (place, held) in disk.chunks_mut(grain * SECTOR).zip(grains) {
        match held {
            Grain::Absent => {}
            Grain::Zero => place.fill(0),
            Grain::Data(data) => place.copy_from_slice(data),
        }
    }
    disk.truncate(sectors * SECTOR);
    disk
}

/// A hosted sparse extent: the header, a descriptor of 4 sectors, both directories with
/// their tables, grains. Tables have 32 entries.
pub struct Hosted {
    pub capacity: usize,
    pub grain: usize,
    pub descriptor: String,
}

pub const ENTRIES: usize = 32;
/// Where the redundant directory of [`Hosted::sparse`] lies.
pub const REDUNDANT: usize = 5 * SECTOR;

impl Hosted {
    fn header(&self, version: u32, flags: u32) -> Vec<u8> {
        let mut file = vec![0; 5 * SECTOR];
        file[..4].copy_from_slice(b"KDMV");
        put32(&mut file, 4, version);
        put32(&mut file, 8, flags);
        put64(&mut file, 12, self.capacity as u64);
        put64(&mut file, 20, self.grain as u64);
        put64(&mut file, 28, 1);
        put64(&mut file, 36, 4);
        put32(&mut file, 44, ENTRIES as u32);
        file[73..77].copy_from_slice(b"\n \r\n");
        let text = self.descriptor.as_bytes();
        file[SECTOR..SECTOR + text.len()].copy_from_slice(text);
        file
    }

    pub fn sparse(&self, grains: &[Grain]) -> Vec<u8> {
        let mut file = self.header(1, 7);
        let tables = grains.len().div_ceil(ENTRIES);
        let mut directories = [0; 2];
        for directory in &mut directories {
            *directory = align(&mut file);
            let at = file.len();
            file.resize(at + tables * 4, 0);
            for table in 0..tables {
                let sector = align(&mut file);
                put32(&mut file, at + table * 4, sector as u32);
                file.resize(file.len() + ENTRIES * 4, 0);
            }
            align(&mut file);
        }
        assert_eq!(directories[0] as usize * SECTOR, REDUNDANT);
        put64(&mut file, 48, directories[0]);
        put64(&mut file, 56, directories[1]);
        let overhead = align(&mut file);
        put64(&mut file, 64, overhead);
        for (number, grain) in grains.iter().enumerate() {
            let entry = match grain {
                Grain::Absent => 0,
                Grain::Zero => 1,
                Grain::Data(data) => {
                    let sector = align(&mut file);
                    file.extend(data);
                    sector as u32
                }
            };
            for directory in directories {
                let at = directory as usize * SECTOR + number / ENTRIES * 4;
                let table = get32(&file, at) as usize * SECTOR;
                put32(&mut file, table + number % ENTRIES * 4, entry);
            }
        }
        file
    }

    /// A stream: metadata behind the grains, a footer at the end.
    pub fn stream(&self, grains: &[Grain], cut_last: bool) -> Vec<u8> {
        let mut file = self.header(3, 0x3_0001);
        put64(&mut file, 56, u64::MAX);
        put64(&mut file, 64, 128);
        put16(&mut file, 77, 1);
        file.resize(128 * SECTOR, 0);
        let mut tables = Vec::new();
        for (first, chunk) in grains.chunks(ENTRIES).enumerate() {
            let mut entries = vec![0; ENTRIES * 4];
            for (number, grain) in chunk.iter().enumerate() {
                let Grain::Data(data) = grain else { continue };
                let sector = align(&mut file);
                put32(&mut entries, number * 4, sector as u32);
                let start = (first * ENTRIES + number) * self.grain;
                let length = match cut_last {
                    true => data.len().min((self.capacity - start) * SECTOR),
                    false => data.len(),
                };
                let packed = compress_to_vec_zlib(&data[..length], 6);
                file.extend((start as u64).to_le_bytes());
                file.extend((packed.len() as u32).to_le_bytes());
                file.extend(packed);
            }
            tables.push(0);
            if entries.iter().any(|byte| *byte != 0) {
                tables[first] = marker(&mut file, 1, 1) as u32;
                file.extend(entries);
            }
        }
        let directory = marker(&mut file, (tables.len() * 4).div_ceil(SECTOR) as u64, 2);
        file.extend(tables.iter().flat_map(|table| table.to_le_bytes()));
        marker(&mut file, 1, 3);
        let mut footer = file[..SECTOR].to_vec();
        put64(&mut footer, 56, directory);
        file.extend(footer);
        marker(&mut file, 0, 0);
        file
    }
}

/// Appends a sector with a marker of metadata; answers the sector behind it.
fn marker(file: &mut Vec<u8>, sectors: u64, kind: u32) -> u64 {
    align(file);
    file.extend(sectors.to_le_bytes());
    file.extend(0u32.to_le_bytes());
    file.extend(kind.to_le_bytes());
    align(file)
}

/// A COWD extent of `capacity` sectors.
pub fn cowd(capacity: usize, grain: usize, grains: &[Grain]) -> Vec<u8> {
    const ENTRIES: usize = 4096;
    let tables = grains.len().div_ceil(ENTRIES);
    let mut file = vec![0; 4 * SECTOR];
    file[..4].copy_from_slice(b"COWD");
    for (at, value) in [(4, 1), (8, 3), (12, capacity), (16, grain), (20, 4), (24, tables)] {
        put32(&mut file, at, value as u32);
    }
    file.resize(4 * SECTOR + tables * 4, 0);
    align(&mut file);
    for (table, chunk) in grains.chunks(ENTRIES).enumerate() {
        if chunk.iter().all(|grain| matches!(grain, Grain::Absent)) {
            continue;
        }
        let sector = align(&mut file);
        put32(&mut file, 4 * SECTOR + table * 4, sector as u32);
        let at = file.len();
        file.resize(at + ENTRIES * 4, 0);
        for (number, grain) in chunk.iter().enumerate() {
            if let Grain::Data(data) = grain {
                let sector = align(&mut file);
                put32(&mut file, at + number * 4, sector as u32);
                file.extend(data);
            }
        }
    }
    let next = align(&mut file);
    put32(&mut file, 28, next as u32);
    file
}

/// Where the parts of [`sesparse`] begin, in sectors: the volatile header, the
/// directory, the tables.
pub const SE_VOLATILE: usize = 1;
pub const SE_DIRECTORY: usize = 4;
pub const SE_TABLES: usize = 8;

/// An SEsparse extent of `capacity` sectors, in grains of 8. Tables and grains are
/// numbered from the last one of the disk on, so that no number is its place.
pub fn sesparse(capacity: usize, grains: &[Grain]) -> Vec<u8> {
    const ENTRIES: usize = 4096;
    let tables = grains.len().div_ceil(ENTRIES);
    let data = SE_TABLES + tables * 64;
    let stored = grains.iter().filter(|grain| matches!(grain, Grain::Data(_))).count();
    let mut file = vec![0; (data + stored * 8) * SECTOR];
    for (at, value) in [
        (0, 0xcafe_babe),
        (8, 0x2_0000_0001),
        (16, capacity as u64),
        (24, 8),
        (32, 64),
        (80, SE_VOLATILE as u64),
        (88, 1),
        (96, 2),
        (104, 1),
        (112, 3),
        (120, 1),
        (128, SE_DIRECTORY as u64),
        (136, 4),
        (144, SE_TABLES as u64),
        (152, tables as u64 * 64),
        (192, data as u64),
        (200, stored as u64 * 8),
    ] {
        put64(&mut file, at, value);
    }
    put64(&mut file, SE_VOLATILE * SECTOR, 0xcafe_cafe);
    let mut next = stored as u64;
    for (table, chunk) in grains.chunks(ENTRIES).enumerate() {
        if chunk.iter().all(|grain| matches!(grain, Grain::Absent)) {
            continue;
        }
        let number = tables - 1 - table;
        let entry = 0x1000_0000_0000_0000 | number as u64;
        put64(&mut file, SE_DIRECTORY * SECTOR + table * 8, entry);
        for (place, grain) in chunk.iter().enumerate() {
            let entry = match grain {
                Grain::Absent => continue,
                Grain::Zero if place % 2 == 0 => 1 << 60,
                Grain::Zero => 2 << 60,
                Grain::Data(bytes) => {
                    next -= 1;
                    let at = (data as u64 + next * 8) as usize * SECTOR;
                    file[at..at + bytes.len()].copy_from_slice(bytes);
                    3 << 60 | (next & 0xfff) << 48 | next >> 12
                }
            };
            put64(&mut file, (SE_TABLES + number * 64) * SECTOR + place * 8, entry);
        }
    }
    file
}
