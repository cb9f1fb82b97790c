//! What clients put into options of the handshake, taken apart.
//!
//! Everything here reads bytes that anybody may have sent; it answers nothing.

use zerocopy::FromBytes;
use zerocopy::byteorder::big_endian::{U16, U32};

use super::protocol::STRING_LIMIT;

/// The most metadata queries in one option.
const QUERY_LIMIT: u32 = 1024;

/// Why an option makes no sense, in words for the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed(pub(super) &'static str);

/// The data of `INFO` and `GO`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct InformationRequest<'a> {
    pub(super) name: &'a str,
    pub(super) kinds: Vec<u16>,
}

impl<'a> InformationRequest<'a> {
    pub(super) fn parse(data: &'a [u8]) -> Result<Self, Malformed> {
        let (name, rest) = string(data)?;
        let (count, rest) = U16::read_from_prefix(rest).map_err(|_| TOO_SHORT)?;
        let (kinds, rest) =
            <[U16]>::ref_from_prefix_with_elems(rest, count.get().into()).map_err(|_| TOO_SHORT)?;
        if !rest.is_empty() {
            return Err(TOO_LONG);
        }
        Ok(Self { name, kinds: kinds.iter().map(|kind| kind.get()).collect() })
    }
}

/// The data of `LIST_META_CONTEXT` and `SET_META_CONTEXT`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ContextRequest<'a> {
    pub(super) name: &'a str,
    pub(super) queries: Vec<&'a str>,
}

impl<'a> ContextRequest<'a> {
    pub(super) fn parse(data: &'a [u8]) -> Result<Self, Malformed> {
        let (name, rest) = string(data)?;
        let (count, mut rest) = U32::read_from_prefix(rest).map_err(|_| TOO_SHORT)?;
        if count.get() > QUERY_LIMIT {
            return Err(Malformed("too many queries"));
        }
        let mut queries = Vec::new();
        for _ in 0..count.get() {
            let (query, after) = string(rest)?;
            if !query.contains(':') {
                return Err(Malformed("a query without a namespace"));
            }
            queries.push(query);
            rest = after;
        }
        if rest.is_empty() { Ok(Self { name, queries }) } else { Err(TOO_LONG) }
    }
}

/// The name of an export, which is all the data of `EXPORT_NAME`.
pub(super) fn export_name(data: &[u8]) -> Result<&str, Malformed> {
    if data.len() > STRING_LIMIT {
        return Err(Malformed("a string is longer than 4096 bytes"));
    }
    std::str::from_utf8(data).map_err(|_| Malformed("a string is not UTF-8"))
}

const TOO_SHORT: Malformed = Malformed("the option ends early");
const TOO_LONG: Malformed = Malformed("the option goes on after its end");

/// A string after its length, and what follows it.
fn string(data: &[u8]) -> Result<(&str, &[u8]), Malformed> {
    let (length, rest) = U32::read_from_prefix(data).map_err(|_| TOO_SHORT)?;
    let length = usize::try_from(length.get()).map_err(|_| TOO_SHORT)?;
    let (bytes, rest) = rest.split_at_checked(length).ok_or(TOO_SHORT)?;
    Ok((export_name(bytes)?, rest))
}
