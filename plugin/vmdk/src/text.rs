//! Bytes of a descriptor as text. What the text says is for [`crate::descriptor`].

use alloc::string::String;

/// UTF-8, or else one character a byte: what is neither names a file that the host
/// will not find, and is readable enough to say so.
pub fn decode(bytes: &[u8]) -> String {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    match core::str::from_utf8(bytes) {
        Ok(text) => text.into(),
        Err(_) => bytes.iter().map(|byte| char::from(*byte)).collect(),
    }
}

/// The last part of a path of either family of systems.
pub fn file_name(path: &str) -> &str {
    path.rsplit(['/', '\\']).next().unwrap_or(path)
}

/// Without the quotes around it.
pub fn unquoted(value: &str) -> &str {
    let value = value.trim();
    value.strip_prefix('"').and_then(|inner| inner.strip_suffix('"')).unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_values_are_taken_out() {
        assert_eq!(decode(b"\xef\xbb\xbfa\xc3\xa4"), "aä");
        assert_eq!(decode(b"a\xe4"), "aä");
        assert_eq!(file_name("C:\\vm\\base.vmdk"), "base.vmdk");
        assert_eq!(file_name("../base.vmdk"), "base.vmdk");
        assert_eq!(file_name("base.vmdk"), "base.vmdk");
        assert_eq!(unquoted(" \"a\"b\" "), "a\"b");
        assert_eq!(unquoted("\""), "\"");
    }
}
