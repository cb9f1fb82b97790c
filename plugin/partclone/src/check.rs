//! Contradictions that show without the payload. What the bitmap's checksum and count
//! say was compared when the image was opened, and refused it.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use fumehood_plugin::Finding;

use crate::map::Counting;

/// What is wrong with a counted image, as findings.
pub fn check(image: &Counting) -> Vec<Finding> {
    let finding = |what| Finding { offset: 0, what, repaired: false };
    warnings(image).into_iter().map(finding).collect()
}

/// The same, as warnings.
pub fn warnings(image: &Counting) -> Vec<String> {
    let layout = &image.layout;
    let mut list = Vec::new();
    match layout.expected_size() {
        Some(expected) if expected == layout.file_size => (),
        Some(expected) if expected < layout.file_size => {
            let more = layout.file_size - expected;
            list.push(format!("{more} bytes behind the last block belong to nothing"));
        }
        _ => {
            let lost = layout.used - layout.whole_blocks();
            list.push(format!(
                "the image is cut off: {lost} of its {} blocks are missing, or their checksums",
                layout.used
            ));
        }
    }
    if image.strange > 0 {
        list.push(format!(
            "{} entries of the bitmap are neither 0 nor 1 and are taken for free blocks",
            image.strange
        ));
    }
    list
}
