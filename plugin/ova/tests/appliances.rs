//! Appliances packed by GNU tar, in all of its formats, with disks by QEMU.

mod common;

use common::{archive, contents, file, member, open, ovf, refusal, simple, tar};
use fumehood_ova::Ova;
use fumehood_plugin::{Confidence, Contents, DigestKind, Format, Glimpse};
use fumehood_test_support::Bench;
use sha2::Digest;

fn probe(name: &str, bytes: &[u8]) -> Confidence {
    let head = bytes[..bytes.len().min(65536)].to_vec();
    Ova::probe(&Glimpse { name: name.into(), size: bytes.len() as u64, head, tail: vec![] })
}

#[test]
fn disks_of_every_tar_format_are_mapped_in_place() {
    let bench = Bench::new("formats");
    bench.run("qemu-img", &["create", "-q", "-f", "raw", "disk.raw", "3M"]);
    let convert = ["convert", "-f", "raw", "-O", "vmdk", "-o", "subformat=streamOptimized"];
    bench.run("qemu-img", &[&convert[..], &["disk.raw", "vm-disk1.vmdk"]].concat());
    let second: Vec<u8> = (0..100_001u32).map(|n| (n >> 3) as u8).collect();
    let long = format!("{}.img", "a-long-name-".repeat(15));
    bench.write(&long, &second);
    let first = bench.read("vm-disk1.vmdk");
    let files = [
        format!("ovf:id=\"f1\" ovf:href=\"vm-disk1.vmdk\" ovf:size=\"{}\"", first.len()),
        format!("ovf:id=\"f2\" ovf:href=\"{long}\""),
        "ovf:id=\"f3\" ovf:href=\"notes.iso\"".to_string(),
    ];
    let files: Vec<&str> = files.iter().map(String::as_str).collect();
    let disks = [
        "ovf:diskId=\"d2\" ovf:fileRef=\"f2\" ovf:capacity=\"1\" ovf:capacityAllocationUnits=\"byte * 2^20\"",
        "ovf:diskId=\"d3\" ovf:capacity=\"5\" ovf:capacityAllocationUnits=\"byte * 2^30\"",
        "ovf:diskId=\"d1\" ovf:fileRef=\"f1\" ovf:capacity=\"3\"",
    ];
    bench.write("vm.ovf", &ovf(&files, &disks));
    bench.write("notes.iso", b"an image of notes");
    let sum = sha2::Sha256::digest(&first);
    let hex: String = sum.iter().map(|byte| format!("{byte:02x}")).collect();
    bench.write("vm.mf", format!("SHA256(vm-disk1.vmdk)= {hex}\nSHA512({long})= 00\n").as_bytes());
    let names = ["vm.ovf", "vm.mf", "vm-disk1.vmdk", &long, "notes.iso"];
    for format in ["gnu", "oldgnu", "pax", "posix", "ustar", "v7"] {
        if matches!(format, "ustar" | "v7") {
            continue; // Neither has room for the name; both follow below.
        }
        let packed = tar(&bench, &["--format", format], &names);
        let image = open(&packed).unwrap_or_else(|error| panic!("{format}: {error}"));
        assert_eq!(probe("x", &packed), Confidence::Certain, "{format}");
        let disks = image.disks();
        assert_eq!(disks.len(), 2, "{format}");
        assert_eq!((&*disks[0].name, &*disks[1].name), (&*long, "vm-disk1.vmdk"), "{format}");
        assert_eq!(disks[0].contents, Contents::File);
        assert_eq!(disks[1].digests[0].kind, DigestKind::Sha256);
        assert_eq!(disks[1].digests[0].value[..], sum[..]);
        assert!(disks[0].digests.is_empty());
        assert!(
            disks[0].details.contains(&("digest that is not compared".into(), "SHA512".into()))
        );
        assert!(contents(&packed, &*image, 0) == second && contents(&packed, &*image, 1) == first);
        let info = image.info();
        assert_eq!((info.documents.len(), info.warnings.len()), (2, 0), "{info:?}");
        let shown = |label: &str, part: &str| {
            info.details.iter().any(|(name, value)| name == label && value.contains(part))
        };
        assert!(shown("empty disk", "d3, 5368709120 bytes") && shown("other member", "notes.iso"));
        assert!(shown("machine name", "first"));
        assert_eq!(image.document("vm.ovf").unwrap(), bench.read("vm.ovf"));
        assert!(image.document("notes.iso").is_err());
    }
    bench.write("vm.ovf", &simple("vm-disk1.vmdk"));
    for format in ["ustar", "v7"] {
        let packed = tar(&bench, &["--format", format], &["./vm.ovf", "./vm-disk1.vmdk"]);
        let image = open(&packed).unwrap();
        assert!(contents(&packed, &*image, 0) == first, "{format}");
    }
    // Another order, which only the name or a look further tells.
    let packed = tar(&bench, &[], &["vm-disk1.vmdk", "vm.ovf"]);
    assert!(contents(&packed, &*open(&packed).unwrap(), 0) == first);
    assert_eq!(probe("vm.ova", &packed), Confidence::Certain);
}

#[test]
fn chunks_are_one_disk() {
    let bytes: Vec<u8> = (0..2500u32).map(|n| ((n * 7) >> 2) as u8).collect();
    let document = ovf(
        &["ovf:id=\"f\" ovf:href=\"d.img\" ovf:chunkSize=\"1000\" ovf:size=\"2500\""],
        &["ovf:diskId=\"d\" ovf:fileRef=\"f\""],
    );
    let mut members = vec![file("x.ovf", &document)];
    for (number, chunk) in bytes.chunks(1000).enumerate() {
        members.push(file(&format!("d.img.{number:09}"), chunk));
    }
    let packed = archive(&members);
    let image = open(&packed).unwrap();
    assert!(contents(&packed, &*image, 0) == bytes);
    assert_eq!(image.disk(0).unwrap().extents(0, u64::MAX).unwrap().len(), 3);
    // One missing at the end, in the middle, and one that is too short.
    let without = |number: usize| {
        let mut members = members.clone();
        members.remove(number);
        archive(&members)
    };
    for number in [1, 2, 3] {
        let said = common::refusal(&without(number)).to_string();
        assert!(said.contains("d.img.00000000"), "{said}");
    }
    members[2] = file("d.img.000000001", &bytes[..999]);
    assert!(common::refusal(&archive(&members)).to_string().contains("chunk of 1000"));
}

#[test]
fn compressed_files_are_offered_as_they_are() {
    let document = ovf(
        &["ovf:id=\"f\" ovf:href=\"d.vmdk.gz\" ovf:compression=\"gzip\" ovf:size=\"99999\""],
        &["ovf:diskId=\"d\" ovf:fileRef=\"f\""],
    );
    let packed = archive(&[file("x.ovf", &document), file("d.vmdk.gz", b"\x1f\x8b\x08 and more")]);
    let image = open(&packed).unwrap();
    assert_eq!(image.disks()[0].name, "d.vmdk.gz");
    assert!(image.disks()[0].details.contains(&("compression".into(), "gzip".into())));
}

#[test]
fn long_members_have_binary_sizes() {
    // As GNU tar writes sizes of 8 GiB and more; this one is small.
    let size = b"\x80\0\0\0\0\0\0\0\0\0\0\x05";
    let packed = archive(&[file("x.ovf", &simple("d.img")), member("d.img", b'0', size, b"12345")]);
    assert_eq!(contents(&packed, &*open(&packed).unwrap(), 0), b"12345");
}

#[test]
fn others_are_not_claimed() {
    let xva = archive(&[file("ova.xml", b"<value/>"), file("Ref:1/00000000", &[0; 9])]);
    assert_eq!(probe("x.ova", &xva), Confidence::No);
    assert!(open(&xva).is_err());
    let other = archive(&[file("a.txt", b"a")]);
    assert_eq!(probe("x.tar", &other), Confidence::No);
    assert_eq!(probe("x.ova", &other), Confidence::Certain);
    assert!(common::refusal(&other).to_string().contains(".ovf"));
    for bytes in [&[0; 1024][..], b"", b"QFI\xfb", &[0xff; 512]] {
        assert_eq!(probe("x.ova", bytes), Confidence::No);
        assert!(open(bytes).is_err());
    }
}

#[test]
fn references_are_decoded_where_no_member_has_the_name_as_it_stands() {
    let body = [7; 700];
    for (href, name) in [
        ("My%20VM-disk1.img", "My VM-disk1.img"),
        ("100%25.img", "100%25.img"),
        ("100%25.img", "100%.img"),
    ] {
        let bytes = archive(&[file("x.ovf", &simple(href)), file(name, &body)]);
        let image = open(&bytes).unwrap();
        assert_eq!(image.disks()[0].name, name);
        assert_eq!(contents(&bytes, &*image, 0), body, "{href} {name}");
    }
    let bytes = archive(&[file("x.ovf", &simple("a%2g.img")), file("other.img", &body)]);
    assert!(refusal(&bytes).to_string().contains("a%2g.img"), "it is named as it stands");
}
