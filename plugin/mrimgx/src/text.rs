//! Text out of an image, made fit to show.

use alloc::format;
use alloc::string::String;

/// The most characters of one value that a detail shows.
const SHOWN: usize = 256;

/// `text` without what could disturb a terminal or a reader (control characters, and
/// marks that reorder the line), cut to the length of a detail.
pub fn brief(text: &str) -> String {
    let replace = |character: char| match character {
        '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => ' ',
        control if control.is_control() => ' ',
        other => other,
    };
    let text: String = text.trim().chars().map(replace).collect();
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text,
    }
}

/// Seconds since 1970 as a date in UTC; None for what is no sensible date.
pub fn date(seconds: i64) -> Option<String> {
    let seconds = u64::try_from(seconds).ok().filter(|seconds| (1..1 << 38).contains(seconds))?;
    let (mut days, time) = (seconds / 86400, seconds % 86400);
    let is_leap = |year: u64| {
        year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
    };
    let mut year = 1970;
    loop {
        let length = if is_leap(year) { 366 } else { 365 };
        if days < length {
            break;
        }
        days -= length;
        year += 1;
    }
    let february = if is_leap(year) { 29 } else { 28 };
    let mut month = 1;
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    let (hour, minute, second) = (time / 3600, time / 60 % 60, time % 60);
    let day = days + 1;
    Some(format!("{year}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        assert_eq!(date(1_720_608_136).as_deref(), Some("2024-07-10 10:42:16 UTC"));
        assert_eq!(date(951_782_400).as_deref(), Some("2000-02-29 00:00:00 UTC"));
        assert_eq!(date(1_735_603_200).as_deref(), Some("2024-12-31 00:00:00 UTC"));
        assert_eq!((date(-1), date(0), date(i64::MAX)), (None, None, None));
    }
}
