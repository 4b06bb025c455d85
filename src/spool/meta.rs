//! `gen.meta`: what a generation's directory says without its database being opened.
//!
//! While a generation is open its truth is in its database and this file says so; when it
//! is closed, or its database is deleted, the file carries the result. It is overwritten in
//! place, so that it can be written on a full disk; a torn write reads as "was open".

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::block::{BlockError, Bytes};
use super::ledger::Counts;
use crate::proof::Seq;

/// Name of the file within the generation's directory.
pub(super) const NAME: &str = "gen.meta";
/// Bytes of the file: magic, version, state, spool id, end, first unresolved, counts, CRC32C.
const META_BYTES: usize = 80;
const MAGIC: u32 = u32::from_le_bytes(*b"SPWG");

/// What a generation came to, for as long as it is not open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Summary {
    /// One past the last event.
    pub(super) end: Seq,
    /// The first event that is not resolved; `end` when all are.
    pub(super) first_unresolved: Seq,
    /// How the resolved ones ended.
    pub(super) counts: Counts,
}

/// State of a generation on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meta {
    /// Open, or was when the power went: only its database knows.
    Open,
    /// Closed in order.
    Closed(Summary),
    /// All its events are resolved and its database is deleted.
    Gone(Summary),
}

/// Reads the file of the generation in `dir`; anything unreadable counts as open.
pub(super) fn read(dir: &Path) -> (Meta, Option<u64>) {
    let mut bytes = [0; META_BYTES];
    let read = File::open(dir.join(NAME)).and_then(|f| f.read_exact_at(&mut bytes, 0));
    match read.map(|()| parse(&bytes)) {
        Ok(Ok(Some((meta, spool_id)))) => (meta, Some(spool_id)),
        _ => (Meta::Open, None),
    }
}

/// Writes the file and syncs it.
pub(super) fn write(dir: &Path, spool_id: u64, meta: &Meta) -> io::Result<()> {
    let nothing = Summary {
        end: 0,
        first_unresolved: 0,
        counts: Counts::default(),
    };
    let (state, summary) = match meta {
        Meta::Open => (0u32, &nothing),
        Meta::Closed(summary) => (1, summary),
        Meta::Gone(summary) => (2, summary),
    };
    let mut bytes = Vec::with_capacity(META_BYTES);
    for number in [MAGIC, 1, state] {
        bytes.extend_from_slice(&number.to_le_bytes());
    }
    for number in [spool_id, summary.end, summary.first_unresolved] {
        bytes.extend_from_slice(&number.to_le_bytes());
    }
    summary.counts.encode(&mut bytes);
    bytes.resize(META_BYTES - 4, 0);
    bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_le_bytes());
    let path = dir.join(NAME);
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)?;
    file.write_all_at(&bytes, 0)?;
    file.sync_data()
}

fn parse(bytes: &[u8; META_BYTES]) -> Result<Option<(Meta, u64)>, BlockError> {
    let mut at = Bytes(bytes);
    let summed = at.take(META_BYTES - 4)?;
    let whole = at.u32()? == crc32c::crc32c(summed);
    let mut at = Bytes(summed);
    if !whole || at.u32()? != MAGIC || at.u32()? != 1 {
        return Ok(None);
    }
    let state = at.u32()?;
    let spool_id = at.u64()?;
    let summary = Summary {
        end: at.u64()?,
        first_unresolved: at.u64()?,
        counts: Counts::decode(&mut at)?,
    };
    Ok(match state {
        0 => Some((Meta::Open, spool_id)),
        1 => Some((Meta::Closed(summary), spool_id)),
        2 => Some((Meta::Gone(summary), spool_id)),
        _ => None,
    })
}

/// Way in for `fuzz/`: a record with the right checksum.
#[cfg(fuzzing)]
pub(super) fn fuzz(input: &[u8]) {
    let mut bytes = [0; META_BYTES];
    for (to, from) in bytes.iter_mut().zip(input) {
        *to = *from;
    }
    if let Some((summed, crc)) = bytes.split_last_chunk_mut::<4>() {
        *crc = crc32c::crc32c(summed).to_le_bytes();
    }
    let _ = parse(&bytes);
}
