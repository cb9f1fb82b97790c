//! An opened UDIF image: what is known of it, and its disk.

use alloc::boxed::Box;
use alloc::format;
use alloc::rc::Rc;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

use fumehood_plugin::{
    Codec, Contents, DigestKind, Disk, DiskDigest, DiskInfo, Error, Image, ImageInfo, Result,
    SourceHandle,
};
use roxmltree::Node;

use crate::data::Data;
use crate::map::RunMap;
use crate::runs::{Kind, Runs};
use crate::table::Table;
use crate::trailer::Trailer;
use crate::{SECTOR, digest, fork, plist};

/// The property list as a document.
const DOCUMENT: &str = "resources.plist";
/// Tables shown by name.
const MOST_NAMES: usize = 32;

/// Variants by the codec that gives them their name.
const VARIANTS: [(Codec, &str); 5] = [
    (Codec::Adc, "UDCO (ADC)"),
    (Codec::Zlib, "UDZO (zlib)"),
    (Codec::Bzip2, "UDBZ (bzip2)"),
    (Codec::Lzfse, "ULFO (LZFSE)"),
    (Codec::Xz, "ULMO (LZMA)"),
];

/// What was read at open.
pub struct Udif {
    /// The image's file.
    pub source: SourceHandle,
    /// Its trailer.
    pub trailer: Trailer,
    /// Its block tables, as they follow each other.
    pub tables: Vec<Table>,
    /// Their runs.
    pub runs: Runs,
    /// Sectors of the disk.
    pub sectors: u64,
}

impl Udif {
    /// Where the last byte of a run can be: in front of the trailer, unless that is at
    /// the beginning.
    pub fn stored_end(&self) -> u64 {
        if self.trailer.offset == 0 { self.source.size() } else { self.trailer.offset }
    }
}

/// An opened image.
pub struct UdifImage {
    udif: Rc<Udif>,
    warnings: Vec<String>,
}

impl UdifImage {
    /// Opens `source`: reads its trailer and all of its tables.
    ///
    /// # Errors
    /// As [`fumehood_plugin::Format::open`].
    pub fn open(source: SourceHandle) -> Result<Self> {
        let trailer = Trailer::read(&*source)?;
        let (mut tables, mut runs) = (Vec::new(), Runs::default());
        if trailer.plist.length > 0 {
            let text = plist::read_text(&*source, trailer.plist)?;
            read_listed(&source, &trailer, &text, &mut tables, &mut runs)?;
        } else if trailer.fork.length > 0 {
            let at = trailer.fork.offset;
            fork::for_each(&*source, trailer.fork, b"blkx", |data| {
                tables.push(Table::read(data, "", trailer.data, &mut runs, at)?);
                Ok(())
            })?;
        }
        if tables.is_empty() {
            return Err(Error::corrupt(trailer.offset, "an image without block tables"));
        }
        runs.sort(&trailer)?;
        let mut warnings = Vec::new();
        let sectors = sectors(&trailer, &runs, &mut warnings)?;
        let udif = Udif { source, trailer, tables, runs, sectors };
        Ok(Self { udif: Rc::new(udif), warnings })
    }
}

/// How large the disk is: as the trailer says, which must hold all runs.
fn sectors(trailer: &Trailer, runs: &Runs, warnings: &mut Vec<String>) -> Result<u64> {
    let (told, end) = (trailer.sectors, runs.end());
    if told == 0 && end > 0 {
        warnings.push(format!("the trailer tells no size; the runs end at sector {end}"));
        return Ok(end);
    }
    if end > told || told > i64::MAX as u64 / SECTOR {
        let what = format!("a disk of {told} sectors whose runs end at sector {end}");
        return Err(Error::corrupt(trailer.offset + 492, what));
    }
    Ok(told)
}

/// Reads the tables that the property list `text` holds.
fn read_listed(
    source: &SourceHandle,
    trailer: &Trailer,
    text: &str,
    tables: &mut Vec<Table>,
    runs: &mut Runs,
) -> Result<()> {
    let at = trailer.plist.offset;
    let missing = |what: &str| Error::corrupt(at, format!("a property list without {what}"));
    let document = plist::parse(&**source, at, text)?;
    let list = plist::root(&document).ok_or_else(|| missing("a dictionary"))?;
    let resources =
        plist::value(list, "resource-fork").ok_or_else(|| missing("a resource fork"))?;
    let listed = plist::value(resources, "blkx").ok_or_else(|| missing("block tables"))?;
    for entry in listed.children().filter(Node::is_element) {
        let name = plist::string(entry, "Name").or_else(|| plist::string(entry, "CFName"));
        let data = plist::value(entry, "Data").filter(|node| node.has_tag_name("data"));
        let data = data.ok_or_else(|| missing("the data of a block table"))?;
        let data = Data::encoded(data.text().unwrap_or_default());
        tables.push(Table::read(data, name.unwrap_or_default(), trailer.data, runs, at)?);
    }
    Ok(())
}

impl Image for UdifImage {
    fn info(&self) -> ImageInfo {
        let listed = self.udif.trailer.plist.length > 0;
        ImageInfo {
            details: details(&self.udif),
            documents: listed.then(|| DOCUMENT.to_string()).into_iter().collect(),
            snapshots: Vec::new(),
            warnings: self.warnings.clone(),
        }
    }

    fn disks(&self) -> Vec<DiskInfo> {
        let udif = &*self.udif;
        // Partitions begin at any sector, and runs with them.
        let mut disk = DiskInfo::new(udif.sectors * SECTOR, SECTOR as u32);
        if udif.trailer.variant == 2 {
            disk.contents = Contents::Volume;
        }
        if let Some(crc) = digest::of_disk(&udif.tables, udif.sectors) {
            let value = crc.to_le_bytes().to_vec();
            disk.digests.push(DiskDigest { kind: DigestKind::Crc32, value });
        }
        vec![disk]
    }

    fn disk(&self, number: u32) -> Result<Box<dyn Disk>> {
        if number != 0 {
            return Err(Error::OutOfRange);
        }
        Ok(Box::new(RunMap::new(Rc::clone(&self.udif))))
    }

    fn document(&self, name: &str) -> Result<Vec<u8>> {
        let udif = &*self.udif;
        if name != DOCUMENT || udif.trailer.plist.length == 0 {
            return Err(Error::Missing(name.to_string()));
        }
        plist::read_text(&*udif.source, udif.trailer.plist).map(String::into_bytes)
    }
}

fn details(udif: &Udif) -> Vec<(String, String)> {
    let trailer = &udif.trailer;
    let mut list = vec![
        ("variant".to_string(), variant(&udif.runs)),
        ("block tables".to_string(), udif.tables.len().to_string()),
        ("runs".to_string(), udif.runs.all().len().to_string()),
    ];
    if trailer.plist.length == 0 {
        list.push(("tables in".to_string(), "a classic resource fork".to_string()));
    }
    let sums =
        [("data checksum", trailer.data_checksum), ("master checksum", trailer.master_checksum)];
    for (name, sum) in sums {
        list.extend(sum.shown().map(|shown| (name.to_string(), shown)));
    }
    let named = udif.tables.iter().filter(|table| !table.name.is_empty());
    for table in named.take(MOST_NAMES) {
        let place = format!("sectors {} to {}", table.first, table.end().saturating_sub(1));
        let name: String = table.name.chars().filter(|c| !c.is_control()).take(100).collect();
        list.push((place, name.trim().to_string()));
    }
    list
}

/// The variant, by the codec that packs most runs.
fn variant(runs: &Runs) -> String {
    let count = |codec| runs.all().iter().filter(|run| run.kind == Kind::Packed(codec)).count();
    let used = VARIANTS.map(|(codec, name)| (count(codec), name));
    match used.iter().max_by_key(|(count, _)| *count) {
        Some((1.., name)) => name.to_string(),
        _ => "UDRO (stored)".to_string(),
    }
}
