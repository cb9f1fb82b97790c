//! Locks: the standard library's with `std`, spinning ones without. A poisoned
//! lock is taken over: nothing under these locks is left half-changed by a panic.

#[cfg(not(feature = "std"))]
pub use spin::{Mutex, RwLock};
#[cfg(feature = "std")]
pub use with_std::{Mutex, RwLock, Waiters};
#[cfg(not(feature = "std"))]
pub use without_std::Waiters;

#[cfg(not(feature = "std"))]
mod without_std {
    use spin::{Mutex, MutexGuard};

    /// Those who wait for a change under a lock; here they look again and again.
    #[derive(Debug, Default)]
    pub struct Waiters;

    impl Waiters {
        pub fn wait<'a, T>(
            &self,
            mutex: &'a Mutex<T>,
            guard: MutexGuard<'a, T>,
        ) -> MutexGuard<'a, T> {
            drop(guard);
            core::hint::spin_loop();
            mutex.lock()
        }
        pub fn wake_all(&self) {}
    }
}

#[cfg(feature = "std")]
mod with_std {
    extern crate std;
    pub use std::sync::MutexGuard;
    use std::sync::{self, PoisonError, RwLockReadGuard, RwLockWriteGuard};

    /// `std::sync::Mutex` with the interface of `spin::Mutex`.
    #[derive(Debug, Default)]
    pub struct Mutex<T>(sync::Mutex<T>);

    impl<T> Mutex<T> {
        pub fn new(value: T) -> Self {
            Self(sync::Mutex::new(value))
        }
        pub fn lock(&self) -> MutexGuard<'_, T> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner)
        }
    }

    /// Those who wait for a change under a lock.
    #[derive(Debug, Default)]
    pub struct Waiters(sync::Condvar);

    impl Waiters {
        /// Gives the lock back until there may be a change.
        pub fn wait<'a, T>(
            &self,
            _mutex: &'a Mutex<T>,
            guard: MutexGuard<'a, T>,
        ) -> MutexGuard<'a, T> {
            self.0.wait(guard).unwrap_or_else(PoisonError::into_inner)
        }
        pub fn wake_all(&self) {
            self.0.notify_all();
        }
    }

    /// `std::sync::RwLock` with the interface of `spin::RwLock`.
    #[derive(Debug, Default)]
    pub struct RwLock<T>(sync::RwLock<T>);

    impl<T> RwLock<T> {
        pub fn new(value: T) -> Self {
            Self(sync::RwLock::new(value))
        }
        #[inline]
        pub fn read(&self) -> RwLockReadGuard<'_, T> {
            self.0.read().unwrap_or_else(PoisonError::into_inner)
        }
        pub fn write(&self) -> RwLockWriteGuard<'_, T> {
            self.0.write().unwrap_or_else(PoisonError::into_inner)
        }
    }
}
