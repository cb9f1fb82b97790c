//! Writes archives, from what is known of the format and from nothing of the plugin.

use md5::{Digest as _, Md5};

pub const PAGE: usize = 4096;

/// How a block is stored.
#[derive(Clone, Copy, PartialEq)]
pub enum Store {
    Plain,
    Lz4,
}

/// A file to be written.
pub struct File {
    pub kind: u32,
    pub name: String,
    pub bytes: Vec<u8>,
    pub block: usize,
    pub store: Store,
    pub properties: Option<Vec<u8>>,
}

impl File {
    pub fn new(name: &str, bytes: Vec<u8>, block: usize, store: Store) -> Self {
        Self { kind: 3, name: name.into(), bytes, block, store, properties: None }
    }
}

/// Changes an entry just before it is put on a page: (number, bytes).
pub type Change = Box<dyn Fn(usize, &mut [u8])>;

/// An archive in the making.
pub struct Writer {
    pub version: u32,
    pub slot_format: u32,
    pub most_banks: u32,
    /// Versions that the two slots carry.
    pub versions: [u64; 2],
    pub change_item: Option<Change>,
    pub change_descriptor: Option<Change>,
    pub change_store: Option<Change>,
    pub change_table: Option<Change>,
    /// Folders around the files.
    pub depth: usize,
    pub pages: Vec<Vec<u8>>,
    pub blocks: Vec<u8>,
    pub store: Vec<Vec<u8>>,
}

impl Writer {
    pub fn new(version: u32) -> Self {
        Self {
            version,
            slot_format: 9,
            most_banks: 100,
            versions: [7, 7],
            change_item: None,
            change_descriptor: None,
            change_store: None,
            change_table: None,
            depth: 1,
            pages: Vec::new(),
            blocks: Vec::new(),
            store: Vec::new(),
        }
    }

    /// Where the bank begins.
    pub fn bank(&self) -> usize {
        PAGE + 2 * self.slot_size()
    }

    fn slot_size(&self) -> usize {
        (124 + 16 * self.most_banks as usize).div_ceil(PAGE) * PAGE
    }

    fn page(&mut self) -> usize {
        self.pages.push(vec![0; PAGE]);
        self.pages.len() - 1
    }

    /// A vector's root page.
    pub fn vector(&mut self, entries: &[Vec<u8>]) -> u64 {
        let size = entries[0].len();
        let start = if self.version < 12 { 8 } else { 0 };
        let mut data = Vec::new();
        for part in entries.chunks((PAGE - start) / size) {
            let page = self.page();
            data.push(page as u64);
            let bytes = part.concat();
            self.pages[page][start..start + bytes.len()].copy_from_slice(&bytes);
        }
        if self.version < 12 {
            for pair in data.windows(2) {
                put(&mut self.pages[pair[0] as usize], 0, &pair[1].to_le_bytes());
            }
            put(&mut self.pages[*data.last().unwrap() as usize], 0, &[0xff; 8]);
            return data[0];
        }
        self.list(&data)
    }

    fn list(&mut self, data: &[u64]) -> u64 {
        let mut rest = data;
        let mut lists: Vec<usize> = Vec::new();
        while !rest.is_empty() {
            let page = self.page();
            self.pages[page].fill(0xff);
            let head = match lists.len() {
                0 => 2,
                number if number % 3 == 1 => 4,
                _ => 1,
            };
            let count = rest.len().min(PAGE / 8 - head);
            for (place, number) in rest[..count].iter().enumerate() {
                put(&mut self.pages[page], 8 * (head + place), &number.to_le_bytes());
            }
            if let Some(before) = lists.last() {
                put(&mut self.pages[*before], 0, &(page as u64).to_le_bytes());
            }
            lists.push(page);
            rest = &rest[count..];
        }
        lists[0] as u64
    }

    fn add_block(&mut self, bytes: &[u8], store: Store) -> u64 {
        let digest: [u8; 16] = Md5::digest(bytes).into();
        let (stored, code) = match store {
            Store::Plain => (bytes.to_vec(), -1i8),
            Store::Lz4 => {
                let mut stored = 0xf800_000f_u32.to_le_bytes().to_vec();
                stored.extend(crc32c(bytes).to_le_bytes());
                stored.extend((bytes.len() as u32).to_le_bytes());
                stored.extend(lz4_flex::block::compress(bytes));
                (stored, 7)
            }
        };
        let allocated = stored.len().next_multiple_of(if bytes.len() < 512 { 1 } else { 512 });
        let mut entry = vec![4];
        entry.extend(1u32.to_le_bytes());
        entry.extend((self.blocks.len() as u64).to_le_bytes());
        entry.extend((allocated as u32).to_le_bytes());
        entry.push(1);
        entry.extend(digest);
        entry.extend([code as u8, 0]);
        entry.extend((stored.len() as u32).to_le_bytes());
        entry.extend((bytes.len() as u32).to_le_bytes());
        entry.extend([0; 16]);
        self.store.push(entry);
        self.blocks.extend(&stored);
        self.blocks.resize(self.blocks.len() + allocated - stored.len(), 0);
        self.store.len() as u64 - 1
    }

    /// The item of a file, its blocks added. Blocks of zeroes are sparse, and so are
    /// whole tables of them.
    fn add_file(&mut self, file: &File) -> Vec<u8> {
        let mut descriptors = Vec::new();
        for (number, block) in file.bytes.chunks(file.block).enumerate() {
            let sparse = block.iter().all(|byte| *byte == 0);
            let id = if sparse { 0 } else { self.add_block(block, file.store) };
            let mut bytes = (block.len() as u32).to_le_bytes().to_vec();
            bytes.push(sparse.into());
            bytes.extend(<[u8; 16]>::from(Md5::digest(block)));
            bytes.extend(id.to_le_bytes());
            bytes.extend([0; 17]);
            if let Some(change) = &self.change_descriptor {
                change(number, &mut bytes);
            }
            descriptors.push(bytes);
        }
        let mut table = Vec::new();
        for (number, group) in descriptors.chunks(1088).enumerate() {
            let sparse = group.iter().all(|descriptor| descriptor[4] == 1);
            let root = if sparse { u64::MAX } else { self.vector(group) };
            let words = [root, file.block as u64, group.len() as u64];
            let mut bytes = words.map(u64::to_le_bytes).concat();
            if let Some(change) = &self.change_table {
                change(number, &mut bytes);
            }
            table.push(bytes);
        }
        let properties = file.properties.as_ref().map(|bytes| self.properties(bytes));
        let mut item = self.item(file.kind, &file.name);
        put(&mut item, 0x88, &properties.unwrap_or(u64::MAX).to_le_bytes());
        let root = if table.is_empty() { u64::MAX } else { self.vector(&table) };
        put(&mut item, 0x98, &root.to_le_bytes());
        put(&mut item, 0xa0, &(descriptors.len() as u64).to_le_bytes());
        put(&mut item, 0xa8, &(file.bytes.len() as u64).to_le_bytes());
        item
    }

    fn properties(&mut self, bytes: &[u8]) -> u64 {
        let first = self.page();
        put(&mut self.pages[first], 0, &[0xff; 8]);
        put(&mut self.pages[first], 8, &(bytes.len() as u32).to_le_bytes());
        let (head, tail) = bytes.split_at(bytes.len().min(PAGE - 12));
        put(&mut self.pages[first], 12, head);
        let mut before = first;
        for part in tail.chunks(PAGE - 8) {
            let page = self.page();
            put(&mut self.pages[page], 0, &[0xff; 8]);
            put(&mut self.pages[page], 8, part);
            put(&mut self.pages[before], 0, &(page as u64).to_le_bytes());
            before = page;
        }
        first as u64
    }

    fn item(&self, kind: u32, name: &str) -> Vec<u8> {
        let mut item = vec![0; 192];
        put(&mut item, 0, &kind.to_le_bytes());
        put(&mut item, 4, &(name.len() as u32).to_le_bytes());
        // What was in memory before stands behind the name.
        put(&mut item, 8, &[0xd8; 128]);
        put(&mut item, 8, name.as_bytes());
        put(&mut item, 0x88, &[0xff; 8]);
        item
    }

    /// The archive with these files, all in one folder.
    pub fn write(mut self, files: &[File]) -> Vec<u8> {
        let mut items: Vec<Vec<u8>> = files.iter().map(|file| self.add_file(file)).collect();
        if let Some(change) = &self.change_item {
            items.iter_mut().enumerate().for_each(|(number, item)| change(number, item));
        }
        for level in 0..self.depth {
            let root = self.vector(&items);
            let mut folder = self.item(1, &format!("job {level}"));
            put(&mut folder, 0x94, &root.to_le_bytes());
            put(&mut folder, 0x9c, &(items.len() as u32).to_le_bytes());
            items = vec![folder];
        }
        let directory = (self.vector(&items), items.len() as u64);
        let data = self.bank() + PAGE * (1 + self.count_pages());
        for (number, entry) in self.store.iter_mut().enumerate() {
            let offset = u64::from_le_bytes(entry[5..13].try_into().unwrap()) + data as u64;
            put(entry, 5, &offset.to_le_bytes());
            if let Some(change) = &self.change_store {
                change(number, entry);
            }
        }
        let store = std::mem::take(&mut self.store);
        let blocks = match store.len() {
            0 => (u64::MAX, 0),
            count => (self.vector(&store), count as u64),
        };
        self.finish(data, directory, blocks)
    }

    /// Pages there will be, with room for the block store.
    fn count_pages(&self) -> usize {
        self.pages.len() + self.store.len() / 60 + 8
    }

    fn finish(mut self, data: usize, directory: (u64, u64), blocks: (u64, u64)) -> Vec<u8> {
        let room = (data - self.bank()) / PAGE - 1;
        assert!(self.pages.len() <= room);
        self.pages.resize(room, vec![0; PAGE]);
        let mut bank = vec![0; PAGE];
        put(&mut bank, 0, &(room as u16).to_le_bytes());
        bank.extend(self.pages.concat());
        let mut out = vec![0; PAGE];
        put(&mut out, 0, &self.version.to_le_bytes());
        put(&mut out, 4, &1u32.to_le_bytes());
        put(&mut out, 8, &3u32.to_le_bytes());
        put(&mut out, 12, b"md5");
        put(&mut out, 0x107, &self.slot_format.to_le_bytes());
        put(&mut out, 0x10b, &(1u32 << 20).to_le_bytes());
        out.resize(self.bank(), 0);
        let end = self.bank() + bank.len() + self.blocks.len();
        for (number, version) in self.versions.into_iter().enumerate() {
            let mut slot = vec![0; 124 + 16 * self.most_banks as usize];
            put(&mut slot, 4, &1u32.to_le_bytes());
            put(&mut slot, 8, &version.to_le_bytes());
            put(&mut slot, 16, &(end as u64).to_le_bytes());
            put(&mut slot, 24, &1u32.to_le_bytes());
            put(&mut slot, 28, &directory.0.to_le_bytes());
            put(&mut slot, 36, &directory.1.to_le_bytes());
            put(&mut slot, 44, &blocks.0.to_le_bytes());
            put(&mut slot, 52, &blocks.1.to_le_bytes());
            put(&mut slot, 60, &[0xff; 48]);
            put(&mut slot, 116, &self.most_banks.to_le_bytes());
            put(&mut slot, 120, &1u32.to_le_bytes());
            put(&mut slot, 124, &self.sum(&bank).to_le_bytes());
            put(&mut slot, 128, &(self.bank() as u64).to_le_bytes());
            put(&mut slot, 136, &(bank.len() as u32).to_le_bytes());
            let sum = self.sum(&slot[4..]);
            put(&mut slot, 0, &sum.to_le_bytes());
            put(&mut out, PAGE + number * self.slot_size(), &slot);
        }
        out.extend(bank);
        out.extend(self.blocks);
        out
    }

    fn sum(&self, bytes: &[u8]) -> u32 {
        crc(bytes, if self.slot_format > 5 { 0x82f6_3b78 } else { 0xedb8_8320 })
    }
}

/// Makes the checksum of a slot right, which begins at `offset` and names at most 100
/// banks.
pub fn seal_slot(bytes: &mut [u8], offset: usize) {
    let sum = crc32c(&bytes[offset + 4..offset + 124 + 16 * 100]);
    put(bytes, offset, &sum.to_le_bytes());
}

pub fn put(bytes: &mut [u8], offset: usize, value: &[u8]) {
    bytes[offset..offset + value.len()].copy_from_slice(value);
}

pub fn crc32c(bytes: &[u8]) -> u32 {
    crc(bytes, 0x82f6_3b78)
}

/// By a table of 256 words, for bits reversed.
fn crc(bytes: &[u8], polynomial: u32) -> u32 {
    let step = |word: u32| (word >> 1) ^ (polynomial & (word & 1).wrapping_neg());
    let table: Vec<u32> = (0..256).map(|byte| (0..8).fold(byte, |word, _| step(word))).collect();
    !bytes.iter().fold(!0, |sum, byte| table[((sum ^ u32::from(*byte)) & 255) as usize] ^ sum >> 8)
}
