//! Images that QEMU makes, in all its variants, compared with what QEMU reads.

mod support;

use fumehood_plugin::{Confidence, Content, Error, Format, Glimpse};
use fumehood_test_support::Bench;
use fumehood_test_support::qemu::qemu_io;
use fumehood_test_support::tool::run;
use fumehood_vmdk::Vmdk;
use support::{sample, set};

const SUBFORMATS: [&str; 5] = [
    "monolithicSparse",
    "monolithicFlat",
    "twoGbMaxExtentSparse",
    "twoGbMaxExtentFlat",
    "streamOptimized",
];

/// No multiple of a grain.
const SIZE: usize = (9 << 20) + 5 * 512;

#[test]
fn every_variant_reads_as_with_qemu() {
    let bench = Bench::new("variants");
    bench.write("disk.raw", &sample(SIZE));
    let raw = bench.text("disk.raw");
    for subformat in SUBFORMATS {
        for zeroed in ["off", "on"] {
            let name = format!("{subformat}-{zeroed}.vmdk");
            let flat = subformat.contains("Flat");
            if flat && zeroed == "on" {
                continue;
            }
            let options = match flat {
                true => format!("subformat={subformat}"),
                false => format!("subformat={subformat},zeroed_grain={zeroed}"),
            };
            let path = bench.text(&name);
            run("qemu-img", &["convert", "-f", "raw", "-O", "vmdk", "-o", &options, &raw, &path]);
            let set = set(&bench, &name);
            assert!(set.read().unwrap() == bench.qemu_reads("vmdk", &name), "{options}");
            assert_eq!(set.check(), [""; 0], "{options}");
            assert_eq!(set.warnings(), [""; 0], "{options}");
            let head = bench.read(&name);
            let glimpse = Glimpse { head, ..Glimpse::default() };
            assert_eq!(Vmdk::probe(&glimpse), Confidence::Certain, "{options}");
            let info = set.open().unwrap().info();
            assert_eq!(info.details[0], ("variant".into(), subformat.into()));
            let text = set.open().unwrap().document("descriptor").unwrap();
            assert!(String::from_utf8(text).unwrap().contains(subformat));
        }
    }
}

#[test]
fn writes_zeroes_and_odd_sizes_read_as_with_qemu() {
    let bench = Bench::new("writes");
    for subformat in ["monolithicSparse", "twoGbMaxExtentSparse", "monolithicFlat"] {
        for size in ["65024", "33M", "70000128"] {
            let (name, zeroed) = (format!("{subformat}-{size}.vmdk"), subformat.contains("Sparse"));
            let options = format!(
                "subformat={subformat}{}",
                [",zeroed_grain=off", ",zeroed_grain=on"][usize::from(zeroed)]
            );
            let options = if zeroed { options } else { format!("subformat={subformat}") };
            let path = bench.text(&name);
            run("qemu-img", &["create", "-q", "-f", "vmdk", "-o", &options, &path, size]);
            qemu_io("vmdk", &path, &["write -P 1 0 5k", "write -P 2 60k 3k"]);
            if size != "65024" {
                qemu_io(
                    "vmdk",
                    &path,
                    &[
                        "write -P 3 3M 1234k",
                        "write -z 3200k 128k",
                        "write -z 20M 2M",
                        "write -P 4 33553920 1k",
                    ],
                );
            }
            let set = set(&bench, &name);
            assert!(set.read().unwrap() == bench.qemu_reads("vmdk", &name), "{options} {size}");
            assert_eq!(set.check(), [""; 0], "{options} {size}");
        }
    }
}

#[test]
fn extents_of_two_gigabytes_follow_each_other() {
    let bench = Bench::new("split");
    let path = bench.text("disk.vmdk");
    let options = "subformat=twoGbMaxExtentSparse";
    run("qemu-img", &["create", "-q", "-f", "vmdk", "-o", options, &path, "5G"]);
    let border = "write -P 7 2147479552 8k";
    qemu_io("vmdk", &path, &[border, "write -P 8 4294966272 2k", "write -P 9 5368708096 1k"]);
    let set = set(&bench, "disk.vmdk");
    assert_eq!(set.size(), 5 << 30);
    for (offset, length, fill) in
        [(2147479552, 8192, 7), (4294966272, 2048, 8), ((5 << 30) - 1024, 1024, 9)]
    {
        let found = set.read_range(offset - 512, length + 512).unwrap();
        assert!(found[..512] == [0; 512] && found[512..].iter().all(|byte| *byte == fill));
    }
    let extents = set.open().unwrap().disk(0).unwrap().extents(0, 5 << 30).unwrap();
    assert!(extents.len() < 20, "{}", extents.len());
    assert_eq!(set.check(), [""; 0]);
}

#[test]
fn a_child_names_its_parent() {
    let bench = Bench::new("child");
    let (base, child) = (bench.text("base.vmdk"), bench.text("child.vmdk"));
    run("qemu-img", &["create", "-q", "-f", "vmdk", &base, "2M"]);
    qemu_io("vmdk", &base, &["write -P 1 0 2M"]);
    run(
        "qemu-img",
        &["create", "-q", "-f", "vmdk", "-F", "vmdk", "-b", &base, "-o", "zeroed_grain=on", &child],
    );
    qemu_io("vmdk", &child, &["write -P 2 64k 64k", "write -z 256k 64k"]);
    let info = set(&bench, "child.vmdk").open().unwrap().disks().remove(0);
    let parent = info.parent.unwrap();
    assert_eq!(parent.references, [base.as_str(), "base.vmdk"]);
    assert_eq!(parent.format.as_deref(), Some("vmdk"));
    let own = set(&bench, "base.vmdk").open().unwrap().disks().remove(0);
    assert_eq!(parent.identities, [own.identity.unwrap()]);
    assert_eq!(own.parent, None);
    let mut disk = set(&bench, "child.vmdk").open().unwrap().disk(0).unwrap();
    let extents = disk.extents(0, 2 << 20).unwrap();
    let kinds: Vec<_> = extents
        .iter()
        .map(|extent| match extent.content {
            Content::Absent => (extent.length >> 16, 'a'),
            Content::Zero => (extent.length >> 16, 'z'),
            Content::Stored(_) => (extent.length >> 16, 's'),
            _ => panic!("{extent:?}"),
        })
        .collect();
    assert_eq!(kinds, [(1, 'a'), (1, 's'), (2, 'a'), (1, 'z'), (27, 'a')]);
}

#[test]
fn what_is_read_is_what_libvmdk_tells() {
    let bench = Bench::new("libvmdk");
    bench.write("disk.raw", &sample(3 << 20));
    for subformat in SUBFORMATS {
        let path = bench.text("disk.vmdk");
        let options = format!("subformat={subformat}");
        let raw = bench.text("disk.raw");
        run("qemu-img", &["convert", "-f", "raw", "-O", "vmdk", "-o", &options, &raw, &path]);
        let told = run("vmdkinfo", &[&path]);
        let set = set(&bench, "disk.vmdk");
        assert!(told.contains(&format!("({} bytes)", set.size())), "{told}");
        let identity = set.open().unwrap().disks()[0].identity.clone().unwrap();
        assert!(told.contains(&format!("0x{identity}")), "{told} {identity}");
    }
}

#[test]
fn a_split_that_lacks_a_part_names_it() {
    let bench = Bench::new("lacks");
    let path = bench.text("disk.vmdk");
    run(
        "qemu-img",
        &["create", "-q", "-f", "vmdk", "-o", "subformat=twoGbMaxExtentSparse", &path, "3G"],
    );
    std::fs::remove_file(bench.path("disk-s002.vmdk")).unwrap();
    let refusal = set(&bench, "disk.vmdk").refusal();
    assert!(matches!(&refusal, Error::Missing(name) if name == "disk-s002.vmdk"), "{refusal}");
}

#[test]
fn a_part_opened_by_itself_warns() {
    let bench = Bench::new("part");
    bench.write("disk.raw", &sample(3 << 20));
    let (raw, path) = (bench.text("disk.raw"), bench.text("disk.vmdk"));
    let options = "subformat=twoGbMaxExtentSparse";
    run("qemu-img", &["convert", "-f", "raw", "-O", "vmdk", "-o", options, &raw, &path]);
    let set = set(&bench, "disk-s001.vmdk");
    assert!(set.read().unwrap() == sample(3 << 20));
    assert!(set.warnings()[0].contains("without its descriptor"));
}
