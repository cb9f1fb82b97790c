//! An export that another writer made, as far as a collection of images is at hand:
//! `FUMEHOOD_CORPUS` names the folder; otherwise it is `shared/corpus` beside the
//! project, if that is there.

mod common;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use common::{contents, open};

/// Of the disk, as it went into the writer, padded to whole chunks.
const EXPECTED: &str = "b06196c89072911b962eddd8fdee4541d17b059fd13617347c15dbdebfddce2a";

fn sha256(bytes: &[u8]) -> String {
    let mut tool = Command::new("sha256sum");
    let mut child = tool.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("coreutils");
    child.stdin.take().unwrap().write_all(bytes).unwrap();
    let told = child.wait_with_output().unwrap().stdout;
    String::from_utf8(told).unwrap().split(' ').next().unwrap().into()
}

#[test]
fn an_export_of_xen_orchestra_is_read() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/corpus");
    let named = std::env::var_os("FUMEHOOD_CORPUS").map(PathBuf::from);
    let path = named.unwrap_or(root).join("xva/xen-orchestra-writer.xva.gz");
    if !path.exists() {
        println!("skipped: there is no {}", path.display());
        return;
    }
    let output = Command::new("gzip").arg("-dc").arg(path).output();
    let bytes = output.expect("gzip is missing: tests/run installs what the tests need").stdout;
    let image = open(&bytes).unwrap();
    let info = image.info();
    assert_eq!(info.warnings, [""; 0]);
    assert!(info.details.contains(&("product".to_string(), "XCP-ng".to_string())), "{info:?}");
    let disks = image.disks();
    assert_eq!((disks.len(), disks[0].size), (1, 6 << 20));
    let reference = ("reference".to_string(), "Ref:002".to_string());
    assert!(disks[0].details.contains(&reference), "{disks:?}");
    // Checksums are verified on the way.
    assert_eq!(sha256(&contents(&*image, &bytes, 0).unwrap()), EXPECTED);
}
