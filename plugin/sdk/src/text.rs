//! Making what an image records fit to show: texts and dates.

use alloc::format;
use alloc::string::String;

/// The most characters of one value that a detail shows.
const SHOWN: usize = 256;
/// The last second of the year 9999.
const LAST_SECOND: u64 = 253_402_300_799;

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

/// The same, cut to the length of a detail.
pub fn brief(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", harmless(text.get(..end).unwrap_or_default())),
        None => harmless(text),
    }
}

/// Year, month, day, hour, minute and second in UTC, from seconds since 1970; none past
/// the year 9999.
pub fn calendar(seconds: u64) -> Option<[u64; 6]> {
    if seconds > LAST_SECOND {
        return None;
    }
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    // Years from March on, so that a leap day is the last; counted from 1 March 0000.
    let day = days + 719_468;
    let (era, of_era) = (day / 146_097, day % 146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = era * 400 + year + u64::from(month <= 2);
    Some([year, month, day, second / 3600, second / 60 % 60, second % 60])
}

/// The same as text.
pub fn date(seconds: u64) -> Option<String> {
    let [year, month, day, hour, minute, second] = calendar(seconds)?;
    Some(format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (seconds, expected) in [
            (0, "1970-01-01 00:00:00 UTC"),
            (951_782_399, "2000-02-28 23:59:59 UTC"),
            (951_782_400, "2000-02-29 00:00:00 UTC"),
            (1_704_067_199, "2023-12-31 23:59:59 UTC"),
            (1_735_603_200, "2024-12-31 00:00:00 UTC"),
            (4_107_542_400, "2100-03-01 00:00:00 UTC"),
            (LAST_SECOND, "9999-12-31 23:59:59 UTC"),
        ] {
            assert_eq!(date(seconds).as_deref(), Some(expected));
        }
        assert_eq!((date(LAST_SECOND + 1), date(u64::MAX)), (None, None));
    }

    #[test]
    fn text_is_made_harmless() {
        assert_eq!(harmless("a\u{1b}[31m\u{202e}b\n\u{9b}"), "a [31m b  ");
        assert_eq!(brief(&"ä".repeat(300)).chars().count(), SHOWN + 1);
        assert_eq!(brief("ä\n"), "ä ");
    }
}
