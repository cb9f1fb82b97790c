//! What every test works on: the plugin, an image, and ways of opening it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fumehood_core::{self as core, Access, Layer, Plugin, Source};

use super::source::{Altered, MemoryScratch};
use super::{TestImage, Verdict};
use crate::disk::{Disk, Means};
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::image::OpenOptions;
use crate::policy::Policy;
use crate::source;

/// How hard a plugin is tested.
#[derive(Debug, Clone)]
pub struct TestOptions {
    /// How many images with exchanged bytes are tried.
    pub exchanges: u32,
    /// How many lengths are tried at which an image is cut.
    pub cuts: u32,
    /// How many windows are asked for.
    pub windows: u32,
    /// What random choices begin from: the same seed tests the same things.
    pub seed: u64,
    /// How images are opened: keys, settings, what they may refer to.
    pub open: OpenOptions,
}

impl Default for TestOptions {
    fn default() -> Self {
        let open = OpenOptions::default();
        Self { exchanges: 2000, cuts: 300, windows: 300, seed: 1, open }
    }
}

/// The most time that opening and looking at an altered image may take.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);

/// A plugin and an image.
pub(super) struct Bench<'a> {
    pub(super) engine: &'a Engine,
    pub(super) plugin: Arc<Plugin>,
    pub(super) image: &'a TestImage,
    pub(super) options: &'a TestOptions,
    pub(super) main: Arc<dyn Source>,
    path: PathBuf,
    policy: Policy,
}

/// An image as the kit opened it.
pub(super) struct Opened {
    pub(super) image: Arc<core::Image>,
    pub(super) scratch: Arc<MemoryScratch>,
    pub(super) elapsed: Duration,
}

impl<'a> Bench<'a> {
    pub(super) fn new(
        engine: &'a Engine,
        plugin: Arc<Plugin>,
        image: &'a TestImage,
        options: &'a TestOptions,
    ) -> Result<Self> {
        let shown = image.path.display();
        let path = image.path.canonicalize().map_err(Error::io(format!("cannot open {shown}")))?;
        let (path, _) = engine.entry_of(path)?;
        let main = source::open_path(&path, Access::Read)?;
        let policy = Policy::new(&path, &options.open.allow)?;
        Ok(Self { engine, plugin, image, options, main, path, policy })
    }

    /// Opens the image as it is, with empty scratch.
    pub(super) fn open(&self) -> Result<Opened> {
        self.open_as(Arc::new(Altered::whole(self.main.clone())), Arc::default())
    }

    /// Opens `main` in the image's place, with what `scratch` holds.
    pub(super) fn open_as(
        &self,
        main: Arc<Altered>,
        scratch: Arc<MemoryScratch>,
    ) -> Result<Opened> {
        let grants = Arc::new(self.policy.for_image(&self.path, Access::Read));
        let open = self.options.open.to_core(main, grants, Some(scratch.clone()))?;
        let started = Instant::now();
        let image = Arc::new(core::Image::open(self.plugin.clone(), open)?);
        Ok(Opened { image, scratch, elapsed: started.elapsed() })
    }

    /// A disk of an opened image, without its parents, and with nothing known of it yet.
    pub(super) fn disk(&self, image: &Arc<core::Image>, number: u32) -> Result<Disk> {
        let layers = vec![Layer { image: image.clone(), number }];
        Ok(Disk::new(layers, Vec::new(), Means::small(self.engine.decoder()))?)
    }

    /// Random numbers for one test.
    pub(super) fn random(&self, test: u64) -> Random {
        Random(self.options.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ test)
    }
}

/// Whether an error is one that an image may bring about, and not its plugin's fault.
pub(super) fn is_clean(error: &Error) -> std::result::Result<(), String> {
    match error {
        Error::Core(
            error @ (core::Error::Trapped { .. }
            | core::Error::Untrusted { .. }
            | core::Error::Failed { .. }),
        ) => Err(error.to_string()),
        _ => Ok(()),
    }
}

/// Fails for what took longer than [`PATIENCE`].
pub(super) fn in_time(started: Instant, what: &str) -> std::result::Result<(), String> {
    let elapsed = started.elapsed();
    if elapsed > PATIENCE {
        return Err(format!("{what} took {:.1} s", elapsed.as_secs_f64()));
    }
    Ok(())
}

/// The words of an error, for a verdict.
pub(super) fn told(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// Random numbers that are the same for the same seed (SplitMix64).
pub(super) struct Random(u64);

impl Random {
    /// For a test without an image.
    pub(super) fn from(options: &TestOptions) -> Self {
        Self(options.seed)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    /// A number below `limit`; 0 for a limit of 0.
    pub(super) fn below(&mut self, limit: u64) -> u64 {
        self.next().checked_rem(limit).unwrap_or(0)
    }
}

/// Nothing that a test could be done with.
pub(super) fn skipped(why: &str) -> Verdict {
    Ok(super::Outcome::Skipped(why.into()))
}

/// A test that went well.
pub(super) fn passed(what: String) -> Verdict {
    Ok(super::Outcome::Passed(what))
}
