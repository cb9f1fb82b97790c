//! Many clients who ask for much and read nothing: what they keep is bounded, and
//! whoever reads is served all the same.

use std::time::Instant;

use super::sample::{Change, Make, SIZE};
use super::*;

/// Less than one of the reads below.
const LIMIT: usize = 6 << 20;
const CLIENTS: usize = 64;

struct Place {
    exports: Vec<Arc<dyn Export>>,
    decoders: Arc<Decoders>,
    expected: Vec<u8>,
}

impl Place {
    fn new(limit: usize) -> Self {
        let sample = || Sample::of(&[Make::Bytes]);
        let decoders = Arc::new(Decoders::new(2, limit));
        let expected = sample().expected(0, SIZE as u32);
        Self { exports: vec![Arc::new(sample())], decoders, expected }
    }

    fn connect(&self) -> Client {
        Client::connect_with(self.exports.clone(), Arc::clone(&self.decoders))
    }

    fn structured(&self) -> Client {
        let mut client = self.connect();
        client.negotiate();
        client
    }

    fn simple(&self) -> Client {
        self.connect().begin_simple()
    }

    /// Clients of both kinds, each of which asks for twice all there is, and reads
    /// nothing. Waits until the server can do no more for them.
    fn lazy(&self) -> Vec<Client> {
        let mut clients: Vec<Client> = (0..CLIENTS)
            .map(|number| if number % 2 == 0 { self.structured() } else { self.simple() })
            .collect();
        for client in &mut clients {
            client.request(command::READ, 0, 0, SIZE as u32);
            client.request(command::READ, 0, 0, SIZE as u32);
        }
        let (mut taken, mut since) = (0, Instant::now());
        while since.elapsed() < Duration::from_millis(200) {
            let now = self.decoders.memory_taken();
            assert!(now <= LIMIT, "{now} bytes are taken");
            if now != taken {
                (taken, since) = (now, Instant::now());
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        clients
    }

    /// Takes chunks until they are so many bytes. Those of two answers come mixed.
    fn takes_chunks(&self, client: &mut Client, length: usize) {
        let mut covered = 0;
        while covered < length {
            let chunk = client.chunk();
            assert_eq!(chunk.kind, chunk::OFFSET_DATA);
            let (at, bytes) = chunk.payload.split_at(8);
            let at = u64::from_be_bytes(at.try_into().unwrap()) as usize;
            assert!(bytes == &self.expected[at..at + bytes.len()], "wrong bytes at {at}");
            covered += bytes.len();
        }
        assert_eq!(covered, length);
    }

    fn is_served(&self, client: &mut Client, structured: bool) {
        client.request(command::READ, 0, 0, SIZE as u32);
        let found = if structured {
            client.assemble(7, 0, SIZE as u32).unwrap()
        } else {
            assert_eq!(client.simple_reply(), (0, 7));
            client.take_bytes(SIZE as usize)
        };
        assert!(found == self.expected, "wrong bytes");
    }
}

#[test]
fn clients_who_read_are_served_beside_many_who_do_not() {
    let place = Place::new(LIMIT);
    let lazy = place.lazy();
    assert!(place.decoders.memory_taken() > 0, "some of it is used");
    for _ in 0..2 {
        place.is_served(&mut place.structured(), true);
        place.is_served(&mut place.simple(), false);
    }
    drop(lazy);
    let since = Instant::now();
    while place.decoders.memory_taken() > 0 {
        assert!(since.elapsed() < Duration::from_secs(10), "it does not come back");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn clients_who_read_late_get_every_byte() {
    let place = Place::new(LIMIT);
    for (number, mut client) in place.lazy().into_iter().enumerate() {
        if number % 2 == 0 {
            place.takes_chunks(&mut client, 2 * SIZE as usize);
        } else {
            for _ in 0..2 {
                assert_eq!(client.simple_reply(), (0, 7));
                assert!(client.take_bytes(SIZE as usize) == place.expected, "wrong bytes");
            }
        }
    }
    assert_eq!(place.decoders.memory_taken(), 0);
}

#[test]
fn without_memory_everything_is_served_in_parts() {
    let place = Place::new(0);
    for structured in [true, false] {
        let mut client = if structured { place.structured() } else { place.simple() };
        for _ in 0..2 {
            place.is_served(&mut client, structured);
        }
        // In one chunk, though it is longer than any buffer.
        if structured {
            let flag = command_flag::UNFRAGMENTED;
            client.request(command::READ, flag, 5, SIZE as u32 - 5);
            let chunk = client.chunk();
            assert!(chunk.done && chunk.payload[8..] == place.expected[5..]);
        }
        client.end().unwrap();
    }
}

#[test]
fn without_memory_an_error_is_told_before_the_answer_begins() {
    let broken = SIZE - 100..SIZE - 99;
    let sample = Sample { broken, ..Sample::of(&[Make::Bytes]) };
    let sound = sample.expected(0, SIZE as u32 - 100);
    let decoders = Arc::new(Decoders::new(2, 0));
    let mut client = Client::connect_with(vec![Arc::new(sample)], decoders).begin_simple();
    client.request(command::READ, 0, 0, SIZE as u32);
    assert_eq!(client.simple_reply(), (error_number::INPUT_OUTPUT, 7));
    client.request(command::READ, 0, 0, SIZE as u32 - 100);
    assert_eq!(client.simple_reply(), (0, 7));
    assert!(client.take_bytes(sound.len()) == sound);
    client.end().unwrap();
}

#[test]
fn without_memory_a_long_write_is_made_in_parts() {
    let sample = Sample { writable: true, ..Sample::new() };
    let (changes, payload) = (Arc::clone(&sample.changes), sample.expected(0, 3 << 20));
    let decoders = Arc::new(Decoders::new(2, 0));
    let mut client = Client::connect_with(vec![Arc::new(sample)], decoders).begin_simple();
    client.request(command::WRITE, 0, 100, payload.len() as u32);
    client.send(&payload);
    assert_eq!(client.simple_reply(), (0, 7));
    client.end().unwrap();
    let mut at = 100;
    for change in &*changes.lock().unwrap() {
        let Change::Write(offset, bytes) = change else { panic!("{change:?} was not asked for") };
        assert_eq!(*offset, at);
        assert!(*bytes == payload[at as usize - 100..][..bytes.len()]);
        at += bytes.len() as u64;
    }
    assert_eq!(at, 100 + payload.len() as u64);
}
