//! Work and memory are bounded, however much an image lists.

mod common;

use common::writer::{PREFIXES, STORED, Stream, Volume, Zip, member};
use common::{Set, sample};
use fumehood_plugin::Error;

const STREAM: &str = "aff4://stream-1";

/// A map of many ranges of a byte, the last of which could not be read.
#[test]
fn ranges_without_end_are_answered_in_parts() {
    const COUNT: u64 = (1 << 20) + 100_000;
    let mut volume = Volume::new("aff4://volume-1", COUNT);
    volume.targets = vec!["http://aff4.org/Schema#Zero", "http://aff4.org/Schema#UnreadableData"];
    volume.ranges = (0..COUNT).map(|at| (at, 1, at, u32::from(at >= COUNT - 2))).collect();
    let set = Set::one(volume.write());
    let mut disk = set.open().unwrap().disk(0).unwrap();
    let answer = disk.extents(0, COUNT).unwrap();
    assert!(answer.last().unwrap().end() < 100_000, "{answer:?}");
    assert_eq!(set.read(&mut *disk, COUNT, 0, COUNT).unwrap()[COUNT as usize - 4..][..2], [0, 0]);
    assert_eq!(disk.read(COUNT - 2, 2).unwrap().len(), 2);
    let findings = disk.check(false).unwrap();
    assert_eq!((findings.len(), findings[0].offset), (1, 1 << 20));
    assert!(findings[0].what.contains("the check stops here"), "{findings:?}");
}

#[test]
fn pieces_of_stored_chunks_are_answered_in_parts() {
    let bytes = sample(512 * 70_000);
    let stream = Stream { chunk: 512, per_segment: 70_000, ..Stream::new(STREAM, &bytes, STORED) };
    let mut volume = Volume::new("aff4://volume-1", bytes.len() as u64);
    volume.targets = vec![STREAM];
    volume.ranges = vec![(0, bytes.len() as u64, 0, 0)];
    volume.streams = vec![Stream { hashes: false, ..stream }];
    let set = Set::one(volume.write());
    let mut disk = set.open().unwrap().disk(0).unwrap();
    let answer = disk.extents(0, bytes.len() as u64).unwrap();
    assert_eq!((answer.len(), answer[0].length), (1, 512 * 65536));
}

#[test]
fn lists_of_targets_are_bounded_in_all() {
    let mut zip = Zip::new("aff4://v");
    let mut turtle = PREFIXES.to_string();
    for number in 0..5 {
        let urn = format!("aff4://map-{number}");
        zip.store(&format!("{}/map", member(&urn)), b"");
        let idx = format!("aff4://{}", "x".repeat((1 << 20) - 7));
        zip.store(&format!("{}/idx", member(&urn)), idx.as_bytes());
        turtle += &format!("<{urn}> a aff4:Map .\n");
    }
    zip.store("information.turtle", turtle.as_bytes());
    let error = Set::one(zip.finish()).refusal();
    assert!(matches!(error, Error::Unsupported(_)), "{error}");
    assert!(error.to_string().contains("1048576 bytes; 0 are read"), "{error}");
}
