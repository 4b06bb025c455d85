//! The records a tracker leaves in its generation's database, and their keys.
//!
//! Key `S` holds the watermark, keys `R` + sequence number (u64 big endian) the spans above
//! it. Spans are written before the watermark and removed after it: whatever prefix of the
//! log a crash leaves is a state that was true.

use super::block::BlockError;
use super::store::{Store, StoreError};
use super::tracker::{Changes, Tracker};
use crate::proof::Seq;

const BASE: &[u8] = b"S";
const SPAN: u8 = b'R';
/// Most records read at once.
const CHUNK: usize = 1024;

fn span_key(seq: Seq) -> [u8; 9] {
    let mut key = [SPAN; 9];
    for (to, from) in key.iter_mut().skip(1).zip(seq.to_be_bytes()) {
        *to = from;
    }
    key
}

fn span_seq(key: &[u8]) -> Option<Seq> {
    match key.split_first_chunk() {
        Some(([SPAN], seq)) => seq.try_into().ok().map(u64::from_be_bytes),
        _ => None,
    }
}

/// Writes `changes`; they are on disk afterwards.
pub(super) fn write_durably(store: &Store, changes: &Changes) -> Result<(), StoreError> {
    for (seq, value) in &changes.spans {
        store.put_record(&span_key(*seq), value)?;
    }
    if !changes.base.is_empty() {
        store.put_record(BASE, &changes.base)?;
    }
    for seq in &changes.obsolete {
        store.remove_record(&span_key(*seq))?;
    }
    store.flush()
}

/// Reads the tracker of the generation that begins at `first`.
pub(super) fn load(store: &Store, first: Seq) -> Result<Tracker, StoreError> {
    let base = store.record(BASE)?;
    let mut spans = Vec::new();
    let mut from = span_key(0);
    loop {
        let chunk = store.records_from(&from, CHUNK)?;
        let full = chunk.len() == CHUNK;
        for (key, value) in chunk {
            let Some(seq) = span_seq(&key) else { continue };
            from = span_key(seq.saturating_add(1));
            spans.push((seq, value));
        }
        if !full {
            break;
        }
    }
    let spans = spans.iter().map(|(seq, value)| (*seq, &**value));
    Tracker::load(first, base.as_deref(), spans)
        .map_err(|error: BlockError| StoreError::Damaged(format!("resolution records: {error}")))
}
