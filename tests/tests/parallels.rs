//! Parallels disks: single images as QEMU makes and reads them, and bundles put
//! together of such images.

use fumehood_tests::{Bench, Bounded, Server, map};

const SIZE: &str = "9438720";
const OLD: &str = "{11111111-2222-3333-4444-555555555555}";
const TOP: &str = "{5fbaabe3-6958-40ff-92a7-860e329aab41}";
const NONE: &str = "{00000000-0000-0000-0000-000000000000}";

/// Runs and holes, and an end that is not a cluster's.
const WRITES: &[&str] =
    &["write -P 1 0 300k", "write -P 2 700k 9k", "write -P 3 4097k 2M", "write -P 5 9438208 512"];

fn qemu_io(bench: &Bench, format: &str, name: &str, commands: &[&str]) {
    let mut command = bench.peer("qemu-io", ["-f", format]);
    commands.iter().for_each(|line| {
        command.args(["-c", line]);
    });
    let outcome = command.arg(name).succeed();
    assert!(!outcome.stdout.contains("failed"), "{}", outcome.stdout);
}

fn create(bench: &Bench, name: &str, cluster: &str, size: &str, writes: &[&str]) {
    let options = format!("cluster_size={cluster}");
    bench
        .peer("qemu-img", ["create", "-q", "-f", "parallels", "-o", &options, name, size])
        .succeed();
    qemu_io(bench, "parallels", name, writes);
}

/// What qemu-img reads from an image; left in `expected.raw`.
fn by_qemu(bench: &Bench, name: &str) -> (u64, String) {
    let arguments = ["convert", "-f", "parallels", "-O", "raw", name, "expected.raw"];
    bench.peer("qemu-img", arguments).succeed();
    bench.fingerprint("expected.raw")
}

#[test]
fn single_images_read_as_with_qemu() {
    let bench = Bench::new();
    for cluster in ["4k", "64k", "1M"] {
        let name = format!("{cluster}.hds");
        create(&bench, &name, cluster, SIZE, WRITES);
        assert_eq!(bench.converted(&[&name]), by_qemu(&bench, &name), "{name}");
        let arguments = ["map", "--output=json", "-f", "parallels", &name];
        let expected = map::runs(&bench.peer("qemu-img", arguments).succeed().stdout);
        let found = map::runs(&bench.fumehood(["map", "--json", &name]).succeed().stdout);
        map::compare(&name, &found, &expected);
        let outcome = bench.fumehood(["check", &name]).succeed();
        assert!(outcome.stdout.contains("sound"), "{}", outcome.stdout);
    }
}

#[test]
fn a_single_image_is_served() {
    let bench = Bench::new();
    create(&bench, "disk.hds", "64k", SIZE, WRITES);
    let expected = by_qemu(&bench, "disk.hds");
    let server = Server::unix(&bench, &["disk.hds"]);
    bench.peer("nbdcopy", [server.uri(), "found.raw"]).succeed();
    assert_eq!(bench.fingerprint("found.raw"), expected);
}

/// An element for each storage: its range in sectors, and its images by state and name.
fn storage(range: (u64, u64), block: u64, images: &[(&str, &str, &str)]) -> String {
    let images: String = images
        .iter()
        .map(|(guid, kind, file)| {
            format!("<Image><GUID>{guid}</GUID><Type>{kind}</Type><File>{file}</File></Image>")
        })
        .collect();
    let (start, end) = range;
    format!(
        "<Storage><Start>{start}</Start><End>{end}</End><Blocksize>{block}</Blocksize>{images}\
         </Storage>"
    )
}

fn descriptor(sectors: u64, storages: &str) -> String {
    format!(
        "<?xml version='1.0' encoding='UTF-8'?><Parallels_disk_image Version='1.0'>\
         <Disk_Parameters><Disk_size>{sectors}</Disk_size><Padding>0</Padding>\
         <Name>a disk</Name></Disk_Parameters><StorageData>{storages}</StorageData>\
         <Snapshots><Shot><GUID>{OLD}</GUID><ParentGUID>{NONE}</ParentGUID></Shot>\
         <Shot><GUID>{TOP}</GUID><ParentGUID>{OLD}</ParentGUID></Shot></Snapshots>\
         </Parallels_disk_image>"
    )
}

/// A bundle in the folder `disk.hdd`: an expanding storage of 9 MiB and a half with two
/// states, and a plain one of 1 MiB. Beside it both states as raw disks.
fn bundle() -> Bench {
    let bench = Bench::new();
    std::fs::create_dir(bench.path("disk.hdd")).expect("our folder");
    let size = "9728k";
    create(&bench, "disk.hdd/old.hds", "64k", size, WRITES);
    // Whole clusters, for what else one holds would come from the older image.
    let whole = ["write -P 7 192k 256k", "write -P 8 5M 1M"];
    create(&bench, "disk.hdd/top.hds", "64k", size, &whole);
    create(&bench, "disk.hdd/rest.hds", "64k", "1M", &["write -P 9 512k 128k"]);
    bench.write("disk.hdd/plain.hds", &vec![6; 1 << 20]);
    let first = [(OLD, "Compressed", "old.hds"), (TOP, "Compressed", "top.hds")];
    let second = [(OLD, "Plain", "plain.hds"), (TOP, "Compressed", "rest.hds")];
    let storages = storage((19456, 21504), 128, &second) + &storage((0, 19456), 128, &first);
    bench.write("disk.hdd/DiskDescriptor.xml", descriptor(21504, &storages).as_bytes());
    by_qemu(&bench, "disk.hdd/old.hds");
    let mut old = bench.read("expected.raw");
    old.resize(21504 * 512, 6);
    bench.write("old.raw", &old);
    bench.write("top.raw", &old);
    qemu_io(&bench, "raw", "top.raw", &whole);
    qemu_io(&bench, "raw", "top.raw", &["write -P 9 10240k 128k"]);
    bench
}

#[test]
fn a_bundle_shows_its_states() {
    let bench = bundle_with_info();
    let (old, top) = (bench.fingerprint("old.raw"), bench.fingerprint("top.raw"));
    assert_ne!(old, top);
    for name in ["disk.hdd", "disk.hdd/DiskDescriptor.xml"] {
        assert_eq!(bench.converted(&[name]), top, "{name}");
        assert_eq!(bench.converted(&["--snapshot", OLD, name]), old, "{name}");
    }
    bench.fumehood(["check", "disk.hdd"]).succeed();
    let server = Server::unix(&bench, &["disk.hdd"]);
    bench.peer("nbdcopy", [server.uri(), "found.raw"]).succeed();
    assert_eq!(bench.fingerprint("found.raw"), top);
}

/// A bundle, with what `info` says of it compared.
fn bundle_with_info() -> Bench {
    let bench = bundle();
    let info = bench.json(&["info", "--json", "disk.hdd"]);
    assert_eq!(info["snapshots"][0]["id"], OLD, "{info}");
    assert_eq!(info["snapshots"].as_array().map(Vec::len), Some(1), "{info}");
    let text = bench.fumehood(["info", "--document", "DiskDescriptor.xml", "disk.hdd"]).succeed();
    assert!(text.stdout.contains("<Name>a disk</Name>"), "{}", text.stdout);
    bench
}

/// What is said of a bundle whose descriptor is changed.
fn refusal(bench: &Bench, from: &str, to: &str) -> String {
    let text = String::from_utf8(bench.read("disk.hdd/DiskDescriptor.xml")).expect("a text");
    bench.write("disk.hdd/DiskDescriptor.xml", text.replace(from, to).as_bytes());
    let outcome = bench.fumehood(["info", "disk.hdd"]).end_with(1);
    bench.write("disk.hdd/DiskDescriptor.xml", text.as_bytes());
    outcome.stderr
}

#[test]
fn bundles_that_lack_or_contradict_something_are_refused_clearly() {
    let bench = bundle();
    bench.write("secret.hds", &bench.read("disk.hdd/top.hds"));
    let cases = [
        ("top.hds", "gone.hds", "gone.hds"),
        ("top.hds", "/etc/passwd", "/etc/passwd"),
        ("top.hds", "../secret.hds", "../secret.hds"),
        ("top.hds", "nbd:unix:x", "nbd:unix:x"),
        ("<Padding>0", "<Encryption><Engine>{1}</Engine></Encryption><Padding>0", "encrypted"),
        ("<Start>19456", "<Start>19457", "19456"),
        ("<Blocksize>128", "<Blocksize>256", "clusters of 65536"),
    ];
    for (from, to, phrase) in cases {
        let said = refusal(&bench, from, to);
        assert!(said.contains(phrase), "{to}: {said}");
    }
    let circle = format!("<ParentGUID>{NONE}");
    let said = refusal(&bench, &circle, &format!("<ParentGUID>{TOP}"));
    assert!(said.contains("made on itself"), "{said}");
    let outcome = bench.fumehood(["info", "--snapshot", NONE, "disk.hdd"]).end_with(1);
    assert!(outcome.stderr.contains(NONE), "{}", outcome.stderr);
}

#[test]
fn an_image_that_was_not_closed_is_read_with_a_warning() {
    let bench = Bench::new();
    create(&bench, "disk.hds", "64k", SIZE, WRITES);
    let expected = by_qemu(&bench, "disk.hds");
    let mut bytes = bench.read("disk.hds");
    bytes[44..48].copy_from_slice(&0x746f_6e59_u32.to_le_bytes());
    bench.write("disk.hds", &bytes);
    let info = bench.json(&["info", "--json", "disk.hds"]);
    assert!(info["warnings"][0].as_str().is_some_and(|said| said.contains("not closed")), "{info}");
    assert_eq!(bench.converted(&["disk.hds"]), expected);
}
