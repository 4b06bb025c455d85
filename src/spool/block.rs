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
//! ```
//!
//! A section of an unknown kind is skipped when bit 0 of its flags is set, and refused
//! otherwise, so later releases can add both sorts. Every length is checked before memory
//! is taken for it.

use std::ops::Range;
use std::sync::Arc;

use crate::event::{Peer, Source, UnixMillis};
use crate::proof::{Seq, SeqRange};

/// Bytes of the header.
pub(super) const HEADER_BYTES: usize = 32;
/// A block is closed when its events have this many bytes.
pub(super) const BLOCK_TARGET: usize = 256 * 1024;
/// Largest body a reader takes memory for: one event of 16 MiB, and its tables.
const BODY_LIMIT: usize = 16 * 1024 * 1024 + 2 * BLOCK_TARGET;
/// Most events of one block, so that its tables stay below [`BODY_LIMIT`].
pub(super) const BLOCK_EVENTS: usize = 32 * 1024;
/// Most sources of one block.
pub(super) const BLOCK_SOURCES: usize = 1024;

pub(super) const MAGIC: u32 = u32::from_le_bytes(*b"SPWB");
pub(super) const VERSION: u8 = 1;
pub(super) const KIND_BYTES: u16 = 1;
pub(super) const KIND_LENGTHS: u16 = 2;
pub(super) const KIND_RUNS: u16 = 3;
pub(super) const KIND_SOURCES: u16 = 4;
const SECTION_OPTIONAL: u16 = 1;
pub(super) const SECTION_HEADER: usize = 8;

/// Why bytes are not a block.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum BlockError {
    #[error("block is cut short")]
    Truncated,
    #[error("no block starts here")]
    Magic,
    #[error("block version {0} is not known")]
    Version(u8),
    #[error("block codec {0} is not known")]
    Codec(u8),
    #[error("block checksum does not match")]
    Checksum,
    #[error("block body of {0} bytes is over the limit")]
    TooLarge(usize),
    #[error("block body does not decompress")]
    Compression,
    #[error("block section {0} is not known")]
    Section(u16),
    #[error("block tables contradict each other")]
    Inconsistent,
}

/// The fixed part of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) first: Seq,
    pub(super) count: u32,
    codec: u8,
    raw_len: usize,
    pub(super) stored_len: usize,
    crc: u32,
}

impl Header {
    /// Reads the header at the start of `bytes`; the checksum is left to [`Block::decode`].
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, BlockError> {
        let mut at = Bytes(bytes);
        if at.u32()? != MAGIC {
            return Err(BlockError::Magic);
        }
        let version = at.u8()?;
        if version != VERSION {
            return Err(BlockError::Version(version));
        }
        let codec = at.u8()?;
        let _flags = at.u16()?;
        let (first, count) = (at.u64()?, at.u32()?);
        let (raw_len, stored_len) = (at.u32()? as usize, at.u32()? as usize);
        let crc = at.u32()?;
        let longest = raw_len.max(stored_len);
        if longest > BODY_LIMIT {
            return Err(BlockError::TooLarge(longest));
        }
        if count == 0 || first == 0 || first.checked_add(u64::from(count)).is_none() {
            return Err(BlockError::Inconsistent);
        }
        Ok(Self {
            first,
            count,
            codec,
            raw_len,
            stored_len,
            crc,
        })
    }

    /// One past the last sequence number.
    pub(super) fn end(&self) -> Seq {
        self.first + u64::from(self.count)
    }
}

/// Reads little-endian numbers from the front of a slice.
pub(super) struct Bytes<'a>(pub(super) &'a [u8]);

impl<'a> Bytes<'a> {
    pub(super) fn take(&mut self, len: usize) -> Result<&'a [u8], BlockError> {
        let (head, rest) = self.0.split_at_checked(len).ok_or(BlockError::Truncated)?;
        self.0 = rest;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], BlockError> {
        let (head, rest) = self.0.split_first_chunk().ok_or(BlockError::Truncated)?;
        self.0 = rest;
        Ok(*head)
    }

    pub(super) fn u8(&mut self) -> Result<u8, BlockError> {
        Ok(u8::from_le_bytes(self.array()?))
    }

    pub(super) fn u16(&mut self) -> Result<u16, BlockError> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    pub(super) fn u32(&mut self) -> Result<u32, BlockError> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    pub(super) fn u64(&mut self) -> Result<u64, BlockError> {
        Ok(u64::from_le_bytes(self.array()?))
    }
}

/// Events of one source that arrived in one read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) source: u16,
    pub(super) count: u32,
    pub(super) received: UnixMillis,
}

/// A block in memory: uncompressed, checked, never changed.
#[derive(Debug)]
pub struct Block {
    pub(super) first: Seq,
    pub(super) count: u32,
    pub(super) raw: Vec<u8>,
    pub(super) payload: Range<usize>,
    pub(super) lengths: Range<usize>,
    pub(super) runs: Vec<Run>,
    pub(super) sources: Vec<Arc<Source>>,
}

/// One event as it lies in a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredEvent<'a> {
    /// Its sequence number.
    pub seq: Seq,
    /// Where it came from.
    pub source: &'a Source,
    /// When it arrived, by this host's clock.
    pub received: UnixMillis,
    /// The event, byte for byte as it came.
    pub bytes: &'a [u8],
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
        Events {
            seq: self.first,
            payload: self.raw.get(self.payload.clone()).unwrap_or_default(),
            lengths: self
                .raw
                .get(self.lengths.clone())
                .unwrap_or_default()
                .chunks_exact(4),
            runs: self.runs.iter(),
            sources: &self.sources,
            current: None,
            left: 0,
            received: 0,
        }
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
        let mut at = Bytes(&raw);
        while !at.0.is_empty() {
            let (kind, flags, len) = (at.u16()?, at.u16()?, at.u32()? as usize);
            let start = raw.len() - at.0.len();
            let content = at.take(len)?;
            match kind {
                KIND_BYTES => payload = start..start + len,
                KIND_LENGTHS => lengths = start..start + len,
                KIND_RUNS => runs = parse_runs(content)?,
                KIND_SOURCES => sources = parse_sources(content)?,
                _ if flags & SECTION_OPTIONAL != 0 => {}
                _ => return Err(BlockError::Section(kind)),
            }
        }
        let block = Self {
            first,
            count,
            raw,
            payload,
            lengths,
            runs,
            sources,
        };
        if block.is_consistent() {
            Ok(block)
        } else {
            Err(BlockError::Inconsistent)
        }
    }

    fn is_consistent(&self) -> bool {
        let lengths = self.raw.get(self.lengths.clone()).unwrap_or_default();
        let total: u64 = lengths.chunks_exact(4).map(|c| u64::from(le_u32(c))).sum();
        let counted: u64 = self.runs.iter().map(|run| u64::from(run.count)).sum();
        lengths.len() as u64 == 4 * u64::from(self.count)
            && total == self.payload.len() as u64
            && counted == u64::from(self.count)
            && self
                .runs
                .iter()
                .all(|run| usize::from(run.source) < self.sources.len())
    }
}

/// Iterator over the events of a [`Block`].
#[derive(Debug)]
pub struct Events<'a> {
    seq: Seq,
    payload: &'a [u8],
    lengths: std::slice::ChunksExact<'a, u8>,
    runs: std::slice::Iter<'a, Run>,
    sources: &'a [Arc<Source>],
    current: Option<&'a Source>,
    left: u32,
    received: UnixMillis,
}

impl<'a> Iterator for Events<'a> {
    type Item = StoredEvent<'a>;

    fn next(&mut self) -> Option<StoredEvent<'a>> {
        let len = le_u32(self.lengths.next()?) as usize;
        while self.left == 0 {
            let run = self.runs.next()?;
            self.left = run.count;
            self.received = run.received;
            self.current = self.sources.get(usize::from(run.source)).map(Arc::as_ref);
        }
        self.left -= 1;
        let (bytes, rest) = self.payload.split_at_checked(len)?;
        self.payload = rest;
        let seq = self.seq;
        self.seq += 1;
        Some(StoredEvent {
            seq,
            source: self.current?,
            received: self.received,
            bytes,
        })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.lengths.size_hint()
    }
}

fn le_u32(chunk: &[u8]) -> u32 {
    chunk
        .first_chunk()
        .map_or(0, |bytes| u32::from_le_bytes(*bytes))
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

fn parse_runs(content: &[u8]) -> Result<Vec<Run>, BlockError> {
    let mut at = Bytes(content);
    let mut runs = Vec::with_capacity(content.len() / 14);
    while !at.0.is_empty() {
        let (source, count) = (at.u16()?, at.u32()?);
        runs.push(Run {
            source,
            count,
            received: at.u64()?.cast_signed(),
        });
    }
    Ok(runs)
}

fn parse_sources(content: &[u8]) -> Result<Vec<Arc<Source>>, BlockError> {
    let mut at = Bytes(content);
    let mut sources = Vec::new();
    while !at.0.is_empty() {
        let len = usize::from(at.u16()?);
        let name = std::str::from_utf8(at.take(len)?).map_err(|_| BlockError::Inconsistent)?;
        let known = at.u8()? != 0;
        let peer = Peer {
            uid: at.u32()?,
            gid: at.u32()?,
            pid: at.u32()?.cast_signed(),
        };
        sources.push(Arc::new(Source {
            input: name.into(),
            peer: known.then_some(peer),
        }));
    }
    Ok(sources)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proptest::prelude::*;

    use super::super::builder::Builder;
    use super::*;
    use crate::config::SpoolCodec;
    use crate::event::EventBuf;

    fn codec() -> impl Strategy<Value = SpoolCodec> {
        prop::sample::select(vec![SpoolCodec::None, SpoolCodec::Lz4, SpoolCodec::Zstd])
    }

    fn reads() -> impl Strategy<Value = Vec<(u8, i64, Vec<Vec<u8>>)>> {
        let event = prop::collection::vec(any::<u8>(), 0..200);
        let read = (0..4u8, any::<i64>(), prop::collection::vec(event, 1..20));
        prop::collection::vec(read, 1..12)
    }

    fn source(number: u8) -> Arc<Source> {
        let peer = (number % 2 == 1).then_some(Peer {
            uid: 1,
            gid: 2,
            pid: i32::from(number),
        });
        Arc::new(Source {
            input: format!("input-{number}").into(),
            peer,
        })
    }

    fn encode(first: Seq, codec: SpoolCodec, reads: &[(u8, i64, Vec<Vec<u8>>)]) -> Vec<u8> {
        let mut builder = Builder::default();
        for (from, received, events) in reads {
            let mut buf = EventBuf::default();
            events.iter().for_each(|event| buf.push(event));
            assert_eq!(builder.push(&buf, 0, &source(*from), *received), buf.len());
        }
        let mut stored = Vec::new();
        builder.finish(first, codec, &mut stored).unwrap();
        stored
    }

    proptest! {
        #[test]
        fn any_bytes_come_back_as_they_went_in(codec in codec(), reads in reads()) {
            let block = Block::decode(&encode(77, codec, &reads)).unwrap();
            let mut stored = block.events();
            let mut seq = 77;
            for (from, received, events) in &reads {
                for bytes in events {
                    let source = source(*from);
                    let expected =
                        StoredEvent { seq, source: &source, received: *received, bytes };
                    prop_assert_eq!(stored.next(), Some(expected));
                    seq += 1;
                }
            }
            prop_assert_eq!(stored.next(), None);
            prop_assert_eq!(block.end(), seq);
        }

        #[test]
        fn a_changed_byte_is_always_noticed(
            codec in codec(), reads in reads(), at in any::<prop::sample::Index>(), bit in 0..8u8
        ) {
            let mut stored = encode(5, codec, &reads);
            let at = at.index(stored.len());
            stored[at] ^= 1 << bit;
            prop_assert!(Block::decode(&stored).is_err());
        }

        #[test]
        fn random_bytes_never_panic_even_with_a_right_checksum(
            mut bytes in prop::collection::vec(any::<u8>(), 0..400), codec in 0..4u8
        ) {
            let _ = Block::decode(&bytes);
            if bytes.len() >= HEADER_BYTES {
                bytes[..4].copy_from_slice(b"SPWB");
                bytes[4..8].copy_from_slice(&[VERSION, codec, 0, 0]);
                let stored = (bytes.len() - HEADER_BYTES) as u32;
                bytes[20..24].copy_from_slice(&(stored * 2).to_le_bytes());
                bytes[24..28].copy_from_slice(&stored.to_le_bytes());
                let crc = crc32c::crc32c_append(crc32c::crc32c(&bytes[..28]), &bytes[32..]);
                bytes[28..32].copy_from_slice(&crc.to_le_bytes());
                let _ = Block::decode(&bytes);
            }
            let _ = Block::from_raw(1, 3, bytes);
        }
    }

    #[test]
    fn an_unknown_section_is_skipped_or_refused_as_its_flag_says() {
        let stored = encode(1, SpoolCodec::None, &[(0, 9, vec![b"event".to_vec()])]);
        let raw = stored[HEADER_BYTES..].to_vec();
        let with = |flags: u8| [&raw[..], &[99, 0, flags, 0, 2, 0, 0, 0, 7, 7]].concat();
        assert!(Block::from_raw(1, 1, with(1)).is_ok());
        assert_eq!(
            Block::from_raw(1, 1, with(0)).unwrap_err(),
            BlockError::Section(99)
        );
    }

    #[test]
    fn blocks_written_by_version_1_are_read_for_ever() {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/spool_v1");
        let reads = golden();
        for (name, codec) in [
            ("none", SpoolCodec::None),
            ("lz4", SpoolCodec::Lz4),
            ("zstd", SpoolCodec::Zstd),
        ] {
            let path = dir.join(format!("block-{name}.bin"));
            if std::env::var_os("SPOOLWAY_WRITE_FIXTURES").is_some() {
                std::fs::write(&path, encode(1000, codec, &reads)).unwrap();
            }
            let block = Block::decode(&std::fs::read(&path).unwrap()).unwrap();
            assert_eq!((block.first(), block.len()), (1000, 41), "{name}");
            let expected: Vec<&[u8]> = reads
                .iter()
                .flat_map(|(_, _, events)| events)
                .map(Vec::as_slice)
                .collect();
            assert!(
                block.events().map(|event| event.bytes).eq(expected),
                "{name}"
            );
            let last = block.events().last().unwrap();
            assert_eq!(
                (&*last.source.input, last.received),
                ("input-1", -4),
                "{name}"
            );
        }
    }

    /// What the sample blocks hold.
    fn golden() -> Vec<(u8, i64, Vec<Vec<u8>>)> {
        let lines = (0..40).map(|n| format!("{{\"n\":{n},\"text\":\"a line\"}}").into_bytes());
        vec![
            (0, 1_795_000_000_000, lines.collect()),
            (1, -4, vec![vec![0, 255, 10]]),
        ]
    }
}
