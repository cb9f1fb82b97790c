//! Vectors of entries over pages: finding the pages, and entries in them.
//!
//! Up to format version 11 a vector's pages are a chain: each begins with the number of
//! the next. From version 12 on the chain is of pages that list the others, whose
//! entries then begin at once. A chain is followed for exactly as many pages as the
//! entries need, so that a loop in it costs nothing but wrong entries.

use alloc::format;
use alloc::vec::Vec;

use fumehood_plugin::read::read_struct;
use fumehood_plugin::{Error, Result};
use zerocopy::little_endian::I64;
use zerocopy::{FromBytes, Immutable, KnownLayout};

use crate::archive::Archive;
use crate::header::{Generation, PAGE};
use crate::slot::Root;

/// Bytes before the entries of a page in a chain.
const LINK: usize = 8;
/// Words in a page.
const WORDS: usize = PAGE as usize / 8;
/// The most pages of one vector, for memory's sake: a store for some 200 TiB.
const MOST_PAGES: u64 = 3 << 20;

/// The pages of a vector.
#[derive(Debug, Clone)]
pub struct Vector {
    pages: Vec<u64>,
    entry: usize,
    start: usize,
    per_page: u64,
    /// How many entries it has.
    pub count: u64,
    what: &'static str,
}

impl Vector {
    /// Entry `index`.
    ///
    /// # Errors
    /// [`Error::Corrupt`] where there is none, and as [`Archive::page`].
    pub fn get<T>(&self, archive: &Archive, index: u64) -> Result<T>
    where
        T: FromBytes + KnownLayout + Immutable,
    {
        debug_assert_eq!(size_of::<T>(), self.entry);
        let page = usize::try_from(index / self.per_page).ok();
        let page = page.and_then(|page| self.pages.get(page)).filter(|_| index < self.count);
        let Some(page) = page else {
            let what = format!("entry {index} of {} in the {}", self.count, self.what);
            return Err(Error::corrupt(0, what));
        };
        let place = self.start + (index % self.per_page) as usize * self.entry;
        archive.page(*page)?.at(place, self.what)
    }
}

/// The way along the pages of a vector, which takes a read for each.
#[derive(Debug, Clone)]
pub struct Walk {
    found: Vector,
    wanted: u64,
    next: Option<u64>,
    /// Pages that list others, so far.
    lists: u64,
    generation: Generation,
}

impl Walk {
    /// At the beginning.
    ///
    /// # Errors
    /// [`Error::Corrupt`] for more pages than the file has, [`Error::Unsupported`] for
    /// more than can be kept.
    pub fn new(archive: &Archive, root: Root, entry: usize, what: &'static str) -> Result<Self> {
        let generation = archive.header.generation;
        let start = if generation == Generation::Chained { LINK } else { 0 };
        let per_page = (PAGE as usize - start).checked_div(entry).unwrap_or(0).max(1) as u64;
        let wanted = root.count.div_ceil(per_page);
        if wanted > archive.source.size() / PAGE {
            let what = format!("{what} of {} entries is larger than the file", root.count);
            return Err(Error::corrupt(0, what));
        }
        if wanted > MOST_PAGES {
            return Err(Error::Unsupported(format!("a {what} of {} entries", root.count)));
        }
        let pages = Vec::with_capacity(wanted as usize);
        let found = Vector { pages, entry, start, per_page, count: root.count, what };
        Ok(Self { found, wanted, next: root.page, lists: 0, generation })
    }

    /// Whether all pages are known.
    pub fn is_done(&self) -> bool {
        self.done() >= self.wanted
    }

    /// How many pages are known.
    pub fn done(&self) -> u64 {
        self.found.pages.len() as u64
    }

    /// How many there are.
    pub fn total(&self) -> u64 {
        self.wanted
    }

    /// Goes on by at most so many reads.
    ///
    /// # Errors
    /// [`Error::Corrupt`] for a chain that ends early, and as [`Archive::page`].
    pub fn step(&mut self, archive: &Archive, reads: u32) -> Result<()> {
        for _ in 0..reads {
            if self.is_done() {
                break;
            }
            let Some(page) = self.next else {
                let (what, found, wanted) = (self.found.what, self.done(), self.wanted);
                let what = format!("the {what} ends after {found} of {wanted} pages");
                return Err(Error::corrupt(0, what));
            };
            match self.generation {
                Generation::Chained => self.follow(archive, page)?,
                Generation::Listed => self.take_list(archive, page)?,
            }
        }
        Ok(())
    }

    fn follow(&mut self, archive: &Archive, page: u64) -> Result<()> {
        let link: I64 = read_struct(&*archive.source, archive.place(page)?, "link to a page")?;
        self.found.pages.push(page);
        self.next = u64::try_from(link.get()).ok();
        Ok(())
    }

    fn take_list(&mut self, archive: &Archive, page: u64) -> Result<()> {
        let words: [I64; WORDS] = archive.page(page)?.at(0, "list of pages")?;
        let head = match self.lists {
            0 => 2,
            number if number % 3 == 1 => 4,
            _ => 1,
        };
        self.lists += 1;
        self.next = words.first().and_then(|word| u64::try_from(word.get()).ok());
        for word in words.iter().skip(head) {
            if self.is_done() {
                break;
            }
            // One that is missing is found out when it is used.
            self.found.pages.push(u64::try_from(word.get()).unwrap_or(u64::MAX));
        }
        Ok(())
    }

    /// The vector, as far as it was walked.
    pub fn finish(self) -> Vector {
        self.found
    }
}
