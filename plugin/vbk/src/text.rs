//! Text out of an archive, made fit to show.

use alloc::string::String;

/// `text` without what could disturb a terminal or a reader: control characters, and
/// marks that reorder the line.
pub fn harmless(text: &str) -> String {
    let replace = |character: char| match character {
        '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => ' ',
        control if control.is_control() => ' ',
        other => other,
    };
    text.chars().map(replace).collect()
}
