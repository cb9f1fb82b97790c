//! Records about the next member, which tar writes when an export is packed anew: only
//! its name and its size matter here.
//!
//! Source: POSIX.1-2017, pax, "pax Extended Header".

use alloc::string::String;

use fumehood_plugin::{Error, Result};

/// What stands in the place of the next header's fields.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Overrides {
    /// Its name.
    pub name: Option<String>,
    /// Its size in bytes.
    pub size: Option<u64>,
}

impl Overrides {
    /// Takes the records in `bytes`, which came from `offset`.
    ///
    /// # Errors
    /// [`Error::Corrupt`] for what is no record, [`Error::Unsupported`] where the next
    /// member has holes left out.
    pub fn parse(&mut self, mut bytes: &[u8], offset: u64) -> Result<()> {
        while !bytes.is_empty() {
            let record = record(bytes);
            let Some((length, key, value)) = record else {
                return Err(Error::corrupt(offset, "a pax header without records"));
            };
            let value = String::from_utf8_lossy(value);
            match key {
                b"path" => self.name = Some(value.into_owned()),
                b"size" => {
                    let size = value.parse().map_err(|_| {
                        Error::corrupt(offset, alloc::format!("a member of {value:?} bytes"))
                    })?;
                    self.size = Some(size);
                }
                key if key.starts_with(b"GNU.sparse.") => return Err(sparse()),
                _ => (),
            }
            bytes = bytes.get(length..).unwrap_or_default();
        }
        Ok(())
    }
}

/// A member that was packed with its holes left out.
pub fn sparse() -> Error {
    Error::Unsupported("an export packed anew with holes left out (tar --sparse)".into())
}

/// The first record, `LENGTH KEY=VALUE\n`, and its length.
fn record(bytes: &[u8]) -> Option<(usize, &[u8], &[u8])> {
    let blank = bytes.iter().position(|byte| *byte == b' ')?;
    let digits = bytes.get(..blank).filter(|digits| digits.iter().all(u8::is_ascii_digit))?;
    let length: usize = core::str::from_utf8(digits).ok()?.parse().ok()?;
    let (end, text) = bytes.get(blank + 1..length)?.split_last()?;
    let equals = text.iter().position(|byte| *byte == b'=')?;
    (*end == b'\n').then_some((length, text.get(..equals)?, text.get(equals + 1..)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(bytes: &[u8]) -> Result<Overrides> {
        let mut overrides = Overrides::default();
        overrides.parse(bytes, 7).map(|()| overrides)
    }

    #[test]
    fn records_are_read_and_garbage_is_not() {
        let found = parse(b"30 mtime=1700000000.123456789\n18 path=Ref:1/\xc3\xa4=\n10 size=8\n");
        assert_eq!(found, Ok(Overrides { name: Some("Ref:1/ä=".into()), size: Some(8) }));
        assert_eq!(parse(b""), Ok(Overrides::default()));
        for bad in [
            &b"0 path=a\n"[..],
            b"3 path=a\n",
            b"99 path=a\n",
            b"path=a\n",
            b"-9 path=a\n",
            b" path=a\n",
            b"18446744073709551616 path=a\n",
            b"9 path=ab",
            b"7 path\n",
            b"11 size=-1\n",
        ] {
            let found = parse(bad);
            assert!(matches!(found, Err(Error::Corrupt { offset: 7, .. })), "{bad:?} {found:?}");
        }
        assert!(matches!(parse(b"22 GNU.sparse.major=1\n"), Err(Error::Unsupported(_))));
    }
}
