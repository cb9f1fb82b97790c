//! Locks: the standard library's with `std`, spinning ones without. A poisoned
//! lock is taken over: nothing under these locks is left half-changed by a panic.

#[cfg(not(feature = "std"))]
pub use spin::{Mutex, MutexGuard, RwLock};
#[cfg(feature = "std")]
pub use with_std::{Mutex, MutexGuard, RwLock};

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
