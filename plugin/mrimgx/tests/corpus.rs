//! The vendor's own demonstration image, if a collection of images is at hand: what it
//! holds is known by hash. `FUMEHOOD_CORPUS` names the folder; otherwise it is
//! `shared/corpus` beside the project, if that is there.

mod support;

use fumehood_plugin::simulate::Random;
use fumehood_plugin::{Confidence, Content, Format, Glimpse};
use fumehood_test_support::corpus::sample;
use fumehood_test_support::tool::sha256;
use support::{Set, survive};

const NAME: &str = "2394E9AA621DDC3A-00-00.mrimgx";

fn load() -> Option<Vec<u8>> {
    sample("mrimgx", &format!("{NAME}.xz"))
}

#[test]
fn the_demonstration_image_holds_what_is_known_of_it() {
    let Some(bytes) = load() else { return };
    let glimpse = Glimpse { tail: bytes[bytes.len() - 65536..].to_vec(), ..Glimpse::default() };
    assert_eq!(fumehood_mrimgx::Mrimgx::probe(&glimpse), Confidence::Certain);
    let set = Set::new(&[(NAME.into(), bytes)]);
    let image = set.open().unwrap();
    assert_eq!(image.info().warnings, [""; 0]);
    let disks = image.disks();
    assert_eq!((disks.len(), disks[0].size), (1, 128_849_018_880));
    let size = disks[0].size;
    let mut disk = image.disk(0).unwrap();
    let (mut at, mut blocks, mut count) = (0, Vec::new(), 0);
    while at < size {
        for extent in disk.extents(at, size).unwrap() {
            at = extent.end();
            if let Content::Encoded(encoded) = extent.content {
                assert!(extent.offset >= 16 << 20 && extent.offset.is_multiple_of(65536));
                let stored = set.sources.find(0).unwrap();
                let stored = stored.read(encoded.offset, encoded.stored_length as usize).unwrap();
                blocks.extend(set.decode(&encoded, &stored).unwrap());
                count += 1;
            }
        }
    }
    assert_eq!(count, 1608);
    let expected = "e082780f05898bbbd18ce184749e77ef54363dd95ec99b8e10503da397fb22b4";
    assert_eq!(sha256(&blocks), expected);
    // The partition table at the beginning, its copy at the end, and the boot sector.
    let first = set.read_range(&mut *disk, size, 0, 32256).unwrap();
    assert_eq!(&first[510..520], b"\x55\xaaEFI PART");
    let last = set.read_range(&mut *disk, size, size - 33 * 512, 33 * 512).unwrap();
    assert_eq!(last[..32 * 512], first[1024..1024 + 32 * 512]);
    assert_eq!(&last[32 * 512..][..8], b"EFI PART");
    assert_eq!(last[32 * 512 + 24..][..8], (size / 512 - 1).to_le_bytes());
    let boot = set.read_range(&mut *disk, size, 16 << 20, 512).unwrap();
    assert_eq!(&boot[3..11], b"NTFS    ");
    assert_eq!(disk.check(false), Ok(vec![]));
    assert!(image.document("image.json").unwrap().starts_with(b"{"));
}

#[test]
fn changed_bytes_of_metadata_never_break_the_contract() {
    let Some(mut bytes) = load() else { return };
    // The metadata at the beginning and at the end; between them are 59 MB of elements.
    let position = 1_298_432;
    let length = bytes.len();
    let (mut random, mut opened) = (Random::new(3), 0);
    for _ in 0..4 {
        let at = match random.below(2) {
            0 => position + random.below(4096),
            _ => length as u64 - 1 - random.below(2200),
        } as usize;
        let byte = bytes[at];
        bytes[at] ^= 1 << random.below(8);
        let set = Set::new(&[(NAME.into(), bytes.clone())]);
        opened += usize::from(survive(&set));
        bytes[at] = byte;
    }
    assert!(opened > 0);
}
