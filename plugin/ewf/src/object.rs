//! Texts of values with tags, as all versions of the format write them: a line of tags
//! and a line of values, each separated by tabs. What the tags mean is not known here.
//!
//! Source: libewf, "Expert Witness Compression Format", Header2 and Header section; the
//! same, "Version 2", Serialized object data.

/// The category, or the name of the object, that describes the whole image.
const MAIN: &str = "main";

/// The tags of the category `main` that have a value, and these values.
pub fn values(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let mut lines = text.lines().skip_while(|line| line.trim() != MAIN).skip(1);
    let (tags, values) = (lines.next().unwrap_or(""), lines.next().unwrap_or(""));
    let pairs = tags.split('\t').zip(values.split('\t'));
    pairs.map(|(tag, value)| (tag.trim(), value.trim())).filter(|(_, value)| !value.is_empty())
}

/// The value of `tag`, if it has one.
pub fn value<'a>(text: &'a str, tag: &str) -> Option<&'a str> {
    values(text).find(|(own, _)| *own == tag).map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_stand_below_their_tags() {
        let text = "1\r\nmain\r\nts\tbp\tph\tdt\r\n64\t\t1\r\n\r\n";
        assert!(values(text).eq([("ts", "64"), ("ph", "1")]));
        assert_eq!(
            (value(text, "ph"), value(text, "bp"), value(text, "dt")),
            (Some("1"), None, None)
        );
        for text in ["", "main", "1\nmain\nts", "1\nmain\n\n\n"] {
            assert_eq!(values(text).count(), 0);
        }
    }
}
