//! The mrimgx parser. An input is a set of files, one behind the other: a full image,
//! and increments over it.
#![no_main]

use fumehood_fuzz::Set;
use fumehood_mrimgx::Mrimgx;
use libfuzzer_sys::fuzz_target;

/// Ends every file.
const FOOTER: &[u8] = b"MACRIUM_FILE";

fuzz_target!(|bytes: &[u8]| {
    let mut files = split(bytes);
    let last = files.len() - 1;
    let name = |number: usize| format!("disk-{number:02}-{number:02}.mrimgx");
    let main = files.remove(last);
    let granted: Vec<_> =
        files.into_iter().enumerate().map(|(number, part)| (name(number), part)).collect();
    Set::new(&name(last), main, &granted).explore::<Mrimgx>();
});

/// Cuts the input where a file ends; the last part is whatever is left.
fn split(bytes: &[u8]) -> Vec<&[u8]> {
    let mut files = Vec::new();
    let mut rest = bytes;
    while files.len() < 7 {
        let end = rest.windows(FOOTER.len()).position(|part| part == FOOTER);
        let Some(end) = end.map(|end| end + FOOTER.len()).filter(|end| *end < rest.len()) else {
            break;
        };
        let (file, behind) = rest.split_at(end);
        files.push(file);
        rest = behind;
    }
    files.push(rest);
    files
}
