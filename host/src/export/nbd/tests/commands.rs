//! Commands of the transmission phase.

use super::sample::{Change, Make, SIZE, pattern_file};
use super::*;

/// Ranges that are short, long, unaligned, at the end, and across many runs.
const RANGES: [(u64, u32); 9] = [
    (0, 1),
    (0, 4096),
    (49_000, 4096),
    (98_300, 511),
    (0, 40 << 10),
    (1 << 20, 256 << 10),
    (12_345, 1_234_567),
    (0, SIZE as u32),
    (SIZE - 70_000, 70_000),
];

fn patterns() -> [Vec<Make>; 5] {
    use Make::{Bytes, File, Zero};
    [vec![File], vec![Zero], vec![Bytes], vec![File, Zero], vec![File, Zero, Bytes]]
}

#[test]
fn reads_are_right_in_every_form() {
    for unit in [4 << 10, 48 << 10, 3 << 20] {
        for pattern in patterns() {
            let sample = || Sample { unit, ..Sample::of(&pattern) };
            let mut simple = Client::simple(sample());
            let mut structured = Client::structured(sample());
            for (offset, length) in RANGES {
                let expected = sample().expected(offset, length);
                simple.request(command::READ, 0, offset, length);
                assert_eq!(simple.simple_reply(), (0, 7));
                assert!(simple.take_bytes(length as usize) == expected, "{offset} {length}");
                structured.request(command::READ, 0, offset, length);
                assert!(structured.assemble(7, offset, length) == Ok(expected.clone()));
                structured.request(command::READ, command_flag::UNFRAGMENTED, offset, length);
                let chunk = structured.chunk();
                assert!(chunk.done && chunk.kind == chunk::OFFSET_DATA);
                assert!(chunk.payload[8..] == expected);
            }
        }
    }
}

#[test]
fn zeroes_are_not_sent_if_they_need_not_be() {
    let mut client = Client::structured(Sample::of(&[Make::Zero]));
    client.request(command::READ, 0, 0, SIZE as u32 / 2);
    let mut total = 0;
    loop {
        let chunk = client.chunk();
        assert_eq!(chunk.kind, chunk::OFFSET_HOLE);
        total += u32::from_be_bytes(chunk.payload[8..].try_into().unwrap());
        if chunk.done {
            break;
        }
    }
    assert_eq!(u64::from(total), SIZE / 2);
}

#[test]
fn many_requests_at_once_are_all_answered() {
    let sample = Sample::new();
    let mut client = Client::structured(Sample::new());
    let ranges = |number: u64| (number * 37_777 % (SIZE - 100_000), 3000 + number as u32 * 311);
    let requests = (0..300).flat_map(|number| {
        let (offset, length) = ranges(number);
        request_bytes(command::READ, 0, number, offset, length)
    });
    let requests: Vec<u8> = requests.collect();
    let mut writer = client.stream.try_clone().unwrap();
    let sender = std::thread::spawn(move || writer.write_all(&requests).unwrap());
    let mut answers: Vec<Vec<u8>> =
        (0..300).map(|number| vec![0; ranges(number).1 as usize]).collect();
    let mut left = 300;
    while left > 0 {
        let chunk = client.chunk();
        let answer = &mut answers[chunk.cookie as usize];
        place(&chunk, ranges(chunk.cookie).0, answer, &mut None);
        left -= u32::from(chunk.done);
    }
    sender.join().unwrap();
    for (number, answer) in answers.iter().enumerate() {
        let (offset, length) = ranges(number as u64);
        assert!(*answer == sample.expected(offset, length), "{number}");
    }
    client.request(command::DISCONNECT, 0, 0, 0);
    assert!(client.end().is_ok());
}

#[test]
fn failed_reads_say_where_and_leave_the_connection_usable() {
    for make in [Make::File, Make::Bytes] {
        let sample = || Sample { broken: 5000..5001, unit: 4096, ..Sample::of(&[make]) };
        let mut simple = Client::simple(sample());
        let mut structured = Client::structured(sample());
        for length in [4096, 40 << 10] {
            simple.request(command::READ, 0, 4096, length);
            assert_eq!(simple.simple_reply(), (error_number::INPUT_OUTPUT, 7));
            structured.request(command::READ, command_flag::UNFRAGMENTED, 4096, length);
            let chunk = structured.chunk();
            assert!(chunk.done && chunk.kind == chunk::ERROR_OFFSET);
            let expected = [&5_u32.to_be_bytes()[..], &[0, 25], b"the sample is broken here"];
            let expected = [&expected.concat()[..], &5000_u64.to_be_bytes()].concat();
            assert_eq!(chunk.payload, expected);
        }
        simple.request(command::READ, 0, 0, 100);
        assert_eq!(simple.simple_reply(), (0, 7));
        simple.take_bytes(100);
        structured.request(command::READ, 0, 0, 100);
        assert!(structured.assemble(7, 0, 100).is_ok());
    }
}

#[test]
fn a_failed_piece_fails_its_read_only() {
    let broken = 3_000_000..3_000_001;
    let sample = || Sample { broken: broken.clone(), unit: SIZE, ..Sample::of(&[Make::Bytes]) };
    let mut client = Client::structured(sample());
    client.request(command::READ, 0, 0, SIZE as u32);
    assert_eq!(client.assemble(7, 0, SIZE as u32), Err(error_number::INPUT_OUTPUT));
    client.request(command::READ, 0, 0, 2 << 20);
    assert!(client.assemble(7, 0, 2 << 20) == Ok(sample().expected(0, 2 << 20)));
}

#[test]
fn a_file_that_ends_early_ends_the_connection() {
    let file = pattern_file();
    file.set_len(100_000).unwrap();
    let sample = Sample { unit: SIZE, file: Arc::new(file), ..Sample::of(&[Make::File]) };
    let mut client = Client::structured(sample);
    client.request(command::READ, 0, 65_536, 65_536);
    let mut rest = Vec::new();
    client.stream.read_to_end(&mut rest).unwrap();
    assert_eq!(rest.len(), 28 + 100_000 - 65_536);
    assert!(matches!(client.end(), Err(ConnectionError::FileEnded { missing: 31_072, .. })));
}

#[test]
fn what_passes_the_end_or_makes_no_sense_is_refused() {
    let mut simple = Client::simple(Sample::new());
    let mut structured = Client::structured(Sample::new());
    let read = command::READ;
    for (command, flags, offset, length) in [
        (read, 0, 0, 0),
        (read, 0, SIZE, 1),
        (read, 0, SIZE - 1, 2),
        (read, 0, u64::MAX, 1),
        (read, 0, u64::MAX - 10, u32::MAX),
        (read, 0, 0, (32 << 20) + 1),
        (read, 0, 0, u32::MAX),
        (read, command_flag::ONE_EXTENT, 0, 512),
        (read, 1 << 9, 0, 512),
        (command::BLOCK_STATUS, 0, 0, 0),
        (command::BLOCK_STATUS, 0, SIZE, 512),
        (command::BLOCK_STATUS, command_flag::UNFRAGMENTED, 0, 512),
        (command::CACHE, 1 << 5, 0, 512),
        (command::CACHE, 0, SIZE, 512),
        (8, 0, 0, 512),
        (u16::MAX, 0, 0, 512),
    ] {
        simple.request(command, flags, offset, length);
        assert_eq!(simple.simple_reply(), (error_number::INVALID, 7), "{command} {offset}");
        structured.request(command, flags, offset, length);
        assert_eq!(structured.error(), error_number::INVALID, "{command} {offset}");
    }
    simple.request(read, command_flag::UNFRAGMENTED, 0, 512);
    assert_eq!(simple.simple_reply(), (error_number::INVALID, 7));
    simple.request(command::BLOCK_STATUS, 0, 0, 512);
    assert_eq!(simple.simple_reply(), (error_number::INVALID, 7));
}

#[test]
fn a_read_only_export_refuses_writes_and_finds_the_next_request() {
    let mut client = Client::structured(Sample::new());
    for length in [512, 300_000] {
        client.request(command::WRITE, 0, 0, length);
        client.send(&vec![9; length as usize]);
        assert_eq!(client.error(), error_number::NOT_PERMITTED);
    }
    for command in [command::TRIM, command::WRITE_ZEROES] {
        client.request(command, 0, 0, u32::MAX);
        assert_eq!(client.error(), error_number::NOT_PERMITTED);
    }
    for command in [command::FLUSH, command::CACHE] {
        client.request(command, command_flag::DURABLE, 0, 512);
        assert_eq!(client.simple_reply(), (0, 7));
    }
}

#[test]
fn a_writable_export_gets_what_was_sent() {
    let sample = Sample { writable: true, ..Sample::new() };
    let changes = Arc::clone(&sample.changes);
    let mut client = Client::structured(sample);
    for (offset, length, flags) in [(5, 100, 0), (SIZE - 300_000, 300_000, command_flag::DURABLE)] {
        let data = vec![length as u8; length as usize];
        client.request(command::WRITE, flags, offset, length);
        client.send(&data);
        assert_eq!(client.simple_reply(), (0, 7));
        let flush = (flags != 0).then_some(Change::Flush);
        let expected = [Change::Write(offset, data)].into_iter().chain(flush);
        assert!(changes.lock().unwrap().drain(..).eq(expected));
    }
    client.request(command::WRITE_ZEROES, command_flag::NO_HOLE, 0, 512);
    assert_eq!(client.simple_reply(), (0, 7));
    client.request(command::WRITE_ZEROES, command_flag::FAST_ZERO, 0, 512);
    assert_eq!(client.error(), error_number::NOT_SUPPORTED);
    client.request(command::TRIM, 0, 0, 512);
    assert_eq!(client.simple_reply(), (0, 7));
    client.request(command::WRITE, 0, SIZE - 1, 2);
    client.send(b"xy");
    assert_eq!(client.error(), error_number::NO_SPACE);
}

/// The extents of an answer: length and flags.
fn extents(client: &mut Client) -> Vec<(u32, u32)> {
    let chunk = client.chunk();
    assert!(chunk.done && chunk.kind == chunk::BLOCK_STATUS, "{chunk:?}");
    assert_eq!(chunk.payload[..4], 1_u32.to_be_bytes());
    let extents = <[ExtentDescriptor]>::ref_from_bytes(&chunk.payload[4..]).unwrap();
    extents.iter().map(|extent| (extent.length.get(), extent.flags.get())).collect()
}

#[test]
fn block_status_tells_holes() {
    let mut client = Client::structured(Sample::new());
    let unit = 48 << 10;
    client.request(command::BLOCK_STATUS, 0, 0, 4 * unit);
    // Bytes that are computed and those of a file are the same to the client.
    assert_eq!(extents(&mut client), [(unit, 0), (unit, 3), (2 * unit, 0)]);
    client.request(command::BLOCK_STATUS, 0, 100, unit);
    assert_eq!(extents(&mut client), [(unit - 100, 0), (100, 3)]);
    client.request(command::BLOCK_STATUS, command_flag::ONE_EXTENT, 0, 4 * unit);
    assert_eq!(extents(&mut client), [(unit, 0)]);
    client.request(command::BLOCK_STATUS, command_flag::ONE_EXTENT, 0, 512);
    assert_eq!(extents(&mut client), [(512, 0)]);
}

#[test]
fn the_longest_block_status_fits() {
    let limit = 0xffff_0000;
    for unit in [1 << 40, 1 << 32, u64::from(u32::MAX), (1 << 32) - 512, limit] {
        let size = 16 << 40;
        for (pattern, flags) in [(Make::Zero, 3), (Make::File, 0)] {
            let sample = Sample { unit, size, ..Sample::of(&[pattern]) };
            let mut client = Client::structured(sample);
            for offset in [0, 512, size - (1 << 32)] {
                for length in [u32::MAX, u32::MAX - 511, limit as u32, limit as u32 - 512] {
                    for one in [0, command_flag::ONE_EXTENT] {
                        client.request(command::BLOCK_STATUS, one, offset, length);
                        let extents = extents(&mut client);
                        assert!(extents.len() == 1 && extents[0].1 == flags);
                        let found = extents[0].0;
                        assert!(found > 0 && found <= length && found <= limit as u32);
                        assert!(found.is_multiple_of(512));
                    }
                }
            }
        }
    }
}

#[test]
fn many_extents_are_cut_short() {
    let sample = Sample { unit: 1, size: 1 << 30, ..Sample::of(&[Make::File, Make::Zero]) };
    let mut client = Client::structured(sample);
    client.request(command::BLOCK_STATUS, 0, 0, 1 << 20);
    let extents = extents(&mut client);
    assert_eq!(extents.len(), 64 << 10);
    assert!(extents.iter().all(|(length, _)| *length == 1));
}
