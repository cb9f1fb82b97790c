//! Every crash of a workload, opened again; some of them by QEMU.

mod support;

use fumehood_plugin::simulate::{CrashReplay, JournalSource, crash_replay, crashes};
use fumehood_plugin::{Content, CreateOptions, Parent, Source};
use fumehood_test_support::Bench;
use support::{
    contents, create, created, findings, open, open_read, opened, qemu_contents, settings,
    write_sparse,
};

const MIB: u64 = 1 << 20;

/// `VHDX_CRASHES` sets how many states are tried.
fn count() -> usize {
    let given = std::env::var("VHDX_CRASHES").ok().and_then(|count| count.parse().ok());
    given.unwrap_or(200)
}

fn replay(seed: u64, options: &CreateOptions, parent: &[u8], judge: &dyn Fn(&[u8])) {
    let replay = CrashReplay {
        seed,
        operations: 60,
        parent: parent.to_vec(),
        disk_size: options.size,
        crashes: count(),
    };
    crash_replay(replay, &|source| create(source, options), &open, judge);
}

fn judge_by_qemu(bench: &Bench, bytes: &[u8]) {
    assert_eq!(findings(bytes), []);
    assert!(qemu_contents(bench, bytes) == contents(bytes, MIB).unwrap());
}

#[test]
fn dynamic() {
    let bench = Bench::new("crash-dynamic");
    for (seed, size) in [(1, 5 * MIB), (2, 6 * MIB + 1536)] {
        let options = settings(size, &[("block_size", "1M")]);
        replay(seed, &options, &[], &|bytes| judge_by_qemu(&bench, bytes));
    }
}

#[test]
fn fixed() {
    let bench = Bench::new("crash-fixed");
    let options = settings(3 * MIB + 512, &[("block_size", "1M"), ("subformat", "fixed")]);
    replay(3, &options, &[], &|bytes| judge_by_qemu(&bench, bytes));
}

#[test]
fn differencing() {
    let parent: Vec<u8> = (0..4 * MIB + 700).map(|at| (at / 512 % 251 + 1) as u8).collect();
    let recorded = Parent {
        references: vec!["parent.vhdx".into()],
        identities: vec!["ff34003b-11ed-4cf8-a166-b2be05e20b80".into()],
        format: None,
    };
    for (seed, block_size) in [(4, "1M"), (5, "2M")] {
        let mut options = settings(5 * MIB + 1024, &[("block_size", block_size)]);
        options.parent = Some(recorded.clone());
        replay(seed, &options, &parent, &|bytes| assert_eq!(findings(bytes), []));
    }
}

/// Blocks far from each other: each has a page of the BAT of its own, and together
/// they are more than the log holds at once.
#[test]
fn a_commit_larger_than_the_log() {
    const APART: u64 = 512 * MIB;
    const BLOCKS: u64 = 150;
    let options = settings(BLOCKS * APART, &[("block_size", "1M")]);
    let source = JournalSource::new(0, "disk.vhdx", vec![]);
    let image = create(source.clone(), &options).unwrap();
    let mut disk = image.disk(0).unwrap();
    let ranges: Vec<_> = (0..BLOCKS).map(|number| (number * APART, MIB)).collect();
    for (at, _) in &ranges {
        assert!(disk.place(*at, 1).unwrap()[0].fresh);
    }
    disk.flush().unwrap();
    source.take_events();
    let initial = source.bytes();
    disk.commit(&ranges).unwrap();
    let before = source.flushes();
    disk.flush().unwrap();
    assert!(source.flushes() - before <= 1);
    source.mark(1);
    assert!(source.flushes() <= 4, "{}", source.flushes());
    let linked = |bytes: &[u8]| {
        let (image, _) = open_read(bytes).unwrap();
        let mut disk = image.disk(0).unwrap();
        let mut is_stored = |at: &u64| {
            let extent = disk.extents(*at, 1).unwrap().remove(0);
            matches!(extent.content, Content::Stored(_))
        };
        ranges.iter().filter(|(at, _)| is_stored(at)).count() as u64
    };
    assert_eq!(linked(&source.bytes()), BLOCKS);
    let (mut some, events) = (0, source.events());
    for crash in crashes(&initial, &events, 1, 24) {
        let count = linked(&crash.bytes);
        some += u64::from(count > 0 && count < BLOCKS);
        assert!(crash.last == 0 || count == BLOCKS, "{count}");
        assert_eq!(findings(&crash.bytes), []);
    }
    assert!(some > 0);
    let bench = Bench::new("crash-large");
    write_sparse(&bench, "image.vhdx", &source.bytes());
    bench.run("qemu-img", &["check", "-q", "-r", "all", "-f", "vhdx", "image.vhdx"]);
    let read = format!("read -P 0 {} 1M", (BLOCKS - 1) * APART);
    bench.run("qemu-io", &["-r", "-f", "vhdx", "-c", &read, "image.vhdx"]);
    let again = JournalSource::new(0, "disk.vhdx", source.bytes());
    open(again.clone()).unwrap().close().unwrap();
    assert_eq!(linked(&again.bytes()), BLOCKS);
}

fn child() -> CreateOptions {
    let mut options = settings(4 * MIB, &[("block_size", "1M")]);
    options.parent = Some(Parent {
        references: vec![],
        identities: vec!["ff34003b-11ed-4cf8-a166-b2be05e20b80".into()],
        format: None,
    });
    options
}

/// Zeroes and new room are durable before the links that show them, even where the
/// host did not flush the file before.
#[test]
fn links_wait_for_what_they_rely_on() {
    let parent = vec![7; 4 << 20];
    let source = JournalSource::new(0, "disk.vhdx", vec![]);
    let image = create(source.clone(), &child()).unwrap();
    let mut disk = image.disk(0).unwrap();
    let placed = disk.place(2 * MIB, MIB).unwrap();
    source.write(placed[0].stored.offset, &[9; 1 << 20]).unwrap();
    let in_part = disk.place(3 * MIB, 512).unwrap()[0].stored.offset;
    source.write(in_part, &[7; 512]).unwrap();
    source.flush().unwrap();
    disk.commit(&[(2 * MIB, MIB), (3 * MIB, 512)]).unwrap();
    disk.flush().unwrap();
    // What a crash left of a write that was never linked.
    source.write(in_part + 4096, &[5; 1024]).unwrap();
    disk.zero(2 * MIB, MIB, true).unwrap();
    source.take_events();
    let initial = source.bytes();
    // Gives the room back, which the next block takes.
    disk.flush().unwrap();
    for at in [0, 4096, MIB + 512, 3 * MIB + 4096] {
        disk.zero(at, 1024, true).unwrap();
        disk.flush().unwrap();
    }
    let events = source.events();
    for crash in crashes(&initial, &events, 1, 400) {
        let shown = opened(&JournalSource::new(0, "crash", crash.bytes), &parent).contents();
        for (at, sector) in shown.unwrap().chunks(512).enumerate() {
            let value = if at >> 11 == 2 { 9 } else { 7 };
            let is_known = sector == [0; 512] || sector == [value; 512];
            assert!(is_known, "sector {at}: {}", sector[0]);
        }
    }
}

/// An entry of the log is needed until its pages are durable where they belong, even
/// where the next one speaks of other pages.
#[test]
fn an_entry_is_needed_until_its_pages_are_durable() {
    let options = settings(1 << 30, &[("block_size", "1M")]);
    let source = JournalSource::new(0, "disk.vhdx", vec![]);
    let image = create(source.clone(), &options).unwrap();
    let mut disk = image.disk(0).unwrap();
    let (near, far) = (0, 600 * MIB);
    disk.place(near, MIB).unwrap();
    disk.place(far, MIB).unwrap();
    source.flush().unwrap();
    disk.commit(&[(far, MIB)]).unwrap();
    disk.flush().unwrap();
    source.flush().unwrap();
    disk.commit(&[(near, MIB)]).unwrap();
    source.take_events();
    let initial = source.bytes();
    disk.flush().unwrap();
    source.mark(1);
    disk.zero(far, MIB, true).unwrap();
    disk.flush().unwrap();
    // The file becomes shorter than it was when the log was written.
    image.close().unwrap();
    assert!(source.size() < initial.len() as u64);
    let events = source.events();
    for crash in crashes(&initial, &events, 1, 1000).filter(|crash| crash.last == 1) {
        let (image, _) = open_read(&crash.bytes).unwrap();
        let extents = image.disk(0).unwrap().extents(near, 1).unwrap();
        assert!(matches!(extents[0].content, Content::Stored(_)), "{extents:?}");
    }
}

/// A crash while a session begins or ends, or while a log is carried out.
#[test]
fn beginning_ending_and_carrying_out() {
    let (source, mut host) = created(&child(), &[]);
    host.write(512, &[1; 512]).unwrap();
    host.close().unwrap();
    let at_rest = source.bytes();
    let shown = |bytes: Vec<u8>| opened(&JournalSource::new(0, "crash", bytes), &[]).contents();
    let expected = shown(at_rest.clone()).unwrap();
    let all_show = |initial: &[u8], source: &JournalSource, expected: &[u8]| {
        for crash in crashes(initial, &source.events(), 1, 300) {
            assert!(shown(crash.bytes).unwrap() == expected);
        }
    };

    let source = JournalSource::new(0, "disk", at_rest.clone());
    let image = open(source.clone()).unwrap();
    let mut disk = image.disk(0).unwrap();
    disk.place(MIB, 512).unwrap();
    all_show(&at_rest, &source, &expected);

    source.flush().unwrap();
    disk.commit(&[(MIB, 512)]).unwrap();
    source.take_events();
    let before = source.bytes();
    disk.flush().unwrap();
    source.mark(2);
    let mut crashed = source.bytes();
    // What is placed and not linked is cut off at the end.
    disk.place(2 * MIB, 512).unwrap();
    source.flush().unwrap();
    image.close().unwrap();
    let is_linked = |bytes: &[u8]| {
        let extents = open_read(bytes).unwrap().0.disk(0).unwrap().extents(MIB, 512).unwrap();
        matches!(extents[0].content, Content::Stored(_))
    };
    let events = source.events();
    for crash in crashes(&before, &events, 1, 600).filter(|crash| crash.last == 2) {
        assert!(is_linked(&crash.bytes));
    }
    assert!(open_read(&source.bytes()).unwrap().0.info().warnings.is_empty());
    assert!(!open_read(&crashed).unwrap().0.info().warnings.is_empty());

    // The pages of the log had not reached their places: the BAT lies at 3 MiB.
    let bat = 3 << 20..4 << 20;
    crashed[bat.clone()].copy_from_slice(&before[bat]);
    let source = JournalSource::new(0, "disk", crashed.clone());
    open(source.clone()).unwrap();
    for crash in crashes(&crashed, &source.events(), 1, 300) {
        assert!(is_linked(&crash.bytes));
    }
}
