//! What a plugin says of itself, and of bytes that are no image of its format.

use fumehood_core::Plugin;
use fumehood_core::contract::format::{Confidence, Glimpse};

use super::bench::{Random, TestOptions, passed, told};
use super::{Verdict, bench};

/// Bytes of a glimpse's head and tail.
const GLIMPSE: usize = 64 << 10;
/// Random glimpses, some of them beginning with what is common in images.
const GLIMPSES: u32 = 200;

/// Its description can be shown and used.
pub(super) fn describes(plugin: &Plugin) -> Verdict {
    let description = plugin.description();
    if description.title.trim().is_empty() || description.version.trim().is_empty() {
        return Err("its title or its version is empty".into());
    }
    for extension in &description.extensions {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '-';
        if extension.is_empty() || !extension.chars().all(plain) {
            return Err(format!("the ending {extension:?} is not lower case without a dot"));
        }
    }
    if description.can_create && !description.can_write {
        return Err("it can create what it cannot write".into());
    }
    let (name, version) = (plugin.name(), &description.version);
    passed(format!("{name} {version}, {}", description.title))
}

/// It is not certain about nothing, zeroes, text and noise, and says the same again.
pub(super) fn refuses_others(plugin: &Plugin, options: &TestOptions) -> Verdict {
    let mut random = Random::from(options);
    for number in 0..GLIMPSES {
        let glimpse = glimpse(number, &mut random);
        let first = plugin.probe(&glimpse).map_err(told)?;
        let again = plugin.probe(&glimpse).map_err(told)?;
        if first != again {
            return Err(format!("asked twice about one glimpse, it says {first:?} and {again:?}"));
        }
        if first == Confidence::Certain {
            let begin = &glimpse.head[..glimpse.head.len().min(16)];
            let size = glimpse.size;
            return Err(format!("it is certain about {size} bytes that begin with {begin:02x?}"));
        }
    }
    passed(format!("{GLIMPSES} glimpses of nothing, zeroes, text and noise"))
}

fn glimpse(number: u32, random: &mut bench::Random) -> Glimpse {
    let length = match number {
        0 => 0,
        1 => 1,
        _ => random.below(GLIMPSE as u64 + 1) as usize,
    };
    let mut bytes = |kind: u64| -> Vec<u8> {
        match kind {
            0 => vec![0; length],
            1 => b"all work and no play\n".iter().copied().cycle().take(length).collect(),
            2 => vec![0xff; length],
            _ => (0..length).map(|_| random.next() as u8).collect(),
        }
    };
    let (head, tail) = (bytes(u64::from(number % 5)), bytes(u64::from(number % 7)));
    let size = if length < GLIMPSE { length as u64 } else { u64::from(number) << 20 };
    Glimpse { name: format!("noise.{number}"), size, head, tail }
}
