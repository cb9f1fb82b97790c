//! A disk: a chain of layers, the merged extent cache over it, and the planner.
//!
//! ```text
//!   plan_read ──▶ extent cache ──hit──▶ pieces
//!                     │ miss
//!                     ▼
//!        top layer's plugin ──absent──▶ next layer's plugin ──absent──▶ …
//!                     └──────── checked, merged, cached ────────┘
//! ```

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};

use wasmtime::Store;
use wasmtime::component::ResourceAny;

use crate::cache::{ExtentCache, Page, PageBuilder, PageContent};
use crate::check::check_answer;
use crate::contract::format::{self, Content, DiskInfo, GuestDisk};
use crate::error::{Error, Result};
use crate::image::{Answer, Image};
use crate::imports::{Imports, clean};
use crate::plan::{Block, BlockDigest, Encryption, Needs, Piece, Pieces, SourceKey, Window};
use crate::source::{Access, Source};
use crate::sync::Mutex;
use crate::write::Writing;

/// The most layers of a chain.
pub const CHAIN_LIMIT: usize = 200;

/// One layer of a chain: a disk of an opened image.
#[derive(Clone)]
pub struct Layer {
    /// The image.
    pub image: Arc<Image>,
    /// Which of its disks.
    pub number: u32,
}

impl Layer {
    pub(crate) fn info(&self) -> &DiskInfo {
        &self.image.disks()[self.number as usize]
    }

    /// Size of the disk in bytes, now.
    pub(crate) fn size(&self) -> u64 {
        self.image.disk_size(self.number)
    }

    /// What the plugin answers about a range, checked by the contract's rules: for who
    /// wants to look at its answers. Nothing is cached.
    ///
    /// # Errors
    /// What the plugin answered; [`Error::Untrusted`] for a rule that is broken.
    pub fn ask(&self, offset: u64, length: u64) -> Result<Vec<format::Extent>> {
        self.extents(offset, length, self.size())
    }

    fn extents(&self, offset: u64, length: u64, size: u64) -> Result<Vec<format::Extent>> {
        let answer = self.image.call_disk(self.number, |disk, store, this| {
            disk.call_extents(store, this, offset, length)
        })?;
        match self.image.check_sources(|sources| check_answer(&answer, offset, size, sources)) {
            Ok(()) => Ok(answer),
            Err(reason) => Err(self.image.fail(reason)),
        }
    }
}

/// A disk, made of a chain of layers.
pub struct Disk {
    layers: Vec<Layer>,
    size: AtomicU64,
    pub(crate) cache: ExtentCache,
    /// Whether the top image was opened for writing.
    writable: bool,
    pub(crate) writing: Writing,
    /// Held while a page is built, so that it is built once.
    building: Mutex<()>,
}

impl Disk {
    /// A disk of these layers, top first, with an extent cache of about
    /// `cache_budget` bytes.
    ///
    /// # Errors
    /// [`Error::Failed`] for an empty chain, one longer than [`CHAIN_LIMIT`], or a
    /// disk number that the image does not have.
    pub fn new(layers: Vec<Layer>, cache_budget: usize) -> Result<Self> {
        if layers.is_empty() || layers.len() > CHAIN_LIMIT {
            let reason = alloc::format!("a chain of {} layers", layers.len());
            return Err(Error::Failed { reason });
        }
        for layer in &layers {
            if layer.number as usize >= layer.image.disks().len() {
                let (number, count) = (layer.number, layer.image.disks().len());
                let reason = alloc::format!("there is no disk {number}; the image has {count}");
                return Err(Error::Failed { reason });
            }
        }
        let info = layers[0].info();
        let (size, granularity) = (layers[0].size(), info.granularity);
        let cache = ExtentCache::new(cache_budget, granularity);
        let writable = layers[0].image.access() == Access::ReadWrite;
        Ok(Self {
            layers,
            size: AtomicU64::new(size),
            cache,
            writable,
            writing: Writing::default(),
            building: Mutex::new(()),
        })
    }

    /// Size in bytes.
    pub fn size(&self) -> u64 {
        self.size.load(Ordering::Relaxed)
    }

    /// Sets its size, and answers the old one.
    pub(crate) fn set_size(&self, size: u64) -> u64 {
        self.top().set_disk_size(self.layers[0].number, size);
        self.size.swap(size, Ordering::Relaxed)
    }

    /// The image that is written to.
    pub(crate) fn top(&self) -> &Image {
        &self.layers[0].image
    }

    /// What its top layer says of it.
    pub fn info(&self) -> &DiskInfo {
        self.layers[0].info()
    }

    /// Its layers, top first.
    pub fn layers(&self) -> &[Layer] {
        &self.layers
    }

    /// The source that a piece names.
    ///
    /// # Errors
    /// [`Error::Source`] where a source that was only declared cannot be opened.
    #[inline]
    pub fn source(&self, key: SourceKey) -> Result<Arc<dyn Source>> {
        self.layers[usize::from(key.layer)].image.source(key.id)
    }

    /// The key that a block of `layer` is encrypted with.
    pub fn secret(&self, layer: u16, number: u32) -> Option<Arc<[u8]>> {
        self.layers[usize::from(layer)].image.secret(number)
    }

    /// Fills `buffer` from `offset` of the source that a piece names.
    ///
    /// # Errors
    /// As [`Disk::source`], and what the source answers.
    #[inline]
    pub fn read_source(&self, key: SourceKey, offset: u64, buffer: &mut [u8]) -> Result<()> {
        self.layers[usize::from(key.layer)].image.read_source(key.id, offset, buffer)
    }

    /// Plans a read: appends pieces that cover `length` bytes from `offset`.
    ///
    /// # Errors
    /// [`Error::OutOfRange`], or what the plugins answered.
    #[inline]
    pub fn plan_read(&self, offset: u64, length: u64, pieces: &mut Pieces) -> Result<()> {
        let end = self.check_range(offset, length)?;
        self.check_trusted()?;
        let first = pieces.len();
        loop {
            let generation = self.writing.generation.load(Ordering::Acquire);
            let mut at = offset;
            while at < end {
                at = match self.cache.pieces(at, end, pieces) {
                    Some(next) => next,
                    None => self.plan_uncached(at, end, pieces)?,
                };
            }
            if !self.writable || self.writing.patch(first, pieces, generation) {
                return Ok(());
            }
            pieces.truncate(first);
        }
    }

    /// Pieces from `offset` on, without reading: at least one, and no more than one
    /// page of the cache, so that a caller can walk a disk of any size.
    ///
    /// # Errors
    /// As [`Disk::plan_read`].
    pub fn extents(&self, offset: u64, length: u64) -> Result<Pieces> {
        let end = self.check_range(offset, length)?;
        self.check_trusted()?;
        let end = end.min(self.cache.window(offset).end);
        let mut pieces = Pieces::new();
        loop {
            let generation = self.writing.generation.load(Ordering::Acquire);
            if offset < end && self.cache.pieces(offset, end, &mut pieces).is_none() {
                self.plan_uncached(offset, end, &mut pieces)?;
            }
            if !self.writable || self.writing.patch(0, &mut pieces, generation) {
                return Ok(pieces);
            }
            pieces.clear();
        }
    }

    /// Fills `buffer` with the bytes of a [`crate::PieceKind::Computed`] piece.
    ///
    /// # Errors
    /// What the plugin answered; [`Error::Untrusted`] for another count of bytes.
    pub fn compute(&self, piece: &Piece, buffer: &mut [u8]) -> Result<()> {
        let layer = &self.layers[usize::from(piece.layer)];
        let mut at = piece.offset;
        for part in buffer.chunks_mut(1 << 20) {
            let bytes = layer.image.call_disk(layer.number, |disk, store, this| {
                disk.call_read(store, this, at, part.len() as u32)
            })?;
            if bytes.len() != part.len() {
                let reason = alloc::format!("{} bytes for {}", bytes.len(), part.len());
                return Err(layer.image.fail(reason));
            }
            part.copy_from_slice(&bytes);
            at += bytes.len() as u64;
        }
        Ok(())
    }

    /// Lets every layer's plugin look for contradictions.
    ///
    /// # Errors
    /// What keeps a plugin from looking.
    pub fn check(&self) -> Result<Vec<format::Finding>> {
        self.call_top(|disk, store, this| disk.call_check(store, this, false))
    }

    /// Calls a function of the top layer's disk.
    pub(crate) fn call_top<R>(
        &self,
        function: impl FnOnce(GuestDisk<'_>, &mut Store<Imports>, ResourceAny) -> Answer<R>,
    ) -> Result<R> {
        self.layers[0].image.call_disk(self.layers[0].number, function)
    }

    /// What is cached is not served either, once a layer cannot be trusted.
    #[inline]
    fn check_trusted(&self) -> Result<()> {
        self.layers.iter().try_for_each(|layer| layer.image.check_trusted())
    }

    pub(crate) fn check_range(&self, offset: u64, length: u64) -> Result<u64> {
        match offset.checked_add(length) {
            Some(end) if end <= self.size() => Ok(end),
            _ => Err(Error::OutOfRange { offset, length, size: self.size() }),
        }
    }

    /// Builds the page that holds `offset`, unless another thread just did.
    #[cold]
    fn plan_uncached(&self, offset: u64, end: u64, pieces: &mut Pieces) -> Result<u64> {
        let _building = self.building.lock();
        if let Some(next) = self.cache.pieces(offset, end, pieces) {
            return Ok(next);
        }
        let generation = self.writing.generation.load(Ordering::Acquire);
        let page = self.build_page(offset)?;
        let next = page.pieces(offset, end, pieces);
        // A page from before a write that is forgotten above the cache is not kept.
        self.writing.if_still(generation, || self.cache.insert(offset, page));
        Ok(next)
    }

    /// A page from its window's start if `offset` then still falls into it,
    /// otherwise from `offset` on.
    fn build_page(&self, offset: u64) -> Result<Page> {
        let window = self.cache.window(offset);
        let end = window.end.min(self.size());
        for start in [window.start, offset] {
            let builder = PageBuilder::new(window.start, start);
            let mut merge = Merge::new(&self.layers, self.size(), builder);
            merge.resolve(0, end)?;
            if merge.builder.end() > offset {
                return Ok(merge.builder.finish());
            }
        }
        let reason = alloc::format!("no extents at offset {offset} in the time of two calls");
        Err(self.layers[0].image.fail(reason))
    }
}

/// The most answers that one page is built from.
const ANSWERS_LIMIT: u32 = 8192;

/// Merges the answers of a chain into one page.
struct Merge<'a> {
    layers: &'a [Layer],
    /// Size of the disk, which may differ from what the top image said at first.
    size: u64,
    builder: PageBuilder,
    /// Answers taken so far.
    count: u32,
    /// The tick after which no more is asked: plugins that answer slowly, or byte by
    /// byte, get a short page, and no more of the host's time than two calls.
    last_tick: u64,
    /// The last answer of each layer: the next run of absent bytes above is often
    /// in it too.
    answers: Vec<Vec<format::Extent>>,
}

impl<'a> Merge<'a> {
    fn new(layers: &'a [Layer], size: u64, builder: PageBuilder) -> Self {
        let runtime = &layers[0].image.plugin().runtime;
        let last_tick = runtime.ticks() + 2 * runtime.limits.deadline_ticks;
        let answers = alloc::vec![Vec::new(); layers.len()];
        Self { layers, size, builder, count: 0, last_tick, answers }
    }

    /// Whether the page has cost all it may.
    fn is_spent(&self) -> bool {
        self.count >= ANSWERS_LIMIT
            || self.layers[0].image.plugin().runtime.ticks() > self.last_tick
    }

    /// Appends to the builder, up to `end`, what layers from `depth` down hold.
    fn resolve(&mut self, depth: usize, end: u64) -> Result<()> {
        let layer = &self.layers[depth];
        let size = if depth == 0 { self.size } else { layer.size() };
        let lowest = (self.layers.len() - 1) as u16;
        while self.builder.end() < end && !self.builder.is_full() && !self.is_spent() {
            let at = self.builder.end();
            if at >= size {
                // A parent may be shorter than its child: zeroes past its end.
                self.builder.push(end - at, lowest, PageContent::Absent);
                return Ok(());
            }
            let answer = match take_known(&mut self.answers[depth], at) {
                Some(answer) => answer,
                None => {
                    self.count += 1;
                    layer.extents(at, end.min(size) - at, size)?
                }
            };
            self.append(depth, &answer, end)?;
            self.answers[depth] = answer;
        }
        Ok(())
    }

    fn append(&mut self, depth: usize, answer: &[format::Extent], end: u64) -> Result<()> {
        let from = self.builder.end();
        let first = answer.partition_point(|extent| extent.offset + extent.length <= from);
        for extent in &answer[first..] {
            let at = self.builder.end();
            let stop = (extent.offset + extent.length).min(end);
            if at >= stop || self.builder.is_full() || self.is_spent() {
                break;
            }
            if matches!(extent.content, Content::Absent) && depth + 1 < self.layers.len() {
                self.resolve(depth + 1, stop)?;
                if self.builder.end() < stop {
                    break;
                }
                continue;
            }
            let layer = depth as u16;
            let content = page_content(&extent.content, layer, at - extent.offset);
            self.builder.push(stop - at, layer, content);
        }
        Ok(())
    }
}

/// The answer, if it says anything about `at`.
fn take_known(answer: &mut Vec<format::Extent>, at: u64) -> Option<Vec<format::Extent>> {
    let start = answer.first()?.offset;
    let end = answer.last().map(|last| last.offset + last.length)?;
    (start..end).contains(&at).then(|| core::mem::take(answer))
}

/// An extent's content, `skip` bytes into it. The answer was checked, so nothing
/// here can overflow.
fn page_content(content: &Content, layer: u16, skip: u64) -> PageContent {
    match content {
        Content::Absent => PageContent::Absent,
        Content::Zero => PageContent::Zero,
        Content::Stored(stored) => PageContent::Stored {
            source: stored.source,
            offset: stored.offset + skip,
            writable: stored.writable,
        },
        Content::Encoded(encoded) => {
            let digest = encoded.digest.as_ref().map(|digest| BlockDigest {
                kind: digest.kind,
                value: match &digest.value {
                    format::DigestValue::Given(bytes) => Some(bytes.as_slice().into()),
                    format::DigestValue::Follows => None,
                },
                over_decoded: digest.over_decoded,
            });
            let block = Block {
                source: SourceKey { layer, id: encoded.source },
                offset: encoded.offset,
                stored_length: encoded.stored_length,
                decoded_length: encoded.decoded_length,
                codec: encoded.codec,
                digest,
                needs: needs(encoded, layer),
            };
            PageContent::Encoded { block, skip: encoded.skip + skip as u32 }
        }
        Content::Computed => PageContent::Computed,
        Content::Damaged(what) => PageContent::Damaged(clean(what)),
    }
}

fn needs(encoded: &format::Encoded, layer: u16) -> Option<Arc<Needs>> {
    let encryption = encoded.encryption.as_ref().map(|encryption| Encryption {
        cipher: encryption.cipher,
        key: encryption.key,
        vector: encryption.vector.as_slice().into(),
        tag: encryption.tag.as_slice().into(),
    });
    let window = encoded.window.as_ref().map(|window| Window {
        bits: window.bits,
        source: SourceKey { layer, id: window.source },
        offset: window.offset,
        length: window.length,
    });
    let is_needed = encryption.is_some() || window.is_some();
    is_needed.then(|| Arc::new(Needs { encryption, window }))
}
