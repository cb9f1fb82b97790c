//! The server as a whole: listening, limits, and its end.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use super::sample::Make;
use super::*;

/// A path for a socket that no other test uses; removed when dropped.
struct SocketPath(PathBuf);

impl SocketPath {
    fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("nbd-test-{}-{number}.sock", std::process::id());
        Self(std::env::temp_dir().join(name))
    }

    fn address(&self) -> Address {
        Address::Unix(self.0.clone())
    }

    fn connect(&self) -> Client {
        Client::over(UnixStream::connect(&self.0).unwrap())
    }
}

impl Drop for SocketPath {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

fn start(path: &SocketPath, sample: Sample, options: ServerOptions) -> NbdServer {
    let listeners = Listener::open(&path.address()).unwrap();
    NbdServer::start(vec![Arc::new(sample)], listeners, options).unwrap()
}

#[test]
fn a_server_comes_and_goes() {
    let path = SocketPath::new();
    let server = start(&path, Sample::new(), ServerOptions::default());
    let mode = fs::metadata(&path.0).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let mut client = path.connect();
    client.negotiate();
    client.request(command::READ, 0, 0, 65_536);
    assert!(client.assemble(7, 0, 65_536).is_ok());
    assert_eq!(server.connections(), 1);
    assert!(server.shutdown());
    assert!(server.shutdown());
    assert!(!path.0.exists());
    assert_eq!(client.stream.read(&mut [0]).unwrap(), 0);
}

#[test]
fn a_live_socket_is_kept_and_a_stale_one_replaced() {
    let path = SocketPath::new();
    let listener = Listener::open(&path.address()).unwrap();
    assert!(matches!(Listener::open(&path.address()), Err(ServerError::InUse(_))));
    drop(listener);
    assert!(!path.0.exists());
    drop(std::os::unix::net::UnixListener::bind(&path.0).unwrap());
    assert!(path.0.exists());
    drop(Listener::open(&path.address()).unwrap());
    fs::write(&path.0, "precious").unwrap();
    assert!(matches!(Listener::open(&path.address()), Err(ServerError::NotASocket(_))));
    assert_eq!(fs::read(&path.0).unwrap(), b"precious");
}

#[test]
fn a_socket_that_took_the_place_is_not_removed() {
    let path = SocketPath::new();
    let first = Listener::open(&path.address()).unwrap();
    fs::remove_file(&path.0).unwrap();
    let second = Listener::open(&path.address()).unwrap();
    drop(first);
    assert!(path.0.exists());
    drop(second);
    assert!(!path.0.exists());
}

#[test]
fn tcp_is_served() {
    let address = Address::Tcp { host: "127.0.0.1".to_owned(), port: 0 };
    let listeners = Listener::open(&address).unwrap();
    let Address::Tcp { host, port } = listeners[0].address().clone() else { panic!() };
    let sample = Sample::of(&[Make::File, Make::Zero]);
    let expected = sample.expected(0, 1 << 20);
    let options = ServerOptions::default();
    let server = NbdServer::start(vec![Arc::new(sample)], listeners, options).unwrap();
    let mut stream = std::net::TcpStream::connect((host, port)).unwrap();
    let name = option_bytes(option::EXPORT_NAME, b"sample");
    let read = request_bytes(command::READ, 0, 1, 0, 1 << 20);
    stream.write_all(&[&3_u32.to_be_bytes()[..], &name, &read].concat()).unwrap();
    let mut answer = vec![0; 18 + 10 + 16 + (1 << 20)];
    stream.read_exact(&mut answer).unwrap();
    assert!(answer[44..] == expected);
    assert!(server.shutdown());
}

#[test]
fn what_was_received_is_answered_at_the_end() {
    let path = SocketPath::new();
    let sample = Sample { unit: 65_536, ..Sample::of(&[Make::Bytes, Make::File]) };
    let server = start(&path, sample, ServerOptions::default());
    let mut client = path.connect();
    client.negotiate();
    let mut requests = Vec::new();
    for number in 0..100 {
        requests.extend(request_bytes(command::READ, 0, number, number * 65_536, 65_536));
    }
    // More than the socket holds is answered, so the server is busy when it is told.
    client.send(&requests);
    let ending = std::thread::spawn({
        let server = server.clone();
        move || server.shutdown()
    });
    std::thread::sleep(Duration::from_millis(50));
    let mut left = 100;
    while left > 0 {
        left -= u32::from(client.chunk().done);
    }
    assert_eq!(client.stream.read(&mut [0]).unwrap(), 0);
    assert!(ending.join().unwrap());
}

#[test]
fn a_client_that_does_not_read_holds_up_neither_others_nor_the_end() {
    let path = SocketPath::new();
    let shutdown_timeout = Duration::from_millis(300);
    let options = ServerOptions { shutdown_timeout, ..ServerOptions::default() };
    let server = start(&path, Sample::new(), options);
    let mut lazy = path.connect();
    lazy.negotiate();
    for _ in 0..20 {
        lazy.request(command::READ, 0, 0, 1 << 20);
    }
    let mut other = path.connect();
    other.negotiate();
    other.request(command::READ, 0, 0, 1 << 20);
    assert!(other.assemble(7, 0, 1 << 20).is_ok());
    let before = Instant::now();
    assert!(!server.shutdown());
    assert!(before.elapsed() >= shutdown_timeout);
    assert!(before.elapsed() < Duration::from_secs(5));
    assert_eq!(server.connections(), 0);
}

#[test]
fn a_client_that_does_not_choose_is_cut_off() {
    let path = SocketPath::new();
    let handshake_timeout = Duration::from_millis(200);
    let options = ServerOptions { handshake_timeout, ..ServerOptions::default() };
    let server = start(&path, Sample::new(), options);
    let mut patient = path.connect();
    patient.negotiate();
    let mut slow = path.connect();
    slow.send(&[0]);
    assert_eq!(slow.stream.read(&mut [0]).unwrap(), 0);
    // Once an export is chosen, silence is no fault.
    patient.request(command::FLUSH, 0, 0, 0);
    assert_eq!(patient.simple_reply(), (0, 7));
    assert!(server.shutdown());
}

#[test]
fn clients_beyond_the_limit_are_turned_away() {
    let path = SocketPath::new();
    let options = ServerOptions { connections: 1, ..ServerOptions::default() };
    let server = start(&path, Sample::new(), options);
    let first = path.connect();
    let mut second = UnixStream::connect(&path.0).unwrap();
    assert_eq!(second.read(&mut [0]).unwrap(), 0);
    drop(first);
    while server.connections() > 0 {
        std::thread::sleep(Duration::from_millis(1));
    }
    path.connect();
    assert!(server.shutdown());
}

#[test]
fn exports_must_have_different_names() {
    let start = |exports| NbdServer::start(exports, Vec::new(), ServerOptions::default());
    assert!(matches!(start(Vec::new()), Err(ServerError::NoExport)));
    let twins: Vec<Arc<dyn Export>> = vec![Arc::new(Sample::new()), Arc::new(Sample::new())];
    assert!(matches!(start(twins), Err(ServerError::SameName(name)) if name == "sample"));
}
