//! Writes, zeroes and flushes with a crash at every point: what was flushed is there,
//! and QEMU finds at most clusters that are counted and not used.

mod support;

use std::cell::Cell;
use std::rc::Rc;

use fumehood_plugin::simulate::{CrashReplay, JournalSource, SimulatedHost, crash_replay, crashes};
use fumehood_plugin::{Content, CreateOptions, Image, Parent, Result, Source};
use support::bench::{Bench, Verdict};
use support::writer::{open_host, options};

/// How many workloads are tried; `QCOW2_CRASH_ROUNDS` sets it.
fn rounds() -> u64 {
    let rounds = std::env::var("QCOW2_CRASH_ROUNDS").ok();
    rounds.and_then(|rounds| rounds.parse().ok()).unwrap_or(2)
}

/// Replays workloads on images created with `settings`.
fn replay(name: &str, settings: &str, disk_size: u64, with_parent: bool) {
    let bench = Bench::new(name);
    let parent = with_parent.then(|| Parent {
        references: vec!["parent.raw".into()],
        identities: vec!["content 1".into()],
        format: Some("raw".into()),
    });
    let bytes: Vec<u8> = match with_parent {
        true => (0..disk_size / 2).map(|at| (at / 512 % 251) as u8 + 1).collect(),
        false => vec![],
    };
    std::fs::write(bench.path("parent.raw"), &bytes).unwrap();
    let create = |source: JournalSource| {
        let options = CreateOptions { parent: parent.clone(), ..options(disk_size, settings) };
        support::writer::create(Rc::new(source), options)
    };
    replay_on(&bench, name, (disk_size, bytes), &create);
}

/// Replays workloads on what `create` makes; `bytes` show where it has nothing.
fn replay_on(
    bench: &Bench,
    name: &str,
    (disk_size, bytes): (u64, Vec<u8>),
    create: &dyn Fn(JournalSource) -> Result<Box<dyn Image>>,
) {
    for seed in 1..=rounds() {
        let judged = Cell::new(0);
        let judge = |bytes: &[u8]| {
            std::fs::write(bench.path("crashed.qcow2"), bytes).unwrap();
            match bench.check("crashed.qcow2") {
                Verdict::Sound => {}
                // The first one judged was closed.
                Verdict::Leaks(_) if judged.get() > 0 => {}
                other => panic!("{name}: seed {seed}, judged {}: {other:?}", judged.get()),
            }
            judged.set(judged.get() + 1);
        };
        let parent = bytes.clone();
        let options = CrashReplay { seed, operations: 40, parent, disk_size, crashes: 60 };
        let open = |source: JournalSource| support::writer::open_source(Rc::new(source));
        crash_replay(options, create, &open, &judge);
        assert!(judged.get() > 2, "{name}: only {} were judged", judged.get());
    }
}

/// Images that QEMU made, with a snapshot that shares what they hold.
#[test]
fn snapshots() {
    let formats = [
        "cluster_size=512",
        "cluster_size=64k",
        "cluster_size=4k,compat=0.10",
        "cluster_size=16k,extended_l2=on",
    ];
    for format in formats {
        let bench = Bench::new("crash-snapshots");
        std::fs::write(bench.path("zeroes.raw"), vec![0; 2 << 20]).unwrap();
        let backing = ["-b", "zeroes.raw", "-F", "raw", "disk.qcow2", "2M"];
        let arguments = [&["create", "-q", "-f", "qcow2", "-o", format], &backing[..]].concat();
        bench.run("qemu-img", &arguments);
        bench.write("disk.qcow2", &["write -P 1 0 600k", "write -P 2 900k 800k"]);
        bench.run("qemu-img", &["snapshot", "-c", "before", "disk.qcow2"]);
        bench.write("disk.qcow2", &["write -P 3 300k 400k", "write -z 1M 100k"]);
        let bytes = bench.bytes("disk.qcow2");
        let create = |source: JournalSource| {
            source.write(0, &bytes)?;
            support::writer::open_source(Rc::new(source))
        };
        replay_on(&bench, format, (2 << 20, bench.raw("disk.qcow2")), &create);
        // What was judged last was written to, and crashed.
        let filter = ["-l", "snapshot.name=before", "-O", "raw"];
        let arguments = [&["convert"], &filter[..], &["crashed.qcow2", "snapshot.raw"]].concat();
        bench.run("qemu-img", &arguments);
        let snapshot = bench.bytes("snapshot.raw");
        let expected = |at: usize| match at >> 10 {
            0..600 => 1,
            900..1700 => 2,
            _ => 0,
        };
        assert!(snapshot.iter().enumerate().all(|(at, byte)| *byte == expected(at)), "{format}");
    }
}

#[test]
fn small_clusters() {
    replay("crash-512", "cluster_size=512", 300 << 10, false);
    replay("crash-512-parent", "cluster_size=512,refcount_bits=64", 300 << 10, true);
}

#[test]
fn ordinary_clusters() {
    replay("crash-4k", "cluster_size=4k,refcount_bits=1", (2 << 20) + 1536, false);
    replay("crash-64k", "", 8 << 20, false);
    replay("crash-64k-parent", "", 8 << 20, true);
}

#[test]
fn large_clusters() {
    replay("crash-2m", "cluster_size=2M", 12 << 20, true);
}

#[test]
fn subclusters() {
    replay("crash-16k-sub", "cluster_size=16k,extended_l2=on", (2 << 20) + 512, false);
    replay("crash-16k-sub-parent", "cluster_size=16k,extended_l2=on", (2 << 20) + 512, true);
    replay("crash-128k-sub", "cluster_size=128k,extended_l2=on", 4 << 20, true);
    replay("crash-2m-sub", "cluster_size=2M,extended_l2=on", 12 << 20, true);
}

#[test]
fn version_2() {
    replay("crash-v2", "cluster_size=4k,compat=0.10", 2 << 20, false);
    replay("crash-v2-parent", "cluster_size=4k,compat=0.10", 2 << 20, true);
}

/// A short workload that frees clusters and takes them again, every crash of which is
/// judged.
#[test]
fn storage_given_back() {
    let bench = Bench::new("crash-drop");
    for settings in ["cluster_size=512", "", "extended_l2=on", "compat=0.10"] {
        let source =
            JournalSource::new(0, "disk", support::writer::created(options(2 << 20, settings)));
        let image = support::writer::open_source(Rc::new(source.clone())).unwrap();
        let mut host = SimulatedHost::new(image, source.clone(), vec![]).unwrap();
        host.write(0, &[1; 256 << 10]).unwrap();
        host.flush().unwrap();
        source.take_events();
        let initial = source.bytes();
        host.zero(0, 128 << 10, true).unwrap();
        host.flush().unwrap();
        host.write(1 << 20, &[2; 128 << 10]).unwrap();
        host.flush().unwrap();
        host.close().unwrap();
        let events = source.take_events();
        for crash in crashes(&initial, &events, 1, 300) {
            std::fs::write(bench.path("crashed.qcow2"), &crash.bytes).unwrap();
            if let Verdict::Wrong(what) = bench.check("crashed.qcow2") {
                panic!("{settings}: {what}");
            }
            let (mut host, _) = open_host(crash.bytes, &[]);
            let disk = host.contents().unwrap();
            let only = |range: std::ops::Range<usize>, allowed: [u8; 2]| {
                disk[range].iter().all(|byte| allowed.contains(byte))
            };
            assert!(only(0..128 << 10, [0, 1]), "{settings}: what was given back");
            assert!(only(128 << 10..256 << 10, [1, 1]), "{settings}: what was kept");
            assert!(only(1 << 20..9 << 17, [0, 2]), "{settings}: what came after");
        }
    }
}

/// The refcount table and the L1 table move to where they have more room; every crash
/// of that is judged.
#[test]
fn tables_that_move() {
    let bench = Bench::new("crash-move");
    let small = options(3 << 20, "cluster_size=512,refcount_bits=64");
    let source = JournalSource::new(0, "disk", support::writer::created(small));
    let image = support::writer::open_source(Rc::new(source.clone())).unwrap();
    let mut disk = image.disk(0).unwrap();
    let mut fill = |from: u64, to: u64| {
        for at in (from..to).step_by(256 << 10) {
            let placements = disk.place(at, 256 << 10).unwrap();
            let rooms: Vec<_> = placements.iter().map(|room| (room.offset, room.length)).collect();
            source.flush().unwrap();
            disk.commit(&rooms).unwrap();
        }
        disk.flush().unwrap();
    };
    fill(0, 3 << 19);
    source.take_events();
    let initial = source.bytes();
    fill(3 << 19, 9 << 18);
    image.disk(0).unwrap().resize(6 << 20).unwrap();
    fill(5 << 20, 21 << 18);
    image.close().unwrap();
    let before = initial[40..60].to_vec();
    assert_ne!(source.bytes()[40..48], before[..8], "the L1 table moved");
    assert_ne!(source.bytes()[48..60], before[8..], "the refcount table moved");
    for crash in crashes(&initial, &source.take_events(), 1, 3000) {
        std::fs::write(bench.path("crashed.qcow2"), &crash.bytes).unwrap();
        if let Verdict::Wrong(what) = bench.check("crashed.qcow2") {
            panic!("{what}");
        }
        let (mut host, _) = open_host(crash.bytes, &[]);
        assert!([3 << 20, 6 << 20].contains(&host.size()));
        let extents = host.disk().extents(0, 3 << 19).unwrap();
        assert!(extents.iter().all(|extent| matches!(extent.content, Content::Stored(_))));
    }
}

/// Clusters that a snapshot shares are left to it; every crash of that is judged.
#[test]
fn clusters_left_to_a_snapshot() {
    let bench = Bench::new("crash-shared");
    for format in ["cluster_size=64k", "cluster_size=64k,extended_l2=on"] {
        let arguments = ["create", "-q", "-f", "qcow2", "-o", format, "disk.qcow2", "2M"];
        bench.run("qemu-img", &arguments);
        bench.write("disk.qcow2", &["write -P 1 0 600k"]);
        bench.run("qemu-img", &["snapshot", "-c", "before", "disk.qcow2"]);
        let initial = bench.bytes("disk.qcow2");
        let (mut host, source) = open_host(initial.clone(), &[]);
        host.write(0, &[2; 200 << 10]).unwrap();
        host.flush().unwrap();
        host.zero(300 << 10, 200 << 10, true).unwrap();
        host.flush().unwrap();
        host.close().unwrap();
        for crash in crashes(&initial, &source.take_events(), 1, 400) {
            std::fs::write(bench.path("crashed.qcow2"), &crash.bytes).unwrap();
            if let Verdict::Wrong(what) = bench.check("crashed.qcow2") {
                panic!("{format}: {what}");
            }
        }
    }
}
