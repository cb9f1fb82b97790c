//! How bytes reach a client: a socket, or for tests any pair of streams.
//!
//! A transport knows nothing of the protocol. Sockets are in blocking mode.

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, IoSlice, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::sendfile;
use rustix::io::{Errno, retry_on_intr};
use rustix::net::{RecvFlags, SendAncillaryBuffer, SendFlags, Shutdown, recv, sendmsg, shutdown};

use super::wake::Wake;

/// What came of waiting for bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// So many bytes, at least one.
    Bytes(usize),
    /// None yet, and waiting was not asked for.
    Nothing,
    /// The client will send no more.
    End,
}

/// A connection to a client.
pub trait Transport {
    /// Receives into `buffer`, which is not empty; waits for the first byte if `wait`.
    ///
    /// # Errors
    /// Fails if the connection does.
    fn receive(&self, buffer: &mut [u8], wait: bool) -> io::Result<Received>;

    /// Waits until there is something to receive, or until `wake` is readable. A transport
    /// that cannot tell waits for `wake`.
    ///
    /// # Errors
    /// Fails if neither can be waited for.
    fn wait(&self, wake: &Wake) -> io::Result<()> {
        readable(&mut [PollFd::new(wake, PollFlags::IN)])
    }

    /// Sends `first`, then `second`, whole. `more` says that other bytes follow at once.
    ///
    /// # Errors
    /// Fails if the connection does.
    fn send(&self, first: &[u8], second: &[u8], more: bool) -> io::Result<()>;

    /// Sends `length` bytes of a file; answers how many there were, which is less only
    /// if the file ended.
    ///
    /// # Errors
    /// Fails if the connection or the file does.
    fn send_file(&self, file: &File, offset: u64, length: u64) -> io::Result<u64> {
        copy_file(self, file, offset, length)
    }

    /// Says that nothing more will be sent, in a way that keeps what was sent.
    fn finish(&self) {}
}

/// The most bytes that one piece of a copied file has.
const COPY_PIECE: usize = 128 << 10;

/// Sends a part of a file through memory, where the kernel will not do it.
fn copy_file<T: Transport + ?Sized>(
    transport: &T,
    file: &File,
    offset: u64,
    length: u64,
) -> io::Result<u64> {
    let mut piece = vec![0; usize::try_from(length).unwrap_or(COPY_PIECE).min(COPY_PIECE)];
    let mut sent = 0;
    while sent < length {
        let wanted = usize::try_from(length - sent).unwrap_or(COPY_PIECE).min(piece.len());
        let target = piece.get_mut(..wanted).unwrap_or_default();
        let read = match file.read_at(target, offset.saturating_add(sent)) {
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        if read == 0 {
            break;
        }
        transport.send(
            target.get(..read).unwrap_or_default(),
            &[],
            sent + (read as u64) < length,
        )?;
        sent += read as u64;
    }
    Ok(sent)
}

/// A connected Unix or TCP socket.
#[derive(Clone, Debug)]
pub struct Socket {
    descriptor: Arc<OwnedFd>,
}

impl Socket {
    /// Takes over a connected stream socket in blocking mode.
    pub fn new(descriptor: impl Into<OwnedFd>) -> Self {
        Self { descriptor: Arc::new(descriptor.into()) }
    }

    /// Ends what can still be received; bytes that have arrived can still be read.
    pub fn stop_receiving(&self) {
        // A socket that the client has already closed needs no stopping.
        let _ = shutdown(&*self.descriptor, Shutdown::Read);
    }

    /// Ends the connection in both directions; whoever waits for it wakes up.
    pub fn cut(&self) {
        let _ = shutdown(&*self.descriptor, Shutdown::Both);
    }
}

/// Waits until one of these is readable, or at its end.
fn readable(descriptors: &mut [PollFd<'_>]) -> io::Result<()> {
    retry_on_intr(|| poll(descriptors, None))?;
    Ok(())
}

impl Transport for Socket {
    fn wait(&self, wake: &Wake) -> io::Result<()> {
        let sent = PollFd::new(&*self.descriptor, PollFlags::IN);
        readable(&mut [sent, PollFd::new(wake, PollFlags::IN)])
    }

    fn receive(&self, buffer: &mut [u8], wait: bool) -> io::Result<Received> {
        let flags = if wait { RecvFlags::empty() } else { RecvFlags::DONTWAIT };
        match retry_on_intr(|| recv(self.descriptor.as_fd(), &mut *buffer, flags)) {
            Ok((0, _)) => Ok(Received::End),
            Ok((length, _)) => Ok(Received::Bytes(length)),
            Err(Errno::AGAIN) => Ok(Received::Nothing),
            Err(error) => Err(error.into()),
        }
    }

    fn send(&self, mut first: &[u8], mut second: &[u8], more: bool) -> io::Result<()> {
        let flags = SendFlags::NOSIGNAL | if more { SendFlags::MORE } else { SendFlags::empty() };
        while !first.is_empty() || !second.is_empty() {
            let parts = [IoSlice::new(first), IoSlice::new(second)];
            let sent = retry_on_intr(|| {
                sendmsg(&*self.descriptor, &parts, &mut SendAncillaryBuffer::default(), flags)
            })?;
            let of_first = sent.min(first.len());
            first = first.get(of_first..).unwrap_or_default();
            second = second.get(sent - of_first..).unwrap_or_default();
        }
        Ok(())
    }

    fn send_file(&self, file: &File, offset: u64, length: u64) -> io::Result<u64> {
        let mut position = offset;
        let end = offset.saturating_add(length);
        while position < end {
            let wanted = usize::try_from(end - position).unwrap_or(usize::MAX);
            match sendfile(&*self.descriptor, file, Some(&mut position), wanted) {
                Ok(0) => break,
                Ok(_) | Err(Errno::INTR) => {}
                // Not every file system lets its pages go straight to a socket.
                Err(Errno::INVAL | Errno::NOSYS) if position == offset => {
                    return copy_file(self, file, offset, length);
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(position - offset)
    }

    fn finish(&self) {
        // Closing a TCP socket that holds unread bytes makes the kernel throw away
        // replies that the client has not read yet, so they are read first.
        let _ = shutdown(&*self.descriptor, Shutdown::Write);
        let mut unread = [0; 16 << 10];
        for _ in 0..64 {
            if !matches!(self.receive(&mut unread, false), Ok(Received::Bytes(_))) {
                break;
            }
        }
    }
}

/// Any reader and writer, for tests and fuzzing.
#[derive(Debug)]
pub struct ByteStreams<R, W> {
    reader: RefCell<R>,
    writer: RefCell<W>,
}

impl<R: Read, W: Write> ByteStreams<R, W> {
    /// Receives from `reader` and sends to `writer`.
    pub fn new(reader: R, writer: W) -> Self {
        Self { reader: RefCell::new(reader), writer: RefCell::new(writer) }
    }
}

impl<R: Read, W: Write> Transport for ByteStreams<R, W> {
    fn receive(&self, buffer: &mut [u8], wait: bool) -> io::Result<Received> {
        if !wait {
            return Ok(Received::Nothing);
        }
        loop {
            match self.reader.borrow_mut().read(buffer) {
                Ok(0) => return Ok(Received::End),
                Ok(length) => return Ok(Received::Bytes(length)),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn send(&self, first: &[u8], second: &[u8], more: bool) -> io::Result<()> {
        let mut writer = self.writer.borrow_mut();
        writer.write_all(first)?;
        writer.write_all(second)?;
        if more { Ok(()) } else { writer.flush() }
    }
}
