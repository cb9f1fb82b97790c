//! Writes images and sets of them, from what is published of the format and from
//! nothing of the plugin.

use aes::cipher::{BlockCipherEncrypt, BlockModeEncrypt, KeyInit, KeyIvInit};
use hmac::{Hmac, Mac};
use md5::{Digest as _, Md5};
use sha2::Sha256;

pub const ID: &str = "0123456789ABCDEF";

/// Which AES, and the password.
#[derive(Clone)]
pub struct Lock {
    pub bits: usize,
    pub password: String,
    pub rounds: u32,
}

/// A partition to be backed up.
#[derive(Clone)]
pub struct Partition {
    pub number: i32,
    pub start: u64,
    /// What is on it.
    pub bytes: Vec<u8>,
    pub block: usize,
    /// Bytes before the first cluster, stored apart.
    pub reserved: usize,
    /// Where its boot sector is.
    pub boot: u64,
}

/// A disk to be backed up.
#[derive(Clone)]
pub struct Disk {
    pub number: i32,
    pub size: u64,
    pub format: &'static str,
    pub track0: Vec<u8>,
    /// Boot records of logical drives, each with its offset; and bytes a record.
    pub records: Vec<(u64, Vec<u8>)>,
    pub record_size: usize,
    pub partitions: Vec<Partition>,
}

/// What a file holds of an index.
#[derive(Clone, Copy, PartialEq)]
pub enum Index {
    /// All blocks, those that did not change in older files.
    Full,
    /// Blocks that changed.
    Delta,
    /// None: it is in a later file.
    Split,
}

/// Where a block is stored.
#[derive(Clone, Default)]
pub struct Element {
    pub position: i64,
    pub md5: [u8; 16],
    pub length: u32,
    pub file: u16,
}

/// Changes the JSON of a file just before it is written.
pub type Change<'a> = &'a dyn Fn(String) -> String;

/// A set in the making.
#[derive(Clone)]
pub struct Writer {
    pub disks: Vec<Disk>,
    pub compressed: bool,
    pub lock: Option<Lock>,
    /// Zero bytes at a block are not stored.
    pub sparse: bool,
    derived: [u8; 32],
    /// Elements of the newest state: disk, partition, block.
    pub state: Vec<Vec<Vec<Element>>>,
    pub reserved: Vec<Vec<Vec<Element>>>,
    /// What is stored, to know what changed.
    stored: Vec<Vec<Vec<u8>>>,
    data: Vec<u8>,
    /// Blocks whose elements the next delta is to have.
    pub changed: Vec<Vec<Vec<u32>>>,
}

impl Writer {
    pub fn new(disks: Vec<Disk>, compressed: bool, lock: Option<Lock>) -> Self {
        let mut derived = [0; 32];
        if let Some(lock) = &lock {
            let salt = Sha256::digest([0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef]);
            pbkdf2::pbkdf2_hmac::<Sha256>(
                lock.password.as_bytes(),
                &salt,
                lock.rounds,
                &mut derived,
            );
        }
        let empty: Vec<Vec<Vec<Element>>> =
            disks.iter().map(|disk| vec![Vec::new(); disk.partitions.len()]).collect();
        let stored = disks.iter().map(|disk| vec![Vec::new(); disk.partitions.len()]).collect();
        let changed = disks.iter().map(|disk| vec![Vec::new(); disk.partitions.len()]).collect();
        Self {
            disks,
            compressed,
            lock,
            sparse: true,
            derived,
            state: empty.clone(),
            reserved: empty,
            stored,
            data: Vec::new(),
            changed,
        }
    }

    /// Stores what changed since the last call in file `file`; ends in no index.
    pub fn store(&mut self, file: u16) {
        let disks = self.disks.clone();
        for (d, disk) in disks.iter().enumerate() {
            for (p, partition) in disk.partitions.iter().enumerate() {
                self.store_partition((d, p), disk, partition, file);
            }
        }
    }

    fn store_partition(
        &mut self,
        (d, p): (usize, usize),
        disk: &Disk,
        part: &Partition,
        file: u16,
    ) {
        let before = std::mem::replace(&mut self.stored[d][p], part.bytes.clone());
        let (head, tail) = part.bytes.split_at(part.reserved);
        let same = before.get(..part.reserved) == Some(head);
        if !same || self.reserved[d][p].is_empty() {
            let blocks = head.chunks(4 << 20).enumerate();
            let place = |(index, block)| self.put_block(disk, part, index as u32, block, file);
            self.reserved[d][p] = blocks.map(place).collect();
        }
        let mut changed = Vec::new();
        for (index, block) in tail.chunks(part.block).enumerate() {
            let start = part.reserved + index * part.block;
            if before.get(start..start + block.len()) == Some(block) {
                continue;
            }
            let zero = self.sparse && block.iter().all(|byte| *byte == 0);
            let element = match zero {
                true => Element::default(),
                false => self.put_block(disk, part, index as u32, block, file),
            };
            let state = &mut self.state[d][p];
            state.resize(state.len().max(index + 1), Element::default());
            state[index] = element;
            changed.push(index as u32);
        }
        // Not in order, for nothing says that they are.
        changed.reverse();
        self.changed[d][p].extend(changed);
    }

    fn put_block(
        &mut self,
        disk: &Disk,
        part: &Partition,
        index: u32,
        block: &[u8],
        file: u16,
    ) -> Element {
        let mut bytes = block.to_vec();
        if self.compressed {
            bytes = compress(block);
        }
        if let Some(lock) = &self.lock {
            bytes.resize(bytes.len().next_multiple_of(16), 0x5a);
            let vector = self.vector(disk.number, part.number, index);
            let (blocks, _) = bytes.as_chunks_mut::<16>();
            if lock.bits == 128 {
                let cipher =
                    cbc::Encryptor::<aes::Aes128>::new_from_slices(&self.derived[..16], &vector);
                let mut cipher = cipher.unwrap();
                blocks.iter_mut().for_each(|block| cipher.encrypt_block(block.into()));
            } else {
                let cipher = cbc::Encryptor::<aes::Aes256>::new_from_slices(&self.derived, &vector);
                let mut cipher = cipher.unwrap();
                blocks.iter_mut().for_each(|block| cipher.encrypt_block(block.into()));
            }
        }
        let element = Element {
            position: self.data.len() as i64,
            md5: Md5::digest(block).into(),
            length: bytes.len() as u32,
            file,
        };
        self.data.extend(bytes);
        element
    }

    fn vector(&self, disk: i32, partition: i32, index: u32) -> [u8; 16] {
        let mut block = [0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef, 0, 0, 0, 0, 0, 0, 0, 0];
        block[8..10].copy_from_slice(&(disk as u16).to_le_bytes());
        block[10..12].copy_from_slice(&(partition as u16).to_le_bytes());
        block[12..].copy_from_slice(&index.to_le_bytes());
        let cipher = aes::Aes256::new_from_slice(&Sha256::digest(self.derived)).unwrap();
        let mut block = block.into();
        cipher.encrypt_block(&mut block);
        block.into()
    }

    /// Ends the file: what was stored in it, and its metadata.
    pub fn finish(&mut self, file: u16, increment: u16, index: Index) -> Vec<u8> {
        self.finish_with(file, increment, index, &|json| json)
    }

    /// The same, with the JSON changed.
    pub fn finish_with(
        &mut self,
        file: u16,
        increment: u16,
        index: Index,
        change: Change,
    ) -> Vec<u8> {
        let mut out = std::mem::take(&mut self.data);
        let position = out.len();
        if index != Index::Split {
            for d in 0..self.disks.len() {
                self.put_disk(&mut out, d, index == Index::Delta);
            }
            self.changed.iter_mut().flatten().for_each(Vec::clear);
        }
        let json = change(self.json(file, increment, index, position));
        let start = out.len() as u64;
        let packed = compress(json.as_bytes());
        put_block(&mut out, b"$JSON   ", &packed, 2);
        put_block(&mut out, b"$AUXDATA", b"for internal use", 1);
        out.extend(start.to_le_bytes());
        out.extend(b"MACRIUM_FILE");
        out
    }

    fn put_disk(&self, out: &mut Vec<u8>, d: usize, delta: bool) {
        let disk = &self.disks[d];
        let last = u8::from(disk.records.is_empty());
        self.put_metadata(out, b"$TRACK0 ", &disk.track0, last);
        if !disk.records.is_empty() {
            let mut bytes = (disk.records.len() as u32).to_le_bytes().to_vec();
            for (offset, sector) in &disk.records {
                let mut record = sector.clone();
                record.extend(offset.to_le_bytes());
                record.resize(disk.record_size, 0);
                bytes.extend(record);
            }
            self.put_metadata(out, b"$EPT    ", &bytes, 1);
        }
        for p in 0..disk.partitions.len() {
            self.put_metadata(out, b"$BITMAP ", &[0xff; 100], 0);
            put_block(out, b"$MFT    ", &[], 0);
            let mut bytes = Vec::new();
            put_count(&mut bytes, self.reserved[d][p].len());
            self.reserved[d][p].iter().for_each(|element| put_element(&mut bytes, element));
            if delta {
                put_count(&mut bytes, self.changed[d][p].len());
                for block in &self.changed[d][p] {
                    put_element(&mut bytes, &self.state[d][p][*block as usize]);
                    bytes.extend(block.to_le_bytes());
                }
            } else {
                put_count(&mut bytes, self.state[d][p].len());
                self.state[d][p].iter().for_each(|element| put_element(&mut bytes, element));
            }
            put_block(out, b"$INDEX  ", &bytes, 1);
        }
    }

    /// A block that is stored as the set's blocks are.
    fn put_metadata(&self, out: &mut Vec<u8>, name: &[u8; 8], bytes: &[u8], last: u8) {
        let mut bytes = compress(bytes);
        let mut flags = last | 2;
        if let Some(lock) = &self.lock {
            flags |= 4;
            bytes.resize(bytes.len().next_multiple_of(16), 0);
            for block in bytes.chunks_exact_mut(16) {
                let mut plain = <[u8; 16]>::try_from(&*block).unwrap().into();
                if lock.bits == 128 {
                    aes::Aes128::new_from_slice(&self.derived[..16])
                        .unwrap()
                        .encrypt_block(&mut plain);
                } else {
                    aes::Aes256::new_from_slice(&self.derived).unwrap().encrypt_block(&mut plain);
                }
                block.copy_from_slice(&plain);
            }
        }
        put_block(out, name, &bytes, flags);
    }

    fn json(&self, file: u16, increment: u16, index: Index, position: usize) -> String {
        let level = if self.compressed { "medium" } else { "none" };
        let encryption = match &self.lock {
            None => r#"{"enable":false,"key_iterations":0}"#.to_string(),
            Some(lock) => {
                let mac = <Hmac<Sha256> as KeyInit>::new_from_slice(&self.derived).unwrap();
                let mac = mac.finalize().into_bytes();
                let hmac: String = mac.iter().map(|byte| format!("{byte:02x}")).collect();
                format!(
                    r#"{{"enable":true,"aes_type":"aes-{}","key_iterations":{},"hmac":"{hmac}","key_derivation":"pbkdf2"}}"#,
                    lock.bits, lock.rounds
                )
            }
        };
        let kind = match (increment, index) {
            (0, _) => "full",
            (_, Index::Full) => "diff",
            _ => "inc",
        };
        let (delta, split) = (index == Index::Delta, index == Index::Split);
        let disks: Vec<String> = self.disks.iter().map(|disk| json_disk(disk, file)).collect();
        format!(
            r#"{{"_auxiliary_data":{{"backup_definition":{{"comment":"a comment"}},"macrium_reflect":{{"major":10,"minor":0,"build":8069}}}},
"_compression":{{"compression_level":"{level}","compression_method":"zstd"}},"_encryption":{encryption},
"_header":{{"backup_format":"partition","backup_time":1720608136,"backup_type":"{kind}","delta_index":{delta},
"file_number":{file},"imageid":"{ID}","increment_number":{increment},"index_file_position":{position},
"json_version":1,"netbios_name":"HOST","split_file":{split}}},"disks":[{}]}}"#,
            disks.join(",")
        )
    }
}

fn json_disk(disk: &Disk, file: u16) -> String {
    let partition = |part: &Partition| {
        let cluster = part.start + part.reserved as u64;
        let count = (part.bytes.len() - part.reserved).div_ceil(part.block);
        let history: Vec<String> = (0..=file)
            .map(|number| {
                format!(
                    r#"{{"file_name":"C:\\old\\{ID}-00-{number:02}.mrimg","file_number":{number}}}"#
                )
            })
            .collect();
        let reserved = match part.reserved {
            0 => String::new(),
            length => format!(r#""reserved_sectors_byte_length":{length},"#),
        };
        format!(
            r#"{{"_file_system":{{{reserved}"lcn0_offset":{cluster},"start":{start},"type":"NTFS","volume_label":"Data"}},
"_geometry":{{"boot_sector_offset":{boot},"length":{length},"start":{start}}},
"_header":{{"block_count":{count},"block_size":{block},"file_history":[{history}],"partition_number":{number}}}}}"#,
            start = part.start,
            boot = part.boot,
            length = part.bytes.len(),
            block = part.block,
            number = part.number,
            history = history.join(",")
        )
    };
    let partitions: Vec<String> = disk.partitions.iter().map(partition).collect();
    format!(
        r#"{{"_descriptor":{{"disk_description":"A disk"}},"_geometry":{{"bytes_per_sector":512,"disk_size":{}}},
"_header":{{"disk_format":"{}","disk_number":{}}},"partitions":[{}]}}"#,
        disk.size,
        disk.format,
        disk.number,
        partitions.join(",")
    )
}

/// One zstd frame that tells its length.
pub fn compress(bytes: &[u8]) -> Vec<u8> {
    let level = ruzstd::encoding::CompressionLevel::Fastest;
    let mut frame = ruzstd::encoding::compress_to_vec(bytes, level);
    // Neither a length, nor a single segment, nor a dictionary: a window alone.
    assert_eq!(frame[4] & 0xe3, 0);
    frame[4] |= 0x80;
    frame.splice(6..6, (bytes.len() as u32).to_le_bytes());
    frame
}

fn put_block(out: &mut Vec<u8>, name: &[u8; 8], bytes: &[u8], flags: u8) {
    out.extend(name);
    out.extend((bytes.len() as u32).to_le_bytes());
    out.extend(if bytes.is_empty() { [0; 16] } else { Md5::digest(bytes).into() });
    out.extend([flags, 0, 0, 0]);
    out.extend(bytes);
}

fn put_count(out: &mut Vec<u8>, count: usize) {
    out.extend((count as u32).to_le_bytes());
}

fn put_element(out: &mut Vec<u8>, element: &Element) {
    out.extend(element.position.to_le_bytes());
    out.extend(element.md5);
    out.extend(element.length.to_le_bytes());
    out.extend(element.file.to_le_bytes());
}

/// The disk's bytes as they ought to be restored.
pub fn expected(disk: &Disk) -> Vec<u8> {
    let mut bytes = vec![0; disk.size as usize];
    bytes[..disk.track0.len()].copy_from_slice(&disk.track0);
    for (offset, sector) in &disk.records {
        bytes[*offset as usize..][..512].copy_from_slice(sector);
    }
    for part in &disk.partitions {
        bytes[part.start as usize..][..part.bytes.len()].copy_from_slice(&part.bytes);
    }
    bytes
}

/// Contents that no codec treats alike: noise, text, zeroes.
pub fn sample(length: usize, seed: u64) -> Vec<u8> {
    let mut random = fumehood_plugin::simulate::Random::new(seed);
    let mut bytes: Vec<u8> = (0..length / 3).map(|_| random.next_word() as u8).collect();
    let text = (0u32..).flat_map(|number| format!("line {number}\n").into_bytes());
    bytes.extend(text.take(length / 3));
    bytes.resize(length, 0);
    bytes
}

/// An MBR disk of 1 MiB with one partition whose last block is cut.
pub fn plain_disk(block: usize) -> Disk {
    let length = (512 << 10) - 3 * 512;
    let mut track0 = vec![0x33; 63 * 512];
    track0[446..512].fill(0);
    track0[450] = 7;
    track0[454..458].copy_from_slice(&512u32.to_le_bytes());
    track0[458..462].copy_from_slice(&((length / 512) as u32).to_le_bytes());
    track0[510..512].copy_from_slice(&[0x55, 0xaa]);
    Disk {
        number: 2,
        size: 1 << 20,
        format: "mbr",
        track0,
        records: Vec::new(),
        record_size: 522,
        partitions: vec![Partition {
            number: 1,
            start: 256 << 10,
            bytes: sample(length, 5),
            block,
            reserved: 0,
            boot: 0,
        }],
    }
}

/// The name of a file of a set.
pub fn name(increment: u16, file: u16) -> String {
    format!("{ID}-{increment:02}-{file:02}.mrimgx")
}
