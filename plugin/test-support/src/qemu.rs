//! What QEMU makes and reads in a test's directory.

use std::fs;

use crate::bench::Bench;
use crate::tool::run;

impl Bench {
    /// What QEMU reads from the image `name` in the directory.
    pub fn qemu_reads(&self, format: &str, name: &str) -> Vec<u8> {
        self.run("qemu-img", &["convert", "-f", format, "-O", "raw", name, "theirs.raw"]);
        let disk = self.read("theirs.raw");
        // The image may be a set of files of which this would be taken for one.
        fs::remove_file(self.path("theirs.raw")).unwrap();
        disk
    }

    /// What QEMU reads from an image.
    pub fn by_qemu(&self, format: &str, image: &[u8]) -> Vec<u8> {
        self.write("theirs", image);
        self.qemu_reads(format, "theirs")
    }

    /// An image that QEMU makes with these options, the disk's size the last, and then
    /// carries out commands on.
    pub fn made_by_qemu(&self, format: &str, options: &[&str], commands: &[&str]) -> Vec<u8> {
        let path = self.text("disk");
        let (size, options) = options.split_last().expect("the size");
        run("qemu-img", &[&["create", "-q", "-f", format], options, &[&path, size]].concat());
        qemu_io(format, &path, commands);
        self.read("disk")
    }
}

/// Has QEMU carry out commands on the image at `path`.
pub fn qemu_io(format: &str, path: &str, commands: &[&str]) {
    for command in commands {
        let said = run("qemu-io", &["-f", format, "-c", command, path]);
        assert!(!said.contains("failed"), "{command}: {said}");
    }
}
