//! Writes exports byte by byte, as xen-api does, and as others do. It shares no code
//! with the reader, checksums included.
#![allow(dead_code)]

/// Bytes of xen-api's chunks.
pub const CHUNK: usize = 1 << 20;

/// How chunks are checked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sum {
    None,
    Sha1,
    Xxhash,
}

/// A tar archive on its way.
#[derive(Clone)]
pub struct Tar {
    pub bytes: Vec<u8>,
    /// Bytes a chunk: xen-api's, or fewer for tests that are soon done.
    pub chunk: usize,
    /// Write headers of the seventh edition of Unix, as older exports have.
    pub old: bool,
}

impl Tar {
    pub fn new() -> Self {
        Self { bytes: vec![], chunk: CHUNK, old: false }
    }

    /// Appends a member of any type.
    pub fn raw(&mut self, name: &str, kind: u8, data: &[u8]) {
        let size = format!("{:011o}\0", data.len());
        self.header(name, kind, size.as_bytes());
        self.data(data);
    }

    pub fn file(&mut self, name: &str, data: &[u8]) {
        self.raw(name, if self.old { 0 } else { b'0' }, data);
    }

    /// Appends a header that says this of the size.
    pub fn header(&mut self, name: &str, kind: u8, size: &[u8]) {
        let mut head = vec![0; 512];
        head[..name.len()].copy_from_slice(name.as_bytes());
        let mode: &[u8] = if self.old { b"0000000\0" } else { b"0000644\0" };
        head[100..108].copy_from_slice(mode);
        head[108..116].copy_from_slice(b"0000000\0");
        head[116..124].copy_from_slice(b"0000000\0");
        head[124..124 + size.len()].copy_from_slice(size);
        head[136..148].copy_from_slice(b"00000000000\0");
        head[156] = kind;
        if !self.old {
            head[257..265].copy_from_slice(b"ustar\x0000");
        }
        seal(&mut head);
        self.bytes.extend(head);
    }

    /// Appends data, padded.
    pub fn data(&mut self, data: &[u8]) {
        self.bytes.extend(data);
        self.bytes.resize(self.bytes.len().next_multiple_of(512), 0);
    }

    /// A chunk and its checksum.
    pub fn chunk(&mut self, disk: &str, number: u64, data: &[u8], sum: Sum) {
        let name = format!("{disk}/{number:08}");
        self.file(&name, data);
        match sum {
            Sum::None => (),
            Sum::Sha1 => self.file(&format!("{name}.checksum"), hex(&sha1(data)).as_bytes()),
            Sum::Xxhash => {
                let text = format!("{:016X}", xxh64(data));
                self.file(&format!("{name}.xxhash"), text.as_bytes());
            }
        }
    }

    /// A whole disk as xen-api sends it; `pauses` are numbers that empty chunks take.
    pub fn disk(&mut self, disk: &str, contents: &[u8], sum: Sum, pauses: &[u64]) {
        let last = contents.len().div_ceil(self.chunk) - 1;
        let mut number = 0;
        for (place, data) in contents.chunks(self.chunk).enumerate() {
            while pauses.contains(&number) {
                self.chunk(disk, number, &[], sum);
                number += 1;
            }
            if place == 0 || place == last || data.iter().any(|byte| *byte != 0) {
                self.chunk(disk, number, data, sum);
            }
            number += 1;
        }
    }

    /// The archive with its end.
    pub fn end(mut self) -> Vec<u8> {
        self.bytes.resize(self.bytes.len() + 1024, 0);
        self.bytes
    }
}

/// Makes the checksum of a header right again.
pub fn seal(head: &mut [u8]) {
    head[148..156].fill(b' ');
    let sum: u32 = head.iter().map(|byte| u32::from(*byte)).sum();
    head[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}

/// A disk of a manifest: reference, name, size, position.
pub struct Vdi<'a>(pub &'a str, pub &'a str, pub u64, pub &'a str);

/// A member of a structure whose value is a text.
pub fn text(name: &str, value: &str) -> String {
    format!("<member><name>{name}</name><value>{value}</value></member>")
}

/// An object of this class, its record made of these members.
pub fn object(class: &str, id: &str, record: &str) -> String {
    format!(
        "<value><struct>{}{}<member><name>snapshot</name><value><struct>{record}</struct></value>\
         </member></struct></value>",
        text("class", class),
        text("id", id)
    )
}

/// A whole manifest around these objects.
pub fn around(objects: &str) -> String {
    format!(
        "<?xml version=\"1.0\"?>\n<value><struct><member><name>version</name><value><struct>{}{}{}\
         <member><name>export_vsn</name><value><i4>2</i4></value></member></struct></value>\
         </member><member><name>objects</name><value><array><data>{objects}</data></array></value>\
         </member></struct></value>",
        text("product_brand", "XCP-ng"),
        text("product_version", "8.3.0"),
        text("hostname", "host&amp;1"),
    )
}

/// The manifest of a machine with these disks, and a drive with a disc in it.
pub fn manifest(disks: &[Vdi<'_>]) -> String {
    let mut objects = object("VM", "Ref:900", &text("name_label", "machine"));
    for (place, Vdi(id, name, size, position)) in disks.iter().enumerate() {
        let size = text("virtual_size", &size.to_string());
        let record = [text("uuid", &format!("uuid-{place}")), text("name_label", name), size];
        objects += &object("VDI", id, &record.concat());
        let record = [text("VM", "Ref:900"), text("VDI", id), text("userdevice", position)];
        let bootable = "<member><name>bootable</name><value><boolean>1</boolean></value></member>";
        let record =
            record.concat() + &text("type", "Disk") + if place == 0 { bootable } else { "" };
        objects += &object("VBD", &format!("Ref:80{place}"), &record);
    }
    objects +=
        &object("VDI", "Ref:700", &(text("virtual_size", "4096") + &text("name_label", "iso")));
    let record = [text("VM", "Ref:900"), text("VDI", "Ref:700"), text("type", "CD")];
    objects += &object("VBD", "Ref:701", &record.concat());
    around(&objects)
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Chunks of noise, of zeroes, and of a little of both.
pub fn disk(length: usize, chunk: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = vec![0; length];
    for (place, chunk) in bytes.chunks_mut(chunk).enumerate() {
        let length = chunk.len();
        let part = match (place as u64 + seed) % 4 {
            0 => chunk,
            1 | 2 => continue,
            _ => &mut chunk[..length / 3],
        };
        for word in part.chunks_mut(8) {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            word.copy_from_slice(&state.to_le_bytes()[..word.len()]);
        }
    }
    bytes
}

/// SHA-1 (RFC 3174).
pub fn sha1(bytes: &[u8]) -> [u8; 20] {
    let mut padded = bytes.to_vec();
    padded.push(0x80);
    padded.resize((padded.len() + 8).next_multiple_of(64) - 8, 0);
    padded.extend((bytes.len() as u64 * 8).to_be_bytes());
    let mut sums = [0x6745_2301_u32, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476, 0xc3d2_e1f0];
    for part in padded.chunks(64) {
        let mut words = [0u32; 80];
        for at in 0..80 {
            words[at] = match at {
                0..16 => u32::from_be_bytes(part[4 * at..4 * at + 4].try_into().unwrap()),
                _ => {
                    (words[at - 3] ^ words[at - 8] ^ words[at - 14] ^ words[at - 16]).rotate_left(1)
                }
            };
        }
        let [mut a, mut b, mut c, mut d, mut e] = sums;
        for (at, word) in words.into_iter().enumerate() {
            let (mixed, constant) = match at / 20 {
                0 => (b & c | !b & d, 0x5a82_7999),
                1 => (b ^ c ^ d, 0x6ed9_eba1),
                2 => (b & c | b & d | c & d, 0x8f1b_bcdc),
                _ => (b ^ c ^ d, 0xca62_c1d6_u32),
            };
            let sum = a.rotate_left(5).wrapping_add(mixed).wrapping_add(e);
            let sum = sum.wrapping_add(word).wrapping_add(constant);
            (e, d, c, b, a) = (d, c, b.rotate_left(30), a, sum);
        }
        for (sum, more) in sums.iter_mut().zip([a, b, c, d, e]) {
            *sum = sum.wrapping_add(more);
        }
    }
    let mut digest = [0; 20];
    digest.chunks_mut(4).zip(sums).for_each(|(to, sum)| to.copy_from_slice(&sum.to_be_bytes()));
    digest
}

/// XXH64 with the seed 0 (the algorithm's description, version 0.1.1).
pub fn xxh64(bytes: &[u8]) -> u64 {
    const PRIMES: [u64; 5] = [
        0x9e37_79b1_85eb_ca87,
        0xc2b2_ae3d_27d4_eb4f,
        0x1656_67b1_9e37_79f9,
        0x85eb_ca77_c2b2_ae63,
        0x27d4_eb2f_1656_67c5,
    ];
    let [one, two, three, four, five] = PRIMES;
    let round = |sum: u64, lane: u64| {
        sum.wrapping_add(lane.wrapping_mul(two)).rotate_left(31).wrapping_mul(one)
    };
    let lane = |part: &[u8]| u64::from_le_bytes(part.try_into().unwrap());
    let stripes = bytes.chunks_exact(32);
    let mut rest = stripes.remainder();
    let mut sum = if bytes.len() < 32 {
        five
    } else {
        let mut sums = [one.wrapping_add(two), two, 0, one.wrapping_neg()];
        for stripe in stripes {
            for (sum, part) in sums.iter_mut().zip(stripe.chunks(8)) {
                *sum = round(*sum, lane(part));
            }
        }
        let turned = sums.iter().zip([1, 7, 12, 18]).map(|(sum, turn)| sum.rotate_left(turn));
        let joined = turned.fold(0u64, u64::wrapping_add);
        sums.iter()
            .fold(joined, |all, sum| (all ^ round(0, *sum)).wrapping_mul(one).wrapping_add(four))
    };
    sum = sum.wrapping_add(bytes.len() as u64);
    while let Some((part, behind)) = rest.split_at_checked(8) {
        sum = (sum ^ round(0, lane(part))).rotate_left(27).wrapping_mul(one).wrapping_add(four);
        rest = behind;
    }
    if let Some((part, behind)) = rest.split_at_checked(4) {
        let lane = u64::from(u32::from_le_bytes(part.try_into().unwrap()));
        sum = (sum ^ lane.wrapping_mul(one)).rotate_left(23).wrapping_mul(two).wrapping_add(three);
        rest = behind;
    }
    for byte in rest {
        sum = (sum ^ u64::from(*byte).wrapping_mul(five)).rotate_left(11).wrapping_mul(one);
    }
    sum = (sum ^ sum >> 33).wrapping_mul(two);
    sum = (sum ^ sum >> 29).wrapping_mul(three);
    sum ^ sum >> 32
}
