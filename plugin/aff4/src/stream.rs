//! What is known of an image stream before its segments are looked at: measures and
//! compression.
//!
//! Source: AFF4 Standard v1.0a, section 3; names of codecs beyond it as pyaff4 has them.

use alloc::format;
use alloc::string::{String, ToString};

use fumehood_plugin::text::brief;
use fumehood_plugin::{Codec, Error, Result};

use crate::graph::Object;
use crate::symbol::term;
use crate::text::shown;

/// Bytes a chunk: writers use 32 KiB to some MiB.
const CHUNK: core::ops::RangeInclusive<u64> = 512..=16 << 20;
/// Where the turtle does not tell.
const USUAL_CHUNK: u64 = 32 << 10;
const USUAL_PER_SEGMENT: u64 = 1024;

/// How chunks are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Compression {
    /// With what; `None` where all are stored.
    pub codec: Option<Codec>,
    /// Also those that are as long as a chunk.
    pub always: bool,
    /// For people.
    pub name: &'static str,
}

/// A stream.
#[derive(Debug, Clone)]
pub struct Stream {
    /// Its URN.
    pub urn: String,
    /// The place of the volume that stores it.
    pub volume: usize,
    /// In bytes.
    pub size: u64,
    /// Bytes a chunk.
    pub chunk: u32,
    /// Chunks a segment.
    pub per_segment: u64,
    /// How they are compressed.
    pub compression: Compression,
    /// The number of its first segment among those of all streams.
    pub first: u64,
    /// How many segments its volume may list: what is behind them is not there.
    pub listed: u64,
}

impl Stream {
    /// The stream that `object` describes; its segments follow `first` others, and are no
    /// more than `most`, whatever its size.
    ///
    /// # Errors
    /// [`Error::Unsupported`], or what `corrupt` makes of what is wrong, with the property
    /// that says so.
    pub fn read(
        urn: &str,
        volume: usize,
        object: &Object,
        (first, most): (u64, u64),
        corrupt: impl Fn(&str) -> Error,
    ) -> Result<Self> {
        let corrupt = |what: String| corrupt(&format!("stream {}: {what}", shown(urn)));
        let number = |property| object.number(property).map_err(corrupt);
        let size = number("size")?.ok_or_else(|| corrupt("it states no size".to_string()))?;
        let chunk = number("chunkSize")?.unwrap_or(USUAL_CHUNK);
        let per_segment = match number("chunksInSegment")? {
            Some(count) => Some(count),
            None => number("chunksPerSegment")?,
        };
        let per_segment = per_segment.unwrap_or(USUAL_PER_SEGMENT);
        if !CHUNK.contains(&chunk) || per_segment == 0 || per_segment > u64::from(u32::MAX) {
            let what = format!(
                "stream {} has chunks of {chunk} bytes, {per_segment} a segment; chunks of {} to \
                 {} bytes are read",
                shown(urn),
                CHUNK.start(),
                CHUNK.end()
            );
            return Err(Error::Unsupported(what));
        }
        let mut stream = Self {
            urn: urn.to_string(),
            volume,
            size,
            chunk: chunk as u32,
            per_segment,
            compression: compression(object).map_err(|what| {
                Error::Unsupported(format!("stream {} is compressed by {what}", shown(urn)))
            })?,
            first,
            listed: 0,
        };
        stream.listed = stream.segments().min(most);
        Ok(stream)
    }

    /// How many segments it has.
    pub fn segments(&self) -> u64 {
        self.size.div_ceil(u64::from(self.chunk)).div_ceil(self.per_segment)
    }
}

fn compression(object: &Object) -> core::result::Result<Compression, String> {
    let method = object.iri("compressionMethod").or_else(|| object.iri("compression"));
    let plain = |codec, name| Ok(Compression { codec, always: false, name });
    match method {
        // What pyaff4 and c-aff4 take where nothing is said.
        None => plain(Some(Codec::Zlib), "zlib"),
        Some("http://code.google.com/p/snappy/") => plain(Some(Codec::Snappy), "Snappy"),
        Some("https://github.com/google/snappy") => {
            Ok(Compression { codec: Some(Codec::Snappy), always: true, name: "Snappy" })
        }
        Some("https://code.google.com/p/lz4/") => plain(Some(Codec::Lz4), "LZ4"),
        Some("https://tools.ietf.org/html/rfc1951" | "http://tools.ietf.org/html/rfc1951") => {
            plain(Some(Codec::Deflate), "Deflate")
        }
        Some("https://www.ietf.org/rfc/rfc1950.txt" | "https://tools.ietf.org/html/rfc1950") => {
            plain(Some(Codec::Zlib), "zlib")
        }
        Some(other) => match term(other) {
            Some("NullCompressor" | "compression/stored") => plain(None, "none"),
            _ => Err(brief(other)),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::Graph;

    fn read(more: &str) -> Result<Stream> {
        let text = format!("@prefix s: <http://aff4.org/Schema#> . <a> a s:ImageStream {more} .");
        let graph = Graph::read(&text, &mut 9999).unwrap();
        Stream::read("a", 0, graph.get("a").unwrap(), (5, 100), |what| Error::corrupt(0, what))
    }

    #[test]
    fn measures_are_checked() {
        let stream = read("; s:size 100000 ; s:chunkSize 512 ; s:chunksInSegment 7").unwrap();
        assert_eq!((stream.segments(), stream.compression.codec), (28, Some(Codec::Zlib)));
        assert_eq!((stream.first, stream.listed), (5, 28));
        let stream = read("; s:size 18446744073709551615 ; s:chunksInSegment 1").unwrap();
        assert_eq!((stream.segments(), stream.listed), (1 << 49, 100));
        let stream =
            read("; s:size 5; s:compressionMethod <https://code.google.com/p/lz4/>").unwrap();
        assert_eq!((stream.chunk, stream.compression.codec), (32768, Some(Codec::Lz4)));
        for (more, unsupported) in [
            ("", false),
            ("; s:size \"-1\"", false),
            ("; s:size 1 ; s:chunkSize 0", true),
            ("; s:size 1 ; s:chunkSize 4294967296", true),
            ("; s:size 1 ; s:chunksInSegment 0", true),
            ("; s:size 1 ; s:compressionMethod <http://x>", true),
        ] {
            let error = read(more).unwrap_err();
            assert_eq!(matches!(error, Error::Unsupported(_)), unsupported, "{more}: {error}");
        }
    }
}
