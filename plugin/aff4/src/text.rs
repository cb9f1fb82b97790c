//! Making texts out of an image fit to show.

use alloc::format;
use alloc::string::String;

/// The most characters of one value that a detail shows.
const SHOWN: usize = 256;

/// `text` without what could disturb a terminal or a reader, and cut: control characters,
/// and marks that reorder the line.
pub fn harmless(text: &str) -> String {
    let replace = |character: char| match character {
        '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => ' ',
        control if control.is_control() => ' ',
        other => other,
    };
    let mut shown: String = text.chars().take(SHOWN).map(replace).collect();
    if text.chars().nth(SHOWN).is_some() {
        shown.push('…');
    }
    shown
}

/// An object's URN, as messages show it.
pub fn shown(urn: &str) -> String {
    format!("<{}>", harmless(urn))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_made_harmless_and_short() {
        assert_eq!(harmless("a\u{1b}[31m\u{202e}b\n"), "a [31m b ");
        assert_eq!(harmless(&"ä".repeat(300)).chars().count(), SHOWN + 1);
        assert_eq!(shown("aff4://a"), "<aff4://a>");
    }
}
