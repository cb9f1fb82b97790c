//! Chains of parents, whatever the format: deep ones open, and those that are broken say
//! what is missing, what was exchanged, or that they go round in a circle.

use std::fs;

use fumehood_tests::{Bench, Bounded};

/// Formats whose images QEMU makes on top of others.
const FORMATS: [&str; 3] = ["qcow2", "qed", "vmdk"];
const DEPTH: usize = 64;
const MEBIBYTE: usize = 1 << 20;

fn create(bench: &Bench, format: &str, name: &str, parent: Option<&str>) {
    let mut command = bench.peer("qemu-img", ["create", "-q", "-f", format]);
    match parent {
        Some(parent) => command.args(["-b", parent, "-F", format, name]),
        None => command.args([name, "8M"]),
    };
    command.succeed();
}

fn write(bench: &Bench, format: &str, name: &str, offset: usize, length: usize, pattern: usize) {
    let write = format!("write -P {pattern} {offset} {length}");
    bench.peer("qemu-io", ["-f", format, "-c", &write, name]).succeed();
}

/// A chain of three, `a` at the bottom.
fn three(bench: &Bench, format: &str) {
    create(bench, format, "a.img", None);
    write(bench, format, "a.img", 0, MEBIBYTE, 1);
    create(bench, format, "b.img", Some("a.img"));
    write(bench, format, "b.img", MEBIBYTE, MEBIBYTE, 2);
    create(bench, format, "c.img", Some("b.img"));
    write(bench, format, "c.img", MEBIBYTE / 2, MEBIBYTE, 3);
}

fn fails(bench: &Bench, format: &str, image: &str) -> String {
    let mut convert = bench.fumehood(["convert", image, "out.raw", "-O", "raw"]);
    let ended = convert.args(["--parent-format", format]).end_with(1);
    assert!(ended.stderr.starts_with(&format!("fumehood: {image}: ")), "{}", ended.stderr);
    assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
    ended.stderr
}

#[test]
fn sixty_four_images_are_one_disk() {
    for format in FORMATS {
        let bench = Bench::new();
        create(&bench, format, "0.img", None);
        for number in 0..DEPTH {
            let name = format!("{number}.img");
            if number > 0 {
                create(&bench, format, &name, Some(&format!("{}.img", number - 1)));
            }
            write(&bench, format, &name, number * 96 * 1024, 128 * 1024, number + 1);
        }
        let top = format!("{}.img", DEPTH - 1);
        // A QED records no format of its parent.
        let options = ["--parent-format", format];
        let info = bench.json(&["info", "--json", &top, options[0], options[1]]);
        let chain = info["disks"][0]["chain"].as_array().expect("a chain");
        assert_eq!(chain.len(), DEPTH, "{format}: {info}");
        assert_eq!(
            bench.converted(&[&top, options[0], options[1]]),
            bench.converted_by_qemu(&["-f", format, &top])
        );
    }
}

#[test]
fn a_missing_parent_is_named() {
    for format in FORMATS {
        let bench = Bench::new();
        three(&bench, format);
        assert_eq!(
            bench.converted(&["c.img", "--parent-format", format]),
            bench.converted_by_qemu(&["-f", format, "c.img"]),
            "{format}"
        );
        fs::remove_file(bench.path("a.img")).expect("our file");
        let error = fails(&bench, format, "c.img");
        assert!(error.contains("a.img"), "{format}: {error}");
        assert!(error.contains("b.img"), "{format}: it names the child: {error}");
    }
}

#[test]
fn a_circle_is_told() {
    for format in FORMATS {
        let bench = Bench::new();
        three(&bench, format);
        // The names are as long as each other.
        let bytes = bench.read("b.img");
        let at = bytes.windows(5).position(|part| part == b"a.img").expect("the parent's name");
        bench.change("b.img", at, |_| b'c');
        let error = fails(&bench, format, "c.img");
        assert!(error.contains("comes back to") || error.contains("identity"), "{format}: {error}");
    }
}

#[test]
fn an_exchanged_parent_is_told_with_both_identities() {
    let bench = Bench::new();
    three(&bench, "vmdk");
    let info = bench.json(&["info", "--json", "b.img"]);
    let recorded = info["disks"][0]["parent"]["identities"][0].as_str().expect("one").to_owned();
    // QEMU gives a VMDK another content id when it is written to.
    write(&bench, "vmdk", "a.img", 0, 4096, 9);
    let info = bench.json(&["info", "--json", "a.img"]);
    let found = info["disks"][0]["identity"].as_str().expect("one");
    assert_ne!(recorded, found);
    let error = fails(&bench, "vmdk", "c.img");
    for text in [&recorded, found, "a.img", "b.img"] {
        assert!(error.contains(text), "{error} does not name {text}");
    }
}

#[test]
fn parents_elsewhere_are_not_opened_unasked() {
    for format in FORMATS {
        let bench = Bench::new();
        fs::create_dir(bench.path("outside")).expect("our folder");
        fs::create_dir(bench.path("inside")).expect("our folder");
        create(&bench, format, "outside/a.img", None);
        write(&bench, format, "outside/a.img", 0, MEBIBYTE, 1);
        let mut command = bench.peer("qemu-img", ["create", "-q", "-f", format]);
        command.args(["-b", "../outside/a.img", "-F", format, "inside/b.img"]).succeed();
        let error = fails(&bench, format, "inside/b.img");
        assert!(error.contains("--allow"), "{format}: {error}");
        let allowed = ["inside/b.img", "--allow", "outside", "--parent-format", format];
        assert_eq!(
            bench.converted(&allowed),
            bench.converted_by_qemu(&["-f", format, "inside/b.img"]),
            "{format}"
        );
    }
}
