//! Images with one thing wrong, images cut off, and random changes: each a clear error
//! or disks that keep the contract's rules, never a panic or an endless loop.
//! `MRIMGX_MUTATIONS` sets how many random changes are tried.

mod support;

use std::cell::RefCell;
use std::rc::Rc;

use fumehood_mrimgx::Mrimgx;
use fumehood_plugin::memory::MemorySource;
use fumehood_plugin::simulate::Random;
use fumehood_plugin::{
    Access, Confidence, Content, Error, Format, Glimpse, Host, Level, OpenOptions, SourceHandle,
};
use fumehood_test_support::damage::rounds;
use support::writer::{Disk, Index, Lock, Writer, expected, name, plain_disk};
use support::{Set, survive};

/// An image whose disk, elements and JSON are changed before it is written.
fn image(disk: Disk, elements: impl Fn(&mut Writer), json: impl Fn(String) -> String) -> Vec<u8> {
    let mut writer = Writer::new(vec![disk], true, None);
    writer.store(0);
    elements(&mut writer);
    writer.finish_with(0, 0, Index::Full, &json)
}

fn good() -> Vec<u8> {
    image(plain_disk(4096), |_| (), |json| json)
}

fn set(bytes: Vec<u8>) -> Set {
    Set::new(&[(name(0, 0), bytes)])
}

/// What is said of an image with this in its JSON instead of that.
fn refused(from: &str, to: &str) -> String {
    let change = |json: String| {
        assert!(json.contains(from), "{from} is in {json}");
        json.replace(from, to)
    };
    let set = set(image(plain_disk(4096), |_| (), change));
    match set.open() {
        Err(error) => error.to_string(),
        Ok(image) => image.disk(0).err().expect("it was not refused").to_string(),
    }
}

/// The damage at the partition's beginning.
fn damage(set: &Set) -> String {
    let mut disk = set.open().unwrap().disk(0).unwrap();
    match disk.extents(256 << 10, 1).unwrap().remove(0).content {
        Content::Damaged(what) => what,
        other => panic!("{other:?}"),
    }
}

fn probe(name: &str, tail: &[u8]) -> Confidence {
    Mrimgx::probe(&Glimpse { name: name.into(), tail: tail.to_vec(), ..Glimpse::default() })
}

#[test]
fn the_footer_proves_the_format() {
    let good = good();
    assert_eq!(probe("disk", &good), Confidence::Certain);
    assert_eq!(probe("disk.mrimg", &good), Confidence::Certain);
    assert_eq!(probe("disk.mrimgx", &good[..good.len() - 1]), Confidence::No);
    assert_eq!(probe("disk", b"MACRIUM_FILE"), Confidence::No);
    assert_eq!(probe("disk.MRIMG", b"older"), Confidence::Maybe);
    let older = Set::new(&[("disk.mrimg".into(), vec![1; 9999])]);
    assert!(older.refusal().contains("Reflect 8 or before"));
    assert!(matches!(set(vec![1; 9999]).open(), Err(Error::Unrecognised)));
    assert!(matches!(set(vec![]).open(), Err(Error::Unrecognised)));
    for offset in [good.len() as u64 - 20, good.len() as u64 - 21, u64::MAX, u64::MAX - 31] {
        let mut bytes = good.clone();
        let at = bytes.len() - 20;
        bytes[at..at + 8].copy_from_slice(&offset.to_le_bytes());
        assert!(matches!(set(bytes).open(), Err(Error::Corrupt { .. })));
    }
}

/// `count` metadata blocks of no length, behind which nothing ends the list.
fn endless(count: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    for _ in 0..count {
        bytes.extend(b"$NOTHING");
        bytes.extend([0; 24]);
    }
    bytes.extend(0u64.to_le_bytes());
    bytes.extend(b"MACRIUM_FILE");
    bytes
}

#[test]
fn lists_of_metadata_end() {
    assert!(matches!(set(endless(5)).open(), Err(Error::Corrupt { offset: 160, .. })));
    assert!(set(endless(100_000)).refusal().contains("more than 256"));
    let mut long = endless(5);
    long[8..12].fill(0xff);
    assert!(set(long).refusal().contains("footer"));
    let mut without = endless(1);
    without[28] = 1;
    assert!(set(without).refusal().contains("no $JSON"));
}

/// An image of metadata alone, whose JSON is this.
fn json_alone(json: &[u8], flags: u8) -> Set {
    use md5::Digest as _;
    let mut bytes = b"$JSON   ".to_vec();
    bytes.extend((json.len() as u32).to_le_bytes());
    bytes.extend(md5::Md5::digest(json));
    bytes.extend([flags, 0, 0, 0]);
    bytes.extend(json);
    bytes.extend(0u64.to_le_bytes());
    bytes.extend(b"MACRIUM_FILE");
    set(bytes)
}

#[test]
fn json_that_is_large_deep_or_odd_is_refused() {
    let bomb = {
        // Blocks of one repeated byte, 128 KiB each: a gigabyte of blanks.
        let mut frame = b"\x28\xb5\x2f\xfd\x00\x38".to_vec();
        for number in 0..8192u32 {
            let head = 131_072 << 3 | 1 << 1 | u32::from(number == 8191);
            frame.extend(&head.to_le_bytes()[..3]);
            frame.push(b' ');
        }
        frame
    };
    assert!(json_alone(&bomb, 3).refusal().contains("more than"));
    assert!(json_alone(b"\x28\xb5\x2f\xfd\x00\xb8", 3).refusal().contains("no zstd frame"));
    assert!(json_alone(&[b'['; 100_000], 1).refusal().contains("JSON"));
    let nested = format!("{{\"x\":{}1{}}}", "[".repeat(10_000), "]".repeat(10_000));
    // What is not asked for is passed over, however deep.
    assert!(json_alone(nested.as_bytes(), 1).refusal().contains("without delta_index"));
    let disks = format!("{{\"disks\":[{}{{}}]}}", "{},".repeat(64));
    assert!(json_alone(disks.as_bytes(), 1).refusal().contains("at most 64"));
    let merged = format!("{{\"_header\":{{\"merged_files\":[{}1]}}}}", "1,".repeat(70_000));
    assert!(json_alone(merged.as_bytes(), 1).refusal().contains("at most 65536"));
    assert!(json_alone(b"{\"_header\":{\"file_number\":70000}}", 1).refusal().contains("JSON"));
    assert!(json_alone(b"{\"_header\":{\"file_number\":-1}}", 1).refusal().contains("JSON"));
    assert!(json_alone(b"{}", 5).refusal().contains("encrypted"));
    // Nothing at all of what is required: an image without disks.
    let empty = json_alone(b"{\"_header\":{\"delta_index\":false}}", 1);
    assert_eq!(empty.open().unwrap().disks(), []);
    assert!(json_alone(b"{}", 1).refusal().contains("without delta_index"));
}

#[test]
fn a_wrong_digest_of_metadata_is_corrupt() {
    let mut bytes = good();
    let at = bytes.len() - 20 - 60;
    bytes[at] ^= 1;
    assert!(set(bytes).refusal().contains("MD5 of $JSON"));
}

#[test]
fn what_is_not_supported_is_refused_by_name() {
    let words = [
        (
            "\"backup_format\":\"partition\"",
            "\"backup_format\":\"file_and_folder\"",
            "files and folders",
        ),
        ("\"zstd\"", "\"lz4\"", "compression by \"lz4\""),
        ("\"medium\"", "\"extreme\"", "level \"extreme\""),
        ("\"enable\":false", "\"aes_type\":\"aes-256\",\"enable\":false", "no encryption"),
        ("\"enable\":false", "\"aes_type\":\"aes-192\",\"enable\":true", "192 bits"),
        ("\"enable\":false", "\"aes_type\":\"rot13\",\"enable\":true", "\"rot13\""),
        (
            "\"enable\":false",
            "\"key_derivation\":\"md5\",\"aes_type\":\"aes-128\",\"enable\":true",
            "\"md5\"",
        ),
        ("\"enable\":false", "\"aes_type\":\"aes-128\",\"enable\":true", "HMAC"),
    ];
    for (from, to, words) in words {
        let what = refused(from, to);
        assert!(what.contains(words), "{what}");
    }
}

#[test]
fn rounds_are_bounded() {
    let lock = Lock { bits: 256, password: "word".into(), rounds: 1 };
    for rounds in ["0", "2000001", "4294967296", "18446744073709551615"] {
        let mut writer = Writer::new(vec![plain_disk(4096)], true, Some(lock.clone()));
        writer.store(0);
        let change = |json: String| {
            json.replace("\"key_iterations\":1", &format!("\"key_iterations\":{rounds}"))
        };
        let bytes = writer.finish_with(0, 0, Index::Full, &change);
        let what = set(bytes).with_password("word").refusal();
        assert!(what.contains("rounds"), "{what}");
    }
}

#[test]
fn measures_that_make_no_sense_are_corrupt() {
    let cases = [
        ("\"disk_size\":1048576", "\"disk_size\":0", "0 bytes in all"),
        ("\"disk_size\":1048576", "\"disk_size\":18446744073709551104", "in all"),
        ("\"disk_size\":1048576", "\"disk_size\":400000", "in all"),
        ("\"disk_size\":1048576", "\"disk_size\":524288", "of a disk of 524288"),
        ("\"bytes_per_sector\":512", "\"bytes_per_sector\":0", "sectors of 0"),
        ("\"bytes_per_sector\":512", "\"bytes_per_sector\":520", "sectors of 520"),
        ("\"block_size\":4096", "\"block_size\":0", "blocks of 0 bytes"),
        ("\"block_size\":4096", "\"block_size\":67108865", "blocks of 67108865"),
        ("\"length\":522752", "\"length\":18446744073709551615", "at 262144"),
        ("\"lcn0_offset\":262144", "\"lcn0_offset\":1", "first cluster"),
        ("\"lcn0_offset\":262144", "\"lcn0_offset\":784896", "first cluster"),
        ("\"lcn0_offset\":262144", "\"lcn0_offset\":18446744073709551615", "first cluster"),
        ("\"lcn0_offset\":262144", "\"lcn0_offset\":1048576", "first cluster"),
        ("\"boot_sector_offset\":0", "\"boot_sector_offset\":18446744073709551615", "reserved"),
    ];
    for (from, to, words) in cases {
        let what = refused(from, to);
        assert!(what.contains(words), "{to}: {what}");
    }
}

#[test]
fn partitions_that_overlap_are_corrupt() {
    let mut disk = plain_disk(4096);
    let mut second = disk.partitions[0].clone();
    (second.number, second.start) = (2, 600 << 10);
    second.bytes.truncate(65536);
    disk.partitions.push(second);
    let set = set(image(disk, |_| (), |json| json));
    let error = set.open().unwrap().disk(0).err().unwrap().to_string();
    assert!(error.contains("overlaps"), "{error}");
}

#[test]
fn a_partition_hides_what_lies_under_it() {
    let mut disk = plain_disk(4096);
    disk.track0.resize(300 << 10, 0xee);
    let state = expected(&disk);
    let set = set(image(disk, |_| (), |json| json));
    assert!(set.read(0).unwrap() == state);
}

#[test]
fn elements_that_lead_nowhere_cost_their_block() {
    type Change = fn(&mut support::writer::Element);
    let cases: [(Change, &str); 5] = [
        (|element| element.position = -1, "at -1"),
        (|element| element.position = i64::MAX, "data end by"),
        (|element| element.length = u32::MAX, "data end by"),
        (|element| element.position = 1 << 40, "data end by"),
        (|element| element.file = 9, "file number 9 of the set is missing"),
    ];
    for (change, words) in cases {
        let bytes =
            image(plain_disk(4096), |writer| change(&mut writer.state[0][0][0]), |json| json);
        let set = set(bytes);
        let what = damage(&set);
        assert!(what.contains(words) && what.contains("block 0"), "{what}");
        let mut disk = set.open().unwrap().disk(0).unwrap();
        assert!(set.read_range(&mut *disk, 1 << 20, (256 << 10) + 4096, 4096).is_ok());
        assert_eq!(disk.check(false).unwrap().len(), 1);
    }
}

#[test]
fn a_last_block_of_a_wrong_length_costs_itself() {
    let mut disk = plain_disk(4096);
    disk.partitions[0].bytes.fill(1);
    let bytes = image(
        disk,
        |writer| {
            // The last, which is cut, stands for a whole one, and that for the last.
            let last = writer.state[0][0].len() - 1;
            writer.state[0][0].swap(0, last);
        },
        |json| json,
    );
    survive(&set(bytes));
}

#[test]
fn a_block_in_the_metadata_is_found_by_checking() {
    let bytes = image(
        plain_disk(4096),
        |writer| {
            let end = writer.state[0][0].iter().map(|it| it.position + i64::from(it.length)).max();
            writer.state[0][0][0].position = end.unwrap() + 5;
        },
        |json| json,
    );
    let findings = set(bytes).open().unwrap().disk(0).unwrap().check(false).unwrap();
    assert_eq!(findings.len(), 1);
    assert!(findings[0].what.contains("metadata begin"), "{findings:?}");
}

/// Where the payload of the index begins.
fn index_of(bytes: &[u8]) -> usize {
    bytes.windows(8).position(|name| name == b"$INDEX  ").unwrap() + 32
}

#[test]
fn counts_of_an_index_are_bounded_by_it() {
    for field in [0, 4] {
        for count in [u32::MAX, 1_000_000, 129] {
            let mut bytes = good();
            let at = index_of(&bytes) + field;
            bytes[at..at + 4].copy_from_slice(&count.to_le_bytes());
            assert!(set(bytes).refusal().contains("elements up to"));
        }
    }
    // Fewer than the JSON tells of are a warning, and a wrong digest.
    let mut bytes = good();
    let at = index_of(&bytes) + 4;
    bytes[at..at + 4].copy_from_slice(&5u32.to_le_bytes());
    let set = set(bytes);
    assert!(set.open().unwrap().info().warnings[0].contains("5 blocks of partition 1, not 128"));
    let findings = set.open().unwrap().disk(0).unwrap().check(false).unwrap();
    assert!(findings[0].what.contains("MD5 of an index"), "{findings:?}");
}

#[test]
fn an_index_that_is_packed_is_refused() {
    for flag in [2, 4] {
        let mut bytes = good();
        let at = index_of(&bytes) - 4;
        bytes[at] |= flag;
        assert!(set(bytes).refusal().contains("index that is compressed or encrypted"));
    }
}

#[test]
fn two_files_of_one_number_are_told() {
    let mut writer = Writer::new(vec![plain_disk(4096)], true, None);
    writer.store(0);
    let base = writer.finish(0, 0, Index::Full);
    writer.disks[0].partitions[0].bytes[..100].fill(1);
    writer.store(1);
    let newer = writer.finish(1, 1, Index::Delta);
    let state = expected(&writer.disks[0]);
    // One is called by the name that the image tells, the other by that of the main file.
    let files = [
        ("other-01-01.mrimgx".to_string(), newer),
        (name(0, 0), base.clone()),
        ("other-00-00.mrimgx".into(), base),
    ];
    let set = Set::new(&files);
    assert!(set.read(0).unwrap() == state);
}

#[test]
fn reserved_blocks_without_a_length_cost_their_range() {
    let mut disk = plain_disk(4096);
    disk.partitions[0].reserved = 8192;
    let bytes = image(disk, |_| (), |json| json.replace("reserved_sectors_byte_length", "nothing"));
    let set = set(bytes);
    let what = damage(&set);
    assert!(what.contains("1 blocks before the first cluster"), "{what}");
    let mut disk = set.open().unwrap().disk(0).unwrap();
    assert!(set.read_range(&mut *disk, 1 << 20, (256 << 10) + 8192, 4096).is_ok());
}

/// Grants one file, and notes what it was asked for.
struct Witness {
    base: MemorySource,
    asked: RefCell<Vec<String>>,
}

impl Host for Witness {
    fn open(&self, reference: &str, _: Access) -> fumehood_plugin::Result<SourceHandle> {
        self.asked.borrow_mut().push(reference.into());
        if reference == self.base.name() {
            return Ok(Rc::new(self.base.clone()));
        }
        Err(Error::Missing(reference.into()))
    }
    fn declare(&self, reference: &str) -> fumehood_plugin::Result<u32> {
        panic!("{reference}")
    }
    fn keep_secret(&self, _: &[u8]) -> fumehood_plugin::Result<u32> {
        panic!()
    }
    fn log(&self, _: Level, _: &str) {}
}

use fumehood_plugin::Source as _;

#[test]
fn no_path_out_of_an_image_is_opened() {
    let mut writer = Writer::new(vec![plain_disk(4096)], true, None);
    writer.store(0);
    let base = MemorySource::new(1, "passwd.mrimgx", writer.finish(0, 0, Index::Full));
    writer.disks[0].partitions[0].bytes[..100].fill(1);
    writer.store(1);
    for path in
        ["/etc/passwd", "../../etc/passwd", "C:\\\\etc\\\\passwd", "file:passwd", "..\\\\passwd"]
    {
        let mut writer = writer.clone();
        let change = |json: String| json.replace("C:\\\\old\\\\0123456789ABCDEF-00-00.mrimg", path);
        let main = writer.finish_with(1, 1, Index::Delta, &change);
        let main = Rc::new(MemorySource::new(0, "x-01-01.mrimgx", main));
        let witness = Rc::new(Witness { base: base.clone(), asked: RefCell::default() });
        let image = Mrimgx::open(main, witness.clone(), OpenOptions::read_only()).unwrap();
        assert!(image.disk(0).is_ok());
        let asked = witness.asked.borrow();
        assert!(asked.iter().any(|name| name == "passwd.mrimgx"));
        assert!(asked.iter().all(|name| !name.contains(['/', '\\', ':'])), "{asked:?}");
    }
}

#[test]
fn a_long_chain_without_its_files_gives_up_soon() {
    let mut writer = Writer::new(vec![plain_disk(4096)], true, None);
    writer.store(0);
    let bytes = writer.finish(1000, 1000, Index::Delta);
    let main = Rc::new(MemorySource::new(0, "x-1000-1000.mrimgx", bytes.clone()));
    let base = MemorySource::new(1, "none", vec![]);
    let witness = Rc::new(Witness { base, asked: RefCell::default() });
    let refused = Mrimgx::open(main, witness.clone(), OpenOptions::read_only());
    assert!(matches!(refused, Err(Error::Missing(what)) if what.contains("file number 999 ")));
    assert!(witness.asked.borrow().len() <= 4096);
    let bytes = writer.finish(60_000, 0, Index::Delta);
    assert!(set(bytes).refusal().contains("more than 1024 files"));
}

#[test]
fn cut_images_end_in_errors() {
    let good = good();
    let footer = good[good.len() - 20..].to_vec();
    for length in (0..good.len()).step_by(997) {
        survive(&set(good[..length].to_vec()));
        survive(&set([&good[..length], &footer].concat()));
    }
}

#[test]
fn random_changes_never_break_the_contract() {
    let times = rounds("MRIMGX_MUTATIONS", 2000);
    let mut disk = plain_disk(16384);
    disk.partitions[0].bytes[..9000].fill(0);
    disk.partitions[0].reserved = 4096;
    disk.size = 800 << 10;
    let mut writer = Writer::new(vec![disk], false, None);
    writer.store(0);
    let base = writer.finish(0, 0, Index::Full);
    writer.disks[0].partitions[0].bytes[10_000..20_000].fill(5);
    writer.store(1);
    let delta = writer.finish(1, 1, Index::Delta);
    let metadata =
        [&delta, &base].map(|bytes| bytes.windows(8).position(|name| name == b"$TRACK0 ").unwrap());
    let (mut random, mut opened) = (Random::new(7), 0);
    for _ in 0..times {
        let mut files = [(name(1, 1), delta.clone()), (name(0, 0), base.clone())];
        for _ in 0..1 + random.below(3) {
            let file = random.below(2) as usize;
            let (bytes, start) = (&mut files[file].1, metadata[file]);
            let at = start + random.below((bytes.len() - start) as u64) as usize;
            bytes[at] = match random.below(3) {
                0 => random.next_word() as u8,
                1 => bytes[at] ^ 1 << random.below(8),
                _ => [0, 0xff][random.below(2) as usize],
            };
        }
        opened += u64::from(survive(&Set::new(&files)));
    }
    assert!(opened > times / 10, "{opened} of {times} opened");
}
