//! Case notes: the values of `header2` and `header` in version 1, of the device
//! information and the case data in version 2. Where these stand and how large they may
//! be is not known here.
//!
//! Source: libewf, "Expert Witness Compression Format", Header2 and Header section; the
//! same, "Version 2", Device information and Case data.

use alloc::format;
use alloc::string::{String, ToString};

use fumehood_plugin::text::harmless;

use crate::object::values;
use crate::text::date;

/// A value of the case notes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    /// Number of the case.
    Case,
    /// Number of the piece of evidence.
    Evidence,
    /// What it is.
    Description,
    /// Who acquired it.
    Examiner,
    /// Free text.
    Notes,
    /// When the media was acquired.
    Acquired,
    /// What the acquiring machine's clock said.
    SystemDate,
    /// Operating system of the acquiring machine.
    System,
    /// Version of the acquiring software.
    Software,
    /// Model of the media.
    Model,
    /// Serial number of the media.
    SerialNumber,
    /// Label of the media.
    Label,
    /// Process whose memory was acquired.
    Process,
    /// Hash of a password that protects nothing.
    Password,
    /// Letter of a compression level.
    Compression,
}

/// Every field: its identifiers in either version of the format, and its label for
/// people. No version uses an identifier of the other for something else.
const FIELDS: [(Field, &str, &str, &str); 15] = [
    (Field::Case, "c", "cn", "Case number"),
    (Field::Evidence, "n", "en", "Evidence number"),
    (Field::Description, "a", "nm", "Description"),
    (Field::Examiner, "e", "ex", "Examiner"),
    (Field::Notes, "t", "nt", "Notes"),
    (Field::Acquired, "m", "tt", "Acquired"),
    (Field::SystemDate, "u", "at", "System date"),
    (Field::System, "ov", "os", "Operating system"),
    (Field::Software, "av", "av", "Software version"),
    (Field::Model, "md", "md", "Model"),
    (Field::SerialNumber, "sn", "sn", "Serial number"),
    (Field::Label, "l", "lb", "Device label"),
    (Field::Process, "pid", "pid", "Process"),
    (Field::Password, "p", "p", "Password"),
    (Field::Compression, "r", "r", "Compression"),
];

/// The values found, ready to show.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Notes {
    values: [Option<String>; FIELDS.len()],
}

impl Notes {
    /// The values of the category `main` of a text.
    pub fn parse(text: &str) -> Self {
        let mut notes = Self::default();
        for (identifier, value) in values(text) {
            let place =
                FIELDS.iter().position(|(_, one, two, _)| [*one, *two].contains(&identifier));
            if let Some(slot) = place.and_then(|place| notes.values.get_mut(place)) {
                *slot = Some(value.to_string());
            }
        }
        notes
    }

    /// Takes from `other` what is missing here.
    pub fn complete(&mut self, other: Self) {
        for (own, other) in self.values.iter_mut().zip(other.values) {
            if own.is_none() {
                *own = other;
            }
        }
    }

    /// The value of `field`, fit to show.
    pub fn get(&self, field: Field) -> Option<String> {
        self.shown().find(|(own, ..)| *own == field).map(|(_, _, value)| value)
    }

    /// All values as one text, a line each.
    pub fn text(&self) -> String {
        self.shown().map(|(_, label, value)| format!("{label}: {value}\n")).collect()
    }

    /// Fields, labels and values, in the order of [`FIELDS`].
    fn shown(&self) -> impl Iterator<Item = (Field, &'static str, String)> + '_ {
        FIELDS.iter().zip(&self.values).filter_map(|((field, _, _, label), value)| {
            let value = show(*field, value.as_deref()?)?;
            Some((*field, *label, value))
        })
    }
}

fn show(field: Field, value: &str) -> Option<String> {
    Some(match (field, value) {
        (Field::Password, "0") => return None,
        (Field::Password, _) => "set".to_string(),
        (Field::Acquired | Field::SystemDate, _) => date(value),
        (Field::Compression, "b") => "best".to_string(),
        (Field::Compression, "f") => "fastest".to_string(),
        (Field::Compression, "n") => "none".to_string(),
        _ => harmless(value),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header2_wins_and_header_completes() {
        let mut notes = Notes::parse("3\nmain\na\tc\tm\tp\nDisk\t7\t1142163845\t0\n\nsrce\n0\t1\n");
        notes.complete(Notes::parse("1\r\nmain\r\nc\ta\tr\te\r\n8\tx\tb\tJ.\u{7}D.\r\n\r\n"));
        assert_eq!(
            notes.text(),
            "Case number: 7\nDescription: Disk\nExaminer: J. D.\n\
             Acquired: 2006-03-12 11:44:05 UTC\nCompression: best\n"
        );
        assert_eq!(notes.get(Field::Case).as_deref(), Some("7"));
        assert_eq!(notes.get(Field::Password), None);
    }

    #[test]
    fn the_second_version_has_its_own_identifiers() {
        let notes = Notes::parse("1\nmain\nnm\tcn\ttt\tnt\n\t7\t1142163845\tone\u{1}two\n\n");
        let text = "Case number: 7\nNotes: one two\nAcquired: 2006-03-12 11:44:05 UTC\n";
        assert_eq!(notes.text(), text);
    }

    #[test]
    fn broken_notes_are_few_notes() {
        for text in ["", "main", "1\nmain\nc\tn\n", "1\nmain\nc\tn\n\t\t\t", "no\nthing\nhere"] {
            assert_eq!(Notes::parse(text).text(), "", "{text}");
        }
    }
}
