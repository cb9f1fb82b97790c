//! Where the index, windows and unpacked bytes go: the scratch, one behind the other.
//! Without a scratch a small index still fits memory; nothing else does.

use alloc::vec::Vec;

use fumehood_plugin::{Error, Result, SourceHandle};

/// The most that is kept in memory where there is no scratch, in bytes.
const MEMORY_LIMIT: usize = 16 << 20;

/// Room that grows at its end.
pub struct Room {
    scratch: Option<SourceHandle>,
    memory: Vec<u8>,
    end: u64,
}

impl Room {
    /// Room in `scratch`, from `end` on.
    pub fn new(scratch: Option<SourceHandle>, end: u64) -> Self {
        let mut memory = Vec::new();
        if scratch.is_none() {
            memory.resize(usize::try_from(end).unwrap_or_default().min(MEMORY_LIMIT), 0);
        }
        Self { scratch, memory, end }
    }

    /// The scratch's number, if there is a scratch.
    pub fn scratch_id(&self) -> Option<u32> {
        self.scratch.as_ref().map(|scratch| scratch.id())
    }

    /// The scratch.
    pub fn scratch(&self) -> Option<&SourceHandle> {
        self.scratch.as_ref()
    }

    /// Where the next bytes go.
    pub fn end(&self) -> u64 {
        self.end
    }

    /// Forgets what lies from `end` on.
    pub fn cut(&mut self, end: u64) {
        self.end = self.end.min(end);
        if self.scratch.is_none() {
            self.memory.truncate(usize::try_from(self.end).unwrap_or_default());
        }
    }

    /// Writes `bytes` behind all others, and answers where.
    ///
    /// # Errors
    /// [`Error::NoSpace`] where the room is full, or what the scratch answers.
    pub fn append(&mut self, bytes: &[u8]) -> Result<u64> {
        let at = self.end;
        match &self.scratch {
            Some(scratch) => scratch.write(at, bytes)?,
            None if self.memory.len() + bytes.len() > MEMORY_LIMIT => return Err(Error::NoSpace),
            None => self.memory.extend_from_slice(bytes),
        }
        self.end = at.checked_add(bytes.len() as u64).ok_or(Error::NoSpace)?;
        Ok(at)
    }

    /// What lies at `offset`.
    ///
    /// # Errors
    /// [`Error::Io`] past the end, or what the scratch answers.
    pub fn read(&self, offset: u64, length: usize) -> Result<Vec<u8>> {
        let past = || Error::Io("what was learned of this image lies past its end".into());
        if offset.checked_add(length as u64).is_none_or(|end| end > self.end) {
            return Err(past());
        }
        match &self.scratch {
            Some(scratch) => scratch.read(offset, length),
            None => {
                let start = usize::try_from(offset).map_err(|_| past())?;
                let bytes = self.memory.get(start..).and_then(|rest| rest.get(..length));
                bytes.map(<[u8]>::to_vec).ok_or_else(past)
            }
        }
    }
}
