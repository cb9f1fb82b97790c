//! Another size for a dynamic disk. Growing may need a longer table, which is made at
//! the file's end; the header, whose fields for it lie in one sector, then names it.

use alloc::collections::BTreeMap;
use alloc::format;

use fumehood_plugin::read::read_bytes;
use fumehood_plugin::{Error, Result};
use zerocopy::IntoBytes;

use crate::bat::{Bat, ENTRY_SIZE};
use crate::geometry::{SECTOR, SIZE_LIMIT};
use crate::sparse::Sparse;

/// Bytes of the table copied at once.
const STEP: u64 = 1 << 20;

/// Refuses sizes that the format does not have.
///
/// # Errors
/// [`Error::Unsupported`].
pub fn check_size(size: u64) -> Result<()> {
    if size == 0 || !size.is_multiple_of(SECTOR) || size > SIZE_LIMIT {
        let what =
            format!("a VHD of {size} bytes; sizes are multiples of {SECTOR} up to {SIZE_LIMIT}");
        return Err(Error::Unsupported(what));
    }
    Ok(())
}

impl Sparse {
    /// Grows or shrinks the disk.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for sizes the format does not have, and for a
    /// differencing disk: what its parent holds behind the old end is not known here,
    /// and would show. Else what the source answers.
    pub fn resize(&mut self, size: u64) -> Result<()> {
        check_size(size)?;
        if self.sectorwise {
            let what = "another size for a differencing VHD: its parent's is not recorded";
            return Err(Error::Unsupported(what.into()));
        }
        self.flush()?;
        self.forget(0..u64::MAX);
        let old = self.disk_size;
        if size > old {
            self.lengthen_table(size.div_ceil(self.shape.size))?;
            self.zero_last_block(old)?;
            self.unlink_from(old.div_ceil(self.shape.size))?;
            self.main.flush()?;
        }
        self.footer.set_size(size);
        self.write_footers()?;
        self.main.flush()?;
        self.disk_size = size;
        if size < old {
            self.unlink_from(size.div_ceil(self.shape.size))?;
            self.dirty = true;
        }
        Ok(())
    }

    /// Room for `entries` entries.
    fn lengthen_table(&mut self, entries: u64) -> Result<()> {
        let Some(entry_count) =
            u32::try_from(entries).ok().filter(|_| entries > self.bat.entries())
        else {
            return Ok(());
        };
        let length = (entries * ENTRY_SIZE).next_multiple_of(SECTOR);
        let place = self.space.reserve(&*self.main, &self.footer, length, 0)?;
        let used = self.bat.length();
        let mut at = 0;
        while at < length {
            let step = STEP.min(length - at);
            let old = used.saturating_sub(at).min(step);
            let mut bytes = read_bytes(&*self.main, self.bat.offset() + at, old, "table")?;
            bytes.resize(step as usize, 0xff);
            self.main.write(place + at, &bytes)?;
            at += step;
        }
        self.main.flush()?;
        let mut header = self.header;
        header.table_offset = place.into();
        header.table_entries = entry_count.into();
        header.seal();
        let sector = header.as_bytes().get(..SECTOR as usize).ok_or(Error::OutOfRange)?;
        self.main.write(self.footer.data_offset.get(), sector)?;
        self.main.flush()?;
        self.header = header;
        self.bat = Bat::new(place, entries);
        Ok(())
    }

    /// Zeroes what the last block holds behind the disk's end.
    fn zero_last_block(&mut self, disk_size: u64) -> Result<()> {
        let used = disk_size % self.shape.size;
        if used == 0 {
            return Ok(());
        }
        match self.linked(disk_size / self.shape.size)? {
            Some(place) => self.main.zero(place + self.shape.bitmap + used, self.shape.size - used),
            None => Ok(()),
        }
    }

    /// Unlinks the blocks from `first` on.
    fn unlink_from(&mut self, first: u64) -> Result<()> {
        let mut links = BTreeMap::new();
        for block in first..self.bat.entries() {
            if let Some(place) = self.linked(block)? {
                links.insert(block, None);
                self.space.drop_after_flush(place);
                self.prepared.remove(&block);
            }
        }
        self.bat.set(&*self.main, &links)
    }
}
