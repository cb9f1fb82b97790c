//! Bundles: storages in a row, chains of images, states; and what of them is refused.

mod support;

use fumehood_plugin::{Content, Error};
use support::{Hds, NONE, Set, Storage, TOP, descriptor};

const OLD: &str = "{11111111-2222-3333-4444-555555555555}";
const OLDER: &str = "{aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee}";
const CLUSTER: usize = 4096;

fn files(list: &[(&str, Vec<u8>)]) -> Vec<(String, Vec<u8>)> {
    list.iter().map(|(name, bytes)| (name.to_string(), bytes.clone())).collect()
}

fn bundle(text: &str, list: &[(&str, Vec<u8>)]) -> Set {
    Set::new("DiskDescriptor.xml", text.as_bytes(), &files(list))
}

/// Two storages of 8 and 3 clusters and a half; three states.
fn split() -> (String, Vec<(&'static str, Vec<u8>)>) {
    let images = |part: [&'static str; 3], base| {
        vec![(OLDER, base, part[0]), (TOP, "Compressed", part[2]), (OLD, "Compressed", part[1])]
    };
    let first = images(["a.older.hds", "a.old.hds", "a.top.hds"], "Compressed");
    let second = images(["b.older.raw", "b.old.hds", "b.top.hds"], "Plain");
    // Out of order in the text.
    let storages = [
        Storage { range: (64, 92), block: 8, images: second },
        Storage { range: (0, 64), block: 8, images: first },
    ];
    let text = descriptor(92, &storages, &[(OLDER, NONE), (TOP, OLD), (OLD, OLDER)]);
    let hds = |sectors| Hds::new(true, 8, sectors);
    let list = vec![
        ("a.older.hds", Hds::new(false, 8, 64).fill(0, 1).fill(1, 1).fill(2, 1).build()),
        ("a.old.hds", hds(64).fill(1, 2).fill(2, 2).fill(7, 2).build()),
        ("a.top.hds", hds(64).fill(2, 3).fill(5, 3).build()),
        ("b.older.raw", vec![9; 28 * 512]),
        ("b.old.hds", hds(28).fill(1, 2).build()),
        ("b.top.hds", hds(28).fill(3, 3).build()),
    ];
    (text, list)
}

/// Clusters filled with these bytes; the last one is half as long.
fn disk(bytes: [u8; 12]) -> Vec<u8> {
    let mut disk: Vec<u8> = bytes.iter().flat_map(|byte| [*byte; CLUSTER]).collect();
    disk.truncate(92 * 512);
    disk
}

#[test]
fn every_state_of_a_split_bundle_shows_what_it_held() {
    let (text, list) = split();
    let set = bundle(&text, &list);
    let top = disk([1, 2, 3, 0, 0, 3, 0, 2, 9, 2, 9, 3]);
    assert!(set.contents(None).unwrap() == top);
    assert!(set.contents(Some(TOP)).unwrap() == top);
    let old = disk([1, 2, 2, 0, 0, 0, 0, 2, 9, 2, 9, 9]);
    assert!(set.contents(Some(OLD)).unwrap() == old);
    assert!(set.contents(Some(&OLD.to_uppercase()[1..37])).unwrap() == old);
    assert!(set.contents(Some(OLDER)).unwrap() == disk([1, 1, 1, 0, 0, 0, 0, 0, 9, 9, 9, 9]));
    let image = set.open().unwrap();
    let info = image.info();
    let states: Vec<_> = info.snapshots.iter().map(|state| &*state.id).collect();
    assert_eq!(states, [OLDER, OLD]);
    assert_eq!(info.snapshots[0].disk_size, 92 * 512);
    assert_eq!(image.document("DiskDescriptor.xml").unwrap(), text.as_bytes());
    assert_eq!(image.disks()[0].granularity, CLUSTER as u32);
    let mut disk = image.disk(0).unwrap();
    assert_eq!(disk.check(false).unwrap(), []);
    let extents = disk.extents(3 * CLUSTER as u64 + 5, 1).unwrap();
    assert_eq!(extents[0].content, Content::Absent);
    let missing = set.open_state(Some(NONE)).err().unwrap();
    assert!(matches!(missing, Error::Missing(_)), "{missing}");
}

#[test]
fn only_the_images_of_the_chain_are_opened() {
    let (text, mut list) = split();
    list.retain(|(name, _)| !name.contains("top"));
    let set = bundle(&text, &list);
    assert!(set.contents(Some(OLD)).is_ok());
    let error = set.open().err().unwrap();
    assert!(matches!(&error, Error::Missing(name) if name == "a.top.hds"), "{error}");
}

#[test]
fn a_bundle_without_states_has_one_image_a_storage() {
    let storages = [Storage { range: (0, 16), block: 8, images: vec![(OLD, "Plain", "x.hds")] }];
    let text = descriptor(16, &storages, &[]);
    let set = bundle(&text, &[("x.hds", vec![4; 16 * 512])]);
    assert!(set.contents(None).unwrap() == vec![4; 16 * 512]);
    assert_eq!(set.open().unwrap().disks()[0].granularity, 4096);
    let named = text.replace("<Snapshots>", &format!("<Snapshots><TopGUID>{OLD}</TopGUID>"));
    let named = named.replace(
        "</Snapshots>",
        &format!("<Shot><GUID>{OLD}</GUID><ParentGUID>{NONE}</ParentGUID></Shot></Snapshots>"),
    );
    assert!(bundle(&named, &[("x.hds", vec![4; 16 * 512])]).contents(None).is_ok());
    let short = bundle(&text, &[("x.hds", vec![4; 15 * 512])]);
    assert!(short.contents(None).is_err());
    let mut disk = short.open().unwrap().disk(0).unwrap();
    let extents = disk.extents(0, 8192).unwrap();
    assert_eq!((extents.len(), extents[0].length), (2, 15 * 512));
    assert_eq!(disk.check(false).unwrap().len(), 1);
}

#[test]
fn an_older_image_may_be_of_a_smaller_disk() {
    let images = vec![(OLD, "Compressed", "old.hds"), (TOP, "Compressed", "top.hds")];
    let storages = [Storage { range: (0, 32), block: 8, images }];
    let text = descriptor(32, &storages, &[(OLD, NONE), (TOP, OLD)]);
    let old = Hds::new(true, 8, 12).fill(0, 1).fill(1, 1).build();
    let top = Hds::new(true, 8, 32).fill(2, 2).build();
    let set = bundle(&text, &[("old.hds", old.clone()), ("top.hds", top)]);
    let mut expected = vec![1; 12 * 512];
    expected.resize(16 * 512, 0);
    expected.resize(24 * 512, 2);
    expected.resize(32 * 512, 0);
    assert!(set.contents(None).unwrap() == expected);
    let set = bundle(&text, &[("old.hds", old.clone()), ("top.hds", old)]);
    assert!(matches!(set.open(), Err(Error::Corrupt { source_id: 2, offset: 36, .. })));
}

#[test]
fn a_part_of_a_bundle_opened_alone_says_so() {
    let bytes = Hds::new(true, 8, 64).fill(1, 1).build();
    let alone = |name: &str| Set::new(name, &bytes, &[]).open().unwrap().info().warnings;
    assert_eq!(alone(&format!("disk.hdd.0.{OLD}.hds")).len(), 1);
    assert_eq!(alone(&format!("disk.hdd.0.{TOP}.hds")).len(), 0);
    assert_eq!(alone("disk}{.hds").len(), 0);
    let snapshot = Set::single(&bytes).open_state(Some(TOP)).err().unwrap();
    assert!(matches!(snapshot, Error::Missing(_)));
}

/// How a changed descriptor is refused.
fn refusal(change: &dyn Fn(&str) -> String) -> Error {
    let (text, list) = split();
    let changed = change(&text);
    assert_ne!(text, changed, "the change changes nothing");
    bundle(&changed, &list).open().err().unwrap_or_else(|| panic!("not refused: {changed}"))
}

#[test]
fn descriptors_that_contradict_themselves_are_refused() {
    let shot = |guid, parent| format!("<Shot><GUID>{guid}</GUID><ParentGUID>{parent}</ParentGUID>");
    let cases: [(&str, String, String, &str); 17] = [
        ("a circle", shot(OLDER, NONE), shot(OLDER, TOP), "made on itself"),
        ("its own parent", shot(TOP, OLD), shot(TOP, TOP), "made on itself"),
        ("a state twice", shot(OLDER, NONE), shot(OLD, NONE), "listed twice"),
        ("an unknown parent", shot(OLDER, NONE), shot(OLDER, &OLD.replace('1', "7")), "not listed"),
        ("an overlap", "<Start>64<".into(), "<Start>63<".into(), "follows sector 64"),
        ("a gap", "<Start>64<".into(), "<Start>65<".into(), "follows sector 64"),
        ("an empty storage", "<End>92<".into(), "<End>64<".into(), "follows sector 64"),
        ("too short", "<Disk_size>92<".into(), "<Disk_size>93<".into(), "up to sector 92"),
        ("too long", "<End>92<".into(), format!("<End>{}<", u64::MAX), "for a disk of 92"),
        ("no number", "<End>92<".into(), "<End>-1<".into(), "not a number"),
        ("no GUID", format!("<GUID>{OLD}<"), "<GUID>x<".into(), "not a GUID"),
        ("other clusters", "<Blocksize>8<".into(), "<Blocksize>16<".into(), "clusters of 4096"),
        ("two images at once", "b.old.hds".into(), "a.old.hds".into(), "two images at once"),
        (
            "an image twice",
            format!("<Image><GUID>{OLDER}"),
            format!("<Image><GUID>{TOP}"),
            "two images for",
        ),
        (
            "no image",
            format!("<Image><GUID>{OLDER}"),
            format!("<Image><GUID>{NONE}"),
            "no image for",
        ),
        ("no storages", "StorageData>".into(), "StorageDate>".into(), "without StorageData"),
        ("no XML", "</Storage>".into(), "".into(), "descriptor"),
    ];
    for (name, from, to, expected) in cases {
        let error = refusal(&|text| text.replace(&from, &to));
        let said = error.to_string();
        assert!(matches!(error, Error::Corrupt { .. }), "{name}: {said}");
        assert!(said.contains(expected), "{name}: {said}");
    }
}

#[test]
fn names_that_lead_out_of_the_bundle_are_refused() {
    for name in ["../a.hds", "x/../../a.hds", "x\\..\\..\\a", "", "..", "a\tb"] {
        let error = refusal(&|text| text.replace("a.top.hds", name));
        assert!(matches!(error, Error::Corrupt { .. }), "{name}: {error}");
    }
    for name in ["/etc/passwd", "\\\\server\\x", "C:\\disk.hds"] {
        let error = refusal(&|text| text.replace("a.top.hds", name));
        assert!(matches!(error, Error::Unsupported(_)), "{name}: {error}");
    }
}

#[test]
fn what_is_not_supported_is_refused_by_name() {
    let engine = "<Encryption><Engine>{12345678-0000-0000-0000-000000000000}</Engine></Encryption>";
    let cases = [
        ("<Padding>0</Padding>", engine, "encrypted"),
        ("<Padding>0<", "<Padding>7<", "padding"),
        ("<Padding>0</Padding>", "<LogicSectorSize>4096</LogicSectorSize>", "4096"),
        ("Version=\"1.0\"", "Version=\"2.0\"", "2.0"),
        (">Plain<", ">Folded<", "Folded"),
    ];
    for (from, to, expected) in cases {
        let error = refusal(&|text| text.replace(from, to));
        let named = matches!(&error, Error::Unsupported(what) if what.contains(expected));
        assert!(named, "{expected}: {error}");
    }
}

#[test]
fn xml_that_eats_memory_is_refused() {
    let billion = "<!DOCTYPE x [<!ENTITY a \"aaaaaaaaaa\"><!ENTITY b \"&a;&a;&a;&a;&a;&a;\">]>";
    let error = refusal(&|text| text.replace("?>\n<", &format!("?>{billion}\n<")));
    assert!(matches!(error, Error::Corrupt { .. }), "{error}");
    let many = "<x/>".repeat(200_000);
    let error = refusal(&|text| text.replace("<Snapshots>", &format!("<Snapshots>{many}")));
    assert!(error.to_string().contains("nodes"), "{error}");
    let long = " ".repeat(1 << 20);
    let error = refusal(&|text| text.replace("<Snapshots>", &format!("<Snapshots>{long}")));
    assert!(matches!(error, Error::Corrupt { offset: 0, .. }), "{error}");
    // A chain as long as can be, without an image for most of it.
    let long: String = (0..20_000)
        .map(|number| {
            let parent = number + 1;
            format!(
                "<Shot><GUID>00000000-0000-0000-0000-{number:012}</GUID>\
                 <ParentGUID>00000000-0000-0000-0000-{parent:012}</ParentGUID></Shot>"
            )
        })
        .collect();
    let error = refusal(&|text| text.replace("<Snapshots>", &format!("<Snapshots>{long}")));
    assert!(matches!(error, Error::Corrupt { .. }), "{error}");
}

#[test]
fn deep_xml_takes_no_deep_stack() {
    let (text, list) = split();
    let deep = ["<x>".repeat(50_000), "</x>".repeat(50_000)].concat();
    let text = text.replace("<Snapshots>", &format!("{deep}<Snapshots>"));
    let small = std::thread::Builder::new().stack_size(256 << 10);
    small.spawn(move || bundle(&text, &list).survive()).unwrap().join().unwrap();
}
