//! Images that other software made, as far as a collection of them is at hand: what
//! each holds is known by hash. `FUMEHOOD_CORPUS` names the folder; otherwise it is
//! `shared/corpus` beside the project, if that is there.

mod support;

use fumehood_plugin::Error;
use fumehood_test_support::corpus::{corpus, unpacked};
use fumehood_test_support::tool::sha256;
use support::{open, read_range};

#[test]
fn images_of_others_hold_what_is_known_of_them() {
    let Some(corpus) = corpus("vhd") else { return };
    let known = [
        ("dfvfs-ext2.vhd", "870be7ae16c1fa8faab05c6eb9205dc9a7ae35c5f552c5cf8a267c0bc6a5cb99"),
        (
            "hyperv-dynamic.vhd.gz",
            "ecff2ef6615a3cddc6a6885f1c6d9cf13a232697e1dc6575f2c2f01f57247784",
        ),
        (
            "node-vhd-fixed.vhd.gz",
            "fa0490edf13cf9699ac7ead2b2024f2ec7921f583ff824039bca0529055e409d",
        ),
        (
            "qemu-iotests-d2v-zerofilled.vhd.bz2",
            "1ba076be94a8a64541c25aae8d5a5f8b0da758c3797af597e03acb431ff8d143",
        ),
    ];
    for (name, expected) in known {
        let bytes = unpacked(&corpus.join(name));
        let disk = read_range(&bytes, 0, u64::MAX).unwrap();
        assert_eq!(sha256(&disk), expected, "{name}");
        let image = open(&bytes, &[]).unwrap();
        assert_eq!(image.disk(0).unwrap().check(false).unwrap(), [], "{name}");
        assert_eq!(image.info().warnings, [""; 0], "{name}");
    }
}

#[test]
fn virtual_pc_shows_the_geometry() {
    let Some(corpus) = corpus("vhd") else { return };
    let bytes = unpacked(&corpus.join("qemu-iotests-virtualpc-dynamic.vhd.bz2"));
    let size = |settings: &[(&str, &str)]| open(&bytes, settings).unwrap().disks()[0].size;
    assert_eq!(size(&[]), 136_363_130_880);
    assert_eq!(size(&[("size", "chs")]), 136_363_130_880);
    assert_eq!(size(&[("size", "current")]), 136_365_211_648);
    assert_eq!(open(&bytes, &[]).unwrap().info().warnings.len(), 1);
    let extents = open(&bytes, &[]).unwrap().disk(0).unwrap().extents(0, u64::MAX).unwrap();
    assert!(extents.len() < 4, "{extents:?}");
}

#[test]
fn what_must_be_refused_is() {
    let Some(corpus) = corpus("vhd") else { return };
    let refusal = |name: &str| match open(&unpacked(&corpus.join(name)), &[]) {
        Err(Error::Corrupt { offset, what, .. }) => (offset, what),
        Err(other) => panic!("{name}: {other}"),
        Ok(_) => panic!("{name} was not refused"),
    };
    let (offset, what) = refusal("dfvfs-image.vhd");
    assert!(offset > 2 << 20 && what.contains("checksum"), "{offset} {what}");
    let (offset, what) = refusal("qemu-iotests-afl5.vhd.bz2");
    assert!(offset > 0 && !what.is_empty(), "{offset} {what}");
}
