//! Images that QEMU makes, read here; images made here, read by QEMU and libvhdi.

mod support;

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use fumehood_plugin::{Content, Parent};
use fumehood_test_support::Bench;
use fumehood_test_support::corpus::{corpus, unpacked};
use support::{
    contents, create, created, findings, open, open_read, opened, qemu_contents, sample, settings,
    write_sparse,
};

use fumehood_plugin::simulate::JournalSource;

const MIB: u64 = 1 << 20;

/// Runs, holes, zeroes over data, and ends that are not the blocks'.
const WRITES: &[&str] = &[
    "write -P 1 0 300k",
    "write -P 2 100k 5k",
    "write -P 3 3000k 2600k",
    "write -z 4M 64k",
    "write -P 4 15M 1536",
    "write -P 5 20479k 1k",
];

#[test]
fn images_of_qemu_are_read_and_written() {
    let bench = Bench::new("from-qemu");
    for subformat in ["dynamic", "fixed"] {
        for (block, log) in [("1M", "1M"), ("2M", "16M"), ("8M", "3M"), ("256M", "1M")] {
            let options = format!("subformat={subformat},block_size={block},log_size={log}");
            let name = format!("{subformat}-{block}.vhdx");
            bench.run("qemu-img", &["create", "-q", "-f", "vhdx", "-o", &options, &name, "20M"]);
            let mut arguments = vec!["-f", "vhdx"];
            WRITES.iter().for_each(|command| arguments.extend(["-c", command]));
            arguments.push(&name);
            bench.run("qemu-io", &arguments);
            let bytes = bench.read(&name);
            let mut expected = qemu_contents(&bench, &bytes);
            for window in [100_000, u64::MAX] {
                assert!(contents(&bytes, window).unwrap() == expected, "{options} {window}");
            }
            assert_eq!(findings(&bytes), [], "{options}");

            let source = JournalSource::new(0, "disk.vhdx", bytes);
            let mut host = opened(&source, &[]);
            let new = sample(2 << 20, 5);
            for at in [9 * MIB + 512, 18 * MIB] {
                host.write(at, &new).unwrap();
                expected[at as usize..][..new.len()].copy_from_slice(&new);
            }
            host.zero(0, 4 * MIB, true).unwrap();
            expected[..4 << 20].fill(0);
            host.close().unwrap();
            assert!(contents(&source.bytes(), MIB).unwrap() == expected, "{options}");
            assert!(qemu_contents(&bench, &source.bytes()) == expected, "{options}");
        }
    }
}

#[test]
fn images_made_here_are_read_by_others() {
    let bench = Bench::new("to-qemu");
    for subformat in ["dynamic", "fixed"] {
        for (block, log, sector) in [("1M", "1M", 512), ("4M", "5M", 4096), ("32M", "1M", 512)] {
            let list = [("subformat", subformat), ("block_size", block), ("log_size", log)];
            let mut options = settings(37 * MIB + 8192, &list);
            options.logical_sector = sector;
            options.seed = [block.len() as u8; 32];
            let (source, mut host) = created(&options, &[]);
            let new = sample(5 << 20, 1);
            for at in [0, 11 * MIB + 512, 32 * MIB + 8192] {
                host.write(at, &new).unwrap();
                host.flush().unwrap();
            }
            host.zero(12 * MIB, 5 * MIB, true).unwrap();
            host.zero(MIB, 2 * MIB, false).unwrap();
            let shown = host.contents().unwrap();
            // Before it is closed it is an image after a crash: QEMU carries out the log.
            host.flush().unwrap();
            if sector == 512 {
                assert!(qemu_contents(&bench, &source.bytes()) == shown, "{list:?}");
            }
            assert!(contents(&source.bytes(), 70_000).unwrap() == shown, "{list:?}");
            host.close().unwrap();
            write_sparse(&bench, "closed.vhdx", &source.bytes());
            let told = bench.run("vhdiinfo", &["closed.vhdx"]).to_lowercase();
            for expected in [subformat, "38805504 bytes", &format!("sector\t: {sector} bytes")] {
                assert!(told.contains(expected), "{expected}: {told}");
            }
            // QEMU knows sectors of 512 bytes only; what it writes is read here.
            if sector == 512 {
                assert!(qemu_contents(&bench, &source.bytes()) == shown, "{list:?}");
                let write = "write -P 77 30M 3M";
                bench.run("qemu-io", &["-f", "vhdx", "-c", write, "image.vhdx"]);
                let mut expected = shown;
                expected[30 << 20..33 << 20].fill(77);
                assert!(contents(&bench.read("image.vhdx"), MIB).unwrap() == expected, "{list:?}");
            }
        }
    }
}

/// What libvhdi shows of an image made here, its contents where there is FUSE.
#[test]
fn differencing_images_are_known_to_libvhdi() {
    let bench = Bench::new("differencing");
    let (base, mut host) = created(&settings(20 * MIB, &[("block_size", "1M")]), &[]);
    let below = sample(9 << 20, 3);
    host.write(MIB, &below).unwrap();
    let parent = host.contents().unwrap();
    host.close().unwrap();
    let identity = open_read(&base.bytes()).unwrap().0.disks()[0].identity.clone().unwrap();

    let mut options = settings(20 * MIB, &[("block_size", "2M")]);
    options.parent = Some(Parent {
        references: vec!["base.vhdx".into(), "/images/base.vhdx".into()],
        identities: vec![identity.clone()],
        format: Some("vhdx".into()),
    });
    let (child, mut host) = created(&options, &parent);
    host.write(3 * MIB + 512, &sample(1024, 9)).unwrap();
    host.write(6 * MIB, &sample(2 << 20, 11)).unwrap();
    host.zero(8 * MIB - 4096, 8192, true).unwrap();
    let shown = host.contents().unwrap();
    host.close().unwrap();
    assert!(opened(&child, &parent).contents().unwrap() == shown);
    assert_eq!(findings(&child.bytes()), []);

    let info = &open_read(&child.bytes()).unwrap().0.disks()[0];
    let recorded = info.parent.as_ref().unwrap();
    assert_eq!(recorded.references, ["base.vhdx", "/images/base.vhdx"]);
    assert_eq!(recorded.identities[0], identity);
    assert_eq!(info.granularity, 512);
    write_sparse(&bench, "child.vhdx", &child.bytes());
    write_sparse(&bench, "base.vhdx", &base.bytes());
    let told = bench.run("vhdiinfo", &["child.vhdx"]).to_lowercase();
    for expected in ["differential", "base.vhdx", &identity, "20971520 bytes"] {
        assert!(told.contains(expected), "{expected}: {told}");
    }
    if Path::new("/dev/fuse").exists() {
        bench.run("mkdir", &["mounted"]);
        bench.run("vhdimount", &["child.vhdx", "mounted"]);
        let names = bench.run("ls", &["mounted"]);
        let theirs = bench.read(&format!("mounted/{}", names.lines().last().unwrap()));
        bench.run("umount", &["mounted"]);
        assert!(theirs == shown, "{names}");
    }
}

/// Opening for writing changes nothing; the first write changes the identity once.
#[test]
fn children_are_told_apart_at_the_first_write_only() {
    let (source, host) = created(&settings(8 * MIB, &[]), &[]);
    host.close().unwrap();
    let before = source.bytes();
    let identity = |source: &JournalSource| {
        open_read(&source.bytes()).unwrap().0.disks()[0].identity.clone().unwrap()
    };
    let first = identity(&source);
    opened(&source, &[]).close().unwrap();
    assert!(source.bytes() == before);
    let mut host = opened(&source, &[]);
    host.write(0, &[1; 512]).unwrap();
    let second = identity(&source);
    host.write(4 * MIB, &[1; 512]).unwrap();
    host.flush().unwrap();
    host.close().unwrap();
    assert!(first != second && second == identity(&source));
    let mut host = opened(&source, &[]);
    host.write(0, &[2; 512]).unwrap();
    host.close().unwrap();
    assert!(identity(&source) != second);
}

/// In steady state a guest's flush costs the host's one and one here.
#[test]
fn a_flush_costs_one_flush_of_the_file() {
    let (source, mut host) = created(&settings(64 * MIB, &[("block_size", "1M")]), &[]);
    for block in 0..20 {
        host.write(block * MIB + 512, &[9; 512]).unwrap();
        let before = source.flushes();
        host.flush().unwrap();
        assert_eq!(source.flushes() - before, 2, "block {block}");
        host.write(block * MIB + 512, &[8; 512]).unwrap();
        let before = source.flushes();
        host.flush().unwrap();
        assert_eq!(source.flushes() - before, 1, "block {block}");
    }
}

#[test]
fn settings_that_cannot_be() {
    let wrong = [
        settings(MIB, &[("block_size", "3M")]),
        settings(MIB, &[("block_size", "512K")]),
        settings(MIB, &[("log_size", "1000")]),
        settings(MIB, &[("subformat", "thick")]),
        settings(MIB, &[("speed", "11")]),
        settings(1000, &[]),
        settings((64 << 40) + 512, &[]),
        settings(0, &[]),
    ];
    for options in wrong {
        let error = create(JournalSource::new(0, "new", vec![]), &options).err();
        assert!(matches!(error, Some(fumehood_plugin::Error::Unsupported(_))), "{options:?}");
    }
}

/// An image of 10 GiB with a log to carry out, from QEMU's own tests, and images of
/// Hyper-V. `FUMEHOOD_CORPUS` names the folder that `vhdx` with them lies in; otherwise
/// it is `shared/corpus` beside the project, if that is there.
#[test]
fn samples() {
    let Some(samples) = corpus("vhdx") else { return };
    let bench = Bench::new("samples");
    let names = ["hyperv-dynamic.vhdx.gz", "qemu-iotests-iotest-dirtylog-10G-4M.vhdx.bz2"];
    for name in names {
        let bytes = unpacked(&samples.join(name));
        write_sparse(&bench, "sample.vhdx", &bytes);
        bench.run("qemu-img", &["check", "-q", "-r", "all", "-f", "vhdx", "sample.vhdx"]);
        bench.run("qemu-img", &["convert", "-f", "vhdx", "-O", "raw", "sample.vhdx", "theirs.raw"]);
        write_raw(&bytes, &bench.text("ours.raw"));
        let compare = ["compare", "-q", "-f", "raw", "-F", "raw", "ours.raw", "theirs.raw"];
        bench.run("qemu-img", &compare);
        assert_eq!(findings(&bytes), []);
        // Opened for writing, the log is carried out for good.
        let source = JournalSource::new(0, "sample", bytes.clone());
        open(source.clone()).unwrap().close().unwrap();
        write_sparse(&bench, "opened.vhdx", &source.bytes());
        bench.run("qemu-img", &["check", "-q", "-f", "vhdx", "opened.vhdx"]);
        bench.run(
            "qemu-img",
            &["compare", "-q", "-f", "vhdx", "-F", "raw", "opened.vhdx", "theirs.raw"],
        );
    }
    let bytes = unpacked(&samples.join("hyperv-differencing.avhdx.gz"));
    write_sparse(&bench, "child.avhdx", &bytes);
    let info = open_read(&bytes).unwrap().0.disks().remove(0);
    let parent = info.parent.unwrap();
    assert_eq!((info.size, info.granularity), (8 << 30, 512));
    assert_eq!(parent.identities[0], "ff34003b-11ed-4cf8-a166-b2be05e20b80");
    assert!(parent.references.iter().all(|path| !path.contains('\\')), "{parent:?}");
    assert_eq!(findings(&bytes), []);
    let told = bench.run("vhdiinfo", &["child.avhdx"]).to_lowercase();
    assert!(told.contains(&info.identity.unwrap()), "{told}");
}

/// What the extents say, as a sparse file.
fn write_raw(bytes: &[u8], path: &str) {
    let (image, _) = open_read(bytes).unwrap();
    let file = File::create(path).unwrap();
    let size = image.disks()[0].size;
    file.set_len(size).unwrap();
    let mut disk = image.disk(0).unwrap();
    let mut at = 0;
    while at < size {
        for extent in disk.extents(at, 1 << 30).unwrap() {
            match extent.content {
                Content::Stored(stored) => {
                    let start = stored.offset as usize;
                    let stored = &bytes[start..start + extent.length as usize];
                    file.write_all_at(stored, extent.offset).unwrap();
                }
                Content::Zero | Content::Absent => {}
                other => panic!("{other:?}"),
            }
            at = extent.end();
        }
    }
}
