//! The opened image as the host sees it: its disks, and what is known of them.

use alloc::boxed::Box;
use alloc::format;
use alloc::rc::Rc;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;
use core::cell::RefCell;

use fumehood_plugin::{
    Disk, DiskInfo, Error, Host, Image, ImageInfo, OpenOptions, Progress, Result, SourceHandle,
};

use crate::chain::{DiskChain, build};
use crate::element::Storing;
use crate::keys::Keys;
use crate::layout::{self, Layout};
use crate::map::{DiskMap, Kind};
use crate::metadata::{read_json, read_layout};
use crate::overlay::{MOST, Overlay, too_many};
use crate::partition::{Measures, Stored};
use crate::regions::Regions;
use crate::set::{Found, Survey};
use crate::text::{brief, date};
use crate::track::{Piece, Track, read_track};

/// The text that describes the image.
const DOCUMENT: &str = "image.json";
/// Bytes outside of partitions that are kept, of all disks.
const MOST_PIECES: usize = 16 << 20;

/// A disk, ready to be mapped.
struct Ready {
    info: DiskInfo,
    chain: DiskChain,
    measures: Vec<Measures>,
    overlays: Vec<Rc<RefCell<Overlay>>>,
    pieces: Rc<Vec<Piece>>,
}

/// An opened image.
pub struct MrimgxImage {
    layout: Layout,
    source: SourceHandle,
    storing: Rc<Storing>,
    disks: Vec<Ready>,
    warnings: Vec<String>,
}

impl MrimgxImage {
    /// Opens the image whose state the main file shows.
    ///
    /// # Errors
    /// [`Error::Unsupported`], [`Error::NeedsKey`], [`Error::Missing`], [`Error::Corrupt`]
    /// by what says so.
    pub fn open(main: SourceHandle, host: Rc<dyn Host>, options: &OpenOptions) -> Result<Self> {
        let layout = read_layout(&*main)?;
        refuse(&layout)?;
        let found = Survey::run(main, Rc::clone(&host), layout)?;
        refuse(&found.layout)?;
        let keys = Keys::derive(&found.layout, &options.keys, &*host)?;
        let chains = build(&found)?;
        let target = found.set.own(found.target).ok_or(Error::OutOfRange)?;
        let source = target.source.clone();
        let mut warnings = found.set.warnings.clone();
        warnings.extend(missing_files(&found));
        let mut disks = Vec::new();
        let mut kept = 0;
        for (disk, chain) in found.layout.disks.0.iter().zip(chains) {
            let track = read_track(&*source, disk, &chain.own, keys.as_ref())?;
            kept += track.pieces.iter().map(|piece| piece.bytes.len()).sum::<usize>();
            if kept > MOST_PIECES {
                return Err(Error::Unsupported(format!("{} disks", found.layout.disks.0.len())));
            }
            disks.push(Ready::new(disk, chain, track, &mut warnings)?);
        }
        let compressed =
            !matches!(found.layout.compression.compression_level.as_str(), "" | "none");
        let storing = Rc::new(Storing { set: found.set, compressed, keys });
        Ok(Self { layout: found.layout, source, storing, disks, warnings })
    }

    /// Reads on in the deltas; what is read and what there is.
    fn step(&self) -> Result<Progress> {
        let overlays = || self.disks.iter().flat_map(|disk| &disk.overlays);
        for overlay in overlays() {
            let mut overlay = overlay.borrow_mut();
            let (done, total) = overlay.progress();
            if done < total {
                overlay.step()?;
                break;
            }
            // Empty ones at the end.
            while !overlay.step()? {}
        }
        let mut progress = Progress { done: 0, total: 0 };
        let mut kept = 0;
        for overlay in overlays() {
            let overlay = overlay.borrow();
            let (done, total) = overlay.progress();
            progress.done += done;
            progress.total += total;
            kept += overlay.len();
        }
        if kept > MOST { Err(too_many()) } else { Ok(progress) }
    }
}

/// Refuses by name what the JSON tells of.
fn refuse(layout: &Layout) -> Result<()> {
    if layout.header.backup_format == "file_and_folder" {
        return Err(Error::Unsupported("a backup of files and folders, not of a disk".into()));
    }
    let compression = &layout.compression;
    let zstd = matches!(compression.compression_method.as_str(), "" | "zstd");
    match compression.compression_level.as_str() {
        "" | "none" => Ok(()),
        "medium" | "high" if zstd => Ok(()),
        "medium" | "high" => {
            let method = brief(&compression.compression_method);
            Err(Error::Unsupported(format!("compression by {method:?}")))
        }
        other => Err(Error::Unsupported(format!("compression of level {:?}", brief(other)))),
    }
}

/// Files that the image tells of and that are not there. Their blocks cannot be read.
fn missing_files(found: &Found) -> Vec<String> {
    let partitions = found.layout.disks.0.iter().flat_map(|disk| &disk.partitions.0);
    let files = partitions.flat_map(|partition| &partition.header.file_history.0);
    let numbers = files.filter_map(|file| u16::try_from(file.file_number).ok());
    let mut numbers: Vec<u32> =
        numbers.map(u32::from).filter(|number| found.set.answers_for(*number).is_none()).collect();
    numbers.sort_unstable();
    numbers.dedup();
    let warning = |number| format!("file number {number} of the set is missing");
    numbers.into_iter().take(64).map(warning).collect()
}

impl Ready {
    fn new(
        disk: &layout::Disk,
        chain: DiskChain,
        track: Track,
        warnings: &mut Vec<String>,
    ) -> Result<Self> {
        let name = format!("disk {}", disk.header.disk_number);
        let (sector, size) = (disk.geometry.bytes_per_sector, disk.geometry.disk_size);
        if !sector.is_power_of_two() || !(512..=4096).contains(&sector) {
            return Err(Error::corrupt(0, format!("{name}: sectors of {sector} bytes")));
        }
        if size == 0 || i64::try_from(size).is_err() || !size.is_multiple_of(sector.into()) {
            return Err(Error::corrupt(0, format!("{name}: {size} bytes in all")));
        }
        let mut measures = Vec::new();
        let mut overlays = Vec::new();
        for (partition, chain) in disk.partitions.0.iter().zip(&chain.partitions) {
            let own = Measures::new(disk, partition)?;
            if chain.deltas.is_empty() && u64::from(chain.base.count) != own.block_count {
                let (number, found, due) = (own.partition, chain.base.count, own.block_count);
                let what = format!("{name}: {found} blocks of partition {number}, not {due}");
                warnings.push(what);
            }
            measures.push(own);
            overlays.push(Rc::new(RefCell::new(Overlay::new(&chain.deltas)?)));
        }
        warnings.extend(track.warnings.iter().map(|warning| format!("{name}: {warning}")));
        for start in track.starts.iter().take(256) {
            if !measures.iter().any(|own| own.start == *start) {
                let what = "was not backed up, and reads as zeroes";
                warnings.push(format!("{name}: the partition at {start} {what}"));
            }
        }
        let info = describe(disk, &name);
        Ok(Self { info, chain, measures, overlays, pieces: Rc::new(track.pieces) })
    }

    fn map(&self, storing: &Rc<Storing>) -> Result<DiskMap> {
        let size = self.info.size;
        let mut regions = Regions::new(size);
        let mut partitions = Vec::new();
        for (number, (own, overlay)) in self.measures.iter().zip(&self.overlays).enumerate() {
            let Some(chain) = self.chain.partitions.get(number) else { continue };
            let stored = Stored::new(own.clone(), chain, storing, overlay.borrow().end())?;
            let length = own.data_end(stored.count) - own.data_start;
            if regions.add(own.data_start, length, Kind::Data(number)) != length {
                let what = format!("partition {} overlaps another", own.partition);
                return Err(Error::corrupt(0, format!("{}: {what}", self.info.name)));
            }
            partitions.push((Rc::new(stored), Rc::clone(overlay)));
        }
        for (number, (stored, _)) in partitions.iter().enumerate() {
            let own = &stored.measures;
            match &stored.reserved_flaw {
                Some(flaw) => {
                    let length = own.data_start.saturating_sub(own.reserved_start);
                    regions.add(own.reserved_start, length, Kind::Damaged(flaw.clone()));
                }
                None if stored.reserved.is_empty() => (),
                None => {
                    regions.add(own.reserved_start, own.reserved_length, Kind::Reserved(number));
                }
            }
        }
        for (number, piece) in self.pieces.iter().enumerate() {
            regions.add(piece.offset, piece.bytes.len() as u64, Kind::Piece(number));
        }
        let (pieces, storing) = (Rc::clone(&self.pieces), Rc::clone(storing));
        Ok(DiskMap { size, regions, pieces, partitions, storing })
    }
}

fn describe(disk: &layout::Disk, name: &str) -> DiskInfo {
    let sector = disk.geometry.bytes_per_sector;
    let mut info = DiskInfo::new(disk.geometry.disk_size, sector);
    info.name = name.to_string();
    info.logical_sector = sector;
    info.physical_sector = sector;
    let mut details = vec![
        ("description".to_string(), brief(&disk.descriptor.disk_description)),
        ("serial number".to_string(), brief(&disk.descriptor.disk_serialno)),
        ("partition table".to_string(), brief(&disk.header.disk_format)),
        ("signature".to_string(), brief(&disk.header.disk_signature)),
    ];
    details.retain(|(_, value)| !value.is_empty());
    for partition in &disk.partitions.0 {
        let (geometry, system) = (&partition.geometry, &partition.file_system);
        let label = format!("{} {}", brief(&system.kind), brief(&system.volume_label));
        let value = format!("{}, {} bytes at {}", label.trim(), geometry.length, geometry.start);
        details.push((format!("partition {}", partition.header.partition_number), value));
    }
    info.details = details;
    info
}

impl Image for MrimgxImage {
    fn prepare(&self) -> Result<Progress> {
        self.step()
    }

    fn info(&self) -> ImageInfo {
        let (header, auxiliary) = (&self.layout.header, &self.layout.auxiliary);
        let version = &auxiliary.macrium_reflect;
        let compression = match self.storing.compressed {
            true => format!("zstd, {}", brief(&self.layout.compression.compression_level)),
            false => "none".to_string(),
        };
        let encryption = match &self.storing.keys {
            Some(_) => brief(&self.layout.encryption.aes_type),
            None => "none".to_string(),
        };
        let files: Vec<String> =
            self.storing.set.members().take(64).map(|member| member.name.clone()).collect();
        let list = [
            ("set", brief(&header.imageid)),
            ("backup", brief(&header.backup_type)),
            ("increment", header.increment_number.to_string()),
            ("file", header.file_number.to_string()),
            ("files", files.join(", ")),
            ("created", date(header.backup_time).unwrap_or_default()),
            ("computer", brief(&header.netbios_name)),
            ("comment", brief(&auxiliary.backup_definition.comment)),
            ("program", format!("Reflect {}.{}.{}", version.major, version.minor, version.build)),
            ("compression", compression),
            ("encryption", encryption),
        ];
        let shown = list.into_iter().filter(|(_, value)| !value.is_empty());
        ImageInfo {
            details: shown.map(|(name, value)| (name.to_string(), value)).collect(),
            documents: vec![DOCUMENT.to_string()],
            snapshots: Vec::new(),
            warnings: self.warnings.clone(),
        }
    }

    fn disks(&self) -> Vec<DiskInfo> {
        self.disks.iter().map(|disk| disk.info.clone()).collect()
    }

    fn disk(&self, number: u32) -> Result<Box<dyn Disk>> {
        let index = usize::try_from(number).map_err(|_| Error::OutOfRange)?;
        let disk = self.disks.get(index).ok_or(Error::OutOfRange)?;
        loop {
            let Progress { done, total } = self.step()?;
            if done >= total {
                break;
            }
        }
        Ok(Box::new(disk.map(&self.storing)?))
    }

    fn document(&self, name: &str) -> Result<Vec<u8>> {
        if name == DOCUMENT { read_json(&*self.source) } else { Err(Error::Missing(name.into())) }
    }
}
