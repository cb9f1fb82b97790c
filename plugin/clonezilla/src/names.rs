//! Names of devices, and what the files of their partitions are called by them.

use alloc::format;
use alloc::string::{String, ToString};

/// The longest name of a device that is looked for.
const LENGTH_LIMIT: usize = 128;

/// Whether a name is one of a file beside the entry, and leads nowhere else. A plus sign
/// occurs in names of logical volumes and in `hfs+`.
pub fn is_plain(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-+".contains(&byte);
    !name.is_empty() && !name.starts_with('.') && name.bytes().all(plain)
}

/// What a device is called in names of files: `/dev/vg/root` is `vg-root`, and
/// `/dev/mapper/home` is `home`. `None` where that would be no plain name.
pub fn file_name(device: &str) -> Option<String> {
    let name = device.strip_prefix("/dev/").unwrap_or(device);
    let name = name.strip_prefix("mapper/").unwrap_or(name).replace('/', "-");
    (is_plain(&name) && name.len() <= LENGTH_LIMIT).then_some(name)
}

/// The disk that a partition lies on, by its name: `sda1` on `sda`, `nvme0n1p2` on
/// `nvme0n1`. A name without a number is a disk's own.
pub fn disk_of(partition: &str) -> &str {
    let stem = partition.trim_end_matches(|letter: char| letter.is_ascii_digit());
    if stem.len() == partition.len() {
        return partition;
    }
    match stem.strip_suffix('p') {
        Some(disk) if disk.ends_with(|letter: char| letter.is_ascii_digit()) => disk,
        _ => stem,
    }
}

/// The name of a disk's partition.
pub fn partition(disk: &str, number: &str) -> String {
    let between = if disk.ends_with(|letter: char| letter.is_ascii_digit()) { "p" } else { "" };
    format!("{disk}{between}{number}")
}

/// A text out of an image, short and without control characters.
pub fn shown(text: &str) -> String {
    let printed = text.trim().chars().filter(|letter| !letter.is_control());
    printed.take(LENGTH_LIMIT).collect::<String>().trim().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_have_plain_file_names() {
        for (device, name) in [
            ("/dev/sda1", Some("sda1")),
            ("sda1", Some("sda1")),
            ("/dev/vg/lv_root", Some("vg-lv_root")),
            ("cciss/c0d0p1", Some("cciss-c0d0p1")),
            ("/dev/mapper/luks-9f", Some("luks-9f")),
            ("/dev/", None),
            ("../sda1", None),
            ("sd a", None),
            ("sda\0", None),
            ("sdä1", None),
        ] {
            assert_eq!(file_name(device).as_deref(), name, "{device}");
        }
        assert_eq!(file_name(&"a".repeat(129)), None);
    }

    #[test]
    fn partitions_lie_on_disks() {
        for (whole, disk, number) in [
            ("sda1", "sda", "1"),
            ("sda12", "sda", "12"),
            ("nvme0n1p2", "nvme0n1", "2"),
            ("mmcblk0p1", "mmcblk0", "1"),
            ("vdp3", "vdp", "3"),
        ] {
            assert_eq!(disk_of(whole), disk);
            assert_eq!(partition(disk, number), whole);
        }
        assert_eq!(disk_of("sda"), "sda");
    }
}
