//! Writes archives byte by byte, as `vma_spec.txt` has them and as the writer of
//! Proxmox VE does. It shares no code with the reader, MD5 included.
#![allow(dead_code)]

pub const CLUSTER: usize = 65536;
pub const BLOCK: usize = 4096;
pub const UUID: [u8; 16] = *b"\x01\x23\x45\x67\x89\xab\xcd\xef\xfe\xdc\xba\x98\x76\x54\x32\x10";
/// The writer of Proxmox VE leaves one of 59 slots of an extent unused.
pub const SLOTS: usize = 58;

/// One slot of an extent: device, cluster, mask, and the blocks of the mask.
#[derive(Clone)]
pub struct Slot {
    pub device: u8,
    pub cluster: u32,
    pub mask: u16,
    pub data: Vec<u8>,
}

/// What an archive is made of.
#[derive(Clone)]
pub struct Archive {
    pub uuid: [u8; 16],
    pub version: u32,
    /// Id, name, size in bytes.
    pub devices: Vec<(u8, String, u64)>,
    pub configs: Vec<(String, Vec<u8>)>,
    pub extents: Vec<Vec<Option<Slot>>>,
}

impl Archive {
    pub fn new() -> Self {
        let (uuid, version) = (UUID, 1);
        Self { uuid, version, devices: vec![], configs: vec![], extents: vec![] }
    }

    pub fn device(mut self, id: u8, name: &str, size: u64) -> Self {
        self.devices.push((id, name.into(), size));
        self
    }

    pub fn config(mut self, name: &str, text: &[u8]) -> Self {
        self.configs.push((name.into(), text.into()));
        self
    }

    /// Adds slots, in extents as full as the writer makes them.
    pub fn slots(mut self, slots: impl IntoIterator<Item = Slot>) -> Self {
        let slots: Vec<_> = slots.into_iter().map(Some).collect();
        self.extents.extend(slots.chunks(SLOTS).map(<[_]>::to_vec));
        self
    }

    pub fn header(&self) -> Vec<u8> {
        let mut blobs = vec![0];
        let mut blob = |bytes: &[u8]| {
            let at = blobs.len() as u32;
            blobs.extend((bytes.len() as u16).to_le_bytes());
            blobs.extend(bytes);
            at
        };
        let mut bytes = vec![0; 12288];
        for (place, (name, text)) in self.configs.iter().enumerate() {
            let (name, text) = (blob(&terminated(name)), blob(text));
            put(&mut bytes, 2044 + 4 * place, &name.to_be_bytes());
            put(&mut bytes, 3068 + 4 * place, &text.to_be_bytes());
        }
        for (id, name, size) in &self.devices {
            let at = 4096 + 32 * usize::from(*id);
            let name = blob(&terminated(name));
            put(&mut bytes, at, &name.to_be_bytes());
            put(&mut bytes, at + 8, &size.to_be_bytes());
        }
        let size = 12288 + blobs.len().next_multiple_of(512);
        put(&mut bytes, 0, b"VMA\0");
        put(&mut bytes, 4, &self.version.to_be_bytes());
        put(&mut bytes, 8, &self.uuid);
        put(&mut bytes, 24, &1_700_000_000u64.to_be_bytes());
        put(&mut bytes, 48, &12288u32.to_be_bytes());
        put(&mut bytes, 52, &(blobs.len() as u32).to_be_bytes());
        put(&mut bytes, 56, &(size as u32).to_be_bytes());
        bytes.extend(blobs);
        bytes.resize(size, 0);
        seal_header(&mut bytes);
        bytes
    }

    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.header();
        for slots in &self.extents {
            bytes.extend(extent(&self.uuid, slots));
        }
        bytes
    }
}

fn terminated(text: &str) -> Vec<u8> {
    [text.as_bytes(), &[0]].concat()
}

fn put(bytes: &mut [u8], at: usize, part: &[u8]) {
    bytes[at..at + part.len()].copy_from_slice(part);
}

/// Makes the MD5 of a header right again.
pub fn seal_header(bytes: &mut [u8]) {
    put(bytes, 32, &[0; 16]);
    let sum = md5(bytes);
    put(bytes, 32, &sum);
}

/// Makes the MD5 of the extent that begins at `at` right again.
pub fn seal_extent(bytes: &mut [u8], at: usize) {
    put(bytes, at + 24, &[0; 16]);
    let sum = md5(&bytes[at..at + 512]);
    put(bytes, at + 24, &sum);
}

/// An extent of these slots; `None` leaves one unused.
pub fn extent(uuid: &[u8; 16], slots: &[Option<Slot>]) -> Vec<u8> {
    let mut bytes = b"VMAE\0\0".to_vec();
    let blocks: usize = slots.iter().flatten().map(|slot| slot.data.len() / BLOCK).sum();
    bytes.extend((blocks as u16).to_be_bytes());
    bytes.extend(uuid);
    bytes.resize(40, 0);
    for slot in slots {
        let word = slot.as_ref().map_or(0, |slot| {
            u64::from(slot.mask) << 48 | u64::from(slot.device) << 32 | u64::from(slot.cluster)
        });
        bytes.extend(word.to_be_bytes());
    }
    bytes.resize(512, 0);
    seal_extent(&mut bytes, 0);
    slots.iter().flatten().for_each(|slot| bytes.extend(&slot.data));
    bytes
}

/// The slots of a whole disk, in order; blocks of zeroes are left out.
pub fn slots_of(device: u8, disk: &[u8]) -> Vec<Slot> {
    let cut = |(cluster, bytes): (usize, &[u8])| {
        let mut slot = Slot { device, cluster: cluster as u32, mask: 0, data: vec![] };
        for (block, bytes) in bytes.chunks(BLOCK).enumerate() {
            if bytes.iter().any(|byte| *byte != 0) {
                slot.mask |= 1 << block;
                slot.data.extend(bytes);
                slot.data.resize(slot.data.len().next_multiple_of(BLOCK), 0);
            }
        }
        slot
    };
    disk.chunks(CLUSTER).enumerate().map(cut).collect()
}

/// Interleaves lists of slots and disturbs their order, the same way for the same seed.
pub fn shuffled(lists: &[Vec<Slot>], seed: u64) -> Vec<Slot> {
    let mut slots = lists.concat();
    let mut state = seed | 1;
    for place in (1..slots.len()).rev() {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        slots.swap(place, (state % (place as u64 + 1)) as usize);
    }
    slots
}

/// A disk of noise with zeroes of all lengths between.
pub fn disk(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(length + CLUSTER);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        match state >> 20 & 7 {
            0 => bytes.extend(vec![0; CLUSTER]),
            1..=3 => bytes.extend(vec![0; BLOCK]),
            _ => (0..BLOCK / 8).for_each(|word| {
                bytes.extend(
                    (state ^ (word as u64).wrapping_mul(0x2545_f491_4f6c_dd1d)).to_le_bytes(),
                );
            }),
        }
    }
    bytes.truncate(length);
    bytes
}

/// MD5 (RFC 1321).
pub fn md5(bytes: &[u8]) -> [u8; 16] {
    const TURNS: [[u32; 4]; 4] =
        [[7, 12, 17, 22], [5, 9, 14, 20], [4, 11, 16, 23], [6, 10, 15, 21]];
    let mut padded = bytes.to_vec();
    padded.push(0x80);
    padded.resize((padded.len() + 8).next_multiple_of(64) - 8, 0);
    padded.extend((bytes.len() as u64 * 8).to_le_bytes());
    let mut sums = [0x6745_2301_u32, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476];
    for part in padded.chunks(64) {
        let word = |at: usize| u32::from_le_bytes(part[4 * at..4 * at + 4].try_into().unwrap());
        let [mut a, mut b, mut c, mut d] = sums;
        for step in 0..64 {
            let (mixed, at) = match step / 16 {
                0 => (b & c | !b & d, step),
                1 => (d & b | !d & c, 5 * step + 1),
                2 => (b ^ c ^ d, 3 * step + 5),
                _ => (c ^ (b | !d), 7 * step),
            };
            let constant = ((step as f64 + 1.0).sin().abs() * 4_294_967_296.0) as u32;
            let sum = a.wrapping_add(mixed).wrapping_add(constant).wrapping_add(word(at % 16));
            (a, d, c) = (d, c, b);
            b = b.wrapping_add(sum.rotate_left(TURNS[step / 16][step % 4]));
        }
        for (sum, more) in sums.iter_mut().zip([a, b, c, d]) {
            *sum = sum.wrapping_add(more);
        }
    }
    let mut digest = [0; 16];
    digest.chunks_mut(4).zip(sums).for_each(|(to, sum)| to.copy_from_slice(&sum.to_le_bytes()));
    digest
}
