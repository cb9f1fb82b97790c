//! Pages: a page's number names a bank and a place in it. Pages read lately are kept.

use alloc::format;
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::RefCell;

use fumehood_plugin::read::{parse_struct, read_bytes, read_struct};
use fumehood_plugin::{Error, Result, SourceHandle};
use zerocopy::little_endian::U16;
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

use crate::header::{Header, PAGE};
use crate::slot::{Root, Snapshot};
use crate::vector::{Vector, Walk};

/// Pages kept.
const KEPT: usize = 64;
/// A bank with this flag is encrypted.
const ENCRYPTED: u16 = 2;

#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct BankHeader {
    pages: U16,
    flags: U16,
}

#[derive(Debug, Clone, Copy)]
struct BankState {
    pages: u32,
    encrypted: bool,
}

/// A page as it was read, and where.
#[derive(Clone)]
pub struct Page {
    /// Offset in the file.
    pub offset: u64,
    bytes: Rc<[u8]>,
}

impl Page {
    /// The structure at `start`; `what` names it in errors.
    ///
    /// # Errors
    /// [`Error::Corrupt`] where it does not fit.
    pub fn at<T: FromBytes + KnownLayout + Immutable>(
        &self,
        start: usize,
        what: &str,
    ) -> Result<T> {
        let bytes = self.bytes.get(start..).unwrap_or_default();
        parse_struct(bytes, 0, self.offset.saturating_add(start as u64), what)
    }

    /// Its bytes from `start` on.
    pub fn from(&self, start: usize) -> &[u8] {
        self.bytes.get(start..).unwrap_or_default()
    }
}

/// One state of an archive.
pub struct Archive {
    /// The file.
    pub source: SourceHandle,
    /// What its first page says.
    pub header: Header,
    /// The state in use.
    pub snapshot: Snapshot,
    banks: RefCell<Vec<Option<BankState>>>,
    /// The page used last stands last.
    pages: RefCell<Vec<(u64, Page)>>,
}

impl Archive {
    /// The archive in the state `snapshot`; reads nothing yet.
    pub fn new(source: SourceHandle, header: Header, snapshot: Snapshot) -> Self {
        let banks = RefCell::new(alloc::vec![None; snapshot.banks.len()]);
        Self { source, header, snapshot, banks, pages: RefCell::default() }
    }

    /// Where page `number` lies in the file.
    ///
    /// # Errors
    /// [`Error::Corrupt`] for a bank or a page that there is none of,
    /// [`Error::Unsupported`] for an encrypted bank.
    pub fn place(&self, number: u64) -> Result<u64> {
        let (bank, index) = (number >> 32, number & 0xffff_ffff);
        let state = self.bank(bank)?;
        let entry = usize::try_from(bank).ok().and_then(|bank| self.snapshot.banks.get(bank));
        let start = entry.map_or(0, |bank| bank.offset);
        if state.encrypted {
            return Err(Error::Unsupported(format!("encrypted backups: bank {bank} is")));
        }
        if index >= u64::from(state.pages) {
            let what = format!("page {index} of bank {bank}, which has {}", state.pages);
            return Err(Error::corrupt(start, what));
        }
        Ok(start + PAGE + index * PAGE)
    }

    fn bank(&self, number: u64) -> Result<BankState> {
        let index = usize::try_from(number).unwrap_or(usize::MAX);
        let Some(bank) = self.snapshot.banks.get(index) else {
            let what = format!("a page in bank {number} of {}", self.snapshot.banks.len());
            return Err(Error::corrupt(0, what));
        };
        if let Some(Some(state)) = self.banks.borrow().get(index) {
            return Ok(*state);
        }
        let size = u64::from(bank.size);
        if bank.offset.checked_add(size).is_none_or(|end| end > self.source.size()) {
            let what = format!("bank {number} of {size} bytes lies past the file's end");
            return Err(Error::corrupt(bank.offset, what));
        }
        let header: BankHeader = read_struct(&*self.source, bank.offset, "bank header")?;
        let room = (size / PAGE).saturating_sub(1);
        let state = BankState {
            pages: u64::from(header.pages.get()).min(room) as u32,
            encrypted: header.flags.get() & ENCRYPTED != 0,
        };
        if let Some(kept) = self.banks.borrow_mut().get_mut(index) {
            *kept = Some(state);
        }
        Ok(state)
    }

    /// Page `number`.
    ///
    /// # Errors
    /// As [`Archive::place`], and what the source answers.
    pub fn page(&self, number: u64) -> Result<Page> {
        let mut kept = self.pages.borrow_mut();
        if let Some(place) = kept.iter().position(|(own, _)| *own == number) {
            let entry = kept.remove(place);
            let page = entry.1.clone();
            kept.push(entry);
            return Ok(page);
        }
        let offset = self.place(number)?;
        let bytes = read_bytes(&*self.source, offset, PAGE, "page")?;
        let page = Page { offset, bytes: bytes.into() };
        if kept.len() >= KEPT {
            kept.remove(0);
        }
        kept.push((number, page.clone()));
        Ok(page)
    }

    /// The whole vector at `root`, of entries of so many bytes, at most `most` of them.
    ///
    /// # Errors
    /// [`Error::Corrupt`] for more entries or a list of pages that ends early, and as
    /// [`Archive::page`].
    pub fn vector(
        &self,
        root: Root,
        entry: usize,
        most: u64,
        what: &'static str,
    ) -> Result<Vector> {
        if root.count > most {
            let found = root.count;
            return Err(Error::corrupt(
                0,
                format!("{what} of {found} entries; {most} are allowed"),
            ));
        }
        let mut walk = Walk::new(self, root, entry, what)?;
        while !walk.is_done() {
            walk.step(self, u32::MAX)?;
        }
        Ok(walk.finish())
    }
}
