//! The command FLUSH, and durability that other commands ask for.
//!
//! Storage may take a second for it, so a thread of its own waits, and the connection
//! goes on reading and writing. One flush serves every request that came before it
//! began: a connection has carried out its writes before it takes the next request.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{Builder, JoinHandle};

use tracing::warn;

use super::connection::Connection;
use super::decode::shielded;
use super::error::ConnectionError;
use super::protocol::command_flag;
use super::request::Request;
use super::transport::Transport;
use super::wake::Wake;
use crate::export::{Export, ExportError};

/// The most requests of one connection that wait for a flush.
const WAITING_LIMIT: usize = 1024;

/// A request whose flush has ended.
type Flushed = (Request, Result<(), ExportError>);

/// The flushes of one connection.
#[derive(Default)]
pub(super) struct Flushes {
    /// Starts with the first of them.
    worker: Option<Worker>,
    waiting: usize,
}

/// The thread that flushes. It ends when nobody can order any more.
struct Worker {
    orders: Option<Sender<Request>>,
    flushed: Receiver<Flushed>,
    /// Becomes readable when something was flushed.
    wake: Arc<Wake>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Worker {
    /// Waits for the thread, which keeps the export open.
    fn drop(&mut self) {
        self.orders = None;
        if let Some(thread) = self.thread.take() {
            // It does not panic, and if it did there would be nothing left to do.
            let _ = thread.join();
        }
    }
}

impl Worker {
    fn start(export: &Arc<dyn Export>) -> std::io::Result<Self> {
        let wake = Arc::new(Wake::new()?);
        let (orders, ordered) = channel();
        let (done, flushed) = channel();
        let (export, waker) = (Arc::clone(export), Arc::clone(&wake));
        let thread = Builder::new().name("nbd-flush".to_owned());
        let thread = thread.spawn(move || work(&*export, &ordered, &done, &waker))?;
        Ok(Self { orders: Some(orders), flushed, wake, thread: Some(thread) })
    }
}

/// Flushes as long as there are orders, once for all that are there.
fn work(export: &dyn Export, ordered: &Receiver<Request>, done: &Sender<Flushed>, wake: &Wake) {
    while let Ok(first) = ordered.recv() {
        let requests: Vec<Request> = [first].into_iter().chain(ordered.try_iter()).collect();
        let result = shielded("flushing", || export.flush());
        for request in requests {
            // The connection may have ended in the meantime.
            let _ = done.send((request, result.clone()));
        }
        wake.call();
    }
}

impl Flushes {
    /// What becomes readable when the next request was flushed; `None` if none waits.
    pub(super) fn wake(&self) -> Option<&Wake> {
        let worker = self.worker.as_ref().filter(|_| self.waiting > 0)?;
        Some(&worker.wake)
    }

    /// Whether no more requests can wait.
    fn is_full(&self) -> bool {
        self.waiting >= WAITING_LIMIT
    }

    /// Has the request flushed on the other thread; `false` if there is none.
    fn start(&mut self, export: &Arc<dyn Export>, request: &Request) -> bool {
        if self.worker.is_none() {
            let worker = Worker::start(export);
            let worker = worker.inspect_err(|error| warn!("flushing without a thread: {error}"));
            self.worker = worker.ok();
        }
        let orders = self.worker.as_ref().and_then(|worker| worker.orders.as_ref());
        let sent = orders.is_some_and(|orders| orders.send(*request).is_ok());
        self.waiting += usize::from(sent);
        sent
    }

    /// The next request that was flushed; waits for one if `wait`.
    fn next(&mut self, wait: bool) -> Option<Flushed> {
        let worker = self.worker.as_ref().filter(|_| self.waiting > 0)?;
        let flushed =
            if wait { worker.flushed.recv().ok()? } else { worker.flushed.try_recv().ok()? };
        self.waiting -= 1;
        Some(flushed)
    }
}

impl<T: Transport> Connection<'_, T> {
    /// Answers a request once everything that was written is on stable storage.
    pub(super) fn flush(&mut self, request: &Request) -> Result<(), ConnectionError> {
        let export = Arc::clone(&self.session.export);
        if self.flushes.is_full() {
            self.conclude_flushed(true)?;
        }
        // Where nothing is written there is nothing to wait for.
        if export.read_only() || !self.flushes.start(&export, request) {
            return self.conclude(request, export.flush());
        }
        Ok(())
    }

    /// Answers a request that has changed something, at once or after a flush.
    pub(super) fn conclude_change(
        &mut self,
        request: &Request,
        result: Result<(), ExportError>,
    ) -> Result<(), ConnectionError> {
        if result.is_ok() && request.has(command_flag::DURABLE) {
            return self.flush(request);
        }
        self.conclude(request, result)
    }

    /// Answers what was flushed; waits until nothing is left if `wait`.
    pub(super) fn conclude_flushed(&mut self, wait: bool) -> Result<(), ConnectionError> {
        while let Some((request, result)) = self.flushes.next(wait) {
            self.conclude(&request, result)?;
        }
        Ok(())
    }
}
