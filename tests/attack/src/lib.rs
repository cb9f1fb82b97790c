//! A format plugin that does what no plugin should.
//!
//! An image is opened with the setting `attack`, which names the attack, and where
//! it needs one the setting `reference`. What a plugin does before it sees settings
//! is chosen otherwise: by the image's first bytes for `probe`, and for `describe` by
//! [`DESCRIBE`], which the tests overwrite in the built module.
//!
//! ```text
//!   answers      extents that break the contract
//!   crumbs       answers that keep it, and never come to an end
//!   exhaust      time, stack and memory
//!   hostile      texts and descriptions
//!   references   asking the host for what was not granted
//!   writes       placements, and traps half-way through a write
//! ```
//!
//! An attack that the setting does not name leaves everything as in a raw disk.
#![cfg_attr(target_family = "wasm", no_std)]

extern crate alloc;

mod answers;
mod crumbs;
mod exhaust;
mod hostile;
mod image;
mod references;
mod writes;

use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::string::String;
use core::cell::Cell;

use fumehood_plugin::{
    Access, Confidence, Description, Format, Glimpse, Host, Image, OpenOptions, Result,
    SourceHandle,
};

use crate::image::Attacker;

/// What `describe` does; sixteen bytes that the tests overwrite.
static DESCRIBE: [u8; 16] = *b"describe:honest ";
/// An image that begins with this attacks `probe`.
const PROBE: &[u8] = b"probe:";

struct Attack;

impl Format for Attack {
    fn describe() -> Description {
        let mode = core::hint::black_box(&DESCRIBE);
        hostile::description(mode.trim_ascii_end())
    }

    fn probe(glimpse: &Glimpse) -> Confidence {
        if let Some(attack) = glimpse.head.strip_prefix(PROBE) {
            let end = attack.iter().position(|byte| *byte == b'\n').unwrap_or(attack.len());
            exhaust::run(&String::from_utf8_lossy(&attack[..end]));
        }
        Confidence::No
    }

    fn open(
        main: SourceHandle,
        host: Rc<dyn Host>,
        options: OpenOptions,
    ) -> Result<Box<dyn Image>> {
        let setting = |name: &str| {
            let found = options.settings.iter().find(|(key, _)| key == name);
            found.map(|(_, value)| value.clone()).unwrap_or_default()
        };
        let (attack, reference) = (setting("attack"), setting("reference"));
        if let Some(attack) = attack.strip_prefix("open:") {
            exhaust::run(attack);
            hostile::open(attack, &*host)?;
            references::open(attack, &reference, &main, &*host, options.scratch.as_deref())?;
        }
        if attack == "open-many" {
            references::open_many(&reference, &*host);
        }
        let declared = references::declared(&attack, &reference, &*host)?;
        let writable = options.access == Access::ReadWrite;
        Ok(Box::new(Attacker { attack, main, writable, declared, steps: Cell::new(0) }))
    }
}

fumehood_plugin::export_format!(Attack);
