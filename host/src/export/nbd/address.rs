//! Where a server listens, as users write it and as clients are told it.
//!
//! Reads the forms of the command line, and writes NBD URIs. It opens nothing.

use std::fmt::Write;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::error::AddressError;
use super::protocol::DEFAULT_PORT;

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// A Unix socket.
    Unix(PathBuf),
    /// A TCP port of an address or host name.
    Tcp {
        /// The address, without brackets, or the name.
        host: String,
        /// The port; 0 lets the system choose.
        port: u16,
    },
    /// The sockets that a service manager passed to this process.
    Activated,
}

/// What a user asked for: where to listen, and the export's name if it was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Where to listen.
    pub address: Address,
    /// The name in the URI; empty in all other forms.
    pub export: String,
}

impl FromStr for Target {
    type Err = AddressError;

    /// Reads `unix:/path`, `tcp:PORT`, `tcp:HOST:PORT`, `systemd:`,
    /// `nbd+unix:///NAME?socket=/path` or `nbd://HOST:PORT/NAME`. Without a host, only
    /// this machine can connect.
    fn from_str(text: &str) -> Result<Self, AddressError> {
        let unknown = || AddressError::Unknown(text.to_owned());
        let (scheme, rest) = text.split_once(':').ok_or_else(unknown)?;
        match (scheme, rest.strip_prefix("//")) {
            ("nbd", Some(rest)) => tcp_uri(rest),
            ("nbd+unix", Some(rest)) => unix_uri(text, rest),
            ("nbds" | "nbds+unix", _) => Err(AddressError::Encrypted(text.to_owned())),
            ("unix", _) if rest.is_empty() => Err(AddressError::NoSocket(text.to_owned())),
            ("unix", _) => Ok(Address::Unix(PathBuf::from(rest)).into()),
            ("tcp", _) if rest.is_empty() => Err(unknown()),
            ("tcp", _) => match rest.rsplit_once(':') {
                Some((host, number)) => tcp(host, number).map(Self::from),
                None => tcp("", rest).map(Self::from),
            },
            ("systemd", _) if rest.is_empty() => Ok(Address::Activated.into()),
            _ => Err(unknown()),
        }
    }
}

impl From<Address> for Target {
    fn from(address: Address) -> Self {
        Self { address, export: String::new() }
    }
}

impl Address {
    /// The URI by which clients reach an export here; `None` for sockets that were
    /// passed, whose own addresses are to be asked for.
    #[must_use]
    pub fn uri(&self, export: &str) -> Option<String> {
        match self {
            Self::Unix(path) => Some(unix_address(path, export)),
            Self::Tcp { host, port } => {
                let host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
                Some(format!("nbd://{host}:{port}/{}", encode(export.as_bytes())))
            }
            Self::Activated => None,
        }
    }
}

fn unix_address(path: &Path, export: &str) -> String {
    let socket = encode(path.as_os_str().as_encoded_bytes());
    format!("nbd+unix:///{}?socket={socket}", encode(export.as_bytes()))
}

fn tcp(host: &str, port: &str) -> Result<Address, AddressError> {
    let unbracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let host = match unbracketed.unwrap_or(host) {
        "" => Ipv4Addr::LOCALHOST.to_string(),
        host => host.to_owned(),
    };
    let port = port.parse().map_err(|_| AddressError::Port(port.to_owned()))?;
    Ok(Address::Tcp { host, port })
}

fn tcp_uri(rest: &str) -> Result<Target, AddressError> {
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    if let Some((_, parameter)) = rest.split_once('?') {
        return Err(AddressError::Parameter(parameter.to_owned()));
    }
    // The colons of an IPv6 address in brackets do not begin a port.
    let address = match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => tcp(&decode(host)?, port)?,
        _ => tcp(&decode(authority)?, &DEFAULT_PORT.to_string())?,
    };
    Ok(Target { address, export: decode(path)? })
}

fn unix_uri(text: &str, rest: &str) -> Result<Target, AddressError> {
    let path = rest.strip_prefix('/').ok_or_else(|| AddressError::Unknown(text.to_owned()))?;
    let (export, query) = path.split_once('?').unwrap_or((path, ""));
    let mut socket = None;
    for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
        match parameter.split_once('=') {
            Some(("socket", value)) if !value.is_empty() => socket = Some(decode(value)?),
            _ => return Err(AddressError::Parameter(parameter.to_owned())),
        }
    }
    let socket = socket.ok_or_else(|| AddressError::NoSocket(text.to_owned()))?;
    Ok(Target { address: Address::Unix(PathBuf::from(socket)), export: decode(export)? })
}

/// Percent-encodes all but unreserved characters and slashes.
fn encode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for byte in bytes {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(byte) {
            text.push(char::from(*byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(text, "%{byte:02X}");
        }
    }
    text
}

fn decode(text: &str) -> Result<String, AddressError> {
    let malformed = || AddressError::Encoding(text.to_owned());
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || rest.next().and_then(|byte| char::from(byte).to_digit(16));
        let (Some(high), Some(low)) = (digit(), digit()) else { return Err(malformed()) };
        bytes.push(u8::try_from(high * 16 + low).map_err(|_| malformed())?);
    }
    String::from_utf8(bytes).map_err(|_| malformed())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> (Address, String) {
        let target: Target = text.parse().unwrap();
        (target.address, target.export)
    }

    fn on(host: &str, port: u16) -> Address {
        Address::Tcp { host: host.to_owned(), port }
    }

    #[test]
    fn every_form_is_understood() {
        let unix = |path: &str| Address::Unix(PathBuf::from(path));
        for (text, address, export) in [
            ("unix:/run/a b.sock", unix("/run/a b.sock"), ""),
            ("unix:relative", unix("relative"), ""),
            ("tcp:10810", on("127.0.0.1", 10810), ""),
            ("tcp::10810", on("127.0.0.1", 10810), ""),
            ("tcp:0.0.0.0:1", on("0.0.0.0", 1), ""),
            ("tcp:[::1]:7", on("::1", 7), ""),
            ("systemd:", Address::Activated, ""),
            ("nbd://", on("127.0.0.1", 10809), ""),
            ("nbd://host", on("host", 10809), ""),
            ("nbd://[::1]/x", on("::1", 10809), "x"),
            ("nbd://[::1]:5/x", on("::1", 5), "x"),
            ("nbd://host:99//a%20disk", on("host", 99), "/a disk"),
            ("nbd+unix:///disk?socket=/s%25", unix("/s%"), "disk"),
            ("nbd+unix:///?socket=s", unix("s"), ""),
        ] {
            assert_eq!(parsed(text), (address, export.to_owned()), "{text}");
        }
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for text in [
            "",
            "disk",
            "unix:",
            "tcp:",
            "tcp:host",
            "tcp:1:99999",
            "http://x",
            "nbds://x",
            "nbds+unix:///?socket=x",
            "nbd+unix:///disk",
            "nbd+unix://host/disk?socket=x",
            "nbd+unix:///disk?socket=",
            "nbd+unix:///disk?socket=x&tls-type=psk",
            "nbd://host/%4",
            "nbd://host/%ff",
            "nbd://host/x?socket=y",
            "systemd:1",
        ] {
            assert!(text.parse::<Target>().is_err(), "{text}");
        }
    }

    #[test]
    fn uris_can_be_read_back() {
        for address in [Address::Unix("/tmp/ä b?&%.sock".into()), on("::1", 9), on("host", 1)] {
            let uri = address.uri("a disk/é").unwrap();
            assert_eq!(parsed(&uri), (address, "a disk/é".to_owned()), "{uri}");
        }
    }
}
