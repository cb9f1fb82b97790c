//! A Linux guest that installs files until its machine is killed.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};

use crate::bench::Bench;
use crate::child::{self, Bounded, await_that};
use crate::peer::root;

/// Emulated, without KVM, and beside other tests a boot takes its time.
const PATIENCE: Duration = Duration::from_secs(150);
/// Making the image may begin with a download.
const DOWNLOAD: Duration = Duration::from_secs(300);

/// Its `/sbin/init`. It says what it finds, and then does what the machine's product
/// name tells it to: end in good order, or install sets of files for ever.
///
/// A set is announced once it is synced. All the while other files come and go that
/// nobody syncs; the kernel writes them back at once, and discards what is deleted.
const INIT: &str = r#"#!/bin/sh
export PATH=/bin:/sbin

say() { echo "fumehood-guest: $*"; }

# Names and contents of a set as one sum.
sum() {
    (cd "$1" && sha256sum -- * | sha256sum | cut -d ' ' -f 1)
}

# Writes that no flush follows.
churn() {
    round=0
    while :; do
        round=$((round + 1))
        head -c $((round % 7 * 30000 + 1000)) /dev/urandom > /churn/new
        mv /churn/new /churn/$((round % 10))
        [ $((round % 3)) != 0 ] || rm -f /churn/$(((round + 5) % 10))
    done
}

install_sets() {
    mount -o remount,rw,discard,commit=1 /
    echo 10 > /proc/sys/vm/dirty_writeback_centisecs
    echo 10 > /proc/sys/vm/dirty_expire_centisecs
    churn &
    set=$(ls /sets | sort -n | tail -n 1)
    while :; do
        set=$((set + 1))
        rm -rf /new "/sets/$((set - 12))"
        mkdir /new
        for file in 1 2 3 4 5 6 7 8 9 10 11 12; do
            head -c $((file * file * 350 + set)) /dev/urandom > "/new/$file"
        done
        ln -s "$file" /new/link
        mv /new "/sets/$set"
        sum=$(sum "/sets/$set")
        sync
        say "synced $set $sum"
    done
}

say "$(dmesg | grep -o 'EXT4-fs.*recovery complete')"
for set in $(ls /sets); do
    say "found $set $(sum "/sets/$set")"
done
sha256sum -c -s /payload.sha256 && say "the payload is right"
read -r order < /sys/class/dmi/id/product_name
case $order in
    install) install_sets ;;
    *)
        mount -o remount,ro / && say "the root is clean"
        poweroff -f
        ;;
esac
"#;

/// A set of files by its number, and the sum over it.
pub type Sets = BTreeMap<u64, String>;

/// Makes `guest.E01` and its further segments: the disk of the boot example with an
/// `/sbin/init` of ours. Answers the names of the segments.
pub fn make_image(bench: &Bench) -> Vec<String> {
    let mut example = Command::new(root().join("examples/boot/run"));
    let outcome = example.arg("--image-only").finish_within(DOWNLOAD);
    assert_eq!(outcome.code, Some(0), "{}{}", outcome.stdout, outcome.stderr);
    let image = root().join("target/boot-example/guest.E01");
    let mut convert = bench.fumehood(["convert", "-O", "raw"]);
    convert.arg(image).arg("disk.raw").succeed();

    bench.write("init", INIT.as_bytes());
    let steps = "rm /sbin/init\nwrite init /sbin/init\nset_inode_field /sbin/init mode 0100755\n\
                 mkdir /sets\nmkdir /churn\n";
    bench.write("steps", steps.as_bytes());
    let partition = format!("disk.raw?offset={}", root_start(&bench.path("disk.raw")));
    bench.peer("debugfs", ["-w", "-f", "steps", &partition]).succeed();
    // debugfs ends with 0 whatever it was told to do.
    let found = bench.peer("debugfs", ["-R", "cat /sbin/init", &partition]).succeed();
    assert_eq!(found.stdout, INIT, "{}", found.stderr);
    let options = ["-c", "fast", "-f", "encase6", "-S", "8388608"];
    bench.acquire("disk.raw", "guest", &options);
    fs::remove_file(bench.path("disk.raw")).expect("just made");
    bench.names().into_iter().filter(|name| name.starts_with("guest.E")).collect()
}

/// Where on a raw disk its second partition begins, in bytes.
fn root_start(disk: &Path) -> u64 {
    /// Where the partition table has the first sector of the second entry.
    const FIRST_SECTOR: u64 = 446 + 16 + 8;
    let mut sector = [0; 4];
    let file = File::open(disk).expect("just made");
    file.read_exact_at(&mut sector, FIRST_SECTOR).expect("a partition table");
    u64::from(u32::from_le_bytes(sector)) * 512
}

/// Cuts the file system with the root out of a raw disk, which ends with it.
pub fn cut_root(bench: &Bench, disk: &str, root: &str) {
    let path = bench.path(disk);
    let mut whole = File::open(&path).expect("just made");
    whole.seek(SeekFrom::Start(root_start(&path))).expect("a file");
    let mut part = File::create(bench.path(root)).expect("our folder");
    io::copy(&mut whole, &mut part).expect("room for a file");
}

/// A running `fumehood boot`, with QEMU in it. Killed when the test ends.
pub struct Guest {
    child: Child,
    console: PathBuf,
    ended: Option<ExitStatus>,
}

impl Guest {
    /// Boots an image with an overlay. `order` is what the guest is to do.
    pub fn boot(bench: &Bench, image: &str, overlay: &str, order: &str) -> Self {
        let console = bench.path("console.log");
        let file = File::create(&console).expect("our folder");
        let mut command = bench.fumehood(["boot", image, "--overlay", overlay, "-m", "256M", "--"]);
        command.arg("-smbios").arg(format!("type=1,product={order}"));
        // What a killed process leaves goes with the bench.
        command.env("TMPDIR", bench.folder()).process_group(0);
        let errors = file.try_clone().expect("a second handle");
        command.stdin(Stdio::null()).stdout(file).stderr(errors);
        Self { child: child::start(&mut command), console, ended: None }
    }

    /// What it said so far, in whole lines.
    pub fn said(&self) -> String {
        let bytes = fs::read(&self.console).unwrap_or_default();
        let end = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        String::from_utf8_lossy(&bytes[..end]).replace('\r', "")
    }

    /// The sets it said `word` of.
    fn sets(&self, word: &str) -> Sets {
        let head = format!("fumehood-guest: {word} ");
        let said = self.said();
        let sets = said.lines().filter_map(|line| {
            let (number, sum) = line.split_once(&head)?.1.split_once(' ')?;
            Some((number.parse().expect("a number"), sum.to_owned()))
        });
        sets.collect()
    }

    /// The sets it found when it booted.
    pub fn found(&self) -> Sets {
        self.sets("found")
    }

    /// The sets it has synced since.
    pub fn synced(&self) -> Sets {
        self.sets("synced")
    }

    /// Waits until it has synced so many further sets.
    pub fn await_synced(&mut self, further: usize) {
        let wanted = self.synced().len() + further;
        await_that("the guest syncs sets", PATIENCE, || {
            let ended = self.child.try_wait().expect("the child is ours");
            assert!(ended.is_none(), "the guest ended: {}", self.said());
            self.synced().len() >= wanted
        });
    }

    /// Kills the command and QEMU, both at once and without warning.
    pub fn kill(&mut self) {
        let group = Pid::from_child(&self.child);
        kill_process_group(group, Signal::KILL).expect("the children are ours");
        self.ended = Some(self.child.wait().expect("the child is ours"));
    }

    /// Waits for its end.
    pub fn ended(&mut self) -> ExitStatus {
        let status = child::wait(&mut self.child, PATIENCE);
        let status = status.unwrap_or_else(|| panic!("the guest did not end: {}", self.said()));
        self.ended = Some(status);
        status
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        if self.ended.is_none() {
            let _ = kill_process_group(Pid::from_child(&self.child), Signal::KILL);
            let _ = self.child.wait();
        }
    }
}
