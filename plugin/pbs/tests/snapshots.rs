//! Snapshots as servers keep them: built by hand, and one that another implementation
//! made, of Python's own libraries.

mod support;

use fumehood_plugin::memory::check_answer;
use fumehood_plugin::{Codec, Content, Error};
use support::{CHUNK, KEY, Opened, Snapshot, contents, fingerprint, hex, sha256, unhex};

fn refusal(opened: Result<Opened, Error>) -> Error {
    opened.err().expect("it opened")
}

#[test]
fn disks_of_a_snapshot_read_right_wherever_it_is() {
    let (first, second) = (contents("nt00ttnn0", 1536), contents("0000", CHUNK));
    for key in [None, Some(KEY)] {
        for namespaces in [0, 1, 7] {
            let snapshot = Snapshot::new(key, namespaces)
                .disk("drive-scsi0", &first)
                .disk("drive-efidisk0", &second);
            let keys: Vec<&[u8]> = key.iter().map(|key| &key[..]).collect();
            let opened = snapshot.opened(&keys).unwrap();
            let info = opened.image.info();
            assert_eq!(info.warnings, [""; 0]);
            let names: Vec<String> = opened.image.disks().into_iter().map(|it| it.name).collect();
            assert_eq!(names, ["drive-scsi0", "drive-efidisk0"]);
            assert!(opened.read(0).unwrap() == first);
            assert!(opened.read(1).unwrap() == second);
            let (from, length) = (CHUNK - 5, CHUNK + 10);
            let part = opened.range(0, from as u64, length as u64).unwrap();
            assert!(part == first[from..][..length]);
            assert_eq!(opened.image.disk(0).unwrap().check(false).unwrap(), []);
        }
    }
}

#[test]
fn chunks_are_described_as_they_are_stored() {
    let disk = contents("nt0", 1000);
    for key in [None, Some(KEY)] {
        let snapshot = Snapshot::new(key, 0).disk("d", &disk);
        let keys: Vec<&[u8]> = key.iter().map(|key| &key[..]).collect();
        let opened = snapshot.opened(&keys).unwrap();
        let extents = opened.image.disk(0).unwrap().extents(0, u64::MAX).unwrap();
        check_answer(&extents, 0, disk.len() as u64).unwrap();
        let [plain, packed, zero] = extents.as_slice() else { panic!("{extents:?}") };
        for (extent, codec) in [(plain, Codec::Identity), (packed, Codec::Zstd)] {
            let Content::Encoded(encoded) = &extent.content else { panic!("{extent:?}") };
            assert_eq!((encoded.codec, encoded.decoded_length), (codec, CHUNK as u32));
            assert_eq!(encoded.offset, if key.is_some() { 44 } else { 12 });
            assert_eq!(encoded.digest.is_some(), key.is_none());
        }
        assert_eq!((&zero.content, zero.length), (&Content::Zero, 1000));
    }
}

#[test]
fn a_single_index_is_an_image_too() {
    let disk = contents("ntt0n", 512);
    let mut snapshot = Snapshot::new(Some(KEY), 2).disk("drive-scsi0", &disk);
    let name = "drive-scsi0.img.fidx";
    let opened = snapshot.opened_index(name, &[&KEY]).unwrap();
    assert!(opened.read(0).unwrap() == disk);
    assert!(opened.image.info().warnings[0].contains("no manifest"));
    let refused = snapshot.opened_index(name, &[]).unwrap().read(0);
    assert!(matches!(refused, Err(Error::NeedsKey(_))), "{refused:?}");

    let manifest = support::blob(snapshot.manifest().as_bytes(), false, None);
    snapshot.files.insert("index.json.blob".into(), manifest);
    let opened = snapshot.opened_index(name, &[&KEY]).unwrap();
    assert!(opened.read(0).unwrap() == disk);
    assert_eq!(opened.image.info().warnings, [""; 0]);
    let copy = snapshot.files[name].clone();
    let opened = snapshot.opened_as("copy.fidx", copy, &[&KEY], &[]).unwrap();
    assert!(opened.image.info().warnings[0].contains("does not list copy.fidx"));

    snapshot.files.insert("index.json.blob".into(), b"no blob".to_vec());
    let opened = snapshot.opened_index(name, &[&KEY]).unwrap();
    assert!(opened.read(0).unwrap() == disk);
    assert!(opened.image.info().warnings[0].contains("not used"));
}

#[test]
fn what_an_administrator_looks_for_is_shown() {
    let mut snapshot = Snapshot::new(None, 0)
        .disk("drive-scsi0", &contents("n", CHUNK))
        .document("qemu-server.conf", b"memory: 2048\n");
    snapshot.list("root.pxar.didx", 7, &[1; 32], "none");
    snapshot.files.insert("client.log.blob".into(), support::blob(b"a line", false, None));
    let image = snapshot.opened(&[]).unwrap().image;
    let info = image.info();
    assert_eq!(info.documents, ["index.json", "qemu-server.conf", "client.log"]);
    assert_eq!(image.document("qemu-server.conf").unwrap(), b"memory: 2048\n");
    assert_eq!(image.document("client.log").unwrap(), b"a line");
    assert_eq!(image.document("index.json").unwrap(), snapshot.manifest().as_bytes());
    assert!(matches!(image.document("../secret"), Err(Error::Missing(_))));
    let detail = |name: &str| info.details.iter().find(|(n, _)| n == name).unwrap().1.clone();
    assert_eq!(detail("backup time"), "2024-01-02T03:04:05Z");
    assert_eq!(detail("notes"), "two lines");
    assert_eq!(detail("archives of files, not shown"), "root.pxar.didx");
}

#[test]
fn a_wrong_key_is_told_from_damage() {
    let snapshot = Snapshot::new(Some(KEY), 0)
        .disk("drive-scsi0", &contents("nt", CHUNK))
        .document("qemu-server.conf", b"memory: 2048\n");
    let image = snapshot.opened(&[&KEY]).unwrap().image;
    assert_eq!(image.document("qemu-server.conf").unwrap(), b"memory: 2048\n");

    let other = [7; 32];
    match refusal(snapshot.opened(&[&other])) {
        Error::NeedsKey(what) => {
            assert!(what.contains(&fingerprint(&KEY)[..23]), "{what}");
            assert!(what.contains(&fingerprint(&other)[..23]), "{what}");
        }
        error => panic!("{error}"),
    }
    assert!(snapshot.opened(&[&other, &KEY]).is_ok());
    assert!(matches!(refusal(snapshot.opened(&[b"a word"])), Error::NeedsKey(_)));
    // Without a key it can be looked at, and not read.
    let opened = snapshot.opened(&[]).unwrap();
    assert_eq!(opened.image.disks().len(), 1);
    assert!(matches!(opened.read(0), Err(Error::NeedsKey(_))));
    let refused = opened.image.document("qemu-server.conf");
    assert!(matches!(refused, Err(Error::NeedsKey(_))));
}

#[test]
fn a_manifest_that_was_changed_is_refused() {
    let snapshot = Snapshot::new(Some(KEY), 0).disk("drive-scsi0", &contents("nt", CHUNK));
    let open = |text: &str| {
        let main = support::blob(text.as_bytes(), false, None);
        snapshot.opened_as("index.json.blob", main, &[&KEY], &[])
    };
    let text = snapshot.manifest();
    assert!(open(&text).is_ok());
    let error = refusal(open(&text.replace("\"100\"", "\"101\"")));
    assert!(error.to_string().contains("signature"), "{error}");
    // What is not protected may change.
    assert!(open(&text.replace("lines", "words")).is_ok());
    let at = text.find(",\"signature\"").unwrap();
    let unsigned = format!("{}{}", &text[..at], &text[text.find(",\"unprotected\"").unwrap()..]);
    assert!(open(&unsigned).unwrap().image.info().warnings[0].contains("not signed"));
}

/// A datastore, keys of every form and the disk's hash, made with Python's hashlib and
/// its packages zstandard and cryptography.
#[test]
fn a_snapshot_of_another_implementation_reads_right() {
    let made: Vec<(&str, Vec<u8>)> = include_str!("encrypted.txt")
        .lines()
        .map(|line| line.split_once(' ').unwrap())
        .map(|(name, bytes)| (name, unhex(bytes)))
        .collect();
    let file = |name: &str| made.iter().find(|(n, _)| n.ends_with(name)).unwrap().1.clone();
    let mut snapshot = Snapshot::new(None, 0);
    for (name, bytes) in &made {
        let own = name.strip_prefix("vm/100/2024-01-02T03:04:05Z/").map(Into::into);
        let chunk = name.starts_with(".chunks").then(|| format!("../../../{name}"));
        if let Some(name) = own.or(chunk) {
            snapshot.files.insert(name, bytes.clone());
        }
    }
    let open =
        |keys: &[&[u8]]| snapshot.opened_as("index.json.blob", file("index.json.blob"), keys, &[]);
    let phrase: &[u8] = b"a passphrase";
    for keys in [
        &[&file("key-none.json")[..]][..],
        &[&file("key-scrypt.json"), phrase],
        &[phrase, &file("key-pbkdf2.json")],
    ] {
        let opened = open(keys).unwrap();
        assert_eq!(opened.image.info().warnings, [""; 0]);
        let disk = opened.read(0).unwrap();
        assert_eq!(hex(&sha256(&[&disk])), hex(&file("sha256")));
        let text = opened.image.document("qemu-server.conf").unwrap();
        assert_eq!(text, b"memory: 2048\n".repeat(9));
    }
    for (keys, said) in [
        (&[&file("other.json")[..]][..], "fingerprint"),
        (&[&file("key-scrypt.json")], "as a second key"),
        (&[&file("key-pbkdf2.json"), b"another"], "another"),
    ] {
        match refusal(open(keys)) {
            Error::NeedsKey(what) => assert!(what.contains(said), "{what}"),
            error => panic!("{error}"),
        }
    }
}
