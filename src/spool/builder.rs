//! Gathers events into a block and writes its stored form. The other half of the codec.
//!
//! Owns no I/O. The layout is told in [`super::block`].

use std::sync::Arc;

use super::block::{
    BLOCK_EVENTS, BLOCK_SOURCES, BLOCK_TARGET, Block, HEADER_BYTES, KIND_BYTES, KIND_LENGTHS,
    KIND_RUNS, KIND_SOURCES, MAGIC, Run, SECTION_HEADER, VERSION,
};
use crate::config::SpoolCodec;
use crate::event::{EventBuf, Peer, Source, UnixMillis};
use crate::proof::Seq;

/// Gathers events until they are a block's worth.
#[derive(Debug, Default)]
pub(super) struct Builder {
    raw: Vec<u8>,
    lengths: Vec<u8>,
    runs: Vec<Run>,
    sources: Vec<Arc<Source>>,
}

impl Builder {
    /// Whether nothing was pushed since the last block.
    pub(super) fn is_empty(&self) -> bool {
        self.lengths.is_empty()
    }

    /// Whether the block has reached its size.
    pub(super) fn is_full(&self) -> bool {
        self.raw.len() >= BLOCK_TARGET
            || self.lengths.len() >= 4 * BLOCK_EVENTS
            || self.sources.len() >= BLOCK_SOURCES
    }

    /// Takes events of `events` from index `from` on, as many as fit, at least one when the
    /// block is empty. Returns the index of the first event not taken.
    pub(super) fn push(
        &mut self,
        events: &EventBuf,
        from: usize,
        source: &Arc<Source>,
        received: UnixMillis,
    ) -> usize {
        if self.raw.is_empty() {
            self.raw.extend_from_slice(&[0; SECTION_HEADER]);
        }
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
            self.note_run(taken as u32, source, received);
        }
        from + taken
    }

    fn note_run(&mut self, count: u32, source: &Arc<Source>, received: UnixMillis) {
        let known = self
            .sources
            .iter()
            .rposition(|s| Arc::ptr_eq(s, source) || s == source);
        let index = known.unwrap_or_else(|| {
            self.sources.push(Arc::clone(source));
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

    /// Ends the block: appends its stored form to `out` and returns its form in memory.
    /// `None` when nothing was pushed.
    pub(super) fn finish(
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
            *head = section_header(KIND_BYTES, payload.len());
        }
        let count = (self.lengths.len() / 4) as u32;
        raw.extend_from_slice(&section_header(KIND_LENGTHS, self.lengths.len()));
        let lengths = raw.len()..raw.len() + self.lengths.len();
        raw.append(&mut self.lengths);
        raw.extend_from_slice(&section_header(KIND_RUNS, self.runs.len() * 14));
        for run in &self.runs {
            raw.extend_from_slice(&run.source.to_le_bytes());
            raw.extend_from_slice(&run.count.to_le_bytes());
            raw.extend_from_slice(&run.received.to_le_bytes());
        }
        let sources = encode_sources(&self.sources);
        raw.extend_from_slice(&section_header(KIND_SOURCES, sources.len()));
        raw.extend_from_slice(&sources);
        store(first, count, codec, &raw, out);
        Some(Block {
            first,
            count,
            raw,
            payload,
            lengths,
            runs: std::mem::take(&mut self.runs),
            sources: std::mem::take(&mut self.sources),
        })
    }
}

fn section_header(kind: u16, len: usize) -> [u8; SECTION_HEADER] {
    let (kind, len) = (kind.to_le_bytes(), (len as u32).to_le_bytes());
    let mut header = [0; SECTION_HEADER];
    for (to, from) in header
        .iter_mut()
        .zip(kind.iter().chain(&[0, 0]).chain(&len))
    {
        *to = *from;
    }
    header
}

fn encode_sources(sources: &[Arc<Source>]) -> Vec<u8> {
    let mut out = Vec::with_capacity(48 * sources.len());
    for source in sources {
        // Names come from the configuration and are far shorter than 64 KiB.
        let name = source.input.as_bytes();
        let name = name.get(..usize::from(u16::MAX)).unwrap_or(name);
        out.extend_from_slice(&(name.len() as u16).to_le_bytes());
        out.extend_from_slice(name);
        out.push(u8::from(source.peer.is_some()));
        let peer = source.peer.unwrap_or(Peer {
            uid: 0,
            gid: 0,
            pid: 0,
        });
        out.extend_from_slice(&peer.uid.to_le_bytes());
        out.extend_from_slice(&peer.gid.to_le_bytes());
        out.extend_from_slice(&peer.pid.to_le_bytes());
    }
    out
}

/// Appends header and body of a block to `out`; a body that does not shrink stays as it is.
fn store(first: Seq, count: u32, codec: SpoolCodec, raw: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    let body_at = start + HEADER_BYTES;
    let room = match codec {
        SpoolCodec::None => 0,
        SpoolCodec::Lz4 => lz4_flex::block::get_maximum_output_size(raw.len()),
        SpoolCodec::Zstd => zstd::zstd_safe::compress_bound(raw.len()),
    };
    out.resize(body_at + room, 0);
    let body = out.get_mut(body_at..).unwrap_or_default();
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
