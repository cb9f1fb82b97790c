//! Archives written by the tests' own writer: what no sample shows.

mod support;

use fumehood_plugin::{Content, Contents};
use support::writer::{File, Store, Writer, put};
use support::{open, read, sample};

fn both(bytes: Vec<u8>, block: usize) -> Vec<File> {
    vec![
        File::new("disk-plain", bytes.clone(), block, Store::Plain),
        File::new("disk-lz4", bytes, block, Store::Lz4),
    ]
}

#[test]
fn disks_read_back_in_both_layouts() {
    // Not a multiple of the block size, so that the last block is cut.
    for length in [512, 65536, 300 * 512, 1 << 20, (1 << 20) + 512] {
        let bytes = sample(length);
        for version in [9, 10, 11, 12, 13] {
            for block in [4096, 65536] {
                let archive = Writer::new(version).write(&both(bytes.clone(), block));
                let image = open(&archive).unwrap();
                let names: Vec<_> = image.disks().into_iter().map(|disk| disk.name).collect();
                assert_eq!(names, ["disk-plain", "disk-lz4"]);
                for number in 0..2 {
                    let found = read(&archive, &*image, number).unwrap();
                    assert!(found == bytes, "{length} {version} {block}");
                    assert_eq!(image.disk(number).unwrap().check(false), Ok(vec![]));
                }
                let warned = !image.info().warnings.is_empty();
                assert_eq!(warned, ![9, 13].contains(&version), "{:?}", image.info().warnings);
            }
        }
    }
}

#[test]
fn tables_of_many_pages_are_found() {
    // In version 13, the store's pages take four pages to list.
    let mut bytes = sample(105_984 * 16);
    // And whole tables of descriptors are sparse.
    bytes[40_000 * 16..60_000 * 16].fill(0);
    for version in [9, 13] {
        let files = [File::new("disk", bytes.clone(), 16, Store::Plain)];
        let archive = Writer::new(version).write(&files);
        let image = open(&archive).unwrap();
        let mut disk = image.disk(0).unwrap();
        let hole = disk.extents(50_000 * 16, 1).unwrap().remove(0);
        assert_eq!(hole.content, Content::Zero);
        assert!(read(&archive, &*image, 0).unwrap() == bytes, "{version}");
    }
}

#[test]
fn old_slots_have_another_checksum_and_fewer_banks() {
    for slot_format in [0, 5, 6, 9] {
        let bytes = sample(8192);
        let writer = Writer { slot_format, ..Writer::new(9) };
        let archive = writer.write(&both(bytes.clone(), 4096));
        let image = open(&archive).unwrap();
        assert_eq!(image.info().warnings, [""; 0]);
        assert!(read(&archive, &*image, 1).unwrap() == bytes);
    }
}

#[test]
fn disks_are_told_from_documents() {
    let text = b"<summary/>".to_vec();
    let sector = vec![7; 512];
    let mask = {
        let mut bytes = 5u32.to_le_bytes().to_vec();
        bytes.extend(17u32.to_le_bytes());
        bytes.extend(b"DefinedBlocksMask");
        bytes.extend(5000u32.to_le_bytes());
        bytes.extend([0; 5000]);
        bytes.extend(2u32.to_le_bytes());
        bytes.extend(4u32.to_le_bytes());
        bytes.extend(b"Size");
        bytes.extend(77u64.to_le_bytes());
        bytes.extend(4u32.to_le_bytes());
        bytes.extend(4u32.to_le_bytes());
        bytes.extend(b"Name");
        bytes.extend(4u32.to_le_bytes());
        bytes.extend("né".encode_utf16().flat_map(u16::to_le_bytes));
        bytes.extend(u32::MAX.to_le_bytes());
        bytes
    };
    let mut marked = File::new("odd", vec![9; 1000], 1000, Store::Lz4);
    marked.properties = Some(mask);
    let files = [
        File::new("summary.xml", text.clone(), 10, Store::Plain),
        File::new("summary-sector.xml", sector.clone(), 512, Store::Lz4),
        File::new("digest_1", vec![1; 4600], 4600, Store::Lz4),
        File::new("empty", vec![], 512, Store::Plain),
        File::new("disk.vhdx", vec![3; 1024], 512, Store::Lz4),
        File::new("DEV__dev_sda", sector.clone(), 512, Store::Plain),
        marked,
    ];
    for version in [9, 13] {
        let archive = Writer::new(version).write(&files);
        let image = open(&archive).unwrap();
        let info = image.info();
        assert_eq!(info.documents, ["summary.xml", "summary-sector.xml", "digest_1", "empty"]);
        assert_eq!(image.document("summary.xml"), Ok(text.clone()));
        assert_eq!(image.document("summary-sector.xml"), Ok(sector.clone()));
        assert_eq!(image.document("empty"), Ok(vec![]));
        assert!(image.document("DEV__dev_sda").is_err());
        let kinds: Vec<_> =
            image.disks().into_iter().map(|disk| (disk.name, disk.contents)).collect();
        let expected = [
            ("disk.vhdx".into(), Contents::File),
            ("DEV__dev_sda".into(), Contents::Disk),
            ("odd".into(), Contents::File),
        ];
        assert_eq!(kinds, expected);
        let details = &image.disks()[2].details;
        assert_eq!(
            details.as_slice(),
            [("Size".into(), "77".into()), ("Name".into(), "né".into())]
        );
    }
}

#[test]
fn files_of_several_folders_keep_their_paths() {
    let files = both(sample(4096), 4096);
    let image = open(&Writer { depth: 3, ..Writer::new(13) }.write(&files)).unwrap();
    assert_eq!(image.disks()[0].name, "job 1/job 0/disk-plain");
    let image = open(&Writer { depth: 0, ..Writer::new(13) }.write(&files)).unwrap();
    assert_eq!(image.disks()[0].name, "disk-plain");
}

#[test]
fn a_file_left_while_it_was_written_is_read_with_a_warning() {
    let mut writer = Writer::new(9);
    writer.change_item = Some(Box::new(|_, item| put(item, 0x94, &[1])));
    let archive = writer.write(&both(sample(4096), 4096));
    let image = open(&archive).unwrap();
    assert_eq!(image.info().warnings.len(), 2);
    assert!(read(&archive, &*image, 0).unwrap() == sample(4096));
}

#[test]
fn a_changed_byte_of_payload_fails_its_block_alone() {
    let bytes = sample(64 << 10);
    let mut archive = Writer::new(13).write(&both(bytes, 16384));
    let image = open(&archive).unwrap();
    let mut disk = image.disk(0).unwrap();
    let extents = disk.extents(0, u64::MAX).unwrap();
    let Content::Encoded(second) = &extents[1].content else { panic!() };
    archive[second.offset as usize + 5] ^= 1;
    assert!(read(&archive, &*image, 0).is_err());
    assert!(read(&archive, &*image, 1).is_ok());
}
