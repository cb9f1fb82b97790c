//! Appliances that GNU tar packs around QEMU's disks: bytes as QEMU gives them, and what
//! is said where a part is missing.

use fumehood_tests::{Bench, Bounded, Server, content};

const SIZE: usize = 5 << 20;

/// A document with these files, each a disk.
fn document(files: &[&str]) -> Vec<u8> {
    let mut references = String::new();
    let mut disks = String::new();
    for (number, file) in files.iter().enumerate() {
        references += &format!("<File ovf:id=\"f{number}\" ovf:href=\"{file}\"/>\n");
        disks += &format!(
            "<Disk ovf:diskId=\"d{number}\" ovf:fileRef=\"f{number}\" ovf:capacity=\"{SIZE}\"/>\n"
        );
    }
    format!(
        "<?xml version=\"1.0\"?>\n<Envelope \
         xmlns=\"http://schemas.dmtf.org/ovf/envelope/1\" \
         xmlns:ovf=\"http://schemas.dmtf.org/ovf/envelope/1\">\n\
         <References>{references}</References>\n\
         <DiskSection><Info>disks</Info>{disks}</DiskSection>\n\
         <VirtualSystem ovf:id=\"machine\"><Name>appliance</Name></VirtualSystem></Envelope>\n"
    )
    .into_bytes()
}

/// A bench with `disk.raw` and the same as `vm-disk1.vmdk`.
fn bench() -> Bench {
    let bench = Bench::new();
    bench.write("disk.raw", &content::sample(SIZE));
    let convert = ["convert", "-f", "raw", "-O", "vmdk", "-o", "subformat=streamOptimized"];
    bench.peer("qemu-img", [&convert[..], &["disk.raw", "vm-disk1.vmdk"]].concat()).succeed();
    bench
}

fn tar(bench: &Bench, arguments: &[&str]) {
    bench.peer("tar", arguments).succeed();
}

#[test]
fn the_disk_of_an_appliance_reads_as_with_qemu() {
    let bench = bench();
    let expected = bench.fingerprint("disk.raw");
    bench.write("vm.ovf", &document(&["vm-disk1.vmdk"]));
    let told = bench.peer("sha256sum", ["vm-disk1.vmdk"]).succeed().stdout;
    let hash = told.split(' ').next().expect("a hash");
    bench.write("vm.mf", format!("SHA256(vm-disk1.vmdk)= {hash}\n").as_bytes());
    for format in ["ustar", "pax", "gnu"] {
        let name = format!("{format}.ova");
        tar(&bench, &["--format", format, "-cf", &name, "vm.ovf", "vm.mf", "vm-disk1.vmdk"]);
        assert_eq!(bench.converted(&[&name]), expected, "{name}");
        let info = bench.json(&["info", "--json", &name]);
        assert_eq!(info["format"], "ova/vmdk", "{info}");
        assert!(info.to_string().contains("appliance"), "{info}");
        let outcome = bench.fumehood(["info", "--document", "vm.ovf", &name]).succeed();
        assert!(outcome.stdout.contains("vm-disk1.vmdk"));
        bench.fumehood(["map", "--json", &name]).succeed();
        bench.fumehood(["check", &name]).succeed();
    }
    let server = Server::unix(&bench, &["ustar.ova"]);
    bench.peer("nbdcopy", [server.uri(), "found.raw"]).succeed();
    assert_eq!(bench.fingerprint("found.raw"), expected);
}

#[test]
fn each_of_several_disks_is_offered() {
    let bench = bench();
    bench.write("second.img", &content::noise(1 << 20, 3));
    bench.write("vm.ovf", &document(&["second.img", "vm-disk1.vmdk"]));
    tar(&bench, &["-cf", "vm.ova", "vm.ovf", "vm-disk1.vmdk", "second.img"]);
    let info = bench.json(&["info", "--json", "vm.ova"]);
    let names: Vec<_> =
        info["disks"].as_array().expect("a list").iter().map(|disk| disk["name"].clone()).collect();
    assert_eq!(names, ["second.img", "vm-disk1.vmdk"], "{info}");
    for (number, expected) in [("0", "second.img"), ("1", "disk.raw")] {
        let found = bench.converted(&["--disk", number, "vm.ova"]);
        assert_eq!(found, bench.fingerprint(expected), "{number}");
    }
}

#[test]
fn a_disk_that_is_missing_or_cut_is_named() {
    let bench = bench();
    bench.write("vm.ovf", &document(&["vm-disk1.vmdk"]));
    tar(&bench, &["-cf", "vm.ova", "vm.ovf"]);
    let outcome = bench.fumehood(["info", "vm.ova"]).end_with(1);
    assert!(outcome.stderr.contains("vm-disk1.vmdk"), "{}", outcome.stderr);
    tar(&bench, &["-cf", "vm.ova", "vm.ovf", "vm-disk1.vmdk"]);
    let whole = bench.read("vm.ova");
    bench.write("vm.ova", &whole[..whole.len() / 2]);
    let outcome = bench.fumehood(["info", "vm.ova"]).end_with(1);
    assert!(outcome.stderr.contains("cut"), "{}", outcome.stderr);
}

#[test]
fn files_elsewhere_are_refused() {
    let bench = bench();
    for reference in ["/etc/passwd", "../disk.raw", "http://localhost/disk"] {
        bench.write("vm.ovf", &document(&[reference]));
        tar(&bench, &["-cf", "vm.ova", "vm.ovf", "disk.raw"]);
        let outcome = bench.fumehood(["info", "vm.ova"]).end_with(1);
        assert!(outcome.stderr.contains(reference), "{}", outcome.stderr);
    }
}
