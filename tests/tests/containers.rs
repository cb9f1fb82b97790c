//! Images in containers: opened through the container, by one mechanism for all.

use std::path::Path;
use std::process::Command;

use fumehood_tests::{Bench, Bounded, Server, content};

const MEBIBYTE: usize = 1 << 20;

/// A disk of some noise, some text and many zeroes, as raw and as streamOptimized VMDK.
fn disk(bench: &Bench) -> (u64, String) {
    bench.write("disk.raw", &content::sample(6 * MEBIBYTE));
    let mut convert = bench.peer("qemu-img", ["convert", "-f", "raw", "-O", "vmdk"]);
    convert.args(["-o", "subformat=streamOptimized", "disk.raw", "disk.vmdk"]).succeed();
    bench.fingerprint("disk.raw")
}

/// An appliance of these members, with a description that names the disks.
fn appliance(bench: &Bench, name: &str, disks: &[&str]) {
    let file = |(number, disk): (usize, &&str)| {
        (
            format!(r#"<File ovf:id="f{number}" ovf:href="{disk}"/>"#),
            format!(
                r#"<Disk ovf:diskId="d{number}" ovf:fileRef="f{number}" ovf:capacity="6291456"/>"#
            ),
        )
    };
    let (files, list): (Vec<_>, Vec<_>) = disks.iter().enumerate().map(file).unzip();
    let description = format!(
        r#"<?xml version="1.0"?><Envelope xmlns="http://schemas.dmtf.org/ovf/envelope/1" xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1"><References>{}</References><DiskSection><Info>disks</Info>{}</DiskSection></Envelope>"#,
        files.concat(),
        list.concat()
    );
    bench.write("machine.ovf", description.as_bytes());
    let mut tar = bench.peer("tar", ["--format=ustar", "-cf", name, "machine.ovf"]);
    tar.args(disks).succeed();
}

/// Compresses `from` into `to` with a tool that writes to its standard output.
fn compress(bench: &Bench, tool: &[&str], from: &str, to: &str) {
    let out = std::fs::File::create(bench.path(to)).expect("our folder");
    let mut command = Command::new(tool[0]);
    command.current_dir(bench.folder()).args(&tool[1..]).arg(from).stdout(out);
    let status = command.status();
    assert!(status.is_ok_and(|status| status.success()), "{tool:?}; tests/run installs it");
}

#[test]
fn disks_of_an_appliance_are_its_disks() {
    let bench = Bench::new();
    let expected = disk(&bench);
    bench.write("second.raw", &content::noise(2 * MEBIBYTE, 5));
    let mut convert = bench.peer("qemu-img", ["convert", "-f", "raw", "-O", "qcow2"]);
    convert.args(["second.raw", "second.qcow2"]).succeed();
    appliance(&bench, "machine.ova", &["disk.vmdk", "second.qcow2"]);
    for name in ["disk.vmdk", "second.qcow2"] {
        std::fs::remove_file(bench.path(name)).expect("our file");
    }
    let info = bench.json(&["info", "--json", "machine.ova"]);
    assert_eq!(info["format"], "ova", "{info}");
    assert_eq!(info["disks"][0]["name"], "disk.vmdk");
    assert_eq!(info["disks"][0]["contents"], "disk");
    assert_eq!(info["disks"][1]["chain"][0]["format"], "qcow2");
    assert_eq!(bench.converted(&["machine.ova"]), expected);
    assert_eq!(bench.converted(&["machine.ova", "--disk", "1"]), bench.fingerprint("second.raw"));
    let document = bench.fumehood(["info", "--document", "machine.ovf", "machine.ova"]).succeed();
    assert!(document.stdout.contains("DiskSection"), "{}", document.stdout);

    let server = Server::unix(&bench, &["machine.ova"]);
    let mut compare = bench.peer("qemu-img", ["compare", "-f", "raw", "-F", "raw", "disk.raw"]);
    compare.arg(server.uri()).succeed();
}

#[test]
fn a_disk_that_does_not_open_leaves_the_others_open() {
    let bench = Bench::new();
    let expected = disk(&bench);
    bench.write("broken.qcow2", b"QFI\xfb\0\0\0\x09 of a version that no one knows");
    appliance(&bench, "machine.ova", &["disk.vmdk", "broken.qcow2"]);
    let info = bench.json(&["info", "--json", "machine.ova"]);
    assert_eq!(info["format"], "ova/vmdk", "{info}");
    assert!(info["warnings"][0].as_str().is_some_and(|text| text.starts_with("broken.qcow2")));
    let why = info["disks"][1]["chain-error"].as_str().expect("it does not open");
    assert!(why.contains("version"), "{why}");
    assert_eq!(bench.converted(&["machine.ova", "--disk", "0"]), expected);
    let ended = bench.fumehood(["map", "machine.ova", "--disk", "1"]).end_with(1);
    assert!(ended.stderr.contains("disk 1 does not open: broken.qcow2"), "{}", ended.stderr);
    let ended = bench.fumehood(["serve", "machine.ova", "--nbd", "unix:x.sock"]).end_with(1);
    assert!(ended.stderr.contains("--disk"), "{}", ended.stderr);

    appliance(&bench, "broken.ova", &["broken.qcow2"]);
    let ended = bench.fumehood(["info", "broken.ova"]).end_with(1);
    assert!(ended.stderr.contains("broken.qcow2, which lies in it"), "{}", ended.stderr);
}

/// Makes a qcow2 of QEMU's record another format of its backing file.
fn record_parent_format(bench: &Bench, name: &str, format: &[u8; 8]) {
    let mut bytes = std::fs::read(bench.path(name)).expect("just made");
    let raw = b"\xe2\x79\x2a\xca\0\0\0\x03raw\0\0\0\0\0";
    let at = bytes.windows(raw.len()).position(|window| window == raw).expect("the extension");
    bytes[at + 7] = 8;
    bytes[at + 8..][..8].copy_from_slice(format);
    bench.write(name, &bytes);
}

#[test]
fn no_other_disk_takes_the_place_of_a_parent_that_does_not_open() {
    let bench = Bench::new();
    let expected = disk(&bench);
    bench.write("broken.vmdk", b"KDMV\x63 of a version that no one knows");
    let mut create = bench.peer("qemu-img", ["create", "-q", "-u", "-f", "qcow2"]);
    create.args(["-b", "parent.ova", "-F", "raw", "top.qcow2", "6M"]).succeed();
    record_parent_format(&bench, "top.qcow2", b"ova/vmdk");
    appliance(&bench, "parent.ova", &["disk.vmdk", "broken.vmdk"]);
    assert_eq!(bench.converted(&["top.qcow2"]), expected);
    appliance(&bench, "parent.ova", &["broken.vmdk", "disk.vmdk"]);
    let ended = bench.fumehood(["map", "top.qcow2"]).end_with(1);
    assert!(ended.stderr.contains("disk 0 does not open"), "{}", ended.stderr);
}

#[test]
fn what_a_guest_writes_on_a_disk_in_an_appliance_goes_to_an_overlay() {
    let bench = Bench::new();
    disk(&bench);
    appliance(&bench, "machine.ova", &["disk.vmdk"]);
    let before = bench.fingerprint("machine.ova");
    for pattern in ["7", "9"] {
        let server = Server::unix(&bench, &["machine.ova", "--overlay", "work.qcow2"]);
        let write = format!("write -P {pattern} 3M 300k");
        bench.peer("qemu-io", ["-f", "raw", "-c", &write, "-c", "flush", server.uri()]).succeed();
        drop(server);
    }
    let info = bench.json(&["info", "--json", "work.qcow2"]);
    assert_eq!(info["disks"][0]["parent"]["format"], "ova/vmdk", "{info}");
    assert_eq!(info["disks"][0]["chain"].as_array().map(Vec::len), Some(2), "{info}");
    let mut expected = bench.read("disk.raw");
    expected[3 * MEBIBYTE..3 * MEBIBYTE + 300 * 1024].fill(9);
    assert_eq!(bench.converted(&["work.qcow2"]).1, content::hash(&expected));
    assert_eq!(bench.fingerprint("machine.ova"), before, "the appliance is not touched");
}

#[test]
fn containers_lie_in_containers() {
    let bench = Bench::new();
    let expected = disk(&bench);
    compress(&bench, &["gzip", "-c"], "disk.vmdk", "disk.vmdk.gz");
    appliance(&bench, "machine.ova", &["disk.vmdk.gz"]);
    compress(&bench, &["xz", "-T1", "-c"], "machine.ova", "machine.ova.xz");
    assert_eq!(bench.converted(&["machine.ova"]), expected);
    let info = bench.json(&["info", "--json", "machine.ova.xz"]);
    assert_eq!(info["format"], "compressed/ova/compressed/vmdk", "{info}");
    assert_eq!(bench.converted(&["machine.ova.xz"]), expected);
    let named = ["machine.ova.xz", "--format", "compressed/ova/compressed/vmdk"];
    assert_eq!(bench.converted(&named), expected);
}

#[test]
fn a_compressed_disk_that_no_one_knows_is_raw() {
    let bench = Bench::new();
    let expected = disk(&bench);
    for (tool, ending) in [
        (&["gzip", "-c"][..], "gz"),
        (&["pigz", "-c"], "gz"),
        (&["xz", "-T2", "--block-size=1MiB", "-c"], "xz"),
        (&["bzip2", "-c"], "bz2"),
        (&["zstd", "-q", "-c"], "zst"),
        (&["lz4", "-q", "-c"], "lz4"),
        (&["lzop", "-c"], "lzo"),
    ] {
        let name = format!("disk.raw.{ending}");
        compress(&bench, tool, "disk.raw", &name);
        // Once as it comes, and once with what the first open left behind.
        for _ in 0..2 {
            assert_eq!(bench.converted(&[&name]), expected, "{tool:?}");
        }
        let info = bench.json(&["info", "--json", &name]);
        assert_eq!(info["format"], "compressed/raw", "{tool:?}");
        let mut bytes = bench.read(&name);
        bytes.truncate(bytes.len() / 2);
        bench.write(&name, &bytes);
        let mut convert = bench.fumehood(["convert", "--force", &name, "out.raw", "-O", "raw"]);
        let ended = convert.end_with(1);
        assert!(ended.stderr.starts_with(&format!("fumehood: {name}: ")), "{}", ended.stderr);
        assert!(!Path::new(&bench.path("out.raw")).exists(), "{tool:?}: half a disk is no disk");
    }
}

#[test]
fn parts_of_a_compressed_disk_are_one() {
    let bench = Bench::new();
    let expected = disk(&bench);
    compress(&bench, &["gzip", "-c"], "disk.raw", "disk.raw.gz");
    bench.peer("split", ["-b", "300k", "disk.raw.gz", "disk.raw.gz."]).succeed();
    std::fs::remove_file(bench.path("disk.raw.gz")).expect("our file");
    assert!(bench.names().contains(&"disk.raw.gz.ab".to_owned()), "{:?}", bench.names());
    assert_eq!(bench.converted(&["disk.raw.gz.aa"]), expected);
}

#[test]
fn a_disk_made_to_look_like_an_image_is_raw_when_it_is_said_so() {
    let bench = Bench::new();
    bench.create_qcow2("inner.qcow2", "cluster_size=64k", "1M");
    compress(&bench, &["gzip", "-c"], "inner.qcow2", "disk.raw.gz");
    let as_raw = bench.converted(&["disk.raw.gz", "--format", "compressed/raw"]);
    assert_eq!(as_raw, bench.fingerprint("inner.qcow2"));
}

#[test]
fn what_a_guest_could_have_written_opens_nothing_else() {
    let bench = Bench::new();
    bench.write("secret.raw", &content::noise(MEBIBYTE, 9));
    let mut create = bench.peer("qemu-img", ["create", "-q", "-f", "qcow2", "-b", "secret.raw"]);
    create.args(["-F", "raw", "disk.raw"]).succeed();
    compress(&bench, &["gzip", "-c"], "disk.raw", "disk.raw.gz");
    let ended = bench.fumehood(["convert", "disk.raw.gz", "out.raw", "-O", "raw"]).end_with(1);
    assert!(ended.stderr.contains("--format compressed/qcow2"), "{}", ended.stderr);
    let named = ["disk.raw.gz", "--format", "compressed/qcow2"];
    assert_eq!(bench.converted(&named), bench.fingerprint("secret.raw"));

    // As a parent, too, what is in it has to be named.
    let mut create = bench.peer("qemu-img", ["create", "-q", "-u", "-f", "qcow2"]);
    create.args(["-b", "disk.raw.gz", "-F", "raw", "top.qcow2", "1M"]).succeed();
    let rebase = ["overlay", "rebase", "top.qcow2", "--parent", "disk.raw.gz", "--only-record"];
    let ended = bench.fumehood(rebase).end_with(1);
    assert!(ended.stderr.contains("--format compressed/qcow2"), "{}", ended.stderr);
}

#[test]
fn two_may_read_what_was_compressed() {
    let bench = Bench::new();
    disk(&bench);
    compress(&bench, &["bzip2", "-c"], "disk.raw", "disk.raw.bz2");
    let server = Server::unix(&bench, &["disk.raw.bz2"]);
    let first = bench.converted(&["disk.raw.bz2"]);
    assert_eq!(first, bench.fingerprint("disk.raw"));
    bench.peer("nbdcopy", [server.uri(), "copy.raw"]).succeed();
    assert_eq!(bench.fingerprint("copy.raw"), first);
}

#[test]
fn links_lead_out_of_no_folder_and_no_set() {
    let bench = Bench::new();
    std::fs::create_dir(bench.path("bundle")).expect("our folder");
    bench.create_qcow2("secret.qcow2", "cluster_size=64k", "1M");
    let link = std::os::unix::fs::symlink::<_, std::path::PathBuf>;
    link("../secret.qcow2", bench.path("bundle/DiskDescriptor.xml")).expect("our folder");
    let ended = bench.fumehood(["info", "bundle"]).end_with(1);
    assert!(ended.stderr.contains("holds no file by which"), "{}", ended.stderr);
    bench.write("disk.001", &[1; 512]);
    link("secret.qcow2", bench.path("disk.002")).expect("our folder");
    let ended = bench.fumehood(["info", "--format", "raw", "disk.001"]).end_with(1);
    assert!(ended.stderr.contains("is a symbolic link"), "{}", ended.stderr);
}

#[test]
fn an_appliance_of_appliances_has_an_end() {
    let bench = Bench::new();
    disk(&bench);
    appliance(&bench, "inner.ova", &["disk.vmdk"]);
    appliance(&bench, "outer.ova", &["inner.ova"; 70]);
    let ended = bench.fumehood(["info", "outer.ova"]).end_with(1);
    assert!(ended.stderr.starts_with("fumehood: outer.ova: "), "{}", ended.stderr);
}
