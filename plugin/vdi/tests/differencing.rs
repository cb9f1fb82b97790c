//! Images that QEMU does not write, made by hand: children, their parents, and blocks
//! of every kind.

mod support;

use std::fs;

use fumehood_plugin::{Content, Parent};
use fumehood_test_support::Bench;
use support::writer::{
    FREE, LINKAGE, MODIFY, PARENT_MODIFY, Plan, TYPE, ZERO, build, expected, put_uuid,
};
use support::{open, open_named, read_all, read_chain};

const BASE: Plan = Plan {
    kind: 1,
    disk_size: 40 * 4096 - 1024,
    block_size: 4096,
    block_extra: 0,
    map: &{
        let mut map = [FREE; 42];
        (map[0], map[1], map[2], map[3], map[20], map[39]) = (3, 4, ZERO, 0, 2, 1);
        map
    },
    create: 0x10,
    modify: 0x20,
    parent: None,
};

const MIDDLE: Plan = Plan {
    kind: 4,
    disk_size: 60 * 4096,
    block_size: 8192,
    block_extra: 0,
    map: &{
        let mut map = [FREE; 30];
        (map[0], map[2], map[10], map[25]) = (ZERO, 1, 2, 0);
        map
    },
    create: 0x30,
    modify: 0x40,
    parent: Some((0x10, 0x20)),
};

const TOP: Plan = Plan {
    kind: 4,
    disk_size: 60 * 4096,
    block_size: 512,
    block_extra: 0,
    map: &{
        let mut map = [FREE; 480];
        (map[3], map[4], map[5], map[39], map[410], map[479]) = (1, 0, ZERO, 2, ZERO, 3);
        map
    },
    create: 0x50,
    modify: 0x60,
    parent: Some((0x30, 0x40)),
};

fn parent_of(bytes: &[u8], name: &str, settings: &[(&str, &str)]) -> Parent {
    open_named(name, bytes, settings).unwrap().disks()[0].parent.clone().unwrap()
}

#[test]
fn blocks_of_every_kind_are_read() {
    for plan in [&BASE, &MIDDLE, &TOP] {
        let bytes = build(plan);
        assert!(read_all(&bytes).unwrap() == expected(&[plan]));
        let image = open(&bytes).unwrap();
        assert_eq!(image.disks()[0].granularity, plan.block_size);
        let mut disk = image.disk(0).unwrap();
        assert_eq!(disk.check(false).unwrap(), []);
        let extents = disk.extents(0, u64::MAX).unwrap();
        let at = |offset: u64| {
            let found = extents.iter().find(|extent| extent.end() > offset).unwrap();
            found.content.clone()
        };
        for (block, entry) in plan.map.iter().enumerate() {
            let offset = block as u64 * u64::from(plan.block_size);
            match *entry {
                _ if offset >= plan.disk_size => {}
                FREE => assert_eq!(at(offset), Content::Absent),
                ZERO => assert_eq!(at(offset), Content::Zero),
                _ => assert!(matches!(at(offset), Content::Stored(_))),
            }
        }
    }
}

#[test]
fn bytes_in_front_of_a_block_are_no_part_of_it() {
    let plan = Plan { block_extra: 512, map: BASE.map, ..BASE };
    let bytes = build(&plan);
    assert!(read_all(&bytes).unwrap() == expected(&[&plan]));
    assert_eq!(open(&bytes).unwrap().disk(0).unwrap().check(false).unwrap(), []);
}

#[test]
fn a_chain_holds_what_its_images_say() {
    let chain = [&TOP, &MIDDLE, &BASE];
    let images = chain.map(build);
    let slices: Vec<&[u8]> = images.iter().map(Vec::as_slice).collect();
    let disk = expected(&chain);
    assert!(read_chain(&slices) == disk);
    assert!(read_chain(&slices[1..]) == expected(&chain[1..]));
    // For another reader to look at.
    if let Some(folder) = std::env::var_os("VDI_SAMPLES") {
        let folder = std::path::PathBuf::from(folder);
        for (name, bytes) in ["top.vdi", "middle.vdi", "base.vdi"].iter().zip(&images) {
            fs::write(folder.join(name), bytes).unwrap();
        }
        fs::write(folder.join("expected.raw"), &disk).unwrap();
    }
}

#[test]
fn a_parent_is_known_by_both_of_its_uuids() {
    let images = [&BASE, &MIDDLE].map(build);
    let identity = |bytes: &[u8]| open(bytes).unwrap().disks()[0].identity.clone().unwrap();
    let base = identity(&images[0]);
    assert_eq!(base, "13121110-1514-1716-1819-1a1b1c1d1e1f/23222120-2524-2726-2829-2a2b2c2d2e2f");
    let parent = parent_of(&images[1], "child.vdi", &[]);
    assert_eq!(parent.identities, [base.as_str()]);
    assert_eq!(parent.format.as_deref(), Some("vdi"));
    let mut changed = images[0].clone();
    put_uuid(&mut changed, MODIFY, 0x21);
    assert_ne!(identity(&changed), base);
    let mut child = images[1].clone();
    put_uuid(&mut child, PARENT_MODIFY, 0x21);
    assert_eq!(parent_of(&child, "child.vdi", &[]).identities, [identity(&changed)]);
}

#[test]
fn a_parent_lies_where_a_setting_or_virtualbox_puts_it() {
    let bytes = build(&MIDDLE);
    let by_uuid = "{13121110-1514-1716-1819-1a1b1c1d1e1f}.vdi";
    assert_eq!(parent_of(&bytes, "child.vdi", &[]).references, [by_uuid]);
    let settings = [("parent", "snapshots/child.vdi"), ("parent", "../base.vdi")];
    assert_eq!(parent_of(&bytes, "child.vdi", &settings).references, ["../base.vdi"]);
    let all = ["snapshots/child.vdi", "../base.vdi"];
    assert_eq!(parent_of(&bytes, "other.vdi", &settings).references, all);
    assert_eq!(parent_of(&bytes, "base.vdi", &settings).references, [by_uuid]);
    // Hints of any kind: the host decides what is opened.
    let hint = [("parent", "/etc/passwd")];
    assert_eq!(parent_of(&bytes, "child.vdi", &hint).references, ["/etc/passwd"]);

    let warnings = |settings: &[(&str, &str)]| {
        open_named("child.vdi", &bytes, settings).unwrap().info().warnings
    };
    assert!(warnings(&[])[0].contains(by_uuid) && warnings(&[])[0].contains("parent=FILE"));
    assert_eq!(warnings(&settings), [""; 0]);
    assert_eq!(open(&build(&BASE)).unwrap().info().warnings, [""; 0]);
}

#[test]
fn a_child_without_a_parents_uuid_says_so() {
    let mut bytes = build(&MIDDLE);
    bytes[LINKAGE..LINKAGE + 16].fill(0);
    let parent = parent_of(&bytes, "child.vdi", &[]);
    assert_eq!((parent.references.len(), parent.identities.len()), (0, 0));
    assert_eq!(open(&bytes).unwrap().info().warnings.len(), 2);
}

#[test]
fn an_image_of_qemu_that_is_made_a_child_keeps_its_blocks() {
    let bench = Bench::new("child");
    let mut bytes = bench.made_by_qemu("vdi", &["6M"], &["write -P 9 2M 2M"]);
    let disk = bench.by_qemu("vdi", &bytes);
    bytes[TYPE] = 4;
    put_uuid(&mut bytes, LINKAGE, 0x10);
    put_uuid(&mut bytes, PARENT_MODIFY, 0x20);
    let base = build(&BASE);
    let mut model = expected(&[&BASE]);
    model.resize(6 << 20, 0);
    model[2 << 20..4 << 20].copy_from_slice(&disk[2 << 20..4 << 20]);
    assert!(read_chain(&[&bytes, &base]) == model);
}
