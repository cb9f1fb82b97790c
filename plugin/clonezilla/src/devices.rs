//! What the folder's texts say of devices: which file system each holds, and where it lay
//! on its disk. Hints all of it: what is not there or not understood is not known.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use crate::names::{self, file_name, shown};

/// The most devices that are kept in mind.
const DEVICE_LIMIT: usize = 4096;

/// A device, as far as it is known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Device {
    pub file_system: Option<String>,
    /// First byte on the disk.
    pub start: Option<u64>,
    /// Size in bytes.
    pub size: Option<u64>,
    /// The partition's type: a number, or a UUID.
    pub kind: Option<String>,
}

/// A disk that partitions were saved from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Table {
    /// Its kind, `dos` or `gpt`.
    pub label: Option<String>,
    /// Its signature or UUID.
    pub identity: Option<String>,
}

/// Devices by the names that their files have.
#[derive(Debug, Default)]
pub struct Devices {
    by_name: BTreeMap<String, Device>,
}

impl Devices {
    /// What is known of the device whose files are called `name`.
    pub fn get(&self, name: &str) -> Device {
        self.by_name.get(name).cloned().unwrap_or_default()
    }

    /// The devices that are said to hold swap space.
    pub fn swaps(&self) -> impl Iterator<Item = &String> {
        let swaps = self.by_name.iter().filter(|(_, device)| device.is_swap());
        swaps.map(|(name, _)| name)
    }

    /// Notes a file system; what was noted before is kept.
    fn note(&mut self, device: &str, file_system: &str) {
        let file_system = match file_system {
            swap if swap.starts_with("linux-swap") => "swap",
            other => other,
        };
        if let Some(known) = self.entry(device) {
            known.file_system.get_or_insert_with(|| shown(file_system));
        }
    }

    /// The entry of a device that can be one, while there is room.
    fn entry(&mut self, device: &str) -> Option<&mut Device> {
        let name = file_name(device)?;
        let room = self.by_name.len() < DEVICE_LIMIT || self.by_name.contains_key(&name);
        room.then(|| self.by_name.entry(name).or_default())
    }

    /// `dev-fs.list`: a device, its file system and its size a line, as they were saved.
    /// The size stands alone where the file system was not known.
    pub fn read_file_systems(&mut self, text: &str) {
        for line in text.lines().filter(|line| line.starts_with("/dev/")) {
            let mut words = line.split_whitespace();
            let device = words.next();
            let is_size = |word: &&str| word.starts_with(|letter: char| letter.is_ascii_digit());
            let file_system = words.next().filter(|word| !is_size(word));
            if let (Some(device), Some(file_system)) = (device, file_system) {
                self.note(device, file_system);
            }
        }
    }

    /// `blkdev.list`: what `lsblk` prints, in columns.
    pub fn read_blocks(&mut self, text: &str) {
        let mut lines = text.lines();
        let Some(header) = lines.next() else { return };
        for line in lines {
            let Some(file_system) = column(header, "FSTYPE", line) else { continue };
            // The kernel's name, and the mapper's behind the lines of a tree.
            let mut words = line.split_whitespace();
            let own = words.next();
            let other = words.next().map(|name| name.trim_start_matches(['|', '`', '-']));
            own.into_iter().chain(other).for_each(|name| self.note(name, file_system));
        }
    }

    /// `DISK-pt.parted`: what `parted` prints, in columns.
    pub fn read_parted(&mut self, disk: &str, text: &str) {
        let mut lines = text.lines().skip_while(|line| !line.starts_with("Number"));
        let Some(header) = lines.next() else { return };
        for line in lines {
            let number = line.split_whitespace().next();
            let number = number.filter(|number| number.bytes().all(|byte| byte.is_ascii_digit()));
            if let (Some(number), Some(file_system)) = (number, column(header, "File system", line))
            {
                self.note(&names::partition(disk, number), file_system);
            }
        }
    }

    /// `DISK-pt.sf`: what `sfdisk --dump` prints. Answers what it says of the disk.
    pub fn read_table(&mut self, text: &str) -> Table {
        let (mut table, mut sector) = (Table::default(), 512);
        for line in text.lines() {
            if line.starts_with("/dev/") {
                self.add_partition(line, sector);
                continue;
            }
            match line.split_once(':').map(|(field, value)| (field, value.trim())) {
                Some(("label", value)) => table.label = Some(shown(value)),
                Some(("label-id", value)) => table.identity = Some(shown(value)),
                Some(("sector-size", value)) => sector = value.parse().unwrap_or(sector),
                _ => (),
            }
        }
        table
    }

    /// `/dev/sda1 : start= 2048, size= 4096, type=83`; older ones say `Id=`.
    fn add_partition(&mut self, line: &str, sector: u64) {
        let Some((device, fields)) = line.split_once(" :") else { return };
        let fields: Vec<(&str, &str)> = fields
            .split(',')
            .filter_map(|field| field.split_once('='))
            .map(|(field, value)| (field.trim(), value.trim()))
            .collect();
        let value = |wanted: &str| {
            let found = fields.iter().find(|(field, _)| field.eq_ignore_ascii_case(wanted));
            found.map(|(_, value)| *value)
        };
        let bytes = |field| value(field)?.parse::<u64>().ok()?.checked_mul(sector);
        // Sizes of 0 stand for numbers that no partition has.
        let Some(size) = bytes("size").filter(|size| *size > 0) else { return };
        let Some(known) = self.entry(device.trim()) else { return };
        known.start = bytes("start");
        known.size = Some(size);
        known.kind = value("type").or_else(|| value("id")).map(shown);
    }
}

impl Device {
    /// Whether it is said to hold swap space.
    pub fn is_swap(&self) -> bool {
        self.file_system.as_deref() == Some("swap")
    }

    /// What is known of it, for people.
    pub fn describe(&self) -> Vec<String> {
        let mut facts: Vec<String> = self.file_system.iter().map(ToString::to_string).collect();
        facts.extend(self.size.map(|size| format!("{size} bytes")));
        facts.extend(self.start.map(|start| format!("from byte {start} of its disk")));
        facts.extend(self.kind.as_ref().map(|kind| format!("type {kind}")));
        facts
    }
}

/// What stands in a line below a header's word and before the next word.
fn column<'a>(header: &str, word: &str, line: &'a str) -> Option<&'a str> {
    let start = header.find(word)?;
    let behind = header.get(start + word.len()..)?;
    let gap = behind.len() - behind.trim_start().len();
    let end = match behind.len() {
        length if length == gap => line.len(),
        _ => (start + word.len() + gap).min(line.len()),
    };
    let text = line.get(start..end)?.trim();
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BLOCKS: &str = "\
KNAME NAME          SIZE TYPE FSTYPE      MOUNTPOINT MODEL
sda   sda          50.5G disk                        VBOX HARDDISK
sda1  |-sda1         48G part ext4        /mnt
sda2  `-sda2        2.5G part LVM2_member
dm-0    `-vg-root     2G lvm  xfs
sda3                     part
";
    const PARTED: &str = "\
Model: ATA VBOX HARDDISK (scsi)
Disk /dev/nvme0n1: 105906176s

Number  Start       End         Size        Type     File system     Flags
 1      2048s       100610047s  100608000s  primary                  boot
 2      100610048s  105906175s  5296128s    primary  linux-swap(v1)
";
    const TABLE: &str = "\
label: dos
label-id: 0x87e994cc
unit: sectors
sector-size: 4096

/dev/sda1 : start=        2048, size=   100608000, type=83, bootable
/dev/sda2 : start=   1, size=     0, Id= 0
/dev/sda3 : start=   18446744073709551615, size= 5, Id=8e
/dev/../x : start=   1, size= 5, Id=8e
";

    #[test]
    fn columns_are_read_where_they_stand() {
        let mut devices = Devices::default();
        devices.read_blocks(BLOCKS);
        let system = |devices: &Devices, name| devices.get(name).file_system.unwrap_or_default();
        for (name, expected) in [
            ("sda", ""),
            ("sda1", "ext4"),
            ("sda2", "LVM2_member"),
            ("vg-root", "xfs"),
            ("dm-0", "xfs"),
            ("sda3", ""),
        ] {
            assert_eq!(system(&devices, name), expected, "{name}");
        }
        devices.read_parted("nvme0n1", PARTED);
        assert_eq!(system(&devices, "nvme0n1p1"), "");
        assert_eq!(devices.swaps().collect::<Vec<_>>(), ["nvme0n1p2"]);
        devices.read_file_systems(
            "# <Device name>\n/dev/sda1 ntfs 4G\n/dev/vg/home ext4\n/dev/sda4  5G\n",
        );
        assert_eq!(system(&devices, "sda1"), "ext4", "what was noted first is kept");
        assert_eq!(system(&devices, "vg-home"), "ext4");
        assert_eq!(system(&devices, "sda4"), "");
    }

    #[test]
    fn tables_give_places() {
        let mut devices = Devices::default();
        let table = devices.read_table(TABLE);
        assert_eq!(table.label.as_deref(), Some("dos"));
        assert_eq!(table.identity.as_deref(), Some("0x87e994cc"));
        let first = devices.get("sda1");
        assert_eq!((first.start, first.size), (Some(2048 * 4096), Some(100_608_000 * 4096)));
        assert_eq!(devices.get("sda2"), Device::default());
        let third = devices.get("sda3");
        assert_eq!((third.start, third.size, &*third.kind.unwrap()), (None, Some(20480), "8e"));
    }
}
