//! The command BLOCK_STATUS: what an export knows of its allocation, in 32-bit lengths.

use super::connection::Connection;
use super::error::ConnectionError;
use super::handshake::ALLOCATION_CONTEXT_NUMBER;
use super::protocol::{ExtentDescriptor, allocation, chunk, command_flag};
use super::reply::{self, to_u32};
use super::request::{Request, invalid};
use super::transport::Transport;
use crate::export::{ErrorKind, ExportError, Status};

/// The most extents in one answer; clients ask again for the rest.
const EXTENTS_LIMIT: usize = 64 << 10;
/// The longest extent: what 32 bits can say, as a multiple of every minimum block size.
const EXTENT_LENGTH_LIMIT: u64 = 0xffff_0000;

impl<T: Transport> Connection<'_, T> {
    pub(super) fn block_status(&mut self, request: &Request) -> Result<(), ConnectionError> {
        match self.descriptors(request) {
            Ok(descriptors) => Ok(self.send_descriptors(request, &descriptors)?),
            Err(error) => self.fail(request, &error),
        }
    }

    fn descriptors(&self, request: &Request) -> Result<Vec<ExtentDescriptor>, ExportError> {
        if !self.session.allocation {
            return Err(invalid("no metadata context was chosen"));
        }
        let most = if request.has(command_flag::ONE_EXTENT) { 1 } else { EXTENTS_LIMIT };
        let length = u64::from(request.length);
        let found = self.session.export.status(request.offset, length, most)?;
        let descriptors = describe(&found, length, most);
        if descriptors.is_empty() {
            return Err(ExportError::new(ErrorKind::InputOutput, "the allocation is not known"));
        }
        Ok(descriptors)
    }

    fn send_descriptors(
        &mut self,
        request: &Request,
        descriptors: &[ExtentDescriptor],
    ) -> std::io::Result<()> {
        let length = to_u32(size_of::<u32>() + size_of_val(descriptors));
        let output = &mut self.output;
        reply::chunk_header(output, request.cookie, chunk::BLOCK_STATUS, length, true)?;
        output.put_bytes(&ALLOCATION_CONTEXT_NUMBER.to_be_bytes())?;
        descriptors.iter().try_for_each(|descriptor| output.put(descriptor))
    }
}

/// At most `most` extents within the first `length` bytes; equal neighbours are one.
fn describe(found: &[Status], length: u64, most: usize) -> Vec<ExtentDescriptor> {
    let mut left = length.min(EXTENT_LENGTH_LIMIT);
    let mut descriptors: Vec<ExtentDescriptor> = Vec::new();
    for status in found {
        let part = status.length.min(left);
        if part == 0 {
            continue;
        }
        let flags = flags(*status);
        // All parts together fit into 32 bits, so none of these is cut short.
        let part_length = u32::try_from(part).unwrap_or(u32::MAX);
        if let Some(last) = descriptors.last_mut().filter(|last| last.flags.get() == flags) {
            last.length.set(last.length.get().saturating_add(part_length));
        } else if descriptors.len() < most {
            let length = part_length.into();
            descriptors.push(ExtentDescriptor { length, flags: flags.into() });
        } else {
            break;
        }
        left -= part;
    }
    descriptors
}

fn flags(status: Status) -> u32 {
    let hole = if status.hole { allocation::HOLE } else { 0 };
    let zero = if status.zero { allocation::ZERO } else { 0 };
    hole | zero
}
