//! A source that counts how it is read.

use std::cell::Cell;
use std::rc::Rc;

use fumehood_plugin::memory::MemorySource;
use fumehood_plugin::{Result, Source};

/// A main source over memory that counts how it is read.
pub struct Counted {
    inner: MemorySource,
    /// Calls of `read` so far.
    pub reads: Cell<u64>,
}

impl Counted {
    /// Over a copy of `bytes`.
    pub fn new(name: &str, bytes: &[u8]) -> Rc<Self> {
        let inner = MemorySource::new(0, name, bytes.to_vec());
        Rc::new(Self { inner, reads: Cell::default() })
    }
}

impl Source for Counted {
    fn id(&self) -> u32 {
        self.inner.id()
    }
    fn name(&self) -> String {
        self.inner.name()
    }
    fn size(&self) -> u64 {
        self.inner.size()
    }
    fn read(&self, offset: u64, length: usize) -> Result<Vec<u8>> {
        self.reads.set(self.reads.get() + 1);
        self.inner.read(offset, length)
    }
}
