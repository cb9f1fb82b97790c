//! GUIDs as descriptors write them: in braces or without, in either case.

use core::fmt;

/// The name of an image or of a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Guid(u128);

impl Guid {
    /// The parent of what has none.
    pub const ZERO: Self = Self(0);
    /// The state that is written to, where the descriptor names no other.
    pub const TOP: Self = Self(0x5fba_abe3_6958_40ff_92a7_860e_329a_ab41);

    /// Reads a text; `None` where it is no GUID.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let inner = text.strip_prefix('{').and_then(|text| text.strip_suffix('}'));
        let mut groups = inner.unwrap_or(text).split('-');
        let mut value = 0;
        for length in [8, 4, 4, 4, 12] {
            let group = groups.next().filter(|group| group.len() == length)?;
            for letter in group.chars() {
                value = value << 4 | u128::from(letter.to_digit(16)?);
            }
        }
        groups.next().is_none().then_some(Self(value))
    }
}

impl fmt::Display for Guid {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(value) = self;
        let group = |shift: u32, digits: u32| value >> shift & ((1 << (4 * digits)) - 1);
        write!(out, "{{{:08x}-{:04x}-", group(96, 8), group(80, 4))?;
        write!(out, "{:04x}-{:04x}-{:012x}}}", group(64, 4), group(48, 4), group(0, 12))
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    #[test]
    fn guids_come_with_braces_and_without() {
        let text = "{5fbaabe3-6958-40ff-92a7-860e329aab41}";
        assert_eq!(Guid::parse(text), Some(Guid::TOP));
        assert_eq!(Guid::TOP.to_string(), text);
        assert_eq!(Guid::parse("5FBAABE3-6958-40FF-92A7-860E329AAB41"), Some(Guid::TOP));
        for wrong in ["", "{}", "5fbaabe3695840ff92a7860e329aab41", "{5fbaabe3-6958-40ff-92a7-é}"]
        {
            assert_eq!(Guid::parse(wrong), None, "{wrong}");
        }
    }
}
