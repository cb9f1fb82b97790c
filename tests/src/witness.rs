//! A healthy disk, served over NBD in this process and read without pause: it shows
//! whether anything that happens beside it reaches it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use fumehood::export::nbd::{Address, Listener, NbdServer, ServerOptions};
use fumehood::export::{DiskExport, Export};
use fumehood::{Disk, Engine, OpenOptions};

use crate::bench::Bench;
use crate::client::Client;
use crate::content;

const SIZE: usize = 4 << 20;
/// Short reads are copied, long ones sent from the file: both ways are taken.
const LENGTHS: [usize; 2] = [4 << 10, 128 << 10];
/// The longest that a read may take while something else is attacked.
const STALL: Duration = Duration::from_secs(3);
/// How long the next read may take to come.
const PATIENCE: Duration = Duration::from_secs(10);

/// Serves a disk on a socket in the bench.
pub fn serve(bench: &Bench, name: &str, disk: Disk) -> NbdServer {
    let listeners = Listener::open(&Address::Unix(bench.path(name))).expect("a socket");
    let export: Arc<dyn Export> = DiskExport::new(disk, "", "");
    NbdServer::start(vec![export], listeners, ServerOptions::default()).expect("a server")
}

/// The healthy disk and its reader.
pub struct Witness {
    server: NbdServer,
    engine: Engine,
    image: std::path::PathBuf,
    socket: std::path::PathBuf,
    expected: Arc<Vec<u8>>,
    progress: Arc<Progress>,
    reader: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Progress {
    reads: AtomicU64,
    /// The longest that a read took since the last mark, in milliseconds.
    slowest: AtomicU64,
    stop: AtomicBool,
}

/// How far the reader was when an attack began.
pub struct Mark(u64);

impl Witness {
    /// Serves a raw disk through `engine`, and begins to read it.
    pub fn new(bench: &Bench, engine: &Engine) -> Self {
        let expected = Arc::new(content::sample(SIZE));
        bench.write("healthy.raw", &expected);
        let (image, socket) = (bench.path("healthy.raw"), bench.path("healthy.sock"));
        let disk = open(engine, &image);
        let server = serve(bench, "healthy.sock", disk);
        let progress = Arc::new(Progress::default());
        let mut client = Client::connect(&socket).expect("the server takes clients");
        let (shared, bytes) = (progress.clone(), expected.clone());
        let reader = thread::spawn(move || read_on(&mut client, &bytes, &shared));
        let engine = engine.clone();
        Self { server, engine, image, socket, expected, progress, reader: Some(reader) }
    }

    /// Where the reader is now.
    pub fn mark(&self) -> Mark {
        self.progress.slowest.store(0, Ordering::Relaxed);
        Mark(self.progress.reads.load(Ordering::Relaxed))
    }

    /// The test fails unless the reader came on since the mark, was never held up, and
    /// clients and opens that are new find the healthy disk as it was.
    pub fn went_on(&self, what: &str, mark: &Mark) {
        let started = Instant::now();
        // Two more: the first may have begun before the attack.
        while self.progress.reads.load(Ordering::Relaxed) < mark.0 + 2 {
            let ended = self.reader.as_ref().is_none_or(JoinHandle::is_finished);
            assert!(!ended, "{what}: reading the healthy disk failed");
            assert!(started.elapsed() < PATIENCE, "{what}: the healthy disk stands still");
            thread::sleep(Duration::from_millis(1));
        }
        let slowest = Duration::from_millis(self.progress.slowest.load(Ordering::Relaxed));
        assert!(slowest < STALL, "{what}: a read of the healthy disk took {slowest:?}");
        let mut client = Client::connect(&self.socket)
            .unwrap_or_else(|error| panic!("{what}: no new client is taken: {error}"));
        assert_eq!(client.read(0, 4096).as_deref(), Ok(&self.expected[..4096]), "{what}");
        let mut sector = [0; 512];
        open(&self.engine, &self.image).read_at(&mut sector, 512).expect("a healthy disk");
        assert_eq!(sector, self.expected[512..1024], "{what}");
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        self.progress.stop.store(true, Ordering::Relaxed);
        let read = self.reader.take().map(JoinHandle::join);
        self.server.shutdown();
        if !thread::panicking() {
            assert!(matches!(read, Some(Ok(()))), "reading the healthy disk failed");
        }
    }
}

fn open(engine: &Engine, image: &std::path::Path) -> Disk {
    let options = OpenOptions { format: Some("raw".into()), ..OpenOptions::default() };
    engine.open(image, options).and_then(|image| image.disk(0)).expect("a healthy disk")
}

fn read_on(client: &mut Client, expected: &[u8], progress: &Progress) {
    let mut numbers = content::Numbers::new(5);
    while !progress.stop.load(Ordering::Relaxed) {
        let length = LENGTHS[numbers.below(LENGTHS.len())];
        let offset = numbers.below(SIZE - length);
        let started = Instant::now();
        let found = client.read(offset as u64, length as u32).expect("a healthy disk");
        let took = started.elapsed().as_millis() as u64;
        assert!(found == expected[offset..offset + length], "wrong bytes at {offset}");
        progress.slowest.fetch_max(took, Ordering::Relaxed);
        progress.reads.fetch_add(1, Ordering::Relaxed);
        // Leave some of the processors to the attack.
        thread::sleep(Duration::from_micros(500));
    }
}
