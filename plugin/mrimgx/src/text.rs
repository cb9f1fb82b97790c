//! Text out of an image, made fit to show.

use alloc::string::String;

use fumehood_plugin::text;

/// `text` without what surrounds it or could disturb, cut to the length of a detail.
pub fn brief(text: &str) -> String {
    text::brief(text.trim())
}

/// Seconds since 1970 as a date in UTC; None for what is no sensible date.
pub fn date(seconds: i64) -> Option<String> {
    u64::try_from(seconds).ok().filter(|seconds| *seconds > 0).and_then(text::date)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn senseless_dates_are_none() {
        assert_eq!(date(1_720_608_136).as_deref(), Some("2024-07-10 10:42:16 UTC"));
        assert_eq!((date(-1), date(0), date(i64::MAX)), (None, None, None));
    }
}
