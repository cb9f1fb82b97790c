//! One image of a chain, expanding or plain: what it holds at an offset, and how far
//! that goes on. What an image lacks is for the next older one, see [`crate::map`].

use alloc::format;
use alloc::string::String;

use fumehood_plugin::{Content, Result, SourceHandle, Stored};

use crate::header::{Generation, Header};
use crate::table::Tables;

/// What a layer holds from the offset that was asked about to `end`.
#[derive(Debug)]
pub struct Piece {
    /// Where it ends, an offset in the layer.
    pub end: u64,
    /// [`Content::Absent`] where an older image is to be asked.
    pub content: Content,
}

/// An image with a header and a table.
#[derive(Clone)]
pub struct Expanding {
    /// Its file.
    pub source: SourceHandle,
    /// Its header.
    pub header: Header,
}

impl Expanding {
    /// The image in `source`.
    ///
    /// # Errors
    /// As [`Header::read`].
    pub fn open(source: SourceHandle) -> Result<Self> {
        let header = Header::read(&*source)?;
        Ok(Self { source, header })
    }

    fn find(&self, tables: &mut Tables, offset: u64) -> Result<Piece> {
        let header = &self.header;
        if offset >= header.size {
            // Made when the disk was smaller.
            return Ok(Piece { end: u64::MAX, content: Content::Absent });
        }
        let cluster = offset / header.cluster;
        let within = offset % header.cluster;
        let start = offset - within;
        let end = start.saturating_add(header.cluster).min(header.size);
        let entry = tables.entry(&*self.source, header, cluster)?;
        let Some(place) = header.place(entry) else {
            return Ok(Piece { end, content: Content::Absent });
        };
        let held = self.held(place);
        if within < held {
            let offset = place + within;
            let stored = Stored { source: self.source.id(), offset, writable: false };
            let end = end.min(start.saturating_add(held));
            return Ok(Piece { end, content: Content::Stored(stored) });
        }
        let content = self.damage(cluster, place).map_or(Content::Zero, Content::Damaged);
        Ok(Piece { end, content })
    }

    /// Bytes of a cluster that the file holds at `place`.
    fn held(&self, place: u64) -> u64 {
        match place < self.header.table_end() {
            true => 0,
            false => self.source.size().saturating_sub(place).min(self.header.cluster),
        }
    }

    /// What is wrong with the place of a cluster, if the disk needs bytes that are not
    /// there. Writers of the first generation let the file end where the data did.
    pub fn damage(&self, cluster: u64, place: u64) -> Option<String> {
        let header = &self.header;
        let start = cluster.saturating_mul(header.cluster);
        let needed = header.size.saturating_sub(start).min(header.cluster);
        let held = self.held(place);
        if held >= needed || held > 0 && header.generation == Generation::First {
            return None;
        }
        let (name, size, table) = (self.source.name(), self.source.size(), header.table_end());
        Some(if place < table {
            format!("cluster {cluster} of {name} lies at {place}, in the table up to {table}")
        } else {
            format!("cluster {cluster} of {name}, {needed} bytes at {place}, ends past {size}")
        })
    }
}

/// One image.
#[derive(Clone)]
pub enum Layer {
    /// With a table of what it holds.
    Expanding(Expanding),
    /// The bytes as they are; holds all there is of its storage.
    Plain(SourceHandle),
}

impl Layer {
    /// What it holds at `offset` of its storage.
    ///
    /// # Errors
    /// What the source answers.
    pub fn find(&self, tables: &mut Tables, offset: u64) -> Result<Piece> {
        let source = match self {
            Self::Expanding(image) => return image.find(tables, offset),
            Self::Plain(source) => source,
        };
        let size = source.size();
        if offset < size {
            let stored = Stored { source: source.id(), offset, writable: false };
            return Ok(Piece { end: size, content: Content::Stored(stored) });
        }
        let what = format!("{} has {size} bytes, fewer than its storage", source.name());
        Ok(Piece { end: u64::MAX, content: Content::Damaged(what) })
    }

    /// The power of two up to `limit` by which all of its clusters are aligned.
    pub fn granularity(&self, limit: u64) -> u64 {
        match self {
            Self::Expanding(image) => limit.min(1 << image.header.cluster.trailing_zeros()),
            Self::Plain(_) => limit,
        }
    }
}
