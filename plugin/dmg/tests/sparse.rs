//! Sparse images and sparse bundles, made by hand.

mod support;

use fumehood_plugin::memory::check_answer;
use fumehood_plugin::{Error, Image, Result};
use support::{open, open_set, read_all, read_set, refusal, sample, set};

const BAND: usize = 4 * 512;

/// A sparse image of bands of four sectors, in the order given; further nodes as needed.
fn sparse_image(disk: &[u8], order: &[usize]) -> Vec<u8> {
    let sectors = (disk.len() / 512) as u32;
    let mut file = b"sprs\0\0\0\x03\0\0\0\x04\0\0\0\x01".to_vec();
    file.extend(sectors.to_be_bytes());
    file.extend([0; 8]);
    file.extend(u64::from(sectors).to_be_bytes());
    file.extend([0; 28]);
    let mut node = 0;
    let mut rest = order;
    loop {
        let room = if node == 0 { 1008 } else { 1010 };
        let (here, behind) = rest.split_at(rest.len().min(room));
        for number in 0..room {
            let band = here.get(number).map_or(0, |band| *band as u32 + 1);
            file.extend(band.to_be_bytes());
        }
        for band in here {
            let mut bytes = disk[band * BAND..disk.len().min((band + 1) * BAND)].to_vec();
            bytes.resize(BAND, 0xee);
            file.extend(bytes);
        }
        rest = behind;
        if rest.is_empty() {
            return file;
        }
        let (next, pointer) = (file.len(), if node == 0 { 20 } else { node + 12 });
        file[pointer..pointer + 8].copy_from_slice(&(next as u64).to_be_bytes());
        file.extend(b"sprs\0\0\0\0\0\0\0\x01");
        file.extend([0; 44]);
        node = next;
    }
}

/// `disk` without the bands that `order` leaves out.
fn punched(disk: &[u8], order: &[usize]) -> Vec<u8> {
    let mut disk = disk.to_vec();
    for (band, bytes) in disk.chunks_mut(BAND).enumerate() {
        if !order.contains(&band) {
            bytes.fill(0);
        }
    }
    disk
}

#[test]
fn bands_lie_in_any_order_and_the_rest_is_zero() {
    // The last band is cut.
    let disk = sample(4 * 40 - 1);
    for order in [vec![], vec![0], vec![39], vec![7, 3, 39, 8, 0, 22]] {
        let file = sparse_image(&disk, &order);
        assert!(read_all(&file).unwrap() == punched(&disk, &order), "{order:?}");
        let image = open(&file).unwrap();
        assert_eq!(image.disk(0).unwrap().check(false).unwrap(), []);
        assert_eq!(image.disks()[0].granularity, 2048);
    }
}

#[test]
fn further_nodes_are_followed() {
    let disk = sample(4 * 2500);
    let order: Vec<usize> = (0..2400).map(|number| number * 7 % 2500).collect();
    let file = sparse_image(&disk, &order);
    assert!(read_all(&file).unwrap() == punched(&disk, &order));

    let first_next = u64::from_be_bytes(file[20..28].try_into().unwrap());
    for next in [1, 4096, first_next - 1, first_next + 1, u64::MAX, file.len() as u64] {
        let mut other = file.clone();
        other[20..28].copy_from_slice(&next.to_be_bytes());
        assert!(refusal(&other).contains("node"), "{next}");
    }
    let mut circle = file.clone();
    let at = first_next as usize + 12;
    circle[at..at + 8].copy_from_slice(&first_next.to_be_bytes());
    assert!(refusal(&circle).contains("node"));
}

#[test]
fn what_contradicts_itself_is_refused() {
    let disk = sample(4 * 40);
    let file = sparse_image(&disk, &[1, 2, 3]);
    let changed = |at: usize, bytes: &[u8]| {
        let mut file = file.clone();
        file[at..at + bytes.len()].copy_from_slice(bytes);
        file
    };
    assert!(refusal(&changed(68, &2u32.to_be_bytes())).contains("twice"));
    assert!(refusal(&changed(64, &41u32.to_be_bytes())).contains("band 41"));
    assert!(refusal(&changed(4, &4u32.to_be_bytes())).contains("version 4"));
    assert!(refusal(&changed(8, &[0; 4])).contains("no sectors"));
    for cut in [0, 3, 4, 64, 4095] {
        assert!(open(&file[..cut]).is_err(), "{cut}");
    }
    // A cut file loses what was cut off, and no more.
    let cut = &file[..4096 + 2 * BAND + 512];
    let image = open(cut).unwrap();
    assert_eq!(image.disk(0).unwrap().check(false).unwrap().len(), 1);
    asked_everywhere(&*image);
    assert!(read_all(cut).unwrap_err().to_string().contains("passes the end"));
}

/// Wherever an answer is asked for, its first extent holds that place.
fn asked_everywhere(image: &dyn Image) {
    let (size, mut disk) = (image.disks()[0].size, image.disk(0).unwrap());
    for offset in (0..size).step_by(100) {
        for length in [1, 3000, u64::MAX] {
            check_answer(&disk.extents(offset, length).unwrap(), offset, size).unwrap();
        }
    }
}

fn list(size: &str, band: &str, more: &str) -> Vec<u8> {
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<!DOCTYPE plist PUBLIC \"-//Apple//DTD PLIST \
         1.0//EN\" \"http://www.apple.com/DTDs/PropertyList-1.0.dtd\">\n<plist version=\"1.0\">\n\
         <dict>\n\t<key>CFBundleInfoDictionaryVersion</key>\n\t<string>6.0</string>\n\
         \t<key>band-size</key>\n\t<integer>{band}</integer>\n{more}\
         \t<key>diskimage-bundle-type</key>\n\
         \t<string>com.apple.diskimage.sparsebundle</string>\n\
         \t<key>size</key>\n\t<integer>{size}</integer>\n</dict>\n</plist>\n"
    )
    .into_bytes()
}

fn opened(list: &[u8], beside: &[(&str, Vec<u8>)]) -> Result<()> {
    open_set(&set("Info.plist", list, beside)).map(drop)
}

#[test]
fn a_bundle_is_its_bands() {
    let disk = sample(4 * 40 - 1);
    let part = |band: usize| disk[band * BAND..disk.len().min((band + 1) * BAND)].to_vec();
    let short = |band| part(band)[..700].to_vec();
    let long = |band| [part(band), vec![9; 100]].concat();
    let beside = [
        ("bands/0", part(0)),
        ("bands/a", part(10)),
        ("bands/1f", long(31)),
        ("bands/b", short(11)),
        ("bands/27", part(39)),
        ("token", vec![]),
    ];
    let mut expected = punched(&disk, &[0, 10, 11, 31, 39]);
    expected[11 * BAND + 700..12 * BAND].fill(0);
    let version = "\t<key>bundle-backingstore-version</key>\n\t<integer>1</integer>\n";
    let set = set("Info.plist", &list(&disk.len().to_string(), "2048", version), &beside);
    assert!(read_set(&set).unwrap() == expected);
    let image = open_set(&set).unwrap();
    assert_eq!(image.info().warnings, [""; 0]);
    assert!(image.document("Info.plist").unwrap().starts_with(b"<?xml"));
    asked_everywhere(&*image);
    assert_eq!(image.disks()[0].granularity, 2048);
}

#[test]
fn a_bundle_that_lacks_its_first_band_is_told_of() {
    let image = open_set(&set("Info.plist", &list("81920", "2048", ""), &[])).unwrap();
    assert!(image.info().warnings[0].contains("first band"));
    // However many bands it claims, an answer looks for some of them.
    let huge = list(&(1u64 << 62).to_string(), "512", "");
    let image = open_set(&set("Info.plist", &huge, &[])).unwrap();
    let extents = image.disk(0).unwrap().extents(0, u64::MAX).unwrap();
    assert!(extents.last().unwrap().end() <= 1 << 20);
}

#[test]
fn bundles_that_are_not_read_say_why() {
    let keys = [("token", b"encrcdsa\0\0\0\x02".to_vec())];
    let refused = opened(&list("81920", "2048", ""), &keys).unwrap_err();
    assert!(matches!(&refused, Error::Unsupported(what) if what.contains("encrypted")));
    let later = "\t<key>bundle-backingstore-version</key>\n\t<integer>2</integer>\n";
    let refused = opened(&list("81920", "2048", later), &[]).unwrap_err();
    assert!(matches!(&refused, Error::Unsupported(what) if what.contains("version 2")));
    for (size, band) in [
        ("81920", "0"),
        ("81920", "1000"),
        ("100", "512"),
        ("-1", "512"),
        ("", ""),
        ("99999999999999999999", "512"),
    ] {
        assert!(matches!(opened(&list(size, band, ""), &[]), Err(Error::Corrupt { .. })), "{size}");
    }
    // A property list of something else is not ours.
    assert_eq!(opened(b"<plist><dict/></plist>", &[]), Err(Error::Unrecognised));
}
