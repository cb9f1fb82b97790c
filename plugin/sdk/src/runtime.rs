//! What `std` would bring to wasm32-unknown-unknown: an allocator, and a panic
//! handler that tells the host's log what happened before it traps.

use alloc::string::ToString;

use crate::export::bindings::fumehood::disk::log::{Level, emit};

#[global_allocator]
static ALLOCATOR: dlmalloc::GlobalDlmalloc = dlmalloc::GlobalDlmalloc;

#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    emit(Level::Error, &info.to_string());
    core::arch::wasm32::unreachable()
}
