//! Images that are damaged, or made to do damage.

mod support;

use fumehood_dmg::Dmg;
use fumehood_plugin::memory::check_answer;
use fumehood_plugin::simulate::Random;
use fumehood_plugin::{Confidence, Content, Error, Format, Glimpse};
use support::udif::{BZIP2, IGNORE, Image, RAW, ZERO, ZLIB};
use support::{open, open_set, read_all, refusal, sample, set};

fn image() -> Image {
    Image::of(&sample(200), ZLIB, 64)
}

/// The first extent that cannot be read, and how many there are.
fn damage(bytes: &[u8]) -> (String, usize) {
    let image = open(bytes).unwrap();
    let size = image.disks()[0].size;
    let mut disk = image.disk(0).unwrap();
    let extents = disk.extents(0, size).unwrap();
    check_answer(&extents, 0, size).unwrap();
    let damaged = extents.iter().filter_map(|extent| match &extent.content {
        Content::Damaged(what) => Some(what.clone()),
        _ => None,
    });
    let damaged: Vec<_> = damaged.collect();
    assert!(disk.check(false).unwrap().len() >= damaged.len());
    (damaged.first().cloned().unwrap_or_default(), damaged.len())
}

/// A change to the first run that stores something.
fn with_run(change: impl Fn(&mut support::udif::Run)) -> Vec<u8> {
    let mut image = image();
    let stored = image.tables[0].runs.iter_mut().find(|run| run.kind != ZERO);
    change(stored.unwrap());
    image.bytes()
}

#[test]
fn a_run_that_cannot_be_read_costs_itself_only() {
    let cases: [(Vec<u8>, &str); 6] = [
        (with_run(|run| run.length = 0), "stores 0 bytes"),
        (with_run(|run| run.offset = 1 << 40), "of a file of"),
        (with_run(|run| run.offset = u64::MAX), "of a file of"),
        (with_run(|run| run.length = u64::MAX), "of a file of"),
        (with_run(|run| run.kind = 0x8000_0009), "unknown type 0x80000009"),
        (with_run(|run| (run.kind, run.length) = (RAW, 512)), "stores 512 bytes"),
    ];
    for (bytes, expected) in cases {
        let (what, count) = damage(&bytes);
        assert!(what.contains(expected), "{what}");
        assert_eq!(count, 1, "{what}");
    }
}

#[test]
fn a_run_is_decoded_to_its_length_or_not_at_all() {
    for change in [1, -1] {
        let bytes = with_run(|run| run.count = run.count.wrapping_add_signed(change));
        assert!(open(&bytes).is_err() || read_all(&bytes).is_err(), "{change}");
    }
    // 64 MiB and one sector, behind a codec.
    let mut image = image();
    image.sectors = 1 << 30;
    let first = image.tables[0].runs.iter().position(|run| run.kind != ZERO).unwrap();
    image.tables[0].runs[first].count = (64 << 11) + 1;
    image.tables[0].runs.truncate(first + 1);
    let (what, _) = damage(&image.bytes());
    assert!(what.contains("67108864 are possible"), "{what}");
}

#[test]
fn runs_that_no_disk_can_have_are_refused() {
    let change = |change: &dyn Fn(&mut Image)| {
        let mut image = image();
        change(&mut image);
        refusal(&image.bytes())
    };
    let overlap = change(&|image| image.tables[0].runs[1].first -= 1);
    assert!(overlap.contains("overlap"), "{overlap}");
    let twice = change(&|image| image.tables.push(image.tables[0].clone()));
    assert!(twice.contains("overlap"), "{twice}");
    let short = change(&|image| image.sectors -= 1);
    assert!(short.contains("199 sectors"), "{short}");
    let far = change(&|image| image.tables[0].first = u64::MAX);
    assert!(far.contains("a run of 64"), "{far}");
    let far = change(&|image| image.tables[0].runs[0].first = u64::MAX / 2);
    assert!(far.contains("a run of"), "{far}");
    let long = change(&|image| {
        let run = &mut image.tables[0].runs[0];
        (run.kind, run.count) = (IGNORE, u64::MAX);
    });
    assert!(long.contains("a run of"), "{long}");
    let huge = change(&|image| image.sectors = u64::MAX);
    assert!(huge.contains("a disk of"), "{huge}");
    let none = change(&|image| image.tables.clear());
    assert!(none.contains("without block tables"), "{none}");
}

#[test]
fn a_table_is_as_long_as_it_says() {
    for count in [u32::MAX, 1_000_000, 100] {
        for fork in [false, true] {
            let mut image = Image { fork, ..image() };
            image.tables[0].count = Some(count);
            assert!(refusal(&image.bytes()).contains("runs in"), "{count}");
        }
    }
    // Each of two is sound, and both are too many.
    let mut image = Image { fork: true, ..image() };
    image.tables[0].runs = vec![image.tables[0].runs[0]; 250_000];
    image.tables.push(image.tables[0].clone());
    assert!(refusal(&image.bytes()).contains("500000 runs"));
}

#[test]
fn a_property_list_is_bounded_and_has_no_entities() {
    let list = |text: &str| Image { list: Some(text.into()), ..image() }.bytes();
    let head = "<plist><dict><key>resource-fork</key><dict><key>blkx</key><array>";
    let tail = "</array></dict></dict></plist>";
    let data = |text: &str| format!("{head}<dict><key>Data</key><data>{text}</data></dict>{tail}");
    for (text, expected) in [
        ("".to_string(), "without block tables"),
        ("<plist><dict/></plist>".into(), "without a resource fork"),
        ("<plist><dict><key>resource-fork</key></dict></plist>".into(), "without a resource fork"),
        (format!("{head}{tail}"), "without block tables"),
        (format!("{head}<dict/>{tail}"), "without the data"),
        (data(""), "too short"),
        (data("!!!!"), "too short"),
        (data(&"AAAA".repeat(100)), "expected \"mish\""),
        ("<!DOCTYPE plist [<!ENTITY x \"y\">]><plist/>".into(), "entities"),
        ("bplist00".into(), "binary"),
        ("\u{0}".into(), "XML"),
    ] {
        let refused = refusal(&list(&text));
        assert!(refused.contains(expected), "{text}: {refused}");
    }
    let mut broken = list("<plist>");
    let at = broken.len() - 512 - 3;
    broken[at] = 0xff;
    assert!(refusal(&broken).contains("UTF-8"));
    // Longer than memory is for.
    let long = Image { list: Some(vec![b' '; (24 << 20) + 1]), ..image() }.bytes();
    assert!(refusal(&long).contains("property list of 25165825 bytes"));
}

#[test]
fn forks_are_bounded() {
    let sound = Image { fork: true, ..Image::of(&sample(40), ZLIB, 16) }.bytes();
    let fork = sound.len() - 512 - {
        let end: [u8; 8] = sound[sound.len() - 512 + 48..][..8].try_into().unwrap();
        u64::from_be_bytes(end) as usize
    };
    let mut random = Random::new(3);
    for _ in 0..2000 {
        let mut bytes = sound.clone();
        let map = fork + u32::from_be_bytes(bytes[fork + 4..fork + 8].try_into().unwrap()) as usize;
        let at = if random.one_in(2) {
            fork + random.below(16) as usize
        } else {
            map + random.below(50) as usize
        };
        if at < bytes.len() - 512 {
            bytes[at] = random.below(256) as u8;
        }
        let _ = read_all(&bytes);
    }
}

#[test]
fn cut_files_are_refused() {
    let bytes = image().bytes();
    for cut in (0..bytes.len()).step_by(97).chain(bytes.len() - 600..bytes.len()) {
        assert!(open(&bytes[..cut]).is_err(), "{cut}");
    }
    // The trailer of a longer file.
    assert!(refusal(&bytes[1000..]).contains("in a file of"));
}

fn probed(name: &str, bytes: &[u8]) -> Confidence {
    let end = bytes.len().min(65536);
    Dmg::probe(&Glimpse {
        name: name.into(),
        size: bytes.len() as u64,
        head: bytes[..end].to_vec(),
        tail: bytes[bytes.len() - end..].to_vec(),
    })
}

#[test]
fn relatives_are_known_and_refused_by_name() {
    let encrypted = [&b"encrcdsa\0\0\0\x02"[..], &[0; 5000]].concat();
    let older = [&[0; 5000][..], b"cdsaencr"].concat();
    for (bytes, version) in [(encrypted, "version 2"), (older, "version 1")] {
        assert_eq!(probed("disk.dmg", &bytes), Confidence::Certain);
        let refused = open(&bytes).err().unwrap();
        assert!(matches!(&refused, Error::Unsupported(what)
            if what.contains("encrypted") && what.contains(version)));
    }
    let segment = Image { segments: 3, ..image() }.bytes();
    assert_eq!(probed("disk.dmg", &segment), Confidence::Certain);
    assert!(refusal(&segment).contains("number 1 of 3"));
    assert_eq!(probed("disk.dmg", &image().bytes()), Confidence::Certain);
    for other in [&b""[..], b"sprx", &[0; 2000], b"koly"] {
        assert_eq!(probed("disk.dmg", other), Confidence::No);
        assert_eq!(open(other).err(), Some(Error::Unrecognised));
    }
    let list = b"<plist>com.apple.diskimage.sparsebundle</plist>";
    assert_eq!(probed("Info.plist", list), Confidence::Certain);
    assert_eq!(probed("Other.plist", list), Confidence::No);
}

#[test]
fn checksums_over_tables_and_fork_are_compared() {
    let bytes = image().bytes();
    let trailer = bytes.len() - 512;
    for (at, name) in
        [(trailer + 88, "data checksum"), (trailer + 360, "master checksum"), (9, "data")]
    {
        let mut other = bytes.clone();
        other[at] ^= 1;
        let findings = open(&other).unwrap().disk(0).unwrap().check(false).unwrap();
        assert_eq!(findings.len(), 1, "{findings:?}");
        assert!(findings[0].what.contains(name), "{findings:?}");
    }
    let outside = Image { before: 600, ..image() };
    let mut outside = outside.bytes();
    let trailer = outside.len() - 512;
    // The fork ends sooner than its runs.
    outside[trailer + 32..trailer + 40].copy_from_slice(&1000u64.to_be_bytes());
    let findings = open(&outside).unwrap().disk(0).unwrap().check(false).unwrap();
    assert!(findings.iter().any(|found| found.what.contains("outside of the data fork")));
}

/// Opens, looks at all, and reads as far as it can.
fn explore(bytes: Vec<u8>) {
    let sources = set("disk.dmg", &bytes, &[]);
    let Ok(image) = open_set(&sources) else { return };
    let _ = (image.info(), image.document("resources.plist"));
    let size = image.disks()[0].size;
    let mut disk = image.disk(0).unwrap();
    sources.walk(&mut *disk, size, 1 << 40, 64).unwrap();
    let _ = disk.check(false).unwrap();
    if size < 1 << 16 {
        let _ = read_all(&bytes);
    }
}

#[test]
fn changed_bytes_break_nothing() {
    let mut random = Random::new(11);
    let small = Image::of(&sample(60), BZIP2, 16);
    let sparse =
        [&b"sprs\0\0\0\x03\0\0\0\x04\0\0\0\x01\0\0\x01\0"[..], &[0; 44], &[0, 0, 0, 9], &[0; 9000]];
    for (bytes, rounds) in [
        (small.bytes(), 2000),
        (Image { fork: true, ..small.clone() }.bytes(), 2000),
        (sparse.concat(), 1500),
    ] {
        for _ in 0..rounds {
            let mut other = bytes.clone();
            for _ in 0..=random.below(3) {
                let near = if random.one_in(2) { 512 } else { other.len() as u64 };
                let at = if random.one_in(3) {
                    random.below(64)
                } else {
                    other.len() as u64 - 1 - random.below(near)
                };
                other[at as usize] ^= 1 << random.below(8);
            }
            explore(other);
        }
    }
}
