//! Images that change their shape: size, parent, the room they take. QEMU reads what
//! becomes of them.

mod support;

use fumehood_plugin::simulate::JournalSource;
use fumehood_plugin::{Content, Error, Parent};
use fumehood_test_support::Bench;
use support::{
    contents, created, findings, open, open_read, opened, qemu_contents, sample, settings,
    write_sparse,
};

const MIB: u64 = 1 << 20;

#[test]
fn storage_given_back_is_used_again_and_the_file_ends_with_what_is_used() {
    let (source, mut host) = created(&settings(64 * MIB, &[("block_size", "1M")]), &[]);
    let mut sizes = vec![];
    for round in 0..6 {
        host.write(0, &sample(10 << 20, round)).unwrap();
        host.flush().unwrap();
        host.zero(0, 10 * MIB, true).unwrap();
        host.flush().unwrap();
        sizes.push(source.bytes().len());
    }
    assert!(sizes.iter().all(|size| *size == sizes[0]), "{sizes:?}");
    host.close().unwrap();
    assert_eq!(source.bytes().len(), 4 << 20);
}

#[test]
fn resized() {
    let bench = Bench::new("resize");
    for (kind, start) in [("dynamic", 5 * MIB + 512), ("fixed", 2 * MIB + 1024)] {
        let list = [("block_size", "1M"), ("subformat", kind)];
        let (source, mut host) = created(&settings(start, &list), &[]);
        host.write(0, &sample(start as usize, 4)).unwrap();
        let mut expected = host.contents().unwrap();
        for size in [9 * MIB, 3 * MIB + 512, 3 * MIB + 4096, 20 * MIB, MIB] {
            host.resize(size).unwrap();
            expected.resize(size as usize, 0);
            assert!(host.contents().unwrap() == expected, "{kind} {size}");
            host.flush().unwrap();
            assert!(qemu_contents(&bench, &source.bytes()) == expected, "{kind} {size}");
        }
        host.close().unwrap();
        assert!(qemu_contents(&bench, &source.bytes()) == expected, "{kind}");
        assert_eq!(findings(&source.bytes()), []);
    }
}

/// A BAT of 1 MiB has entries for 128 GiB in blocks of 1 MiB.
#[test]
fn a_larger_disk_needs_a_larger_bat() {
    let bench = Bench::new("move-bat");
    let (source, mut host) = created(&settings(MIB << 10, &[("block_size", "1M")]), &[]);
    host.write(1023 * MIB, &sample(1 << 20, 1)).unwrap();
    host.flush().unwrap();
    drop(host);
    // Not through the host over memory, which would read all of the new disk.
    let image = open(source.clone()).unwrap();
    let mut disk = image.disk(0).unwrap();
    disk.resize(300 << 30).unwrap();
    let placed = disk.place(299 << 30, 512).unwrap();
    disk.commit(&[(placed[0].offset, placed[0].length)]).unwrap();
    disk.flush().unwrap();
    for close in [false, true] {
        if close {
            image.close().unwrap();
        }
        assert_eq!(findings(&source.bytes()), []);
        let (image, _) = open_read(&source.bytes()).unwrap();
        assert_eq!(image.disks()[0].size, 300 << 30);
        let mut disk = image.disk(0).unwrap();
        for at in [1023 * MIB, 299 << 30] {
            let extent = disk.extents(at, 1).unwrap().remove(0);
            assert!(matches!(extent.content, Content::Stored(_)), "{extent:?}");
        }
        write_sparse(&bench, "grown.vhdx", &source.bytes());
        let check = ["check", "-q", "-r", "all", "-f", "vhdx", "grown.vhdx"];
        bench.run("qemu-img", &check);
        let read = format!("read -P {} 1023M 512", sample(1, 1)[0]);
        bench.run("qemu-io", &["-r", "-f", "vhdx", "-c", &read, "grown.vhdx"]);
    }
}

#[test]
fn another_parent_and_none() {
    let parent = sample(6 << 20, 2);
    let mut options = settings(6 * MIB, &[("block_size", "1M")]);
    let first = "11111111-2222-4333-8444-555555555555";
    let second = "aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee";
    let named = |identity: &str, path: &str| Parent {
        references: vec![path.into()],
        identities: vec![identity.into()],
        format: None,
    };
    options.parent = Some(named(first, "first.vhdx"));
    let (source, mut host) = created(&options, &parent);
    for at in [512, MIB + 1024, 5 * MIB] {
        host.write(at, &sample(2048, 8)).unwrap();
    }
    host.close().unwrap();

    let image = open(source.clone()).unwrap();
    let longer = "../other/".repeat(200) + "second.vhdx";
    image.disk(0).unwrap().rebase(Some(named(second, &longer))).unwrap();
    image.close().unwrap();
    let recorded = open_read(&source.bytes()).unwrap().0.disks()[0].parent.clone().unwrap();
    assert_eq!((&recorded.identities[0][..], &recorded.references[0]), (second, &longer));

    // The host keeps what it wants to keep before it lets go of a parent.
    let mut host = opened(&source, &parent);
    let shown = host.contents().unwrap();
    host.write(0, &shown[..3 << 20]).unwrap();
    host.zero(3 * MIB, 2 * MIB, true).unwrap();
    host.flush().unwrap();
    let mut expected = vec![0; 6 << 20];
    expected[..3 << 20].copy_from_slice(&shown[..3 << 20]);
    expected[5 << 20..][..2048].copy_from_slice(&sample(2048, 8));
    drop(host);
    let image = open(source.clone()).unwrap();
    let mut disk = image.disk(0).unwrap();
    disk.rebase(None).unwrap();
    let room = disk.place(4 * MIB, 512).unwrap();
    assert!(room[0].fresh && room[0].zeroed);
    disk.commit(&[(4 * MIB, 512)]).unwrap();
    image.close().unwrap();
    assert!(open_read(&source.bytes()).unwrap().0.disks()[0].parent.is_none());
    let bench = Bench::new("rebase");
    assert!(qemu_contents(&bench, &source.bytes()) == expected);
    assert!(contents(&source.bytes(), MIB).unwrap() == expected);
}

/// What is placed and cannot be kept for want of room can be tried again.
#[test]
fn no_space() {
    let (source, mut host) = created(&settings(64 * MIB, &[("block_size", "1M")]), &[]);
    host.write(0, &[1; 512]).unwrap();
    source.limit(6 * MIB);
    let failed = host.write(8 * MIB, &sample(5 << 20, 6));
    assert_eq!(failed, Err(Error::NoSpace));
    host.flush().unwrap();
    source.limit(1 << 30);
    host.write(8 * MIB, &sample(5 << 20, 6)).unwrap();
    let shown = host.contents().unwrap();
    assert!(shown[8 << 20..13 << 20] == sample(5 << 20, 6));
    host.close().unwrap();
    assert!(contents(&source.bytes(), MIB).unwrap() == shown);
}

/// A crash may leave bits of a block that was never linked.
#[test]
fn bits_of_a_block_that_is_not_here_mean_nothing() {
    let parent = sample(4 << 20, 1);
    let mut options = settings(4 * MIB, &[("block_size", "1M")]);
    options.parent = Some(Parent {
        references: vec![],
        identities: vec!["11111111-2222-4333-8444-555555555555".into()],
        format: None,
    });
    let (source, mut host) = created(&options, &parent);
    host.write(0, &[1; 512]).unwrap();
    host.close().unwrap();
    let mut bytes = source.bytes();
    let entry = (3 << 20) + 4096 * 8;
    let entry = u64::from_le_bytes(bytes[entry..entry + 8].try_into().unwrap());
    assert_eq!(entry & 7, 6);
    let bits = (entry >> 20 << 20) as usize;
    bytes[bits + 256..bits + 512].fill(0xff);
    let source = JournalSource::new(0, "disk", bytes);
    let mut host = opened(&source, &parent);
    let mut expected = host.contents().unwrap();
    assert!(expected[1 << 20..2 << 20] == parent[1 << 20..2 << 20]);
    // Zeroes hide the parent, here and opened again.
    host.zero(3 * MIB, MIB, true).unwrap();
    expected[3 << 20..].fill(0);
    host.write(MIB + 1024, &[2; 512]).unwrap();
    expected[(1 << 20) + 1024..][..512].fill(2);
    host.flush().unwrap();
    assert!(host.contents().unwrap() == expected);
    host.close().unwrap();
    assert!(opened(&source, &parent).contents().unwrap() == expected);
}
