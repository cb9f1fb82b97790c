//! Seconds since 1970 as a date, for people.

use alloc::format;
use alloc::string::{String, ToString};

use fumehood_plugin::text::calendar;

/// As in the names of snapshots; the bare number where no such date is.
pub fn date(seconds: i64) -> String {
    let date = u64::try_from(seconds).ok().and_then(calendar);
    let Some([year, month, day, hour, minute, second]) = date else { return seconds.to_string() };
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (seconds, expected) in [
            (0, "1970-01-01T00:00:00Z"),
            (1_704_067_199, "2023-12-31T23:59:59Z"),
            (-1, "-1"),
            (i64::MAX, "9223372036854775807"),
        ] {
            assert_eq!(date(seconds), expected);
        }
    }
}
