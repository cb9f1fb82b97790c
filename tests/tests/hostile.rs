//! Clients that lie, stop half-way, or come by the thousand. The server must outlive
//! all of them, keep its memory bounded, and serve a good client all the while.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread;
use std::time::Duration;

use fumehood_tests::child::await_that;
use fumehood_tests::client::{self, Client, READ, WRITE, connected, option, request};
use fumehood_tests::content::{self, Numbers};
use fumehood_tests::{Bench, Bounded, Server};

const SIZE: usize = 8 << 20;
/// The most that hostile clients may make the server's memory grow by.
const GROWTH: u64 = 192 << 20;
/// As many clients as may ask for more than they take, at 32 MiB each, within that.
const GREEDY: usize = 6;
/// As many clients as are served at once.
const CLIENTS: usize = 256;

/// A bench with a compressed `disk.qcow2`, and its bytes.
fn bench() -> (Bench, Vec<u8>) {
    let bench = Bench::new();
    let bytes = content::sample(SIZE);
    bench.write("disk.raw", &bytes);
    let head = ["convert", "-c", "-f", "raw", "-O", "qcow2"];
    bench.peer("qemu-img", [&head[..], &["disk.raw", "disk.qcow2"]].concat()).succeed();
    (bench, bytes)
}

/// Runs an attack; the server must then live, have kept its memory, and serve.
fn survives(attack: impl FnOnce(&Path, &[u8])) {
    let (bench, bytes) = bench();
    let mut server = Server::unix(&bench, &["disk.qcow2"]);
    bench.peer("nbdcopy", [server.uri(), "copy.raw"]).succeed();
    let (before, _) = server.memory();
    attack(server.socket(), &bytes);
    assert!(server.is_alive(), "the server ended: {}", server.log());
    assert!(!server.log().contains("panicked"), "{}", server.log());
    let (_, peak) = server.memory();
    assert!(peak < before + GROWTH, "{before} bytes of memory became {peak}");
    // Whoever was refused in the rush may be let in a moment later.
    await_that("a good client is served", Duration::from_secs(20), || {
        Client::connect(server.socket()).is_ok()
    });
    bench.peer("nbdcopy", [server.uri(), "copy.raw"]).succeed();
    assert_eq!(bench.fingerprint("copy.raw"), bench.fingerprint("disk.raw"));
}

/// Sends bytes, closes the sending side, and takes what comes until the end.
fn send(socket: &Path, bytes: &[u8]) {
    let Ok(mut stream) = connected(socket) else { return };
    // The server may hang up before it has taken everything.
    let _ = stream.write_all(bytes);
    let _ = stream.shutdown(Shutdown::Write);
    drain(&mut stream);
}

/// Takes what comes until the end, but no more than a good deal.
fn drain(stream: &mut UnixStream) {
    let mut buffer = vec![0; 1 << 16];
    for _ in 0..4096 {
        match stream.read(&mut buffer) {
            Ok(count) if count > 0 => {}
            _ => return,
        }
    }
}

/// Handshakes that break a rule each.
fn handshakes() -> Vec<Vec<u8>> {
    let flags = client::CLIENT_FLAGS;
    let with_flags = |rest: Vec<u8>| [&flags[..], &rest].concat();
    let header = |number: u32, length: u32| {
        [&b"IHAVEOPT"[..], &number.to_be_bytes(), &length.to_be_bytes()].concat()
    };
    // NBD_OPT_GO: the name's length, the name, the count of information requests.
    let go = |length: u32, name: &[u8], count: u16| {
        option(7, &[&length.to_be_bytes(), name, &count.to_be_bytes()].concat())
    };
    vec![
        vec![],
        b"GET / HTTP/1.1\r\nHost: nbd\r\n\r\n".to_vec(),
        vec![0xff; 4],
        vec![0; 4096],
        with_flags(b"NOTANOPT".to_vec()),
        with_flags(header(1, u32::MAX)),
        with_flags(header(7, 1 << 31)),
        with_flags(header(7, 100)),
        with_flags(go(u32::MAX, b"", 0)),
        with_flags(go(3, b"abc", u16::MAX)),
        with_flags(go(0, b"", u16::MAX)),
        with_flags(go(2, &[0xff, 0xfe], 0)),
        with_flags(option(1, &[b'a'; 5000])),
        with_flags(option(1, b"no such export")),
        with_flags(option(3, b"data where none belongs")),
        with_flags(option(5, b"")),
        with_flags(option(8, b"more than nothing")),
        with_flags(option(9, &[0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff])),
        with_flags(option(10, &[0; 3])),
        with_flags(option(10, &[&[0, 0, 0, 0, 0, 0, 0, 9], &[0, 0, 0, 1, b'x'][..]].concat())),
        with_flags(option(0xdead_beef, &[7; 300])),
        with_flags((0..2000).flat_map(|_| option(3, b"")).collect()),
        with_flags((0..2000).flat_map(|number| option(number + 11, &[0; 64])).collect()),
    ]
}

/// Requests that break a rule each.
fn requests() -> Vec<Vec<u8>> {
    let size = SIZE as u64;
    let many_reads = (0..500).flat_map(|number| request(READ, number, number * 4096, 4096));
    vec![
        vec![0; 28],
        vec![0xff; 28],
        request(READ, 1, 0, 0),
        request(READ, 1, size, 1),
        request(READ, 1, size - 1, 2),
        request(READ, 1, u64::MAX, 4096),
        request(READ, 1, u64::MAX - 4095, u32::MAX),
        request(READ, 1, 0, u32::MAX),
        request(WRITE, 1, 0, u32::MAX),
        [request(WRITE, 1, 0, 1 << 20), vec![1; 100]].concat(),
        [request(WRITE, 1, u64::MAX, 64), vec![1; 64]].concat(),
        request(3, 1, 5, 5),
        request(4, 1, 0, u32::MAX),
        request(5, 1, 0, 4096),
        request(6, 1, 0, u32::MAX),
        request(7, 1, 0, u32::MAX),
        request(999, 1, 0, 4096),
        request(READ, 1, 0, 4096)[..27].to_vec(),
        [request(2, 1, 0, 0), vec![0xaa; 1000]].concat(),
        many_reads.collect(),
    ]
}

#[test]
fn broken_handshakes_end_their_own_connection_only() {
    survives(|socket, _| handshakes().iter().for_each(|bytes| send(socket, bytes)));
}

#[test]
fn handshakes_that_stop_anywhere_end_their_own_connection_only() {
    survives(|socket, _| {
        let whole = [&client::opening()[..], &request(READ, 1, 0, 64)].concat();
        (0..=whole.len()).for_each(|end| send(socket, &whole[..end]));
    });
}

#[test]
fn broken_requests_end_their_own_connection_only() {
    survives(|socket, _| {
        for bytes in requests() {
            send(socket, &[client::opening(), bytes].concat());
        }
    });
}

#[test]
fn sessions_with_flipped_bits_end_their_own_connection_only() {
    survives(|socket, _| {
        let structured = option(8, b"");
        let context = [&[0; 7][..], &[1, 0, 0, 0, 15], b"base:allocation"].concat();
        let go = option(7, &[0; 6]);
        let flags = client::CLIENT_FLAGS.to_vec();
        let reads = (0..20).flat_map(|number| request(READ, number, number * 65_000, 70_000));
        let status = request(7, 99, 0, SIZE as u32);
        let session = [flags, structured, option(10, &context), go, reads.collect(), status];
        let session = session.concat();
        let mut numbers = Numbers::new(11);
        for _ in 0..1000 {
            let mut bytes = session.clone();
            for _ in 0..1 + numbers.below(6) {
                let place = numbers.below(bytes.len());
                bytes[place] ^= 1 << numbers.below(8);
            }
            bytes.truncate(numbers.below(4 * bytes.len()).max(4));
            send(socket, &bytes);
        }
    });
}

#[test]
fn garbage_ends_its_own_connection_only() {
    survives(|socket, _| {
        for seed in 0..200 {
            send(socket, &content::noise(2000, seed));
            send(socket, &[client::opening(), content::noise(2000, seed)].concat());
        }
    });
}

#[test]
fn thousands_of_connects_are_forgotten() {
    survives(|socket, _| {
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..1500).for_each(|_| drop(connected(socket))));
            }
        });
    });
}

#[test]
fn clients_that_never_choose_an_export_lose_their_place() {
    survives(|socket, _| {
        let idle: Vec<_> = (0..CLIENTS + 50).filter_map(|_| connected(socket).ok()).collect();
        assert!(idle.len() > CLIENTS, "connecting itself is not refused");
        // They hold on until `survives` has seen a good client served.
        thread::spawn(move || {
            thread::sleep(Duration::from_secs(60));
            drop(idle);
        });
    });
}

#[test]
fn clients_that_take_no_replies_keep_to_their_share_of_memory() {
    survives(|socket, _| {
        let reads: Vec<u8> =
            (0..4000).flat_map(|number| request(READ, number, 0, SIZE as u32)).collect();
        let mut greedy = Vec::new();
        for _ in 0..GREEDY {
            let mut stream = connected(socket).expect("it listens");
            stream.set_write_timeout(Some(Duration::from_millis(50))).expect("a timeout");
            let _ = stream.write_all(&[&client::opening()[..], &reads].concat());
            greedy.push(stream);
        }
        thread::sleep(Duration::from_millis(500));
    });
}

#[test]
fn a_good_client_is_served_during_an_attack() {
    survives(|socket, bytes| {
        let attacks: Vec<_> =
            requests().into_iter().map(|bytes| [client::opening(), bytes].concat()).collect();
        thread::scope(|scope| {
            for seed in 0..3 {
                let attacks = &attacks;
                scope.spawn(move || {
                    for (number, attack) in attacks.iter().chain(&handshakes()).enumerate() {
                        send(socket, attack);
                        send(socket, &content::noise(500, seed << 32 | number as u64));
                    }
                });
            }
            let mut good = Client::connect(socket).expect("it listens");
            assert_eq!(good.size, SIZE as u64);
            for round in 0..2000 {
                let (offset, length) = (round * 4091, 5003.min(SIZE - round * 4091));
                let found = good.read(offset as u64, length as u32);
                assert!(found.as_deref() == Ok(&bytes[offset..][..length]), "at {offset}");
            }
        });
    });
}
