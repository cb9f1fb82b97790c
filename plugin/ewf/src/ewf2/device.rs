//! The media's measures in version 2: the device information and the case data say them,
//! among other values that are only for show.
//!
//! Source: libewf, "Expert Witness Compression Format version 2", Device information and
//! Case data.

use alloc::format;
use alloc::string::{String, ToString};

use fumehood_plugin::text::brief;
use fumehood_plugin::{Error, Result, Source};

use crate::ewf2::header::Header;
use crate::ewf2::section::Section;
use crate::media::{Acquisition, Measures, Media, Method, Origin};
use crate::object::value;
use crate::text::utf16;
use crate::unpack::unpack;

/// What a text may unpack to, in bytes. There is one of each in every segment; EnCase cuts
/// each of its values, of which there are fourteen, to 3000 characters.
const MOST_TEXT: u64 = 256 << 10;

/// Write blockers, as bits.
const FASTBLOC: u64 = 1;
const TABLEAU: u64 = 2;

/// Reads the media that the two sections describe.
///
/// # Errors
/// [`Error::Corrupt`] by the value that is missing or cannot be, for a wrong hash or a
/// broken text; [`Error::Unsupported`] for logical evidence and for chunks too large; or what
/// the source answers.
pub fn read_media(
    source: &dyn Source,
    header: Header,
    device: &Section,
    case: &Section,
) -> Result<Media> {
    let device_text = read_text(source, header.method, device)?;
    let case_text = read_text(source, header.method, case)?;
    let device = Object { what: "device information", text: &device_text, at: device.data, source };
    let case = Object { what: "case data", text: &case_text, at: case.data, source };
    let media_type = media_type(value(device.text, "dt"))?;
    let sectors = device.require("ts")?;
    let sectors_per_chunk = case.require("sb")?;
    let measures = Measures {
        // A writer that streams may leave this out.
        chunks: match case.number("tb")? {
            Some(chunks) => chunks,
            None => sectors.div_ceil(sectors_per_chunk.max(1)),
        },
        sectors_per_chunk: u32::try_from(sectors_per_chunk).unwrap_or(u32::MAX),
        bytes_per_sector: u32::try_from(device.require("bp")?).unwrap_or(u32::MAX),
        sectors,
    };
    let write_blocker = match case.number("wb")?.unwrap_or(0) {
        flags if flags & FASTBLOC != 0 => Some("Fastbloc"),
        flags if flags & TABLEAU != 0 => Some("Tableau"),
        _ => None,
    };
    let granularity = case.number("gr")?.unwrap_or(0);
    let acquisition = Acquisition {
        media_type,
        physical: value(device.text, "ph") == Some("1"),
        write_blocker,
        compression: compression(header.method).to_string(),
        error_granularity: u32::try_from(granularity).unwrap_or(u32::MAX),
        set: header.set,
        hidden_sectors: [device.number("hs")?.unwrap_or(0), device.number("dc")?.unwrap_or(0)],
    };
    Media::new(measures, header.method, Origin::Second(acquisition), (source, device.at))
}

fn read_text(source: &dyn Source, method: Method, section: &Section) -> Result<String> {
    section.verify(source)?;
    unpack(source, section.data, section.length, method, MOST_TEXT).map(|bytes| utf16(&bytes))
}

/// One of the texts.
struct Object<'a> {
    what: &'a str,
    text: &'a str,
    at: u64,
    source: &'a dyn Source,
}

impl Object<'_> {
    /// The number with this tag, if it has one.
    fn number(&self, tag: &str) -> Result<Option<u64>> {
        let Some(found) = value(self.text, tag) else { return Ok(None) };
        found
            .parse()
            .map(Some)
            .map_err(|_| self.corrupt(format!("{} for {tag}, expected a number", brief(found))))
    }

    fn require(&self, tag: &str) -> Result<u64> {
        self.number(tag)?
            .ok_or_else(|| self.corrupt(format!("nothing for {tag}, expected a number")))
    }

    fn corrupt(&self, found: String) -> Error {
        Error::corrupt_in(self.source.id(), self.at, format!("the {} says {found}", self.what))
    }
}

fn media_type(code: Option<&str>) -> Result<String> {
    Ok(match code {
        Some("a") => "RAM disk".to_string(),
        Some("c") => "optical disc".to_string(),
        Some("f") => "fixed disk".to_string(),
        Some("l") => {
            return Err(Error::Unsupported("logical evidence holds files, not a disk".into()));
        }
        Some("m") => "memory".to_string(),
        Some("p") => "PALM device".to_string(),
        Some("r") => "removable disk".to_string(),
        Some(other) => format!("unknown ({})", brief(other)),
        None => "not recorded".to_string(),
    })
}

fn compression(method: Method) -> &'static str {
    match method {
        Method::None => "none",
        Method::Zlib => "deflate",
        Method::Bzip2 => "bzip2",
    }
}
