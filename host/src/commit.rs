//! Commits in the background: a writer waits for storage only where it runs far ahead of it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};

use fumehood_core::Disk;

/// The thread that commits for one disk, while there is one.
#[derive(Default)]
pub(crate) struct Committer {
    /// Set while it works, and for good once it has failed: writers then commit, and are
    /// told what keeps them from it.
    busy: Arc<AtomicBool>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Committer {
    /// Begins to commit what `disk` has pending, unless that is under way or the disk is
    /// closed.
    pub(crate) fn start(&self, disk: &Arc<Disk>) {
        if self.busy.load(Ordering::Relaxed) {
            return;
        }
        // Held until the thread is kept, so that none is begun that nobody waits for.
        let mut kept = self.thread();
        if disk.check_writable().is_err() || self.busy.swap(true, Ordering::AcqRel) {
            return;
        }
        if let Some(last) = kept.take() {
            wait_for(last);
        }
        let (disk, busy) = (Arc::clone(disk), Arc::clone(&self.busy));
        let work = move || match disk.commit() {
            Ok(()) => busy.store(false, Ordering::Release),
            Err(error) => {
                let image = disk.layers()[0].image.source_name(0);
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
        let last = self.thread().take();
        if let Some(last) = last {
            wait_for(last);
        }
    }

    fn thread(&self) -> MutexGuard<'_, Option<JoinHandle<()>>> {
        self.thread.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn wait_for(thread: JoinHandle<()>) {
    // One that panicked has left what is pending as it was.
    let _ = thread.join();
}
