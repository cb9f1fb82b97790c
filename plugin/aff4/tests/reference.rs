//! The reference images of the standard, against the hashes that pyaff4 computes of them.
//! They are larger than a repository should hold: `AFF4_REFERENCE_IMAGES` names the folder
//! of a checkout of <https://github.com/aff4/ReferenceImages>; without it nothing is tried.

mod common;

use std::path::PathBuf;

use common::Set;
use md5::{Digest as _, Md5};

fn folder() -> Option<PathBuf> {
    std::env::var_os("AFF4_REFERENCE_IMAGES").map(PathBuf::from)
}

fn load(name: &str) -> Option<Vec<u8>> {
    let path = folder()?.join(name);
    Some(std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())))
}

/// MD5 of the first `most` bytes, read as a host does, block digests included.
fn md5(set: &Set, most: u64) -> (u64, String) {
    let image = set.open().unwrap();
    assert_eq!(image.disks().len(), 1);
    let size = image.disks()[0].size;
    let mut disk = image.disk(0).unwrap();
    let mut digest = Md5::new();
    let mut at = 0;
    while at < size.min(most) {
        let length = (4 << 20).min(size.min(most) - at);
        digest.update(set.read(&mut *disk, size, at, length).unwrap());
        at += length;
    }
    (size, digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

const LINEAR: &str = "dd6dbda282e27fd0d196abd95f5c3e58";
const READ_ERROR: &str = "1f1ae18d3610d3b4ad2d705e3af42f19";
const ALLOCATED: &str = "54a02991ff289c238570893e2e16df86";
const OLD_LINEAR: &str = "d87230b5905109efdf7b0776a37fa6b4";
const OLD_ALLOCATED: &str = "91a1c9dd8baadcf2a15b84f97f875b2e";
const SIZE: u64 = 268_435_456;

#[test]
fn single_images_have_the_known_contents() {
    for (name, expected) in [
        ("AFF4Std/Base-Linear.aff4", LINEAR),
        ("AFF4Std/Base-Linear-AllHashes.aff4", LINEAR),
        ("AFF4Std/Base-Linear-ReadError.aff4", READ_ERROR),
        ("AFF4Std/Base-Allocated.aff4", ALLOCATED),
        ("AFF4PreStd/Base-Linear.af4", OLD_LINEAR),
        ("AFF4PreStd/Base-Allocated.af4", OLD_ALLOCATED),
    ] {
        let Some(bytes) = load(name) else { return };
        assert_eq!(md5(&Set::one(bytes), u64::MAX), (SIZE, expected.to_string()), "{name}");
    }
}

#[test]
fn errors_of_reading_are_read_before_the_standard_too() {
    // No other reader knows its name for what could not be read; its chunks have digests.
    let Some(bytes) = load("AFF4PreStd/Base-Linear-ReadError.af4") else { return };
    let set = Set::one(bytes);
    assert_eq!(md5(&set, u64::MAX).0, SIZE);
    let findings = set.open().unwrap().disk(0).unwrap().check(false).unwrap();
    assert!(findings.iter().all(|finding| finding.what.contains("could not be read")));
    assert!(!findings.is_empty());
}

#[test]
fn a_striped_set_is_read_from_either_file() {
    let names = ["Base-Linear_1.aff4", "Base-Linear_2.aff4"];
    let load = |name| load(&format!("AFF4Std/Striped/{name}"));
    let Some(files) = names.map(|name| Some((name, load(name)?))).into_iter().collect() else {
        return;
    };
    let mut files: Vec<_> = files;
    for _ in 0..2 {
        assert_eq!(md5(&Set::new(&files), u64::MAX), (SIZE, LINEAR.to_string()));
        files.swap(0, 1);
    }
}

#[test]
fn a_map_of_exabytes_opens_at_once() {
    let Some(bytes) = load("Errata/Base-ExabyteSparse.aff4") else { return };
    let set = Set::one(bytes).with_scratch();
    // pyaff4 reads no further.
    let (size, found) = md5(&set, 1 << 20);
    assert_eq!(found, "2fdd6851b32ae931637d4845c037b550");
    md5(&set, 256 << 20);
    assert_eq!(size, 9_223_372_036_854_775_296);
    let image = set.open().unwrap();
    let mut disk = image.disk(0).unwrap();
    assert_eq!(disk.check(false).unwrap(), []);
    let end = set.read(&mut *disk, size, size - 65536, 65536).unwrap();
    assert_eq!(end.len(), 65536);
}

#[test]
fn what_is_known_is_shown() {
    let Some(bytes) = load("AFF4Std/Base-Linear-ReadError.aff4") else { return };
    let image = Set::one(bytes).open().unwrap();
    let info = image.info();
    assert!(info.details.contains(&("case name".into(), "Canonical Image Generation".into())));
    assert!(info.warnings[0].contains("UNREADABLEDATA"));
    assert!(image.document("information.turtle").unwrap().starts_with(b"@prefix"));
    let disk = &image.disks()[0];
    assert!(disk.details.contains(&("serial number".into(), "SGAT5060001234".into())));
    let findings = image.disk(0).unwrap().check(false).unwrap();
    assert!(!findings.is_empty());
    assert!(findings.iter().all(|finding| finding.what.contains("could not be read")));
}

#[test]
fn files_are_not_a_disk() {
    let Some(bytes) = load("AFF4-L/dream.aff4") else { return };
    assert!(Set::one(bytes).refusal().to_string().contains("AFF4-L"));
}

/// `AFF4_WRITTEN_IMAGES` names a folder of images by any writer, each with what it must
/// hold beside it: `disk.aff4` and `disk.aff4.raw`.
#[test]
fn images_of_other_writers_hold_what_they_should() {
    let Some(folder) = std::env::var_os("AFF4_WRITTEN_IMAGES") else { return };
    let mut tried = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let Ok(expected) = std::fs::read(path.with_extension("aff4.raw")) else { continue };
        let set = Set::one(std::fs::read(&path).unwrap());
        let found = set.contents().unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert!(found == expected, "{}", path.display());
        tried += 1;
    }
    assert!(tried > 0, "no image has its contents beside it");
}
