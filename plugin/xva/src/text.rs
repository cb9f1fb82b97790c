//! Making what the archive records fit to show.

use alloc::string::String;

use fumehood_plugin::text;

/// The most characters of a text that are shown.
const SHOWN: usize = 256;

/// `text` without what could disturb a terminal or a reader: control characters, and
/// marks that reorder the line.
pub fn harmless(text: &str) -> String {
    let text: String = text::harmless(text.trim()).chars().take(SHOWN).collect();
    text.trim_end().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_harmless() {
        assert_eq!(harmless(" a\x1b[31m\u{202e}b\n"), "a [31m b");
        assert_eq!(harmless(&"x".repeat(1000)).len(), SHOWN);
    }
}
