//! Property lists in XML, as far as these images use them: dictionaries, arrays, strings,
//! integers and data. There are no entities: what declares some is refused.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use fumehood_plugin::read::read_bytes;
use fumehood_plugin::{Error, Result, Source};
use roxmltree::{Document, Node, ParsingOptions};

use crate::trailer::Place;

/// The longest text that is read, in bytes: what memory allows, and room for the runs
/// of a disk of some hundred gigabytes.
const MOST_TEXT: u64 = 24 << 20;
/// Elements and texts of one list; images have some thousand.
const MOST_NODES: u32 = 1 << 16;
/// Bytes read at once.
const STEP: u64 = 1 << 20;

/// The text at `place`.
///
/// # Errors
/// [`Error::Unsupported`] for one too long or not in XML, [`Error::Corrupt`] for one that
/// is no text.
pub fn read_text(source: &dyn Source, place: Place) -> Result<String> {
    let Place { offset, length } = place;
    if length > MOST_TEXT {
        let what = format!("a property list of {length} bytes; {MOST_TEXT} are possible");
        return Err(Error::Unsupported(what));
    }
    let mut bytes = Vec::with_capacity(length as usize);
    while (bytes.len() as u64) < length {
        let done = bytes.len() as u64;
        bytes.extend(read_bytes(source, offset + done, STEP.min(length - done), "property list")?);
    }
    if bytes.starts_with(b"bplist") {
        return Err(Error::Unsupported("a binary property list".into()));
    }
    let mut text = String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to() as u64;
        corrupt(source, offset + at, "a property list that is not UTF-8")
    })?;
    // Some writers end it like a string in C.
    text.truncate(text.trim_end_matches('\0').len());
    Ok(text)
}

/// Parses `text`, which was read from `offset` of `source`.
///
/// # Errors
/// [`Error::Corrupt`] where it is no XML without entities.
pub fn parse<'a>(source: &dyn Source, offset: u64, text: &'a str) -> Result<Document<'a>> {
    let body = without_doctype(text)
        .ok_or_else(|| corrupt(source, offset, "a property list that declares entities"))?;
    let options =
        ParsingOptions { allow_dtd: false, nodes_limit: MOST_NODES, ..ParsingOptions::default() };
    Document::parse_with_options(body, options).map_err(|error| {
        corrupt(source, offset, &format!("a property list that is not sound XML: {error}"))
    })
}

/// The text behind the document type, which names the usual definition and no more.
fn without_doctype(text: &str) -> Option<&str> {
    let Some(at) = text.find("<!DOCTYPE") else { return Some(text) };
    let behind = text.get(at..)?;
    let end = behind.find(['>', '['])?;
    let (_, body) = behind.split_at_checked(end)?;
    body.strip_prefix('>')
}

/// The dictionary that the list is.
pub fn root<'a>(document: &'a Document<'a>) -> Option<Node<'a, 'a>> {
    let list = document.root_element();
    if !list.has_tag_name("plist") {
        return None;
    }
    list.children().find(|node| node.has_tag_name("dict"))
}

/// The value of `key` in `dictionary`.
pub fn value<'a>(dictionary: Node<'a, 'a>, key: &str) -> Option<Node<'a, 'a>> {
    let mut elements = dictionary.children().filter(Node::is_element);
    elements.find(|node| node.has_tag_name("key") && node.text() == Some(key))?;
    elements.next().filter(|node| !node.has_tag_name("key"))
}

/// The text of the string `key`.
pub fn string<'a>(dictionary: Node<'a, 'a>, key: &str) -> Option<&'a str> {
    value(dictionary, key).filter(|node| node.has_tag_name("string"))?.text()
}

/// The number `key`.
pub fn integer(dictionary: Node<'_, '_>, key: &str) -> Option<u64> {
    let node = value(dictionary, key).filter(|node| node.has_tag_name("integer"))?;
    node.text()?.trim().parse().ok()
}

fn corrupt(source: &dyn Source, offset: u64, what: &str) -> Error {
    Error::corrupt_in(source.id(), offset, what)
}

#[cfg(test)]
mod tests {
    use super::*;
    use fumehood_plugin::memory::MemorySource;

    fn parsed<T>(text: &str, look: impl Fn(Node<'_, '_>) -> T) -> Result<T> {
        let source = MemorySource::new(0, "list", text.as_bytes().to_vec());
        let text = read_text(&source, Place { offset: 0, length: source.size() })?;
        let document = parse(&source, 0, &text)?;
        root(&document).map(look).ok_or(Error::Unrecognised)
    }

    const HEAD: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<!DOCTYPE plist PUBLIC \
        \"-//Apple//DTD PLIST 1.0//EN\" \"http://www.apple.com/DTDs/PropertyList-1.0.dtd\">\n";

    #[test]
    fn values_are_found_by_their_keys() {
        let text = "<plist version=\"1.0\"><dict><key>a</key><string>b</string>\
            <key>n</key><integer> 7 </integer><key>c</key><dict/></dict></plist>";
        for text in [text.to_string(), format!("{HEAD}{text}"), format!("{text}\0\0")] {
            parsed(&text, |list| {
                assert_eq!(string(list, "a"), Some("b"));
                assert_eq!(integer(list, "n"), Some(7));
                assert!(value(list, "c").is_some());
                assert_eq!(string(list, "n"), None);
                assert_eq!(string(list, "b"), None, "a value is no key");
            })
            .unwrap();
        }
    }

    #[test]
    fn entities_are_refused_and_so_is_what_is_no_list() {
        let bomb = "<!DOCTYPE plist [<!ENTITY a \"aaaa\"><!ENTITY b \"&a;&a;\">]>\
            <plist><dict><key>&b;</key></dict></plist>";
        for text in [bomb, "<plist><dict>", "", "<dict/>", "<!DOCTYPE plist", "bplist00"] {
            assert!(parsed(text, |_| ()).is_err(), "{text}");
        }
        let deep = "<dict>".repeat(100_000);
        assert!(parsed(&format!("<plist>{deep}"), |_| ()).is_err());
        let wide = "<a/>".repeat(100_000);
        assert!(parsed(&format!("<plist><dict>{wide}</dict></plist>"), |_| ()).is_err());
    }
}
