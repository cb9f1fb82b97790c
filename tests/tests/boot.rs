//! A machine boots from an evidence file, of which nobody has made a copy.

use std::fs;
use std::process::Command;
use std::time::Duration;

use fumehood_tests::peer::root;
use fumehood_tests::{Bench, Bounded, content, fumehood};

/// Emulated, without KVM, a boot takes a minute or two.
const LIMIT: Duration = Duration::from_secs(300);

#[test]
fn a_guest_boots_from_evidence_and_reads_it_right() {
    let mut make = Command::new(root().join("examples/boot/run"));
    let outcome = make.arg("--image-only").finish_within(LIMIT);
    assert_eq!(outcome.code, Some(0), "{}{}", outcome.stdout, outcome.stderr);

    let work = root().join("target/boot-example");
    let image = work.join("guest.E01");
    let before = content::fingerprint(&image);
    let payload = fs::read_to_string(work.join("payload.sha256")).expect("made with the image");
    let payload = payload.split_whitespace().next().expect("a hash");

    let bench = Bench::new();
    let mut boot = fumehood();
    boot.current_dir(bench.folder()).arg("boot").arg(&image);
    let outcome = boot.finish_within(LIMIT);
    let said = outcome.stdout + &outcome.stderr;
    assert_eq!(outcome.code, Some(0), "{said}");
    assert!(said.contains(&format!("fumehood-guest: payload {payload}")), "{said}");
    assert!(said.contains("FUMEHOOD-BOOT-OK"), "{said}");
    assert_eq!(content::fingerprint(&image), before, "the evidence is as it was");
}
