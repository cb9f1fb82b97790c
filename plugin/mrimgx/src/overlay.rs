//! Which blocks the deltas of a partition hold, in a sorted list of eight bytes each.
//! Where a block lies is read from its delta when it is asked for.

use alloc::format;
use alloc::vec::Vec;

use fumehood_plugin::{Error, Result};

use crate::element::{DeltaElement, Element};
use crate::tables::Table;

/// Blocks in the deltas of all partitions, at most: with blocks of 64 KiB, 128 GiB.
pub const MOST: u64 = 2 << 20;
/// Elements read in a step.
const STEP: u32 = 64 << 10;
/// Elements of a delta that are kept as they were read.
const WINDOW: u32 = 512;

/// A delta, and the numbers that its elements have among those of all deltas.
struct Layer {
    table: Table,
    /// Of its last element; those before have higher ones.
    first: u32,
}

/// The deltas of a partition, newest first.
#[derive(Default)]
pub struct Overlay {
    layers: Vec<Layer>,
    /// Block << 32 | number of its element. Newer elements have lower numbers.
    pairs: Vec<u64>,
    /// Elements of the layer that is being read, so far.
    read: u32,
    /// Layers that are read.
    done: usize,
    window: Option<(usize, u32, Vec<DeltaElement>)>,
}

impl Overlay {
    /// The overlay of these deltas; reads nothing yet.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for more elements than can be kept.
    pub fn new(deltas: &[Table]) -> Result<Self> {
        let mut overlay = Self::default();
        let mut first = 0u32;
        for table in deltas {
            if u64::from(table.count) > MOST {
                return Err(too_many());
            }
            overlay.layers.push(Layer { table: table.clone(), first });
            first = first.checked_add(table.count).ok_or_else(too_many)?;
        }
        Ok(overlay)
    }

    /// Elements that are read, and all.
    pub fn progress(&self) -> (u64, u64) {
        let count = |layer: &Layer| u64::from(layer.table.count);
        let before: u64 = self.layers.iter().take(self.done).map(count).sum();
        (before + u64::from(self.read), self.layers.iter().map(count).sum())
    }

    /// How many blocks the deltas hold, as far as they are read.
    pub fn len(&self) -> u64 {
        self.pairs.len() as u64
    }

    /// Goes on reading; true at the end.
    ///
    /// # Errors
    /// What the source answers.
    pub fn step(&mut self) -> Result<bool> {
        let Some(layer) = self.layers.get(self.done) else { return Ok(true) };
        let elements: Vec<DeltaElement> = layer.table.read(self.read, STEP)?;
        if self.read == 0 {
            self.pairs.reserve_exact(layer.table.count as usize);
        }
        for (number, element) in (self.read..).zip(&elements) {
            // Of two for one block in a delta, the later counts.
            let back = layer.table.count - 1 - number;
            self.pairs.push(u64::from(element.block.get()) << 32 | u64::from(layer.first + back));
        }
        self.read += elements.len() as u32;
        if self.read >= layer.table.count || elements.is_empty() {
            self.pairs.sort_unstable();
            self.pairs.dedup_by_key(|pair| *pair >> 32);
            self.done += 1;
            self.read = 0;
        }
        Ok(self.done >= self.layers.len())
    }

    /// One more than the highest block that the deltas hold.
    pub fn end(&self) -> u64 {
        self.pairs.last().map_or(0, |pair| (pair >> 32) + 1)
    }

    /// The blocks from `first` to before `end` that the deltas hold, in order.
    pub fn blocks(&self, first: u32, end: u64) -> impl Iterator<Item = u32> + '_ {
        let start = self.pairs.partition_point(|pair| pair >> 32 < u64::from(first));
        let rest = self.pairs.get(start..).unwrap_or_default();
        rest.iter().map(|pair| pair >> 32).take_while(move |block| *block < end).map(|it| it as u32)
    }

    /// The element of a block, if a delta holds it.
    ///
    /// # Errors
    /// What the source answers.
    pub fn get(&mut self, block: u32) -> Result<Option<Element>> {
        let Ok(place) = self.pairs.binary_search_by_key(&block, |pair| (pair >> 32) as u32) else {
            return Ok(None);
        };
        let number = self.pairs.get(place).map_or(0, |pair| *pair as u32);
        let behind = self.layers.partition_point(|layer| layer.first <= number);
        // Empty layers have the number of the one after them.
        let layers = self.layers.get(..behind).unwrap_or_default();
        let found = layers.iter().rposition(|layer| layer.table.count > 0);
        let Some((index, layer)) = found.and_then(|index| Some((index, layers.get(index)?))) else {
            return Ok(None);
        };
        let back = number - layer.first;
        let element = layer.table.count.saturating_sub(1).saturating_sub(back);
        let start = element - element % WINDOW;
        let kept = self.window.as_ref();
        if kept.is_none_or(|(layer, first, _)| (*layer, *first) != (index, start)) {
            self.window = Some((index, start, layer.table.read(start, WINDOW)?));
        }
        let elements = self.window.as_ref().map(|(_, _, elements)| elements.as_slice());
        let found = elements.unwrap_or_default().get((element - start) as usize);
        Ok(found.filter(|found| found.block.get() == block).map(|found| found.element))
    }
}

/// What is said of chains that are too long.
pub fn too_many() -> Error {
    Error::Unsupported(format!("more than {MOST} changed blocks in a chain of increments"))
}
