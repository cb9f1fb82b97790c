//! Listening sockets: made, taken over from a service manager, and removed.

use std::fs;
use std::io;
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use listenfd::ListenFd;
use rustix::fs::{Mode, fchmod};
use rustix::net::sockopt::set_socket_keepalive;
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, listen, socket_with,
};
use tracing::debug;

use super::address::Address;
use super::error::ServerError;
use super::transport::Socket;

/// How many clients may wait to be accepted.
const BACKLOG: i32 = 128;

/// A socket on which clients arrive. Dropping it ends that; a Unix socket's file is
/// removed if this process made it.
#[derive(Debug)]
pub struct Listener {
    kind: Kind,
    address: Address,
    file: Option<SocketFile>,
}

#[derive(Debug)]
enum Kind {
    Unix(UnixListener),
    Tcp(TcpListener),
}

impl Listener {
    /// Begins to listen. One address may stand for several sockets.
    ///
    /// A Unix socket can be reached by this user only. A socket file that nobody
    /// listens on any more is replaced.
    ///
    /// # Errors
    /// Fails if the address is in use, cannot be used, or if no socket was passed.
    pub fn open(address: &Address) -> Result<Vec<Self>, ServerError> {
        match address {
            Address::Unix(path) => Ok(vec![Self::unix(path)?]),
            Address::Tcp { host, port } => {
                let listener = TcpListener::bind((host.as_str(), *port))
                    .map_err(|error| failed(address, error))?;
                Ok(vec![Self::passed_tcp(listener).map_err(|error| failed(address, error))?])
            }
            Address::Activated => Self::activated(),
        }
    }

    /// Where clients arrive, as far as it is known.
    #[must_use]
    pub fn address(&self) -> &Address {
        &self.address
    }

    fn unix(path: &Path) -> Result<Self, ServerError> {
        let address = Address::Unix(path.to_owned());
        let fail = |error| failed(&address, error);
        let listener = match bind_unix(path) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                remove_stale(path)?;
                bind_unix(path).map_err(fail)?
            }
            bound => bound.map_err(fail)?,
        };
        let file = Some(SocketFile::of(path).map_err(fail)?);
        Ok(Self { kind: Kind::Unix(listener), address, file })
    }

    fn activated() -> Result<Vec<Self>, ServerError> {
        let mut passed = ListenFd::from_env();
        let fail = |error| failed(&Address::Activated, error);
        let mut listeners = Vec::new();
        for index in 0..passed.len() {
            // Asked for the wrong kind, the socket stays where it is.
            if let Ok(Some(listener)) = passed.take_unix_listener(index) {
                listeners.push(Self::passed_unix(listener).map_err(fail)?);
            } else if let Some(listener) = passed.take_tcp_listener(index).map_err(fail)? {
                listeners.push(Self::passed_tcp(listener).map_err(fail)?);
            }
        }
        if listeners.is_empty() { Err(ServerError::NotActivated) } else { Ok(listeners) }
    }

    fn passed_unix(listener: UnixListener) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        let path = listener.local_addr()?.as_pathname().map(Path::to_owned);
        let address = path.map_or(Address::Activated, Address::Unix);
        Ok(Self { kind: Kind::Unix(listener), address, file: None })
    }

    fn passed_tcp(listener: TcpListener) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        let local = listener.local_addr()?;
        let address = Address::Tcp { host: local.ip().to_string(), port: local.port() };
        Ok(Self { kind: Kind::Tcp(listener), address, file: None })
    }

    /// Takes a client that has arrived; `None` if there is none.
    pub(super) fn accept(&self) -> io::Result<Option<Socket>> {
        let accepted = match &self.kind {
            Kind::Unix(listener) => listener.accept().and_then(|(stream, _)| ready_unix(stream)),
            Kind::Tcp(listener) => listener.accept().and_then(|(stream, from)| {
                debug!(%from, "connected");
                ready_tcp(stream)
            }),
        };
        match accepted {
            Ok(socket) => Ok(Some(Socket::new(socket))),
            Err(error) if is_passing(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.kind {
            Kind::Unix(listener) => listener.as_fd(),
            Kind::Tcp(listener) => listener.as_fd(),
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Some(file) = &self.file {
            file.remove();
        }
    }
}

/// Whether a failed accept says only that one client came and went, or that none came.
fn is_passing(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted | io::ErrorKind::ConnectionAborted
    )
}

fn ready_unix(stream: UnixStream) -> io::Result<OwnedFd> {
    stream.set_nonblocking(false)?;
    Ok(stream.into())
}

fn ready_tcp(stream: TcpStream) -> io::Result<OwnedFd> {
    stream.set_nonblocking(false)?;
    stream.set_nodelay(true)?;
    // Without this, a client that vanished would keep its thread for ever.
    set_socket_keepalive(&stream, true)?;
    Ok(stream.into())
}

/// Listens at a path that only its owner can open; does not wait for clients.
pub(crate) fn bind_unix(path: &Path) -> io::Result<UnixListener> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    // The mode of an unbound socket becomes that of its file, so that the file is never
    // open to others, not even for a moment.
    fchmod(&socket, Mode::RUSR | Mode::WUSR)?;
    bind(&socket, &SocketAddrUnix::new(path)?)?;
    listen(&socket, BACKLOG)?;
    Ok(UnixListener::from(socket))
}

/// Removes a socket file on which nobody listens.
fn remove_stale(path: &Path) -> Result<(), ServerError> {
    let fail = |error| failed(&Address::Unix(path.to_owned()), error);
    if !fs::symlink_metadata(path).map_err(fail)?.file_type().is_socket() {
        return Err(ServerError::NotASocket(path.to_owned()));
    }
    match UnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            debug!(path = %path.display(), "a stale socket is replaced");
            fs::remove_file(path).map_err(fail)
        }
        Ok(_) => Err(ServerError::InUse(path.to_owned())),
        Err(error) => Err(fail(error)),
    }
}

fn failed(address: &Address, error: io::Error) -> ServerError {
    let address = match address {
        Address::Unix(path) => path.display().to_string(),
        Address::Tcp { host, port } => format!("{host}:{port}"),
        Address::Activated => "a passed socket".to_owned(),
    };
    ServerError::Listen { address, error }
}

/// The file of a Unix socket, recognized by more than its name.
#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    identity: (u64, u64),
}

impl SocketFile {
    fn of(path: &Path) -> io::Result<Self> {
        // The working directory may change before the file is removed.
        let path = std::path::absolute(path)?;
        let identity = identity(&path)?;
        Ok(Self { path, identity })
    }

    /// Removes the file unless somebody has put another in its place.
    fn remove(&self) {
        if identity(&self.path).is_ok_and(|identity| identity == self.identity)
            && let Err(error) = fs::remove_file(&self.path)
        {
            debug!(path = %self.path.display(), "the socket file stays: {error}");
        }
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let metadata = fs::symlink_metadata(path)?;
    Ok((metadata.dev(), metadata.ino()))
}
