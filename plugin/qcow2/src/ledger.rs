//! What a check has seen so far: uses, findings, and how many steps it may still
//! take. What refers to what is for [`crate::check`].

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use fumehood_plugin::{Error, Finding, Result};

use crate::geometry::Geometry;
use crate::usage::{CLUSTER_LIMIT, Usage};

/// The most findings listed one by one.
const FINDING_LIMIT: usize = 1000;
/// Steps of all walks together; L1 tables that alias each other cost no file space.
const STEP_LIMIT: u64 = 1 << 27;

/// The books of one check.
pub struct Ledger {
    /// Which clusters are in use.
    pub usage: Usage,
    /// What is wrong.
    pub findings: Vec<Finding>,
    /// Whether contradictions are left unsaid, as in a second walk over the same.
    pub muted: bool,
    geometry: Geometry,
    clusters: u64,
    steps: u64,
}

impl Ledger {
    /// Empty books over a file of `file_size` bytes.
    pub fn new(geometry: Geometry, file_size: u64) -> Self {
        let clusters = geometry.clusters(file_size);
        let usage = Usage::new(clusters, 0);
        let findings = Vec::new();
        let mut ledger =
            Self { usage, findings, muted: false, geometry, clusters, steps: STEP_LIMIT };
        if clusters > CLUSTER_LIMIT {
            let what = format!("overlaps are found in the first {CLUSTER_LIMIT} clusters only");
            ledger.note(0, what);
        }
        ledger
    }

    /// Clusters of the file.
    pub fn clusters(&self) -> u64 {
        self.clusters
    }

    /// Forgets all uses, to count them anew from the cluster `first` on.
    pub fn restart(&mut self, first: u64) {
        // One after the other: the two together would be much memory.
        self.usage = Usage::new(0, 0);
        self.usage = Usage::new(self.clusters, first);
        self.steps = STEP_LIMIT;
    }

    /// Whether steps are left, and so every use was seen.
    pub fn complete(&self) -> bool {
        self.steps > 0
    }

    /// Adds a finding at `offset` of the disk that nobody repaired. With too many, the
    /// check is over.
    pub fn note(&mut self, offset: u64, what: String) {
        self.add(Finding { offset, what, repaired: false });
    }

    /// Adds a finding.
    pub fn add(&mut self, finding: Finding) {
        if self.muted {
            return;
        }
        if self.findings.len() < FINDING_LIMIT {
            self.findings.push(finding);
        } else if self.findings.len() == FINDING_LIMIT {
            let what = "the check stops here: there are too many contradictions to list".into();
            self.findings.push(Finding { offset: 0, what, repaired: false });
            self.steps = 0;
        }
    }

    /// Makes a contradiction a finding at `offset` of the disk.
    ///
    /// # Errors
    /// Everything else.
    pub fn noted<T>(&mut self, offset: u64, result: Result<T>) -> Result<Option<T>> {
        match result {
            Ok(value) => Ok(Some(value)),
            Err(Error::Corrupt { offset: at, what, .. }) => {
                self.note(offset, format!("at file offset {at}: {what}"));
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Counts steps; whether there are that many left.
    pub fn step(&mut self, count: u64) -> bool {
        if self.steps == 0 {
            return false;
        }
        self.steps = self.steps.saturating_sub(count);
        if self.steps == 0 {
            self.note(0, format!("the check stops after {STEP_LIMIT} steps"));
        }
        self.steps > 0
    }

    /// Takes `length` bytes at `offset` of the file for `name` alone, which belongs
    /// to `guest` on the disk; whether it was free to take.
    pub fn take(&mut self, (offset, length): (u64, u64), name: &str, guest: u64) -> bool {
        let bits = self.geometry.cluster_bits();
        let end = offset.saturating_add(length);
        let file_end = self.clusters << bits;
        if length == 0 || !self.step(length >> bits) {
            return false;
        }
        // The last cluster of a file may be short: its end is rounded up.
        if end > file_end {
            let what = format!("{name} at file offset {offset} reaches past the file's end");
            self.note(guest, what);
        }
        let mut free = true;
        for cluster in offset >> bits..self.geometry.clusters(end.min(file_end)) {
            if !self.usage.take(cluster) {
                free = false;
                let at = cluster << bits;
                let what =
                    format!("{name} overlaps something else in the cluster at file offset {at}");
                self.note(guest, what);
            }
        }
        free
    }
}
