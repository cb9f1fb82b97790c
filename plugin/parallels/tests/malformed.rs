//! Images with one field wrong, images cut off, and random changes: each a clear error
//! or a disk that keeps the contract's rules, never a panic or an endless loop.
//! `PARALLELS_MUTATIONS` sets how many random changes are tried.

mod support;

use fumehood_plugin::simulate::Random;
use fumehood_plugin::{Confidence, Content, Error, Format};
use fumehood_test_support::damage::{rounds, scatter};
use md5::{Digest, Md5};
use support::{Hds, NONE, Set, Storage, TOP, descriptor, glimpse};

fn image(second: bool) -> Vec<u8> {
    Hds::new(second, 8, 100).fill(3, 1).fill(4, 2).fill(0, 3).fill(12, 4).build()
}

fn put(bytes: &mut [u8], at: usize, value: u32) {
    bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
}

#[test]
fn fields_that_contradict_the_format_are_refused() {
    let cases: [(&str, usize, u32, u64); 8] = [
        ("no clusters", 28, 0, 28),
        ("huge clusters", 28, 4_186_128, 28),
        ("clusters of 2^31 sectors", 28, 1 << 31, 28),
        ("too few entries", 32, 12, 36),
        ("a huge table", 32, u32::MAX, 32),
        ("a disk larger than its table", 36, 105, 36),
        ("a disk of 2^63", 40, 1 << 31, 36),
        ("data in the table", 48, 0, 48),
    ];
    for (name, field, value, offset) in cases {
        let mut bytes = image(true);
        put(&mut bytes, field, value);
        match Set::single(&bytes).open() {
            Err(Error::Corrupt { offset: at, what, .. }) => {
                assert_eq!(at, offset, "{name}: {what}")
            }
            Err(other) => panic!("{name}: {other}"),
            Ok(_) => panic!("{name}: not refused"),
        }
    }
    let mut bytes = image(false);
    // The upper half of the size is not defined, and clusters may begin anywhere.
    put(&mut bytes, 40, 77);
    put(&mut bytes, 48, 0);
    assert_eq!(Set::single(&bytes).open().unwrap().disks()[0].size, 51_200);
    for field in [0, 16] {
        let mut bytes = image(true);
        bytes[field] ^= 1;
        assert_eq!(fumehood_parallels::Parallels::probe(&glimpse(&bytes)), Confidence::No);
        assert!(matches!(Set::single(&bytes).open(), Err(Error::Unrecognised)));
    }
    assert!(matches!(Set::single(&[]).open(), Err(Error::Unrecognised)));
    assert!(matches!(Set::single(&image(true)[..63]).open(), Err(Error::Corrupt { .. })));
}

#[test]
fn clusters_that_lie_where_none_may_are_damaged_alone() {
    for (second, entry) in [(true, 5), (true, u32::MAX), (false, 41), (false, u32::MAX)] {
        let mut bytes = image(second);
        put(&mut bytes, 64 + 4 * 7, entry);
        let mut disk = Set::single(&bytes).open().unwrap().disk(0).unwrap();
        let extents = disk.extents(0, 51_200).unwrap();
        let damaged: Vec<_> =
            extents.iter().filter(|extent| matches!(extent.content, Content::Damaged(_))).collect();
        assert_eq!((damaged.len(), damaged[0].offset, damaged[0].length), (1, 7 * 4096, 4096));
        let findings = disk.check(false).unwrap();
        assert_eq!((findings.len(), findings[0].offset), (1, 7 * 4096), "{findings:?}");
    }
    // In the table itself.
    let mut bytes = Hds::new(false, 1, 200).fill(3, 1).build();
    put(&mut bytes, 64 + 4 * 9, 1);
    let mut disk = Set::single(&bytes).open().unwrap().disk(0).unwrap();
    let extents = disk.extents(9 * 512, 1).unwrap();
    assert!(matches!(&extents[0].content, Content::Damaged(what) if what.contains("table")));
}

#[test]
fn clusters_that_share_bytes_are_found() {
    for (second, entry) in [(true, 1), (false, 2), (false, 3)] {
        let mut bytes = image(second);
        put(&mut bytes, 64 + 4 * 7, entry);
        let findings = Set::single(&bytes).open().unwrap().disk(0).unwrap().check(false).unwrap();
        assert!(findings.iter().any(|finding| finding.what.contains("share")), "{findings:?}");
    }
    let error = Set::single(&image(true)).open().unwrap().disk(0).unwrap().check(true);
    assert_eq!(error, Err(Error::ReadOnly));
}

/// An image with a format extension that names a bitmap and something unknown.
fn extended() -> Vec<u8> {
    let mut bytes = image(true);
    let at = bytes.len();
    put(&mut bytes, 56, at as u32 / 512);
    let mut features = Vec::new();
    for (magic, flags, data) in
        [(0x2038_5fae_252c_b34a_u64, 0_u64, &b"bitmap"[..]), (0x1234, 1, b""), (0, 0, b"")]
    {
        features.extend(magic.to_le_bytes());
        features.extend(flags.to_le_bytes());
        features.extend((data.len() as u64).to_le_bytes());
        features.extend(data);
        features.resize(features.len().next_multiple_of(8), 0);
    }
    features.resize(4096 - 24, 0);
    bytes.extend(0xab23_4cef_23dc_ea87_u64.to_le_bytes());
    bytes.extend(Md5::digest(&features));
    bytes.extend(features);
    bytes
}

#[test]
fn extensions_are_named_and_verified() {
    let bytes = extended();
    let image = Set::single(&bytes).open().unwrap();
    let details = image.info().details;
    let named = details.iter().find(|(name, _)| name.contains("extensions")).unwrap();
    assert_eq!(named.1, "dirty bitmap, unknown (0x1234, necessary)");
    assert_eq!(image.disk(0).unwrap().check(false).unwrap(), []);
    let change = |at: usize, value: u8| {
        let mut changed = bytes.clone();
        changed[at] ^= value;
        let image = Set::single(&changed).open().unwrap();
        let findings = image.disk(0).unwrap().check(false).unwrap();
        (image.info().warnings.len(), findings.len())
    };
    let at = bytes.len() - 4096;
    assert_eq!(change(at, 1), (1, 1), "the magic");
    assert_eq!(change(at + 100, 1), (0, 1), "a byte");
    assert_eq!(change(59, 1), (1, 1), "where it lies");
    // Cluster 4 moves onto the extension.
    let entry = (at / 4096) as u8;
    assert_eq!(change(64 + 4 * 4, bytes[64 + 4 * 4] ^ entry), (0, 1), "a cluster on it");
}

#[test]
fn an_image_that_is_open_elsewhere_is_read_with_a_warning() {
    let mut bytes = image(true);
    put(&mut bytes, 44, 0x746f_6e59);
    let set = Set::single(&bytes);
    assert_eq!(set.open().unwrap().info().warnings.len(), 1);
    assert!(set.contents(None).unwrap() == Set::single(&image(true)).contents(None).unwrap());
}

#[test]
fn no_truncation_breaks_anything() {
    for bytes in [image(false), image(true), extended()] {
        for length in (0..bytes.len()).step_by(37).chain(0..200) {
            Set::single(&bytes[..length]).survive();
        }
    }
}

#[test]
fn a_large_table_is_read_in_windows() {
    // 2^22 entries for 2 GiB, of which two are used.
    let entries = 1 << 22;
    let mut bytes = Hds::new(true, 1, 16).build();
    put(&mut bytes, 32, entries);
    put(&mut bytes, 36, entries);
    put(&mut bytes, 48, entries / 128 + 1);
    bytes.resize(64 + 4 * entries as usize + 4096, 0);
    let size = bytes.len() as u32;
    put(&mut bytes, 64 + 4 * (entries as usize - 1), size / 512 - 1);
    let set = Set::single(&bytes);
    let mut disk = set.open().unwrap().disk(0).unwrap();
    let mut at = 0;
    let mut answers = 0;
    while at < u64::from(entries) * 512 {
        at = disk.extents(at, u64::MAX - at).unwrap().last().unwrap().end();
        answers += 1;
    }
    assert!((2..=64).contains(&answers), "{answers}");
    assert_eq!(disk.check(false).unwrap(), []);
}

#[test]
fn no_change_of_bytes_breaks_the_contract() {
    let count = rounds("PARALLELS_MUTATIONS", 4000);
    let mut random = Random::new(0x9a_7a11e1);
    let images = [image(false), image(true), extended()];
    let storages =
        [Storage { range: (0, 100), block: 8, images: vec![(TOP, "Compressed", "a.hds")] }];
    let text = descriptor(100, &storages, &[(TOP, NONE)]);
    let mut opened = 0;
    for number in 0..count {
        let mut bytes = images[(number % 3) as usize].clone();
        scatter(&mut random, &mut bytes, 128);
        opened += u64::from(Set::single(&bytes).survive());
        let mut text = text.clone().into_bytes();
        let length = text.len() as u64;
        scatter(&mut random, &mut text, length);
        opened +=
            u64::from(Set::new("DiskDescriptor.xml", &text, &[("a.hds".into(), bytes)]).survive());
    }
    assert!(opened > count / 5, "only {opened} of {count} were opened at all");
}
