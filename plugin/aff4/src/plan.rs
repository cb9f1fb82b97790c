//! What the volumes add up to: disks, the maps and streams that hold their bytes, and the
//! streams that are in no volume.
//!
//! Source: AFF4 Standard v1.0a, sections 2, 4 and 7.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use fumehood_plugin::{Error, Result};

use crate::graph::Object;
use crate::stream::Stream;
use crate::symbol::Symbol;
use crate::text::shown;
use crate::volume::{Volume, volume_of};
use crate::zip::{Member, contents};

/// The most of each that an image has.
const MOST_DISKS: usize = 64;
const MOST_TARGETS: usize = 4096;
const MOST_STREAMS: usize = 256;
/// Bytes of a map's list of targets, and of those of all maps.
const MOST_IDX: u64 = 1 << 20;
const MOST_IDX_IN_ALL: u64 = 4 << 20;
/// Sector sizes that disks have.
const SECTORS: core::ops::RangeInclusive<u64> = 512..=65536;

/// What a range of a map shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// A symbolic stream.
    Symbol(Symbol),
    /// A stream, by its place in the plan.
    Stream(usize),
    /// A stream that is not there, by its URN.
    Lost(String),
}

/// A map.
#[derive(Debug, Clone)]
pub struct Map {
    /// Its URN.
    pub urn: String,
    /// The place of the volume that stores it.
    pub volume: usize,
    /// Its entries.
    pub member: Member,
    /// What they name by number.
    pub targets: Vec<Target>,
    /// What fills the gaps between them.
    pub gap: Symbol,
}

/// What holds a disk's bytes, by its place in the plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Data {
    /// A map.
    Map(usize),
    /// A stream.
    Stream(usize),
}

/// A disk.
#[derive(Debug, Clone)]
pub struct DiskPlan {
    /// The URN of the image, or of the data where no image names it.
    pub urn: String,
    /// The URN of the data.
    pub data_urn: String,
    /// The data.
    pub data: Data,
    /// In bytes, if it is stated.
    pub size: Option<u64>,
    /// Bytes a sector.
    pub sector: u32,
}

/// All of it.
#[derive(Default)]
pub struct Plan {
    /// In the order of their URNs.
    pub disks: Vec<DiskPlan>,
    /// Maps that hold a disk's bytes.
    pub maps: Vec<Map>,
    /// Streams that hold a disk's or a map's bytes.
    pub streams: Vec<Stream>,
    /// Bytes of lists of targets so far.
    listed: u64,
}

impl Plan {
    /// What the volumes hold, of which the first one says what there is.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for what is not read, by name; [`Error::Missing`] without
    /// any image; [`Error::Corrupt`].
    pub fn of(volumes: &[Volume]) -> Result<Self> {
        let main = volumes.first().ok_or(Error::OutOfRange)?;
        let mut plan = Self::default();
        let mut found: Vec<(&str, &str, Option<&Object>)> = Vec::new();
        for kind in ["Image", "DiskImage", "ContiguousImage"] {
            let images = main.graph.of_type(kind);
            found.extend(
                images
                    .filter_map(|(urn, image)| Some((urn, image.iri("dataStream")?, Some(image)))),
            );
        }
        found.sort_by_key(|(urn, data, _)| (*urn, *data));
        found.dedup_by_key(|(urn, data, _)| (*urn, *data));
        if found.is_empty() {
            refuse_relatives(main)?;
            // Before the standard, and of some tools since: the map is the image.
            for kind in ["Map", "ImageStream", "stream"] {
                if found.is_empty() {
                    let own = main.graph.of_type(kind).filter(|(urn, _)| main.own(urn).is_some());
                    found.extend(own.map(|(urn, _)| (urn, urn, None)));
                }
            }
        }
        if found.is_empty() {
            return Err(Error::Missing(format!("{} describes no image of a disk", main.name)));
        }
        if found.len() > MOST_DISKS {
            return Err(Error::Unsupported(format!("more than {MOST_DISKS} images in one volume")));
        }
        for (urn, data, image) in found {
            plan.add_disk(volumes, urn, data, image)?;
        }
        Ok(plan)
    }

    /// The URNs of streams that no volume stores.
    pub fn lost(&self) -> impl Iterator<Item = &str> {
        self.maps.iter().flat_map(|map| &map.targets).filter_map(|target| match target {
            Target::Lost(urn) => Some(urn.as_str()),
            _ => None,
        })
    }

    fn add_disk(
        &mut self,
        volumes: &[Volume],
        urn: &str,
        data_urn: &str,
        image: Option<&Object>,
    ) -> Result<()> {
        let Some((volume, home, object)) = volume_of(volumes, data_urn) else {
            return Err(Error::Missing(format!(
                "the data {} of image {}: name the file that holds it",
                shown(data_urn),
                shown(urn)
            )));
        };
        let data = if object.is("Map") {
            Data::Map(self.add_map(volumes, (volume, home), data_urn, object)?)
        } else if is_stream(object) {
            Data::Stream(self.add_stream((volume, home), data_urn, object)?)
        } else {
            let what = format!("image {}: its data is neither a map nor a stream", shown(urn));
            return Err(Error::Unsupported(what));
        };
        let described = image.unwrap_or(object);
        let number = |object: &Object, property| {
            let corrupt = |what| home.corrupt(&format!("image {}: {what}", shown(urn)));
            object.number(property).map_err(corrupt)
        };
        let size = match number(described, "size")? {
            Some(size) => Some(size),
            None => number(object, "size")?,
        };
        let sector = number(described, "blockSize")?.unwrap_or(*SECTORS.start());
        let fits = SECTORS.contains(&sector) && sector.is_power_of_two();
        self.disks.push(DiskPlan {
            urn: urn.to_string(),
            data_urn: data_urn.to_string(),
            data,
            size,
            sector: if fits { sector as u32 } else { *SECTORS.start() as u32 },
        });
        Ok(())
    }

    fn add_map(
        &mut self,
        volumes: &[Volume],
        (volume, home): (usize, &Volume),
        urn: &str,
        object: &Object,
    ) -> Result<usize> {
        if let Some(place) = self.maps.iter().position(|map| map.urn == urn) {
            return Ok(place);
        }
        let part = |name: &str| {
            let missing =
                || Error::Missing(format!("{name} of map {} in {}", shown(urn), home.name));
            home.member(&format!("{urn}/{name}")).ok_or_else(missing)
        };
        let (member, idx) = (part("map")?, part("idx")?);
        let most = MOST_IDX.min(MOST_IDX_IN_ALL.saturating_sub(self.listed));
        let idx = contents(&*home.source, &idx, most, "idx of a map")?;
        self.listed += idx.len() as u64;
        let mut targets = Vec::new();
        // Every line may end with a line feed, or every line but the last.
        let lines = idx.strip_suffix(b"\n").unwrap_or(&idx);
        for line in lines.split(|byte| *byte == b'\n').map(String::from_utf8_lossy) {
            if targets.len() == MOST_TARGETS {
                let what = format!("map {} has more than {MOST_TARGETS} targets", shown(urn));
                return Err(Error::Unsupported(what));
            }
            targets.push(self.target(volumes, line.trim())?);
        }
        let gap = match object.iri("mapGapDefaultStream") {
            None => Symbol::ZERO,
            Some(iri) => Symbol::of(iri).ok_or_else(|| {
                Error::Unsupported(format!("map {} fills its gaps from {}", shown(urn), shown(iri)))
            })?,
        };
        self.maps.push(Map { urn: urn.to_string(), volume, member, targets, gap });
        Ok(self.maps.len() - 1)
    }

    fn target(&mut self, volumes: &[Volume], urn: &str) -> Result<Target> {
        if let Some(symbol) = Symbol::of(urn) {
            return Ok(Target::Symbol(symbol));
        }
        match volume_of(volumes, urn) {
            Some((volume, home, object)) if is_stream(object) => {
                Ok(Target::Stream(self.add_stream((volume, home), urn, object)?))
            }
            Some((_, _, object)) if object.is("EncryptedStream") => Err(encrypted()),
            Some((_, _, object)) if object.is("Map") => {
                Err(Error::Unsupported(format!("a map that shows another map, {}", shown(urn))))
            }
            _ => Ok(Target::Lost(urn.to_string())),
        }
    }

    fn add_stream(
        &mut self,
        (volume, home): (usize, &Volume),
        urn: &str,
        object: &Object,
    ) -> Result<usize> {
        if let Some(place) = self.streams.iter().position(|stream| stream.urn == urn) {
            return Ok(place);
        }
        if self.streams.len() == MOST_STREAMS {
            return Err(Error::Unsupported(format!("more than {MOST_STREAMS} streams")));
        }
        let first = self.streams.last().map_or(0, |last| last.first + last.listed);
        self.streams.push(Stream::read(
            urn,
            volume,
            object,
            (first, home.most_segments()),
            |what| home.corrupt(what),
        )?);
        Ok(self.streams.len() - 1)
    }
}

/// Also as it was called before the standard.
fn is_stream(object: &Object) -> bool {
    object.is("ImageStream") || object.is("stream") || object.is("image") && !object.is("Map")
}

fn encrypted() -> Error {
    Error::Unsupported("an encrypted AFF4 stream: decrypt it with the tool that made it".into())
}

/// What is AFF4 and holds no disk.
fn refuse_relatives(volume: &Volume) -> Result<()> {
    let has = |kind| volume.graph.of_type(kind).next().is_some();
    if has("EncryptedStream") || has("KeyBag") || has("PasswordWrappedKeyBag") {
        return Err(encrypted());
    }
    if has("FileImage") || has("LogicalAcquisitionTask") || has("Folder") {
        let what = "a logical image (AFF4-L): it holds files, and no disk";
        return Err(Error::Unsupported(what.into()));
    }
    Ok(())
}
