//! Images built by hand: the traps that no honest writer sets.

mod common;

use common::{Set, sample};
use fumehood_plugin::{Error, Finding};
use miniz_oxide::deflate::compress_to_vec_zlib;

const CHUNK: usize = 32768;

fn seal(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.extend(adler2::adler32_slice(&bytes).to_le_bytes());
    bytes
}

/// Builds one segment, section by section.
struct Builder {
    file: Vec<u8>,
}

impl Builder {
    fn new(number: u16) -> Self {
        let mut file = b"EVF\x09\r\n\xff\0\x01".to_vec();
        file.extend(number.to_le_bytes());
        file.extend([0, 0]);
        Self { file }
    }

    /// A section whose descriptor states these values, whatever its payload is.
    fn stating(mut self, kind: &str, next: u64, size: u64, payload: &[u8]) -> Self {
        let mut descriptor = kind.as_bytes().to_vec();
        descriptor.resize(16, 0);
        descriptor.extend(next.to_le_bytes());
        descriptor.extend(size.to_le_bytes());
        descriptor.resize(72, 0);
        self.file.extend(seal(descriptor));
        self.file.extend(payload);
        self
    }

    fn section(self, kind: &str, payload: &[u8]) -> Self {
        let size = 76 + payload.len() as u64;
        let next = self.file.len() as u64 + size;
        self.stating(kind, next, size, payload)
    }

    fn volume(self, kind: &str, chunks: u32, sectors: u64, set: u8) -> Self {
        self.section(kind, &volume(chunks, 64, 512, sectors, set))
    }

    /// `sectors` and its tables: chunks as stored, and whether compressed.
    fn chunks(self, chunks: &[(Vec<u8>, bool)]) -> Self {
        let base = self.file.len() as u64;
        let mut data = Vec::new();
        let mut entries = Vec::new();
        for (bytes, compressed) in chunks {
            entries.push((76 + data.len() as u32) | (u32::from(*compressed) << 31));
            data.extend(bytes);
        }
        let table = table(base, &entries);
        self.section("sectors", &data).section("table", &table).section("table2", &table)
    }

    fn end(self, kind: &str) -> Vec<u8> {
        let next = self.file.len() as u64;
        self.stating(kind, next, 0, &[]).file
    }
}

fn volume(chunks: u32, per_chunk: u32, per_sector: u32, sectors: u64, set: u8) -> Vec<u8> {
    let mut bytes = vec![1, 0, 0, 0];
    for value in [chunks, per_chunk, per_sector] {
        bytes.extend(value.to_le_bytes());
    }
    bytes.extend(sectors.to_le_bytes());
    bytes.resize(64, 0);
    bytes.extend([set; 16]);
    bytes.resize(1048, 0);
    seal(bytes)
}

fn table(base: u64, entries: &[u32]) -> Vec<u8> {
    let mut header = (entries.len() as u32).to_le_bytes().to_vec();
    header.extend([0; 4]);
    header.extend(base.to_le_bytes());
    header.extend([0; 4]);
    let words: Vec<u8> = entries.iter().flat_map(|entry| entry.to_le_bytes()).collect();
    [seal(header), seal(words)].concat()
}

fn raw(bytes: &[u8]) -> (Vec<u8>, bool) {
    (seal(bytes.to_vec()), false)
}

fn packed(bytes: &[u8]) -> (Vec<u8>, bool) {
    (compress_to_vec_zlib(bytes, 6), true)
}

fn single(file: Vec<u8>) -> Set {
    Set::new(&vec![("a.E01".to_string(), file)])
}

/// The error of opening, which must fail.
fn refusal(set: &Set) -> Error {
    set.open().err().expect("it opened")
}

#[test]
fn the_last_chunk_may_be_cut_or_whole() {
    let bytes = sample(2 * CHUNK);
    let size = CHUNK + 5 * 512;
    for store in [raw, packed] {
        // The third is a source of no whole number of sectors.
        for stored in [5 * 512, CHUNK, 5 * 512 + 1] {
            let chunks = [raw(&bytes[..CHUNK]), store(&bytes[CHUNK..CHUNK + stored])];
            let sectors = size as u64 / 512;
            let file = Builder::new(1).volume("volume", 2, sectors, 1).chunks(&chunks).end("done");
            let (info, found) = single(file).contents().unwrap();
            assert_eq!(info.size, size as u64);
            assert!(found == bytes[..size], "{stored}");
        }
    }
}

#[test]
fn two_lengths_are_refused() {
    let file = Builder::new(1).volume("volume", 1, 64, 1);
    let next = file.file.len() as u64 + 276;
    let file = file.stating("sectors", next, 176, &[0; 200]).end("done");
    assert!(matches!(refusal(&single(file)), Error::Corrupt { offset: 1141, .. }));
}

#[test]
fn loops_and_ends_outside_are_contained() {
    let bytes = sample(2 * CHUNK);
    for next in [0, 13, 1141, u64::MAX, 1 << 40] {
        let file = Builder::new(1).volume("volume", 2, 128, 1).chunks(&[raw(&bytes[..CHUNK])]);
        let set = single(file.stating("sectors", next, 0, &[0; 200]).file);
        assert_eq!(set.readable(CHUNK as u64), [true, false], "{next}");
        assert_eq!(set.open().unwrap().info().warnings.len(), 1);
        // Before the media is known nothing can be read.
        let set = single(Builder::new(1).stating("header", next, 0, &[0; 200]).file);
        assert!(matches!(refusal(&set), Error::Corrupt { offset: 13, .. }));
    }
}

#[test]
fn impossible_measures_are_refused() {
    for payload in [
        volume(1, 64, 512, 65, 0),
        volume(1, 0, 512, 0, 0),
        volume(1, 65536, 512, 1, 0),
        volume(1, 64, 500, 1, 0),
        volume(u32::MAX, 64, 512, u64::MAX, 0),
        vec![0; 1052],
        vec![0; 94],
        vec![],
    ] {
        let file = Builder::new(1).section("volume", &payload).end("done");
        assert!(matches!(refusal(&single(file)), Error::Corrupt { offset: 89, .. }));
    }
    let file = Builder::new(1).end("done");
    assert!(matches!(refusal(&single(file)), Error::Corrupt { .. }));
    // What a host takes as one block, and twice that.
    let file = Builder::new(1).section("volume", &volume(1, 32768, 2048, 1, 0)).end("done");
    assert!(single(file).open().is_ok());
    let file = Builder::new(1).section("volume", &volume(1, 32768, 4096, 1, 0)).end("done");
    assert!(matches!(refusal(&single(file)), Error::Unsupported(_)));
}

#[test]
fn logical_evidence_is_refused_by_its_media_type() {
    let mut payload = volume(1, 64, 512, 1, 0);
    payload[0] = 0x0e;
    payload.truncate(1048);
    let file = Builder::new(1).section("volume", &seal(payload)).end("done");
    assert!(matches!(refusal(&single(file)), Error::Unsupported(_)));
}

#[test]
fn segments_of_another_set_are_refused() {
    let bytes = sample(2 * CHUNK);
    let first = Builder::new(1).volume("volume", 2, 128, 1).chunks(&[raw(&bytes[..CHUNK])]);
    let first = first.end("next");
    for (set, good) in [(1, true), (0, true), (2, false)] {
        let second = Builder::new(2).volume("data", 2, 128, set).chunks(&[raw(&bytes[CHUNK..])]);
        let files = vec![("a.e01".into(), first.clone()), ("a.e02".into(), second.end("done"))];
        let set = Set::new(&files);
        if good {
            assert!(set.contents().unwrap().1 == bytes);
        } else {
            let Error::Corrupt { source_id: 1, what, .. } = refusal(&set) else { panic!() };
            assert!(what.contains("0101"), "{what}");
        }
    }
}

#[test]
fn a_disagreeing_data_section_is_a_finding() {
    let bytes = sample(CHUNK);
    let file = Builder::new(1).volume("volume", 1, 64, 1).chunks(&[raw(&bytes)]);
    let mut unsealed = volume(1, 64, 512, 64, 1);
    unsealed[1048..].fill(0);
    let good = single(Builder { file: file.file.clone() }.section("data", &unsealed).end("done"));
    assert_eq!(good.open().unwrap().info().warnings, [""; 0], "a checksum of 0 is none");
    let bad = single(file.volume("data", 2, 128, 1).end("done"));
    let findings = bad.open().unwrap().disk(0).unwrap().check(false).unwrap();
    assert!(findings.len() == 1 && findings[0].what.contains("128"), "{findings:?}");
}

#[test]
fn entries_outside_and_short_chunks_damage_only_themselves() {
    let bytes = sample(CHUNK);
    let (chunk, _) = raw(&bytes);
    let file = Builder::new(1).volume("volume", 4, 256, 1);
    let start = file.file.len() as u32 + 76;
    // Outside of the file, whole, behind its section, and cut by the section's end.
    let entries = [0x7fff_0000, start, start + CHUNK as u32 + 4, start + CHUNK as u32 - 10];
    let set =
        single(file.section("sectors", &chunk).section("table", &table(0, &entries)).end("done"));
    assert_eq!(set.readable(CHUNK as u64), [false, true, false, false]);
    let findings = set.open().unwrap().disk(0).unwrap().check(false).unwrap();
    assert_eq!(findings.len(), 3);
    assert_eq!(findings[0].offset, 0);
}

#[test]
fn a_base_at_the_end_of_numbers_is_damage() {
    let file = Builder::new(1).volume("volume", 1, 64, 1).section("sectors", &[0; 100]);
    let file = file.section("table", &table(u64::MAX - 3, &[80])).end("done");
    assert_eq!(single(file).readable(CHUNK as u64), [false]);
}

#[test]
fn more_entries_than_room_are_not_believed() {
    let mut header = u32::MAX.to_le_bytes().to_vec();
    header.resize(20, 0);
    let payload = [seal(header), vec![0; 8]].concat();
    let file = Builder::new(1).volume("volume", 1, 64, 1).section("sectors", &[0; 100]);
    let set = single(file.section("table", &payload).end("done"));
    assert_eq!(set.readable(CHUNK as u64), [false]);
    assert_eq!(set.open().unwrap().info().warnings.len(), 1);
}

#[test]
fn unreadable_sectors_are_findings() {
    let mut head = 2u32.to_le_bytes().to_vec();
    head.resize(516, 0);
    let words: Vec<u8> = [3u32, 4, 60, 1].iter().flat_map(|word| word.to_le_bytes()).collect();
    let payload = [seal(head), seal(words)].concat();
    let file = Builder::new(1).volume("volume", 1, 64, 1).chunks(&[packed(&sample(CHUNK))]);
    let set = single(file.section("error2", &payload).end("done"));
    let finding = |offset, what: &str| Finding { offset, what: what.into(), repaired: false };
    assert_eq!(
        set.open().unwrap().disk(0).unwrap().check(false).unwrap(),
        [
            finding(3 * 512, "4 sectors from sector 3 were unreadable at acquisition"),
            finding(60 * 512, "1 sectors from sector 60 were unreadable at acquisition"),
        ]
    );
    assert!(set.contents().is_ok());
    let details = set.open().unwrap().info().details;
    assert!(details.iter().any(|(name, value)| name.contains("unreadable") && value.contains('2')));
}

#[test]
fn large_windows_are_answered_in_parts() {
    let count = 40_000u32;
    let file = Builder::new(1).volume("volume", count, u64::from(count) * 64, 1);
    let entries: Vec<u32> = (0..count).map(|number| (1 << 31) | (1300 + number % 7)).collect();
    let file =
        file.section("sectors", &[0; 4096]).section("table", &table(0, &entries)).end("done");
    let mut disk = single(file).open().unwrap().disk(0).unwrap();
    let first = disk.extents(0, u64::MAX).unwrap();
    assert_eq!(first.len(), 16384);
    let window = disk.extents(20_000 * 32768 + 7, 64 << 20).unwrap();
    assert_eq!((window[0].offset, window.len()), (20_000 * 32768, 2049));
    assert_eq!(disk.extents(u64::from(count) * 32768, 1), Err(Error::OutOfRange));
}
