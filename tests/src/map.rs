//! `map --json` compared with what QEMU says, in meaning: how runs are cut does not
//! matter.

use serde::Deserialize;

/// One run, in the shape of `qemu-img map --output=json`.
#[derive(Debug, Clone, Deserialize)]
pub struct Run {
    /// Where it begins on the disk.
    pub start: u64,
    /// Its length in bytes.
    pub length: u64,
    /// Which image of the chain it is in.
    pub depth: u64,
    /// Whether an image of the chain says anything of it.
    pub present: bool,
    /// Whether it reads as zeroes without a look at the bytes.
    pub zero: bool,
    /// Whether bytes are stored for it.
    pub data: bool,
    /// Whether they are compressed; older versions of QEMU do not say.
    pub compressed: Option<bool>,
    /// Where they are stored, if they are stored as they are.
    pub offset: Option<u64>,
}

impl Run {
    fn end(&self) -> u64 {
        self.start + self.length
    }

    /// What has to be the same at byte `at` of the disk.
    fn meaning(&self, at: u64) -> Meaning {
        Meaning {
            present: self.present,
            zero: self.zero,
            data: self.data,
            depth: self.data.then_some(self.depth),
            offset: self.offset.filter(|_| self.data).map(|offset| offset + (at - self.start)),
        }
    }
}

/// What a map says of one byte.
#[derive(Debug, PartialEq)]
struct Meaning {
    present: bool,
    zero: bool,
    data: bool,
    depth: Option<u64>,
    offset: Option<u64>,
}

/// The runs in a map; the test fails unless they lie side by side.
pub fn runs(json: &str) -> Vec<Run> {
    let runs: Vec<Run> =
        serde_json::from_str(json).unwrap_or_else(|error| panic!("{error} in {json}"));
    let mut at = 0;
    for run in &runs {
        assert!(run.start == at && run.length > 0, "a gap at {at}: {run:?}");
        at = run.end();
    }
    runs
}

/// The test fails unless both maps mean the same at every byte.
pub fn compare(name: &str, found: &[Run], expected: &[Run]) {
    let mut at = 0;
    let (mut left, mut right) = (found.iter().peekable(), expected.iter().peekable());
    while let (Some(ours), Some(theirs)) = (left.peek(), right.peek()) {
        let (ours, theirs) = (*ours, *theirs);
        assert_eq!(ours.meaning(at), theirs.meaning(at), "{name} at {at}: {ours:?} {theirs:?}");
        if let (Some(found), Some(expected)) = (ours.compressed, theirs.compressed) {
            assert_eq!(found, expected, "{name} at {at}: {ours:?} {theirs:?}");
        }
        at = ours.end().min(theirs.end());
        left.next_if(|run| run.end() == at);
        right.next_if(|run| run.end() == at);
    }
    assert!(left.next().is_none() && right.next().is_none(), "{name}: the maps differ in length");
}
