//! Keys and passwords: from a file or a prompt, never from the command line, which
//! every user of the machine can read.

use std::fs;
use std::io::{IsTerminal, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use fumehood::Key;

/// Key files are small; a disk given by mistake is not read to its end.
const LIMIT: u64 = 1 << 20;

/// Where the keys are, for every subcommand that opens an image.
#[derive(clap::Args)]
pub struct KeyArguments {
    /// A key, or a password in the file's first line, for an encrypted image; - reads it
    /// from the terminal. May be given more than once.
    #[arg(long, value_name = "FILE")]
    key_file: Vec<PathBuf>,
}

impl KeyArguments {
    /// Reads them all. To be called once: a terminal is asked each time.
    pub fn read(&self) -> Result<Vec<Key>> {
        self.key_file.iter().map(|file| read(file)).collect()
    }
}

/// Reads what is in `file`; `-` is the terminal, where it is not shown, or a pipe.
///
/// A newline at the end of a text is the editor's, not the password's; at the end of a
/// key's bytes it is one of them.
fn read(file: &Path) -> Result<Key> {
    let shown = file.display();
    let mut secret = Vec::new();
    if file == Path::new("-") {
        if std::io::stdin().is_terminal() {
            secret = prompt()?.into_bytes();
        } else {
            std::io::stdin().lock().take(LIMIT).read_to_end(&mut secret).context("the key")?;
        }
    } else {
        let opened = fs::File::open(file).with_context(|| format!("key file {shown}"))?;
        opened.take(LIMIT).read_to_end(&mut secret).with_context(|| format!("key file {shown}"))?;
    }
    if let Some(line) = line(&secret) {
        secret.truncate(line);
    }
    if secret.is_empty() {
        bail!("key file {shown} is empty");
    }
    Ok(Key { id: String::new(), secret })
}

/// The length of the line that is all of `secret`, if it is one.
fn line(secret: &[u8]) -> Option<usize> {
    let text = std::str::from_utf8(secret).ok()?;
    let line = text.strip_suffix('\n')?;
    let line = line.strip_suffix('\r').unwrap_or(line);
    (!line.contains(char::is_control)).then_some(line.len())
}

/// Asks on the terminal, without an echo.
fn prompt() -> Result<String> {
    rpassword::prompt_password("key or password: ").context("the password")
}

#[cfg(test)]
mod tests {
    use super::line;

    #[test]
    fn only_a_text_loses_its_newline() {
        assert_eq!(line(b"password\n"), Some(8));
        assert_eq!(line("pässword\r\n".as_bytes()), Some(9));
        assert_eq!(line(b"password"), None);
        assert_eq!(line(b"\x80key\n"), None);
        assert_eq!(line(b"\x01key\n"), None);
        assert_eq!(line(b"{\n}\n"), None, "a file of several lines is kept as it is");
    }
}
