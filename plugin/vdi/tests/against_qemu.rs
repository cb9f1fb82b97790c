//! Images that QEMU makes: contents, and what a check says of them.

mod support;

use fumehood_plugin::{Confidence, Content, Format, Glimpse};
use fumehood_test_support::Bench;
use fumehood_vdi::Vdi;
use support::writer::{DISK_SIZE, put64};
use support::{open, read_all, read_windows};

/// An image of `size` bytes with runs, holes, and a written end.
fn image(bench: &Bench, options: &str, size: u64) -> Vec<u8> {
    let last = format!("write -P 4 {} 512", size / 512 * 512 - 512);
    let writes = ["write -P 1 0 5k", "write -P 3 7M 2M", "write -P 2 3000k 1500k", &last];
    bench.made_by_qemu("vdi", &["-o", options, &size.to_string()], &writes)
}

#[test]
fn what_qemu_writes_is_read() {
    let bench = Bench::new("qemu-writes");
    for options in ["static=off", "static=on"] {
        for size in [12 << 20, (12 << 20) + 512, 9_438_720] {
            let bytes = image(&bench, options, size);
            let expected = bench.by_qemu("vdi", &bytes);
            assert_eq!(expected.len() as u64, size);
            for window in [u64::MAX, 1 << 20, 700_001] {
                assert!(read_windows(&bytes, window).unwrap() == expected, "{options} {size}");
            }
            let image = open(&bytes).unwrap();
            assert_eq!(image.disk(0).unwrap().check(false).unwrap(), []);
            assert_eq!(image.info().warnings, [""; 0]);
            let told = image.info().details;
            let kind = if options == "static=on" { "fixed" } else { "dynamic" };
            assert!(told.contains(&("type".into(), kind.into())), "{told:?}");
        }
    }
}

#[test]
fn a_fixed_image_is_one_extent() {
    let bench = Bench::new("one-extent");
    let bytes = image(&bench, "static=on", 12 << 20);
    let extents = open(&bytes).unwrap().disk(0).unwrap().extents(5 << 20, 1 << 30).unwrap();
    assert_eq!(extents.len(), 1);
    assert_eq!((extents[0].offset, extents[0].end()), (5 << 20, 12 << 20));
    assert!(matches!(extents[0].content, Content::Stored(_)));
}

#[test]
fn a_size_that_is_no_whole_sector_is_rounded_up() {
    let bench = Bench::new("rounded");
    let mut bytes = image(&bench, "static=off", 9 << 20);
    put64(&mut bytes, DISK_SIZE, (9 << 20) - 700);
    let expected = bench.by_qemu("vdi", &bytes);
    assert_eq!(expected.len(), (9 << 20) - 512);
    assert!(read_all(&bytes).unwrap() == expected);
}

#[test]
fn images_are_recognised_by_their_signature() {
    let bench = Bench::new("probe");
    let head = image(&bench, "static=off", 9 << 20)[..65_536].to_vec();
    let mut glimpse = Glimpse { name: "disk".into(), size: 9 << 20, head, tail: vec![] };
    assert_eq!(Vdi::probe(&glimpse), Confidence::Certain);
    glimpse.head[64] ^= 1;
    assert_eq!(Vdi::probe(&glimpse), Confidence::No);
    glimpse.head.truncate(67);
    assert_eq!(Vdi::probe(&glimpse), Confidence::No);
}
