//! Every crash of a workload, opened again: dynamic, differencing and fixed images.

mod support;

use std::cell::Cell;
use std::rc::Rc;

use fumehood_plugin::memory::MemoryHost;
use fumehood_plugin::simulate::{CrashReplay, JournalSource, SimulatedHost, crash_replay, crashes};
use fumehood_plugin::{Access, CreateOptions, Format, Image, OpenOptions, Parent, Result};
use fumehood_test_support::Bench;
use fumehood_vhd::Vhd;
use support::{PARENT_ID, vhdiinfo};

fn create(main: JournalSource, options: &CreateOptions) -> Result<Box<dyn Image>> {
    Vhd::create(Rc::new(main), Rc::new(MemoryHost::new()), options.clone())
}

fn open(main: JournalSource) -> Result<Box<dyn Image>> {
    let options = OpenOptions { access: Access::ReadWrite, ..OpenOptions::read_only() };
    Vhd::open(Rc::new(main), Rc::new(MemoryHost::new()), options)
}

/// The size of the disk is no multiple of the block.
const SIZE: u64 = 500 << 10;

fn replay(name: &str, settings: &[(&str, &str)], parent: Vec<u8>) {
    let bench = Bench::new(name);
    let mut options = CreateOptions::new(SIZE);
    options.seed = [7; 32];
    options.settings = fumehood_test_support::settings(settings);
    if !parent.is_empty() {
        options.parent = Some(Parent {
            references: vec!["base.vhd".into()],
            identities: vec![PARENT_ID.into()],
            format: Some("vhd".into()),
        });
    }
    let differencing = options.parent.is_some();
    let judged = Cell::new(0);
    let judge = |bytes: &[u8]| {
        let path = bench.path("crashed.vhd");
        bench.write("crashed.vhd", bytes);
        vhdiinfo(&path);
        // QEMU does not know differencing images.
        if !differencing {
            bench.run("qemu-img", &["info", "-f", "vpc", "crashed.vhd"]);
        }
        judged.set(judged.get() + 1);
    };
    for seed in 0..6 {
        let (operations, crashes, parent) = (60, 500, parent.clone());
        let replay = CrashReplay { seed, operations, parent, disk_size: SIZE, crashes };
        crash_replay(replay, &|main| create(main, &options), &open, &judge);
    }
    assert!(judged.get() > 50, "{}", judged.get());
}

#[test]
fn dynamic() {
    replay("crash-dynamic", &[("block_size", "32768")], vec![]);
}

#[test]
fn dynamic_with_small_blocks() {
    replay("crash-small", &[("block_size", "4096")], vec![]);
}

#[test]
fn fixed() {
    replay("crash-fixed", &[("subformat", "fixed")], vec![]);
}

#[test]
fn differencing() {
    let parent = (0..SIZE / 2).map(|at| (at / 512) as u8 | 1).collect();
    replay("crash-differencing", &[("block_size", "32768")], parent);
}

/// What a crashed image shows: its parent, and its disk.
type Shown = (Option<Parent>, Vec<u8>);

/// Creates an image, writes some of it, does something to it, and opens every crash of
/// that; gives what its disk showed before, and what the crashes show.
fn crashes_of(
    options: &CreateOptions,
    action: &dyn Fn(&mut SimulatedHost) -> Result<()>,
) -> (Vec<u8>, Vec<Shown>) {
    let main = JournalSource::new(0, "disk.vhd", vec![]);
    let image = create(main.clone(), options).unwrap();
    let mut host = SimulatedHost::new(image, main.clone(), vec![]).unwrap();
    for number in 0..7 {
        host.write(number * 72_192, &[number as u8 + 1; 9 * 512]).unwrap();
    }
    host.flush().unwrap();
    let before = host.contents().unwrap();
    main.take_events();
    let initial = main.bytes();
    action(&mut host).unwrap();
    host.flush().unwrap();
    let events = main.events();
    let disks = crashes(&initial, &events, 1, 1000).map(|crash| {
        let main = JournalSource::new(0, "crashed.vhd", crash.bytes);
        let image = open(main.clone()).unwrap();
        let parent = image.disks().remove(0).parent;
        (parent, SimulatedHost::new(image, main, vec![]).unwrap().contents().unwrap())
    });
    (before, disks.collect())
}

#[test]
fn a_dynamic_disk_that_changes_its_size() {
    let mut options = CreateOptions::new(SIZE);
    options.settings = vec![("block_size".into(), "4096".into())];
    for size in [SIZE + 10 * 512, SIZE * 4, SIZE / 2 + 512] {
        let (before, disks) = crashes_of(&options, &|host| host.resize(size));
        let mut after = before.clone();
        after.resize(size as usize, 0);
        let grown = disks.iter().filter(|(_, disk)| *disk == after).count();
        let old = disks.iter().filter(|(_, disk)| *disk == before).count();
        assert!(grown > 0 && old > 0 && grown + old == disks.len(), "{size}: {grown}, {old}");
    }
}

#[test]
fn a_child_that_is_given_another_parent() {
    let parent_of = |name: &str| Parent {
        references: vec![name.into()],
        identities: vec![PARENT_ID.into()],
        format: Some("vhd".into()),
    };
    let mut options = CreateOptions::new(SIZE);
    options.settings = vec![("block_size".into(), "32768".into())];
    options.parent = Some(parent_of("base.vhd"));
    for other in [Some(parent_of("other.vhd")), None] {
        let action = |host: &mut SimulatedHost| host.disk().rebase(other.clone());
        let (before, disks) = crashes_of(&options, &action);
        assert!(disks.iter().all(|(_, disk)| *disk == before));
        let changed = disks.iter().filter(|(parent, _)| *parent == other).count();
        let kept = disks.iter().filter(|(parent, _)| *parent == options.parent).count();
        assert!(changed > 0 && kept > 0 && changed + kept == disks.len(), "{changed}, {kept}");
    }
}
