//! Guests write: over NBD, into overlays, beside QEMU's own tools.

use std::os::unix::fs::MetadataExt;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use fumehood_tests::client::{Client, FLUSH, WRITE};
use fumehood_tests::content::Numbers;
use fumehood_tests::{Bench, Bounded, Server, bench, content};

const SIZE: usize = 48 << 20;
const NO_SPACE: u32 = 28;

/// A bench with `base.raw`.
fn bench() -> Bench {
    let bench = Bench::new();
    bench.write("base.raw", &content::sample(SIZE));
    bench
}

/// Serves an overlay on `base.raw`.
fn overlay(bench: &Bench, overlay: &str, more: &[&str]) -> Server {
    let image = ["base.raw", "-f", "raw", "--overlay", overlay];
    Server::unix(bench, &[&image[..], more].concat())
}

/// What qemu-img finds in an image that was closed: no error and no leak.
fn sound(bench: &Bench, name: &str) {
    bench.peer("qemu-img", ["check", "-q", name]).succeed();
}

fn stop(mut server: Server) {
    server.terminate();
    assert!(server.ended().success(), "{}", server.log());
}

#[test]
fn fio_finds_what_it_wrote_through_eight_connections() {
    let bench = bench();
    for format in ["qcow2", "vhdx", "vhd"] {
        // VHDX and VHD have parents of their own kind only.
        let base = if format == "qcow2" { "base.raw".into() } else { format!("base.{format}") };
        if format != "qcow2" {
            let convert = ["convert", "-f", "raw", "base.raw", &base, "-O", format];
            bench.fumehood(convert).succeed();
        }
        let before = bench.fingerprint(&base);
        let kind = if format == "qcow2" { "raw" } else { format };
        let image = [base.as_str(), "-f", kind, "--overlay", format, "--overlay-format", format];
        let server = Server::unix(&bench, &image);
        let mut fio = fio(&bench, server.uri());
        fio.args(["--numjobs=8", "--size=5M", "--offset_increment=6M", "--bsrange=512-128k"]);
        fio.args(["--bs_unaligned=1", "--verify=crc32c", "--do_verify=1", "--fsync=64"]);
        fio.args(["--trim_percentage=0"]);
        let outcome = fio.finish_within(Duration::from_secs(240));
        let said = outcome.stdout + &outcome.stderr;
        assert_eq!(outcome.code, Some(0), "{format}: {said} {}", server.log());
        let served = nbd_hash(&bench, &server);
        stop(server);
        assert_eq!(bench.fingerprint(&base), before, "{base} is as it was");
        let converted = bench.converted(&[format]);
        assert_eq!(converted.1, served, "{format}: what is on storage is what was served");
        if format == "qcow2" {
            sound(&bench, format);
            let flat = ["convert", "-f", "qcow2", "-O", "raw", format, "theirs.raw"];
            bench.peer("qemu-img", flat).succeed();
            assert_eq!(bench.fingerprint("theirs.raw").1, served, "QEMU reads the same");
        }
    }
}

/// Run in the bench: it leaves a file of its state wherever it runs.
fn fio(bench: &Bench, uri: &str) -> Command {
    let mut fio = bench.peer("fio", ["--thread"]);
    fio.args(["--name=write", "--ioengine=nbd", "--rw=randwrite", "--iodepth=16"]);
    fio.args(["--output-format=terse", "--verify_fatal=1"]).arg(format!("--uri={uri}"));
    fio
}

/// Hash of what is served.
fn nbd_hash(bench: &Bench, server: &Server) -> String {
    bench.peer("nbdcopy", [server.uri(), "served.raw"]).succeed();
    bench.fingerprint("served.raw").1
}

#[test]
fn the_same_commands_leave_the_same_bytes_as_in_qemus_own_overlay() {
    let bench = bench();
    let layout = "cluster_size=128k,extended_l2=on";
    let options = ["-q", "-f", "qcow2", "-b", "base.raw", "-F", "raw", "-o", layout];
    bench.peer("qemu-img", ["create"]).args(options).arg("theirs.qcow2").succeed();
    let server = overlay(&bench, "ours.qcow2", &[]);
    for round in 0..6 {
        if round == 3 {
            // A snapshot: what was written so far is frozen on both sides.
            bench.fumehood(["overlay", "new", "ours.qcow2"]).succeed();
            std::fs::rename(bench.path("theirs.qcow2"), bench.path("theirs.1.qcow2"))
                .expect("our file");
            let options = ["create", "-q", "-f", "qcow2", "-b", "theirs.1.qcow2", "-F", "qcow2"];
            bench.peer("qemu-img", options).args(["-o", layout, "theirs.qcow2"]).succeed();
        }
        if round == 4 {
            let size = (SIZE + (8 << 20)).to_string();
            bench.fumehood(["overlay", "resize", "ours.qcow2", &size]).succeed();
            bench
                .peer("qemu-img", ["resize", "-q", "-f", "qcow2", "theirs.qcow2", &size])
                .succeed();
        }
        let commands = random_commands(round, 60);
        run_qemu_io(&bench, &["-f", "qcow2", "theirs.qcow2"], &commands);
        run_qemu_io(&bench, &["-f", "raw", server.uri()], &commands);
        bench
            .peer("qemu-img", ["compare", "-f", "raw", "-F", "qcow2", server.uri(), "theirs.qcow2"])
            .succeed();
    }
    stop(server);
    for (ours, theirs) in [("ours.qcow2", "theirs.qcow2"), ("ours.1.qcow2", "theirs.1.qcow2")] {
        sound(&bench, ours);
        bench.peer("qemu-img", ["compare", ours, theirs]).succeed();
        let (ours, theirs) = (allocation(&bench, ours), allocation(&bench, theirs));
        assert_eq!(ours, theirs, "what each layer holds");
    }
}

/// What data an image holds, itself, as QEMU sees it: start and length of each run.
/// Zeroes are left out: QEMU notes them above zeroes of the parent, too.
fn allocation(bench: &Bench, name: &str) -> Vec<(u64, u64)> {
    let map = bench.peer("qemu-img", ["map", "--output=json", "-f", "qcow2", name]).succeed();
    let mut runs: Vec<(u64, u64)> = Vec::new();
    for run in bench::parse(&map).as_array().expect("runs") {
        let number = |name: &str| run[name].as_u64().expect("a number");
        if number("depth") == 0 && run["data"] == true {
            let (start, length) = (number("start"), number("length"));
            match runs.last_mut() {
                Some(last) if last.0 + last.1 == start => last.1 += length,
                _ => runs.push((start, length)),
            }
        }
    }
    assert!(!runs.is_empty(), "{name} holds something");
    runs
}

/// Writes, zeroes and flushes, of whole sectors. Discards are among them only where
/// all bytes of the range were zeroed before, since a discard may leave anything.
fn random_commands(seed: u64, count: usize) -> Vec<String> {
    let mut numbers = Numbers::new(seed + 1);
    let mut commands = Vec::new();
    for _ in 0..count {
        let longest = [8, 300, 4000][numbers.below(3)];
        let length = 512 * (1 + numbers.below(longest));
        let offset = 512 * numbers.below((SIZE - length) / 512);
        let pattern = 1 + numbers.below(254);
        match numbers.below(6) {
            0 => commands.push("flush".into()),
            1 => commands.push(format!("write -z {offset} {length}")),
            2 => commands.push(format!("write -z -u {offset} {length}")),
            3 => {
                commands.push(format!("write -z -u {offset} {length}"));
                commands.push(format!("discard {offset} {length}"));
            }
            _ => commands.push(format!("write -P {pattern} {offset} {length}")),
        }
    }
    commands
}

fn run_qemu_io(bench: &Bench, image: &[&str], commands: &[String]) {
    let mut command = bench.peer("qemu-io", ["-d", "unmap"]);
    for line in commands {
        command.args(["-c", line]);
    }
    let outcome = command.args(image).succeed();
    assert!(!outcome.stdout.contains("failed"), "{}", outcome.stdout);
}

#[test]
fn an_image_is_served_for_writing_when_asked_for() {
    let bench = bench();
    bench.create_qcow2("disk.qcow2", "cluster_size=64k", "16M");
    bench.qemu_io("disk.qcow2", &["write -P 5 1M 2M"]);
    let server = Server::unix(&bench, &["disk.qcow2", "--write"]);
    run_qemu_io(&bench, &["-f", "raw", server.uri()], &["write -P 9 1536k 1M".into()]);
    stop(server);
    sound(&bench, "disk.qcow2");
    bench.qemu_io(
        "disk.qcow2",
        &["read -P 5 1M 512k", "read -P 9 1536k 1M", "read -P 5 2560k 512k", "read -P 0 3M 1M"],
    );
}

#[test]
fn what_was_flushed_outlives_a_kill() {
    let bench = bench();
    let mut written: Vec<Option<u64>> = vec![None; 256];
    let mut numbers = Numbers::new(99);
    for round in 0..100u64 {
        let server = overlay(&bench, "work.qcow2", &[]);
        let mut client = Client::connect(server.socket()).expect("the server");
        for (place, mark) in written.iter().enumerate() {
            if let Some(mark) = mark {
                let found = client.read(offset(place), 4096).expect("a readable disk");
                assert!(found == content::noise(4096, *mark), "round {round}: place {place}");
            }
        }
        for step in 0..12 {
            let place = numbers.below(written.len());
            let mark = round << 8 | step;
            let bytes = content::noise(4096, mark);
            assert_eq!(client.request(WRITE, offset(place), 4096, &bytes), 0);
            written[place] = Some(mark);
        }
        assert_eq!(client.request(FLUSH, 0, 0, &[]), 0);
        // Written and not flushed, elsewhere: may be there or not.
        let far = (SIZE - (1 << 20)) as u64;
        assert_eq!(client.request(WRITE, far, 65536, &content::noise(65536, round)), 0);
        drop(server);
    }
    let leaks = bench.peer("qemu-img", ["check", "work.qcow2"]).finish();
    assert!(matches!(leaks.code, Some(0 | 3)), "{}{}", leaks.stdout, leaks.stderr);
    bench.fumehood(["check", "--repair", "work.qcow2"]).succeed();
    sound(&bench, "work.qcow2");
}

/// Ten kills; as many as `FUMEHOOD_KILLS` says, for a longer run by hand.
#[test]
fn fio_verifies_what_it_flushed_before_each_kill() {
    let bench = bench();
    let kills = std::env::var("FUMEHOOD_KILLS").ok().and_then(|kills| kills.parse().ok());
    let job = |uri: &str, region: &str| {
        let mut fio = fio(&bench, uri);
        fio.args(["--size=8M", "--bsrange=4k-64k", "--verify=crc32c", "--blockalign=4k"]);
        fio.arg(format!("--offset={region}"));
        fio
    };
    for round in 0..kills.unwrap_or(10) {
        let seed = format!("--randseed={round}");
        let server = overlay(&bench, "work.qcow2", &[]);
        job(server.uri(), "0").args(["--do_verify=0", "--end_fsync=1", &seed]).succeed();
        // Killed while it takes more.
        let mut more = job(server.uri(), "24M")
            .args(["--do_verify=0", "--loops=50", &seed])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("fio");
        thread::sleep(Duration::from_millis(150 + 20 * (round % 10)));
        drop(server);
        more.wait().expect("our child");
        let server = overlay(&bench, "work.qcow2", &[]);
        job(server.uri(), "0").args(["--verify_only", &seed]).succeed();
        stop(server);
    }
}

#[test]
fn what_is_trimmed_gives_its_storage_back() {
    let bench = bench();
    let server = overlay(&bench, "work.qcow2", &[]);
    let allocated = || bench.path("work.qcow2").metadata().expect("our file").blocks() * 512;
    run_qemu_io(&bench, &["-f", "raw", server.uri()], &["write -P 7 0 24M".into(), "flush".into()]);
    let full = allocated();
    assert!(full >= 24 << 20, "{full}");
    run_qemu_io(&bench, &["-f", "raw", server.uri()], &["discard 0 23M".into(), "flush".into()]);
    assert!(allocated() < full - (22 << 20), "{} of {full}", allocated());
    // What was given back is used again before the file grows.
    let length = bench.path("work.qcow2").metadata().expect("our file").len();
    run_qemu_io(&bench, &["-f", "raw", server.uri()], &["write -P 8 24M 16M".into()]);
    stop(server);
    let grown = bench.path("work.qcow2").metadata().expect("our file").len();
    assert!(grown <= length + (2 << 20), "{grown} after {length}");
    sound(&bench, "work.qcow2");
}

fn offset(place: usize) -> u64 {
    (place * 150_000 / 512 * 512) as u64
}

#[test]
fn a_full_file_system_is_told_and_harms_nothing() {
    let bench = bench();
    let folder = bench.path("small");
    std::fs::create_dir(&folder).expect("our folder");
    let mount = ["-t", "tmpfs", "-o", "size=3M", "none"];
    if bench.peer("mount", mount).arg(&folder).finish().code != Some(0) {
        eprintln!("skipped: only root can mount a small file system");
        return;
    }
    let result = std::panic::catch_unwind(|| {
        let server = overlay(&bench, "small/work.qcow2", &[]);
        let mut client = Client::connect(server.socket()).expect("the server");
        let chunk = content::noise(1 << 20, 3);
        let answers: Vec<u32> =
            (0..8).map(|n| client.request(WRITE, n << 20, 1 << 20, &chunk)).collect();
        assert_eq!(answers[0], 0);
        assert!(answers.contains(&NO_SPACE), "{answers:?}");
        assert!(client.read(0, 1 << 20).expect("a readable disk") == chunk);
        let flushed = client.request(FLUSH, 0, 0, &[]);
        assert!([0, NO_SPACE].contains(&flushed), "{flushed}");
        bench.peer("mount", ["-o", "remount,size=64M"]).arg(&folder).succeed();
        for n in 0..8 {
            assert_eq!(client.request(WRITE, n << 20, 1 << 20, &chunk), 0, "there is room again");
        }
        assert_eq!(client.request(FLUSH, 0, 0, &[]), 0);
        stop(server);
        sound(&bench, "small/work.qcow2");
        let mut model = bench.read("base.raw");
        model[..8 << 20].copy_from_slice(&chunk.repeat(8));
        let image = ["small/work.qcow2", "--allow", "base.raw"];
        assert_eq!(bench.converted(&image).1, content::hash(&model));
    });
    bench.peer("umount", ["-l"]).arg(&folder).succeed();
    result.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
}

#[test]
fn qemu_and_we_keep_off_each_others_images() {
    let bench = bench();
    let server = overlay(&bench, "work.qcow2", &[]);
    let refused = bench.peer("qemu-io", ["-f", "qcow2", "-c", "quit", "work.qcow2"]).finish();
    let said = refused.stdout + &refused.stderr;
    assert!(said.contains("Failed to get") && said.contains("lock"), "{said}");
    let refused = bench.fumehood(["info", "work.qcow2"]).end_with(1);
    assert!(refused.stderr.contains("another program writes it"), "{}", refused.stderr);
    stop(server);
    let socket = format!("unix:{}", bench.path("theirs.sock").display());
    let mut theirs = bench
        .peer("qemu-nbd", ["-f", "qcow2", "-t", "-k"])
        .arg(bench.path("theirs.sock"))
        .arg("work.qcow2")
        .spawn()
        .expect("qemu-nbd");
    while !bench.path("theirs.sock").exists() {
        thread::sleep(Duration::from_millis(20));
    }
    let image = ["base.raw", "-f", "raw", "--overlay", "work.qcow2", "--nbd", &socket];
    let refused = bench.fumehood([&["serve"][..], &image].concat()).end_with(1);
    theirs.kill().expect("our child");
    theirs.wait().expect("our child");
    assert!(refused.stderr.contains("another program uses it"), "{}", refused.stderr);
}

#[test]
fn an_overlay_knows_its_parent() {
    let bench = bench();
    stop(overlay(&bench, "work.qcow2", &[]));
    // Grown, it is another disk.
    let mut other = content::sample(SIZE);
    other[100] ^= 1;
    bench.write("base.raw", &other);
    let socket = format!("unix:{}", bench.path("nbd.sock").display());
    let image = ["base.raw", "-f", "raw", "--overlay", "work.qcow2", "--nbd", &socket];
    let refused = bench.fumehood([&["serve"][..], &image].concat()).end_with(1);
    assert!(refused.stderr.contains("made on a parent with identity"), "{}", refused.stderr);
    bench.write("other.raw", &content::sample(SIZE));
    let image = ["other.raw", "-f", "raw", "--overlay", "work.qcow2", "--nbd", &socket];
    let refused = bench.fumehood([&["serve"][..], &image].concat()).end_with(1);
    assert!(refused.stderr.contains("base.raw"), "{}", refused.stderr);
}

#[test]
fn clients_are_told_that_they_may_write() {
    let bench = bench();
    let server = overlay(&bench, "work.qcow2", &[]);
    let info = bench::parse(&bench.peer("nbdinfo", ["--json", server.uri()]).succeed());
    let export = &info["exports"][0];
    for can in ["can_flush", "can_fua", "can_trim", "can_zero", "can_fast_zero", "can_multi_conn"] {
        assert_eq!(export[can], true, "{can}");
    }
    assert_eq!(export["is_read_only"], false);
    stop(server);
}
