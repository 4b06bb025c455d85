//! Requests to read a topic back: its first offset and its records.
//!
//! Reads uncommitted records too; what is committed is told by the markers among them.

use bytes::Bytes;

use super::Read;
use super::put::{put_len, put_string};
use crate::kafka::TopicPartition;
use crate::kafka::read::Reader;

/// Who reads, when no replica does.
const NO_REPLICA: i32 = -1;

/// The timestamps that stand for the first offset and for the end.
const EARLIEST: i64 = -2;
pub(super) const LATEST: i64 = -1;

request!(FirstOffsetQuery => Offset, ListOffsets, 1..=1);
request!(Fetch => Fetched, Fetch, 4..=4);

/// Asks for the first offset of a partition.
#[derive(Debug)]
pub(in crate::kafka) struct FirstOffsetQuery {
    pub(in crate::kafka) of: TopicPartition,
}

impl FirstOffsetQuery {
    fn write(&self, out: &mut Vec<u8>, _version: i16) {
        put_offset_query(out, &self.of, None, EARLIEST);
    }
}

/// A question for one offset of one partition; from version 2 on with an isolation level.
pub(super) fn put_offset_query(
    out: &mut Vec<u8>,
    of: &TopicPartition,
    isolation: Option<u8>,
    timestamp: i64,
) {
    out.extend_from_slice(&NO_REPLICA.to_be_bytes());
    out.extend(isolation);
    put_len(out, 1);
    put_string(out, &of.topic);
    put_len(out, 1);
    out.extend_from_slice(&of.partition.to_be_bytes());
    out.extend_from_slice(&timestamp.to_be_bytes());
}

/// The answer to a question for an offset.
#[derive(Debug, PartialEq)]
pub(in crate::kafka) struct Offset {
    pub(in crate::kafka) code: i16,
    pub(in crate::kafka) offset: i64,
}

impl Offset {
    pub(super) fn read(r: &mut Reader<'_>, version: i16) -> Read<Self> {
        if version >= 2 {
            let _throttle_ms = r.i32()?;
        }
        one_partition(r, |r| {
            let code = r.i16()?;
            let _timestamp = r.i64()?;
            let offset = r.i64()?;
            Ok(Self { code, offset })
        })
    }
}

/// Asks for the records of one partition from an offset on.
#[derive(Debug)]
pub(in crate::kafka) struct Fetch {
    pub(in crate::kafka) of: TopicPartition,
    pub(in crate::kafka) offset: i64,
    /// Bytes of the answer, except that one batch comes whole.
    pub(in crate::kafka) max_bytes: i32,
}

impl Fetch {
    fn write(&self, out: &mut Vec<u8>, _version: i16) {
        out.extend_from_slice(&NO_REPLICA.to_be_bytes());
        out.extend_from_slice(&0_i32.to_be_bytes()); // longest wait for
        out.extend_from_slice(&0_i32.to_be_bytes()); // this many bytes
        out.extend_from_slice(&self.max_bytes.to_be_bytes());
        out.push(0); // read_uncommitted
        put_len(out, 1);
        put_string(out, &self.of.topic);
        put_len(out, 1);
        out.extend_from_slice(&self.of.partition.to_be_bytes());
        out.extend_from_slice(&self.offset.to_be_bytes());
        out.extend_from_slice(&self.max_bytes.to_be_bytes());
    }
}

/// The answer to [`Fetch`].
#[derive(Debug, PartialEq)]
pub(in crate::kafka) struct Fetched {
    pub(in crate::kafka) code: i16,
    /// One past the last offset that every replica in sync has.
    pub(in crate::kafka) high_watermark: i64,
    /// Record batches; the last may be cut short.
    pub(in crate::kafka) records: Bytes,
}

impl Fetched {
    fn read(r: &mut Reader<'_>, _version: i16) -> Read<Self> {
        let _throttle_ms = r.i32()?;
        one_partition(r, |r| {
            let code = r.i16()?;
            let high_watermark = r.i64()?;
            let _last_stable = r.i64()?;
            for _ in 0..r.len()? {
                let _aborted = r.bytes(16)?;
            }
            let length = r.len()?;
            let records = Bytes::copy_from_slice(r.bytes(length)?);
            Ok(Self {
                code,
                high_watermark,
                records,
            })
        })
    }
}

/// The answer for the one partition that was asked for, read by `part` from behind its number.
fn one_partition<T>(
    r: &mut Reader<'_>,
    mut part: impl FnMut(&mut Reader<'_>) -> Read<T>,
) -> Read<T> {
    let mut found = None;
    for _ in 0..r.len()? {
        let _topic = r.string()?;
        for _ in 0..r.len()? {
            let _partition = r.i32()?;
            found = Some(part(r)?);
        }
    }
    found.ok_or(r.bad("no partition in the answer"))
}
