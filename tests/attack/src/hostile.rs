//! Texts that are too long, or that would steer a terminal; descriptions that lie.

use alloc::boxed::Box;
use alloc::string::String;

use fumehood_plugin::{Description, Error, Host, Level, Result};

use crate::exhaust;

/// Clears a terminal, sets its title, colours it, forges a line, and turns the
/// writing around.
pub const ESCAPES: &str = "\u{1b}[2J\u{1b}]0;owned\u{7}\u{1b}[31m\r\nfumehood: all is well\u{9b}1m";

/// What the plugin says of itself in this mode.
pub fn description(mode: &[u8]) -> Description {
    let mut description = Description {
        name: "attack",
        title: "Attack",
        version: env!("CARGO_PKG_VERSION"),
        extensions: &["attack"],
        folder_entry: None,
        can_write: true,
        can_create: false,
    };
    match mode {
        b"describe:loop" => exhaust::run("loop"),
        b"describe:recurse" => exhaust::run("recursion"),
        b"describe:memory" => exhaust::run("memory"),
        b"describe:panic" => exhaust::run("panic"),
        b"describe:path" => description.name = "../../x",
        b"describe:escapes" => description.name = ESCAPES,
        b"describe:giant" => description.name = Box::leak(giant("x").into_boxed_str()),
        b"describe:empty" => description.name = "",
        _ => {}
    }
    description
}

/// Carries out the attack of this name at open, if it is one of these.
///
/// # Errors
/// A hostile one.
pub fn open(attack: &str, host: &dyn Host) -> Result<()> {
    match attack {
        "giant-error" => Err(Error::Io(giant("woe "))),
        "escapes-error" => Err(Error::Io(ESCAPES.into())),
        "escapes-corrupt" => Err(Error::corrupt_in(77, u64::MAX, ESCAPES)),
        "log-flood" => {
            for _ in 0..1_000_000 {
                host.log(Level::Warn, "the attacker says this a million times");
            }
            Err(Error::Unsupported("it has said enough".into()))
        }
        "log-escapes" => {
            host.log(Level::Error, ESCAPES);
            Err(Error::Unsupported("it has said enough".into()))
        }
        _ => Ok(()),
    }
}

/// Four MiB of the same.
pub fn giant(word: &str) -> String {
    word.repeat((4 << 20) / word.len())
}
