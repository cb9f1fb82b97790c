//! Bounded bzip2, for what the plugin itself must decode: the texts of a set whose header
//! names that method. It is small, not fast; chunks are the host's to decode.
//!
//! A stream is `BZh`, a digit, blocks, and an end mark. A block went through a run-length
//! code, Burrows-Wheeler, move-to-front with runs of its own, and Huffman codes.

use alloc::vec;
use alloc::vec::Vec;

/// Why bytes are not a stream.
type Outcome<T> = Result<T, &'static str>;

const BLOCK: u64 = 0x3141_5926_5359;
const END: u64 = 0x1772_4538_5090;
/// Bytes a block for each step of the level.
const STEP: usize = 100_000;
/// Symbols that one code serves before the next selector counts.
const GROUP: usize = 50;
/// The longest code, in bits.
const LONGEST: usize = 20;

/// All of the stream that `bytes` begin with, at most `limit` of it.
///
/// # Errors
/// What is wrong with it.
pub fn decode(bytes: &[u8], limit: usize) -> Outcome<Vec<u8>> {
    let mut bits = Bits { bytes, at: 0 };
    if bits.long(48) == Ok(BLOCK) {
        return Err("is a block without a stream around it");
    }
    bits.at = 0;
    let (magic, level) = (bits.take(24)?, bits.take(8)?);
    if magic != u32::from_be_bytes(*b"\0BZh") || !(0x31..=0x39).contains(&level) {
        return Err("does not begin as one");
    }
    let most = (level as usize - 0x30) * STEP;
    let mut all = Vec::new();
    loop {
        match bits.long(48)? {
            BLOCK => {
                let stated = bits.take(32)?;
                let start = all.len();
                block(&mut bits, most, limit, &mut all)?;
                if checksum(all.get(start..).unwrap_or_default()) != stated {
                    return Err("has a block with a wrong checksum");
                }
            }
            END => return Ok(all),
            _ => return Err("has something else where a block should begin"),
        }
    }
}

/// Bits, the highest of each byte first.
struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Bits<'_> {
    fn bit(&mut self) -> Outcome<bool> {
        let byte = self.bytes.get(self.at / 8).ok_or("ends too early")?;
        let bit = byte >> (7 - self.at % 8) & 1 == 1;
        self.at += 1;
        Ok(bit)
    }

    fn long(&mut self, count: u32) -> Outcome<u64> {
        (0..count).try_fold(0, |value, _| Ok(value << 1 | u64::from(self.bit()?)))
    }

    fn take(&mut self, count: u32) -> Outcome<u32> {
        self.long(count).map(|value| value as u32)
    }
}

/// A Huffman code: canonical, the shortest first.
struct Code {
    /// How many codes have each length.
    counts: [u32; LONGEST + 1],
    symbols: Vec<u16>,
}

impl Code {
    fn read(bits: &mut Bits, symbols: usize) -> Outcome<Self> {
        let mut length = bits.take(5)? as usize;
        let mut lengths = Vec::with_capacity(symbols);
        for _ in 0..symbols {
            while bits.bit()? {
                length = if bits.bit()? { length.saturating_sub(1) } else { length + 1 };
            }
            if !(1..=LONGEST).contains(&length) {
                return Err("has a code of no or too many bits");
            }
            lengths.push(length);
        }
        let mut code = Self { counts: [0; LONGEST + 1], symbols: Vec::with_capacity(symbols) };
        for (length, count) in code.counts.iter_mut().enumerate() {
            let own = (0u16..).zip(&lengths).filter(|(_, own)| **own == length);
            let before = code.symbols.len();
            code.symbols.extend(own.map(|(symbol, _)| symbol));
            *count = (code.symbols.len() - before) as u32;
        }
        Ok(code)
    }

    fn next(&self, bits: &mut Bits) -> Outcome<u16> {
        // The code so far, the first one of its length, and the place of that one's symbol.
        let (mut code, mut first, mut place) = (0u32, 0u32, 0usize);
        for count in self.counts.iter().skip(1) {
            code = code << 1 | u32::from(bits.bit()?);
            first <<= 1;
            match code.checked_sub(first) {
                Some(behind) if behind < *count => {
                    let symbol = self.symbols.get(place + behind as usize);
                    return symbol.copied().ok_or("has a code that is none");
                }
                _ => (),
            }
            first += count;
            place += *count as usize;
        }
        Err("has a code that is none")
    }
}

/// Decodes a block, whose mark and checksum were read, to the end of `all`.
fn block(bits: &mut Bits, most: usize, limit: usize, all: &mut Vec<u8>) -> Outcome<()> {
    if bits.bit()? {
        return Err("has a randomised block, as of bzip2 0.9");
    }
    let origin = bits.take(24)? as usize;
    let bytes = symbols(bits, most)?;
    let chain = chain(&bytes);
    let mut at = *chain.get(origin).ok_or("has a block that begins outside of itself")?;
    let (mut last, mut run) = (None, 0u8);
    for _ in 0..bytes.len() {
        let byte = bytes.get(at as usize).copied().unwrap_or_default();
        at = chain.get(at as usize).copied().unwrap_or_default();
        // Four alike are followed by how many more there are.
        let (value, count) = match last {
            Some(last) if run == 4 => (last, usize::from(byte)),
            _ => (byte, 1),
        };
        run = match last {
            _ if run == 4 => 0,
            Some(last) if last == byte => run + 1,
            _ => 1,
        };
        last = (run > 0).then_some(byte);
        if all.len().saturating_add(count) > limit {
            return Err("is longer than expected");
        }
        all.resize(all.len() + count, value);
    }
    Ok(())
}

/// For each place of a block, the place of the byte that follows it in the text.
fn chain(bytes: &[u8]) -> Vec<u32> {
    let mut starts = [0u32; 256];
    for byte in bytes {
        if let Some(behind) = starts.get_mut(usize::from(*byte) + 1) {
            *behind += 1;
        }
    }
    let mut sum = 0;
    for start in &mut starts {
        sum += *start;
        *start = sum;
    }
    let mut chain = vec![0; bytes.len()];
    for (place, byte) in (0u32..).zip(bytes) {
        if let Some(start) = starts.get_mut(usize::from(*byte)) {
            if let Some(slot) = chain.get_mut(*start as usize) {
                *slot = place;
            }
            *start += 1;
        }
    }
    chain
}

/// The bytes of a block as Burrows-Wheeler left them.
fn symbols(bits: &mut Bits, most: usize) -> Outcome<Vec<u8>> {
    let ranges = bits.take(16)?;
    let mut order = Vec::new();
    for range in (0..16u8).filter(|range| ranges >> (15 - range) & 1 == 1) {
        let used = bits.take(16)?;
        order.extend((0..16).filter(|low| used >> (15 - low) & 1 == 1).map(|low| range << 4 | low));
    }
    let (kinds, count) = (bits.take(3)?, bits.take(15)?);
    let mut front: Vec<usize> = (0..kinds as usize).collect();
    let mut selectors = Vec::new();
    for _ in 0..count {
        let mut place = 0;
        while bits.bit()? {
            place += 1;
        }
        selectors.push(to_front(&mut front, place)?);
    }
    let codes: Vec<Code> =
        (0..kinds).map(|_| Code::read(bits, order.len() + 2)).collect::<Outcome<_>>()?;
    let end = order.len() as u16 + 1;
    let mut bytes = Vec::new();
    let (mut run, mut weight) = (0usize, 1usize);
    for selector in selectors {
        let code = codes.get(selector).ok_or("selects a code that it lacks")?;
        for _ in 0..GROUP {
            let symbol = code.next(bits)?;
            if symbol < 2 {
                // The run's length in digits 1 and 2, the lowest first.
                run = run.saturating_add(weight << symbol);
                weight = weight.saturating_mul(2).min(1 << 24);
                continue;
            }
            let repeated = order.first().copied().unwrap_or_default();
            if bytes.len().saturating_add(run) > most {
                return Err("has a block that is too long");
            }
            bytes.resize(bytes.len() + run, repeated);
            (run, weight) = (0, 1);
            if symbol == end {
                return Ok(bytes);
            }
            bytes.push(to_front(&mut order, usize::from(symbol) - 1)?);
        }
    }
    Err("has a block without an end")
}

/// Moves what stands at `place` to the front, and answers it.
fn to_front<T: Copy>(list: &mut [T], place: usize) -> Outcome<T> {
    let part = list.get_mut(..=place).ok_or("names what is not there")?;
    part.rotate_right(1);
    part.first().copied().ok_or("names what is not there")
}

/// CRC-32 with the bits of each byte in the other order.
fn checksum(bytes: &[u8]) -> u32 {
    let shift = |sum: u32| if sum >> 31 == 1 { sum << 1 ^ 0x04c1_1db7 } else { sum << 1 };
    !bytes
        .iter()
        .fold(u32::MAX, |sum, byte| (0..8).fold(sum ^ u32::from(*byte) << 24, |sum, _| shift(sum)))
}
