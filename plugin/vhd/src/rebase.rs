//! Another parent for a differencing image, or none. The header spans sectors and
//! cannot be replaced at one stroke: the footers, which can, are led to a copy of the
//! new one, then the old one is replaced, then they are led back.

use alloc::vec::Vec;

use fumehood_plugin::{Error, Parent, Result};
use zerocopy::IntoBytes;

use crate::footer::Kind;
use crate::geometry::SECTOR;
use crate::header::{self, DynamicHeader};
use crate::parent;
use crate::sparse::Sparse;

impl Sparse {
    /// Records another parent, or none, which makes it a dynamic image.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for an image that never had a parent, and for a parent
    /// without a UUID; or what the source answers.
    pub fn rebase(&mut self, parent: Option<Parent>) -> Result<()> {
        if self.parent.is_none() {
            if parent.is_none() {
                return Ok(());
            }
            let what = "a parent for a VHD that is not a differencing one";
            return Err(Error::Unsupported(what.into()));
        }
        self.flush()?;
        let mut header = self.header;
        let names = match &parent {
            Some(parent) => parent::record(&mut header, parent, 0)?,
            None => Vec::new(),
        };
        if parent.is_none() {
            self.zero_unset()?;
        }
        let length = header::LENGTH + names.len() as u64;
        let place = self.space.reserve(&*self.main, &self.footer, length, 0)?;
        match &parent {
            Some(parent) => {
                let names = parent::record(&mut header, parent, place + header::LENGTH)?;
                self.main.write(place + header::LENGTH, &names)?;
            }
            None => {
                parent::remove(&mut header);
                self.footer.set_kind(Kind::Dynamic);
            }
        }
        header.seal();
        self.replace_header(&header, place)?;
        self.parent = parent.map(|_| parent::read(&*self.main, &self.header));
        Ok(())
    }

    /// Replaces the header, by way of a copy at `place`.
    fn replace_header(&mut self, header: &DynamicHeader, place: u64) -> Result<()> {
        let home = self.footer.data_offset.get();
        self.main.write(place, header.as_bytes())?;
        self.main.flush()?;
        self.footer.set_data_offset(place);
        self.write_footers()?;
        self.main.flush()?;
        self.header = *header;
        self.main.write(home, header.as_bytes())?;
        self.main.flush()?;
        self.footer.set_data_offset(home);
        self.write_footers()?;
        self.dirty = true;
        Ok(())
    }

    /// Zeroes the sectors whose bits are not set: in a dynamic image they count.
    fn zero_unset(&mut self) -> Result<()> {
        for block in 0..self.disk_size.div_ceil(self.shape.size) {
            let Some(place) = self.linked(block)? else { continue };
            let bitmap = self.bitmaps.get(&*self.main, place)?;
            let (mut sector, sectors) = (0, self.shape.sectors());
            while sector < sectors {
                let next = bitmap.run_end(sector, sectors);
                if !bitmap.has(sector) {
                    let at = place + self.shape.bitmap + sector * SECTOR;
                    self.main.zero(at, (next - sector) * SECTOR)?;
                }
                sector = next;
            }
        }
        Ok(())
    }
}
