//! What the end-to-end tests share.
//!
//! Every test runs the built command against real images, real peers (QEMU, libnbd,
//! fio, libewf) and clients that misbehave. Nothing is skipped in silence: a tool
//! that is missing fails the test with the way to install it.
//!
//! ```text
//!   bench    a folder of its own for one test, and making images in it
//!   child    running a command within a time limit
//!   peer     foreign tools, and the built `fumehood`
//!   content  repeatable bytes, and hashes of files
//!   map      `map --json` compared with what QEMU says
//!   server   a running `fumehood serve`
//!   client   a small NBD client, polite or not
//!   attack   the attacking plugin, and a room for it
//!   guest    a Linux guest that installs files until it is killed
//!   journal  a source that records what is written to it
//!   qcow2    hand-made images, with references that no tool would write
//!   witness  a healthy disk that must go on meanwhile
//! ```

pub mod attack;
pub mod bench;
pub mod child;
pub mod client;
pub mod content;
pub mod guest;
pub mod journal;
pub mod map;
pub mod peer;
pub mod qcow2;
pub mod server;
pub mod witness;

pub use bench::Bench;
pub use child::{Bounded, Outcome};
pub use peer::{fumehood, peer};
pub use server::Server;
