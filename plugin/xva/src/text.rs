//! Making what the archive records fit to show.

use alloc::string::String;

/// The most characters of a text that are shown.
const SHOWN: usize = 256;

/// `text` without what could disturb a terminal or a reader: control characters, and
/// marks that reorder the line.
pub fn harmless(text: &str) -> String {
    let replace = |character: char| match character {
        '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => ' ',
        control if control.is_control() => ' ',
        other => other,
    };
    let text: String = text.trim().chars().take(SHOWN).map(replace).collect();
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
