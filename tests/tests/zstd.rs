//! Zstandard as the sandbox decodes it, against another decoder: the frames of images
//! that QEMU compressed, whole and damaged.

use std::fs::OpenOptions as FileOptions;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::Path;

use fumehood::core::{Block, PieceKind};
use fumehood::{Disk, Engine, EngineOptions, Error, OpenOptions};
use fumehood_tests::content::{self, Numbers};
use fumehood_tests::peer::target;
use fumehood_tests::{Bench, Bounded};

/// Clusters of one block, of a block that is not whole, and of many blocks.
const CLUSTERS: [&str; 4] = ["4k", "64k", "128k", "2M"];
const SIZE: usize = 12 << 20;

fn engine() -> Engine {
    let cache = Some(target().join("tests/sandbox"));
    Engine::with(EngineOptions { cache, ..EngineOptions::default() }).expect("an engine")
}

fn open(engine: &Engine, path: &Path) -> Disk {
    let image = engine.open(path, OpenOptions::default()).expect("a sound image");
    image.disk(0).expect("a disk")
}

/// An image that QEMU compressed, and what is in it: code, text, noise and zeroes.
fn compressed(bench: &Bench, cluster: &str) -> (String, Vec<u8>) {
    let program = std::env::current_exe().expect("the test's own program");
    let mut bytes = std::fs::read(program).expect("it can be read");
    bytes.truncate(SIZE / 2);
    bytes.extend(content::sample(SIZE - bytes.len()));
    bench.write("disk.raw", &bytes);
    let name = format!("{cluster}.qcow2");
    let options = format!("compression_type=zstd,cluster_size={cluster}");
    let arguments = ["convert", "-c", "-f", "raw", "-O", "qcow2", "-o", &options];
    bench.peer("qemu-img", [&arguments[..], &["disk.raw", &name]].concat()).succeed();
    (name, bytes)
}

/// The compressed clusters of a disk: where each begins, and its block.
fn blocks(disk: &Disk) -> Vec<(u64, Block)> {
    let (mut blocks, mut at) = (Vec::new(), 0);
    while at < disk.size() {
        for piece in disk.extents(at, disk.size() - at).expect("extents") {
            at = piece.offset + piece.length;
            if let PieceKind::Encoded { block, skip: 0 } = piece.kind {
                blocks.push((piece.offset, block));
            }
        }
    }
    blocks
}

fn stored(disk: &Disk, block: &Block) -> Vec<u8> {
    let mut bytes = vec![0; block.stored_length as usize];
    let source = disk.core().source(block.source).expect("the image");
    source.read_at(block.offset, &mut bytes).expect("the block lies in the image");
    bytes
}

/// What the other decoder makes of a frame, if that is `length` bytes.
fn by_other(stored: &[u8], length: usize) -> Option<Vec<u8>> {
    let mut decoder = ruzstd::decoding::StreamingDecoder::new(stored).ok()?;
    let mut bytes = vec![0; length];
    decoder.read_exact(&mut bytes).ok()?;
    (decoder.read(&mut [0]).ok()? == 0).then_some(bytes)
}

fn read(disk: &Disk, at: u64, block: &Block) -> Result<Vec<u8>, Error> {
    let left = disk.size() - at;
    let mut bytes = vec![0; left.min(block.decoded_length.into()) as usize];
    disk.read_at(&mut bytes, at).map(|()| bytes)
}

#[test]
fn every_frame_decodes_as_with_another_decoder() {
    let (bench, engine) = (Bench::new(), engine());
    for cluster in CLUSTERS {
        let (name, expected) = compressed(&bench, cluster);
        let disk = open(&engine, &bench.path(&name));
        let blocks = blocks(&disk);
        assert!(blocks.len() >= 3, "{name}: {} compressed clusters", blocks.len());
        for (at, block) in &blocks {
            let found = read(&disk, *at, block).expect("a sound block");
            let other = by_other(&stored(&disk, block), block.decoded_length as usize);
            let other = other.expect("a sound frame");
            assert!(found == other[..found.len()], "{name}: block at {at}");
            assert!(found == expected[*at as usize..][..found.len()], "{name}: block at {at}");
        }
        let mut whole = vec![0; SIZE];
        disk.read_at(&mut whole, 0).expect("a sound disk");
        assert!(whole == expected, "{name}: read as one");
    }
}

#[test]
fn a_damaged_frame_is_an_error_or_decodes_as_with_another_decoder() {
    let (bench, engine) = (Bench::new(), engine());
    let (mut damaged, mut failed, mut lenient) = (0, 0, 0);
    for cluster in ["4k", "64k"] {
        let (name, _) = compressed(&bench, cluster);
        let path = bench.path(&name);
        let disk = open(&engine, &path);
        let file = FileOptions::new().write(true).open(&path).expect("our image");
        let mut numbers = Numbers::new(3);
        let blocks = blocks(&disk);
        for (at, block) in blocks.iter().step_by(blocks.len() / 40) {
            let sound = stored(&disk, block);
            for round in 0..24 {
                // The head, where the frame says what it is, gets half of the blows.
                let place = numbers.below(if round % 2 == 0 { 24 } else { sound.len() });
                let byte = sound[place] ^ (1 << numbers.below(8));
                file.write_all_at(&[byte], block.offset + place as u64).expect("our image");
                let found = read(&disk, *at, block);
                let other = by_other(&stored(&disk, block), block.decoded_length as usize);
                file.write_all_at(&sound, block.offset).expect("our image");
                damaged += 1;
                match (found, other) {
                    (Ok(bytes), Some(other)) => {
                        assert!(bytes == other, "{name} at {at}, byte {place}");
                    }
                    (Ok(_), None) => lenient += 1,
                    (Err(Error::Decode { .. }), _) => failed += 1,
                    (Err(error), _) => panic!("{name} at {at}, byte {place}: {error}"),
                }
            }
            assert_eq!(
                read(&disk, *at, block).ok(),
                by_other(&sound, block.decoded_length as usize)
            );
        }
    }
    assert!(failed * 4 > damaged, "{failed} of {damaged} were found out");
    // It takes Huffman codes of 12 bits, where the format ends at 11.
    assert!(lenient * 100 <= damaged, "{lenient} of {damaged} only the other found out");
}
