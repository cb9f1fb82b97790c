//! Images that QEMU makes, read here; images made and written here, read by QEMU and
//! libvhdi.

mod support;

use std::fs;
use std::rc::Rc;

use fumehood_plugin::memory::MemoryHost;
use fumehood_plugin::simulate::{JournalSource, Random, SimulatedHost};
use fumehood_plugin::{Access, CreateOptions, Format, Glimpse, Image, OpenOptions, Parent, Result};
use fumehood_test_support::Bench;
use fumehood_test_support::tool::run;
use fumehood_vhd::Vhd;
use support::{PARENT_ID, open, read_all, vhdiinfo};

fn writable(main: &JournalSource) -> Result<Box<dyn Image>> {
    let options = OpenOptions { access: Access::ReadWrite, ..OpenOptions::read_only() };
    Vhd::open(Rc::new(main.clone()), Rc::new(MemoryHost::new()), options)
}

fn created(main: &JournalSource, options: CreateOptions) -> Result<Box<dyn Image>> {
    Vhd::create(Rc::new(main.clone()), Rc::new(MemoryHost::new()), options)
}

fn with(size: u64, settings: &[(&str, &str)]) -> CreateOptions {
    let settings = fumehood_test_support::settings(settings);
    CreateOptions { settings, seed: [9; 32], now: 1_600_000_000, ..CreateOptions::new(size) }
}

/// What QEMU reads from an image, or `None` where it refuses.
fn by_qemu(bench: &Bench, bytes: &[u8]) -> Vec<u8> {
    bench.write("theirs.vhd", bytes);
    bench.qemu_reads("vpc", "theirs.vhd")
}

/// The same writes on the image and on a copy of its disk.
fn scribble(host: &mut SimulatedHost, disk: &mut [u8], seed: u64, count: usize) {
    let mut random = Random::new(seed);
    let sectors = disk.len() as u64 / 512;
    for _ in 0..count {
        let longest = 1 + random.below(sectors / 4);
        let length = 1 + random.below(longest);
        let first = random.below(sectors - length + 1) * 512;
        let length = length * 512;
        let range = first as usize..(first + length) as usize;
        match random.below(6) {
            0 => {
                host.zero(first, length, random.one_in(2)).unwrap();
                disk[range].fill(0);
            }
            1 => host.flush().unwrap(),
            _ => {
                let fill = random.next_word() as u8;
                host.write(first, &vec![fill; length as usize]).unwrap();
                disk[range].fill(fill);
            }
        }
    }
    assert!(host.contents().unwrap() == disk);
}

#[test]
fn what_qemu_writes_is_read() {
    let bench = Bench::new("qemu-writes");
    for (subformat, force) in
        [("dynamic", "on"), ("dynamic", "off"), ("fixed", "on"), ("fixed", "off")]
    {
        let path = bench.text("disk.vhd");
        let options = format!("subformat={subformat},force_size={force}");
        run("qemu-img", &["create", "-q", "-f", "vpc", "-o", &options, &path, "9M"]);
        run(
            "qemu-io",
            &[
                "-f",
                "vpc",
                "-c",
                "write -P 1 0 5k",
                "-c",
                "write -P 2 3M 1234k",
                "-c",
                "write -P 3 8703k 1k",
                "-c",
                "write -P 4 6143k 2k",
                &path,
            ],
        );
        let bytes = bench.read("disk.vhd");
        assert!(read_all(&bytes).unwrap() == by_qemu(&bench, &bytes), "{options}");
        assert_eq!(open(&bytes, &[]).unwrap().disk(0).unwrap().check(false).unwrap(), []);
        let tail = bytes[bytes.len() - 65_536.min(bytes.len())..].to_vec();
        let head = bytes[..65_536.min(bytes.len())].to_vec();
        let glimpse = Glimpse { name: "disk".into(), size: bytes.len() as u64, head, tail };
        assert_eq!(Vhd::probe(&glimpse), fumehood_plugin::Confidence::Certain, "{options}");

        // Written here, and read by QEMU again.
        let mut disk = read_all(&bytes).unwrap();
        let main = JournalSource::new(0, "disk.vhd", bytes);
        let mut host = SimulatedHost::new(writable(&main).unwrap(), main.clone(), vec![]).unwrap();
        scribble(&mut host, &mut disk, 5, 40);
        host.close().unwrap();
        assert!(by_qemu(&bench, &main.bytes()) == disk, "{options}");
        vhdiinfo(&bench.path("theirs.vhd"));
    }
}

#[test]
fn what_is_made_here_is_read_by_qemu() {
    let bench = Bench::new("made-here");
    let cases: [(u64, &[(&str, &str)]); 6] = [
        (10 << 20, &[]),
        ((5 << 20) + 512, &[("subformat", "fixed")]),
        ((7 << 20) + 1536, &[("subformat", "dynamic")]),
        (3 << 20, &[("block_size", "524288")]),
        (1 << 20, &[("block_size", "4096")]),
        (40 << 20, &[("block_size", "16777216")]),
    ];
    for (number, (size, settings)) in cases.into_iter().enumerate() {
        let main = JournalSource::new(0, "disk.vhd", vec![]);
        let image = created(&main, with(size, settings)).unwrap();
        let mut host = SimulatedHost::new(image, main.clone(), vec![]).unwrap();
        let mut disk = vec![0; size as usize];
        scribble(&mut host, &mut disk, number as u64, 30);
        host.close().unwrap();
        assert!(by_qemu(&bench, &main.bytes()) == disk, "{settings:?}");
        assert!(read_all(&main.bytes()).unwrap() == disk, "{settings:?}");
        let told = vhdiinfo(&bench.path("theirs.vhd"));
        assert!(told.contains(&format!("({size} bytes)")), "{told}");
        let identity = open(&main.bytes(), &[]).unwrap().disks()[0].identity.clone().unwrap();
        assert!(told.contains(&identity), "{told} {identity}");

        // Written by QEMU, and read here again.
        let path = bench.text("theirs.vhd");
        run("qemu-io", &["-f", "vpc", "-c", "write -P 77 100k 300k", &path]);
        disk[100 << 10..400 << 10].fill(77);
        assert!(read_all(&bench.read("theirs.vhd")).unwrap() == disk, "{settings:?}");
    }
}

#[test]
fn closing_leaves_no_room_that_was_not_used() {
    let main = JournalSource::new(0, "disk.vhd", vec![]);
    let image = created(&main, with(64 << 20, &[])).unwrap();
    let mut host = SimulatedHost::new(image, main.clone(), vec![]).unwrap();
    host.flush().unwrap();
    let empty = main.bytes().len();
    host.write(0, &[1; 4096]).unwrap();
    host.write(40 << 20, &[1; 4096]).unwrap();
    host.flush().unwrap();
    assert!(main.bytes().len() > empty);
    host.zero(0, 64 << 20, true).unwrap();
    host.close().unwrap();
    assert!(main.bytes().len() <= empty + 4096, "{} {empty}", main.bytes().len());
}

#[test]
fn a_flush_costs_at_most_one_of_the_source() {
    let main = JournalSource::new(0, "disk.vhd", vec![]);
    let image = created(&main, with(64 << 20, &[])).unwrap();
    let mut host = SimulatedHost::new(image, main.clone(), vec![]).unwrap();
    host.write(0, &[1; 4096]).unwrap();
    host.flush().unwrap();
    main.take_events();
    host.write(8192, &[1; 4096]).unwrap();
    host.flush().unwrap();
    // The host's own, and nothing of the plugin's.
    assert_eq!(main.flushes(), 1);
}

#[test]
fn sizes_change() {
    let bench = Bench::new("sizes");
    for settings in [&[("block_size", "65536")][..], &[("subformat", "fixed")]] {
        let main = JournalSource::new(0, "disk.vhd", vec![]);
        let image = created(&main, with(1 << 20, settings)).unwrap();
        let mut host = SimulatedHost::new(image, main.clone(), vec![]).unwrap();
        let mut disk = vec![0; 1 << 20];
        for (round, size) in
            [700u64 << 10, 3 << 20, (2 << 20) + 512, 50 << 20].into_iter().enumerate()
        {
            scribble(&mut host, &mut disk, round as u64, 12);
            host.resize(size).unwrap();
            disk.resize(size as usize, 0);
            assert!(host.contents().unwrap() == disk, "{size}");
            host.flush().unwrap();
            assert!(by_qemu(&bench, &main.bytes()) == disk, "{size}");
        }
        host.close().unwrap();
        assert!(by_qemu(&bench, &main.bytes()) == disk);
        vhdiinfo(&bench.path("theirs.vhd"));
    }
}

fn parent_of(name: &str, identity: &str) -> Parent {
    let references = vec![name.into(), "/images/base.vhd".into(), "C:\\vm\\base.vhd".into()];
    Parent { references, identities: vec![identity.into()], format: Some("vhd".into()) }
}

#[test]
fn a_child_names_its_parent_and_can_be_given_another_or_none() {
    let bench = Bench::new("child");
    let size = 3 << 20;
    let base: Vec<u8> = (0..size).map(|at| (at / 512) as u8 | 1).collect();
    let mut options = with(size, &[("block_size", "65536")]);
    options.parent = Some(parent_of("sub/base.vhd", PARENT_ID));
    let main = JournalSource::new(0, "child.vhd", vec![]);
    let image = created(&main, options).unwrap();
    let mut host = SimulatedHost::new(image, main.clone(), base.clone()).unwrap();
    let mut disk = base.clone();
    scribble(&mut host, &mut disk, 3, 20);

    let show = |parent: &str| {
        fs::write(bench.path("child.vhd"), main.bytes()).unwrap();
        let told = vhdiinfo(&bench.path("child.vhd"));
        assert!(told.contains("Differential") && told.contains(parent), "{told}");
        open(&main.bytes(), &[]).unwrap().disks()[0].parent.clone().unwrap()
    };
    host.flush().unwrap();
    let found = show(PARENT_ID);
    assert_eq!(found.identities, [PARENT_ID]);
    let names = ["sub/base.vhd", "C:\\vm\\base.vhd", "/images/base.vhd", "base.vhd"];
    assert_eq!(found.references, names);

    let other = "ffffffff-0000-4000-8000-00000000ffff";
    host.disk().rebase(Some(parent_of("other.vhd", other))).unwrap();
    host.flush().unwrap();
    assert_eq!(show(other).references[0], "other.vhd");
    assert!(host.contents().unwrap() == disk);

    // All of it is copied, as the host does before it takes the parent away.
    host.write(0, &disk).unwrap();
    host.flush().unwrap();
    host.disk().rebase(None).unwrap();
    host.flush().unwrap();
    scribble(&mut host, &mut disk, 4, 20);
    host.close().unwrap();
    assert!(by_qemu(&bench, &main.bytes()) == disk);
    assert_eq!(open(&main.bytes(), &[]).unwrap().disks()[0].parent, None);
}

#[test]
fn no_space_can_be_tried_again() {
    for settings in [&[("block_size", "65536")][..], &[("subformat", "fixed")]] {
        let main = JournalSource::new(0, "disk.vhd", vec![]);
        let image = created(&main, with(4 << 20, settings)).unwrap();
        let mut host = SimulatedHost::new(image, main.clone(), vec![]).unwrap();
        let mut disk = vec![0; 4 << 20];
        let step = 40 << 10;
        for (number, chunk) in disk.chunks_mut(step).enumerate() {
            chunk.fill(number as u8 | 1);
            main.limit(main.bytes().len() as u64);
            if host.write((number * step) as u64, chunk).is_err() {
                main.limit(1 << 30);
                host.write((number * step) as u64, chunk).unwrap();
            }
        }
        assert!(host.contents().unwrap() == disk);
        host.close().unwrap();
        assert!(read_all(&main.bytes()).unwrap() == disk);
    }
}

#[test]
fn bits_that_are_clear_are_set_before_the_host_writes() {
    let bench = Bench::new("bits");
    let path = bench.text("disk.vhd");
    run("qemu-img", &["create", "-q", "-f", "vpc", "-o", "force_size=on", &path, "4M"]);
    run("qemu-io", &["-f", "vpc", "-c", "write -P 1 0 4k", &path]);
    let mut bytes = bench.read("disk.vhd");
    // The first block's bitmap: only the written sectors' bits, as Hyper-V has it.
    let bitmap = u32::from_be_bytes(bytes[1536..1540].try_into().unwrap()) as usize * 512;
    assert_eq!(bytes[bitmap..bitmap + 512], [0xff; 512]);
    bytes[bitmap + 1..bitmap + 512].fill(0);
    let main = JournalSource::new(0, "disk.vhd", bytes);
    let mut host = SimulatedHost::new(writable(&main).unwrap(), main.clone(), vec![]).unwrap();
    assert_eq!(main.events(), []);
    host.write(1 << 20, &[2; 512]).unwrap();
    host.close().unwrap();
    assert_eq!(main.bytes()[bitmap..bitmap + 512], [0xff; 512]);
    let disk = by_qemu(&bench, &main.bytes());
    assert_eq!((disk[0], disk[4096], disk[1 << 20], disk[(1 << 20) + 512]), (1, 0, 2, 0));
}

#[test]
fn what_was_never_committed_does_not_show_when_the_parent_goes() {
    let mut options = with(1 << 20, &[("block_size", "65536")]);
    options.parent = Some(parent_of("base.vhd", PARENT_ID));
    let main = JournalSource::new(0, "child.vhd", vec![]);
    let image = created(&main, options).unwrap();
    let mut host = SimulatedHost::new(image, main.clone(), vec![]).unwrap();
    host.write(0, &[1; 512]).unwrap();
    host.flush().unwrap();
    host.write(512, &[2; 1024]).unwrap();
    drop(host);
    let mut host = SimulatedHost::new(writable(&main).unwrap(), main.clone(), vec![]).unwrap();
    host.disk().rebase(None).unwrap();
    host.close().unwrap();
    let disk = by_qemu(&Bench::new("uncommitted"), &main.bytes());
    assert_eq!((disk[511], disk[512], disk[1024]), (1, 0, 0));
    assert!(read_all(&main.bytes()).unwrap() == disk);
}
