//! The server as its clients find it: libnbd, QEMU and fio over Unix and TCP.

use std::thread;

use fumehood_tests::client::{Client, WRITE};
use fumehood_tests::{Bench, Bounded, Server, bench, content, map, peer};

const SIZE: usize = 6 << 20;

/// A bench with `disk.raw`, and the same disk as `disk.qcow2`: compressed, but for
/// what was written again.
fn served() -> Bench {
    let bench = Bench::new();
    bench.write("disk.raw", &content::sample(SIZE));
    let head = ["convert", "-c", "-f", "raw", "-O", "qcow2"];
    bench.peer("qemu-img", [&head[..], &["disk.raw", "disk.qcow2"]].concat()).succeed();
    bench.qemu_io("disk.qcow2", &["write -s $noise 256k 1M", "write -z 3M 100k"]);
    let flat = ["convert", "-f", "qcow2", "-O", "raw", "disk.qcow2", "disk.raw"];
    bench.peer("qemu-img", flat).succeed();
    bench
}

#[test]
fn libnbd_is_told_size_flags_and_name() {
    let bench = served();
    let server = Server::unix(&bench, &["disk.qcow2"]);
    let info = bench::parse(&bench.peer("nbdinfo", ["--json", server.uri()]).succeed());
    let export = &info["exports"][0];
    assert_eq!(info["protocol"], "newstyle-fixed");
    assert_eq!(export["export-name"], "");
    assert_eq!(export["export-size"], SIZE);
    assert_eq!(export["is_read_only"], true);
    assert_eq!(export["can_multi_conn"], true);
    assert_eq!(export["can_df"], true);
    let contexts = export["contexts"].to_string();
    assert!(contexts.contains("base:allocation"), "{contexts}");
}

#[test]
fn nbdcopy_gets_every_byte_over_unix_and_tcp() {
    let bench = served();
    for server in [Server::unix(&bench, &["disk.qcow2"]), Server::tcp(&bench, &["disk.qcow2"])] {
        bench.peer("nbdcopy", [server.uri(), "copy.raw"]).succeed();
        assert_eq!(
            bench.fingerprint("copy.raw"),
            bench.fingerprint("disk.raw"),
            "{}",
            server.uri()
        );
        let arguments = ["--synchronous", "--no-extents", server.uri(), "copy.raw"];
        bench.peer("nbdcopy", arguments).succeed();
        assert_eq!(
            bench.fingerprint("copy.raw"),
            bench.fingerprint("disk.raw"),
            "{}",
            server.uri()
        );
    }
}

#[test]
fn qemu_finds_the_same_disk() {
    let bench = served();
    for server in [Server::unix(&bench, &["disk.qcow2"]), Server::tcp(&bench, &["disk.qcow2"])] {
        let arguments = ["compare", "-f", "raw", "-F", "raw", "disk.raw", server.uri()];
        let outcome = bench.peer("qemu-img", arguments).succeed();
        assert!(outcome.stdout.contains("identical"), "{}", outcome.stdout);
    }
}

#[test]
fn reads_at_odd_offsets_are_right() {
    let bench = Bench::new();
    bench.create_qcow2("disk.qcow2", "cluster_size=4k", "6M");
    let writes = ["write -P 17 0 3M", "write -P 34 1000k 100k", "write -z 2M 64k"];
    bench.qemu_io("disk.qcow2", &writes);
    let server = Server::unix(&bench, &["disk.qcow2"]);
    let reads = [
        "read -P 17 1 511",
        "read -P 17 4095 2",
        "read -P 17 1023999 1",
        "read -P 34 1024000 102400",
        "read -P 34 1024001 4097",
        "read -P 17 1126400 3",
        "read -P 0 2097152 65536",
        "read -P 17 2162688 983040",
        "read -P 0 3145729 3145727",
        "read -P 0 6291455 1",
    ];
    let mut command = bench.peer("qemu-io", ["-r", "-f", "raw"]);
    for read in reads {
        command.args(["-c", read]);
    }
    let outcome = command.arg(server.uri()).succeed();
    assert!(!outcome.stdout.contains("failed"), "{}", outcome.stdout);
    assert_eq!(outcome.stdout.matches("read ").count(), reads.len(), "{}", outcome.stdout);
}

/// fio reading at random; it verifies the checksum and place in every block's header.
fn fio_reads(bench: &Bench, uri: &str) -> std::process::Command {
    let head = ["--name=job", "--rw=randread", "--bs=4k", "--size=6M", "--verify=crc32c"];
    let engine = ["--verify_fatal=1", "--ioengine=nbd", "--iodepth=16"];
    let mut command = bench.peer("fio", [&head[..], &engine].concat());
    command.arg(format!("--uri={uri}"));
    command
}

#[test]
fn fio_verifies_what_it_wrote_before() {
    let bench = Bench::new();
    let fill = ["--name=job", "--filename=disk.raw", "--rw=write", "--bs=4k", "--size=6M"];
    let verify = ["--verify=crc32c", "--do_verify=0"];
    bench.peer("fio", [&fill[..], &verify].concat()).succeed();
    let head = ["convert", "-f", "raw", "-O", "qcow2"];
    bench.peer("qemu-img", [&head[..], &["disk.raw", "disk.qcow2"]].concat()).succeed();
    bench.acquire("disk.raw", "disk", &["-c", "fast"]);
    for image in ["disk.qcow2", "disk.E01"] {
        let server = Server::unix(&bench, &[image]);
        fio_reads(&bench, server.uri()).succeed();
    }
    // What verification is worth: another disk must not pass.
    bench.write("other.raw", &content::noise(SIZE, 3));
    let server = Server::unix(&bench, &["-f", "raw", "other.raw"]);
    let outcome = fio_reads(&bench, server.uri()).finish();
    assert_ne!(outcome.code, Some(0), "fio verifies: {}", outcome.stdout);
}

#[test]
fn block_status_is_what_map_says() {
    /// Bits of `base:allocation`.
    const HOLE: u64 = 1;
    const ZERO: u64 = 2;
    let bench = served();
    bench.create_qcow2("sparse.qcow2", "cluster_size=4k", "40M");
    bench.qemu_io("sparse.qcow2", &["write -P 1 10M 64k", "write -z 11M 64k", "write -P 2 39M 1M"]);
    for image in ["disk.qcow2", "sparse.qcow2"] {
        let server = Server::unix(&bench, &[image]);
        let arguments = ["--map", "--json", server.uri()];
        let status = bench::parse(&bench.peer("nbdinfo", arguments).succeed());
        let map = map::runs(&bench.fumehood(["map", "--json", image]).succeed().stdout);
        let type_at = |offset: u64| {
            let run = map.iter().rfind(|run| run.start <= offset).expect("maps begin at 0");
            (
                run.start + run.length,
                if run.data { 0 } else { HOLE } + if run.zero { ZERO } else { 0 },
            )
        };
        let mut at = 0;
        for extent in status.as_array().expect("a list") {
            assert_eq!(extent["offset"], at, "{image}: extents lie side by side");
            let end = at + extent["length"].as_u64().expect("a number");
            while at < end {
                let (run_end, expected) = type_at(at);
                assert_eq!(extent["type"], expected, "{image}: at {at}: {extent}");
                at = run_end.min(end);
            }
        }
        assert_eq!(Some(at), map.last().map(|run| run.start + run.length), "{image}");
    }
}

#[test]
fn writes_are_refused_with_eperm() {
    let bench = served();
    let before = bench.fingerprint("disk.qcow2");
    let server = Server::unix(&bench, &["disk.qcow2"]);
    let mut client = Client::connect(server.socket()).expect("it listens");
    assert_eq!(client.request(WRITE, 0, 4, b"word"), 1, "EPERM");
    assert_eq!(client.read(0, 16).map(|bytes| bytes.len()), Ok(16), "the session goes on");
    let write = ["-f", "raw", "-c", "write 0 512", server.uri()];
    let outcome = bench.peer("qemu-io", write).finish();
    let said = outcome.stdout + &outcome.stderr;
    assert_ne!(outcome.code, Some(0), "{said}");
    // QEMU asks first, and does not even open a read-only export for writing.
    assert!(said.contains("Permission denied"), "{said}");
    drop(server);
    assert_eq!(bench.fingerprint("disk.qcow2"), before, "the image is as it was");
}

#[test]
fn several_clients_are_served_at_once() {
    let bench = served();
    let server = Server::unix(&bench, &["disk.qcow2"]);
    let expected = bench.fingerprint("disk.raw");
    thread::scope(|scope| {
        for number in 0..6 {
            let (bench, server, expected) = (&bench, &server, &expected);
            scope.spawn(move || {
                let name = format!("copy{number}.raw");
                bench.peer("nbdcopy", ["--connections=4", server.uri(), &name]).succeed();
                assert_eq!(&bench.fingerprint(&name), expected, "{name}");
            });
        }
    });
}

#[test]
fn an_export_is_found_by_the_name_in_the_uri() {
    let bench = served();
    let socket = bench.path("nbd.sock");
    let address = format!("nbd+unix:///evidence?socket={}", socket.display());
    let mut command = bench.fumehood(["serve", "--nbd", &address, "disk.qcow2"]);
    let server = Server::run(&bench, &mut command);
    assert!(server.uri().contains("/evidence"), "{}", server.uri());
    let list = bench::parse(&bench.peer("nbdinfo", ["--list", "--json", server.uri()]).succeed());
    assert_eq!(list["exports"][0]["export-name"], "evidence");
    let size = bench.peer("nbdinfo", ["--size", server.uri()]).succeed().stdout;
    assert_eq!(size.trim(), SIZE.to_string());
    let other = server.uri().replace("evidence", "other");
    assert_ne!(bench.peer("nbdinfo", [other]).finish().code, Some(0), "an unknown name");
}

#[test]
fn a_snapshot_is_served() {
    let bench = served();
    let expected = bench.fingerprint("disk.raw");
    bench.peer("qemu-img", ["snapshot", "-c", "before", "disk.qcow2"]).succeed();
    bench.qemu_io("disk.qcow2", &["write -P 9 0 6M"]);
    let server = Server::unix(&bench, &["--snapshot", "before", "disk.qcow2"]);
    bench.peer("nbdcopy", [server.uri(), "copy.raw"]).succeed();
    assert_eq!(bench.fingerprint("copy.raw"), expected);
}

#[test]
fn a_client_may_start_the_server_itself() {
    // libnbd passes the socket as a service manager does.
    let bench = served();
    let fumehood = peer::binary().to_str().expect("a path of text");
    let serve = ["serve", "--nbd", "systemd:", "disk.qcow2"];
    let command = [&["--size", "--", "[", fumehood][..], &serve, &["]"]].concat();
    let outcome = bench.peer("nbdinfo", command).succeed();
    assert_eq!(outcome.stdout.trim(), SIZE.to_string());
}
