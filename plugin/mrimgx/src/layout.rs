//! The JSON that describes an image: what of it matters here. Keys that are absent are
//! zero, false or empty, whatever the published schema requires.

use alloc::string::String;

use serde::Deserialize;

use crate::bounded::Bounded;

/// The whole.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Layout {
    /// What this file is.
    #[serde(rename = "_header")]
    pub header: Header,
    /// How blocks are compressed.
    #[serde(rename = "_compression")]
    pub compression: Compression,
    /// How blocks are encrypted.
    #[serde(rename = "_encryption")]
    pub encryption: Encryption,
    /// About the backup.
    #[serde(rename = "_auxiliary_data")]
    pub auxiliary: Auxiliary,
    /// The disks, in the order of their metadata.
    pub disks: Bounded<Disk, 64>,
}

/// What a file is.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Header {
    /// Sixteen hexadecimal digits, shared by all files of a set.
    pub imageid: String,
    /// Counts the files of a set.
    pub file_number: u16,
    /// Counts the backups of a set.
    pub increment_number: u16,
    /// The index holds changes only.
    pub delta_index: Option<bool>,
    /// The index is in a later file.
    pub split_file: bool,
    /// Files that were merged into this one.
    pub merged_files: Bounded<i64, 65536>,
    /// Where the metadata of disks begin.
    pub index_file_position: u64,
    /// `full`, `inc` or `diff`.
    pub backup_type: String,
    /// `partition` or `file_and_folder`.
    pub backup_format: String,
    /// When, in seconds since 1970.
    pub backup_time: i64,
    /// The computer's name.
    pub netbios_name: String,
}

/// How blocks are compressed.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Compression {
    /// `none`, `medium` or `high`.
    pub compression_level: String,
    /// `zstd`.
    pub compression_method: String,
}

/// How blocks are encrypted.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Encryption {
    /// They are.
    pub enable: bool,
    /// `aes-128`, `aes-192`, `aes-256` or `none`.
    pub aes_type: String,
    /// Rounds of the derivation.
    pub key_iterations: u64,
    /// Proves the password, in hexadecimal.
    pub hmac: String,
    /// `pbkdf2`.
    pub key_derivation: String,
}

/// About the backup.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Auxiliary {
    /// How it was set up.
    pub backup_definition: Definition,
    /// What wrote it.
    pub macrium_reflect: Version,
}

/// How a backup was set up.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Definition {
    /// What the user wrote about it.
    pub comment: String,
}

/// A version of Reflect.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Version {
    /// First number.
    pub major: u32,
    /// Second number.
    pub minor: u32,
    /// Last number.
    pub build: u32,
}

/// A disk.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Disk {
    /// What it is.
    #[serde(rename = "_header")]
    pub header: DiskHeader,
    /// How large it is.
    #[serde(rename = "_geometry")]
    pub geometry: DiskGeometry,
    /// What it calls itself.
    #[serde(rename = "_descriptor")]
    pub descriptor: Descriptor,
    /// Its partitions that were backed up, in the order of their metadata.
    pub partitions: Bounded<Partition, 256>,
}

/// What a disk is.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct DiskHeader {
    /// Windows' number of it.
    pub disk_number: i32,
    /// `mbr`, `gpt`, `dynamic` or `unknown`.
    pub disk_format: String,
    /// A GUID, or a number.
    pub disk_signature: String,
}

/// How large a disk is.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct DiskGeometry {
    /// Bytes a sector.
    pub bytes_per_sector: u32,
    /// Bytes in all.
    pub disk_size: u64,
}

/// What a disk calls itself.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Descriptor {
    /// Vendor and model.
    pub disk_description: String,
    /// Its serial number.
    pub disk_serialno: String,
}

/// A partition.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Partition {
    /// How it is cut into blocks.
    #[serde(rename = "_header")]
    pub header: PartitionHeader,
    /// Where it lies.
    #[serde(rename = "_geometry")]
    pub geometry: PartitionGeometry,
    /// What is on it.
    #[serde(rename = "_file_system")]
    pub file_system: FileSystem,
}

/// How a partition is cut into blocks.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct PartitionHeader {
    /// Bytes a block.
    pub block_size: u64,
    /// Blocks in all.
    pub block_count: u64,
    /// The program's number of it.
    pub partition_number: i32,
    /// The files of the set, as they were called when they were written.
    pub file_history: Bounded<FileName, 65536>,
}

/// A file of the set.
#[derive(Debug, Clone, Deserialize)]
pub struct FileName {
    /// Its path on Windows.
    #[serde(default)]
    pub file_name: String,
    /// Its number.
    pub file_number: i64,
}

/// Where a partition lies, in bytes of the disk.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct PartitionGeometry {
    /// Its beginning.
    pub start: u64,
    /// Its length.
    pub length: u64,
    /// Where in it its boot sector is.
    pub boot_sector_offset: u64,
}

/// What is on a partition.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct FileSystem {
    /// Where it begins, in bytes of the disk.
    pub start: u64,
    /// Where its first cluster is, in bytes of the disk.
    pub lcn0_offset: u64,
    /// Bytes before the first cluster that are stored apart.
    pub reserved_sectors_byte_length: u64,
    /// Its name.
    #[serde(rename = "type")]
    pub kind: String,
    /// What the user calls it.
    pub volume_label: String,
}
