//! Images made by libewf's `ewfacquire`, read and compared with what was acquired.
//! Without that tool the tests pass without a word.

mod common;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use common::{Files, Numbers, Set, compare, load, sample, survive};
use fumehood_plugin::Error;

const CHUNK: u64 = 32768;

struct Workshop {
    folder: PathBuf,
}

impl Workshop {
    /// `None` where `ewfacquire` is not installed.
    fn new(name: &str) -> Option<Self> {
        Command::new("ewfacquire").arg("-V").stdout(Stdio::null()).status().ok()?;
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).unwrap();
        Some(Self { folder })
    }

    fn acquire(&self, bytes: &[u8], name: &str, options: &[&str]) -> Files {
        let source = self.folder.join(format!("{name}-source"));
        std::fs::write(&source, bytes).unwrap();
        let output = Command::new("ewfacquire")
            .args(["-u", "-q", "-d", "sha1", "-S", "1MiB", "-t"])
            .arg(self.folder.join(name))
            .args(options)
            .arg(&source)
            .output()
            .unwrap();
        assert!(output.status.success(), "{options:?}: {output:?}");
        let first =
            ["E01", "e01", "s01"].map(|ending| self.folder.join(format!("{name}.{ending}")));
        let first = first.iter().find(|path| path.exists()).unwrap();
        load(first)
    }
}

impl Drop for Workshop {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

#[test]
fn every_variant_reads_back() {
    let Some(workshop) = Workshop::new("matrix") else { return };
    // Not a multiple of the chunk size, so that the last chunk is cut.
    let bytes = sample(3_600_896);
    let formats = [
        "ewf", "smart", "ftk", "encase2", "encase3", "encase4", "encase5", "encase6", "encase7",
        "linen5", "linen6", "linen7", "ewfx",
    ];
    for format in formats {
        for compression in ["none", "empty-block", "fast", "best"] {
            let name = format!("{format}-{compression}");
            let files = workshop.acquire(&bytes, &name, &["-f", format, "-c", compression]);
            assert!(files.len() > 1, "{name} was to be split");
            compare(&files, &bytes, &name);
        }
    }
}

#[test]
fn chunk_sizes_and_cut_ends_read_back() {
    let Some(workshop) = Workshop::new("chunks") else { return };
    for sectors in [16, 64, 256, 1024, 4096] {
        for compression in ["none", "fast"] {
            for length in [512, 32768, 2 << 20, (2 << 20) + 512, (3 << 20) - 512] {
                let bytes = sample(length);
                let name = format!("b{sectors}-{compression}-{length}");
                let options = ["-b", &sectors.to_string(), "-c", compression];
                compare(&workshop.acquire(&bytes, &name, &options), &bytes, &name);
            }
        }
    }
}

#[test]
fn other_sector_sizes_are_told() {
    let Some(workshop) = Workshop::new("sectors") else { return };
    let bytes = sample(2 << 20);
    let options = ["-P", "2048", "-m", "optical", "-c", "fast"];
    let files = workshop.acquire(&bytes, "optical", &options);
    compare(&files, &bytes, "optical");
    let set = Set::new(&files);
    let disk = set.open().unwrap().disks().remove(0);
    assert_eq!((disk.logical_sector, disk.granularity), (2048, 64 * 2048));
    assert!(
        set.open().unwrap().info().details.contains(&("media type".into(), "optical disc".into()))
    );
}

#[test]
fn case_notes_are_shown() {
    let Some(workshop) = Workshop::new("notes") else { return };
    let options =
        ["-C", "case 7", "-E", "piece 3", "-e", "J. Doe", "-D", "a disk", "-N", "found it"];
    let files = workshop.acquire(&sample(65536), "notes", &options);
    let image = Set::new(&files).open().unwrap();
    let info = image.info();
    assert_eq!(info.documents, ["header", "header2.txt", "header.txt"]);
    let notes = String::from_utf8(image.document("header").unwrap()).unwrap();
    for line in [
        "Case number: case 7\n",
        "Evidence number: piece 3\n",
        "Description: a disk\n",
        "Examiner: J. Doe\n",
        "Notes: found it\n",
        "Operating system: Linux\n",
        " UTC\n",
    ] {
        assert!(notes.contains(line), "{line:?} in {notes:?}");
    }
    let raw = String::from_utf8(image.document("header2.txt").unwrap()).unwrap();
    assert!(raw.contains("\nmain\n") && raw.contains("\tpiece 3\t"), "{raw:?}");
    assert!(matches!(image.document("nothing"), Err(Error::Missing(_))));
    assert!(info.details.contains(&("examiner".into(), "J. Doe".into())));
}

#[test]
fn a_flipped_byte_fails_its_chunk_alone() {
    let Some(workshop) = Workshop::new("flips") else { return };
    let bytes = sample(900 * 1024);
    for compression in ["none", "best"] {
        let files = workshop.acquire(&bytes, compression, &["-c", compression]);
        let chunks = bytes.len().div_ceil(CHUNK as usize);
        let set = Set::new(&files);
        let mut disk = set.open().unwrap().disk(0).unwrap();
        for (number, extent) in disk.extents(0, u64::MAX).unwrap().into_iter().enumerate() {
            let fumehood_plugin::Content::Encoded(encoded) = extent.content else { panic!() };
            let mut files = files.clone();
            // Early: in the middle of a deflated run there can be bits without meaning.
            files[0].1[encoded.offset as usize + 5] ^= 0x10;
            let readable = Set::new(&files).readable(CHUNK);
            let expected: Vec<bool> = (0..chunks).map(|other| other != number).collect();
            assert_eq!(readable, expected, "{compression}, chunk {number}");
        }
    }
}

#[test]
fn a_missing_segment_damages_only_what_follows() {
    let Some(workshop) = Workshop::new("missing") else { return };
    let bytes = sample(3 << 20);
    let files = workshop.acquire(&bytes, "set", &["-c", "none"]);
    assert!(files.len() > 3);
    for kept in 1..files.len() {
        let set = Set::new(&files[..kept].to_vec());
        let image = set.open().unwrap();
        let warning = format!("segment set.E{:02} is missing", kept + 1);
        assert_eq!(image.info().warnings, [warning.as_str()]);
        let readable = set.readable(CHUNK);
        let held = readable.iter().filter(|readable| **readable).count();
        assert!(held > 0 && readable[..held].iter().all(|readable| *readable));
        let length = held as u64 * CHUNK;
        let mut disk = image.disk(0).unwrap();
        let found = set.read(&mut *disk, bytes.len() as u64, 0, length).unwrap();
        assert!(found == bytes[..length as usize]);
        let error = set.read(&mut *disk, bytes.len() as u64, length, 512);
        assert_eq!(error, Err(Error::Io(warning)));
        assert_eq!(disk.check(false).unwrap().len(), 2);
    }
}

#[test]
fn foreign_and_swapped_segments_are_refused() {
    let Some(workshop) = Workshop::new("foreign") else { return };
    let bytes = sample(3 << 20);
    let files = workshop.acquire(&bytes, "set", &["-c", "none"]);
    let mut swapped = files.clone();
    swapped[1].1 = files[2].1.clone();
    assert!(matches!(
        Set::new(&swapped).open(),
        Err(Error::Corrupt { source_id: 1, offset: 9, .. })
    ));
    let later = vec![files[1].clone()];
    let Err(Error::Unsupported(what)) = Set::new(&later).open() else { panic!() };
    assert!(what.contains("set.E01"), "{what}");
}

#[test]
fn a_mirror_serves_and_two_bad_tables_do_not() {
    let Some(workshop) = Workshop::new("mirror") else { return };
    let bytes = sample(640 * 1024);
    let files = workshop.acquire(&bytes, "set", &["-c", "fast"]);
    assert_eq!(files.len(), 1);
    let file = &files[0].1;
    let find = |name: &[u8]| file.windows(name.len()).position(|bytes| bytes == name).unwrap();
    let (table, table2) = (find(b"table\0\0"), find(b"table2\0"));
    // Behind the descriptor: 4 bytes of the header, or an entry behind the header.
    for behind in [76, 76 + 24 + 8] {
        let mut files = files.clone();
        files[0].1[table + behind] ^= 1;
        let set = Set::new(&files);
        assert!(set.contents().unwrap().1 == bytes, "at {behind}");
        assert!(!set.open().unwrap().disk(0).unwrap().check(false).unwrap().is_empty());
        files[0].1[table2 + behind] ^= 1;
        let set = Set::new(&files);
        assert!(set.readable(CHUNK).iter().all(|readable| !readable));
        let Err(Error::Io(what)) = set.contents() else { panic!() };
        assert!(what.contains("mirror"), "{what}");
    }
}

#[test]
fn every_truncation_is_survived() {
    let Some(workshop) = Workshop::new("truncations") else { return };
    for (format, compression) in [("encase6", "fast"), ("smart", "none"), ("encase5", "none")] {
        let files =
            workshop.acquire(&sample(400 * 1024), format, &["-f", format, "-c", compression]);
        let length = files[0].1.len();
        let ends = (0..length.min(6000)).chain((6000..length).step_by(199));
        let mut opened = 0;
        for end in ends.chain(length.saturating_sub(2500)..length) {
            let mut cut = files.clone();
            cut[0].1.truncate(end);
            opened += usize::from(survive(&Set::new(&cut)));
        }
        assert!(opened > 100, "{format}: {opened}");
    }
}

#[test]
fn thousands_of_mutations_are_survived() {
    let Some(workshop) = Workshop::new("mutations") else { return };
    let mut numbers = Numbers(88_172_645_463_325_252);
    for (format, compression) in [("encase6", "best"), ("smart", "fast"), ("linen5", "none")] {
        let files =
            workshop.acquire(&sample(300 * 1024), format, &["-f", format, "-c", compression]);
        let structures = structures(&files[0].1);
        let mut opened = 0;
        for _ in 0..2000 {
            let mut mutant = files.clone();
            let bytes = &mut mutant[0].1;
            for _ in 0..=numbers.below(4) {
                let at = structures[numbers.below(structures.len())] + numbers.below(130);
                let at = at.min(bytes.len() - 1);
                bytes[at] = [0, 0xff, 0x7f, 0x80, numbers.below(256) as u8][numbers.below(5)];
            }
            // Half of them with checksums made good, so that more than these is tried.
            if numbers.below(2) == 0 {
                for at in &structures {
                    reseal(bytes, *at);
                }
            }
            opened += usize::from(survive(&Set::new(&mutant)));
        }
        assert!(opened > 100, "{format}: {opened}");
    }
}

/// Where the sections of an intact file start.
fn structures(file: &[u8]) -> Vec<usize> {
    let (mut at, mut all) = (13, Vec::new());
    while at + 76 <= file.len() && all.last() != Some(&at) {
        all.push(at);
        at = u64::from_le_bytes(file[at + 16..at + 24].try_into().unwrap()) as usize;
    }
    all
}

/// Makes the checksums of the section that started at `at` good again: its
/// descriptor's and those of the structures of known length.
fn reseal(file: &mut [u8], at: usize) {
    let name = file[at..at + 16].to_vec();
    let payload = match &name[..5] {
        b"table" => 24,
        b"volum" | b"data\0" => 1052,
        b"hash\0" => 36,
        _ => 0,
    };
    for (start, length) in [(at, 76), (at + 76, payload)] {
        if length > 0 && start + length <= file.len() {
            let seal = adler2::adler32_slice(&file[start..start + length - 4]);
            file[start + length - 4..start + length].copy_from_slice(&seal.to_le_bytes());
        }
    }
}
