//! The core without an operating system: the example reads a disk with a plugin that is
//! interpreted, by plans that it carries out itself.

use std::fs::File;
use std::process::Command;

use fumehood_tests::child;
use fumehood_tests::peer::{embed_core, plugin};
use fumehood_tests::{Bench, Bounded};

/// Runs, holes and zeroes over data.
const WRITES: &[&str] = &[
    "write -s $noise 0 300k",
    "write -P 2 100k 5k",
    "write -z 120k 64k",
    "write -P 4 2500k 1536",
    "write -s $noise 3000k 1M",
    "discard 3200k 128k",
    "write -P 5 4194304 512",
];

#[test]
fn the_core_alone_reads_the_bytes_that_qemu_does() {
    let bench = Bench::new();
    let wasm = plugin("qcow2");
    bench
        .fumehood(["plugin", "compile", "--target", "pulley64"])
        .arg(wasm)
        .arg("qcow2.cwasm")
        .succeed();
    for options in ["cluster_size=64k", "cluster_size=4k", "extended_l2=on"] {
        // Neither a whole cluster at its end nor a whole step of the example's.
        bench.create_qcow2("disk.qcow2", options, "4195328");
        bench.qemu_io("disk.qcow2", WRITES);
        let out = File::create(bench.path("found.raw")).expect("our folder");
        let mut example = Command::new(embed_core());
        example.current_dir(bench.folder()).args(["qcow2.cwasm", "disk.qcow2"]).stdout(out);
        let ended = child::wait(&mut child::start(&mut example), child::LIMIT);
        assert!(ended.is_some_and(|status| status.success()), "{options}: {ended:?}");
        let expected = bench.converted_by_qemu(&["disk.qcow2"]);
        assert_eq!(bench.fingerprint("found.raw"), expected, "{options}");
    }
}
