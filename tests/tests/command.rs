//! The command line: errors that help, exit codes, and files left as they should be.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::process::Stdio;
use std::time::Duration;

use fumehood_tests::child::{self, await_that};
use fumehood_tests::{Bench, Bounded, content};
use rustix::process::{Pid, Signal, kill_process};

const MEBIBYTE: usize = 1 << 20;

#[test]
fn what_fails_ends_with_1_and_names_the_image() {
    let bench = Bench::new();
    bench.create_qcow2("disk.qcow2", "cluster_size=64k", "1M");
    bench.write("empty", b"");
    let failures = [
        ("missing", "No such file"),
        (".", "is a folder, and holds no file by which an image is opened"),
        ("/dev/null", "neither a regular file nor a block device"),
        ("empty", "no plugin recognises"),
    ];
    for command in ["info", "map", "check"] {
        for (image, why) in failures {
            let outcome = bench.fumehood([command, image]).end_with(1);
            let begin = format!("fumehood: {image}: ");
            assert!(outcome.stderr.starts_with(&begin), "{command}: {}", outcome.stderr);
            assert!(outcome.stderr.contains(why), "{command}: {}", outcome.stderr);
            assert_eq!(outcome.stderr.lines().count(), 1, "{command}: {}", outcome.stderr);
            assert_eq!(outcome.stdout, "", "{command}");
        }
    }
    let outcome = bench.fumehood(["map", "--disk", "3", "disk.qcow2"]).end_with(1);
    assert!(outcome.stderr.contains("no disk 3"), "{}", outcome.stderr);
}

#[test]
fn what_is_misused_ends_with_2() {
    let bench = Bench::new();
    let misuses: [&[&str]; 6] = [
        &[],
        &["map"],
        &["explode", "disk"],
        &["map", "--no-such-option", "disk"],
        &["serve", "disk", "--nbd", "gopher:x"],
        &["info", "disk", "--option", "without-value"],
    ];
    for arguments in misuses {
        let outcome = bench.fumehood(arguments).end_with(2);
        assert_ne!(outcome.stderr, "", "{arguments:?}");
    }
    assert!(bench.fumehood(["--version"]).succeed().stdout.starts_with("fumehood "));
    assert!(bench.fumehood(["--help"]).succeed().stdout.contains("Usage:"));
}

#[test]
fn a_raw_disk_is_never_guessed() {
    let bench = Bench::new();
    bench.write("disk", &content::sample(MEBIBYTE));
    let outcome = bench.fumehood(["info", "disk"]).end_with(1);
    assert!(outcome.stderr.contains("--format raw"), "{}", outcome.stderr);
    bench.fumehood(["probe", "disk"]).end_with(1);
    assert_eq!(bench.converted(&["--format", "raw", "disk"]), bench.fingerprint("disk"));
}

#[test]
fn an_unknown_format_is_answered_with_the_known_ones() {
    let bench = Bench::new();
    bench.create_qcow2("disk.qcow2", "cluster_size=64k", "1M");
    let outcome = bench.fumehood(["info", "-f", "qcow9", "disk.qcow2"]).end_with(1);
    for word in ["qcow9", "qcow2", "ewf", "raw"] {
        assert!(outcome.stderr.contains(word), "{}", outcome.stderr);
    }
    let outcome = bench.fumehood(["convert", "disk.qcow2", "out", "-O", "qcow9"]).end_with(1);
    assert!(outcome.stderr.contains("qcow9"), "{}", outcome.stderr);
    let outcome = bench.fumehood(["info", "-f", "ewf", "disk.qcow2"]).end_with(1);
    assert!(outcome.stderr.starts_with("fumehood: disk.qcow2: "), "{}", outcome.stderr);
}

#[test]
fn convert_replaces_a_file_only_if_told_to() {
    let bench = Bench::new();
    bench.write("disk.raw", &content::sample(MEBIBYTE));
    bench.write("out", b"precious");
    let convert = ["convert", "-f", "raw", "-O", "raw"];
    let with = |rest: &[&str]| bench.fumehood([&convert[..], rest].concat());
    let outcome = with(&["disk.raw", "out"]).end_with(1);
    assert!(outcome.stderr.contains("--force"), "{}", outcome.stderr);
    assert_eq!(bench.read("out"), b"precious");
    with(&["--force", "disk.raw", "out"]).succeed();
    assert_eq!(bench.fingerprint("out"), bench.fingerprint("disk.raw"));
    let before = bench.fingerprint("disk.raw");
    with(&["--force", "disk.raw", "disk.raw"]).end_with(1);
    assert_eq!(bench.fingerprint("disk.raw"), before, "the image itself is not replaced");
    with(&["--force", "disk.raw", "."]).end_with(1);
    with(&["disk.raw", "no/such/folder"]).end_with(1);
    assert_eq!(bench.names(), ["disk.raw", "out"]);
}

#[test]
fn an_interrupted_conversion_leaves_nothing() {
    let bench = Bench::new();
    // Far more than can be copied before the signal comes.
    bench.create_qcow2("base.qcow2", "cluster_size=2M", "100M");
    bench.qemu_io("base.qcow2", &["write -s $noise 0 100M"]);
    let head = ["convert", "-c", "-f", "qcow2", "-O", "qcow2", "-o", "cluster_size=4k"];
    bench.peer("qemu-img", [&head[..], &["base.qcow2", "disk.qcow2"]].concat()).succeed();
    let before = bench.names();
    for signal in [Signal::INT, Signal::TERM] {
        let mut command = bench.fumehood(["convert", "-O", "raw", "disk.qcow2", "out.raw"]);
        let mut child = child::start(command.stderr(Stdio::null()));
        await_that("the conversion begins", Duration::from_secs(20), || bench.names() != before);
        kill_process(Pid::from_child(&child), signal).expect("the child is ours");
        let status = child::wait(&mut child, Duration::from_secs(20)).expect("it ends");
        assert_eq!(status.code(), Some(1), "{signal:?}");
        assert_eq!(bench.names(), before, "{signal:?}");
    }
}

#[test]
fn zeroes_take_no_space() {
    let bench = Bench::new();
    bench.create_qcow2("disk.qcow2", "cluster_size=64k", "64M");
    let writes = ["write -s $noise 3M 300k", "write -P 0 20M 4M", "write -z 40M 1M"];
    bench.qemu_io("disk.qcow2", &writes);
    bench.fumehood(["convert", "-O", "raw", "disk.qcow2", "out.raw"]).succeed();
    let metadata = fs::metadata(bench.path("out.raw")).expect("just made");
    assert_eq!(metadata.len(), 64 << 20);
    let allocated = metadata.blocks() * 512;
    assert!(allocated <= 320 << 10, "300 KiB of data take {allocated} bytes");
}

#[test]
fn a_new_file_has_the_rights_that_the_umask_leaves() {
    let bench = Bench::new();
    bench.write("disk.raw", &content::sample(MEBIBYTE));
    let line = "umask 027; exec \"$0\" convert -f raw -O raw disk.raw out.raw";
    let mut command = bench.peer("sh", ["-c", line]);
    command.env("XDG_CACHE_HOME", fumehood_tests::peer::cache());
    command.arg(fumehood_tests::peer::binary()).succeed();
    let mode = fs::metadata(bench.path("out.raw")).expect("just made").mode();
    assert_eq!(mode & 0o777, 0o640);
}

#[test]
fn names_cannot_steer_a_terminal() {
    let bench = Bench::new();
    let name = "evil\u{1b}]0;title\u{7}\u{1b}[31m\u{9b}5m.qcow2";
    let clean = |text: &str| !text.chars().any(|c| c.is_control() && c != '\n');
    let outcome = bench.fumehood(["info", name]).end_with(1);
    assert!(clean(&outcome.stderr), "{:?}", outcome.stderr);

    bench.create_qcow2(name, "cluster_size=64k", "1M");
    bench.peer("qemu-img", ["snapshot", "-c", "\u{1b}[2Jsnap", name]).succeed();
    for arguments in [&["info"][..], &["map"], &["check"], &["info", "--json"]] {
        let outcome = bench.fumehood([arguments, &[name]].concat()).succeed();
        assert!(clean(&outcome.stdout), "{arguments:?}: {:?}", outcome.stdout);
        assert!(clean(&outcome.stderr), "{arguments:?}: {:?}", outcome.stderr);
    }

    let parent = ["create", "-q", "-u", "-f", "qcow2", "-F", "qcow2", "-b", name];
    bench.peer("qemu-img", [&parent[..], &["child.qcow2", "1M"]].concat()).succeed();
    fs::remove_file(bench.path(name)).expect("just made");
    for arguments in [&["info"][..], &["map"]] {
        let outcome = bench.fumehood([arguments, &["child.qcow2"]].concat()).finish();
        assert!(clean(&outcome.stdout), "{arguments:?}: {:?}", outcome.stdout);
        assert!(clean(&outcome.stderr), "{arguments:?}: {:?}", outcome.stderr);
    }
}

#[test]
fn a_split_raw_set_is_one_disk() {
    let bench = Bench::new();
    let bytes = content::sample(3 * MEBIBYTE + 512);
    bench.write("whole.raw", &bytes);
    for (number, part) in bytes.chunks(MEBIBYTE).enumerate() {
        bench.write(&format!("disk.{:03}", number + 1), part);
    }
    assert_eq!(bench.converted(&["-f", "raw", "disk.001"]), bench.fingerprint("whole.raw"));
    let reads = ["disk.000", "disk.002"];
    for name in reads {
        let found = bench.fumehood(["info", "--json", "-f", "raw", name]).finish();
        assert!(!found.stdout.contains("3146240"), "{name} is not the first part");
    }
}

#[test]
fn probe_says_which_plugin_is_certain() {
    let bench = Bench::new();
    bench.create_qcow2("disk.qcow2", "cluster_size=64k", "1M");
    bench.write("disk.raw", &content::sample(MEBIBYTE));
    bench.acquire("disk.raw", "disk", &[]);
    for (image, format) in [("disk.qcow2", "qcow2"), ("disk.E01", "ewf")] {
        let answers = bench.json(&["probe", "--json", image]);
        let certain = answers.as_array().expect("a list").iter();
        let certain: Vec<_> = certain.filter(|one| one["confidence"] == "certain").collect();
        assert_eq!(certain.len(), 1, "{answers}");
        assert_eq!(certain[0]["format"], format);
    }
}

#[test]
fn first_party_plugins_are_listed() {
    let bench = Bench::new();
    let list = bench.json(&["plugin", "list", "--json"]);
    let names: Vec<_> = list.as_array().expect("a list").iter().map(|one| &one["name"]).collect();
    for format in ["qcow2", "ewf", "raw"] {
        assert!(names.iter().any(|name| *name == format), "{list}");
    }
}
