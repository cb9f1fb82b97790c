//! The Clonezilla parser. An input is the entry and the files beside it, each behind a
//! line of a percent sign and its name.
#![no_main]

use fumehood_clonezilla::Clonezilla;
use fumehood_fuzz::Set;
use libfuzzer_sys::fuzz_target;

/// What begins a file.
const MARK: &[u8] = b"\n%";
/// The most files.
const FILES: usize = 32;

fuzz_target!(|bytes: &[u8]| {
    let (entry, mut rest) = cut(bytes, MARK);
    let mut granted = Vec::new();
    while !rest.is_empty() && granted.len() < FILES {
        let (file, behind) = cut(rest, MARK);
        let (name, contents) = cut(file, b"\n");
        granted.push((String::from_utf8_lossy(name).into_owned(), contents));
        rest = behind;
    }
    Set::new("parts", entry, &granted).explore::<Clonezilla>();
});

/// What comes before a mark, and what behind it.
fn cut<'a>(bytes: &'a [u8], mark: &[u8]) -> (&'a [u8], &'a [u8]) {
    match bytes.windows(mark.len()).position(|part| part == mark) {
        Some(at) => (&bytes[..at], &bytes[at + mark.len()..]),
        None => (bytes, &[]),
    }
}
