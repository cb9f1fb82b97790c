//! Version 2 against libewf: files that it wrote, kept beside this; and, where its newer
//! tools are at hand, files made and read by them. No distribution packages tools that
//! write version 2, so these tests are run by hand:
//!
//! ```text
//! EWFTOOLS=/folder/of/ewftools cargo test -p fumehood-ewf -- --ignored
//! ```
//!
//! after `./configure && make` of libewf 20240506 or newer.

mod common;

use std::path::{Path, PathBuf};
use std::process::Command;

use common::second::{Builder, Chunk, DONE, ERRORS, MD5, SHA1, errors, seal, single, split};
use common::{Files, Numbers, Set, compare, load, md5, sample};
use fumehood_plugin::DigestKind;

/// Made by ewfacquire 20260924 out of [`kept_contents`]: `-f encase7-v2 -c best -b 16
/// -d sha1 -C 'case 7' -E 'piece 3' -e 'J. Doe' -D 'a disk' -N 'found it'`.
const KEPT: &[u8] = include_bytes!("fixtures/libewf.Ex01");

/// Made by libewf 20260924 out of the same, through its interface for programs, with
/// bzip2 as the method of compression and two errors of acquisition. Its own tools write
/// no such files, and fail to read them.
const KEPT_BZIP2: &[u8] = include_bytes!("fixtures/libewf-bzip2.Ex01");

/// Zeroes, a pattern, text, and a last chunk that is cut and cannot be compressed.
fn kept_contents() -> Vec<u8> {
    let mut bytes = vec![0; 8 * 8192];
    bytes.extend([1, 2, 3, 4, 5, 6, 7, 8].repeat(4 * 1024));
    let text = (0..).flat_map(|number| format!("line {number}\n").into_bytes());
    bytes.extend(text.take(2 * 8192));
    let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15);
    bytes.extend((0..5 * 512).map(|_| numbers.below(256) as u8));
    bytes
}

#[test]
fn what_libewf_wrote_reads_back() {
    let files = vec![("libewf.Ex01".to_string(), KEPT.to_vec())];
    compare(&files, &kept_contents(), "kept");
    let image = Set::new(&files).open().unwrap();
    let kinds: Vec<_> = image.disks()[0].digests.iter().map(|digest| digest.kind).collect();
    assert_eq!(kinds, [DigestKind::Md5, DigestKind::Sha1]);
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
}

#[test]
fn what_libewf_wrote_with_bzip2_reads_back() {
    let set = single(KEPT_BZIP2.to_vec());
    let (info, found) = set.contents().unwrap();
    assert!(found == kept_contents());
    assert_eq!(info.digests[0].value, md5(&found));
    assert_eq!(set.open().unwrap().info().warnings, [""; 0]);
    let findings = set.open().unwrap().disk(0).unwrap().check(false).unwrap();
    let offsets: Vec<u64> = findings.iter().map(|finding| finding.offset).collect();
    assert_eq!(offsets, [3 * 512, 60 * 512]);
}

struct Workshop {
    tools: PathBuf,
    folder: PathBuf,
}

impl Workshop {
    fn new(name: &str) -> Self {
        let tools = std::env::var("EWFTOOLS").expect("EWFTOOLS names a folder; see above").into();
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).unwrap();
        Self { tools, folder }
    }

    /// What a tool says, which must succeed.
    fn run(&self, tool: &str, arguments: &[&str]) -> String {
        let mut command = Command::new(self.tools.join(tool));
        let output = command.args(arguments).current_dir(&self.folder).output().unwrap();
        assert!(output.status.success(), "{tool} {arguments:?}: {output:?}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// What ewfexport reads of these files.
    fn export(&self, files: &Files) -> Vec<u8> {
        for (name, bytes) in files {
            std::fs::write(self.folder.join(name), bytes).unwrap();
        }
        let first = files[0].0.as_str();
        self.run("ewfexport", &["-u", "-q", "-f", "raw", "-t", "export", first]);
        let found = std::fs::read(self.folder.join("export.raw")).unwrap();
        std::fs::remove_file(self.folder.join("export.raw")).unwrap();
        found
    }
}

impl Drop for Workshop {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

#[test]
#[ignore = "needs tools that no distribution packages"]
fn every_option_of_libewf_reads_back() {
    let workshop = Workshop::new("second-options");
    // Whole sectors of either size, and no whole chunks.
    let mut bytes = sample(3_602_432);
    bytes[1 << 20..(1 << 20) + 100_000].fill(0x5a);
    std::fs::write(workshop.folder.join("source"), &bytes).unwrap();
    for compression in ["none", "empty-block", "fast", "best"] {
        for (sectors, sector) in
            [("16", "512"), ("64", "512"), ("256", "512"), ("4096", "512"), ("64", "2048")]
        {
            let name = format!("{compression}-{sectors}-{sector}");
            let options = ["-u", "-q", "-d", "sha1", "-S", "1MiB", "-f", "encase7-v2"];
            let more = ["-c", compression, "-b", sectors, "-P", sector, "-t", &name, "source"];
            workshop.run("ewfacquire", &[&options[..], &more].concat());
            let files = load(&workshop.folder.join(format!("{name}.Ex01")));
            compare(&files, &bytes, &name);
        }
    }
}

#[test]
#[ignore = "needs tools that no distribution packages"]
fn libewf_reads_what_is_written_by_the_description() {
    let workshop = Workshop::new("second-judge");
    let bytes = sample(40 * 32768 + 5 * 512);
    let mut patterned = bytes.clone();
    patterned[32768 * 3..32768 * 5].copy_from_slice(&b"patterns".repeat(8192));
    for (name, bytes, per_segment) in
        [("one", &bytes, 1000), ("two", &bytes, 30), ("many", &patterned, 7)]
    {
        let files = split(bytes, 32768, per_segment, &format!("{name}.Ex"));
        assert!(workshop.export(&files) == **bytes, "{name}");
        compare(&files, bytes, name);
    }
    let part = sample(64 * 512);
    let file = Builder::new(1, 9)
        .media(1, 64)
        .chunks(0, &[Chunk::Packed(part.clone())])
        .section(ERRORS, &errors(&[(3, 4), (60, 1)]))
        .section(MD5, &seal(md5(&part)))
        .section(SHA1, &seal(vec![5; 20]))
        .end(DONE);
    let files = vec![("errors.Ex01".to_string(), file)];
    assert!(workshop.export(&files) == part);
    let said = workshop.run("ewfinfo", &["errors.Ex01"]);
    for line in ["total number: 2", "sector(s): 3 - 6", "fixed disk", "0505050505"] {
        assert!(said.contains(line), "{line:?} in {said}");
    }
}
