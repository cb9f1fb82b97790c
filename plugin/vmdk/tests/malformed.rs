//! Images with one field wrong, images cut off, and random changes: each a clear error
//! or a disk that keeps the contract's rules, never a panic or an endless loop.
//! `VMDK_MUTATIONS` sets how many random changes are tried.

mod support;

use fumehood_plugin::simulate::Random;
use fumehood_plugin::{Confidence, Error, Format, Glimpse};
use fumehood_test_support::damage::rounds;
use fumehood_vmdk::Vmdk;
use support::Set;
use support::generate::{
    self, Grain, Hosted, SE_DIRECTORY, SE_TABLES, SE_VOLATILE, SECTOR, descriptor, get32, pattern,
    put16, put32, put64,
};

fn hosted() -> Hosted {
    let descriptor = descriptor("monolithicSparse", &["RW 795 SPARSE \"disk.vmdk\""], None);
    Hosted { capacity: 795, grain: 8, descriptor }
}

fn sparse() -> Vec<u8> {
    hosted().sparse(&pattern(100, 8, true))
}

fn stream() -> Vec<u8> {
    hosted().stream(&pattern(100, 8, false), false)
}

fn cowd() -> Vec<u8> {
    generate::cowd(4200, 1, &pattern(4200, 1, false))
}

fn sesparse() -> Vec<u8> {
    generate::sesparse(5000 * 8, &pattern(5000, 8, true))
}

/// Makes one field wrong.
type Change<'a> = &'a dyn Fn(&mut Vec<u8>);

fn refused(sound: &[u8], cases: &[(&str, Change, u64, &str)]) {
    assert!(Set::single(sound).open().is_ok());
    for (name, change, offset, phrase) in cases {
        let mut bytes = sound.to_vec();
        change(&mut bytes);
        let refusal = Set::single(&bytes).refusal();
        assert!(refusal.to_string().contains(phrase), "{name}: {refusal}");
        match refusal {
            Error::Corrupt { offset: found, .. } => assert_eq!(found, *offset, "{name}"),
            Error::Unsupported(_) => assert_eq!(*offset, u64::MAX, "{name}"),
            other => panic!("{name}: {other}"),
        }
    }
}

const NO_PLACE: u64 = u64::MAX;

#[test]
fn hosted_headers_that_contradict_the_format_are_refused() {
    refused(
        &sparse(),
        &[
            ("version 0", &|b| put32(b, 4, 0), NO_PLACE, "version 0"),
            ("version 4", &|b| put32(b, 4, 4), NO_PLACE, "version 4"),
            ("unknown flag", &|b| put32(b, 8, 0x8_0003), NO_PLACE, "flags 0x80003"),
            ("no capacity", &|b| put64(b, 12, 0), 12, "capacity"),
            ("capacity of 2^48", &|b| put64(b, 12, 1 << 48), 12, "tables"),
            ("capacity of 2^63", &|b| put64(b, 12, 1 << 63), 12, "capacity"),
            ("capacity beyond the directory", &|b| put64(b, 12, 1 << 32), 56, "grain directory"),
            ("grain of 0", &|b| put64(b, 20, 0), 20, "grain size"),
            ("grain of 24", &|b| put64(b, 20, 24), 20, "grain size"),
            ("grain of 2^22", &|b| put64(b, 20, 1 << 22), 20, "grain size"),
            ("grain of 2^63", &|b| put64(b, 20, 1 << 63), 20, "grain size"),
            ("descriptor past the end", &|b| put64(b, 28, 1 << 50), 28, "descriptor"),
            ("descriptor too long", &|b| put64(b, 36, 1 << 60), 28, "descriptor"),
            ("no entries", &|b| put32(b, 44, 0), 44, "entries a table"),
            ("too many entries", &|b| put32(b, 44, 513), 44, "entries a table"),
            ("metadata past the end", &|b| put64(b, 64, 1 << 40), 64, "metadata"),
            ("metadata of 2^63", &|b| put64(b, 64, 1 << 63), 64, "metadata"),
            ("newlines", &|b| b.splice(73..75, *b"\r\n").for_each(drop), 73, "as text"),
            ("flag and no compression", &|b| put32(b, 8, 0x3_0003), 77, "without a compression"),
            ("other compression", &|b| put16(b, 77, 2), NO_PLACE, "compression 2"),
            ("no markers", &|b| put16(b, 77, 1), NO_PLACE, "without markers"),
            ("cut in the header", &|b| b.truncate(300), 0, "header"),
        ],
    );
    let mut endless = sparse();
    put64(&mut endless, 56, u64::MAX);
    assert!(Set::single(&endless).refusal().to_string().contains("footer"));
    let mut large = stream();
    let footer = large.len() - 1024;
    [20, footer + 20].into_iter().for_each(|at| put64(&mut large, at, 1 << 15));
    let refusal = Set::single(&large).refusal();
    assert!(matches!(&refusal, Error::Unsupported(what) if what.contains("grains of 16777216")));
}

#[test]
fn a_descriptor_inside_may_be_large_but_not_without_limit() {
    let mut bytes = sparse();
    bytes.resize(3 << 20, 0);
    put64(&mut bytes, 36, 2048);
    assert!(Set::single(&bytes).open().is_ok());
    put64(&mut bytes, 36, 2049);
    assert!(Set::single(&bytes).refusal().to_string().contains("1048576 are read"));
}

#[test]
fn an_unclean_extent_warns() {
    let mut bytes = sparse();
    bytes[72] = 1;
    assert!(Set::single(&bytes).warnings()[0].contains("not closed"));
    let mut bytes = cowd();
    put32(&mut bytes, 1648, 1);
    assert!(Set::single(&bytes).warnings()[0].contains("not closed"));
}

/// Where the entry of a grain lies in both copies of its table.
fn entries(bytes: &[u8], grain: usize) -> [usize; 2] {
    [48, 56].map(|field| {
        let directory = get32(bytes, field) as usize * SECTOR;
        let table = get32(bytes, directory + grain / generate::ENTRIES * 4) as usize * SECTOR;
        table + grain % generate::ENTRIES * 4
    })
}

#[test]
fn grains_where_none_may_lie_are_damage() {
    let sound = sparse();
    let end = (sound.len() / SECTOR) as u32;
    let grain = 4u32;
    for (place, phrase) in
        [(2, "metadata"), (0, ""), (end - 7, "ends at"), (u32::MAX, "ends at"), (end, "ends at")]
    {
        let mut bytes = sound.clone();
        for entry in entries(&bytes, grain as usize) {
            put32(&mut bytes, entry, place);
        }
        let set = Set::single(&bytes);
        let damage = set.damage(u64::from(grain) * 4096).unwrap_or_default();
        assert!(damage.contains(phrase) && damage.is_empty() == (place == 0), "{damage}");
        assert_eq!(set.check().len(), usize::from(place != 0), "{place}: {:?}", set.check());
        assert!(set.read_range(0, 4 * 4096).is_ok() && set.read_range(5 * 4096, u64::MAX).is_ok());
    }
    // Without the flag, 1 is a sector: of metadata.
    let mut plain = sound.clone();
    put32(&mut plain, 8, 3);
    assert!(Set::single(&plain).damage(3 * 4096).unwrap().contains("metadata"));
}

#[test]
fn a_check_finds_grains_that_overlap() {
    let sound = sparse();
    let [_, first] = entries(&sound, 1);
    let place = get32(&sound, first);
    for other in [place, place + 1] {
        let mut bytes = sound.clone();
        for entry in entries(&bytes, 4) {
            put32(&mut bytes, entry, other);
        }
        let findings = Set::single(&bytes).check();
        assert!(!findings.is_empty() && findings[0].contains("overlaps"), "{findings:?}");
    }
    let mut bytes = sound.clone();
    put32(&mut bytes, first, get32(&sound, entries(&sound, 4)[1]));
    let findings = Set::single(&bytes).check();
    assert!(findings.iter().any(|found| found.contains("redundant copy differ")), "{findings:?}");
}

#[test]
fn streams_with_wrong_markers_are_damaged_where_they_are_wrong() {
    let sound = stream();
    // The first grain with data is the second, behind the metadata.
    let marker = 128 * SECTOR;
    assert_eq!(sound[marker..marker + 8], 8u64.to_le_bytes());
    for (at, value, phrase) in [
        (marker, 16, "names sector 16, not 8"),
        (marker + 8, 0, "says 0 bytes"),
        (marker + 8, u32::MAX, "says 4294967295 bytes"),
        (marker + 8, (64 << 10) + 4097, "says 69633 bytes"),
    ] {
        let mut bytes = sound.clone();
        bytes.resize(bytes.len() + (100 << 10), 0);
        bytes.truncate(sound.len());
        put32(&mut bytes, at, value);
        let set = Set::single(&bytes);
        assert!(set.damage(4096).unwrap().contains(phrase), "{:?}", set.damage(4096));
        assert!(set.read_range(0, 4096).is_ok() && set.read_range(8192, u64::MAX).is_ok());
    }
    // A bomb: what it holds decodes to more than a grain, which the host refuses.
    let bomb = hosted().stream(&[Grain::Absent, Grain::Data(vec![0; 1 << 20])], false);
    assert!(Set::single(&bomb).read_range(4096, 4096).is_err());
    // The last grain's length is looked at, and must be possible.
    let mut grains = pattern(100, 8, false);
    for length in [1 << 20, 100] {
        grains[99] = Grain::Data(vec![0; length]);
        let set = Set::single(&hosted().stream(&grains, false));
        assert!(set.read_range(99 * 4096, 512).is_err());
        assert!(set.read_range(98 * 4096, 4096).is_ok());
    }
}

#[test]
fn a_stream_that_was_cut_off_is_refused() {
    let sound = stream();
    for cut in [1, 512, 1000, 4096] {
        let refusal = Set::single(&sound[..sound.len() - cut]).refusal();
        assert!(refusal.to_string().contains("footer"), "{cut}: {refusal}");
    }
    let mut endless = sound.clone();
    let footer = sound.len() - 1024;
    put64(&mut endless, footer + 56, u64::MAX);
    assert!(Set::single(&endless).refusal().to_string().contains("footer"));
}

#[test]
fn cowd_headers_that_contradict_the_format_are_refused() {
    refused(
        &cowd(),
        &[
            ("version", &|b| put32(b, 4, 2), NO_PLACE, "version 2"),
            ("no capacity", &|b| put32(b, 12, 0), 12, "capacity"),
            ("capacity", &|b| put32(b, 12, 1 << 30), 24, "directory of 262144 entries"),
            ("grain of 0", &|b| put32(b, 16, 0), 16, "grain size"),
            ("grain of 3", &|b| put32(b, 16, 3), 16, "grain size"),
            ("directory in the header", &|b| put32(b, 20, 1), 20, "directory"),
            ("directory past the end", &|b| put32(b, 20, u32::MAX), 20, "directory"),
            ("huge directory", &|b| put32(b, 24, u32::MAX), 20, "directory"),
            ("cut", &|b| b.truncate(2000), 0, "header"),
        ],
    );
    let mut table = cowd();
    put32(&mut table, 4 * SECTOR, u32::MAX);
    assert!(Set::single(&table).damage(0).unwrap().contains("table 0"));
}

#[test]
fn sesparse_headers_that_contradict_the_format_are_refused() {
    let replay = SE_VOLATILE * SECTOR + 24;
    refused(
        &sesparse(),
        &[
            ("version", &|b| put64(b, 8, 1), NO_PLACE, "version"),
            ("no capacity", &|b| put64(b, 16, 0), 16, "capacity"),
            ("capacity", &|b| put64(b, 16, 1 << 40), 128, "grain directory"),
            ("capacity of 2^60", &|b| put64(b, 16, 1 << 60), 16, "capacity"),
            ("grain size", &|b| put64(b, 24, 16), NO_PLACE, "grain size"),
            ("table size", &|b| put64(b, 32, 0), NO_PLACE, "table size"),
            ("flags", &|b| put64(b, 40, 1), NO_PLACE, "flags"),
            ("reserved", &|b| put64(b, 72, 1), NO_PLACE, "reserved"),
            ("volatile header", &|b| put64(b, 80, 1 << 63), 80, "volatile header"),
            ("its magic", &|b| put64(b, 512, 0xcafe_babe), 512, "0xcafecafe"),
            ("journal", &|b| put64(b, replay, 1), NO_PLACE, "journal"),
            ("directory", &|b| put64(b, 128, 1 << 63), 128, "directory"),
            ("short directory", &|b| put64(b, 136, 0), 128, "directory"),
            ("tables", &|b| put64(b, 144, 1 << 63), 144, "tables"),
            ("grains", &|b| put64(b, 192, 1 << 63), 192, "grains"),
            ("cut", &|b| b.truncate(200), 0, "header"),
        ],
    );
    for (at, value, phrase) in [
        (SE_DIRECTORY * SECTOR, 1, "expected a table's number"),
        (SE_DIRECTORY * SECTOR, 0x1000_0000_ffff_ffff, "outside of its region"),
        (SE_DIRECTORY * SECTOR, 0x2000_0000_0000_0000, "expected a table's number"),
        ((SE_TABLES + 64) * SECTOR, 0x3fff_ffff_ffff_ffff, "outside of its region"),
        ((SE_TABLES + 64) * SECTOR, 0x0000_0000_0000_0001, "kind of grain"),
        ((SE_TABLES + 64) * SECTOR, 0x7000_0000_0000_0001, "kind of grain"),
    ] {
        let mut bytes = sesparse();
        put64(&mut bytes, at, value);
        let damage = Set::single(&bytes).damage(0).unwrap();
        assert!(damage.contains(phrase), "{value:#x}: {damage}");
    }
}

#[test]
fn descriptors_that_name_what_they_must_not_are_refused() {
    let text = |line: &str| descriptor("monolithicFlat", &[line], None);
    for file in
        ["/etc/passwd", "../secret.vmdk", "json:{}", "nbd://host/x", "\\\\.\\PhysicalDrive0"]
    {
        // Only the host can open files, and it refuses what leaves the folder.
        let set = Set::single(text(&format!("RW 2 FLAT \"{file}\" 0")).as_bytes());
        assert_eq!(set.refusal(), Error::Missing(file.into()));
    }
    let flat = vec![7; 4 * SECTOR];
    let own = text("RW 8 SPARSE \"own.vmdk\"");
    let set =
        |text: &str| Set::new(text.as_bytes(), &[("own.vmdk", own.as_bytes()), ("flat", &flat)]);
    for (line, phrase) in [
        ("RW 8 SPARSE \"own.vmdk\"", "expected a sparse extent"),
        ("RW 8 SESPARSE \"own.vmdk\"", "expected a sparse extent"),
        ("RW 5 FLAT \"flat\" 0", "expected 2560 bytes"),
        ("RW 2 FLAT \"flat\" 3", "expected 1024 bytes"),
        ("RW 2 FLAT \"flat\" 18446744073709551615", "expected 1024 bytes"),
        ("RW 18446744073709551615 FLAT \"flat\" 0", "2^63"),
        ("RW 18014398509481983 ZERO\nRW 18014398509481983 ZERO", "2^63"),
        ("", "without extent lines"),
        ("RW 2 VMFSRDM \"flat\"", "VMFSRDM"),
    ] {
        let refusal = set(&text(line)).refusal().to_string();
        assert!(refusal.contains(phrase), "{line}: {refusal}");
    }
    let mut nul = text("RW 4 FLAT \"flat\"").into_bytes();
    nul.push(0);
    assert!(Set::new(&nul, &[("flat", &flat)]).open().is_ok());
    nul.extend(b"6\"\nRW 4 ODD \"flat\"\n");
    assert!(Set::new(&nul, &[("flat", &flat)]).open().is_ok(), "what a longer text left");
    let long = text("RW 4 FLAT \"flat\"") + &"#\n".repeat(1 << 19);
    assert!(set(&long).refusal().to_string().contains("1048576 are read"));
    assert!(matches!(Set::single(b"hello").refusal(), Error::Unrecognised));
    assert!(matches!(Set::single(b"").refusal(), Error::Unrecognised));
}

#[test]
fn extents_must_be_what_their_lines_say() {
    let (kdmv, se) = (sparse(), sesparse());
    for (line, phrase) in [
        ("RW 795 SESPARSE \"sparse\"", "found hosted sparse"),
        ("RW 40000 SPARSE \"se\"", "found SEsparse"),
        ("RW 796 SPARSE \"sparse\"", "expected an extent of 407552 bytes"),
    ] {
        let text = descriptor("custom", &[line], None);
        let set = Set::new(text.as_bytes(), &[("sparse", &kdmv), ("se", &se)]);
        assert!(set.refusal().to_string().contains(phrase), "{line}: {}", set.refusal());
    }
    let text = descriptor("custom", &["RW 790 SPARSE \"sparse\""], None);
    let set = Set::new(text.as_bytes(), &[("sparse", &kdmv), ("se", &se)]);
    assert!(set.read().unwrap() == Set::single(&kdmv).read().unwrap()[..790 * 512]);
    assert!(set.warnings()[0].contains("of which the descriptor uses"));
    let refusal = Set::single(&kdmv[..]).open().unwrap().document("other");
    assert_eq!(refusal, Err(Error::Missing("other".into())));
}

#[test]
fn only_this_format_is_claimed() {
    let probe = |head: &[u8]| Vmdk::probe(&Glimpse { head: head.to_vec(), ..Glimpse::default() });
    for head in [&sparse(), &stream(), &cowd(), &sesparse()] {
        assert_eq!(probe(head), Confidence::Certain);
    }
    assert_eq!(probe(descriptor("vmfs", &[], None).as_bytes()), Confidence::Certain);
    for head in
        [&b""[..], b"KDM", b"conectix", b"# a comment\n", b"version=1\n", &[0xbe, 0xba, 0xfe]]
    {
        assert_eq!(probe(head), Confidence::No);
    }
}

#[test]
fn no_truncation_breaks_anything() {
    let se = generate::sesparse(5000 * 8, &pattern(200, 8, true));
    for bytes in [sparse(), stream(), cowd(), se] {
        let step = bytes.len() / 150;
        for length in (0..bytes.len()).step_by(step).chain(0..600) {
            Set::single(&bytes[..length]).survive();
        }
    }
}

#[test]
fn no_change_of_bytes_breaks_the_contract() {
    let count = rounds("VMDK_MUTATIONS", 4000);
    let mut random = Random::new(0x76_6d_64_6b);
    let se = generate::sesparse(5000 * 8, &pattern(300, 8, true));
    let text = descriptor("custom", &["RW 795 SPARSE \"a\"", "RW 9 FLAT \"b\" 1"], None);
    let cow = generate::cowd(4200, 1, &pattern(300, 1, false));
    let images = [sparse(), stream(), cow, se, text.into_bytes()];
    let mut opened = 0;
    for number in 0..count {
        let mut bytes = images[(number % 5) as usize].clone();
        for _ in 0..=random.below(3) {
            let length = bytes.len() as u64;
            let at = match random.below(4) {
                0 => random.below(length),
                1 => random.below(length.min(512)),
                2 => length - 1 - random.below(length.min(2048)),
                _ => random.below(length.min(16 * 1024)),
            } as usize;
            match random.below(3) {
                0 => bytes[at] ^= 1 << random.below(8),
                1 => bytes[at] = random.next_word() as u8,
                _ => {
                    let at = (at & !3).min(bytes.len() - 4);
                    put32(&mut bytes, at, random.next_word() as u32 >> random.below(32));
                }
            }
        }
        let set = Set::new(&bytes, &[("a", &images[0]), ("b", &images[1])]);
        opened += u64::from(set.survive());
    }
    assert!(opened > count / 3, "only {opened} of {count} were opened at all");
}
