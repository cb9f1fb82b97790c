//! How a server begins and ends: `--run`, signals, activation, sockets.

use std::io::{Read, Write};
use std::os::unix::fs::FileTypeExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use fumehood_tests::child::{self, await_that};
use fumehood_tests::client::{self, Client};
use fumehood_tests::{Bench, Bounded, Server, content, peer};

const SIZE: usize = 1 << 20;

fn bench() -> Bench {
    let bench = Bench::new();
    bench.write("disk.raw", &content::sample(SIZE));
    bench
}

/// Serves `disk.raw` while a shell command runs.
fn while_running(bench: &Bench, address: &str, command: &str) -> Command {
    bench.fumehood(["serve", "-f", "raw", "disk.raw", "--nbd", address, "--run", command])
}

#[test]
fn run_passes_the_exit_code_on() {
    let bench = bench();
    for code in [0, 1, 7, 255] {
        let address = format!("unix:{}", bench.path("nbd.sock").display());
        while_running(&bench, &address, &format!("exit {code}")).end_with(code);
        assert!(!bench.path("nbd.sock").exists(), "the socket is removed");
    }
}

#[test]
fn run_tells_the_command_where_the_server_is() {
    let bench = bench();
    let socket = bench.path("nbd.sock");
    let show = r#"printf '%s\n' "$uri" "$unixsocket" "$port" "$exportname"; nbdinfo --size "$uri""#;
    let outcome = while_running(&bench, &format!("unix:{}", socket.display()), show).succeed();
    let lines: Vec<_> = outcome.stdout.split('\n').collect();
    let path = socket.display().to_string();
    assert_eq!(lines[0], format!("nbd+unix:///?socket={path}"));
    assert_eq!(lines[1..5], [path.as_str(), "", "", "1048576"]);

    let outcome = while_running(&bench, "nbd://127.0.0.1:0/disk", show).succeed();
    let lines: Vec<_> = outcome.stdout.split('\n').collect();
    let port: u16 = lines[2].parse().expect("the port that was chosen");
    assert_eq!(lines[0], format!("nbd://127.0.0.1:{port}/disk"));
    assert_eq!((lines[1], lines[3], lines[4]), ("", "disk", "1048576"));
}

#[test]
fn run_copies_with_a_command_that_knows_only_the_uri() {
    let bench = bench();
    let address = format!("unix:{}", bench.path("nbd.sock").display());
    while_running(&bench, &address, r#"nbdcopy "$uri" copy.raw"#).succeed();
    assert_eq!(bench.fingerprint("copy.raw"), bench.fingerprint("disk.raw"));
}

#[test]
fn sigterm_ends_it_and_removes_the_socket() {
    let bench = bench();
    let mut server = Server::unix(&bench, &["-f", "raw", "disk.raw"]);
    let metadata = std::fs::metadata(server.socket()).expect("it listens");
    assert!(metadata.file_type().is_socket());
    server.terminate();
    assert!(server.ended().success());
    assert!(!server.socket().exists(), "the socket is removed");
}

#[test]
fn sigterm_while_a_client_copies_ends_both() {
    let bench = Bench::new();
    // A terabyte, read without a look at what is allocated, would take all day.
    bench.create_qcow2("huge.qcow2", "cluster_size=64k", "1T");
    let mut server = Server::unix(&bench, &["huge.qcow2"]);
    let copy = ["--no-extents", server.uri(), "null:"];
    let mut copy = bench.peer("nbdcopy", copy);
    let mut copy = child::start(copy.stdin(Stdio::null()).stderr(Stdio::null()));
    let idle = server.threads();
    await_that("the copy begins", Duration::from_secs(20), || server.threads() > idle);
    std::thread::sleep(Duration::from_millis(300));
    assert!(copy.try_wait().expect("a child").is_none(), "it still copies");
    let told = Instant::now();
    server.terminate();
    assert!(server.ended().success(), "{}", server.log());
    assert!(told.elapsed() < Duration::from_secs(5), "a client that reads need not be cut off");
    assert!(!server.socket().exists(), "the socket is removed");
    let status = child::wait(&mut copy, Duration::from_secs(20)).expect("the copy ends too");
    assert!(!status.success(), "half a copy is a failure");
}

#[test]
fn sigterm_while_a_client_takes_no_replies_ends_it_after_a_while() {
    let bench = Bench::new();
    bench.write("disk.raw", &content::noise(32 << 20, 5));
    let mut server = Server::unix(&bench, &["-f", "raw", "disk.raw"]);
    let mut stalled = client::greeted(server.socket()).expect("it listens");
    let reads = (0..32).map(|number| client::request(client::READ, number, number << 20, 1 << 20));
    let message = [client::opening(), reads.collect::<Vec<_>>().concat()].concat();
    stalled.write_all(&message).expect("requests are taken");
    stalled.read_exact(&mut [0; 26]).expect("the first reply comes");
    server.terminate();
    assert!(server.ended().success(), "{}", server.log());
    assert!(!server.socket().exists(), "the socket is removed");
}

#[test]
fn a_stale_socket_is_replaced_and_a_live_one_is_not() {
    let bench = bench();
    let listener = std::os::unix::net::UnixListener::bind(bench.path("nbd.sock"));
    drop(listener.expect("a socket whose server is gone"));
    let server = Server::unix(&bench, &["-f", "raw", "disk.raw"]);
    let address = format!("unix:{}", server.socket().display());
    let second = ["serve", "-f", "raw", "disk.raw", "--nbd", &address];
    let outcome = bench.fumehood(second).end_with(1);
    assert!(outcome.stderr.contains("another server"), "{}", outcome.stderr);
    assert!(Client::connect(server.socket()).is_ok(), "the first one still serves");
}

#[test]
fn a_file_in_the_sockets_place_is_left_alone() {
    let bench = bench();
    bench.write("nbd.sock", b"precious");
    let address = format!("unix:{}", bench.path("nbd.sock").display());
    bench.fumehood(["serve", "-f", "raw", "disk.raw", "--nbd", &address]).end_with(1);
    assert_eq!(bench.read("nbd.sock"), b"precious");
}

/// Passes a listening socket as a service manager does, and becomes the command.
const ACTIVATE: &str = "
import os, socket, sys
listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[1])
listener.listen()
os.dup2(listener.fileno(), 3)
os.set_inheritable(3, True)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS='1')
os.execvp(sys.argv[2], sys.argv[2:])
";

#[test]
fn a_socket_that_was_passed_is_served_and_left() {
    let bench = bench();
    let socket = bench.path("nbd.sock");
    let mut command = bench.peer("python3", ["-c", ACTIVATE]);
    command.env("XDG_CACHE_HOME", peer::cache()).arg(&socket).arg(peer::binary());
    command.args(["serve", "-f", "raw", "disk.raw", "--nbd", "systemd:"]);
    let mut server = Server::run(&bench, &mut command);
    let uri = format!("nbd+unix:///?socket={}", socket.display());
    bench.peer("nbdcopy", [&uri, "copy.raw"]).succeed();
    assert_eq!(bench.fingerprint("copy.raw"), bench.fingerprint("disk.raw"));
    server.terminate();
    assert!(server.ended().success());
    assert!(socket.exists(), "it belongs to whoever made it");
}

#[test]
fn activation_without_a_socket_is_an_error() {
    let bench = bench();
    let arguments = ["serve", "-f", "raw", "disk.raw", "--nbd", "systemd:"];
    let outcome = bench.fumehood(arguments).end_with(1);
    assert!(outcome.stderr.contains("passed"), "{}", outcome.stderr);
}
