//! Images that other software made, as far as a collection of them is at hand: what
//! each holds is known by hash. `FUMEHOOD_CORPUS` names the folder; otherwise it is
//! `shared/corpus` beside the project, if that is there.

mod support;

use std::fs;

use fumehood_plugin::Error;
use fumehood_test_support::corpus::{corpus, unpacked};
use fumehood_test_support::tool::sha256;
use support::Set;

#[test]
fn images_of_others_hold_what_is_known_of_them() {
    let Some(corpus) = corpus("vmdk") else { return };
    let stroz = "a3bcf05f07a1c06a3380eeca8571f0efb2b85afafa1e21662b8cad436d1f7727";
    for (folder, name, expected, warnings) in [
        (
            "securityronin",
            "mono_flat.vmdk",
            "30e14955ebf1352266dc2ff8067e68104607e750abb9d3b36582b8af909fcb58",
            0,
        ),
        (
            "securityronin",
            "tw_sparse.vmdk",
            "bb9f8df61474d25e71fa00722318cd387396ca1736605e1248821cc0de3d3af8",
            0,
        ),
        ("strozfriedberg", "monolithicSparse.vmdk", stroz, 0),
        ("strozfriedberg", "streamOptimized.vmdk", stroz, 0),
        ("strozfriedberg", "twoGbMaxExtentSparse.vmdk", stroz, 0),
        ("strozfriedberg", "twoGbMaxExtentSparse-s001.vmdk", stroz, 1),
        (
            "strozfriedberg",
            "streamOptimizedWithMarkers.vmdk",
            "92c0f8b4280377437056f57c51ef51a5f8aeb1462ac630ef0633febcbfc3db4e",
            0,
        ),
        (
            "strozfriedberg",
            "vmfs_thick.vmdk",
            "8d43c795d24bce01b49f92744f934c1072210dcac170bb1c83a5aa56df46ab7d",
            0,
        ),
    ] {
        let set = Set::load(&corpus.join(folder), name);
        assert_eq!(sha256(&set.read().unwrap()), expected, "{name}");
        assert_eq!(set.check(), [""; 0], "{name}");
        assert_eq!(set.warnings().len(), warnings, "{name}: {:?}", set.warnings());
    }
}

#[test]
fn an_extent_that_esxi_wrote_is_read_with_and_without_a_descriptor() {
    let Some(corpus) = corpus("vmdk") else { return };
    let bytes = unpacked(&corpus.join("esxi-sesparse.vmdk.gz"));
    let text = "# Disk DescriptorFile\nversion=1\nCID=12345678\nparentCID=ffffffff\n\
        createType=\"seSparse\"\nRW 1048576 SESPARSE \"delta.vmdk\"\n";
    let known = "3afa48010241335528fe402f083fc9f3a1013a49485221443a78d9a8604e2f90";
    let (alone, described) =
        (Set::single(&bytes), Set::new(text.as_bytes(), &[("delta.vmdk", &bytes)]));
    assert_eq!(sha256(&alone.read().unwrap()), known);
    assert_eq!((alone.size(), described.size()), (512 << 20, 512 << 20));
    assert_eq!((alone.check(), described.check()), (vec![], vec![]));
    let start = described.read_range(0, 32 << 20).unwrap();
    assert!(start == alone.read_range(0, 32 << 20).unwrap());
}

#[test]
fn what_must_be_refused_is() {
    let Some(corpus) = corpus("vmdk") else { return };
    let fuzzed = Set::single(&unpacked(&corpus.join("qemu-iotests-afl9.vmdk.bz2")));
    let refusal = fuzzed.refusal();
    assert!(matches!(refusal, Error::Corrupt { .. }), "{refusal}");
    for (name, missing) in [
        ("monolithicFlat.vmdk", "monolithicFlat-flat.vmdk"),
        ("vmfs_thick-000001.vmdk", "vmfs_thick-000001-delta.vmdk"),
    ] {
        let descriptor = fs::read(corpus.join("strozfriedberg").join(name)).unwrap();
        let refusal = Set::single(&descriptor).refusal();
        assert!(matches!(&refusal, Error::Missing(found) if found == missing), "{refusal}");
    }
}
