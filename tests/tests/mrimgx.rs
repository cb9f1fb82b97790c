//! Images of Macrium Reflect X, written by a script of Python, OpenSSL and zstd: bytes as
//! they went into it, and clear words where a file or the password is missing.

use fumehood_tests::{Bench, Bounded};

/// Writes a set into the folder: a full image and an increment over it, each with the
/// disk as it was then. Its argument says how: `split` cuts the full image in two, `lock`
/// encrypts.
const MAKE: &str = r#"
import hashlib, hmac, json, struct, subprocess, sys
split, lock = 'split' in sys.argv, 'lock' in sys.argv
BLOCK, START, ID = 65536, 1 << 20, '00112233445566FF'
def run(*command, data): return subprocess.run(command, input=data, check=True, capture_output=True).stdout
def zstd(data):
    # With its length in the header, which takes a file that has one.
    open('part', 'wb').write(data)
    return run('zstd', '-q', '-c', 'part', data=b'')
key = hashlib.pbkdf2_hmac('sha256', b'secret word', hashlib.sha256(bytes.fromhex(ID)).digest(), 600000)
def aes(mode, key, data, *more):
    return run('openssl', 'enc', '-aes-256-' + mode, '-nopad', '-K', key.hex(), *more, data=data)
def pad(data): return data + bytes(-len(data) % 16)
def sealed(data, index):
    data = zstd(data)
    if not lock: return data
    name = bytes.fromhex(ID) + struct.pack('<HHI', 3, 1, index)
    vector = aes('ecb', hashlib.sha256(key).digest(), name)
    return aes('cbc', key, pad(data), '-iv', vector.hex())
def block(name, data, flags):
    return struct.pack('<8sI16sB3x', name, len(data), hashlib.md5(data).digest(), flags) + data
def metadata(name, data, flags):
    data = zstd(data)
    return block(name, aes('ecb', key, pad(data)), flags | 6) if lock else block(name, data, flags | 2)
def element(e): return struct.pack('<q16sIH', *e)
def layout(number, increment, delta, split, position, count):
    seal = {'enable': True, 'aes_type': 'aes-256', 'key_iterations': 600000, 'key_derivation': 'pbkdf2',
        'hmac': hmac.new(key, b'', 'sha256').hexdigest()} if lock else {'enable': False}
    partition = {'_header': {'block_size': BLOCK, 'block_count': count, 'partition_number': 1},
        '_geometry': {'start': START, 'length': count * BLOCK},
        '_file_system': {'start': START, 'lcn0_offset': START, 'type': 'NTFS'}}
    return {'_header': {'imageid': ID, 'file_number': number, 'increment_number': increment,
            'delta_index': delta, 'split_file': split, 'index_file_position': position,
            'backup_type': 'inc' if increment else 'full', 'netbios_name': 'HOST'},
        '_compression': {'compression_level': 'high', 'compression_method': 'zstd'}, '_encryption': seal,
        'disks': [{'_header': {'disk_number': 3, 'disk_format': 'mbr'}, 'partitions': [partition],
            '_geometry': {'bytes_per_sector': 512, 'disk_size': len(disk)}}]}
def finish(name, data, number, increment, delta, split, index, count):
    out = bytes(data)
    if not split:
        out += metadata(b'$TRACK0 ', disk[:32256], 1)
        out += block(b'$INDEX  ', struct.pack('<II', 0, len(index)) + b''.join(index), 1)
    text = json.dumps(layout(number, increment, delta, split, len(data), count)).encode()
    first = len(out)
    out += block(b'$JSON   ', zstd(text), 3) + struct.pack('<Q', first) + b'MACRIUM_FILE'
    open(name, 'wb').write(out)
disk = bytearray(4 << 20)
disk[440:446] = b'signed'; disk[510:512] = b'\x55\xaa'
for n in range(10):
    part = hashlib.shake_128(bytes([n])).digest(BLOCK // 2) + (b'line %d\n' % n) * 10
    if n not in (4, 9): disk[START + n * BLOCK:START + n * BLOCK + len(part)] = part
blocks = lambda: [bytes(disk[START + n * BLOCK:][:BLOCK]) for n in range(10)]
parts, state, old = [bytearray(), bytearray()], [], blocks()
for n, data in enumerate(old):
    number = 1 if split and n > 5 else 0
    stored = sealed(data, n) if any(data) else b''
    state.append((len(parts[number]), hashlib.md5(data).digest(), len(stored), number))
    parts[number] += stored
open('full.raw', 'wb').write(disk)
if split: finish('S-00-00.mrimgx', parts[0], 0, 0, False, True, [], 10)
last = 1 if split else 0
finish('S-00-%02d.mrimgx' % last, parts[last], last, 0, False, False, [element(e) for e in state], 10)
disk[START + 3 * BLOCK + 77] ^= 255
disk[START + 9 * BLOCK + 5] = 1; disk[400] = 7
disk[START + 2 * BLOCK:START + 3 * BLOCK] = bytes(BLOCK)
data, index = bytearray(), []
for n in reversed(range(10)):
    new = blocks()[n]
    if new != old[n]:
        stored = sealed(new, n) if any(new) else b''
        e = (len(data), hashlib.md5(new).digest(), len(stored), last + 1)
        index.append(element(e) + struct.pack('<I', n)); data += stored
open('newer.raw', 'wb').write(disk)
finish('S-01-%02d.mrimgx' % (last + 1), data, last + 1, 1, True, False, index, 10)
"#;

fn bench(options: &[&str]) -> Bench {
    let bench = Bench::new();
    bench.write("make.py", MAKE.as_bytes());
    bench.write("password", b"secret word\n");
    bench.write("wrong", b"another word\n");
    bench.peer("python3", [&["make.py"], options].concat()).succeed();
    bench
}

const KEY: [&str; 2] = ["--key-file", "password"];

#[test]
fn a_full_image_and_an_increment_read_back() {
    for options in [&[][..], &["lock"], &["split"], &["split", "lock"]] {
        let bench = bench(options);
        let key = if options.contains(&"lock") { &KEY[..] } else { &[] };
        let last = usize::from(options.contains(&"split"));
        let mut files = vec![("S-00-00.mrimgx".to_owned(), "full.raw")];
        files.push((format!("S-00-{last:02}.mrimgx"), "full.raw"));
        files.push((format!("S-01-{:02}.mrimgx", last + 1), "newer.raw"));
        for (file, state) in files {
            let found = bench.converted(&[key, &[&file]].concat());
            assert_eq!(found, bench.fingerprint(state), "{options:?} {file}");
            let check = [&["check"], key, &[&file]].concat();
            let outcome = bench.fumehood(check).succeed();
            assert!(outcome.stdout.contains("sound"), "{file}: {}", outcome.stdout);
        }
    }
}

#[test]
fn an_increment_is_served() {
    let bench = bench(&["lock"]);
    let socket = format!("unix:{}", bench.path("nbd.sock").display());
    let serve = ["serve", "--nbd", &socket, "--run", "nbdcopy \"$uri\" found.raw"];
    bench.fumehood([&serve[..], &KEY, &["S-01-01.mrimgx"]].concat()).succeed();
    assert_eq!(bench.fingerprint("found.raw"), bench.fingerprint("newer.raw"));
}

#[test]
fn an_overlay_on_an_encrypted_image_needs_its_key() {
    let bench = bench(&["lock"]);
    let create = ["create", "-O", "qcow2", "top.qcow2", "--parent", "S-00-00.mrimgx"];
    let outcome = bench.fumehood(create).end_with(1);
    assert!(outcome.stderr.contains("encrypted"), "{}", outcome.stderr);
    bench.fumehood([&create[..], &KEY].concat()).succeed();
    let found = bench.converted(&[&KEY[..], &["top.qcow2"]].concat());
    assert_eq!(found, bench.fingerprint("full.raw"));
    let list = ["overlay", "list", "top.qcow2"];
    let outcome = bench.fumehood(list).end_with(1);
    assert!(outcome.stderr.contains("encrypted"), "{}", outcome.stderr);
    let outcome = bench.fumehood([&list[..], &KEY].concat()).succeed();
    assert!(outcome.stdout.contains("S-00-00.mrimgx"), "{}", outcome.stdout);
}

#[test]
fn the_image_is_shown() {
    let bench = bench(&[]);
    let info = bench.json(&["info", "--json", "S-01-01.mrimgx"]);
    let shown = info.to_string();
    for part in ["00112233445566FF", "HOST", "S-00-00.mrimgx, S-01-01.mrimgx", "zstd, high"] {
        assert!(shown.contains(part), "{part} in {shown}");
    }
    assert_eq!(info["disks"][0]["size"], 4 << 20);
    let map = bench.json(&["map", "--json", "S-01-01.mrimgx"]);
    let runs = map.as_array().expect("a list");
    let zero = runs.iter().filter(|run| run["zero"] == true).count();
    assert!(zero > 0 && runs.len() > zero, "{map}");
}

#[test]
fn a_missing_file_is_named() {
    let bench = bench(&["split"]);
    std::fs::remove_file(bench.path("S-00-00.mrimgx")).expect("just made");
    // Its blocks are missed, and the others are read.
    let info = bench.json(&["info", "--json", "S-00-01.mrimgx"]);
    assert_eq!(info["disks"][0]["size"], 4 << 20);
    let outcome = bench.fumehood(["convert", "-O", "raw", "S-00-01.mrimgx", "out.raw"]).end_with(1);
    assert!(outcome.stderr.contains("file number 0 of the set is missing"), "{}", outcome.stderr);
    std::fs::remove_file(bench.path("S-00-01.mrimgx")).expect("just made");
    let outcome = bench.fumehood(["info", "S-01-02.mrimgx"]).end_with(1);
    assert!(outcome.stderr.contains("file number 1 of set"), "{}", outcome.stderr);
}

#[test]
fn a_split_image_without_its_last_part_says_so() {
    let bench = bench(&["split"]);
    std::fs::remove_file(bench.path("S-00-01.mrimgx")).expect("just made");
    let outcome = bench.fumehood(["info", "S-00-00.mrimgx"]).end_with(1);
    let words = ["file number 1 of set", "split"];
    assert!(words.iter().all(|words| outcome.stderr.contains(words)), "{}", outcome.stderr);
}

#[test]
fn the_right_password_is_asked_for() {
    let bench = bench(&["lock"]);
    for (key, words) in [(&[][..], "encrypted"), (&["--key-file", "wrong"], "wrong")] {
        let arguments = [&["info"], key, &["S-00-00.mrimgx"]].concat();
        let outcome = bench.fumehood(arguments).end_with(1);
        assert!(outcome.stderr.contains(words), "{}", outcome.stderr);
    }
}

#[test]
fn a_changed_byte_costs_one_block() {
    let bench = bench(&[]);
    bench.change("S-00-00.mrimgx", 1000, |byte| byte ^ 1);
    let outcome = bench.fumehood(["convert", "-O", "raw", "S-00-00.mrimgx", "out.raw"]).end_with(1);
    assert!(outcome.stderr.contains("of S-00-00.mrimgx"), "{}", outcome.stderr);
    assert!(!bench.path("out.raw").exists(), "nothing is left of it");
}
