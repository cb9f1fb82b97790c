//! What the plugins' tests share, and nothing that is built into a plugin: a
//! dev-dependency only.
//!
//! | module | its idea |
//! | --- | --- |
//! | [`tool`] | running programs that are not ours |
//! | [`mod@bench`] | a directory of a test's own |
//! | [`qemu`] | what QEMU makes and reads there |
//! | [`corpus`] | images that others made |
//! | [`mod@image`] | an image under test, over memory: opened, prepared, read, mapped |
//! | [`counted`] | a source that counts how it is read |
//! | [`damage`] | random changes |
//!
//! Everything here panics where a test should fail. What knows a format (how an image is
//! built by hand, how its blocks are decoded) is in the tests of that format.

pub mod bench;
pub mod corpus;
pub mod counted;
pub mod damage;
pub mod image;
pub mod qemu;
pub mod tool;

pub use bench::Bench;
pub use counted::Counted;
pub use image::{Sources, not_encoded, prepare, settings};
