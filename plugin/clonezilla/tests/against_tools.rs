//! Folders made with the programs that Clonezilla runs, named as it names files: what is
//! read of each partition is given to those programs again, and restores what they saved.

mod common;

use common::{folder, noise, shell};
use fumehood_plugin::{Contents, DigestKind};
use fumehood_test_support::Bench;

/// A bench with file systems, and what partclone saves of each as `NAME.pcl`: `sda1.img`
/// (ext4), `sda2.img` (vfat) and `vg-root.img` (ext4).
fn bench(name: &str) -> Bench {
    let bench = Bench::new(name);
    shell(&bench, "mkdir files img");
    for (number, length) in [400_000, 3000, 90_000].into_iter().enumerate() {
        bench.write(&format!("files/{number}"), &noise(length, number as u32));
    }
    shell(&bench, "truncate -s 4M sda1.img sda2.img vg-root.img");
    shell(&bench, "mkfs.ext4 -q -F -b 1024 -d files sda1.img");
    shell(&bench, "mkfs.ext4 -q -F -b 4096 -d files vg-root.img");
    shell(&bench, "mkfs.vfat sda2.img > log 2>&1");
    // Partclone sleeps more than it works.
    std::thread::scope(|scope| {
        for (name, tool) in [("sda1", "extfs"), ("sda2", "vfat"), ("vg-root", "extfs")] {
            let options = format!("-q -c -F -L log-{name} -s {name}.img -o {name}.pcl");
            let bench = &bench;
            scope.spawn(move || shell(bench, &format!("partclone.{tool} {options}")));
        }
    });
    bench
}

#[test]
fn every_compression_and_splitting_restores_what_was_saved() {
    let bench = bench("kinds");
    let saved = bench.read("sda1.pcl");
    let split = "split -a 2 -b 30kB - img/sda1.ext4-ptcl-img";
    for (ending, pack, unpack) in [
        ("gz", "gzip -c --fast", "gzip -dc"),
        ("gz", "pigz -c --fast -b 1024 --rsyncable", "pigz -dc"),
        ("zst", "zstd -c -3", "zstd -dc"),
        ("xz", "xz -c -T 0 -3", "xz -dc"),
        ("lz4", "lz4 -c -1", "lz4 -dc"),
        ("bz2", "bzip2 -c -3", "bzip2 -dc"),
        ("lzo", "lzop -c -3", "lzop -dc"),
        ("uncomp", "cat", "cat"),
    ] {
        for to in [
            format!("cat > img/sda1.ext4-ptcl-img.{ending}"),
            format!("{split}.{ending}."),
            format!("split -a 3 -b 2K - img/sda1.ext4-ptcl-img.{ending}."),
        ] {
            shell(
                &bench,
                "rm -f img/*; echo 'sda1 ' > img/parts; echo '/dev/sda1 ext4' > img/dev-fs.list",
            );
            shell(&bench, &format!("{pack} < sda1.pcl | {to}"));
            let folder = folder(&bench, "img");
            let opened = folder.open().unwrap();
            let what = format!("{pack} | {to}");
            assert_eq!(opened.warnings(), "", "{what}");
            assert_eq!(opened.names(), ["sda1"], "{what}");
            assert_eq!(opened.image.disks()[0].contents, Contents::File);
            bench.write("found", &opened.contents("sda1"));
            shell(&bench, &format!("{unpack} < found > found.pcl"));
            assert!(bench.read("found.pcl") == saved, "{what}");
        }
    }
    shell(&bench, "partclone.restore -q -W -C -L log -s found.pcl -o found.raw");
    shell(&bench, "e2fsck -fn found.raw > log; debugfs -R 'cat 1' found.raw > file 2> log");
    assert!(bench.read("file") == noise(3000, 1));
}

#[test]
fn a_disk_with_volumes_and_swap_is_found_whole() {
    let bench = bench("disk");
    bench.write("sda5.img", &noise(300_000, 9));
    shell(
        &bench,
        "cd img; echo sda > disk; echo sda1 sda2 sda5 sda6 > parts
        gzip -c < ../sda1.pcl | split -a 2 -b 30kB - sda1.ext4-ptcl-img.gz.
        gzip -c < ../sda2.pcl | split -a 2 -b 30kB - sda2.vfat-ptcl-img.gz.
        gzip -c < ../sda5.img | split -a 2 -b 30kB - sda5.dd-ptcl-img.gz.
        gzip -c < ../vg-root.pcl | split -a 2 -b 30kB - vg-root.ext4-ptcl-img.gz.
        echo 'vg /dev/sda6 qdlt6U-M4bo' > lvm_vg_dev.list
        echo '/dev/vg/root Linux rev 1.0 ext4 filesystem data' > lvm_logv.list
        echo '/dev/vg/swap Linux/i386 swap file' >> lvm_logv.list
        printf 'UUID=\"6b\"\\nLABEL=\"\"\\n' | tee swappt-vg-swap.info > swappt-sda3.info
        echo '# <Device name>   <File system>   <Size>' > dev-fs.list
        for line in 'sda1 ext4' 'sda2 vfat' sda5 'sda3 swap' 'vg/root ext4' 'vg/swap swap'; do
            echo /dev/$line >> dev-fs.list
        done
        truncate -s 60M table; printf 'label: dos\\nlabel-id: 0x12345678\\n2048,8192\\n' \
            | sfdisk -q table; sfdisk -d table | sed 's,^table,/dev/sda,' > sda-pt.sf; rm table
        md5sum * > MD5SUMS",
    );
    let opened = folder(&bench, "img").open().unwrap();
    assert_eq!(opened.warnings(), "");
    assert_eq!(opened.names(), ["sda1", "sda2", "sda5", "vg-root"]);
    for (name, saved) in [("sda1", "pcl"), ("sda2", "pcl"), ("sda5", "img"), ("vg-root", "pcl")] {
        bench.write("found.gz", &opened.contents(name));
        shell(&bench, "gzip -dc found.gz > found");
        assert!(bench.read("found") == bench.read(&format!("{name}.{saved}")), "{name}");
    }
    let details = |name: &str| opened.details(name).join(" ");
    assert!(details("sda1").contains("from byte 1048576"), "{}", details("sda1"));
    assert!(details("sda1").contains("gzip"), "{}", details("sda1"));
    assert!(details("sda3").contains("UUID=\"6b\""), "{}", details("sda3"));
    assert!(details("vg-swap").contains("swap"), "{}", details("vg-swap"));
    assert!(details("sda6").contains("group vg"), "{}", details("sda6"));
    assert_eq!(details("partition table of sda"), "dos, 0x12345678");
    let documents = opened.image.info().documents;
    for name in ["parts", "disk", "dev-fs.list", "lvm_logv.list", "sda-pt.sf", "MD5SUMS"] {
        assert!(documents.iter().any(|own| own == name), "{name}");
        assert_eq!(opened.image.document(name).unwrap(), bench.read(&format!("img/{name}")));
    }
    assert!(opened.image.document("sda1.ext4-ptcl-img.gz.aa").is_err());
    // The folder's list of its files leaves little to be asked for.
    assert!(opened.host.asked.borrow().len() < 600, "{}", opened.host.asked.borrow().len());
}

#[test]
fn bytes_of_a_partition_are_a_volume() {
    let bench = bench("dd");
    shell(
        &bench,
        "echo sda1 > img/parts
        partclone.dd -q -L log -s sda1.img -o - | split -a 2 -b 1MB - img/sda1.dd-ptcl-img.uncomp.
        md5sum < sda1.img > sums",
    );
    let opened = folder(&bench, "img").open().unwrap();
    assert_eq!(opened.image.disks()[0].contents, Contents::Volume);
    assert!(opened.contents("sda1") == bench.read("sda1.img"));
    // Older ones, with and without compression, told apart by their first bytes.
    for (pack, contents) in [("cat", Contents::Volume), ("gzip -c", Contents::File)] {
        shell(
            &bench,
            &format!("rm img/sda1*; {pack} < sda1.img | split -b 1MB - img/sda1.dd-img."),
        );
        let opened = folder(&bench, "img").open().unwrap();
        assert_eq!(opened.image.disks()[0].contents, contents);
        shell(&bench, &format!("{pack} < sda1.img > expected"));
        assert!(opened.contents("sda1") == bench.read("expected"));
    }
    shell(
        &bench,
        "rm img/sda1*; lzop -c sda1.pcl > img/sda1.ext3-img; cp img/sda1.ext3-img expected",
    );
    let opened = folder(&bench, "img").open().unwrap();
    assert!(opened.contents("sda1") == bench.read("expected"));
}

#[test]
fn digests_are_those_of_a_file_that_is_whole() {
    let bench = bench("sums");
    shell(&bench, "cd img; echo sda1 > parts; zstd -c ../sda1.pcl > sda1.ext4-ptcl-img.zst");
    shell(&bench, "cd img; md5sum * > M; sha1sum p* s* > S; b2sum p* s* > B2SUMS; mv M MD5SUMS");
    shell(&bench, "cd img; mv S SHA1SUMS; md5sum sda1* | head -c 32 > ../md5");
    let opened = folder(&bench, "img").open().unwrap();
    let digests = opened.image.disks().remove(0).digests;
    let kinds: Vec<DigestKind> = digests.iter().map(|digest| digest.kind).collect();
    assert_eq!(kinds, [DigestKind::Md5, DigestKind::Sha1]);
    let hex: String = digests[0].value.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex.as_bytes(), bench.read("md5"));
}
