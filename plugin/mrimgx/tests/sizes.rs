//! Partitions whose last block is cut, and those that grew or shrank between backups.

mod support;

use support::writer::{Disk, Index, Lock, Writer, expected, name, plain_disk, sample};
use support::{Files, Set};

fn lock() -> Option<Lock> {
    Some(Lock { bits: 256, password: "pass".into(), rounds: 3 })
}

fn full(disk: Disk) -> Set {
    let mut writer = Writer::new(vec![disk], true, None);
    writer.store(0);
    Set::new(&[(name(0, 0), writer.finish(0, 0, Index::Full))])
}

/// The newest file is opened.
fn newest(mut files: Files) -> Set {
    let last = files.len() - 1;
    files.swap(0, last);
    Set::new(&files).with_password("pass")
}

/// Where the partition of a plain disk ends.
const END: u64 = (768 << 10) - 3 * 512;

#[test]
fn a_boot_record_directly_behind_a_partition_is_shown() {
    let mut disk = plain_disk(65536);
    let mut record = vec![0x11; 512];
    record[510..].copy_from_slice(&[0x55, 0xaa]);
    disk.records = vec![(END, record)];
    let state = expected(&disk);
    assert!(full(disk).read(0).unwrap() == state);
}

#[test]
fn a_partition_directly_behind_another_does_not_overlap_it() {
    let mut disk = plain_disk(65536);
    let mut second = disk.partitions[0].clone();
    (second.number, second.start, second.bytes) = (2, END, sample(100 << 10, 3));
    disk.partitions.push(second);
    let state = expected(&disk);
    assert!(full(disk).read(0).unwrap() == state);
}

#[test]
fn a_last_block_that_reaches_past_the_end_is_cut() {
    let mut disk = plain_disk(65536);
    disk.partitions[0].bytes = vec![0x77; 512 << 10];
    let mut state = expected(&disk);
    state[END as usize..].fill(0);
    let mut writer = Writer::new(vec![disk], true, None);
    writer.store(0);
    let shorten = |json: String| json.replace("\"length\":524288", "\"length\":522752");
    let bytes = writer.finish_with(0, 0, Index::Full, &shorten);
    let set = Set::new(&[(name(0, 0), bytes)]);
    assert!(set.read(0).unwrap() == state);
}

/// One partition whose length changes from backup to backup.
fn resized(lengths: &[usize], compressed: bool, lock: Option<Lock>, last: Index) -> (Set, Vec<u8>) {
    let mut disk = plain_disk(65536);
    disk.partitions[0].bytes.clear();
    let mut writer = Writer::new(vec![disk], compressed, lock);
    let mut files = Files::new();
    for (number, length) in (0u16..).zip(lengths) {
        let bytes = &mut writer.disks[0].partitions[0].bytes;
        let before = bytes.len();
        if before < *length {
            // What is behind the last block's end stays zero, so that nothing stores it.
            bytes.resize(before.next_multiple_of(65536).min(*length), 0);
            let seed = u64::from(number) + 1;
            bytes
                .extend(sample(3 * (length - bytes.len()), seed).iter().take(length - bytes.len()));
        } else {
            bytes.truncate(*length);
            let start = length - 100;
            bytes[start..].fill(0x99);
        }
        let kept = writer.state[0][0].get(before / 65536).cloned();
        writer.store(number);
        if let Some(kept) = kept.filter(|_| before < *length) {
            let block = before / 65536;
            writer.state[0][0][block] = kept;
            writer.changed[0][0].retain(|changed| *changed as usize != block);
        }
        let index = match number {
            0 => Index::Full,
            _ if usize::from(number) + 1 == lengths.len() => last,
            _ => Index::Delta,
        };
        files.push((name(number, number), writer.finish(number, number, index)));
    }
    let state = expected(&writer.disks[0]);
    (newest(files), state)
}

/// All ways to store it.
fn reads_back(lengths: &[usize]) {
    for last in [Index::Delta, Index::Full] {
        for (compressed, lock) in [(true, None), (true, lock()), (false, None)] {
            let (set, state) = resized(lengths, compressed, lock, last);
            assert!(set.read(0).unwrap() == state, "{lengths:?} {compressed}");
            assert_eq!(set.open().unwrap().disk(0).unwrap().check(false), Ok(vec![]));
        }
    }
}

#[test]
fn a_partition_that_grew_keeps_its_short_block() {
    reads_back(&[200_192, 400_384]);
    // The first increment's short block as well.
    reads_back(&[100_352, 200_192, 400_384]);
}

#[test]
fn a_partition_that_shrank_ends_in_a_short_block() {
    reads_back(&[400_384, 200_192]);
    reads_back(&[400_384, 300_544, 200_192]);
}

#[test]
fn blocks_far_behind_the_full_index_are_of_deltas_alone() {
    let mut disk = plain_disk(512);
    disk.size = 4 << 20;
    disk.partitions[0].bytes = vec![1; 4096];
    let mut writer = Writer::new(vec![disk], true, None);
    writer.store(0);
    let base = writer.finish(0, 0, Index::Full);
    // So far that the base's elements for them would lie behind the end of its file.
    let (start, length) = (256 << 10, 3 << 20);
    assert!(length / 512 * 30 > base.len());
    let bytes = &mut writer.disks[0].partitions[0].bytes;
    bytes.resize(length - 512, 0);
    bytes.extend([7; 512]);
    writer.store(1);
    let state = expected(&writer.disks[0]);
    let delta = writer.finish(1, 1, Index::Delta);
    let set = newest(vec![(name(0, 0), base), (name(1, 1), delta)]);
    let mut map = set.open().unwrap().disk(0).unwrap();
    let from = start + length as u64 - 4096;
    let found = set.read_range(&mut *map, 4 << 20, from, 8192).unwrap();
    assert!(found == state[from as usize..][..8192]);
    assert!(set.read(0).unwrap() == state);
}
