//! A small NBD client, as far as tests need one that says exactly what it is told to.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// `NBD_CMD_READ`.
pub const READ: u16 = 0;
/// `NBD_CMD_WRITE`.
pub const WRITE: u16 = 1;
/// `NBD_CMD_FLUSH`.
pub const FLUSH: u16 = 3;

/// Flags of the client: fixed newstyle, no padding.
pub const CLIENT_FLAGS: [u8; 4] = [0, 0, 0, 3];

/// A connection in the transmission phase, with simple replies.
pub struct Client {
    stream: UnixStream,
    /// The export's size.
    pub size: u64,
}

/// Connects and takes the greeting; nothing is sent yet.
pub fn greeted(socket: &Path) -> io::Result<UnixStream> {
    let mut stream = connected(socket)?;
    stream.read_exact(&mut [0; 18])?;
    Ok(stream)
}

/// Connects; nothing is read or sent yet.
pub fn connected(socket: &Path) -> io::Result<UnixStream> {
    let stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// An option of the handshake.
pub fn option(number: u32, data: &[u8]) -> Vec<u8> {
    let mut bytes = b"IHAVEOPT".to_vec();
    bytes.extend(number.to_be_bytes());
    bytes.extend((data.len() as u32).to_be_bytes());
    bytes.extend(data);
    bytes
}

/// `NBD_OPT_EXPORT_NAME` for the default export, behind the client's flags: all that
/// it takes to come to the transmission phase.
pub fn opening() -> Vec<u8> {
    [&CLIENT_FLAGS[..], &option(1, b"")].concat()
}

/// A request without its data.
pub fn request(command: u16, cookie: u64, offset: u64, length: u32) -> Vec<u8> {
    let mut bytes = 0x2560_9513_u32.to_be_bytes().to_vec();
    bytes.extend([0, 0]);
    bytes.extend(command.to_be_bytes());
    bytes.extend(cookie.to_be_bytes());
    bytes.extend(offset.to_be_bytes());
    bytes.extend(length.to_be_bytes());
    bytes
}

impl Client {
    /// Connects to the default export.
    pub fn connect(socket: &Path) -> io::Result<Self> {
        let mut stream = greeted(socket)?;
        stream.write_all(&opening())?;
        let mut answer = [0; 10];
        stream.read_exact(&mut answer)?;
        let (size, _) = answer.split_first_chunk().expect("ten bytes");
        Ok(Self { stream, size: u64::from_be_bytes(*size) })
    }

    /// Sends a request with its data, and takes the error number in the reply.
    pub fn request(&mut self, command: u16, offset: u64, length: u32, data: &[u8]) -> u32 {
        let message = [&request(command, offset, offset, length), data].concat();
        self.stream.write_all(&message).expect("the server takes requests");
        let mut reply = [0; 16];
        self.stream.read_exact(&mut reply).expect("the server answers");
        assert_eq!(reply[..4], 0x6744_6698_u32.to_be_bytes(), "the magic of a simple reply");
        assert_eq!(reply[8..], offset.to_be_bytes(), "the request's cookie");
        u32::from_be_bytes([reply[4], reply[5], reply[6], reply[7]])
    }

    /// Reads, or answers the error's number.
    pub fn read(&mut self, offset: u64, length: u32) -> Result<Vec<u8>, u32> {
        match self.request(READ, offset, length, &[]) {
            0 => {
                let mut bytes = vec![0; length as usize];
                self.stream.read_exact(&mut bytes).expect("the bytes behind the reply");
                Ok(bytes)
            }
            error => Err(error),
        }
    }
}
