//! An archive that Proxmox VE made, as far as a collection of images is at hand:
//! `FUMEHOOD_CORPUS` names the folder; otherwise it is `shared/corpus` beside the
//! project, if that is there.

mod common;

use common::{open, read, source, survive};
use fumehood_plugin::Content;
use fumehood_plugin::simulate::Random;
use fumehood_test_support::corpus::sample;
use fumehood_test_support::tool::sha256;

/// The archive of a disk of 10 GiB that was cut behind its second extent.
fn truncated() -> Option<Vec<u8>> {
    sample("vma", "dissect-test-truncated.vma.gz")
}

/// Of cluster 0, and of clusters 16 to 22, as another reader gives them.
const EXPECTED: [&str; 2] = [
    "cf4adcf1933a8c9a0a3ff5588e1400e6beea8a32212b3a35ba08c7b08e4e6b1f",
    "8c989a3aa590795fa919ccb7d1f28651c85f8a0d9ba00ab22cdd9fb760fa7955",
];

#[test]
fn a_real_archive_that_was_cut_gives_what_it_has() {
    let Some(bytes) = truncated() else { return };
    let image = open(&bytes).unwrap();
    let info = image.info();
    assert_eq!(info.documents, ["qemu-server.conf"]);
    assert!(image.document("qemu-server.conf").unwrap().starts_with(b"boot: order=scsi0"));
    assert_eq!(image.disks()[0].name, "drive-scsi0");
    let size = image.disks()[0].size;
    assert_eq!(size, 10 << 30);
    let mut disk = image.disk(0).unwrap();
    let main = source(&bytes);
    let first = read(&mut *disk, &main, size, (0, 65536)).unwrap();
    assert_eq!(sha256(&first), EXPECTED[0]);
    let some = read(&mut *disk, &main, size, (16 * 65536, 7 * 65536)).unwrap();
    assert_eq!(sha256(&some), EXPECTED[1]);
    let extents = disk.extents(0, size).unwrap();
    let last = extents.last().unwrap();
    assert!(matches!(last.content, Content::Damaged(_)) && last.end() == size);
    assert_eq!(info.warnings.len(), 1, "{info:?}");
    assert!(!disk.check(false).unwrap().is_empty());
}

#[test]
fn changed_bytes_of_a_real_archive_do_no_harm() {
    let Some(bytes) = truncated() else { return };
    let mut random = Random::new(11);
    let mut opened = 0;
    for _ in 0..1500 {
        let mut bytes = bytes[..20_000.max(random.below(bytes.len() as u64) as usize)].to_vec();
        for _ in 0..random.below(4) {
            let place = random.below(13_400) as usize;
            bytes[place] ^= 1 << random.below(8);
        }
        // With the checksum right again, more than the checksum is tried.
        if random.one_in(2) {
            let size = u32::from_be_bytes(bytes[56..60].try_into().unwrap()) as usize;
            if size <= bytes.len() && size > 48 {
                common::generator::seal_header(&mut bytes[..size]);
            }
            common::generator::seal_extent(&mut bytes, 12_800);
        }
        opened += usize::from(survive(&bytes));
    }
    assert!(opened > 100, "{opened}");
}
