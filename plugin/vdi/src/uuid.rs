//! UUIDs as VirtualBox writes them: the first three groups little-endian in the file.

use alloc::format;
use alloc::string::String;

use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

/// A UUID as it lies on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Uuid {
    first: U32,
    second: U16,
    third: U16,
    fourth: [u8; 2],
    node: [u8; 6],
}

impl Uuid {
    /// Whether all bytes are zero, which says that there is none.
    pub fn is_nil(&self) -> bool {
        let Self { first, second, third, fourth, node } = self;
        first.get() == 0
            && second.get() == 0
            && third.get() == 0
            && *fourth == [0; 2]
            && *node == [0; 6]
    }

    /// Its text, lower case, without braces.
    pub fn text(&self) -> String {
        let Self { first, second, third, fourth, node } = self;
        let (first, second, third) = (first.get(), second.get(), third.get());
        let [a, b] = *fourth;
        let mut text = format!("{first:08x}-{second:04x}-{third:04x}-{a:02x}{b:02x}-");
        node.iter().for_each(|byte| text.push_str(&format!("{byte:02x}")));
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_groups_are_little_endian() {
        let bytes: [u8; 16] = core::array::from_fn(|at| at as u8 + 0xa0);
        let uuid = Uuid::read_from_bytes(&bytes).unwrap();
        assert_eq!(uuid.text(), "a3a2a1a0-a5a4-a7a6-a8a9-aaabacadaeaf");
        assert!(!uuid.is_nil());
        assert!(Uuid::read_from_bytes(&[0; 16]).unwrap().is_nil());
    }
}
