//! The block: how events look on disk. A pure codec, no I/O.
//!
//! ```text
//! header, 32 bytes, little endian
//!    0  u32  magic "SPWB"
//!    4  u8   format version, 1
//!    5  u8   codec of the body: 0 none, 1 LZ4 block, 2 Zstandard frame
//!    6  u16  flags, 0
//!    8  u64  sequence number of the first event
//!   16  u32  number of events, at least 1
//!   20  u32  length of the body, uncompressed
//!   24  u32  length of the body as stored
//!   28  u32  CRC32C of bytes 0..28 and of the stored body
//! body: sections, each  u16 kind | u16 flags | u32 length | content
//!   kind 1  bytes    the events, end to end
//!   kind 2  lengths  u32 per event
//!   kind 3  runs     u16 source | u32 events | i64 received (ms since 1970), in order
//!   kind 4  sources  u16 name length | name | u8 peer known | u32 uid | u32 gid | i32 pid
//!   kind 5  checkpoints, optional  u64 key | u8 has value | u16 length | value
//!   kind 6  files, optional        u16 source | u64 inode | u64 device | u16 length | path
//!                                  | u8 captures, each u16 length | name | u16 length | text
//!   kind 7  places, optional       u32 first event | u32 events | u64 offset in the file
//!                                  | u8 gap between two events | u8 flags, bit 0: cut
//! ```
//!
//! A section of an unknown kind is skipped when bit 0 of its flags is set ("optional"), and
//! refused otherwise, so later releases can add both sorts. Every length is checked before
//! memory is taken for it.

mod builder;
mod events;
mod header;
mod sections;
#[cfg(test)]
mod tests;

use std::ops::Range;
use std::sync::Arc;

pub(super) use builder::{Builder, Read};
pub use events::{Events, StoredEvent};
pub(super) use header::{BLOCK_EVENTS, BLOCK_TARGET, BlockError, Bytes, HEADER_BYTES, Header};
pub(super) use sections::{
    checkpoint_bytes, encode_checkpoint, encode_file, parse_checkpoint, parse_file,
};

use crate::event::{Checkpoint, Source, UnixMillis};
use crate::proof::{Seq, SeqRange};
use sections::Run;

/// A block in memory: uncompressed, checked, never changed.
#[derive(Debug)]
pub struct Block {
    first: Seq,
    count: u32,
    raw: Vec<u8>,
    payload: Range<usize>,
    lengths: Range<usize>,
    runs: Vec<Run>,
    sources: Vec<Arc<Source>>,
    checkpoints: Range<usize>,
    places: Range<usize>,
}

impl Block {
    /// Sequence number of the first event.
    pub fn first(&self) -> Seq {
        self.first
    }

    /// One past the last sequence number.
    pub fn end(&self) -> Seq {
        self.first + u64::from(self.count)
    }

    /// Number of events, at least 1.
    pub fn len(&self) -> u32 {
        self.count
    }

    /// Always false: a block has at least one event.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The sequence numbers of the block.
    pub fn range(&self) -> SeqRange {
        SeqRange {
            first: self.first,
            count: self.count,
        }
    }

    /// Bytes of all events together.
    pub fn payload_bytes(&self) -> usize {
        self.payload.len()
    }

    /// Memory the block holds, in bytes.
    pub fn memory_bytes(&self) -> usize {
        self.raw.capacity() + self.runs.len() * size_of::<Run>() + 64 * self.sources.len()
    }

    /// When the first event arrived.
    pub fn received(&self) -> UnixMillis {
        self.runs.first().map_or(0, |run| run.received)
    }

    /// The events in order.
    pub fn events(&self) -> Events<'_> {
        Events::of(self)
    }

    /// The checkpoints of the block, each the last one of its key.
    pub(super) fn checkpoints(&self) -> Result<Vec<Checkpoint>, BlockError> {
        let mut at = Bytes(self.section(&self.checkpoints));
        let mut found = Vec::new();
        while !at.0.is_empty() {
            found.push(parse_checkpoint(&mut at)?);
        }
        Ok(found)
    }

    fn section(&self, place: &Range<usize>) -> &[u8] {
        self.raw.get(place.clone()).unwrap_or_default()
    }

    /// Reads a block from `stored`, which holds exactly one.
    pub(super) fn decode(stored: &[u8]) -> Result<Self, BlockError> {
        let header = Header::parse(stored)?;
        let (head, body) = stored
            .split_at_checked(HEADER_BYTES)
            .ok_or(BlockError::Truncated)?;
        if body.len() != header.stored_len {
            return Err(BlockError::Truncated);
        }
        let summed = head.get(..HEADER_BYTES - 4).ok_or(BlockError::Truncated)?;
        if crc32c::crc32c_append(crc32c::crc32c(summed), body) != header.crc {
            return Err(BlockError::Checksum);
        }
        let raw = decompress(header.codec, body, header.raw_len)?;
        Self::from_raw(header.first, header.count, raw)
    }

    /// Finds the sections of an uncompressed body and checks them against each other.
    fn from_raw(first: Seq, count: u32, raw: Vec<u8>) -> Result<Self, BlockError> {
        let mut payload = 0..0;
        let mut lengths = 0..0;
        let mut runs = Vec::new();
        let mut sources = Vec::new();
        let mut files: &[u8] = &[];
        let mut checkpoints = 0..0;
        let mut places = 0..0;
        let mut at = Bytes(&raw);
        while !at.0.is_empty() {
            let (kind, flags, len) = (at.u16()?, at.u16()?, at.u32()? as usize);
            let start = raw.len() - at.0.len();
            let content = at.take(len)?;
            match kind {
                sections::KIND_BYTES => payload = start..start + len,
                sections::KIND_LENGTHS => lengths = start..start + len,
                sections::KIND_RUNS => runs = sections::parse_runs(content)?,
                sections::KIND_SOURCES => sources = sections::parse_sources(content)?,
                sections::KIND_CHECKPOINTS => checkpoints = start..start + len,
                sections::KIND_FILES => files = content,
                sections::KIND_PLACES => places = start..start + len,
                _ if flags & sections::SECTION_OPTIONAL != 0 => {}
                _ => return Err(BlockError::Section(kind)),
            }
        }
        sections::parse_files(files, &mut sources)?;
        let sources = sources.into_iter().map(Arc::new).collect();
        let block = Self {
            first,
            count,
            raw,
            payload,
            lengths,
            runs,
            sources,
            checkpoints,
            places,
        };
        if block.is_consistent() {
            Ok(block)
        } else {
            Err(BlockError::Inconsistent)
        }
    }

    fn is_consistent(&self) -> bool {
        let lengths = self.section(&self.lengths);
        let total: u64 = lengths
            .chunks_exact(4)
            .map(|c| u64::from(events::le_u32(c)))
            .sum();
        let counted: u64 = self.runs.iter().map(|run| u64::from(run.count)).sum();
        lengths.len() as u64 == 4 * u64::from(self.count)
            && total == self.payload.len() as u64
            && counted == u64::from(self.count)
            && self
                .runs
                .iter()
                .all(|run| usize::from(run.source) < self.sources.len())
            && sections::are_places(self.section(&self.places), self.count)
    }
}

fn decompress(codec: u8, body: &[u8], raw_len: usize) -> Result<Vec<u8>, BlockError> {
    let raw = match codec {
        0 => body.to_vec(),
        1 => lz4_flex::block::decompress(body, raw_len).map_err(|_| BlockError::Compression)?,
        2 => zstd::bulk::decompress(body, raw_len).map_err(|_| BlockError::Compression)?,
        other => return Err(BlockError::Codec(other)),
    };
    if raw.len() == raw_len {
        Ok(raw)
    } else {
        Err(BlockError::Compression)
    }
}
