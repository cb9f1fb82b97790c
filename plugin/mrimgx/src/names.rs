//! Names of the files of a set: `<set>-<increment>-<file>.mrimgx`.
//!
//! A folder cannot be listed, so names are made up and asked for: those that the image
//! itself tells, without their folders, and those that the main file's name implies.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

/// A name taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    /// What the names of all files begin with.
    stem: String,
    /// The ending, with its dot.
    ending: String,
    /// Digits of a number, at least.
    width: usize,
}

fn number(text: &str) -> Option<u32> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| digits)
}

/// The name's ending with its dot, and what is before it.
fn cut(name: &str) -> (&str, &str) {
    name.rfind('.').and_then(|dot| name.split_at_checked(dot)).unwrap_or((name, ""))
}

impl Pattern {
    /// Takes `name` apart; None where it is called otherwise.
    pub fn of(name: &str) -> Option<Self> {
        let (base, ending) = cut(name);
        let mut parts = base.rsplitn(3, '-');
        let (file, increment, stem) = (parts.next()?, parts.next()?, parts.next()?);
        number(file)?;
        number(increment)?;
        Some(Self {
            stem: stem.to_string(),
            ending: ending.to_string(),
            width: file.len().min(increment.len()).clamp(1, 8),
        })
    }

    /// The name of file `file` of backup `increment`.
    pub fn name(&self, increment: u32, file: u32) -> String {
        let Self { stem, ending, width } = self;
        format!("{stem}-{increment:0width$}-{file:0width$}{ending}")
    }
}

/// The names beside `main` that a path on Windows may stand for: its last part, with
/// the main file's ending too, for files are called otherwise than when they were
/// written. None for what is no name of a file.
pub fn beside(main: &str, path: &str) -> Vec<String> {
    let name = path.rsplit(['\\', '/', ':']).next().unwrap_or_default();
    let odd = |character: char| character.is_control();
    if name.is_empty() || name == "." || name == ".." || name.contains(odd) {
        return Vec::new();
    }
    let (base, ending) = cut(name);
    let (_, own) = cut(main);
    let mut names = Vec::new();
    if ending != own && !base.is_empty() {
        names.push(format!("{base}{own}"));
    }
    names.push(name.to_string());
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_taken_apart_and_put_together() {
        let pattern = Pattern::of("2394E9AA621DDC3A-my-disk-03-12.mrimgx").unwrap();
        assert_eq!(pattern.name(2, 7), "2394E9AA621DDC3A-my-disk-02-07.mrimgx");
        assert_eq!(pattern.name(100, 123), "2394E9AA621DDC3A-my-disk-100-123.mrimgx");
        for name in ["disk.mrimgx", "a-b-c.mrimgx", "-1.mrimgx", "a-+1-02.mrimgx", ""] {
            assert_eq!(Pattern::of(name), None, "{name}");
        }
    }

    #[test]
    fn only_the_last_part_of_a_path_counts() {
        let main = "x-00-01.mrimgx";
        let expected = ["a-00-00.mrimgx", "a-00-00.mrimg"];
        assert_eq!(beside(main, "B:\\vx\\new hash\\a-00-00.mrimg"), expected);
        assert_eq!(beside(main, "../../etc/passwd.mrimgx"), ["passwd.mrimgx"]);
        assert_eq!(beside(main, "C:passwd"), ["passwd.mrimgx", "passwd"]);
        for path in ["", "C:\\", "..", "a/..", "/", "a\nb"] {
            assert_eq!(beside(main, path), [""; 0], "{path}");
        }
    }
}
