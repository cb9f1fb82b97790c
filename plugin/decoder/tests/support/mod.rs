//! Bytes to give to the tools, and the blocks in what they write.

/// Numbers that look random and are the same at every run.
pub struct Noise(pub u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `limit`.
    pub fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }
}

/// Text-like bytes, then noise that nothing makes smaller, then runs, over and over.
pub fn sample(length: usize) -> Vec<u8> {
    let mut noise = Noise(1);
    let mut bytes = Vec::new();
    while bytes.len() < length {
        for _ in 0..600 {
            bytes.extend(format!("line {} of {}\n", noise.below(40), noise.below(9)).bytes());
        }
        bytes.extend((0..noise.below(9000)).map(|at| ((at * at) >> 7) as u8));
        bytes.extend(vec![noise.below(256) as u8; noise.below(5000)]);
        if noise.below(2) == 0 {
            bytes.extend((0..70_000).map(|_| noise.below(256) as u8));
        }
    }
    bytes.truncate(length);
    bytes
}

/// A block of lzop's container.
pub struct Block {
    /// Bytes decoded; as many are stored where it could not be made smaller.
    pub length: usize,
    pub stored: Vec<u8>,
}

/// The blocks of what lzop wrote.
pub fn lzop_blocks(file: &[u8]) -> Vec<Block> {
    let word = |at: usize| u32::from_be_bytes(file[at..at + 4].try_into().unwrap());
    assert_eq!(&file[..9], b"\x89LZO\0\r\n\x1a\n");
    // Versions, method and level; flags; mode and times; a name with its length; a sum.
    let flags = word(17);
    let mut at = 33 + 1 + usize::from(file[33]) + 4;
    let sums = |mask: u32| 4 * (flags & mask).count_ones() as usize;
    let mut blocks = Vec::new();
    loop {
        let length = word(at) as usize;
        if length == 0 {
            return blocks;
        }
        let stored = word(at + 4) as usize;
        at += 8 + sums(0x101) + if stored < length { sums(0x202) } else { 0 };
        blocks.push(Block { length, stored: file[at..at + stored].to_vec() });
        at += stored;
    }
}
