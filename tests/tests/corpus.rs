//! Images that others made, as far as a collection of them is at hand: what each
//! holds is known by hash. `FUMEHOOD_CORPUS` names the folder; otherwise it is
//! `shared/corpus` beside the project, if that is there.

use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use fumehood_tests::peer::root;
use fumehood_tests::{Bench, Bounded, bench, fumehood, peer};

/// One line of the collection's `INDEX.tsv`.
struct Entry {
    path: String,
    format: String,
    variant: String,
    size: String,
    contents: String,
    how: String,
}

#[test]
fn images_of_others_hold_what_is_known_of_them() {
    let Some(corpus) = corpus() else {
        println!("skipped: there is no collection of images; name one with FUMEHOOD_CORPUS");
        return;
    };
    let formats = formats();
    let mut checked = 0;
    let mut wrong = Vec::new();
    for entry in entries(&corpus) {
        if let Some(why) = reason_to_skip(&entry, &formats) {
            println!("skipped {}: {} ({why})", entry.format, entry.path);
            continue;
        }
        checked += 1;
        println!("checking {}: {}", entry.format, entry.path);
        wrong.extend(check(&corpus, &entry).map(|what| format!("{}: {what}", entry.path)));
    }
    assert_eq!(wrong, [""; 0]);
    assert!(checked > 0, "no image of {} was checked", corpus.display());
}

fn corpus() -> Option<PathBuf> {
    match env::var_os("FUMEHOOD_CORPUS") {
        Some(folder) => Some(folder.into()),
        None => Some(root().parent()?.join("shared/corpus")).filter(|folder| folder.is_dir()),
    }
}

/// The formats that can be opened.
fn formats() -> BTreeSet<String> {
    let list = bench::parse(&fumehood().args(["plugin", "list", "--json"]).succeed());
    let name = |plugin: &serde_json::Value| plugin["name"].as_str().expect("a name").to_owned();
    list.as_array().expect("a list").iter().map(name).collect()
}

fn entries(corpus: &Path) -> Vec<Entry> {
    let index = corpus.join("INDEX.tsv");
    let text = fs::read_to_string(&index);
    let text = text.unwrap_or_else(|error| panic!("{}: {error}", index.display()));
    let mut lines = text.lines();
    let header: Vec<_> = lines.next().expect("a line of names").split('\t').collect();
    let column = |name: &str| {
        let place = header.iter().position(|column| *column == name);
        place.unwrap_or_else(|| panic!("{} has no column {name}", index.display()))
    };
    let names = [
        "path",
        "format",
        "variant",
        "expected_virtual_size",
        "sha256_of_raw_contents",
        "how_decoded",
    ];
    let [path, format, variant, size, contents, how] = names.map(column);
    lines
        .filter(|line| !line.is_empty())
        .map(|line| {
            let cells: Vec<_> = line.split('\t').collect();
            let cell = |place: usize| cells.get(place).copied().unwrap_or_default().to_owned();
            Entry {
                path: cell(path),
                format: cell(format),
                variant: cell(variant),
                size: cell(size),
                contents: cell(contents),
                how: cell(how),
            }
        })
        .collect()
}

fn reason_to_skip(entry: &Entry, formats: &BTreeSet<String>) -> Option<&'static str> {
    let segment = plain(&entry.path).rsplit_once('.').map(|(_, extension)| extension);
    let later_segment = segment.is_some_and(|extension| {
        extension.len() == 3
            && extension.starts_with(['E', 'S'])
            && extension.ends_with(|digit: char| digit.is_ascii_digit())
            && !extension.ends_with("01")
    });
    if !formats.contains(&entry.format) {
        Some("no plugin for the format")
    } else if later_segment {
        Some("a part of a set, not its first")
    } else if entry.contents == "-" {
        Some("its contents are not known")
    } else if entry.how.contains("not the whole disk")
        || entry.contents != MUST_FAIL && !is_hash(&entry.contents)
    {
        Some("only a part of its contents is known")
    } else {
        None
    }
}

/// Stands for the hash of an image that has to be refused.
const MUST_FAIL: &str = "must fail";

fn is_hash(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// A path without the ending of a compressed file.
fn plain(path: &str) -> &str {
    let endings = [".gz", ".bz2", ".xz"];
    endings.iter().find_map(|ending| path.strip_suffix(ending)).unwrap_or(path)
}

/// Opens an image among copies of its neighbours; says what is wrong, if anything is.
fn check(corpus: &Path, entry: &Entry) -> Option<String> {
    let bench = Bench::new();
    let path = corpus.join(&entry.path);
    unpack(path.parent()?, &bench);
    let name = Path::new(plain(&entry.path)).file_name()?.to_str()?;
    let options = ["--parent-format", &entry.format];
    let mut convert = bench.fumehood(["convert", "-O", "raw"]);
    let outcome = convert.args(options).args([name, "out of corpus.raw"]).finish();
    match outcome.code {
        Some(0) if entry.contents == MUST_FAIL => return Some("it was not refused".into()),
        Some(0) => {}
        Some(1) if entry.contents == MUST_FAIL => return None,
        // Refused as it is, and opened by whoever knows better.
        Some(1) if entry.variant.contains("BAD footer checksum") => {
            convert.args(["--option", "footer_checksum=ignore"]).succeed();
        }
        _ => return Some(outcome.stderr),
    }
    let (size, hash) = bench.fingerprint("out of corpus.raw");
    if size.to_string() != entry.size {
        return Some(format!("it has {size} bytes, not {}", entry.size));
    }
    (hash != entry.contents).then(|| format!("its contents hash to {hash}"))
}

/// Puts the files of a folder, unpacked, into the bench: chains and sets stay whole.
fn unpack(folder: &Path, bench: &Bench) {
    for file in fs::read_dir(folder).expect("a folder of the collection") {
        let path = file.expect("an entry").path();
        let name = path.file_name().expect("a file").to_string_lossy().into_owned();
        let tool = match path.extension().and_then(|extension| extension.to_str()) {
            _ if path.is_dir() => continue,
            Some("gz") => "gzip",
            Some("bz2") => "bzip2",
            Some("xz") => "xz",
            _ => {
                fs::copy(&path, bench.path(&name)).expect("our folder");
                continue;
            }
        };
        let to = fs::File::create(bench.path(plain(&name))).expect("our folder");
        let mut command = peer(tool);
        let status = command.args(["-dc", "--"]).arg(&path).stdout(to).status();
        let status = status.unwrap_or_else(|error| panic!("{tool}: {error}"));
        assert!(status.success(), "{}: {status}", path.display());
    }
}
