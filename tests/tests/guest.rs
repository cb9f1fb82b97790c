//! A Linux guest installs files into its overlay and is killed; it boots again, has
//! all that it synced, and a clean file system.

use std::thread;
use std::time::Duration;

use fumehood::control;
use fumehood_tests::guest::{self, Guest, Sets};
use fumehood_tests::{Bench, Bounded};
use serde_json::Value;

const IMAGE: &str = "guest.E01";
const OVERLAY: &str = "work.qcow2";
/// So many sets the guest keeps for certain; it removes older ones.
const KEPT: usize = 8;

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
    expect_recoverable(&bench);

    // Killed while one more is put on top, done or not.
    let mut guest = Guest::boot(&bench, IMAGE, OVERLAY, "install");
    guest.await_synced(4);
    let overlay = bench.path(OVERLAY);
    let order = thread::spawn(move || control::call(&overlay, "overlay.new", &Value::Null));
    thread::sleep(Duration::from_millis(4));
    guest.kill();
    let _ = order.join().expect("an answer or an error");
    expect_found(&guest, &synced);
    synced.append(&mut guest.synced());
    expect_recoverable(&bench);

    let mut guest = Guest::boot(&bench, IMAGE, OVERLAY, "check");
    assert!(guest.ended().success(), "{}", guest.said());
    expect_found(&guest, &synced);
    assert!(guest.said().contains("fumehood-guest: the root is clean"), "{}", guest.said());
    flatten(&bench);
    bench.peer("e2fsck", ["-f", "-n", "root.ext4"]).succeed();
    check_layers(&bench, &[0]);
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

/// After a kill: the layers are whole but for room that leaked, and all that the file
/// system needs is in its journal.
fn expect_recoverable(bench: &Bench) {
    check_layers(bench, &[0, 3]);
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

/// qemu-img checks each overlay by itself, for it knows no format like its parent's.
fn check_layers(bench: &Bench, accepted: &[i32]) {
    let overlays = bench.names().into_iter().filter(|name| name.ends_with(".qcow2"));
    for name in overlays {
        let file = serde_json::json!({"driver": "file", "filename": name});
        let image = serde_json::json!({"driver": "qcow2", "backing": null, "file": file});
        let outcome = bench.peer("qemu-img", ["check", &format!("json:{image}")]).finish();
        let said = outcome.stdout + &outcome.stderr;
        assert!(outcome.code.is_some_and(|code| accepted.contains(&code)), "{name}: {said}");
    }
}
