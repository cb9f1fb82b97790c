//! Datastores that lost something, and files that no honest client writes.

mod support;

use std::rc::Rc;

use fumehood_pbs::Pbs;
use fumehood_plugin::memory::{MemoryHost, MemorySource, check_answer};
use fumehood_plugin::simulate::Random;
use fumehood_plugin::{Confidence, Content, Error, Format, Glimpse, OpenOptions, Result, Source};
use support::{CHUNK, KEY, Opened, Snapshot, blob, contents, index};

const SCSI: &str = "drive-scsi0.img.fidx";

fn refusal(opened: Result<Opened>) -> Error {
    opened.err().expect("it opened")
}

/// Which chunks of the first disk can be read.
fn readable(opened: &Opened) -> Vec<bool> {
    let size = opened.image.disks()[0].size;
    let chunk =
        |at: usize| opened.range(0, at as u64, (CHUNK as u64).min(size - at as u64)).is_ok();
    (0..size as usize).step_by(CHUNK).map(chunk).collect()
}

/// The text of the damage at the beginning of the first disk.
fn damage(opened: &Opened) -> String {
    let extents = opened.image.disk(0).unwrap().extents(0, 1).unwrap();
    match &extents[0].content {
        Content::Damaged(what) => what.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_chunk_that_is_missing_or_wrong_costs_its_own_range() {
    for key in [None, Some(KEY)] {
        let disk = contents("nntn", CHUNK);
        let whole = Snapshot::new(key, 1).disk("drive-scsi0", &disk);
        let keys: Vec<&[u8]> = key.iter().map(|key| &key[..]).collect();
        let name = whole.chunk_name(&disk[..CHUNK]);
        let other = whole.files[&whole.chunk_name(&disk[CHUNK..2 * CHUNK])].clone();
        let stored = &whole.files[&name];
        let short = stored[..stored.len() - 1].to_vec();
        let mut changed = stored.clone();
        *changed.last_mut().unwrap() ^= 1;
        let mut odd = stored.clone();
        odd[0] ^= 1;
        let protected = blob(&disk[..CHUNK], false, if key.is_some() { None } else { Some(&KEY) });
        let mut cases = vec![
            (None, "is missing"),
            (Some(vec![]), "header of a blob"),
            (Some(stored[..20.min(stored.len())].to_vec()), "chunk"),
            (Some(short), "found 4095"),
            (Some([&stored[..], b"x"].concat()), "found 4097"),
            (Some(odd), "expected a blob"),
            (Some(protected), "the manifest says"),
            (Some(changed), ""),
        ];
        if key.is_none() {
            // The tag of an encrypted chunk does not say which chunk it is.
            cases.push((Some(other), ""));
        }
        for (bytes, said) in cases {
            let mut snapshot = whole.clone();
            match bytes {
                Some(bytes) => snapshot.files.insert(name.clone(), bytes),
                None => snapshot.files.remove(&name),
            };
            let opened = snapshot.opened(&keys).unwrap();
            assert_eq!(readable(&opened), [false, true, true, true], "{said}");
            if !said.is_empty() {
                let text = damage(&opened);
                let chunk = name.rsplit('/').next().unwrap();
                assert!(text.contains(said) && text.contains(chunk), "{said}: {text}");
            }
        }
        let mut marked = whole.clone();
        let bytes = marked.files.remove(&name).unwrap();
        marked.files.insert(format!("{name}.0.bad"), bytes);
        assert!(damage(&marked.opened(&keys).unwrap()).contains("corrupt by its server"));
    }
}

#[test]
fn a_datastore_that_was_not_granted_is_said_to_be() {
    let mut snapshot = Snapshot::new(None, 0).disk("drive-scsi0", &contents("nt", CHUNK));
    snapshot.files.retain(|name, _| !name.contains(".chunks"));
    let opened = snapshot.opened(&[]).unwrap();
    assert!(opened.image.info().warnings[0].contains("--allow DATASTORE"));
    assert!(damage(&opened).contains("--allow DATASTORE"));
    // Zeroes need no chunk.
    let mut snapshot = Snapshot::new(None, 0).disk("drive-scsi0", &contents("00", 100));
    snapshot.files.retain(|name, _| !name.contains(".chunks"));
    let opened = snapshot.opened(&[]).unwrap();
    assert!(opened.read(0).unwrap().iter().all(|byte| *byte == 0));
}

#[test]
fn an_index_that_contradicts_itself_is_refused() {
    let digests = [5; 64];
    let good = index(CHUNK as u64 + 5, CHUNK as u64, &digests);
    let snapshot = Snapshot::new(None, 0);
    let open = |bytes: &[u8], settings: &[(&str, &str)]| {
        snapshot.opened_as("d.img.fidx", bytes.to_vec(), &[], settings)
    };
    assert!(open(&good, &[]).unwrap().image.disk(0).is_ok());
    for (at, value, expected) in [
        (64, 0u64, 64),
        (64, u64::MAX, 64),
        (64, i64::MAX as u64, 4096),
        (64, 3 * CHUNK as u64, 4096),
        (64, 1, 4096),
        (72, 0, 72),
        (72, 3, 72),
        (72, 4097, 72),
        (72, 256, 72),
        (72, u64::MAX, 72),
    ] {
        let mut bytes = good.clone();
        bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
        match refusal(open(&bytes, &[])) {
            Error::Corrupt { offset, .. } => assert_eq!(offset, expected, "{at} {value}"),
            error => panic!("{at} {value}: {error}"),
        }
    }
    for length in [8, 79, 80, 4096, good.len() - 1] {
        assert!(matches!(refusal(open(&good[..length], &[])), Error::Corrupt { .. }), "{length}");
    }
    let mut large = good.clone();
    large[72..80].copy_from_slice(&(1u64 << 27).to_le_bytes());
    assert!(matches!(refusal(open(&large, &[])), Error::Unsupported(_)));
    assert_eq!(refusal(open(b"", &[])), Error::Unrecognised);

    let mut changed = good;
    *changed.last_mut().unwrap() ^= 1;
    let opened = open(&changed, &[]).unwrap();
    assert!(opened.image.info().warnings.iter().any(|it| it.contains("checksum")));
    assert!(matches!(opened.image.disk(0).err(), Some(Error::Corrupt { .. })));
    let opened = open(&changed, &[("index_checksum", "ignore")]).unwrap();
    assert_eq!(opened.image.disk(0).unwrap().check(false).unwrap().len(), 1);
    assert!(matches!(refusal(open(&changed, &[("index_checksum", "no")])), Error::Unsupported(_)));
}

#[test]
fn a_dynamic_index_is_refused_by_name() {
    let mut bytes = vec![0x1c, 0x91, 0x4e, 0xa5, 0x19, 0xba, 0xb3, 0xcd];
    bytes.resize(5000, 0);
    let glimpse = Glimpse { head: bytes.clone(), ..Glimpse::default() };
    assert_eq!(Pbs::probe(&glimpse), Confidence::Certain);
    match refusal(Snapshot::new(None, 0).opened_as("root.pxar.didx", bytes, &[], &[])) {
        Error::Unsupported(what) => assert!(what.contains(".didx"), "{what}"),
        error => panic!("{error}"),
    }
}

#[test]
fn blobs_are_recognised_by_their_name_alone() {
    let head = blob(b"{}", false, None);
    let probe = |name: &str, head: &[u8]| {
        Pbs::probe(&Glimpse { name: name.into(), head: head.to_vec(), ..Glimpse::default() })
    };
    assert_eq!(probe("index.json.blob", &head), Confidence::Certain);
    assert_eq!(probe("client.log.blob", &head), Confidence::Maybe);
    assert_eq!(probe("index.json.blob", b"{}"), Confidence::No);
    assert_eq!(probe("d.fidx", &index(1, 512, &[0; 32])), Confidence::Certain);
    let snapshot = Snapshot::new(None, 0);
    let open = |name: &str| snapshot.opened_as(name, head.clone(), &[], &[]);
    assert_eq!(refusal(open("client.log.blob")), Error::Unrecognised);
    assert!(matches!(refusal(open("index.json.blob")), Error::Corrupt { .. }));
}

#[test]
fn manifests_that_lead_elsewhere_are_refused() {
    let open = |text: &str| {
        let main = blob(text.as_bytes(), false, None);
        let snapshot = Snapshot::new(None, 0);
        snapshot.opened_as("index.json.blob", main, &[], &[])
    };
    let file = |name: &str, rest: &str| {
        let file = format!(r#"{{"filename":"{name}","csum":"{}",{rest}}}"#, "0".repeat(64));
        format!(r#"{{"backup-type":"vm","files":[{file}]}}"#)
    };
    for name in ["/etc/passwd", "../secret.fidx", "a/b.fidx", "..", ".hidden", "", "json:{}", "a b"]
    {
        let error = refusal(open(&file(name, r#""size":5"#)));
        assert!(matches!(error, Error::Corrupt { .. }), "{name}: {error}");
    }
    for text in [
        file("d.img.fidx", r#""size":-1"#),
        file("d.img.fidx", r#""none":5"#),
        file("d.img.fidx", r#""size":5"#).replace("000", "xyz"),
        file("d.img.fidx", r#""size":5"#)
            .replace("]}", r#"],"unprotected":{"key-fingerprint":7}}"#),
        format!(r#"{{"backup-type":"vm","files":[{0},{0}]}}"#, {
            let text = file("a.img.fidx", r#""size":5"#);
            text[text.find('[').unwrap() + 1..text.len() - 2].to_string()
        }),
    ] {
        assert!(matches!(refusal(open(&text)), Error::Corrupt { .. }), "{text}");
    }
    let mode = file("d.img.fidx", r#""size":5,"crypt-mode":"later""#);
    assert!(matches!(refusal(open(&mode)), Error::Unsupported(_)));
    // An index that is not there costs itself, and says so.
    let opened = open(&file("d.img.fidx", r#""size":5"#)).unwrap();
    assert!(opened.image.info().warnings[0].contains("d.img.fidx"));
    assert!(matches!(opened.image.disk(0).err(), Some(Error::Missing(_))));
    // Sizes that no disk has are not shown.
    let opened = open(&file("d.img.fidx", r#""size":0"#)).unwrap();
    assert_eq!(opened.image.disks().len(), 0);
}

#[test]
fn an_index_under_another_name_is_found_out() {
    let (one, two) = (contents("nt", CHUNK), contents("tn", CHUNK));
    let mut snapshot = Snapshot::new(None, 0).disk("drive-scsi0", &one).disk("drive-scsi1", &two);
    let other = snapshot.files["drive-scsi1.img.fidx"].clone();
    snapshot.files.insert(SCSI.into(), other);
    let opened = snapshot.opened(&[]).unwrap();
    assert!(opened.image.info().warnings[0].contains("is not the index"));
    assert!(matches!(opened.image.disk(0).err(), Some(Error::Corrupt { .. })));
    assert!(opened.read(1).unwrap() == two);
    let main = blob(snapshot.manifest().as_bytes(), false, None);
    let settings = [("index_checksum", "ignore")];
    let opened = snapshot.opened_as("index.json.blob", main, &[], &settings).unwrap();
    assert!(opened.read(0).unwrap() == two);
}

#[test]
fn key_files_that_cost_too_much_are_refused() {
    let snapshot = Snapshot::new(Some(KEY), 0).disk("drive-scsi0", &contents("n", CHUNK));
    let file = |kdf: &str| format!(r#"{{"kdf":{kdf},"data":"AAAA"}}"#);
    for kdf in [
        r#"{"Scrypt":{"n":1048576,"r":8,"p":1,"salt":"AAAA"}}"#,
        r#"{"Scrypt":{"n":65536,"r":8,"p":4294967296,"salt":"AAAA"}}"#,
        r#"{"Scrypt":{"n":65536,"r":8,"p":1}}"#,
        r#"{"PBKDF2":{"iter":4294967295,"salt":"AAAA"}}"#,
        r#"{"PBKDF2":{"iter":0,"salt":"AAAA"}}"#,
        r#"{"Argon2":{"salt":"AAAA"}}"#,
        "7",
    ] {
        let error = refusal(snapshot.opened(&[file(kdf).as_bytes(), b"word"]));
        assert!(matches!(error, Error::Unsupported(_)), "{kdf}: {error}");
    }
    for text in [file("null"), file("null").replace("AAAA", "?"), "{}".into()] {
        let error = refusal(snapshot.opened(&[text.as_bytes()]));
        assert!(matches!(error, Error::NeedsKey(_)), "{text}: {error}");
    }
}

/// A source that is zero but for its beginning, as large as it says.
struct Hollow(Vec<u8>, u64);

impl Source for Hollow {
    fn id(&self) -> u32 {
        0
    }
    fn name(&self) -> String {
        "large.img.fidx".into()
    }
    fn size(&self) -> u64 {
        self.1
    }
    fn read(&self, offset: u64, length: usize) -> Result<Vec<u8>> {
        assert!(length <= 8 << 20, "{length} bytes at once");
        let start = usize::try_from(offset).unwrap().min(self.0.len());
        let mut bytes = self.0[start..(start + length).min(self.0.len())].to_vec();
        bytes.resize(length, 0);
        Ok(bytes)
    }
}

#[test]
fn a_large_index_is_read_in_parts() {
    let (size, chunk) = (4u64 << 40, 4u64 << 20);
    let head = index(size, chunk, &[])[..4096].to_vec();
    let main = Rc::new(Hollow(head, 4096 + 32 * (size / chunk)));
    let settings = vec![("index_checksum".to_string(), "ignore".to_string())];
    let options = OpenOptions { settings, ..OpenOptions::read_only() };
    let image = Pbs::open(main, Rc::new(MemoryHost::new()), options).unwrap();
    let mut steps = 0;
    while image.prepare().map(|progress| progress.done < progress.total).unwrap() {
        steps += 1;
    }
    assert!((4..20).contains(&steps), "{steps}");
    let extents = image.disk(0).unwrap().extents(1 << 40, u64::MAX).unwrap();
    check_answer(&extents, 1 << 40, size).unwrap();
    let covered = extents.last().unwrap().end() - extents[0].offset;
    assert_eq!(covered, 64 * chunk, "an answer opens so many chunks");
}

#[test]
fn random_changes_never_panic() {
    let mut random = Random::new(11);
    for key in [None, Some(KEY)] {
        let disk = contents("ntn0t", 100);
        let whole = Snapshot::new(key, 0).disk("drive-scsi0", &disk).document("a.conf", b"text");
        let names: Vec<String> = whole.files.keys().cloned().collect();
        let keys: Vec<&[u8]> = key.iter().map(|key| &key[..]).collect();
        for turn in 0..1500 {
            let mut snapshot = whole.clone();
            let mut main = blob(whole.manifest().as_bytes(), false, None);
            let plain = random.one_in(2);
            let name = &names[random.below(names.len() as u64) as usize];
            match turn % 3 {
                0 => change(&mut random, &mut main),
                _ => change(&mut random, snapshot.files.get_mut(name).unwrap()),
            }
            if plain {
                // The text itself, so that it is not just its checksum that fails.
                let mut text = whole.manifest().into_bytes();
                change(&mut random, &mut text);
                main = blob(&text, false, None);
            }
            probe(snapshot.opened_as("index.json.blob", main, &keys, &[]));
            if snapshot.files.contains_key(SCSI) {
                probe(snapshot.opened_index(SCSI, &keys));
            }
        }
    }
}

fn change(random: &mut Random, bytes: &mut Vec<u8>) {
    if bytes.is_empty() {
        return;
    }
    for _ in 0..=random.below(2) {
        let end = if random.one_in(2) { bytes.len().min(100) } else { bytes.len() };
        let at = random.below(end as u64) as usize;
        bytes[at] ^= 1 << random.below(8);
    }
    if random.one_in(8) {
        bytes.truncate(random.below(bytes.len() as u64) as usize);
    }
}

fn probe(opened: Result<Opened>) {
    let Ok(opened) = opened else { return };
    let info = opened.image.info();
    for name in &info.documents {
        let _ = opened.image.document(name);
    }
    for (number, disk) in opened.image.disks().iter().enumerate() {
        let Ok(mut map) = opened.image.disk(number as u32) else { continue };
        let _ = opened.sources.walk(&mut *map, disk.size, 1 << 20, 16);
        let _ = map.check(false);
    }
}

#[test]
fn sources_are_named_for_what_they_are() {
    // A main source of any name is read by its contents.
    let main = Rc::new(MemorySource::new(0, "renamed", index(5, 512, &[0; 32])));
    let image = Pbs::open(main, Rc::new(MemoryHost::new()), OpenOptions::read_only()).unwrap();
    assert_eq!(image.disks()[0].size, 5);
}
