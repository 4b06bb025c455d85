//! The position: how far a spool has been delivered, as a record in a compacted topic.
//!
//! It is written in the same transaction as the events it speaks of, so it is there exactly
//! when they are. The key is the spool's id: a spool keeps its position when it moves to
//! another host or gets another `transactional.id`, and two spools never share one.
//!
//! [`scan`] finds it among the records of a partition, [`reader`] gets these.

use serde::{Deserialize, Serialize};

use super::batch::{BatchBuilder, EncodeError, EncodedBatch, RecordRef};
use crate::config::Compression;
use crate::proof::Seq;

pub(super) mod reader;
mod scan;
mod unpack;

/// Form of the record's value; a later one is not understood, and not overwritten either.
const VERSION: u32 = 1;

/// Everything before `end` has been delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// One past the last event of the run.
    pub end: Seq,
    /// Fingerprint of the last event before `end`, by which a spool is told from an older
    /// copy of itself that has gone another way.
    pub check: u32,
}

/// The value of the record.
#[derive(Debug, Serialize, Deserialize)]
struct Value {
    version: u32,
    spool: String,
    end: Seq,
    check: u32,
    transactional_id: String,
    /// Send time, milliseconds since the Unix epoch: the newer of two partitions wins.
    at: i64,
}

/// A position as it was read back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) position: Position,
    at: i64,
}

/// Why a record under our key is of no use.
#[derive(Debug, thiserror::Error)]
pub(super) enum ValueError {
    #[error("the position record of spool {spool} cannot be read: {source}")]
    Malformed {
        spool: String,
        source: serde_json::Error,
    },
    #[error(
        "the position record of spool {spool} has version {version}, written by a later \
         release; use that one"
    )]
    Later { spool: String, version: u32 },
    #[error("a batch of the position topic cannot be read: {0}")]
    Batch(&'static str),
}

/// The key of a spool's record.
pub(super) fn key(spool_id: u64) -> String {
    format!("{spool_id:016x}")
}

/// The record as a batch of its own, uncompressed.
pub(super) fn encode(
    spool_id: u64,
    position: Position,
    transactional_id: &str,
    now_ms: i64,
) -> Result<EncodedBatch, EncodeError> {
    let key = key(spool_id);
    let value = serde_json::json!(Value {
        version: VERSION,
        spool: key.clone(),
        end: position.end,
        check: position.check,
        transactional_id: transactional_id.to_owned(),
        at: now_ms,
    });
    let value = value.to_string();
    let mut builder = BatchBuilder::new();
    builder.push(&RecordRef {
        key: Some(key.as_bytes()),
        value: Some(value.as_bytes()),
        timestamp: None,
        headers: &[],
    });
    builder.seal(Compression::None)
}

fn decode(key: &str, value: &[u8]) -> Result<Found, ValueError> {
    let value: Value = serde_json::from_slice(value).map_err(|source| ValueError::Malformed {
        spool: key.to_owned(),
        source,
    })?;
    if value.version != VERSION {
        return Err(ValueError::Later {
            spool: key.to_owned(),
            version: value.version,
        });
    }
    Ok(Found {
        position: Position {
            end: value.end,
            check: value.check,
        },
        at: value.at,
    })
}
