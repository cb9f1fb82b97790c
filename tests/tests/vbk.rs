//! Veeam backup files, written by a script of Python and lz4: bytes as they went into it,
//! and clear words where a block or the archive cannot be read.

use fumehood_tests::{Bench, Bounded};

/// Writes `backup.vbk` with two disks and a text, and `0.raw` and `1.raw` as the disks
/// are. Its arguments: the format version, and what is to be wrong.
const MAKE: &str = r#"
import hashlib, struct, subprocess, sys
version, wrong = int(sys.argv[1]), sys.argv[2:]
PAGE, BLOCK, BANKS = 4096, 65536, 10
TABLE = []
for n in range(256):
    for _ in range(8): n = n >> 1 ^ (0x82f63b78 if n & 1 else 0)
    TABLE.append(n)
def crc(data):
    sum = 0xffffffff
    for byte in data: sum = TABLE[(sum ^ byte) & 255] ^ sum >> 8
    return sum ^ 0xffffffff
def lz4(data):
    # The block out of a frame with a header of seven bytes.
    frame = subprocess.run(['lz4', '-c', '-q', '-B4'], input=data, check=True, capture_output=True).stdout
    length = struct.unpack_from('<I', frame, 7)[0]
    # What does not get smaller is marked, and stays as it is.
    return data if length >> 31 else frame[11:11 + length]
pages, blocks, store = [], bytearray(), []
def page(data=b''):
    pages.append(bytearray(data.ljust(PAGE, b'\0')))
    return len(pages) - 1
def vector(entries):
    size = len(entries[0])
    start = 8 if version < 12 else 0
    count = (PAGE - start) // size
    parts = [b''.join(entries[n:n + count]) for n in range(0, len(entries), count)]
    numbers = [page(bytes(start) + part) for part in parts]
    if version < 12:
        for own, after in zip(numbers, numbers[1:] + [-1]): struct.pack_into('<q', pages[own], 0, after)
        return numbers[0]
    words = struct.pack('<%dq' % (2 + len(numbers)), -1, 0, *numbers)
    return page(words.ljust(PAGE, b'\xff'))
def add(data):
    packed = lz4(data)
    code, stored = 7, struct.pack('<III', 0xf800000f, crc(data), len(data)) + packed
    if len(stored) >= len(data): code, stored = -1, data
    if 'method' in wrong: code = 3
    room = -(-len(stored) // 512) * 512
    store.append([4, 1, len(blocks), room, 1, hashlib.md5(data).digest(), code, 0, len(stored), len(data)])
    blocks.extend(stored.ljust(room, b'\0'))
    return len(store) - 1
def item(kind, name, tail):
    name = name.encode()
    return struct.pack('<II128sqI', kind, len(name), name, -1, 0) + tail.ljust(44, b'\0')
def file(name, data, block):
    descriptors = []
    for at in range(0, len(data), block):
        part = data[at:at + block]
        number = add(part) if any(part) else 0
        md5 = hashlib.md5(part).digest()
        descriptors.append(struct.pack('<IB16sQB16s', len(part), not any(part), md5, number, 0, bytes(16)))
    table = vector([struct.pack('<qQQ', vector(descriptors), block, len(descriptors))])
    tail = struct.pack('<HBBqQQqB', 0, 0, 1, table, len(descriptors), len(data), -1, 0)
    return item(5 if 'increment' in wrong else 3, name, tail)
def disk(seed, size):
    data = bytearray()
    while len(data) < size:
        data += hashlib.shake_128(bytes([seed, len(data) >> 16 & 255])).digest(70000)
        data += b'a line of text\n' * 9000 + bytes(200000)
    return bytes(data[:size])
disks = [disk(1, 3 << 20), disk(2, (2 << 20) + 512)]
items = []
for number, data in enumerate(disks):
    open('%d.raw' % number, 'wb').write(data)
    items.append(file('DEV__dev_sd' + 'ab'[number], data, BLOCK))
text = b'<OibSummary/>\n' * 9
items.append(file('summary.xml', text, len(text)))
folder = item(1, 'job', struct.pack('<qI', vector(items), len(items)))
directory = vector([folder])
SLOT = PAGE
bank_at = PAGE + 2 * SLOT
data_at = bank_at + PAGE * (1 + len(pages) + 5)
entries = [struct.pack('<BIQIB16sbBII16x', *e[:2], e[2] + data_at, *e[3:]) for e in store]
root = vector(entries)
while len(pages) < (data_at - bank_at) // PAGE - 1: page()
bank = struct.pack('<HH', len(pages), 0).ljust(PAGE, b'\0') + b''.join(pages)
head = struct.pack('<III251sIIB', version, 1, 3, b'md5', 9, 1 << 20, 3).ljust(PAGE, b'\0')
slot = struct.pack('<IQQIqQqQqqqqqQQII', 1, 7, data_at + len(blocks), 1, directory, 1, root,
    len(store), -1, -1, -1, -1, -1, 0, 0, BANKS, 1)
slot += struct.pack('<IQI', crc(bank), bank_at, len(bank)).ljust(16 * BANKS, b'\0')
slot = (struct.pack('<I', crc(slot)) + slot).ljust(SLOT, b'\0')
first = slot
if 'slot' in wrong: first = slot[:50] + b'\xee' + slot[51:]
open('backup.vbk', 'wb').write(head + first + slot + bank + blocks)
"#;

fn bench(arguments: &[&str]) -> Bench {
    let bench = Bench::new();
    bench.write("make.py", MAKE.as_bytes());
    bench.peer("python3", [&["make.py"], arguments].concat()).succeed();
    bench
}

#[test]
fn disks_of_both_layouts_read_back() {
    for version in ["9", "13"] {
        let bench = bench(&[version]);
        for number in ["0", "1"] {
            let found = bench.converted(&["--disk", number, "backup.vbk"]);
            assert_eq!(found, bench.fingerprint(&format!("{number}.raw")), "{version} {number}");
        }
        let outcome = bench.fumehood(["check", "backup.vbk"]).succeed();
        assert!(outcome.stdout.contains("sound"), "{}", outcome.stdout);
    }
}

#[test]
fn a_disk_is_served() {
    let bench = bench(&["13"]);
    let socket = format!("unix:{}", bench.path("nbd.sock").display());
    let run = ["--run", "nbdcopy \"$uri\" found.raw", "--disk", "1", "backup.vbk"];
    bench.fumehood([&["serve", "--nbd", &socket], &run[..]].concat()).succeed();
    assert_eq!(bench.fingerprint("found.raw"), bench.fingerprint("1.raw"));
}

#[test]
fn the_archive_is_shown() {
    let bench = bench(&["9"]);
    let info = bench.json(&["info", "--json", "backup.vbk"]);
    let disks = info["disks"].as_array().expect("a list");
    let names: Vec<_> = disks.iter().map(|disk| &disk["name"]).collect();
    assert_eq!(names, ["DEV__dev_sda", "DEV__dev_sdb"], "{info}");
    assert_eq!(info["documents"], serde_json::json!(["summary.xml"]));
    let outcome = bench.fumehood(["info", "--document", "summary.xml", "backup.vbk"]).succeed();
    assert_eq!(outcome.stdout, "<OibSummary/>\n".repeat(9));
    let map = bench.json(&["map", "--json", "--disk", "0", "backup.vbk"]);
    let runs = map.as_array().expect("a list");
    for kind in ["zero", "compressed"] {
        assert!(runs.iter().any(|run| run[kind] == true), "{kind} in {map}");
    }
}

#[test]
fn the_second_slot_serves_where_the_first_is_damaged() {
    let bench = bench(&["9", "slot"]);
    let info = bench.json(&["info", "--json", "backup.vbk"]);
    assert!(info["warnings"].to_string().contains("slot 1 is damaged"), "{info}");
    let found = bench.converted(&["--disk", "0", "backup.vbk"]);
    assert_eq!(found, bench.fingerprint("0.raw"));
}

#[test]
fn what_is_not_known_is_refused_by_its_number() {
    let increment = bench(&["13", "increment"]);
    let outcome = increment.fumehood(["info", "backup.vbk"]).end_with(1);
    assert!(outcome.stderr.contains("increment (type 5)"), "{}", outcome.stderr);
    let method = bench(&["13", "method"]);
    let outcome = method.fumehood(["map", "--disk", "0", "backup.vbk"]).end_with(1);
    assert!(outcome.stderr.contains("method 3 (ZLH)"), "{}", outcome.stderr);
}

#[test]
fn a_changed_byte_of_a_block_is_found() {
    let bench = bench(&["9"]);
    let last = bench.read("backup.vbk").len() - 2000;
    bench.change("backup.vbk", last, |byte| byte ^ 0x10);
    let arguments = ["convert", "-O", "raw", "--disk", "1", "backup.vbk", "out.raw"];
    let outcome = bench.fumehood(arguments).end_with(1);
    assert!(outcome.stderr.contains("of backup.vbk"), "{}", outcome.stderr);
    assert!(!bench.path("out.raw").exists(), "nothing is left of a failed conversion");
}
