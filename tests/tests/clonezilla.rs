//! Folders as Clonezilla leaves them, made with the programs that it runs: every volume
//! reads as partclone restores it, and what is damaged is named.

use fumehood_tests::{Bench, Bounded, Server, content};

/// A bench with two file systems, `sda1` (ext4) and `vg-root` (ext4), each with its
/// stream by partclone, `NAME.pcl`, and what partclone restores from that, `NAME.raw`.
fn bench() -> Bench {
    let bench = Bench::new();
    std::fs::create_dir(bench.path("files")).expect("our folder");
    std::fs::create_dir(bench.path("img")).expect("our folder");
    for (name, length) in [("noise", 700_000), ("more", 3000), ("last", 90_000)] {
        bench.write(&format!("files/{name}"), &content::noise(length, length as u64));
    }
    for (name, block) in [("sda1", "1024"), ("vg-root", "4096")] {
        let [image, stream, restored] = ["img", "pcl", "raw"].map(|end| format!("{name}.{end}"));
        bench.peer("truncate", ["-s", "8M", &image]).succeed();
        bench.peer("mkfs.ext4", ["-q", "-F", "-b", block, "-d", "files", &image]).succeed();
        let save = ["-q", "-c", "-F", "-L", "log", "-s", &image, "-O", &stream];
        bench.peer("partclone.extfs", save).succeed();
        let restore = ["-q", "-W", "-C", "-L", "log", "-s", &stream, "-o", &restored];
        bench.peer("partclone.restore", restore).succeed();
    }
    bench
}

/// Runs a line of shell in the folder of the image.
fn shell(bench: &Bench, line: &str) {
    bench.peer("sh", ["-e", "-c", &format!("cd img; {line}")]).succeed();
}

/// A disk with a volume, one of LVM, one copied byte by byte, and swap space.
fn save(bench: &Bench) {
    shell(bench, "echo sda > disk; echo 'sda1 sda5 sda6 ' > parts");
    shell(bench, "gzip -c ../sda1.pcl | split -a 2 -b 300kB - sda1.ext4-ptcl-img.gz.");
    shell(bench, "zstd -q -c ../vg-root.pcl > vg-root.ext4-ptcl-img.zst");
    shell(bench, "split -a 3 -b 3MB ../sda1.raw sda5.dd-ptcl-img.uncomp.");
    shell(bench, "echo 'vg /dev/sda6 id' > lvm_vg_dev.list");
    shell(bench, "echo '/dev/vg/root Linux ext4 filesystem data' > lvm_logv.list");
    shell(bench, "echo '/dev/sda3 swap 1G' > dev-fs.list; echo 'UUID=\"7\"' > swappt-sda3.info");
}

/// The volumes of the image, and what each must hold.
const VOLUMES: [(&str, &str); 3] =
    [("sda1", "sda1.raw"), ("sda5", "sda1.raw"), ("vg-root", "vg-root.raw")];

#[test]
fn every_volume_reads_as_partclone_restores_it() {
    let bench = bench();
    save(&bench);
    for (number, (name, restored)) in VOLUMES.iter().enumerate() {
        let number = number.to_string();
        let found = bench.converted(&["--disk", &number, "img"]);
        assert_eq!(found, bench.fingerprint(restored), "{name}");
    }
    let outcome = bench.fumehood(["check", "img"]).succeed();
    assert_eq!(outcome.stdout.matches("sound").count(), 3, "{}", outcome.stdout);
    bench.conforms(&["clonezilla", "--image", "img"]);
}

#[test]
fn an_image_is_shown_for_what_it_is() {
    let bench = bench();
    save(&bench);
    let info = bench.json(&["info", "--json", "img"]);
    let disks = info["disks"].as_array().expect("a list");
    let names: Vec<_> = disks.iter().map(|disk| disk["name"].as_str().expect("a name")).collect();
    assert_eq!(names, VOLUMES.map(|(name, _)| name), "{info}");
    assert!(disks.iter().all(|disk| disk["size"] == 8 << 20), "{info}");
    for part in ["clonezilla", "physical volume of LVM", "swap space", "Zstandard"] {
        assert!(info.to_string().contains(part), "{part} in {info}");
    }
    let outcome = bench.fumehood(["info", "--document", "lvm_logv.list", "img"]).succeed();
    assert!(outcome.stdout.contains("/dev/vg/root"), "{}", outcome.stdout);
    // The entry stands for its folder.
    let entry = bench.json(&["info", "--json", "img/parts"]);
    assert_eq!(entry["disks"], info["disks"]);
}

#[test]
fn every_compression_is_opened_through() {
    let bench = bench();
    shell(&bench, "echo sda1 > parts");
    for (ending, tool) in [
        ("gz", "pigz -c"),
        ("zst", "zstd -q -c"),
        ("xz", "xz -c -T 0"),
        ("lz4", "lz4 -q -c"),
        ("bz2", "bzip2 -c"),
        ("lzo", "lzop -c"),
        ("uncomp", "cat"),
    ] {
        shell(&bench, "rm -f sda1.*");
        let pieces = format!("split -a 2 -b 200kB - sda1.ext4-ptcl-img.{ending}.");
        shell(&bench, &format!("{tool} < ../sda1.pcl | {pieces}"));
        assert_eq!(bench.converted(&["img"]), bench.fingerprint("sda1.raw"), "{ending}");
    }
}

#[test]
fn a_served_volume_is_copied_whole() {
    let bench = bench();
    save(&bench);
    let server = Server::unix(&bench, &["--disk", "2", "img"]);
    bench.peer("nbdcopy", [server.uri(), "found.raw"]).succeed();
    assert_eq!(bench.fingerprint("found.raw"), bench.fingerprint("vg-root.raw"));
}

#[test]
fn what_is_missing_is_named_and_the_rest_is_read() {
    let bench = bench();
    save(&bench);
    shell(&bench, "rm sda1.ext4-ptcl-img.gz.ab");
    let info = bench.json(&["info", "--json", "img"]);
    assert_eq!(info["disks"].as_array().expect("a list").len(), 2, "{info}");
    assert!(info["warnings"].to_string().contains("sda1.ext4-ptcl-img.gz.ab"), "{info}");
    let found = bench.converted(&["--disk", "1", "img"]);
    assert_eq!(found, bench.fingerprint("vg-root.raw"));
    // What there is nothing left of is an error.
    shell(&bench, "rm sda5.* vg-root.*");
    let outcome = bench.fumehood(["info", "img"]).end_with(1);
    assert!(outcome.stderr.contains("sda1.ext4-ptcl-img.gz.ab"), "{}", outcome.stderr);
    shell(&bench, "echo 'disk_of_img=\"sda\"' > ecryptfs.info");
    let outcome = bench.fumehood(["info", "img"]).end_with(1);
    assert!(outcome.stderr.contains("eCryptfs"), "{}", outcome.stderr);
}

#[test]
fn files_elsewhere_are_not_read() {
    let bench = bench();
    save(&bench);
    shell(&bench, "mv sda1.ext4-ptcl-img.gz.ab ..; ln -s ../sda1.ext4-ptcl-img.gz.ab .");
    let info = bench.json(&["info", "--json", "img"]);
    assert!(info["warnings"].to_string().contains("symbolic link"), "{info}");
    shell(&bench, "echo ../sda1.pcl > parts");
    let outcome = bench.fumehood(["info", "img"]).end_with(1);
    assert!(outcome.stderr.contains("names of partitions"), "{}", outcome.stderr);
}
