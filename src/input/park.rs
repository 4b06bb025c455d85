//! Connections at rest: what the next daemon needs in order to go on with them.
//!
//! At an ordered stop a connection whose lines are all settled need not end: its descriptor
//! can wait with the service manager, and its [`Rest`] in a table beside it. Owns the table's
//! format; does not talk to the service manager.

use std::os::unix::net::UnixStream;
use std::sync::Arc;

use super::framing::Unfinished;

/// First bytes of the table; a table of another release is not read.
const MAGIC: &[u8; 8] = b"SPWPARK1";

/// What is left of a connection once all its lines are settled.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Rest {
    /// Lines that the writer was told of; the next ack counts on from here.
    pub settled: u64,
    /// The line that has begun.
    pub unfinished: Unfinished,
}

/// A connection that waits for the next daemon.
#[derive(Debug)]
pub struct Parked {
    /// Name of its `[[input]]`.
    pub input: Arc<str>,
    /// Its descriptor.
    pub stream: UnixStream,
    /// Where it stands.
    pub rest: Rest,
}

/// The table of these connections, in their order.
pub fn encode<'a>(parked: impl Iterator<Item = (&'a str, &'a Rest)>) -> Vec<u8> {
    let mut out = MAGIC.to_vec();
    for (input, rest) in parked {
        let Unfinished { bytes, skipping } = &rest.unfinished;
        for field in [input.as_bytes(), bytes] {
            // Both are far below 4 GiB: names are short, lines bounded.
            out.extend_from_slice(&(field.len() as u32).to_le_bytes());
            out.extend_from_slice(field);
        }
        out.extend_from_slice(&rest.settled.to_le_bytes());
        out.push(u8::from(*skipping));
    }
    out
}

/// Reads a table; `None` when it is not one of this release, or is cut short.
pub fn decode(table: &[u8]) -> Option<Vec<(Arc<str>, Rest)>> {
    let mut left = table.strip_prefix(MAGIC)?;
    let mut found = Vec::new();
    while !left.is_empty() {
        let input = std::str::from_utf8(field(&mut left)?).ok()?;
        let bytes = field(&mut left)?.to_vec();
        let (settled, rest) = left.split_first_chunk()?;
        let (&skipping, rest) = rest.split_first()?;
        left = rest;
        let rest = Rest {
            settled: u64::from_le_bytes(*settled),
            unfinished: Unfinished {
                bytes,
                skipping: skipping != 0,
            },
        };
        found.push((input.into(), rest));
    }
    Some(found)
}

fn field<'a>(left: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, rest) = left.split_first_chunk()?;
    let (field, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
    *left = rest;
    Some(field)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rests() -> Vec<(Arc<str>, Rest)> {
        let rest = |settled, bytes: &[u8], skipping| Rest {
            settled,
            unfinished: Unfinished {
                bytes: bytes.to_vec(),
                skipping,
            },
        };
        vec![
            ("app".into(), rest(0, b"", true)),
            ("other".into(), rest(u64::MAX, b"half a l\0ine", false)),
        ]
    }

    #[test]
    fn a_table_is_read_as_it_was_written() {
        let rests = rests();
        let table = encode(rests.iter().map(|(input, rest)| (&**input, rest)));
        assert_eq!(decode(&table), Some(rests));
    }

    #[test]
    fn a_table_that_is_cut_short_or_foreign_is_none() {
        let rests = rests();
        let table = encode(rests.iter().map(|(input, rest)| (&**input, rest)));
        let first = encode(rests.iter().take(1).map(|(input, rest)| (&**input, rest))).len();
        for cut in 0..table.len() {
            let whole = [MAGIC.len(), first].contains(&cut);
            assert_eq!(decode(&table[..cut]).is_some(), whole, "cut at {cut}");
        }
        assert_eq!(decode(b"SPWPARK2"), None);
    }
}
