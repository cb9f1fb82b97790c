//! Images built by hand, and one that macOS made, whose contents are known by hash.
//! `FUMEHOOD_CORPUS` names the collection it is in; otherwise it is `shared/corpus`
//! beside the project, if that is there.

mod support;

use std::fs::{self, File};
use std::process::Command;
use std::rc::Rc;

use fumehood_asif::Asif;
use fumehood_plugin::{Confidence, Content, Format, Glimpse, SourceHandle};
use fumehood_test_support::corpus::corpus;
use fumehood_test_support::tool::sha256;
use support::{Builder, CHUNK, FileSource, GROUP, contents, open, open_source, read, sample};

#[test]
fn what_was_built_is_read() {
    let bytes = sample().build();
    assert!(contents(&bytes).unwrap() == sample().disk());
    let image = open(&bytes).unwrap();
    let info = &image.disks()[0];
    assert_eq!((info.size, info.granularity), (sample().size, CHUNK as u32));
    let mut disk = image.disk(0).unwrap();
    assert_eq!(disk.check(false).unwrap(), []);
    // Neighbours in the file are one extent, and so are holes, however long.
    let extents = disk.extents(0, u64::MAX).unwrap();
    let shape: Vec<_> = extents
        .iter()
        .map(|extent| (extent.length / CHUNK, extent.content == Content::Absent))
        .collect();
    assert_eq!(shape, [(2, false), (GROUP - 3, true), (1, false), (2, true), (0, false)]);
    let glimpse = |bytes: &[u8]| Glimpse { head: bytes.to_vec(), ..Glimpse::default() };
    assert_eq!(Asif::probe(&glimpse(&bytes[..512])), Confidence::Certain);
    assert_eq!(Asif::probe(&glimpse(b"shdw")), Confidence::No);
    assert_eq!(Asif::probe(&glimpse(&[0; 512])), Confidence::No);
}

#[test]
fn groups_are_followed_by_the_entry_of_their_bitmap() {
    // Chunks of 64 KiB have three groups a table.
    let mut bytes = sample().build();
    support::put32(&mut bytes, 64, 65536);
    bytes.resize(40 * 65536, 0);
    let table = 65536;
    support::put(&mut bytes, 1032, 1);
    for (chunk, place) in [(0, 10), (GROUP - 1, 11), (GROUP, 12), (2 * GROUP, 13)] {
        support::put(&mut bytes, table + 8 * (chunk + chunk / GROUP) as usize, place);
    }
    // Of the bitmap, and never of the disk.
    support::put(&mut bytes, table + 8 * GROUP as usize, 14);
    support::put(&mut bytes, 48, 3 * GROUP * 128);
    support::put(&mut bytes, 56, 3 * GROUP * 128);
    let mut disk = open(&bytes).unwrap().disk(0).unwrap();
    let stored: Vec<_> = disk
        .extents(0, u64::MAX)
        .unwrap()
        .into_iter()
        .filter_map(|extent| match extent.content {
            Content::Stored(stored) => Some((extent.offset / 65536, stored.offset / 65536)),
            _ => None,
        })
        .collect();
    // Two neighbours in the middle are one.
    assert_eq!(stored, [(0, 10), (GROUP - 1, 11), (2 * GROUP, 13)]);
}

#[test]
fn the_directory_of_the_higher_version_counts() {
    let mut bytes = sample().build();
    // The first directory is empty, and older.
    support::put(&mut bytes, 512, 6);
    assert!(contents(&bytes).unwrap().iter().all(|byte| *byte == 0));
    let image = open(&bytes).unwrap();
    assert!(image.info().details.contains(&("directory version".into(), "6".into())));
}

#[test]
fn metadata_is_shown() {
    let list =
        "<plist><dict><key>stable uuid</key>\n\t<string>13db9632-b79f</string></dict></plist>";
    let mut builder = sample();
    builder.list = Some(list.into());
    let image = open(&builder.build()).unwrap();
    let info = image.info();
    assert_eq!(info.documents, ["metadata.plist"]);
    assert_eq!(image.document("metadata.plist").unwrap(), list.as_bytes());
    assert!(info.details.contains(&("stable uuid".into(), "13db9632-b79f".into())));
    assert_eq!(info.warnings.len(), 1);
    assert!(contents(&builder.build()).unwrap() == sample().disk());
    for (at, value) in [(72, 7 * GROUP), (72, u64::MAX), (72, 0), (72, GROUP), (72, 1)] {
        let mut bytes = builder.build();
        support::put(&mut bytes, at, value);
        let info = open(&bytes).unwrap().info();
        assert!(info.documents.is_empty() && info.warnings.len() <= 2, "{value}");
    }
    builder.list = Some("<plist>".into());
    assert_eq!(open(&builder.build()).unwrap().info().warnings.len(), 2);
}

#[test]
fn a_disk_of_four_pebibytes_is_opened_and_mapped_at_once() {
    let mut bytes = Builder::new(512).build();
    let blocks = (4_u64 << 50) / 512;
    support::put32(&mut bytes, 64, 1 << 20);
    support::put(&mut bytes, 48, blocks);
    support::put(&mut bytes, 56, blocks);
    bytes.resize(1 << 20, 0);
    let mut disk = open(&bytes).unwrap().disk(0).unwrap();
    let extents = disk.extents(0, u64::MAX).unwrap();
    assert_eq!((extents.len(), extents[0].length), (1, 4 << 50));
    assert_eq!(disk.check(false).unwrap(), []);
}

#[test]
fn an_image_of_macos_holds_what_is_known_of_it() {
    let Some(corpus) = corpus("asif") else { return };
    let path = std::env::temp_dir().join(format!("fumehood-asif-{}", std::process::id()));
    let unpacked = File::create(&path).unwrap();
    let mut gzip = Command::new("gzip");
    gzip.arg("-dc").arg(corpus.join("basic.asif.gz")).stdout(unpacked);
    assert!(gzip.status().expect("gzip is missing").success());
    let main: SourceHandle = Rc::new(FileSource(File::open(&path).unwrap()));
    fs::remove_file(&path).unwrap();
    let image = open_source(main.clone()).unwrap();
    assert_eq!(image.disks()[0].size, 512_000_000);
    let mut disk = image.disk(0).unwrap();
    assert!(disk.extents(0, u64::MAX).unwrap().len() < 5);
    assert_eq!(disk.check(false).unwrap(), []);
    let info = image.info();
    let uuid = "13db9632-b79f-4e95-aada-835d5ef97bba";
    assert!(info.details.contains(&("stable uuid".into(), uuid.into())), "{info:?}");
    let start = read(&main, 0, 100 << 20).unwrap();
    let known = "7906281f7a25f13df78c907d7bc4e9313d9a26fa86386c6e2a737a784fe80b8f";
    assert_eq!(sha256(&start), known);
}
