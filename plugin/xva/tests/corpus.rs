//! An export that another writer made, as far as a collection of images is at hand:
//! `FUMEHOOD_CORPUS` names the folder; otherwise it is `shared/corpus` beside the
//! project, if that is there.

mod common;

use common::{contents, open};
use fumehood_test_support::corpus::sample;
use fumehood_test_support::tool::sha256;

/// Of the disk, as it went into the writer, padded to whole chunks.
const EXPECTED: &str = "b06196c89072911b962eddd8fdee4541d17b059fd13617347c15dbdebfddce2a";

#[test]
fn an_export_of_xen_orchestra_is_read() {
    let Some(bytes) = sample("xva", "xen-orchestra-writer.xva.gz") else { return };
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
