//! Snapshots in a backup datastore: one built here, and one with encryption that was
//! made by another implementation.

use std::fmt::Write;

use flate2::Crc;
use fumehood_tests::client::Client;
use fumehood_tests::peer::root;
use fumehood_tests::{Bench, Bounded, Server, content};
use sha2::{Digest, Sha256};

const CHUNK: usize = 64 << 10;
const SNAPSHOT: &str = "store/vm/100/2024-01-02T03:04:05Z";

fn bytes_of(text: &str) -> Vec<u8> {
    let digit = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).expect("digits");
    (0..text.len()).step_by(2).map(digit).collect()
}

/// Writes a file and its folders.
fn put(bench: &Bench, name: &str, bytes: &[u8]) {
    let folder = bench.path(name);
    std::fs::create_dir_all(folder.parent().expect("a folder")).expect("our folder");
    bench.write(name, bytes);
}

/// Wraps data up; compressed if asked to.
fn blob(bench: &Bench, data: &[u8], compress: bool) -> Vec<u8> {
    let mut magic = [66, 171, 56, 7, 190, 131, 112, 161];
    let mut data = data.to_vec();
    if compress {
        magic = [49, 185, 88, 66, 111, 182, 163, 127];
        bench.write("plain", &data);
        bench.peer("zstd", ["-qf", "-1", "plain", "-o", "packed"]).succeed();
        data = bench.read("packed");
    }
    let mut crc = Crc::new();
    crc.update(&data);
    [&magic[..], &crc.sum().to_le_bytes(), &data].concat()
}

/// Where the chunk of that digest is.
fn chunk_path(digest: &str) -> String {
    format!("store/.chunks/{}/{digest}", &digest[..4])
}

/// Puts a disk into the datastore and answers its entry in the manifest.
fn store(bench: &Bench, name: &str, disk: &[u8]) -> String {
    let mut digests = Vec::new();
    for (number, chunk) in disk.chunks(CHUNK).enumerate() {
        let digest = content::hash(chunk);
        put(bench, &chunk_path(&digest), &blob(bench, chunk, number % 2 == 0));
        digests.extend(bytes_of(&digest));
    }
    let sum = Sha256::digest(&digests);
    let mut index = vec![47, 127, 65, 237, 145, 253, 15, 205];
    index.extend([7; 24]);
    index.extend(sum);
    index.extend((disk.len() as u64).to_le_bytes());
    index.extend((CHUNK as u64).to_le_bytes());
    index.resize(4096, 0);
    index.extend(digests);
    put(bench, &format!("{SNAPSHOT}/{name}.img.fidx"), &index);
    let mut digits = String::new();
    sum.iter().for_each(|byte| write!(digits, "{byte:02x}").expect("a string"));
    let size = disk.len();
    format!(
        r#"{{"filename":"{name}.img.fidx","size":{size},"csum":"{digits}","crypt-mode":"none"}}"#
    )
}

/// A bench with a snapshot of two disks, `first.raw` and `second.raw`.
fn bench() -> Bench {
    let bench = Bench::new();
    bench.write("first.raw", &content::sample(20 * CHUNK));
    bench.write("second.raw", &content::text(3 * CHUNK + 1536));
    let files =
        ["first", "second"].map(|name| store(&bench, name, &bench.read(&format!("{name}.raw"))));
    let files = files.join(",");
    let manifest = format!(
        r#"{{"backup-type":"vm","backup-id":"100","backup-time":1704164645,"files":[{files}]}}"#
    );
    let manifest = blob(&bench, manifest.as_bytes(), true);
    put(&bench, &format!("{SNAPSHOT}/index.json.blob"), &manifest);
    bench
}

#[test]
fn the_disks_of_a_snapshot_are_read() {
    let bench = bench();
    let info = bench.json(&["info", "--json", "--allow", "store", SNAPSHOT]);
    let names: Vec<_> =
        info["disks"].as_array().expect("a list").iter().map(|it| &it["name"]).collect();
    assert_eq!(names, ["first", "second"]);
    for (number, name) in [("0", "first.raw"), ("1", "second.raw")] {
        let image = ["--allow", "store", "--disk", number, SNAPSHOT];
        assert_eq!(bench.converted(&image), bench.fingerprint(name), "{name}");
    }
    let index = format!("{SNAPSHOT}/second.img.fidx");
    let image = ["--allow", "store", &index];
    assert_eq!(bench.converted(&image), bench.fingerprint("second.raw"));
    let outcome = bench.fumehood(["check", "--allow", "store", SNAPSHOT]).succeed();
    assert!(outcome.stdout.contains("sound"), "{}", outcome.stdout);
    let map = bench.json(&["map", "--json", "--allow", "store", SNAPSHOT]);
    assert!(map.as_array().expect("a list").iter().any(|run| run["zero"] == true), "{map}");
    let outcome = bench.fumehood(["info", "--document", "index.json", SNAPSHOT]).succeed();
    assert!(outcome.stdout.contains("backup-time"), "{}", outcome.stdout);
}

#[test]
fn the_plugin_conforms() {
    let bench = bench();
    let index = format!("{SNAPSHOT}/second.img.fidx");
    let hash = bench.fingerprint("second.raw").1;
    let allow = ["--allow", "store"];
    bench.conforms(&[&["pbs", "--image", &index, "--sha256", &hash][..], &allow].concat());
    bench.conforms(&[&["pbs", "--image", SNAPSHOT][..], &allow].concat());
}

#[test]
fn a_served_disk_is_copied_whole() {
    let bench = bench();
    let server = Server::unix(&bench, &["--allow", "store", SNAPSHOT]);
    bench.peer("nbdcopy", [server.uri(), "found.raw"]).succeed();
    assert_eq!(bench.fingerprint("found.raw"), bench.fingerprint("first.raw"));
}

#[test]
fn a_datastore_has_to_be_granted() {
    let bench = bench();
    let outcome = bench.fumehood(["convert", "-O", "raw", SNAPSHOT, "out.raw"]).end_with(1);
    assert!(outcome.stderr.contains("--allow DATASTORE"), "{}", outcome.stderr);
    let outcome = bench.fumehood(["info", SNAPSHOT]).succeed();
    assert!(outcome.stdout.contains("--allow DATASTORE"), "{}", outcome.stdout);
}

#[test]
fn missing_and_changed_chunks_cost_their_own_range() {
    let bench = bench();
    let disk = bench.read("first.raw");
    let path = |number: usize| chunk_path(&content::hash(&disk[number * CHUNK..][..CHUNK]));
    std::fs::remove_file(bench.path(path(1))).expect("a chunk of its own");
    bench.change(&path(3), 5000, |byte| byte ^ 1);
    let server = Server::unix(&bench, &["--allow", "store", SNAPSHOT]);
    let mut client = Client::connect(server.socket()).expect("it listens");
    for (number, chunk) in disk.chunks(CHUNK).enumerate() {
        let found = client.read((number * CHUNK) as u64, CHUNK as u32);
        match number {
            1 | 3 => assert_eq!(found, Err(5), "{number}: EIO"),
            _ => assert!(found.as_deref() == Ok(chunk), "{number}"),
        }
    }
    let report = bench.json_of_failing(&["check", "--json", "--allow", "store", SNAPSHOT]);
    let said = report.to_string();
    assert!(said.contains("is missing"), "{said}");
}

#[test]
fn dynamic_indexes_are_refused_by_name() {
    let bench = Bench::new();
    let magic = [0x1c, 0x91, 0x4e, 0xa5, 0x19, 0xba, 0xb3, 0xcd];
    bench.write("root.pxar.didx", &[&magic[..], &[0; 5000]].concat());
    let outcome = bench.fumehood(["info", "root.pxar.didx"]).end_with(1);
    assert!(outcome.stderr.contains(".didx"), "{}", outcome.stderr);
}

#[test]
fn an_encrypted_snapshot_takes_its_key() {
    let bench = Bench::new();
    let made = root().join("plugin/pbs/tests/encrypted.txt");
    let made = std::fs::read_to_string(made).expect("part of the project");
    let mut hash = String::new();
    for (name, digits) in made.lines().map(|line| line.split_once(' ').expect("two words")) {
        match name {
            "sha256" => hash = digits.into(),
            _ => put(&bench, &format!("store/{name}"), &bytes_of(digits)),
        }
    }
    bench.write("passphrase", b"a passphrase\n");
    let key = |names: &[&str]| -> Vec<String> {
        names.iter().flat_map(|name| ["--key-file".into(), name.to_string()]).collect()
    };
    for names in [
        &["store/key-none.json"][..],
        &["store/key-scrypt.json", "passphrase"],
        &["store/key-pbkdf2.json", "passphrase"],
    ] {
        let mut image = key(names);
        image.extend(["--allow", "store", SNAPSHOT].map(Into::into));
        let image: Vec<&str> = image.iter().map(String::as_str).collect();
        assert_eq!(bench.converted(&image).1, hash, "{names:?}");
    }
    for (names, said) in [
        (&[][..], "needs a key"),
        (&["store/other.json"], "fingerprint"),
        (&["store/key-scrypt.json"], "passphrase"),
    ] {
        let mut command = bench.fumehood(["convert", "-O", "raw", "--allow", "store"]);
        let outcome = command.args(key(names)).args([SNAPSHOT, "out.raw"]).end_with(1);
        assert!(outcome.stderr.contains(said), "{names:?}: {}", outcome.stderr);
    }
}
