//! Images and sets written by the tests' own writer: what no sample shows.

mod support;

use fumehood_plugin::{Content, Error};
use support::writer::{Disk, Index, Lock, Partition, Writer, expected, name, plain_disk, sample};
use support::{Files, Set};

fn lock(bits: usize) -> Option<Lock> {
    Some(Lock { bits, password: "pass wörd".into(), rounds: 7 })
}

fn full(disk: Disk, compressed: bool, lock: Option<Lock>) -> Files {
    let mut writer = Writer::new(vec![disk], compressed, lock);
    writer.store(0);
    vec![(name(0, 0), writer.finish(0, 0, Index::Full))]
}

fn open(files: &[(String, Vec<u8>)]) -> Set {
    Set::new(files).with_password("pass wörd")
}

#[test]
fn images_read_back_plain_compressed_and_encrypted() {
    for block in [4096, 65536] {
        for compressed in [false, true] {
            for lock in [None, lock(128), lock(256)] {
                let disk = plain_disk(block);
                let set = open(&full(disk.clone(), compressed, lock.clone()));
                let image = set.open().unwrap();
                assert_eq!(image.info().warnings, [""; 0]);
                assert!(set.read(0).unwrap() == expected(&disk), "{block} {compressed}");
                let mut map = image.disk(0).unwrap();
                assert_eq!(map.check(false), Ok(vec![]));
                assert_eq!(set.sources.host.secrets().len() / 2, usize::from(lock.is_some()));
                // Zeroes were not stored.
                let last = map.extents((256 << 10) + (512 << 10) - 65536, 1).unwrap();
                assert_eq!(last[0].content, Content::Zero);
            }
        }
    }
}

#[test]
fn a_stored_last_block_may_be_short() {
    for compressed in [false, true] {
        for lock in [None, lock(256)] {
            let mut disk = plain_disk(65536);
            disk.partitions[0].bytes.fill(0x77);
            let set = open(&full(disk.clone(), compressed, lock));
            assert!(set.read(0).unwrap() == expected(&disk), "{compressed}");
        }
    }
}

fn fat_disk(reserved: usize) -> Disk {
    let mut disk = plain_disk(4096);
    disk.size = (2 << 20) + reserved as u64;
    disk.partitions[0].bytes = sample(reserved + (512 << 10), 8);
    disk.partitions[0].reserved = reserved;
    // A second one, for its number stands in the vectors.
    let mut second = disk.partitions[0].clone();
    (second.number, second.start) = (0x1_0003, (1 << 20) + reserved as u64);
    second.bytes = sample(256 << 10, 9);
    second.reserved = 0;
    disk.partitions.push(second);
    disk
}

#[test]
fn sectors_before_the_first_cluster_are_stored_apart() {
    // One block, two of which the last is cut, and two whole ones.
    for (reserved, compressed, lock) in [
        (32 * 512, false, None),
        (32 * 512, true, None),
        (32 * 512, true, lock(256)),
        ((5 << 20) + 512, true, lock(128)),
        ((5 << 20) + 512, false, None),
        (8 << 20, true, None),
    ] {
        let disk = fat_disk(reserved);
        let set = open(&full(disk.clone(), compressed, lock));
        assert!(set.read(0).unwrap() == expected(&disk), "{reserved} {compressed}");
        assert_eq!(set.open().unwrap().disk(0).unwrap().check(false), Ok(vec![]));
    }
}

#[test]
fn several_disks_and_logical_drives_are_shown() {
    let mut second = plain_disk(8192);
    second.number = 70_000;
    let mut sector = vec![0x11; 512];
    sector[510..].copy_from_slice(&[0x55, 0xaa]);
    second.records = vec![(800 << 10, sector.clone()), (804 << 10, sector)];
    for record_size in [522, 528] {
        second.record_size = record_size;
        let disks = vec![plain_disk(4096), second.clone()];
        let mut writer = Writer::new(disks.clone(), true, lock(128));
        writer.store(0);
        let set = open(&[(name(0, 0), writer.finish(0, 0, Index::Full))]);
        let names: Vec<_> = set.open().unwrap().disks().into_iter().map(|it| it.name).collect();
        assert_eq!(names, ["disk 2", "disk 70000"]);
        for (number, disk) in (0..).zip(&disks) {
            assert!(set.read(number).unwrap() == expected(disk), "{record_size}");
        }
    }
}

/// A chain: full, two increments as deltas, each over what changed before.
fn chain(compressed: bool, lock: Option<Lock>) -> (Files, Vec<Vec<u8>>) {
    let mut writer = Writer::new(vec![fat_disk(40_960)], compressed, lock);
    let mut files = Vec::new();
    let mut states = Vec::new();
    for number in 0..4u16 {
        let bytes = &mut writer.disks[0].partitions[0].bytes;
        for block in [0, 3, 17 + 2 * usize::from(number), 100] {
            let at = 40_960 + block * 4096 + 100;
            bytes[at..at + 5000].fill(number as u8);
        }
        if number == 2 {
            // What was there is zero now, which is not stored; and the boot sector changed.
            bytes[40_960 + 4096..40_960 + 5 * 4096].fill(0);
            bytes[0..512].fill(9);
        }
        writer.store(number);
        let index = if number == 0 { Index::Full } else { Index::Delta };
        files.push((name(number, number), writer.finish(number, number, index)));
        states.push(expected(&writer.disks[0]));
    }
    (files, states)
}

/// The files with that one first, which is the one to be opened.
fn first(files: &Files, number: usize) -> Files {
    let mut files = files.clone();
    files.swap(0, number);
    files
}

#[test]
fn each_state_of_a_chain_of_deltas_reads_back() {
    for (compressed, lock) in [(true, None), (false, None), (true, lock(256))] {
        let (files, states) = chain(compressed, lock);
        for (number, state) in states.iter().enumerate() {
            let set = open(&first(&files, number));
            let image = set.open().unwrap();
            assert_eq!(image.info().warnings, [""; 0]);
            assert!(set.read(0).unwrap() == *state, "{number} {compressed}");
            assert_eq!(image.disk(0).unwrap().check(false), Ok(vec![]));
        }
    }
}

#[test]
fn a_missing_file_of_a_chain_is_named() {
    let (files, _) = chain(true, None);
    for missing in 0..3 {
        let mut files = first(&files, 3);
        files.retain(|(file, _)| *file != name(missing, missing));
        let Err(Error::Missing(what)) = open(&files).open() else { panic!("{missing}") };
        assert!(what.contains(&format!("file number {missing} ")), "{what}");
    }
}

#[test]
fn a_missing_file_of_a_full_index_costs_its_blocks() {
    let mut writer = Writer::new(vec![plain_disk(4096)], true, None);
    writer.store(0);
    let base = writer.finish(0, 0, Index::Full);
    writer.disks[0].partitions[0].bytes[..9000].fill(1);
    writer.store(1);
    let differential = (name(1, 1), writer.finish(1, 1, Index::Full));
    let state = expected(&writer.disks[0]);
    let set = open(&[differential.clone(), (name(0, 0), base)]);
    assert!(set.read(0).unwrap() == state);
    let set = open(&[differential]);
    let image = set.open().unwrap();
    assert_eq!(image.info().warnings, ["file number 0 of the set is missing"]);
    let mut disk = image.disk(0).unwrap();
    let (size, start) = (1 << 20, 256 << 10);
    let found = set.read_range(&mut *disk, size, start, 8192).unwrap();
    assert!(found == state[start as usize..][..8192]);
    let Err(Error::Io(what)) = set.read_range(&mut *disk, size, start, 80_000) else { panic!() };
    assert!(what.contains("file number 0 of the set is missing"), "{what}");
    assert!(!disk.check(false).unwrap().is_empty());
}

#[test]
fn a_split_backup_is_opened_by_any_of_its_files() {
    for lock in [None, lock(256)] {
        let mut writer = Writer::new(vec![plain_disk(4096)], true, lock);
        let mut files = Vec::new();
        for part in 0..3u16 {
            let bytes = &mut writer.disks[0].partitions[0].bytes;
            bytes[usize::from(part) * 70_000..][..60_000].fill(part as u8 + 1);
            writer.store(part);
            let index = if part == 2 { Index::Full } else { Index::Split };
            files.push((name(0, part), writer.finish(part, 0, index)));
        }
        let state = expected(&writer.disks[0]);
        for number in 0..3 {
            let set = open(&first(&files, number));
            assert!(set.read(0).unwrap() == state, "{number}");
        }
        // An increment over it, in two files as well.
        let bytes = &mut writer.disks[0].partitions[0].bytes;
        bytes[300_000..400_000].fill(7);
        writer.store(3);
        files.push((name(1, 3), writer.finish(3, 1, Index::Split)));
        writer.disks[0].partitions[0].bytes[100..200].fill(8);
        writer.store(4);
        files.push((name(1, 4), writer.finish(4, 1, Index::Delta)));
        let newer = expected(&writer.disks[0]);
        for (number, state) in [&state, &state, &state, &newer, &newer].into_iter().enumerate() {
            let set = open(&first(&files, number));
            assert!(set.read(0).unwrap() == *state, "{number}");
        }
        files.remove(2);
        let what = open(&files[..2]).refusal();
        assert!(what.contains("file number 2 ") && what.contains("split"), "{what}");
    }
}

#[test]
fn a_file_answers_for_those_that_were_merged_into_it() {
    // Increments 1 and 2 become one file, which keeps the number 2.
    let mut writer = Writer::new(vec![plain_disk(4096)], true, None);
    writer.store(0);
    let mut files = vec![(name(0, 0), writer.finish(0, 0, Index::Full))];
    writer.disks[0].partitions[0].bytes[..5000].fill(1);
    // Its elements name file 1, which is gone.
    writer.store(1);
    writer.disks[0].partitions[0].bytes[50_000..60_000].fill(2);
    writer.store(2);
    let merge = |json: String| {
        json.replace("\"increment_number\"", "\"merged_files\":[1,-5,70000],\"increment_number\"")
    };
    files.push((name(2, 2), writer.finish_with(2, 2, Index::Delta, &merge)));
    writer.disks[0].partitions[0].bytes[90_000..91_000].fill(3);
    writer.store(3);
    files.push((name(3, 3), writer.finish(3, 3, Index::Delta)));
    let set = open(&first(&files, 2));
    assert_eq!(set.open().unwrap().info().warnings, [""; 0]);
    assert!(set.read(0).unwrap() == expected(&writer.disks[0]));
}

#[test]
fn files_under_other_names_are_found_by_those_that_the_image_tells() {
    let (files, states) = chain(true, None);
    // The history says "0123456789ABCDEF-00-NN.mrimg".
    let rename = |number: usize, name: &str| (name.to_string(), files[number].1.clone());
    let set = open(&[
        rename(2, "my backup.mrimgx"),
        rename(0, "0123456789ABCDEF-00-00.mrimgx"),
        rename(1, "0123456789ABCDEF-00-01.mrimgx"),
    ]);
    assert!(set.read(0).unwrap() == states[2]);
}

#[test]
fn another_set_and_a_damaged_file_are_no_members() {
    let (files, states) = chain(true, None);
    let mut foreign = Writer::new(vec![plain_disk(4096)], true, None);
    foreign.store(3);
    let other = |json: String| json.replace("0123456789ABCDEF\"", "FFFFFFFFFFFFFFFF\"");
    let foreign = foreign.finish_with(1, 1, Index::Delta, &other);
    let mut set = first(&files, 2);
    set[1].1 = foreign;
    let what = open(&set).refusal();
    assert!(what.contains("file number 1 "), "{what}");
    // A file beside it that is none of these is passed over, with a warning.
    let mut set = first(&files, 2);
    set.push((name(0, 1), b"no image".to_vec()));
    let opened = open(&set);
    assert_eq!(opened.open().unwrap().info().warnings.len(), 1);
    assert!(opened.read(0).unwrap() == states[2]);
}

#[test]
fn the_password_is_asked_for_and_proved() {
    let files = full(plain_disk(4096), true, lock(256));
    assert!(matches!(Set::new(&files).open(), Err(Error::NeedsKey(_))));
    let wrong = Set::new(&files).with_password("word");
    assert!(matches!(wrong.open(), Err(Error::NeedsKey(what)) if what.contains("wrong")));
    assert!(wrong.sources.host.secrets().is_empty());
}

/// A GPT disk of 8 MiB with two partitions, one of them backed up; and its backup table.
fn gpt_disk() -> (Disk, Vec<u8>) {
    let crc = |bytes: &[u8]| {
        !bytes.iter().fold(!0u32, |sum, byte| {
            (0..8).fold(sum ^ u32::from(*byte), |sum, _| {
                (sum >> 1) ^ (0xedb8_8320 & (sum & 1).wrapping_neg())
            })
        })
    };
    let (sectors, size) = (16384u64, 8 << 20);
    let mut entries = vec![0; 128 * 128];
    for (number, first) in [2048u64, 8192].into_iter().enumerate() {
        let entry = &mut entries[number * 128..][..128];
        entry[..32].fill(number as u8 + 1);
        entry[32..40].copy_from_slice(&first.to_le_bytes());
        entry[40..48].copy_from_slice(&(first + 4095).to_le_bytes());
    }
    let header = |own: u64, other: u64, table: u64| {
        let mut header = vec![0; 512];
        header[..8].copy_from_slice(b"EFI PART");
        header[8..16].copy_from_slice(&[0, 0, 1, 0, 92, 0, 0, 0]);
        for (at, word) in [(24, own), (32, other), (40, 34), (48, sectors - 34), (72, table)] {
            header[at..at + 8].copy_from_slice(&word.to_le_bytes());
        }
        header[56..72].fill(0xd1);
        header[80..88].copy_from_slice(&[128, 0, 0, 0, 128, 0, 0, 0]);
        header[88..92].copy_from_slice(&crc(&entries).to_le_bytes());
        let sum = crc(&header[..92]);
        header[16..20].copy_from_slice(&sum.to_le_bytes());
        header
    };
    let mut track0 = vec![0; 512];
    track0.extend(header(1, sectors - 1, 2));
    track0.extend(&entries);
    track0.resize(63 * 512, 0);
    let backup = [entries.clone(), header(sectors - 1, 1, sectors - 33)].concat();
    let part = Partition {
        number: 1,
        start: 1 << 20,
        bytes: sample(2 << 20, 4),
        block: 65536,
        reserved: 0,
        boot: 0,
    };
    let (records, record_size) = (vec![], 522);
    let disk = Disk {
        number: 0,
        size,
        format: "gpt",
        track0,
        records,
        record_size,
        partitions: vec![part],
    };
    (disk, backup)
}

#[test]
fn the_partition_table_at_the_end_is_made_from_the_first() {
    let (disk, backup) = gpt_disk();
    let set = open(&full(disk.clone(), true, None));
    let warnings = set.open().unwrap().info().warnings;
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].contains("the partition at 4194304 was not backed up"));
    let mut state = expected(&disk);
    let start = state.len() - backup.len();
    state[start..].copy_from_slice(&backup);
    assert!(set.read(0).unwrap() == state);
}

#[test]
fn a_broken_partition_table_is_not_copied() {
    let (disk, _) = gpt_disk();
    // Signature, header, size of entries, their place, an entry, and the other's place.
    for at in [512, 512 + 57, 512 + 84, 512 + 72, 1024 + 5, 512 + 32] {
        let mut disk = disk.clone();
        disk.track0[at] ^= 0x80;
        let set = open(&full(disk.clone(), true, None));
        let warnings = set.open().unwrap().info().warnings;
        assert!(warnings[0].contains("at the disk's end is not stored"), "{warnings:?}");
        assert!(set.read(0).unwrap() == expected(&disk));
    }
}

#[test]
fn what_an_administrator_wants_to_see_is_shown() {
    let image = open(&full(plain_disk(4096), true, lock(128))).open().unwrap();
    let info = image.info();
    let has = |name: &str, value: &str| info.details.contains(&(name.into(), value.into()));
    assert!(has("set", "0123456789ABCDEF") && has("backup", "full") && has("computer", "HOST"));
    assert!(has("comment", "a comment") && has("program", "Reflect 10.0.8069"));
    assert!(has("compression", "zstd, medium") && has("encryption", "aes-128"));
    assert!(has("created", "2024-07-10 10:42:16 UTC"));
    let disk = image.disks().remove(0);
    let partition = ("partition 1".into(), "NTFS Data, 522752 bytes at 262144".into());
    assert!(disk.details.contains(&partition), "{:?}", disk.details);
}
