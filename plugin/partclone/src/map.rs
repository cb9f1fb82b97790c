//! The disk: from blocks to extents, over the pages of the bitmap. Where a stored block
//! lies in the file is [`crate::layout`]'s.

use alloc::format;
use alloc::rc::Rc;
use alloc::vec::Vec;

use fumehood_plugin::{
    Content, Disk, Error, Extent, Extents, Finding, Result, Source, SourceHandle,
};

use crate::bitmap::{Bitmap, Form, count, count_below, run};
use crate::check;
use crate::header::Header;
use crate::layout::Layout;

/// Extents an answer has at most.
const MOST_EXTENTS: usize = 32_768;
/// Pages of the bitmap an answer reads at most.
const MOST_PAGES: u32 = 64;
/// Pages kept.
const KEPT: usize = 4;

/// An image whose bitmap was counted.
pub struct Counting {
    /// What it says of itself.
    pub header: Header,
    /// How its blocks follow each other.
    pub layout: Layout,
    /// Stored blocks before each page, and in all of them.
    pub ranks: Vec<u64>,
    /// Entries of a bitmap of bytes that are neither of its two values.
    pub strange: u64,
    /// Whether checksums are compared.
    pub verify: bool,
}

impl Counting {
    /// Stored blocks before a page, and in it.
    fn rank(&self, page: u64) -> Result<(u64, u64)> {
        let at = |page: u64| usize::try_from(page).ok().and_then(|page| self.ranks.get(page));
        match (at(page), at(page.saturating_add(1))) {
            (Some(before), Some(after)) => Ok((*before, after.saturating_sub(*before))),
            _ => Err(Error::OutOfRange),
        }
    }
}

/// An opened volume.
pub struct VolumeMap {
    main: SourceHandle,
    image: Rc<Counting>,
    pages: Pages,
}

impl VolumeMap {
    /// The volume of a counted image; reads nothing yet.
    pub fn new(main: SourceHandle, image: Rc<Counting>) -> Self {
        Self { main, image, pages: Pages::default() }
    }

    /// Appends the blocks of one page from `first` on, up to `end`.
    fn push_page(&mut self, answer: &mut Extents, page: u64, first: u64, end: u64) -> Result<()> {
        let image = Rc::clone(&self.image);
        let bitmap = &image.header.bitmap;
        let (start, stop) = bitmap.page_range(page);
        let end = end.min(stop);
        if bitmap.form == Form::All {
            push_stored(&image, &*self.main, answer, (first, end), first);
            return Ok(());
        }
        let (before, inside) = image.rank(page)?;
        if inside == 0 {
            push_zero(&image, answer, first, end);
        } else if inside == stop - start {
            push_stored(&image, &*self.main, answer, (first, end), before + (first - start));
        } else {
            let words = self.pages.get(&*self.main, bitmap, page, inside)?;
            let mut at = first;
            let mut rank = before + count_below(words, at - start);
            while at < end && answer.len() < MOST_EXTENTS {
                let (stored, next) = run(words, at - start, end - start);
                let next = start + next;
                if stored {
                    push_stored(&image, &*self.main, answer, (at, next), rank);
                    rank += next - at;
                } else {
                    push_zero(&image, answer, at, next);
                }
                at = next;
            }
        }
        Ok(())
    }
}

impl Disk for VolumeMap {
    fn extents(&mut self, offset: u64, length: u64) -> Result<Vec<Extent>> {
        let image = Rc::clone(&self.image);
        let (size, block) = (image.header.volume_size(), image.layout.block);
        if offset >= size {
            return Err(Error::OutOfRange);
        }
        let end = offset.saturating_add(length.max(1)).min(size);
        let blocks = image.header.blocks;
        let mut answer = Extents::new();
        let mut at = (offset / block).min(blocks);
        let last = end.div_ceil(block).min(blocks);
        self.pages.read = 0;
        while at < last && answer.len() < MOST_EXTENTS && self.pages.read < MOST_PAGES {
            let page = at / image.header.bitmap.page_blocks();
            let (_, stop) = image.header.bitmap.page_range(page);
            self.push_page(&mut answer, page, at, last)?;
            at = stop;
        }
        // Behind the file system the device holds nothing that was stored.
        if answer.is_empty()
            || (at >= blocks && answer.len() < MOST_EXTENTS && end > blocks * block)
        {
            answer.push(blocks * block, size - blocks * block, Content::Zero);
        }
        Ok(answer.finish())
    }

    fn check(&mut self, _repair: bool) -> Result<Vec<Finding>> {
        Ok(check::check(&self.image))
    }
}

fn push_zero(image: &Counting, answer: &mut Extents, first: u64, end: u64) {
    let block = image.layout.block;
    answer.push(first * block, (end - first) * block, Content::Zero);
}

/// Appends stored blocks, the first of which has that rank; may stop short.
fn push_stored(
    image: &Counting,
    main: &dyn Source,
    answer: &mut Extents,
    (mut first, end): (u64, u64),
    mut rank: u64,
) {
    let block = image.layout.block;
    while first < end && answer.len() < MOST_EXTENTS {
        let (count, content) = image.layout.content(main.id(), rank, end - first, image.verify);
        answer.push(first * block, count * block, content);
        first += count;
        rank += count;
    }
}

/// A few pages of the bitmap, as words of bits; the one used last stands last.
#[derive(Default)]
struct Pages {
    kept: Vec<(u64, Vec<u64>)>,
    /// How many were read for this answer.
    read: u32,
}

impl Pages {
    /// The words of a page, which must have `expected` stored blocks.
    fn get(
        &mut self,
        main: &dyn Source,
        bitmap: &Bitmap,
        page: u64,
        expected: u64,
    ) -> Result<&[u64]> {
        if let Some(place) = self.kept.iter().position(|(number, _)| *number == page) {
            let found = self.kept.remove(place);
            self.kept.push(found);
        } else {
            self.read += 1;
            let words = bitmap.bits(page, &bitmap.read(main, page, page.saturating_add(1))?);
            let found = count(&words);
            if found != expected {
                let what = format!(
                    "page {page} of the bitmap has {found} blocks in use, where {expected} were \
                     counted: it has changed since"
                );
                return Err(Error::corrupt(bitmap.offset, what));
            }
            if self.kept.len() >= KEPT {
                self.kept.remove(0);
            }
            self.kept.push((page, words));
        }
        self.kept.last().map(|(_, words)| &**words).ok_or(Error::OutOfRange)
    }
}
