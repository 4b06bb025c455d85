//! The events of a block, one by one. Owns nothing; borrows the block.

use std::slice::ChunksExact;
use std::sync::Arc;

use super::Block;
use super::sections::{PLACE_BYTES, Place, Run};
use crate::event::{FilePlace, Source, UnixMillis};
use crate::proof::Seq;

/// One event as it lies in a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredEvent<'a> {
    /// Its sequence number.
    pub seq: Seq,
    /// Where it came from.
    pub source: &'a Source,
    /// When it arrived, by this host's clock.
    pub received: UnixMillis,
    /// Where it lies in the file of its source, if there is one.
    pub place: Option<FilePlace>,
    /// The event, byte for byte as it came.
    pub bytes: &'a [u8],
}

/// Iterator over the events of a [`Block`].
#[derive(Debug)]
pub struct Events<'a> {
    seq: Seq,
    payload: &'a [u8],
    lengths: ChunksExact<'a, u8>,
    runs: std::slice::Iter<'a, Run>,
    sources: &'a [Arc<Source>],
    current: Option<&'a Source>,
    left: u32,
    received: UnixMillis,
    /// Index of the next event within the block.
    index: u32,
    places: ChunksExact<'a, u8>,
    /// What is left of the place that the next event is in or before.
    place: Option<Place>,
}

impl<'a> Events<'a> {
    pub(super) fn of(block: &'a Block) -> Self {
        let mut places = block.section(&block.places).chunks_exact(PLACE_BYTES);
        let place = next_place(&mut places);
        Self {
            seq: block.first,
            payload: block.section(&block.payload),
            lengths: block.section(&block.lengths).chunks_exact(4),
            runs: block.runs.iter(),
            sources: &block.sources,
            current: None,
            left: 0,
            received: 0,
            index: 0,
            places,
            place,
        }
    }

    /// The place of the next event, which has `len` bytes.
    fn take_place(&mut self, len: usize) -> Option<FilePlace> {
        let run = self.place.as_mut().filter(|run| run.first == self.index)?;
        let place = FilePlace {
            offset: run.offset,
            is_cut: run.is_cut,
        };
        let step = len as u64 + u64::from(run.gap);
        run.first += 1;
        run.count -= 1;
        run.offset = run.offset.saturating_add(step);
        if run.count == 0 {
            self.place = next_place(&mut self.places);
        }
        Some(place)
    }
}

fn next_place(places: &mut ChunksExact<'_, u8>) -> Option<Place> {
    places.next().and_then(|entry| Place::parse(entry).ok())
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
        let place = self.take_place(len);
        self.index += 1;
        Some(StoredEvent {
            seq,
            source: self.current?,
            received: self.received,
            place,
            bytes,
        })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.lengths.size_hint()
    }
}

pub(super) fn le_u32(chunk: &[u8]) -> u32 {
    chunk
        .first_chunk()
        .map_or(0, |bytes| u32::from_le_bytes(*bytes))
}
