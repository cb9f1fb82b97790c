//! Keys and passwords: from a file or a prompt, never from the command line, which
//! every user of the machine can read.

use std::fs;
use std::io::{IsTerminal, Read};
use std::path::Path;

use anyhow::{Context, Result, bail};
use fumehood::Key;

/// Key files are small; a disk given by mistake is not read to its end.
const LIMIT: u64 = 1 << 20;

/// Reads what is in `file`; `-` is the terminal, where it is not shown, or a pipe.
///
/// A single newline at the end is the editor's, not the password's.
pub fn read(file: &Path) -> Result<Key> {
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
    if secret.last() == Some(&b'\n') {
        secret.pop();
        if secret.last() == Some(&b'\r') {
            secret.pop();
        }
    }
    if secret.is_empty() {
        bail!("key file {shown} is empty");
    }
    Ok(Key { id: String::new(), secret })
}

/// Asks on the terminal, without an echo.
fn prompt() -> Result<String> {
    rpassword::prompt_password("key or password: ").context("the password")
}
