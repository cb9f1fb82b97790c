//! The server: accepts clients, gives each a thread, and ends in good order.
//!
//! One thread accepts and keeps time; it never serves. What happens on a connection is
//! in `connection`.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tracing::{debug, warn};

use super::connection::serve_connection;
use super::control::Control;
use super::decode::Decoders;
use super::error::{ConnectionError, ServerError};
use super::listen::Listener;
use super::protocol::STRING_LIMIT;
use super::transport::{Socket, Transport};
use super::wake::Wake;
use crate::export::Export;

/// How long to wait before accepting again when descriptors or memory have run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long connections that were cut may take to notice.
const CUT_PATIENCE: Duration = Duration::from_secs(1);

/// The limits of a server.
#[derive(Clone, Copy, Debug)]
pub struct ServerOptions {
    /// The most clients at once.
    pub connections: usize,
    /// How long a client may take to choose an export.
    pub handshake_timeout: Duration,
    /// How long connections may take to answer what they have received at the end.
    pub shutdown_timeout: Duration,
    /// Threads that decode, for all connections together; 0 means one a processor.
    pub decoding_threads: usize,
    /// Bytes of memory for reads that are being decoded or wait to be sent, for all
    /// connections together, beside one MiB for each. Where it is taken, by clients who
    /// do not read their replies, others are served in small parts.
    pub decoding_memory: usize,
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self {
            connections: 256,
            handshake_timeout: Duration::from_secs(10),
            shutdown_timeout: Duration::from_secs(10),
            decoding_threads: 0,
            decoding_memory: 128 << 20,
        }
    }
}

/// A running server. Clones stand for the same server; dropping them does not end it.
#[derive(Clone, Debug)]
pub struct NbdServer {
    shared: Arc<Shared>,
}

impl NbdServer {
    /// Begins to serve `exports` on all of `listeners`. The first export is also the
    /// one that clients get who name none.
    ///
    /// # Errors
    /// Fails if there is no export, if two have the same name, if a name is too long,
    /// or if a thread cannot be had.
    pub fn start(
        exports: Vec<Arc<dyn Export>>,
        listeners: Vec<Listener>,
        options: ServerOptions,
    ) -> Result<Self, ServerError> {
        check_names(&exports)?;
        let wake = Wake::new().map_err(ServerError::Start)?;
        let shared = Arc::new(Shared {
            exports,
            options,
            decoders: Arc::new(Decoders::new(options.decoding_threads, options.decoding_memory)),
            wake,
            stopping: AtomicBool::new(false),
            state: Mutex::default(),
            changed: Condvar::new(),
        });
        let acceptor = Acceptor { shared: Arc::clone(&shared), listeners, number: 0 };
        let thread = thread::Builder::new().name("nbd-accept".to_owned());
        thread.spawn(move || acceptor.run()).map_err(ServerError::Start)?;
        Ok(Self { shared })
    }

    /// Stops accepting, lets every connection answer what it has received, and closes
    /// them; those that take too long are cut off. Returns when that is done: whether
    /// every connection ended by itself. May be called from any thread, more than once.
    pub fn shutdown(&self) -> bool {
        self.shared.stopping.store(true, Ordering::Release);
        self.shared.wake.call();
        self.wait()
    }

    /// Waits until the server has been shut down by somebody; answers as
    /// [`NbdServer::shutdown`].
    pub fn wait(&self) -> bool {
        let mut state = self.shared.state();
        loop {
            if let Some(orderly) = state.ended {
                return orderly;
            }
            state = self.shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// How many clients are connected.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.shared.state().connections.len()
    }
}

fn check_names(exports: &[Arc<dyn Export>]) -> Result<(), ServerError> {
    if exports.is_empty() {
        return Err(ServerError::NoExport);
    }
    let mut names: Vec<&str> = exports.iter().map(|export| export.name()).collect();
    if let Some(long) = names.iter().find(|name| name.len() > STRING_LIMIT) {
        return Err(ServerError::LongName(long.len()));
    }
    names.sort_unstable();
    let mut pairs = names.iter().zip(names.iter().skip(1));
    match pairs.find(|(name, next)| name == next) {
        Some((name, _)) => Err(ServerError::SameName((*name).to_owned())),
        None => Ok(()),
    }
}

/// What the accepting thread, the connections and the handles share.
struct Shared {
    exports: Vec<Arc<dyn Export>>,
    options: ServerOptions,
    decoders: Arc<Decoders>,
    /// Becomes readable when the accepting thread has something to do.
    wake: Wake,
    stopping: AtomicBool,
    state: Mutex<State>,
    /// Signalled when a connection or the server ends.
    changed: Condvar,
}

impl fmt::Debug for Shared {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let exports: Vec<&str> = self.exports.iter().map(|export| export.name()).collect();
        formatter.debug_struct("Shared").field("exports", &exports).finish_non_exhaustive()
    }
}

#[derive(Default)]
struct State {
    connections: HashMap<u64, Entry>,
    /// Once the server has ended: whether no connection had to be cut off.
    ended: Option<bool>,
}

/// A connection as the server sees it.
struct Entry {
    socket: Socket,
    control: Arc<Control>,
    /// When the handshake must be over.
    deadline: Instant,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing that holds the lock leaves the state half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until no connection is left, or until the time is up; whether none is left.
    fn wait_for_connections(&self, patience: Duration) -> bool {
        let left = |state: &mut State| !state.connections.is_empty();
        let waited = self.changed.wait_timeout_while(self.state(), patience, left);
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        state.connections.is_empty()
    }
}

/// The accepting thread.
struct Acceptor {
    shared: Arc<Shared>,
    listeners: Vec<Listener>,
    number: u64,
}

impl Acceptor {
    fn run(mut self) {
        while !self.shared.stopping.load(Ordering::Acquire) {
            let deadline = self.cut_overdue();
            if let Err(error) = self.wait(deadline).and_then(|()| self.accept_all()) {
                warn!("cannot accept a client: {error}");
                thread::sleep(ACCEPT_PAUSE);
            }
        }
        // Closes the sockets and removes their files before connections are waited for,
        // so that another server can take over.
        self.listeners.clear();
        let orderly = self.end_connections();
        self.shared.state().ended = Some(orderly);
        self.shared.changed.notify_all();
    }

    /// Cuts off clients whose handshake takes too long; says when to look again.
    fn cut_overdue(&self) -> Option<Instant> {
        let now = Instant::now();
        let mut next = None;
        for entry in self.shared.state().connections.values() {
            if entry.control.is_negotiated() {
                continue;
            }
            if entry.deadline <= now {
                debug!("a client took too long to choose an export");
                entry.socket.cut();
            } else {
                next = Some(next.map_or(entry.deadline, |next: Instant| next.min(entry.deadline)));
            }
        }
        next
    }

    /// Waits for a client, a wake-up, or the deadline.
    fn wait(&self, deadline: Option<Instant>) -> io::Result<()> {
        let timeout = deadline.map(|deadline| {
            let left = deadline.saturating_duration_since(Instant::now());
            let seconds = i64::try_from(left.as_secs()).unwrap_or(i64::MAX);
            Timespec { tv_sec: seconds, tv_nsec: i64::from(left.subsec_nanos()) }
        });
        let wake = PollFd::new(&self.shared.wake, PollFlags::IN);
        let listeners = self.listeners.iter().map(|one| PollFd::new(one, PollFlags::IN));
        let mut events: Vec<PollFd<'_>> = listeners.chain([wake]).collect();
        match poll(&mut events, timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn accept_all(&mut self) -> io::Result<()> {
        for index in 0..self.listeners.len() {
            while let Some(listener) = self.listeners.get(index)
                && !self.shared.stopping.load(Ordering::Acquire)
                && let Some(socket) = listener.accept()?
            {
                self.begin(socket)?;
            }
        }
        Ok(())
    }

    fn begin(&mut self, socket: Socket) -> io::Result<()> {
        let shared = Arc::clone(&self.shared);
        self.number += 1;
        let number = self.number;
        let control = Arc::new(Control::default());
        {
            let mut state = shared.state();
            if state.connections.len() >= shared.options.connections {
                warn!(limit = shared.options.connections, "a client is turned away");
                return Ok(());
            }
            let deadline = Instant::now() + shared.options.handshake_timeout;
            let entry = Entry { socket: socket.clone(), control: Arc::clone(&control), deadline };
            state.connections.insert(number, entry);
        }
        let place = Place { shared, number };
        let thread = thread::Builder::new().name(format!("nbd-{number}"));
        thread.spawn(move || place.serve(&socket, &control)).map(drop)
    }

    /// Lets connections finish, and cuts off those that do not; whether all did.
    fn end_connections(&self) -> bool {
        for entry in self.shared.state().connections.values() {
            entry.control.stop();
            entry.socket.stop_receiving();
        }
        if self.shared.wait_for_connections(self.shared.options.shutdown_timeout) {
            return true;
        }
        for entry in self.shared.state().connections.values() {
            warn!("a client did not take its replies and is cut off");
            entry.socket.cut();
        }
        self.shared.wait_for_connections(CUT_PATIENCE);
        false
    }
}

/// A connection's place among those of the server, given up when dropped.
struct Place {
    shared: Arc<Shared>,
    number: u64,
}

impl Place {
    fn serve(&self, socket: &Socket, control: &Control) {
        let Shared { exports, decoders, .. } = &*self.shared;
        match serve_connection(exports, socket, control, decoders) {
            Ok(()) => debug!(connection = self.number, "disconnected"),
            // Clients come and go; the rest is worth an administrator's look.
            Err(error @ (ConnectionError::Socket(_) | ConnectionError::Truncated)) => {
                debug!(connection = self.number, "connection lost: {error}");
            }
            Err(error) => warn!(connection = self.number, "connection dropped: {error}"),
        }
        socket.finish();
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // Also runs when the thread could not be started, and when it panicked.
        if let Some(entry) = self.shared.state().connections.remove(&self.number) {
            entry.socket.cut();
        }
        self.shared.changed.notify_all();
    }
}
