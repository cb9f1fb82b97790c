//! Durability: promised after the flush and never before, while others go on.

use std::sync::Mutex;

use super::sample::{Change, Gate, Make};
use super::*;

/// A client, what its export is asked for, and what holds the export's flushes up.
fn writable() -> (Client, Arc<Mutex<Vec<Change>>>, Gate) {
    writable_in(Duration::ZERO)
}

/// The same where each write takes so long.
fn writable_in(delay: Duration) -> (Client, Arc<Mutex<Vec<Change>>>, Gate) {
    let sample = Sample { writable: true, delay, ..Sample::of(&[Make::Bytes]) };
    let (changes, gate) = (Arc::clone(&sample.changes), Arc::clone(&sample.gate));
    (Client::structured(sample), changes, gate)
}

fn numbered(command: u16, flags: u16, cookie: u64, length: u32) -> Vec<u8> {
    request_bytes(command, flags, cookie, 0, length)
}

#[test]
fn reads_and_writes_go_on_during_a_flush() {
    let (mut client, changes, gate) = writable();
    let closed = gate.lock().unwrap();
    client.send(&numbered(command::FLUSH, 0, 1, 0));
    for cookie in 2..50 {
        client.send(&numbered(command::READ, 0, cookie, 512));
        let expected = Sample::of(&[Make::Bytes]).expected(0, 512);
        assert_eq!(client.assemble(cookie, 0, 512), Ok(expected));
    }
    client.send(&numbered(command::WRITE, 0, 50, 3));
    client.send(b"abc");
    assert_eq!(client.simple_reply(), (0, 50));
    drop(closed);
    assert_eq!(client.simple_reply(), (0, 1));
    assert_eq!(*changes.lock().unwrap(), [Change::Write(0, b"abc".to_vec()), Change::Flush]);
}

#[test]
fn what_is_to_be_durable_is_flushed_before_it_is_answered() {
    let (mut client, changes, _) = writable();
    let zeroes = |length| Change::Write(0, vec![0; length]);
    client.send(&numbered(command::WRITE, command_flag::DURABLE, 1, 2));
    client.send(b"ab");
    assert_eq!(client.simple_reply(), (0, 1));
    let written = Change::Write(0, b"ab".to_vec());
    assert!(changes.lock().unwrap().drain(..).eq([written, Change::Flush]));
    client.send(&numbered(command::WRITE_ZEROES, command_flag::DURABLE, 2, 512));
    assert_eq!(client.simple_reply(), (0, 2));
    assert!(changes.lock().unwrap().drain(..).eq([zeroes(512), Change::Flush]));
    client.send(&numbered(command::TRIM, command_flag::DURABLE, 3, 512));
    assert_eq!(client.simple_reply(), (0, 3));
    assert!(changes.lock().unwrap().drain(..).eq([Change::Flush]));
    // What failed is not flushed.
    let flags = command_flag::DURABLE | command_flag::FAST_ZERO;
    client.send(&numbered(command::WRITE_ZEROES, flags, 4, 512));
    assert_eq!(client.error(), error_number::NOT_SUPPORTED);
    assert!(changes.lock().unwrap().is_empty());
}

#[test]
fn one_flush_serves_all_who_waited_for_it() {
    let (mut client, changes, gate) = writable();
    let closed = gate.lock().unwrap();
    // More than may wait, which must not keep the client from being served.
    let count = 3000;
    let sender = {
        let mut stream = client.stream.try_clone().unwrap();
        let flushes: Vec<u8> =
            (0..count).flat_map(|cookie| numbered(command::FLUSH, 0, cookie, 0)).collect();
        std::thread::spawn(move || stream.write_all(&flushes).unwrap())
    };
    std::thread::sleep(Duration::from_millis(100));
    drop(closed);
    let mut answered: Vec<u64> = (0..count)
        .map(|_| {
            let (error, cookie) = client.simple_reply();
            assert_eq!(error, 0);
            cookie
        })
        .collect();
    sender.join().unwrap();
    answered.sort_unstable();
    assert!(answered.into_iter().eq(0..count));
    let flushes = changes.lock().unwrap().len();
    assert!(flushes < 1000, "{flushes} flushes for {count} requests");
}

#[test]
fn an_end_waits_for_the_flushes_under_way() {
    for stop in [false, true] {
        let (mut client, changes, gate) = writable();
        let closed = gate.lock().unwrap();
        client.send(&numbered(command::FLUSH, 0, 1, 0));
        client.send(&numbered(command::READ, 0, 2, 512));
        assert!(client.assemble(2, 0, 512).is_ok());
        if stop {
            client.control.stop();
        } else {
            client.send(&numbered(command::DISCONNECT, 0, 3, 0));
        }
        std::thread::sleep(Duration::from_millis(50));
        drop(closed);
        assert_eq!(client.simple_reply(), (0, 1));
        assert_eq!(*changes.lock().unwrap(), [Change::Flush]);
        client.end().unwrap();
    }
}

#[test]
fn a_client_that_writes_without_pause_is_told_of_its_flush() {
    // The client is always ahead of the server.
    let (mut client, _, gate) = writable_in(Duration::from_millis(1));
    let closed = gate.lock().unwrap();
    let (writes, length) = (400, 100_000);
    let sender = {
        let mut stream = client.stream.try_clone().unwrap();
        std::thread::spawn(move || {
            stream.write_all(&numbered(command::FLUSH, 0, 0, 0)).unwrap();
            let payload = vec![1; length as usize];
            for cookie in 1..=writes {
                // As one, so that the next header comes with the end of a payload.
                let request = [numbered(command::WRITE, 0, cookie, length), payload.clone()];
                stream.write_all(&request.concat()).unwrap();
            }
        })
    };
    for cookie in 1..=20 {
        assert_eq!(client.simple_reply(), (0, cookie));
    }
    drop(closed);
    let place = (21..=writes + 1).position(|_| client.simple_reply() == (0, 0));
    let place = place.expect("the flush is answered");
    assert!(place < 200, "only after {place} writes");
    for _ in 21 + place as u64..=writes {
        assert_eq!(client.simple_reply().0, 0);
    }
    sender.join().unwrap();
}
