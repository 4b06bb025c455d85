//! Gathers events into a block and writes its stored form. The other half of the codec.
//!
//! Owns no I/O. The layout is told in [`super`].

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Block;
use super::header::{BLOCK_EVENTS, BLOCK_SOURCES, BLOCK_TARGET, HEADER_BYTES, MAGIC, VERSION};
use super::sections::{
    self, KIND_BYTES, KIND_CHECKPOINTS, KIND_FILES, KIND_LENGTHS, KIND_PLACES, KIND_SOURCES, Place,
    Run, SECTION_HEADER, SECTION_OPTIONAL,
};
use crate::config::SpoolCodec;
use crate::event::{Checkpoint, EventBuf, FileRun, Source, UnixMillis};
use crate::proof::Seq;
use crate::room::room;

/// A block is closed when its checkpoints and files have this many bytes.
const ATTACHED_TARGET: usize = BLOCK_TARGET;

/// Events that arrived together, as one append has them.
#[derive(Debug, Clone, Copy)]
pub(in crate::spool) struct Read<'a> {
    pub(in crate::spool) events: &'a EventBuf,
    pub(in crate::spool) source: &'a Arc<Source>,
    pub(in crate::spool) received: UnixMillis,
    /// Where they lie in their file; empty when nothing is known of it.
    pub(in crate::spool) runs: &'a [FileRun],
}

/// Gathers events until they are a block's worth.
#[derive(Debug, Default)]
pub(in crate::spool) struct Builder {
    raw: Vec<u8>,
    lengths: Vec<u8>,
    runs: Vec<Run>,
    sources: Vec<Arc<Source>>,
    places: Vec<u8>,
    checkpoints: BTreeMap<u64, Option<Arc<[u8]>>>,
    /// Bytes of checkpoints and files.
    attached: usize,
}

impl Builder {
    /// Whether nothing was pushed since the last block.
    pub(in crate::spool) fn is_empty(&self) -> bool {
        self.lengths.is_empty()
    }

    /// Whether the block has reached its size.
    pub(in crate::spool) fn is_full(&self) -> bool {
        self.raw.len() >= BLOCK_TARGET
            || self.lengths.len() >= 4 * BLOCK_EVENTS
            || self.sources.len() >= BLOCK_SOURCES
            || self.attached >= ATTACHED_TARGET
    }

    /// Whether [`Builder::push`] takes all of `events` into the block at hand.
    pub(in crate::spool) fn has_room_for(&self, events: &EventBuf) -> bool {
        let is_single = self.is_empty() && events.len() == 1;
        let bytes = self.raw.len().max(SECTION_HEADER) + events.payload_bytes();
        let count = self.lengths.len() / 4 + events.len();
        is_single || (bytes <= BLOCK_TARGET + SECTION_HEADER && count <= BLOCK_EVENTS)
    }

    /// Takes events of `read` from index `from` on, as many as fit, at least one when the
    /// block is empty. Returns the index of the first event not taken.
    pub(in crate::spool) fn push(&mut self, read: Read<'_>, from: usize) -> usize {
        if self.raw.is_empty() {
            self.raw.extend_from_slice(&[0; SECTION_HEADER]);
        }
        let events = read.events;
        let room = (BLOCK_TARGET + SECTION_HEADER).saturating_sub(self.raw.len());
        let before = from
            .checked_sub(1)
            .and_then(|i| events.ends().get(i))
            .copied();
        let start = before.unwrap_or(0);
        let mut end = start;
        let mut taken = 0usize;
        for &next in events.ends().get(from..).unwrap_or_default() {
            let over = (next - start) as usize > room && !(self.is_empty() && taken == 0);
            if over || self.lengths.len() / 4 >= BLOCK_EVENTS {
                break;
            }
            self.lengths.extend_from_slice(&(next - end).to_le_bytes());
            end = next;
            taken += 1;
        }
        if taken > 0 {
            let bytes = events
                .bytes()
                .get(start as usize..end as usize)
                .unwrap_or_default();
            self.raw.extend_from_slice(bytes);
            self.note_run(taken as u32, read.source, read.received);
            self.note_places(read, from, taken);
        }
        from + taken
    }

    /// Adds a checkpoint that becomes true with the events pushed so far.
    pub(in crate::spool) fn carry(&mut self, checkpoint: &Checkpoint) {
        let len = |value: &Option<Arc<[u8]>>| {
            sections::checkpoint_bytes(value.as_deref().map_or(0, <[u8]>::len))
        };
        self.attached += len(&checkpoint.value);
        let before = self
            .checkpoints
            .insert(checkpoint.key, checkpoint.value.clone());
        self.attached -= before.map_or(0, |before| len(&before));
    }

    fn note_run(&mut self, count: u32, source: &Arc<Source>, received: UnixMillis) {
        let known = self
            .sources
            .iter()
            .rposition(|s| Arc::ptr_eq(s, source) || s == source);
        let index = known.unwrap_or_else(|| {
            self.sources.push(Arc::clone(source));
            self.attached += source.file.as_deref().map_or(0, sections::file_bytes);
            self.sources.len() - 1
        }) as u16;
        match self.runs.last_mut() {
            Some(run) if run.source == index && run.received == received => run.count += count,
            _ => self.runs.push(Run {
                source: index,
                count,
                received,
            }),
        }
    }

    /// Notes where the last `taken` events pushed, from index `from` of `read`, lie in
    /// their file.
    fn note_places(&mut self, read: Read<'_>, from: usize, taken: usize) {
        let base = self.lengths.len() / 4 - taken;
        let mut start = 0;
        for run in read.runs {
            let end = start + run.count as usize;
            let (low, high) = (start.max(from), end.min(from + taken));
            if low < high {
                let place = Place {
                    first: (base + low - from) as u32,
                    count: (high - low) as u32,
                    offset: run
                        .offset
                        .saturating_add(skipped(read.events, run, start, low)),
                    gap: run.gap,
                    is_cut: run.is_cut,
                };
                place.encode(&mut self.places);
            }
            start = end;
        }
    }

    /// Ends the block: appends its stored form to `out` and returns its form in memory.
    /// `None` when nothing was pushed.
    pub(in crate::spool) fn finish(
        &mut self,
        first: Seq,
        codec: SpoolCodec,
        out: &mut Vec<u8>,
    ) -> Option<Block> {
        if self.is_empty() {
            return None;
        }
        let mut raw = std::mem::take(&mut self.raw);
        let payload = SECTION_HEADER..raw.len();
        if let Some(head) = raw.first_chunk_mut() {
            *head = sections::header(KIND_BYTES, 0, payload.len());
        }
        let count = (self.lengths.len() / 4) as u32;
        let lengths = add(&mut raw, KIND_LENGTHS, 0, &self.lengths);
        self.lengths.clear();
        sections::encode_runs(&self.runs, &mut raw);
        add(
            &mut raw,
            KIND_SOURCES,
            0,
            &sections::encode_sources(&self.sources),
        );
        let optional = |raw: &mut Vec<u8>, kind, content: &[u8]| match content {
            [] => 0..0,
            content => add(raw, kind, SECTION_OPTIONAL, content),
        };
        optional(&mut raw, KIND_FILES, &sections::encode_files(&self.sources));
        let places = optional(&mut raw, KIND_PLACES, &self.places);
        self.places.clear();
        let checkpoints = optional(&mut raw, KIND_CHECKPOINTS, &self.take_checkpoints());
        store(first, count, codec, &raw, out);
        Some(Block {
            first,
            count,
            raw,
            payload,
            lengths,
            runs: std::mem::take(&mut self.runs),
            sources: std::mem::take(&mut self.sources),
            checkpoints,
            places,
        })
    }

    fn take_checkpoints(&mut self) -> Vec<u8> {
        self.attached = 0;
        let mut content = Vec::new();
        for (key, value) in std::mem::take(&mut self.checkpoints) {
            sections::encode_checkpoint(key, value.as_deref(), &mut content);
        }
        content
    }
}

/// Bytes of the file from the start of `run`, whose first event has index `first`, to the
/// event of index `to`.
fn skipped(events: &EventBuf, run: &FileRun, first: usize, to: usize) -> u64 {
    let end_before = |index: usize| {
        let before = index.checked_sub(1).and_then(|i| events.ends().get(i));
        u64::from(before.copied().unwrap_or(0))
    };
    end_before(to) - end_before(first) + (to - first) as u64 * u64::from(run.gap)
}

/// Appends a section; returns where its content lies.
fn add(raw: &mut Vec<u8>, kind: u16, flags: u16, content: &[u8]) -> std::ops::Range<usize> {
    raw.extend_from_slice(&sections::header(kind, flags, content.len()));
    let start = raw.len();
    raw.extend_from_slice(content);
    start..raw.len()
}

/// Appends header and body of a block to `out`; a body that does not shrink stays as it is.
fn store(first: Seq, count: u32, codec: SpoolCodec, raw: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    let body_at = start + HEADER_BYTES;
    let bound = match codec {
        SpoolCodec::None => 0,
        SpoolCodec::Lz4 => lz4_flex::block::get_maximum_output_size(raw.len()),
        SpoolCodec::Zstd => zstd::zstd_safe::compress_bound(raw.len()),
    };
    room(out, HEADER_BYTES);
    let body = room(out, bound);
    let packed = match codec {
        SpoolCodec::None => None,
        SpoolCodec::Lz4 => lz4_flex::block::compress_into(raw, body)
            .ok()
            .map(|len| (1, len)),
        SpoolCodec::Zstd => zstd::bulk::compress_to_buffer(raw, body, 1)
            .ok()
            .map(|len| (2, len)),
    };
    let id = match packed {
        Some((id, len)) if len < raw.len() => {
            out.truncate(body_at + len);
            id
        }
        _ => {
            out.truncate(body_at);
            out.extend_from_slice(raw);
            0
        }
    };
    let stored_len = (out.len() - body_at) as u32;
    let mut header = Vec::with_capacity(HEADER_BYTES);
    header.extend_from_slice(&MAGIC.to_le_bytes());
    header.extend_from_slice(&[VERSION, id, 0, 0]);
    header.extend_from_slice(&first.to_le_bytes());
    header.extend_from_slice(&count.to_le_bytes());
    header.extend_from_slice(&(raw.len() as u32).to_le_bytes());
    header.extend_from_slice(&stored_len.to_le_bytes());
    let body = out.get(body_at..).unwrap_or_default();
    let crc = crc32c::crc32c_append(crc32c::crc32c(&header), body);
    header.extend_from_slice(&crc.to_le_bytes());
    if let Some(slot) = out.get_mut(start..body_at) {
        slot.copy_from_slice(&header);
    }
}
