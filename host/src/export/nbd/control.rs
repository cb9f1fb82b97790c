//! What a connection and the server that owns it tell each other.

use std::sync::atomic::{AtomicBool, Ordering};

/// Shared by one connection and its server.
#[derive(Debug, Default)]
pub struct Control {
    stopping: AtomicBool,
    negotiated: AtomicBool,
}

impl Control {
    /// Asks the connection to answer what it has received, and to end.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
    }

    /// Whether the connection is to end.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// Whether the client has chosen an export.
    #[must_use]
    pub fn is_negotiated(&self) -> bool {
        self.negotiated.load(Ordering::Acquire)
    }

    pub(super) fn set_negotiated(&self) {
        self.negotiated.store(true, Ordering::Release);
    }
}
