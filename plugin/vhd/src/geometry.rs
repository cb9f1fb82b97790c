//! Cylinders, heads and sectors (specification, "Appendix: CHS Calculation"), and
//! which of a disk's two sizes holds.

use fumehood_plugin::{Error, Result};

/// Bytes a sector.
pub const SECTOR: u64 = 512;
/// The largest disk: sector numbers in the table have 32 bits, and Hyper-V stops here.
pub const SIZE_LIMIT: u64 = 2040 << 30;

const CYLINDER_LIMIT: u64 = 65_535;

/// A disk's geometry as the footer records it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Geometry {
    /// Cylinders.
    pub cylinders: u16,
    /// Heads.
    pub heads: u8,
    /// Sectors a track.
    pub sectors: u8,
}

impl Geometry {
    /// The largest geometry, which says nothing of the size.
    pub const LARGEST: Self = Self { cylinders: 65_535, heads: 16, sectors: 255 };

    /// The geometry of a disk of `size` bytes.
    pub fn of(size: u64) -> Self {
        let total = (size / SECTOR).min(Self::LARGEST.bytes() / SECTOR);
        let (mut sectors, mut heads) = (255, 16);
        if total < CYLINDER_LIMIT * 16 * 63 {
            sectors = 17;
            heads = (total / sectors).div_ceil(1024).max(4);
            if total / sectors >= heads * 1024 || heads > 16 {
                (sectors, heads) = (31, 16);
            }
            if total / sectors >= heads * 1024 {
                (sectors, heads) = (63, 16);
            }
        }
        // The limits above keep all three in their fields.
        let cylinders = (total / sectors / heads) as u16;
        Self { cylinders, heads: heads as u8, sectors: sectors as u8 }
    }

    /// The size it stands for.
    pub fn bytes(self) -> u64 {
        u64::from(self.cylinders) * u64::from(self.heads) * u64::from(self.sectors) * SECTOR
    }
}

/// Which of the two recorded sizes an operator wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SizeRule {
    /// By the creator: Virtual PC shows its guests the geometry, all others the size.
    ByCreator,
    /// The recorded size.
    Current,
    /// The geometry.
    Geometry,
}

impl SizeRule {
    /// The rule that the setting `size` names.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for another value than `current` and `chs`.
    pub fn from_settings(
        settings: &[(alloc::string::String, alloc::string::String)],
    ) -> Result<Self> {
        match settings.iter().find(|(name, _)| name == "size").map(|(_, value)| value.as_str()) {
            None => Ok(Self::ByCreator),
            Some("current") => Ok(Self::Current),
            Some("chs") => Ok(Self::Geometry),
            Some(_) => Err(Error::Unsupported("size is \"current\" or \"chs\"".into())),
        }
    }

    /// The size of a disk with these two. The geometry is rounded down, so it never
    /// adds anything.
    pub fn choose(self, creator: [u8; 4], current: u64, geometry: Geometry) -> u64 {
        let by_geometry = match self {
            Self::ByCreator => creator == *b"vpc ",
            Self::Current => false,
            Self::Geometry => true,
        };
        if by_geometry && geometry != Geometry::LARGEST && geometry.bytes() > 0 {
            geometry.bytes().min(current)
        } else {
            current
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn geometries_are_those_of_the_specification() {
        let cases = [
            (10 << 20, (301, 4, 17)),
            (500 << 20, (1015, 16, 63)),
            (20 << 30, (41_610, 16, 63)),
            (127 << 30, (65_278, 16, 255)),
            (2040 << 30, (65_535, 16, 255)),
        ];
        for (size, (cylinders, heads, sectors)) in cases {
            assert_eq!(Geometry::of(size), Geometry { cylinders, heads, sectors }, "{size}");
        }
    }
}
