//! One block of bzip2: Huffman codes, move-to-front, Burrows-Wheeler, and runs.

use alloc::vec;
use alloc::vec::Vec;

use super::Bits;
use crate::error::{Error, Result};

/// Symbols that one code serves before the next selector counts.
const GROUP: usize = 50;
/// The longest code, in bits.
const LONGEST: u32 = 20;
/// Codes of up to so many bits are looked up at once.
const QUICK: u32 = 10;
/// The most symbols: 256 bytes, of which one less needs a symbol, two for runs, the end.
const SYMBOLS: usize = 258;

/// A Huffman code: canonical, the shortest first.
struct Code {
    /// By the next bits: a symbol, and the length of its code, or 0.
    quick: Vec<(u16, u8)>,
    /// For each length: one more than the last code of it, shifted to the longest length.
    limits: [u32; LONGEST as usize + 1],
    /// For each length: what to take from a code for the place of its symbol.
    offsets: [i32; LONGEST as usize + 1],
    symbols: Vec<u16>,
}

impl Code {
    fn new(lengths: &[u8]) -> Option<Self> {
        let mut code = Self {
            quick: vec![(0, 0); 1 << QUICK],
            limits: [0; LONGEST as usize + 1],
            offsets: [0; LONGEST as usize + 1],
            symbols: Vec::with_capacity(lengths.len()),
        };
        let mut next = 0u32;
        for length in 1..=LONGEST {
            let index = length as usize;
            *code.offsets.get_mut(index)? = next as i32 - code.symbols.len() as i32;
            for (symbol, _) in
                lengths.iter().enumerate().filter(|(_, own)| u32::from(**own) == length)
            {
                code.symbols.push(symbol as u16);
                if length <= QUICK {
                    let first = (next << (QUICK - length)) as usize;
                    let range = first..first + (1 << (QUICK - length));
                    code.quick.get_mut(range)?.fill((symbol as u16, length as u8));
                }
                next += 1;
            }
            // More codes than there are bits for.
            if next > 1 << length {
                return None;
            }
            *code.limits.get_mut(index)? = next << (LONGEST - length);
            next <<= 1;
        }
        Some(code)
    }

    fn next(&self, bits: &mut Bits) -> Result<u16> {
        let window = bits.peek(LONGEST)?;
        if let Some((symbol, length @ 1..)) = self.quick.get((window >> (LONGEST - QUICK)) as usize)
        {
            bits.pass(u32::from(*length))?;
            return Ok(*symbol);
        }
        for length in 1..=LONGEST {
            let index = length as usize;
            if self.limits.get(index).is_some_and(|limit| window < *limit) {
                let code = (window >> (LONGEST - length)) as i32;
                let place = code - self.offsets.get(index).copied().unwrap_or_default();
                let symbol = usize::try_from(place).ok().and_then(|place| self.symbols.get(place));
                let Some(symbol) = symbol else { break };
                bits.pass(length)?;
                return Ok(*symbol);
            }
        }
        bits.corrupt("a code that is none")
    }
}

/// A block whose bytes are in their order again.
pub struct Block {
    /// The byte in the low 8 bits, the place of the next in the others.
    chain: Vec<u32>,
    at: u32,
    left: usize,
    previous: Option<u8>,
    run: u8,
    /// Of the run that its length was just read for.
    repeat: u32,
}

impl Block {
    /// The block behind its checksum, of at most `limit` bytes before runs.
    ///
    /// # Errors
    /// [`Error::Corrupt`] for a broken one, [`Error::Unsupported`] for one of bzip2 0.9.
    pub(super) fn read(bits: &mut Bits, limit: usize) -> Result<Self> {
        if bits.flag()? {
            return Err(Error::Unsupported("a randomised block of bzip2 0.9".into()));
        }
        let origin = bits.take(24)?;
        let (order, codes, selectors) = tables(bits)?;
        let mut chain = symbols(bits, limit, order, &codes, &selectors)?;
        let at = match usize::try_from(origin).ok().and_then(|origin| chain.get(origin)) {
            Some(_) => invert(&mut chain, origin),
            None => return bits.corrupt("a beginning outside of the block"),
        };
        let left = chain.len();
        Ok(Self { chain, at, left, previous: None, run: 0, repeat: 0 })
    }

    /// Fills `out` with the next bytes; fewer only at the end.
    pub fn decode(&mut self, out: &mut Vec<u8>, most: usize) {
        while out.len() < most {
            if self.repeat > 0 {
                let count = (self.repeat as usize).min(most - out.len());
                out.resize(out.len() + count, self.previous.unwrap_or_default());
                self.repeat -= count as u32;
                continue;
            }
            if self.left == 0 {
                return;
            }
            self.left -= 1;
            let entry = self.chain.get(self.at as usize).copied().unwrap_or_default();
            let byte = entry as u8;
            self.at = entry >> 8;
            // Four alike are followed by how many more there are.
            if self.run == 4 {
                self.repeat = u32::from(byte);
                self.run = 0;
                continue;
            }
            self.run = if self.previous == Some(byte) { self.run + 1 } else { 1 };
            if self.run == 1 {
                self.previous = Some(byte);
            }
            out.push(byte);
        }
    }
}

type Tables = (Vec<u8>, Vec<Code>, Vec<u8>);

/// Which bytes occur, the codes, and which code serves which group.
fn tables(bits: &mut Bits) -> Result<Tables> {
    let ranges = bits.take(16)?;
    let mut order = Vec::with_capacity(256);
    for range in (0..16u8).filter(|range| ranges >> (15 - range) & 1 == 1) {
        let used = bits.take(16)?;
        order.extend((0..16).filter(|low| used >> (15 - low) & 1 == 1).map(|low| range << 4 | low));
    }
    let (kinds, count) = (bits.take(3)?, bits.take(15)?);
    if order.is_empty() || !(2..=6).contains(&kinds) || count == 0 {
        return bits.corrupt("no codes");
    }
    let mut front: Vec<u8> = (0..kinds as u8).collect();
    let mut selectors = Vec::with_capacity(count as usize);
    for _ in 0..count {
        let mut place = 0;
        while bits.flag()? {
            place += 1;
        }
        let Some(used) = front.get(..=place) else { return bits.corrupt("a selector of no code") };
        selectors.extend(used.last());
        if let Some(used) = front.get_mut(..=place) {
            used.rotate_right(1);
        }
    }
    let mut codes = Vec::new();
    for _ in 0..kinds {
        let mut lengths = Vec::with_capacity(SYMBOLS);
        let mut length = bits.take(5)?;
        for _ in 0..order.len() + 2 {
            while (1..=LONGEST).contains(&length) && bits.flag()? {
                length = if bits.flag()? { length - 1 } else { length + 1 };
            }
            lengths.push(length as u8);
        }
        match Code::new(&lengths) {
            Some(code) if lengths.iter().all(|own| (1..=LONGEST as u8).contains(own)) => {
                codes.push(code)
            }
            _ => return bits.corrupt("codes that cannot be"),
        }
    }
    Ok((order, codes, selectors))
}

/// The bytes before Burrows-Wheeler, each as an entry of the chain to come.
fn symbols(
    bits: &mut Bits,
    limit: usize,
    mut order: Vec<u8>,
    codes: &[Code],
    selectors: &[u8],
) -> Result<Vec<u32>> {
    let end = order.len() as u16 + 1;
    let mut bytes: Vec<u32> = Vec::with_capacity(limit);
    let (mut run, mut weight) = (0usize, 1usize);
    for selector in selectors {
        let Some(code) = codes.get(usize::from(*selector)) else { break };
        for _ in 0..GROUP {
            let symbol = code.next(bits)?;
            if symbol <= 1 {
                // The run's length in digits 1 and 2, the lowest first.
                run = run.saturating_add(weight << symbol);
                weight = weight.saturating_mul(2).min(1 << 24);
                if run > limit {
                    return bits.corrupt("a run past the block's end");
                }
                continue;
            }
            if run > 0 {
                let byte = order.first().copied().unwrap_or_default();
                if bytes.len() + run > limit {
                    return bits.corrupt("a run past the block's end");
                }
                bytes.resize(bytes.len() + run, byte.into());
                (run, weight) = (0, 1);
            }
            if symbol == end {
                return Ok(bytes);
            }
            let place = usize::from(symbol) - 1;
            let Some(front) = order.get_mut(..=place) else {
                return bits.corrupt("a symbol of no byte");
            };
            front.rotate_right(1);
            if bytes.len() >= limit {
                return bits.corrupt("bytes past the block's end");
            }
            bytes.extend(front.first().map(|byte| u32::from(*byte)));
        }
    }
    bits.corrupt("no end")
}

/// Chains the bytes in the order they had, and answers where the chain begins.
fn invert(chain: &mut [u32], origin: u32) -> u32 {
    let mut starts = [0u32; 256];
    for entry in chain.iter() {
        if let Some(start) = starts.get_mut((*entry & 0xff) as usize) {
            *start += 1;
        }
    }
    let mut sum = 0;
    for start in &mut starts {
        (*start, sum) = (sum, sum + *start);
    }
    for place in 0..chain.len() {
        let byte = chain.get(place).copied().unwrap_or_default() & 0xff;
        let Some(start) = starts.get_mut(byte as usize) else { continue };
        if let Some(entry) = chain.get_mut(*start as usize) {
            *entry |= (place as u32) << 8;
        }
        *start += 1;
    }
    chain.get(origin as usize).copied().unwrap_or_default() >> 8
}
