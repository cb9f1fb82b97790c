//! Version 2 of the format, `.Ex01`: what it writes otherwise than version 1. What both
//! share (the directory of tables, the map, digests, notes) is in the crate's root.
//!
//! ```text
//!   header │ device  D │ case  D │ sector data  D │ table  D │ … │ MD5  D │ done D
//!          └─────◀─────┴────◀────┴───────◀────────┴────◀─────┴─◀─┴───◀────┴───◀──┘
//!   D: a descriptor. It stands behind its data and names the one before.
//! ```
//!
//! Not here: encrypted evidence. Its vendor does not publish how that is done, so it is
//! refused by name.
//!
//! Source: J. Metz, libewf, "Expert Witness Compression Format version 2".

pub mod device;
pub mod header;
pub mod section;
pub mod survey;
pub mod table;
