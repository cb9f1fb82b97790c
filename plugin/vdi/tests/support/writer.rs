//! Images made by hand, byte by byte, for what QEMU does not write: other block sizes,
//! bytes in front of blocks, blocks out of order, zero blocks, and children.

pub const FREE: u32 = 0xffff_ffff;
pub const ZERO: u32 = 0xffff_fffe;

/// Where the fields lie.
pub const VERSION: usize = 68;
pub const LENGTH: usize = 72;
pub const TYPE: usize = 76;
pub const COMMENT: usize = 84;
pub const MAP_OFFSET: usize = 340;
pub const DATA_OFFSET: usize = 344;
pub const GEOMETRY: usize = 348;
pub const DISK_SIZE: usize = 368;
pub const BLOCK_SIZE: usize = 376;
pub const BLOCK_EXTRA: usize = 380;
pub const BLOCK_COUNT: usize = 384;
pub const ALLOCATED: usize = 388;
pub const CREATE: usize = 392;
pub const MODIFY: usize = 408;
pub const LINKAGE: usize = 424;
pub const PARENT_MODIFY: usize = 440;

/// Where [`build`] puts the map.
pub const MAP: usize = 1024;

/// What an image is to be.
pub struct Plan<'a> {
    pub kind: u32,
    pub disk_size: u64,
    pub block_size: u32,
    pub block_extra: u32,
    /// For each block what the map is to say.
    pub map: &'a [u32],
    /// UUIDs are this byte and the ones that follow it.
    pub create: u8,
    pub modify: u8,
    /// The parent's two.
    pub parent: Option<(u8, u8)>,
}

pub fn put32(bytes: &mut [u8], offset: usize, value: u32) {
    bytes[offset..offset + 4].copy_from_slice(&value.to_le_bytes());
}

pub fn put64(bytes: &mut [u8], offset: usize, value: u64) {
    bytes[offset..offset + 8].copy_from_slice(&value.to_le_bytes());
}

pub fn get32(bytes: &[u8], offset: usize) -> u32 {
    u32::from_le_bytes(bytes[offset..offset + 4].try_into().unwrap())
}

pub fn put_uuid(bytes: &mut [u8], offset: usize, first: u8) {
    (0..16).for_each(|at| bytes[offset + at] = first.wrapping_add(at as u8));
}

/// The byte at `at` of the disk, where an image made with `seed` holds it.
pub fn payload(seed: u8, at: u64) -> u8 {
    (at / 512 * 31 + at % 251) as u8 ^ seed
}

/// The image; `create` is the seed of what its blocks hold.
pub fn build(plan: &Plan) -> Vec<u8> {
    let mut bytes = vec![0; MAP];
    bytes[..40].copy_from_slice(b"<<< Oracle VM VirtualBox Disk Image >>>\n");
    put32(&mut bytes, 64, 0xbeda_107f);
    put32(&mut bytes, VERSION, 0x0001_0001);
    put32(&mut bytes, LENGTH, 400);
    put32(&mut bytes, TYPE, plan.kind);
    put32(&mut bytes, MAP_OFFSET, MAP as u32);
    let data = (MAP + plan.map.len() * 4).next_multiple_of(512) + 512;
    put32(&mut bytes, DATA_OFFSET, data as u32);
    put32(&mut bytes, GEOMETRY + 12, 512);
    put64(&mut bytes, DISK_SIZE, plan.disk_size);
    put32(&mut bytes, BLOCK_SIZE, plan.block_size);
    put32(&mut bytes, BLOCK_EXTRA, plan.block_extra);
    put32(&mut bytes, BLOCK_COUNT, plan.map.len() as u32);
    let allocated = plan.map.iter().filter(|entry| **entry < ZERO).count();
    put32(&mut bytes, ALLOCATED, allocated as u32);
    put_uuid(&mut bytes, CREATE, plan.create);
    put_uuid(&mut bytes, MODIFY, plan.modify);
    if let Some((create, modify)) = plan.parent {
        put_uuid(&mut bytes, LINKAGE, create);
        put_uuid(&mut bytes, PARENT_MODIFY, modify);
    }
    for entry in plan.map {
        bytes.extend(entry.to_le_bytes());
    }
    let stored = (plan.block_size + plan.block_extra) as usize;
    bytes.resize(data + allocated * stored, 0xee);
    for (block, entry) in plan.map.iter().enumerate().filter(|(_, entry)| **entry < ZERO) {
        let place = data + *entry as usize * stored + plan.block_extra as usize;
        for at in 0..plan.block_size as usize {
            let on_disk = block as u64 * u64::from(plan.block_size) + at as u64;
            bytes[place + at] = payload(plan.create, on_disk);
        }
    }
    bytes
}

/// The disk that the chain of these plans holds, from the top down.
pub fn expected(chain: &[&Plan]) -> Vec<u8> {
    let byte = |at: u64| {
        for plan in chain.iter().filter(|plan| at < plan.disk_size) {
            match plan.map[(at / u64::from(plan.block_size)) as usize] {
                FREE => {}
                ZERO => return 0,
                _ => return payload(plan.create, at),
            }
        }
        0
    };
    (0..chain[0].disk_size).map(byte).collect()
}
