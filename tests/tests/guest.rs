//! A Linux guest installs files into its overlay and is killed; it boots again, has
//! all that it synced, and a clean file system.

use std::process::Command;
use std::thread;
use std::time::Duration;

use fumehood::control;
use fumehood_tests::guest::{self, Guest, Sets};
use fumehood_tests::{Bench, Bounded};
use serde_json::{Value, json};

const IMAGE: &str = "guest.E01";
const OVERLAY: &str = "work.qcow2";
/// So many sets the guest keeps for certain; it removes older ones.
const KEPT: usize = 8;
/// An order for an overlay takes some twenty milliseconds.
const INTO_ORDER: Duration = Duration::from_millis(12);
/// How `qemu-img check` ends where nothing is wrong but leaks.
const LEAKS: i32 = 3;

#[test]
fn what_a_guest_has_synced_outlives_a_kill() {
    let bench = Bench::new();
    let segments = guest::make_image(&bench);
    assert!(segments.len() > 1, "{segments:?}");
    let evidence = || segments.iter().map(|name| bench.fingerprint(name)).collect::<Vec<_>>();
    let before = evidence();
    let mut synced = Sets::new();

    // Killed at work, with an overlay put on top of the first one meanwhile.
    let mut guest = Guest::boot(&bench, IMAGE, OVERLAY, "install");
    guest.await_synced(3);
    bench.fumehood(["overlay", "new", OVERLAY]).succeed();
    let frozen = bench.fingerprint("work.1.qcow2");
    guest.await_synced(4);
    guest.kill();
    assert!(guest.found().is_empty(), "{}", guest.said());
    synced.append(&mut guest.synced());
    expect_layers(&bench, &[OVERLAY, "work.1.qcow2", IMAGE]);
    expect_sound_layers(&bench, true);
    expect_recoverable(&bench);

    // Killed while one more is put on top, done or not.
    let mut guest = Guest::boot(&bench, IMAGE, OVERLAY, "install");
    guest.await_synced(4);
    let overlay = bench.path(OVERLAY);
    let order = thread::spawn(move || control::call(&overlay, "overlay.new", &Value::Null));
    thread::sleep(INTO_ORDER);
    guest.kill();
    let _ = order.join().expect("an answer or an error");
    expect_found(&guest, &synced);
    synced.append(&mut guest.synced());
    expect_recoverable(&bench);
    expect_sound_layers(&bench, true);
    give_back_leaks(&bench);

    let mut guest = Guest::boot(&bench, IMAGE, OVERLAY, "check");
    assert!(guest.ended().success(), "{}", guest.said());
    expect_found(&guest, &synced);
    assert!(guest.said().contains("fumehood-guest: the root is clean"), "{}", guest.said());
    flatten(&bench);
    bench.peer("e2fsck", ["-f", "-n", "root.ext4"]).succeed();
    expect_sound_layers(&bench, false);
    assert_eq!(bench.fingerprint("work.1.qcow2"), frozen, "a frozen layer is as it was");
    assert_eq!(evidence(), before, "the evidence is as it was");
}

/// The guest has replayed its journal, and has all of the sets that it was to keep.
fn expect_found(guest: &Guest, synced: &Sets) {
    let (found, said) = (guest.found(), guest.said());
    assert!(said.contains("recovery complete"), "{said}");
    assert!(said.contains("fumehood-guest: the payload is right"), "{said}");
    for (set, sum) in synced.iter().rev().take(KEPT) {
        assert_eq!(found.get(set), Some(sum), "set {set}: {said}");
    }
}

/// After a kill: all that the file system needs is in its journal.
fn expect_recoverable(bench: &Bench) {
    flatten(bench);
    let features = bench.peer("dumpe2fs", ["-h", "root.ext4"]).succeed().stdout;
    assert!(features.contains("needs_recovery"), "{features}");
    let replayed = bench.peer("e2fsck", ["-f", "-p", "root.ext4"]).finish();
    assert!(matches!(replayed.code, Some(0 | 1)), "{}{}", replayed.stdout, replayed.stderr);
    bench.peer("e2fsck", ["-f", "-n", "root.ext4"]).succeed();
}

/// Writes the file system that the overlay shows to `root.ext4`.
fn flatten(bench: &Bench) {
    let flatten = ["overlay", "flatten", OVERLAY, "flat.raw", "-O", "raw", "--force"];
    bench.fumehood(flatten).succeed();
    guest::cut_root(bench, "flat.raw", "root.ext4");
}

fn expect_layers(bench: &Bench, expected: &[&str]) {
    let listed = bench.json(&["overlay", "list", OVERLAY, "--json"]);
    let layers = listed["layers"].as_array().expect("layers");
    let names = layers.iter().map(|layer| layer["path"].as_str()?.rsplit('/').next());
    let names: Vec<_> = names.map(|name| name.expect("a path")).collect();
    assert_eq!(names, expected);
}

/// qemu-img finds nothing wrong with any layer; after a kill, room may have leaked.
fn expect_sound_layers(bench: &Bench, after_kill: bool) {
    for name in overlays(bench) {
        let outcome = qemu_img_check(bench, &name, &[]).finish();
        let is_sound = outcome.code == Some(0) || (after_kill && outcome.code == Some(LEAKS));
        assert!(is_sound, "{name}: {}{}", outcome.stdout, outcome.stderr);
    }
}

/// As an operator would, with QEMU's own tool, where there are leaks.
fn give_back_leaks(bench: &Bench) {
    for name in overlays(bench) {
        if qemu_img_check(bench, &name, &[]).finish().code == Some(LEAKS) {
            qemu_img_check(bench, &name, &["-r", "leaks"]).succeed();
        }
    }
}

fn overlays(bench: &Bench) -> Vec<String> {
    bench.names().into_iter().filter(|name| name.ends_with(".qcow2")).collect()
}

/// Checks an overlay by itself: QEMU does not know the format at the chain's end.
fn qemu_img_check(bench: &Bench, name: &str, options: &[&str]) -> Command {
    let file = json!({"driver": "file", "filename": name});
    let image = json!({"driver": "qcow2", "backing": null, "file": file});
    let mut check = bench.peer("qemu-img", ["check", "-q"]);
    check.args(options).arg(format!("json:{image}"));
    check
}
