//! A format is chosen once, by whoever may, and what an image names is opened only
//! where the operator lets it: against what a guest can write into its own disk, and
//! against what an image from elsewhere can name.

use std::path::PathBuf;

use fumehood::core::Access;
use fumehood::{Disk, Engine, EngineOptions, Error, OpenOptions};
use fumehood_tests::Bench;
use fumehood_tests::attack::expect_error;
use fumehood_tests::peer::target;
use fumehood_tests::qcow2::Qcow2;

const SECRET: &[u8] = b"what nobody granted";

/// An engine, and folders `images` and `secrets` beside each other.
struct Place {
    bench: Bench,
    engine: Engine,
}

impl Place {
    fn new() -> Self {
        let bench = Bench::new();
        for folder in ["images", "secrets"] {
            std::fs::create_dir(bench.path(folder)).expect("our folder");
        }
        let mut secret = SECRET.to_vec();
        secret.resize(1 << 20, 0);
        bench.write("secrets/secret.raw", &secret);
        let cache = Some(target().join("tests/sandbox"));
        let engine = Engine::with(EngineOptions { cache, ..EngineOptions::default() });
        Self { bench, engine: engine.expect("an engine") }
    }

    fn image(&self) -> PathBuf {
        self.bench.path("images/image")
    }

    fn secret(&self) -> String {
        self.bench.path("secrets/secret.raw").display().to_string()
    }

    fn write(&self, image: &Qcow2<'_>) {
        self.bench.write("images/image", &image.bytes());
    }

    fn disk(&self, options: OpenOptions) -> Result<Disk, Error> {
        self.engine.open(self.image(), options).and_then(|image| image.disk(0))
    }
}

fn head(disk: &Disk, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    disk.read_at(&mut bytes, 0).expect("a sound disk");
    bytes
}

fn raw(access: Access) -> OpenOptions {
    OpenOptions { format: Some("raw".into()), access, ..OpenOptions::default() }
}

/// CVE-2008-2004, CVE-2008-1945: a guest writes another format's header into its raw
/// disk, and has the host open any file the next time it starts.
#[test]
fn a_raw_disk_stays_raw_whatever_its_guest_writes() {
    let place = Place::new();
    place.bench.write("images/image", &vec![0; 1 << 20]);
    let header =
        Qcow2 { backing: Some("/etc/passwd"), backing_format: Some("raw"), ..Qcow2::default() };
    let disk = place.disk(raw(Access::ReadWrite)).expect("a raw disk");
    disk.write_at(&header.bytes(), 0).expect("a writable disk");
    disk.flush().expect("a writable disk");
    drop(disk);
    for access in [Access::Read, Access::ReadWrite] {
        let options = OpenOptions { access, ..OpenOptions::default() };
        let image = place.engine.open(place.image(), options).expect("its format is recorded");
        assert_eq!(image.format(), "raw");
        let disk = image.disk(0).expect("it names nothing");
        assert_eq!(head(&disk, 4), b"QFI\xfb", "the guest's own bytes");
    }
}

/// CVE-2008-2004 again: what no one has ever opened for writing is not guessed raw.
#[test]
fn a_disk_of_no_known_format_is_not_taken_for_a_raw_one() {
    let place = Place::new();
    place.bench.write("images/image", &vec![0; 1 << 20]);
    let opened = place.disk(OpenOptions::default());
    expect_error("zeroes", opened, "unrecognised", "--format raw");
    place.disk(raw(Access::Read)).expect("the operator may say so");
}

/// CVE-2010-2238: a backing file that is recorded raw is not probed.
#[test]
fn a_backing_file_that_is_recorded_raw_is_not_looked_into() {
    let place = Place::new();
    let secret = place.secret();
    let nested = Qcow2 { backing: Some(&secret), backing_format: Some("raw"), ..Qcow2::default() };
    place.bench.write("images/base", &nested.bytes());
    place.write(&Qcow2 { backing: Some("base"), backing_format: Some("raw"), ..Qcow2::default() });
    let disk = place.disk(OpenOptions::default()).expect("both lie in one folder");
    assert_eq!(disk.core().layers().len(), 2);
    assert_eq!(head(&disk, 4), b"QFI\xfb", "the backing file as it is");
}

/// CVE-2008-2004 by way of a chain: no recorded format, no guess.
#[test]
fn a_backing_file_without_recorded_format_is_refused_with_advice() {
    let place = Place::new();
    place.bench.write("images/base", &Qcow2::default().bytes());
    place.write(&Qcow2 { backing: Some("base"), ..Qcow2::default() });
    expect_error("no format", place.disk(OpenOptions::default()), "chain", "--parent-format");
    let options = OpenOptions { parent_format: Some("raw".into()), ..OpenOptions::default() };
    let disk = place.disk(options).expect("the operator may say so");
    assert_eq!(head(&disk, 4), b"QFI\xfb");
}

/// CVE-2024-4467: a reference that is a description of block devices.
#[test]
fn references_to_protocols_are_refused_even_where_everything_is_granted() {
    let place = Place::new();
    let json = format!(
        "json:{{\"driver\":\"raw\",\"file\":{{\"driver\":\"file\",\"filename\":\"{}\"}}}}",
        place.secret()
    );
    let everything = || OpenOptions { allow: vec!["/".into()], ..OpenOptions::default() };
    for reference in [json.as_str(), "nbd:localhost:10809", "file:secret.raw", "ssh://host/disk"] {
        let backing_format = Some("raw");
        place.write(&Qcow2 { backing: Some(reference), backing_format, data_file: None });
        let opened = place.disk(everything());
        expect_error(reference, opened, "chain", "references to protocols are refused");
        place.write(&Qcow2 { data_file: Some(reference), ..Qcow2::default() });
        let opened = place.disk(everything());
        expect_error(reference, opened, "format", "references to protocols are refused");
    }
}

/// CVE-2015-5163, CVE-2024-32498: an uploaded image names a file of
/// its host, as backing file or as external data file.
#[test]
fn files_outside_the_folder_are_refused_until_they_are_granted() {
    let place = Place::new();
    let secret = place.secret();
    std::os::unix::fs::symlink(&secret, place.bench.path("images/link")).expect("our folder");
    for reference in [secret.as_str(), "../secrets/secret.raw", "link"] {
        let backing =
            Qcow2 { backing: Some(reference), backing_format: Some("raw"), ..Qcow2::default() };
        let data_file = Qcow2 { data_file: Some(reference), ..Qcow2::default() };
        for (image, kind) in [(&backing, "chain"), (&data_file, "format")] {
            place.write(image);
            expect_error(reference, place.disk(OpenOptions::default()), kind, "--allow");
        }
    }
    for allowed in ["secrets", "secrets/secret.raw"] {
        let allow = vec![place.bench.path(allowed)];
        let backing_format = Some("raw");
        place.write(&Qcow2 { backing: Some(&secret), backing_format, data_file: None });
        let options = OpenOptions { allow: allow.clone(), ..OpenOptions::default() };
        let disk = place.disk(options).expect("it is granted");
        assert_eq!(head(&disk, SECRET.len()), SECRET);
        place.write(&Qcow2 { data_file: Some(&secret), ..Qcow2::default() });
        let options = OpenOptions { allow, ..OpenOptions::default() };
        place.disk(options).expect("it is granted");
    }
}

/// A chain that comes back to itself.
#[test]
fn a_chain_in_a_circle_is_refused() {
    let place = Place::new();
    let circle =
        |name| Qcow2 { backing: Some(name), backing_format: Some("qcow2"), ..Qcow2::default() };
    place.write(&circle("other"));
    place.bench.write("images/other", &circle("image").bytes());
    expect_error("two images", place.disk(OpenOptions::default()), "chain", "comes back to");
    place.write(&circle("./image"));
    expect_error("one image", place.disk(OpenOptions::default()), "chain", "comes back to");
}
