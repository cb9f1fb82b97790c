//! A collection of images that others made, if it is at hand: `FUMEHOOD_CORPUS` names the
//! folder; otherwise it is `shared/corpus` beside the project.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::tool;

/// The collection's folder of images of a format.
pub fn corpus(format: &str) -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/corpus");
    let folder = std::env::var_os("FUMEHOOD_CORPUS").map_or(beside, PathBuf::from).join(format);
    if !folder.is_dir() {
        println!("skipped: there is no collection of images; name one with FUMEHOOD_CORPUS");
        return None;
    }
    Some(folder)
}

/// An image of the collection, unpacked; `None` where it is not there.
pub fn sample(format: &str, name: &str) -> Option<Vec<u8>> {
    let path = corpus(format)?.join(name);
    if !path.is_file() {
        println!("skipped: there is no {}", path.display());
        return None;
    }
    Some(unpacked(&path))
}

/// The bytes of a file, unpacked if its ending says that it is packed.
pub fn unpacked(path: &Path) -> Vec<u8> {
    let tool = match path.extension().and_then(|extension| extension.to_str()) {
        Some("gz") => "gzip",
        Some("bz2") => "bzip2",
        Some("xz") => "xz",
        _ => return fs::read(path).unwrap(),
    };
    tool::output(Command::new(tool).arg("-dc").arg(path))
}
