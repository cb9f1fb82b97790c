//! Hand-made qcow2 images, with references that no tool would write.

const CLUSTER: usize = 64 << 10;
const BACKING_FORMAT: u32 = 0xe279_2aca;
const DATA_FILE: u32 = 0x4441_5441;

/// An empty disk of 1 MiB, and what its header names.
#[derive(Default)]
pub struct Qcow2<'a> {
    /// The backing file.
    pub backing: Option<&'a str>,
    /// The recorded format of the backing file.
    pub backing_format: Option<&'a str>,
    /// The external data file.
    pub data_file: Option<&'a str>,
}

impl Qcow2<'_> {
    /// The image's bytes: header, refcount table, refcount block, level-1 table.
    pub fn bytes(&self) -> Vec<u8> {
        let mut extensions = Vec::new();
        for (kind, text) in [(BACKING_FORMAT, self.backing_format), (DATA_FILE, self.data_file)] {
            if let Some(text) = text {
                extensions.extend(kind.to_be_bytes());
                extensions.extend((text.len() as u32).to_be_bytes());
                extensions.extend(text.as_bytes());
                extensions.resize(extensions.len().next_multiple_of(8), 0);
            }
        }
        extensions.extend([0; 8]);
        let backing = self.backing.unwrap_or_default();
        let backing_offset = if backing.is_empty() { 0 } else { 104 + extensions.len() as u64 };

        let mut image = b"QFI\xfb".to_vec();
        image.extend(3_u32.to_be_bytes());
        image.extend(backing_offset.to_be_bytes());
        for number in [backing.len() as u32, 16] {
            image.extend(number.to_be_bytes());
        }
        image.extend((1_u64 << 20).to_be_bytes());
        // No encryption, one level-1 entry, at the fourth cluster.
        image.extend([0, 0, 0, 0, 0, 0, 0, 1]);
        image.extend((3 * CLUSTER as u64).to_be_bytes());
        image.extend((CLUSTER as u64).to_be_bytes());
        // One refcount cluster, no snapshots.
        image.extend([0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        let external: u64 = if self.data_file.is_some() { 1 << 2 } else { 0 };
        for features in [external, 0, 0] {
            image.extend(features.to_be_bytes());
        }
        for number in [4_u32, 104] {
            image.extend(number.to_be_bytes());
        }
        image.extend(extensions);
        image.extend(backing.as_bytes());

        image.resize(4 * CLUSTER, 0);
        image[CLUSTER..CLUSTER + 8].copy_from_slice(&(2 * CLUSTER as u64).to_be_bytes());
        for cluster in 0..4 {
            image[2 * CLUSTER + 2 * cluster + 1] = 1;
        }
        image
    }
}
