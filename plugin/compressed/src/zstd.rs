//! Zstandard: frames, one behind the other. A frame that tells what it decodes to is
//! passed block by block; one that does not is decoded, to learn it. Frames that are too
//! long for the host to decode whole are unpacked.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;

use fumehood_plugin::{Codec, Error, Result, SourceHandle};
use structured_zstd::decoding::errors::FrameDecoderError;
use structured_zstd::decoding::{ContentChecksum, FrameDecoder};

use crate::PIECE_LIMIT;
use crate::feed::Feed;
use crate::index_writer::{IndexWriter, Mark};
use crate::piece::{Check, EncodedPiece, Piece};
use crate::seek_table::SeekTable;
use crate::survey::{STEP_DECODED, STEP_READS, Survey, cut};
use crate::unpack::Unpack;
use crate::zstd_frame::{BLOCK_HEADER, Block, Frame, Next, next};

/// The largest window that is decoded here: half of the memory there is.
const WINDOW_LIMIT: u64 = 32 << 20;
/// The largest window that the host decodes, of a frame it decodes whole.
const HOST_WINDOW_LIMIT: u64 = 128 << 20;
/// A block with its header, and a checksum: what the decoder needs to see at once.
const BLOCK: usize = (128 << 10) + 16;
/// Decoded at once.
const OUTPUT: usize = 256 << 10;

/// A walk over the frames.
pub struct ZstdSurvey {
    main: SourceHandle,
    feed: Feed,
    table: Option<SeekTable>,
    state: State,
    begun: bool,
    /// The state before the table was believed.
    before: Option<Mark>,
}

enum State {
    /// At the beginning of something.
    Between,
    /// At a block of the frame that began at `start`.
    Walk {
        start: u64,
        frame: Frame,
        content: u64,
    },
    Decode(Box<Decode>),
}

/// A frame that is decoded here.
struct Decode {
    start: u64,
    feed: Feed,
    decoder: FrameDecoder,
    output: Vec<u8>,
    unpack: Unpack,
    length: u64,
    /// Where to go back to where the host can decode it after all.
    mark: Mark,
}

impl ZstdSurvey {
    /// At the beginning of `main`.
    pub fn new(main: &SourceHandle) -> Self {
        let feed = Feed::new(main.clone(), 0, main.size()).narrow();
        let (table, state) = (None, State::Between);
        Self { main: main.clone(), feed, table, state, begun: false, before: None }
    }

    /// Begins what comes next; true at the end.
    fn begin(&mut self, index: &mut IndexWriter) -> Result<bool> {
        let start = self.feed.position();
        if self.feed.is_empty() {
            return Ok(true);
        }
        match next(&mut self.feed)? {
            Next::Skip(length) if length > self.feed.left() => {
                return Err(cut(start, "the rest of a skippable frame"));
            }
            Next::Skip(length) => self.feed.seek(start + length),
            Next::Frame(frame) => self.begin_frame(start, frame, index)?,
            Next::Other if index.summary.parts == 0 => return Err(Error::Unrecognised),
            Next::Other => {
                let what = "expected the next frame, found something else";
                return Err(Error::corrupt(start, what));
            }
        }
        Ok(false)
    }

    fn begin_frame(&mut self, start: u64, frame: Frame, index: &mut IndexWriter) -> Result<()> {
        if frame.dictionary != 0 {
            let what = alloc::format!("a Zstandard frame with dictionary {}", frame.dictionary);
            return Err(Error::Unsupported(what));
        }
        index.summary.parts += 1;
        let whole = frame.content.filter(|content| *content <= PIECE_LIMIT);
        if let Some(content) = whole.filter(|_| frame.window <= HOST_WINDOW_LIMIT) {
            self.feed.seek(start + frame.header);
            self.state = State::Walk { start, frame, content };
            return Ok(());
        }
        self.decode(start, frame, index)
    }

    fn decode(&mut self, start: u64, frame: Frame, index: &mut IndexWriter) -> Result<()> {
        if frame.window > WINDOW_LIMIT {
            return Err(Error::Unsupported(alloc::format!(
                "a Zstandard frame with a window of {} MiB; at most {} MiB are decoded: unpack \
                 it with zstd -d --long=31, or compress it without --long or --ultra, in several \
                 frames",
                frame.window >> 20,
                WINDOW_LIMIT >> 20
            )));
        }
        let mut decoder = FrameDecoder::new();
        decoder.set_content_checksum(ContentChecksum::Verify);
        let limited = decoder.set_max_window_size(WINDOW_LIMIT.next_power_of_two());
        limited.map_err(|error| broken(start, &error))?;
        self.state = State::Decode(Box::new(Decode {
            start,
            feed: Feed::new(self.main.clone(), start, self.main.size()),
            decoder,
            output: vec![0; OUTPUT],
            unpack: Unpack::default(),
            length: 0,
            mark: index.mark(),
        }));
        Ok(())
    }

    /// Passes the next block; true at the frame's end.
    fn walk(
        &mut self,
        start: u64,
        frame: Frame,
        content: u64,
        index: &mut IndexWriter,
    ) -> Result<bool> {
        let at = self.feed.position();
        // Just the header: the feed would read all that lies between.
        let bytes = fumehood_plugin::read::read_struct(&*self.main, at, "a block's header")?;
        let block = Block::parse(bytes, at)?;
        let checksum = if block.last && frame.checksum { 4 } else { 0 };
        let end = at + BLOCK_HEADER + block.stored + checksum;
        if end > self.main.size() {
            return Err(cut(at, "the rest of a block"));
        }
        self.feed.seek(end);
        if end - start > PIECE_LIMIT {
            // Longer than what it decodes to: as if it did not say that.
            self.decode(start, frame, index)?;
            return Ok(false);
        }
        if block.last {
            push_frame(start, end, content, index)?;
        }
        Ok(block.last)
    }
}

/// Adds a frame that the host decodes whole.
fn push_frame(start: u64, end: u64, content: u64, index: &mut IndexWriter) -> Result<()> {
    let piece = EncodedPiece {
        offset: start,
        stored: (end - start) as u32,
        codec: Codec::Zstd,
        check: Check::None,
        entrance: None,
    };
    index.push(content, Piece::Encoded(piece))
}

fn broken(position: u64, error: &FrameDecoderError) -> Error {
    Error::corrupt(position, alloc::format!("expected a sound Zstandard frame: {error}"))
}

impl Decode {
    /// Decodes about one block; true at the frame's end.
    fn step(&mut self, index: &mut IndexWriter) -> Result<bool> {
        let feed = &mut self.feed;
        let position = feed.position();
        let input = feed.at_least(BLOCK)?;
        let given = input.len();
        let result = self.decoder.decode_from_to(input, &mut self.output);
        let (read, written) = result.map_err(|error| broken(position, &error))?;
        feed.consume(read);
        self.length += written as u64;
        // Without a scratch it is only measured.
        if index.room.scratch_id().is_some() {
            self.unpack.push(index, self.output.get(..written).unwrap_or_default())?;
        } else if self.length > PIECE_LIMIT {
            return Err(Error::NoSpace);
        }
        if self.decoder.is_finished() && self.decoder.can_collect() == 0 {
            return Ok(true);
        }
        if read == 0 && written == 0 {
            return Err(match given < BLOCK {
                true => cut(feed.position(), "the rest of a Zstandard frame"),
                false => Error::corrupt(position, "expected a block, found none that ends"),
            });
        }
        Ok(false)
    }

    /// At the frame's end: it is kept unpacked, unless the host can decode it whole.
    fn finish(mut self, end: u64, index: &mut IndexWriter) -> Result<()> {
        if self.length.max(end - self.start) > PIECE_LIMIT {
            return self.unpack.write(index);
        }
        index.back(self.mark);
        push_frame(self.start, end, self.length, index)
    }
}

impl ZstdSurvey {
    /// Follows the seek table, or gives it up.
    fn follow(&mut self, mut table: SeekTable, index: &mut IndexWriter) -> Result<bool> {
        match table.step(index) {
            Ok(done) => {
                self.table = Some(table);
                Ok(done)
            }
            Err(Error::Corrupt { .. }) => {
                if let Some(mark) = self.before.take() {
                    index.back(mark);
                }
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }
}

impl Survey for ZstdSurvey {
    fn step(&mut self, index: &mut IndexWriter) -> Result<bool> {
        if !self.begun {
            self.begun = true;
            self.table = SeekTable::find(&self.main)?;
            self.before = Some(index.mark());
        }
        if let Some(table) = self.table.take() {
            return self.follow(table, index);
        }
        let (size, position) = (index.size(), self.feed.position());
        for _ in 0..STEP_READS {
            match core::mem::replace(&mut self.state, State::Between) {
                State::Between => {
                    if self.begin(index)? {
                        return Ok(true);
                    }
                }
                State::Walk { start, frame, content } => {
                    let done = self.walk(start, frame, content, index)?;
                    if !done && matches!(self.state, State::Between) {
                        self.state = State::Walk { start, frame, content };
                    }
                }
                State::Decode(mut decode) => {
                    let done = decode.step(index)?;
                    self.feed.seek(decode.feed.position());
                    match done {
                        true => decode.finish(self.feed.position(), index)?,
                        false => self.state = State::Decode(decode),
                    }
                    let read = self.feed.position().saturating_sub(position);
                    if index.size().saturating_sub(size).max(read) >= STEP_DECODED {
                        break;
                    }
                }
            }
        }
        Ok(false)
    }

    fn position(&self) -> u64 {
        self.table.as_ref().map_or(self.feed.position(), SeekTable::position)
    }
}
