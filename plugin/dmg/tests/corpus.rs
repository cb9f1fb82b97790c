//! Images that Apple's software made, as far as a collection of them is at hand: what
//! each holds is known by hash.

mod support;

use std::fs;

use fumehood_test_support::corpus::corpus;
use fumehood_test_support::tool::sha256;
use support::{open, read_all};

#[test]
fn images_of_others_hold_what_is_known_of_them() {
    let Some(corpus) = corpus("dmg") else { return };
    let known = [
        (
            "dfvfs-hfsplus_zlib.dmg",
            "UDZO",
            "c86d3616818e175caca2f6022f49e190e5b1cfe39b2e8f9373119e22aa7eaf58",
        ),
        (
            "keramics-hfsplus_adc.dmg",
            "UDCO",
            "d27324bc2d352649e8ca2733c48e2730fa09cb0970086c1bc71e534e215a3e99",
        ),
        (
            "keramics-hfsplus_bzip2.dmg",
            "UDBZ",
            "b918c2606696b5067dcc4297ba5b08b2573dfeaf737a44f1110f27a10a3d4a0c",
        ),
        (
            "keramics-hfsplus_lzfse.dmg",
            "ULFO",
            "5f3091e9c5698a1de3006f3dba629b60c0c88585d0202f1b65cfdca876848aa9",
        ),
        (
            "keramics-hfsplus_lzma.dmg",
            "ULMO",
            "b144d0fedfa63d6c4dfa65904bca85fda67aa40b166f1d147ef5de28b7db8bc8",
        ),
        (
            "keramics-hfsplus_zlib.dmg",
            "UDZO",
            "d3fc84894c6a387275cd71087096268873031221db7fd29647de4ddad88316ad",
        ),
    ];
    for (name, variant, expected) in known {
        let bytes = fs::read(corpus.join(name)).unwrap();
        let disk = read_all(&bytes).unwrap();
        assert_eq!(sha256(&disk), expected, "{name}");
        let image = open(&bytes).unwrap();
        assert_eq!(image.disk(0).unwrap().check(false).unwrap(), [], "{name}");
        assert_eq!(image.info().warnings, [""; 0], "{name}");
        let details = image.info().details;
        assert!(details[0].1.starts_with(variant), "{name}: {details:?}");
        assert!(details.iter().any(|(_, name)| name == "disk image (Apple_HFS : 4)"));
        let text = image.document("resources.plist").unwrap();
        assert!(text.starts_with(b"<?xml"), "{name}");
        // The volume's checksum leaves out sectors in its middle, so the disk has none.
        assert_eq!(image.disks()[0].digests, [], "{name}");
    }
}
