//! What a check finds in a dynamic or differencing image: its table's contradictions,
//! and copies of the footer that are lost or differ.

use alloc::vec::Vec;

use fumehood_plugin::{Error, Finding, Result};

use crate::footer::Tail;
use crate::sparse::Sparse;
use crate::survey;

/// Looks at the table and the footers. An image opened for writing has had its
/// footers made good, and nothing else is repaired.
///
/// # Errors
/// [`Error::ReadOnly`] to repair what was opened for reading; as
/// [`survey::survey`].
pub fn check(sparse: &mut Sparse, repair: bool) -> Result<Vec<Finding>> {
    if repair && !sparse.writable {
        return Err(Error::ReadOnly);
    }
    let mut findings = survey::findings(sparse)?;
    if let Some(what) = footer_text(sparse.tail) {
        findings.push(Finding { offset: 0, what: what.into(), repaired: sparse.writable });
    }
    Ok(findings)
}

/// What is to say of the footers.
pub fn footer_text(tail: Tail) -> Option<&'static str> {
    match tail {
        Tail::Sound => None,
        Tail::CopyDiffers => {
            Some("the copy of the footer at the start differs from the one at the end")
        }
        Tail::Lost => {
            Some("the footer at the end is lost: the image was not closed, or was cut off")
        }
    }
}
