//! Embedded texts: which there are, and reading them. What stands in them is
//! [`crate::notes`]'s, and [`crate::ewf2::device`]'s.

use alloc::string::String;

use fumehood_plugin::Result;

use crate::evidence::Evidence;
use crate::text::{narrow, utf16};
use crate::unpack::{MOST, unpack};

/// What a text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TextKind {
    /// Case notes in UTF-16.
    Header2,
    /// Case notes, one byte a character.
    Header,
    /// Case notes in XML (EWF-X).
    XmlHeader,
    /// Digests in XML (EWF-X).
    XmlHash,
    /// What was acquired (version 2).
    Device,
    /// For which case, and how (version 2).
    Case,
    /// When the acquisition was begun anew (version 2).
    Restart,
    /// What was learned meanwhile (version 2).
    Analysis,
}

impl TextKind {
    /// All kinds in the order in which they are offered, with the names they go by.
    pub const ALL: [(Self, &str); 8] = [
        (Self::Header2, "header2.txt"),
        (Self::Header, "header.txt"),
        (Self::XmlHeader, "xheader.xml"),
        (Self::XmlHash, "xhash.xml"),
        (Self::Device, "device.txt"),
        (Self::Case, "case.txt"),
        (Self::Restart, "restart.txt"),
        (Self::Analysis, "analysis.txt"),
    ];

    /// Those that hold case notes. Of a value in several, the first counts.
    pub const NOTES: [Self; 4] = [Self::Header2, Self::Header, Self::Case, Self::Device];
}

/// Where a text stands.
#[derive(Debug, Clone, Copy)]
pub struct Text {
    /// What it is.
    pub kind: TextKind,
    /// The place of its segment in the set, counted from 0.
    pub segment: usize,
    /// Its offset there.
    pub offset: u64,
    /// Stored bytes, and maybe some more behind them.
    pub length: u64,
}

impl Evidence {
    /// Where the text of that kind stands, if there is one.
    pub fn find_text(&self, kind: TextKind) -> Option<&Text> {
        self.texts.iter().find(|text| text.kind == kind)
    }

    /// The text of that kind, if there is one.
    pub fn text(&self, kind: TextKind) -> Option<Result<String>> {
        let text = self.find_text(kind)?;
        let source = &*self.segments.get(text.segment)?.source;
        let bytes = unpack(source, text.offset, text.length, self.media.method, MOST);
        Some(bytes.map(|bytes| match kind {
            TextKind::Header | TextKind::XmlHeader | TextKind::XmlHash => narrow(&bytes),
            _ => utf16(&bytes),
        }))
    }
}
