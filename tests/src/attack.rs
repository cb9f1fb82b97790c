//! The attacking plugin of `tests/attack`, and a room in which it attacks: an engine
//! with short deadlines, and beside the attacker a healthy disk that must go on.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;

use fumehood::core::{Access, Error as CoreError, Limits};
use fumehood::{Disk, Engine, EngineOptions, Error, Image, OpenOptions};

use crate::bench::Bench;
use crate::child::Bounded;
use crate::content;
use crate::peer::{root, target};
use crate::server::memory;
use crate::witness::Witness;

/// How long an attack may take in all.
const PATIENCE: Duration = Duration::from_secs(20);
/// How much memory an attack may take at most: the plugin's own 64 MiB, and answers.
const MEMORY: u64 = 256 << 20;
/// The longest text of an error that still helps somebody.
const TEXT: usize = 16 << 10;
/// Marks, in the built plugin, what its `describe` does.
const DESCRIBE: &[u8; 16] = b"describe:honest ";
/// Length of the attacked image.
const SIZE: usize = 1 << 20;

/// The attacking plugin, built once for each test program.
pub fn module() -> &'static Path {
    static MODULE: OnceLock<PathBuf> = OnceLock::new();
    MODULE.get_or_init(|| {
        let target = target().join("attack");
        let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut build = Command::new(cargo);
        build.current_dir(root().join("tests/attack"));
        build.args(["build", "--release", "--locked", "--target", "wasm32-unknown-unknown"]);
        build.arg("--target-dir").arg(&target);
        // Flags and wrappers of the tests' own build are not meant for Wasm.
        for name in ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "RUSTC_WRAPPER"] {
            build.env_remove(name);
        }
        let outcome = build.finish_within(Duration::from_secs(600));
        assert_eq!(outcome.code, Some(0), "{build:?}: {}", outcome.stderr);
        target.join("wasm32-unknown-unknown/release/fumehood_attack.wasm")
    })
}

/// The attacking plugin with another `describe`, written to `path`.
pub fn module_describing(mode: &str, path: &Path) {
    let mut module = fs::read(module()).expect("just built");
    let mut wanted = [b' '; 16];
    let text = format!("describe:{mode}");
    wanted[..text.len()].copy_from_slice(text.as_bytes());
    let places: Vec<usize> =
        (0..module.len() - 16).filter(|at| module[*at..].starts_with(DESCRIBE)).collect();
    assert!(!places.is_empty(), "the plugin does not hold its mode");
    for at in places {
        module[at..at + 16].copy_from_slice(&wanted);
    }
    fs::write(path, module).expect("our folder");
}

/// What kind of error it is, for comparing in tables.
pub fn kind(error: &Error) -> &'static str {
    match error {
        Error::Core(CoreError::Refused { .. }) => "refused",
        Error::Core(CoreError::Format(_)) => "format",
        Error::Core(CoreError::Trapped { .. }) => "trapped",
        Error::Core(CoreError::Untrusted { .. }) => "untrusted",
        Error::Core(CoreError::Failed { .. }) => "failed",
        Error::Core(CoreError::Source(_)) => "source",
        Error::Core(CoreError::Damaged { .. }) => "damaged",
        Error::Core(CoreError::ReadOnly) => "read-only",
        Error::Compile { .. } => "compile",
        Error::Decode { .. } => "decode",
        Error::Chain(_) => "chain",
        Error::Unrecognised(_) => "unrecognised",
        _ => "other",
    }
}

/// The test fails unless the error is of this kind, says `phrase`, and is fit to be
/// shown: one line, not too long, nothing that steers a terminal.
pub fn expect_error<T>(what: &str, answer: Result<T, Error>, expected: &str, phrase: &str) {
    let Err(error) = answer else { panic!("{what}: no error") };
    let text = error.to_string();
    let shown: String = text.chars().take(300).collect();
    assert!(text.len() <= TEXT, "{what}: an error of {} bytes: {shown:?}…", text.len());
    assert!(!text.contains(char::is_control), "{what}: raw control characters in {shown:?}");
    assert_eq!(kind(&error), expected, "{what}: {shown}");
    assert!(text.contains(phrase), "{what}: {shown:?} does not say {phrase:?}");
}

/// A place for attacks, one at a time in each process.
pub struct Room {
    /// Holds the images.
    pub bench: Bench,
    /// Knows the attacking plugin.
    pub engine: Engine,
    witness: Witness,
    _turn: MutexGuard<'static, ()>,
}

impl Default for Room {
    fn default() -> Self {
        Self::new()
    }
}

impl Room {
    /// A room with the attacking plugin, whose calls may take 0.3 s.
    pub fn new() -> Self {
        Self::with(Limits { deadline_ticks: 3, ..Limits::default() })
    }

    /// A room with the attacking plugin, under these limits.
    pub fn with(limits: Limits) -> Self {
        static TURN: Mutex<()> = Mutex::new(());
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let bench = Bench::new();
        bench.write("image", &content::noise(SIZE, 3));
        let options = EngineOptions {
            limits,
            plugins: vec![module().to_owned()],
            cache: Some(target().join("tests/sandbox")),
        };
        let engine = Engine::with(options).expect("an engine");
        let witness = Witness::new(&bench, &engine);
        Self { bench, engine, witness, _turn: turn }
    }

    /// Carries out an attack. The test fails unless it ends in time and within
    /// `MEMORY`, without a panic of the host, while the healthy disk goes on.
    pub fn attacked<R: Send + 'static>(
        &self,
        what: &str,
        attack: impl FnOnce() -> R + Send + 'static,
    ) -> R {
        self.attacked_within(what, MEMORY, attack)
    }

    /// As [`Room::attacked`], for an attack that may take other amounts of memory.
    pub fn attacked_within<R: Send + 'static>(
        &self,
        what: &str,
        most: u64,
        attack: impl FnOnce() -> R + Send + 'static,
    ) -> R {
        let mark = self.witness.mark();
        let before = resident();
        let (tell, told) = mpsc::channel();
        thread::spawn(move || tell.send(attack()));
        let answer = match told.recv_timeout(PATIENCE) {
            Ok(answer) => answer,
            Err(RecvTimeoutError::Timeout) => panic!("{what}: no end within {PATIENCE:?}"),
            Err(RecvTimeoutError::Disconnected) => panic!("{what}: the host panicked"),
        };
        let grown = memory("self").1.saturating_sub(before);
        assert!(grown < most, "{what}: memory grew by {} MiB", grown >> 20);
        self.witness.went_on(what, &mark);
        answer
    }

    /// How an image is opened for this attack.
    pub fn options(attack: &str, reference: &str, access: Access) -> OpenOptions {
        let setting = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        OpenOptions {
            format: Some("attack".into()),
            access,
            settings: vec![setting("attack", attack), setting("reference", reference)],
            ..OpenOptions::default()
        }
    }

    /// Opens the image with `attack` and does something with it.
    pub fn with_image<R: Send + 'static>(
        &self,
        attack: &str,
        options: OpenOptions,
        action: impl FnOnce(Image) -> Result<R, Error> + Send + 'static,
    ) -> Result<R, Error> {
        let (engine, path) = (self.engine.clone(), self.bench.path("image"));
        self.attacked(attack, move || engine.open(path, options).and_then(action))
    }

    /// Loads the plugin in `path`.
    pub fn load(&self, what: &str, path: &Path) -> Result<(), Error> {
        let (engine, path) = (self.engine.clone(), path.to_owned());
        self.attacked(what, move || engine.inspect(&path).map(drop))
    }

    /// Opens the image, read-only, with an attack.
    pub fn open(&self, attack: &str) -> Result<(), Error> {
        self.open_naming(attack, "", Access::Read)
    }

    /// Opens the image with an attack by something the image names.
    pub fn open_naming(&self, attack: &str, reference: &str, access: Access) -> Result<(), Error> {
        self.with_image(attack, Self::options(attack, reference, access), |_| Ok(()))
    }

    /// Opens the image with an attack, and its first disk.
    pub fn disk(&self, attack: &str, reference: &str, access: Access) -> Disk {
        self.with_image(attack, Self::options(attack, reference, access), |image| image.disk(0))
            .unwrap_or_else(|error| panic!("{attack}: {error}"))
    }

    /// Reads a sector of a disk under attack.
    pub fn read(&self, what: &str, disk: &Disk, offset: u64) -> Result<Vec<u8>, Error> {
        self.attacked(what, sector(disk, offset))
    }

    /// Writes to a disk under attack.
    pub fn write(&self, what: &str, disk: &Disk, bytes: &[u8], offset: u64) -> Result<(), Error> {
        let (disk, bytes) = (disk.clone(), bytes.to_vec());
        self.attacked(what, move || disk.write_at(&bytes, offset))
    }
}

impl Room {
    /// Flushes a disk under attack.
    pub fn flush(&self, what: &str, disk: &Disk) -> Result<(), Error> {
        let disk = disk.clone();
        self.attacked(what, move || disk.flush())
    }
}

/// Reads a sector of a disk.
pub fn sector(
    disk: &Disk,
    offset: u64,
) -> impl FnOnce() -> Result<Vec<u8>, Error> + Send + 'static {
    let disk = disk.clone();
    move || {
        let mut sector = vec![0; 512];
        disk.read_at(&mut sector, offset).map(|()| sector)
    }
}

/// Bytes that this process has in memory; from here on, its peak counts anew.
fn resident() -> u64 {
    fs::write("/proc/self/clear_refs", "5").expect("our own peak can be reset");
    memory("self").0
}
