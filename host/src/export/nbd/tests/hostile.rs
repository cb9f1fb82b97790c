//! Clients that do not keep to the protocol.

use std::io::{Cursor, sink};
use std::sync::LazyLock;

use super::*;
use crate::export::{ExportError, Run, Status};

/// The same bytes every time, though they look random.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| (self.next() >> 24) as u8).collect()
    }
}

fn serve(bytes: &[u8]) -> Result<(), ConnectionError> {
    static EXPORTS: LazyLock<[Arc<dyn Export>; 1]> =
        LazyLock::new(|| [Arc::new(Sample { unit: 4096, ..Sample::new() })]);
    serve_stream(&*EXPORTS, Cursor::new(bytes), sink())
}

/// An export that keeps none of its promises.
struct Liar;

impl Export for Liar {
    fn name(&self) -> &str {
        "liar"
    }

    fn description(&self) -> &str {
        ""
    }

    fn size(&self) -> u64 {
        1 << 30
    }

    fn read_at(&self, _: u64, _: &mut [u8]) -> Result<(), ExportError> {
        panic!("the export panics, as it is meant to")
    }

    fn runs(&self, offset: u64, _: u64, runs: &mut Vec<Run>) -> Result<(), ExportError> {
        let length = if offset == 0 { u64::MAX } else { 100 };
        runs.push(Run::Zero { length });
        Ok(())
    }

    fn status(&self, _: u64, _: u64, _: usize) -> Result<Vec<Status>, ExportError> {
        Ok(vec![Status { length: 0, hole: true, zero: true }])
    }
}

/// A whole session, message by message.
fn session() -> Vec<Vec<u8>> {
    let mut messages = vec![
        3_u32.to_be_bytes().to_vec(),
        option_bytes(option::LIST, &[]),
        option_bytes(option::STRUCTURED_REPLY, &[]),
        option_bytes(option::LIST_META_CONTEXT, &context_data("", &["base:"])),
        option_bytes(option::SET_META_CONTEXT, &context_data("", &[ALLOCATION_CONTEXT])),
        option_bytes(option::INFO, &information_data("sample", &[1, 2, 3])),
        option_bytes(option::GO, &information_data("", &[3])),
        request_bytes(command::BLOCK_STATUS, 0, 1, 0, 1 << 20),
    ];
    for length in [512, 40_000] {
        messages.push(request_bytes(command::READ, 0, 2, 40_000, length));
    }
    messages.push([request_bytes(command::WRITE, 0, 3, 0, 100), vec![0; 100]].concat());
    messages.push(request_bytes(command::DISCONNECT, 0, 0, 0, 0));
    messages
}

#[test]
fn a_session_from_a_reader_is_served() {
    assert!(serve(&session().concat()).is_ok());
}

#[test]
fn a_client_may_go_away_anywhere() {
    let bytes = session().concat();
    for length in 0..bytes.len() {
        // Whether that is an error depends on where it is; it must not panic or hang.
        let _ = serve(&bytes[..length]);
    }
    let messages = session();
    let to_request = messages[..messages.len() - 1].concat();
    assert!(serve(&to_request).is_ok());
    assert!(matches!(serve(&bytes[..bytes.len() - 1]), Err(ConnectionError::Truncated)));
}

#[test]
fn damaged_messages_never_panic() {
    let bytes = session().concat();
    let mut noise = Noise(0x2545_f491_4f6c_dd1d);
    for _ in 0..1000 {
        let mut damaged = bytes.clone();
        for _ in 0..=noise.next() % 4 {
            let position = noise.next() as usize % damaged.len();
            damaged[position] = match noise.next() % 4 {
                0 => 0,
                1 => 0xff,
                2 => damaged[position].wrapping_add(1),
                _ => noise.next() as u8,
            };
        }
        let _ = serve(&damaged);
    }
}

#[test]
fn garbage_never_panics() {
    let mut noise = Noise(88_172_645_463_325_252);
    let opening = 3_u32.to_be_bytes();
    let begun = session()[..7].concat();
    for _ in 0..300 {
        let length = noise.next() as usize % 300;
        let garbage = noise.bytes(length);
        let _ = serve(&garbage);
        let _ = serve(&[opening.as_slice(), &OPTION_MAGIC.to_be_bytes(), &garbage].concat());
        let magic = REQUEST_MAGIC.to_be_bytes();
        let _ = serve(&[begun.as_slice(), &magic, &garbage].concat());
    }
}

#[test]
fn broken_rules_end_the_connection() {
    let opening = 3_u32.to_be_bytes().to_vec();
    let go = option_bytes(option::GO, &information_data("", &[]));
    let begun = [opening.clone(), go].concat();
    let with = |prefix: &[u8], rest: &[u8]| [prefix, rest].concat();
    let huge_option = |code: u32, length: u32| {
        let mut option = option_bytes(code, &[]);
        option[12..].copy_from_slice(&length.to_be_bytes());
        option
    };
    for bytes in [
        0_u32.to_be_bytes().to_vec(),
        7_u32.to_be_bytes().to_vec(),
        with(&opening, &[0; 16]),
        with(&opening, &huge_option(option::LIST, u32::MAX)),
        with(&opening, &huge_option(option::EXPORT_NAME, 70_000)),
        with(&opening, &option_bytes(option::EXPORT_NAME, &[b'n'; 5000])),
        with(&opening, &option_bytes(option::LIST, &[]).repeat(10_001)),
        with(&begun, &[0; 28]),
        with(&begun, &request_bytes(command::WRITE, 0, 0, 0, u32::MAX)),
    ] {
        let result = serve(&bytes);
        assert!(matches!(result, Err(ConnectionError::Protocol(_))), "{result:?}");
    }
}

#[test]
fn an_export_that_lies_or_panics_fails_its_requests_only() {
    let mut client = Client::connect(vec![Arc::new(Liar)]);
    client.negotiate();
    for (command, offset, length) in [
        (command::READ, 0, 65_536),
        (command::READ, 4096, 65_536),
        (command::READ, 0, 512),
        (command::BLOCK_STATUS, 0, 512),
    ] {
        client.request(command, 0, offset, length);
        assert_eq!(client.error(), error_number::INPUT_OUTPUT);
    }
}
