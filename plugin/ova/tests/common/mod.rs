//! What the integration tests share: archives from GNU tar and by hand, and opening them
//! over memory.
#![allow(dead_code)]

use fumehood_ova::Ova;
use fumehood_plugin::memory::check_answer;
use fumehood_plugin::{Error, Image, OpenOptions, Result};
use fumehood_test_support::{Bench, Sources, not_encoded};

/// An archive of these files, by GNU tar.
pub fn tar(bench: &Bench, options: &[&str], names: &[&str]) -> Vec<u8> {
    bench.run("tar", &[options, &["-cf", "made.ova"], names].concat());
    bench.read("made.ova")
}

/// A document with these files (attributes) and disks (attributes).
pub fn ovf(files: &[&str], disks: &[&str]) -> Vec<u8> {
    let list = |tag: &str, list: &[&str]| -> String {
        list.iter().map(|attributes| format!("<{tag} {attributes}/>\n")).collect()
    };
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <Envelope xmlns=\"http://schemas.dmtf.org/ovf/envelope/1\" \
         xmlns:ovf=\"http://schemas.dmtf.org/ovf/envelope/1\">\n\
         <References>\n{}</References>\n<DiskSection><Info>disks</Info>\n{}</DiskSection>\n\
         <VirtualSystem ovf:id=\"machine\"><Info>a machine</Info><Name>first</Name></VirtualSystem>\n\
         </Envelope>\n",
        list("File", files),
        list("Disk", disks)
    )
    .into_bytes()
}

/// A document with one disk, in the file of this name.
pub fn simple(href: &str) -> Vec<u8> {
    let file = format!("ovf:id=\"f1\" ovf:href=\"{href}\"");
    ovf(&[&file], &["ovf:diskId=\"d1\" ovf:fileRef=\"f1\" ovf:capacity=\"1048576\""])
}

/// A member with its header and padding, by hand.
pub fn member(name: &str, kind: u8, size: &[u8; 12], bytes: &[u8]) -> Vec<u8> {
    let mut header = vec![0; 512];
    header[..name.len()].copy_from_slice(name.as_bytes());
    header[124..136].copy_from_slice(size);
    header[148..156].fill(b' ');
    header[156] = kind;
    header[257..265].copy_from_slice(b"ustar\x0000");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    header.extend(bytes);
    header.resize(header.len().next_multiple_of(512), 0);
    header
}

/// A file as a member.
pub fn file(name: &str, bytes: &[u8]) -> Vec<u8> {
    let size = format!("{:011o}\0", bytes.len());
    member(name, b'0', size.as_bytes().try_into().unwrap(), bytes)
}

/// Members and the end mark.
pub fn archive(members: &[Vec<u8>]) -> Vec<u8> {
    [members.concat(), vec![0; 1024]].concat()
}

pub fn open(bytes: &[u8]) -> Result<Box<dyn Image>> {
    Sources::new("x.ova", bytes).open::<Ova>(OpenOptions::read_only())
}

/// The error of opening, which must fail.
pub fn refusal(bytes: &[u8]) -> Error {
    open(bytes).err().expect("it opened")
}

/// All of a disk.
pub fn contents(bytes: &[u8], image: &dyn Image, number: u32) -> Vec<u8> {
    let size = image.disks()[number as usize].size;
    let mut disk = image.disk(number).unwrap();
    if size > 0 {
        check_answer(&disk.extents(size / 2, 1).unwrap(), size / 2, size).unwrap();
    }
    assert_eq!(disk.extents(size, 1), Err(Error::OutOfRange));
    let sources = Sources::new("x.ova", bytes);
    sources.read(image, number, 0, size, &not_encoded).unwrap()
}
