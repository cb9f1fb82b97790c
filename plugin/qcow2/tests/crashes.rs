//! Writes, zeroes and flushes with a crash at every point: what was flushed is there,
//! and QEMU finds at most clusters that are counted and not used.

mod support;

use std::cell::Cell;
use std::rc::Rc;

use fumehood_plugin::memory::MemoryHost;
use fumehood_plugin::simulate::{CrashReplay, JournalSource, crash_replay};
use fumehood_plugin::{Access, CreateOptions, Format, Image, OpenOptions, Parent, Result};
use fumehood_qcow2::Qcow2;
use support::bench::{Bench, Verdict};

fn open(source: JournalSource) -> Result<Box<dyn Image>> {
    let options = OpenOptions { access: Access::ReadWrite, ..OpenOptions::read_only() };
    Qcow2::open(Rc::new(source), Rc::new(MemoryHost::new()), options)
}

/// Replays a workload on images created with `settings`.
fn replay(name: &str, settings: &str, disk_size: u64, with_parent: bool) {
    let bench = Bench::new(name);
    let settings: Vec<(String, String)> = settings
        .split(',')
        .filter_map(|setting| setting.split_once('='))
        .map(|(name, value)| (name.into(), value.into()))
        .collect();
    let parent = with_parent.then(|| Parent {
        references: vec!["parent.raw".into()],
        identities: vec!["content 1".into()],
        format: Some("raw".into()),
    });
    let parent_bytes: Vec<u8> = match with_parent {
        true => (0..disk_size / 2).map(|at| (at / 512 % 251) as u8 + 1).collect(),
        false => vec![],
    };
    std::fs::write(bench.path("parent.raw"), &parent_bytes).unwrap();
    let rounds: u64 = std::env::var("QCOW2_CRASH_ROUNDS")
        .ok()
        .and_then(|rounds| rounds.parse().ok())
        .unwrap_or(2);
    let leaked = Cell::new(0);
    for seed in 1..=rounds {
        let create = |source: JournalSource| {
            let options = CreateOptions {
                settings: settings.clone(),
                parent: parent.clone(),
                ..CreateOptions::new(disk_size)
            };
            Qcow2::create(Rc::new(source), Rc::new(MemoryHost::new()), options)
        };
        let judged = Cell::new(0);
        let judge = |bytes: &[u8]| {
            std::fs::write(bench.path("crashed.qcow2"), bytes).unwrap();
            let verdict = bench.check("crashed.qcow2");
            match verdict {
                Verdict::Sound => {}
                // The first one judged was closed.
                Verdict::Leaks(_) if judged.get() > 0 => leaked.set(leaked.get() + 1),
                other => panic!("{name}: seed {seed}, judged {}: {other:?}", judged.get()),
            }
            judged.set(judged.get() + 1);
        };
        let options = CrashReplay {
            seed,
            operations: 40,
            parent: parent_bytes.clone(),
            disk_size,
            crashes: 60,
        };
        crash_replay(options, &create, &open, &judge);
        assert!(judged.get() > 2, "{name}: only {} were judged", judged.get());
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
