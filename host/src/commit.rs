//! Commits in the background: a writer waits for storage only where it runs far ahead of it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};

use crate::disk::Disk;

/// The thread that commits for one disk, while there is one.
#[derive(Default)]
pub(crate) struct Committer {
    /// Set while it works, and for good once it has failed: writers then commit, and are
    /// told what keeps them from it.
    busy: AtomicBool,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Committer {
    /// Begins to commit what `disk` has pending, unless that is under way. The disk stays
    /// open until it is done.
    pub(crate) fn start(&self, disk: &Disk) {
        if self.busy.load(Ordering::Relaxed) {
            return;
        }
        // Held until the thread is kept, so that none is begun that nobody waits for.
        let mut kept = self.thread();
        if self.busy.swap(true, Ordering::AcqRel) {
            return;
        }
        let disk = disk.clone();
        let work = move || match disk.core().commit() {
            Ok(()) => disk.committer().busy.store(false, Ordering::Release),
            Err(error) => {
                let image = disk.core().layers()[0].image.source_name(0);
                tracing::warn!("{image}: committing in the background failed: {error}");
            }
        };
        match Builder::new().name("disk-commit".into()).spawn(work) {
            Ok(thread) => *kept = Some(thread),
            Err(error) => tracing::warn!("committing without a thread: {error}"),
        }
    }

    /// Waits until it is done.
    pub(crate) fn finish(&self) {
        let thread = self.thread().take();
        if let Some(thread) = thread {
            // One that panicked has left what is pending as it was.
            let _ = thread.join();
        }
    }

    fn thread(&self) -> MutexGuard<'_, Option<JoinHandle<()>>> {
        self.thread.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
