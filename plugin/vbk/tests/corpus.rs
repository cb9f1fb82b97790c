//! Archives that Veeam wrote, as far as a collection of them is at hand: what each
//! holds is known by hash. `FUMEHOOD_CORPUS` names the folder; otherwise it is
//! `shared/corpus` beside the project, if that is there.

mod support;

use fumehood_plugin::simulate::Random;
use fumehood_plugin::{Contents, Format, Glimpse};
use fumehood_test_support::corpus::sample;
use fumehood_test_support::tool::sha256;
use support::{open, read, survive};

#[test]
fn an_archive_of_version_9_holds_what_is_known_of_it() {
    let Some(bytes) = sample("vbk", "test9.vbk.gz") else { return };
    let glimpse = Glimpse { head: bytes[..65536].to_vec(), ..Glimpse::default() };
    assert_eq!(fumehood_vbk::Vbk::probe(&glimpse), fumehood_plugin::Confidence::Certain);
    let image = open(&bytes).unwrap();
    let disks = image.disks();
    assert_eq!(disks.len(), 1);
    assert_eq!((disks[0].name.as_str(), disks[0].size), ("DEV__dev_nvme1n1", 4 << 20));
    assert_eq!(disks[0].contents, Contents::Disk);
    let disk = read(&bytes, &*image, 0).unwrap();
    let expected = "337350cac29d2ed34c23ce9fc675950badf85fd2b694791abe6999d36f0dc1b3";
    assert_eq!(sha256(&disk), expected);
    assert_eq!(image.info().warnings, [""; 0]);
    assert_eq!(image.info().documents, ["summary.xml"]);
    let summary = image.document("summary.xml").unwrap();
    let expected = "d2b8f4d08e57a44b817b57d9c03e670c292e5a21e91fb5895b51e923781175e8";
    assert_eq!(sha256(&summary), expected);
    assert_eq!(image.disk(0).unwrap().check(false), Ok(vec![]));
}

#[test]
fn an_archive_of_version_13_holds_what_is_known_of_it() {
    let Some(bytes) = sample("vbk", "test13.vbk.gz") else { return };
    let image = open(&bytes).unwrap();
    let disks = image.disks();
    assert_eq!(disks.len(), 1);
    let name = "8b14f74c-360d-4d7a-98f7-7f4c5e737eb7";
    assert_eq!((disks[0].name.as_str(), disks[0].size), (name, 0x0031_4200));
    let disk = read(&bytes, &*image, 0).unwrap();
    let expected = "e9ed281cf9c2fe1745e4eb9c926c1a64bd47569c48be511c5fdf6fd5793e5a77";
    assert_eq!(sha256(&disk), expected);
    assert_eq!(image.info().warnings, [""; 0]);
    let known = [
        (
            "digest_47d9f323-442b-433d-bd4f-1ecb3fa97351",
            "d6f9dced7c58628a4648e1a5ed349609f11cefb0ac6721c35c5f943ac18aaf10",
        ),
        ("GuestMembers.xml", "18228ae41c1e7ddb23ee6cfe49c9e2c1cdfe99393b45f20d7fbbdb5d247938b4"),
        (
            "BackupComponents.xml",
            "a9615b1cbce437074235ac194681d42e1f018f1c804277293dc24d4dd90eb504",
        ),
        ("summary.xml", "c93e3460a4495a96047fd8c1c80c3169782207e106cc3b5f5d9b5edae68eb3d9"),
    ];
    assert_eq!(image.info().documents, known.map(|(name, _)| name));
    for (name, expected) in known {
        assert_eq!(sha256(&image.document(name).unwrap()), expected, "{name}");
    }
    assert_eq!(image.disk(0).unwrap().check(false), Ok(vec![]));
}

#[test]
fn changed_bytes_never_break_the_contract() {
    let mut random = Random::new(1);
    for (name, times) in [("test9.vbk.gz", 40), ("test13.vbk.gz", 400)] {
        let Some(mut bytes) = sample("vbk", name) else { continue };
        // Only what is not payload: header, slots, and the pages in use.
        let (slots, banks): (u64, [u64; 2]) = if name.contains("13") {
            (0x3000, [0x10_1000, 0x12_3000])
        } else {
            (0x3000, [0x1_9000, 0xa1_b000])
        };
        for _ in 0..times {
            let mut changed = Vec::new();
            for _ in 0..1 + random.below(4) {
                let at = match random.below(4) {
                    0 => random.below(slots),
                    1 => banks[1] + random.below(0x2000),
                    _ => banks[0] + random.below(0xa000),
                } as usize;
                changed.push((at, bytes[at]));
                bytes[at] ^= 1 << random.below(8);
            }
            survive(&bytes);
            for (at, byte) in changed.into_iter().rev() {
                bytes[at] = byte;
            }
        }
    }
}
