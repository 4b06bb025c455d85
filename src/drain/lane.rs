//! One partition as the drain sees it: the batch being built, batches that wait, how many
//! are in flight, and whether it lags behind the others.
//!
//! Does not read the spool and does not talk to the producer.

use std::collections::VecDeque;
use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

use super::expiry;
use super::topic::Pass;
use crate::config::{Compression, RouteConfig};
use crate::kafka::{Batch, BatchBuilder, Expiry, RecordRef, TopicPartition};
use crate::proof::{CopyId, Seq, SeqRanges};

/// Sealed batches that a lane may hold before it counts as full.
const READY_BATCHES: usize = 2;

/// When a batch closes.
#[derive(Debug, Clone, Copy)]
pub struct BatchLimits {
    /// Uncompressed bytes.
    pub bytes: usize,
    /// Events.
    pub events: u32,
    /// Longest wait of the first event.
    pub linger: Duration,
    /// Codec of the batch.
    pub compression: Compression,
    /// Batches that the producer may hold for one partition.
    pub in_flight: u32,
}

/// Bytes of a request that are no batch: names and numbers around it.
const REQUEST_ROOM: usize = 1 << 10;

/// What a codec adds to bytes that it cannot make smaller, at most one part in this many
/// (snappy in Java's framing: 10 bytes for each 32 KiB; the others less).
const CODEC_ROOM: usize = 1 << 10;

/// The largest batch, uncompressed, that a request of `request` bytes holds for certain.
pub(super) fn batch_bytes_max(request: usize) -> usize {
    request.saturating_sub(REQUEST_ROOM + request / CODEC_ROOM)
}

impl BatchLimits {
    /// These limits with what a route sets instead; a batch still fits `request` bytes.
    pub(super) fn of_route(self, route: &RouteConfig, request: usize) -> Self {
        let bytes = route.batch_bytes.map(|bytes| bytes as usize);
        Self {
            bytes: bytes.unwrap_or(self.bytes).min(batch_bytes_max(request)),
            events: route.batch_events.unwrap_or(self.events),
            compression: route.compression.unwrap_or(self.compression),
            ..self
        }
    }
}

/// One partition.
pub(super) struct Lane {
    to: TopicPartition,
    open: Option<Open>,
    ready: VecDeque<Batch>,
    in_flight: u32,
    /// See [`Batch::term`].
    term: u32,
    /// Batches of an earlier term are still under way.
    ending: bool,
    /// Set while events of this lane are unplaced: none before it is.
    lag: Option<Seq>,
    left: bool,
    full_since: Option<Instant>,
    /// Records of batches that could not be encoded, with the reason.
    failed: Vec<(SeqRanges, String)>,
    /// What went wrong last, for status.
    pub(super) last_error: Option<String>,
}

struct Open {
    builder: BatchBuilder,
    ranges: SeqRanges,
    since: Instant,
    compression: Compression,
    expires: Option<Expiry>,
}

impl Lane {
    /// A lane without events; it lags when its topic does.
    pub(super) fn new(to: TopicPartition, lag: Option<Seq>) -> Self {
        Self {
            to,
            open: None,
            ready: VecDeque::new(),
            in_flight: 0,
            term: 0,
            ending: false,
            lag,
            left: false,
            full_since: None,
            failed: Vec::new(),
            last_error: None,
        }
    }

    /// The partition.
    pub(super) fn partition(&self) -> &TopicPartition {
        &self.to
    }

    /// Where unplaced events of this lane may begin.
    pub(super) fn lag(&self) -> Option<Seq> {
        self.lag
    }

    /// Events before `block` are placed; from there on some may not be.
    pub(super) fn lag_from(&mut self, block: Seq) {
        self.lag = Some(self.lag.map_or(block, |lag| lag.min(block)));
    }

    /// Notes that an event of `block` found no place in this pass.
    pub(super) fn leave(&mut self, pass: Pass, block: Seq) {
        match pass {
            Pass::Main => self.lag_from(block),
            Pass::Lagging => self.left = true,
            Pass::Expiring => {}
        }
    }

    /// The block at `first` was read again, the only one of `window` with unplaced events; the
    /// next such event is `next`.
    pub(super) fn advance(&mut self, window: &RangeInclusive<Seq>, first: Seq, next: Option<Seq>) {
        let left = std::mem::take(&mut self.left);
        if self.lag.is_some_and(|lag| window.contains(&lag)) {
            self.lag = if left { Some(first) } else { next };
        }
    }

    /// Batches that the producer holds.
    pub(super) fn in_flight(&self) -> u32 {
        self.in_flight
    }

    /// Batches of events that wait here, the one being built included.
    pub(super) fn waiting(&self) -> usize {
        self.ready.len() + usize::from(self.open.is_some())
    }

    /// Work in hand, to choose the least loaded partition by.
    pub(super) fn load(&self) -> usize {
        self.waiting() + self.in_flight as usize
    }

    /// Whether it can take no more batches now.
    pub(super) fn is_full(&self) -> bool {
        self.ready.len() >= READY_BATCHES || self.ending
    }

    /// Whether nothing of it is under way, waits or lags.
    pub(super) fn is_idle(&self) -> bool {
        let waits = self.lag.is_some() || !self.failed.is_empty();
        self.load() == 0 && !self.ending && !waits
    }

    /// How long it has been full, as seen by calls of this.
    pub(super) fn full_for(&mut self, now: Instant) -> Duration {
        if !self.is_full() {
            self.full_since = None;
            return Duration::ZERO;
        }
        now.saturating_duration_since(*self.full_since.get_or_insert(now))
    }

    /// Whether a batch is being built.
    pub(super) fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Uncompressed bytes of the batch being built.
    pub(super) fn open_bytes(&self) -> usize {
        self.open.as_ref().map_or(0, |open| open.builder.bytes())
    }

    /// When the batch being built must close.
    pub(super) fn deadline(&self, linger: Duration) -> Option<Instant> {
        self.open.as_ref().map(|open| open.since + linger)
    }

    /// Adds one record: a copy of an event. Returns the encoded bytes that sealing full
    /// batches added.
    pub(super) fn push(
        &mut self,
        (seq, copy): (Seq, CopyId),
        record: &RecordRef<'_>,
        expires: Option<Expiry>,
        limits: &BatchLimits,
        pool: &mut BuilderPool,
        now: Instant,
    ) -> usize {
        let mut sealed = 0;
        if self.open.as_ref().is_some_and(|open| {
            open.builder.bytes() + size_bound(record) > limits.bytes
                || open.builder.len() >= limits.events
                || open.compression != limits.compression
                || open.builder.is_timed() != record.timestamp.is_some()
        }) {
            sealed += self.seal(pool);
        }
        let open = self.open.get_or_insert_with(|| Open {
            builder: pool.take(),
            ranges: SeqRanges::default(),
            since: now,
            compression: limits.compression,
            expires: None,
        });
        open.expires = expiry::join(open.expires, expires);
        open.builder.push(record);
        open.ranges.push_copy(seq, copy);
        if open.builder.len() >= limits.events {
            sealed += self.seal(pool);
        }
        sealed
    }

    /// Closes the batch being built. Returns its encoded bytes, none when it cannot be
    /// encoded: then its records are among the [`Lane::take_failed`].
    pub(super) fn seal(&mut self, pool: &mut BuilderPool) -> usize {
        let Some(mut open) = self.open.take() else {
            return 0;
        };
        let encoded = open.builder.seal(open.compression);
        pool.give(open.builder);
        match encoded {
            Ok(encoded) => {
                let bytes = encoded.bytes();
                self.ready.push_back(Batch {
                    to: self.to.clone(),
                    encoded,
                    ranges: open.ranges,
                    term: self.term,
                    expires: open.expires,
                });
                bytes
            }
            Err(failure) => {
                self.failed.push((open.ranges, failure.to_string()));
                0
            }
        }
    }

    /// Records of batches that could not be encoded, with the reason; each is told once.
    pub(super) fn take_failed(&mut self) -> Vec<(SeqRanges, String)> {
        std::mem::take(&mut self.failed)
    }

    /// The next batch for the producer, when it may have one more.
    pub(super) fn next_batch(&mut self, limits: &BatchLimits) -> Option<Batch> {
        if self.in_flight >= limits.in_flight {
            return None;
        }
        let batch = self.ready.pop_front()?;
        self.in_flight += 1;
        self.full_since = None;
        Some(batch)
    }

    /// Whether the producer could take one more batch.
    pub(super) fn wants_batch(&self, limits: &BatchLimits) -> bool {
        self.in_flight < limits.in_flight && self.ready.is_empty()
    }

    /// `batches` have come back from the producer, whatever their fate.
    pub(super) fn came_back(&mut self, batches: u32) {
        self.in_flight = self.in_flight.saturating_sub(batches);
        self.ending &= self.in_flight > 0;
    }

    /// Batches of `term` came back for good. Nothing more goes until the others of it, which
    /// are under way, have come back too: their events are earlier than any new ones.
    pub(super) fn end_term(&mut self, term: u32) {
        if self.term == term {
            self.term = self.term.wrapping_add(1);
            self.ending = self.in_flight > 0;
        }
    }

    /// Takes back all events that were not sent, in order, with the encoded bytes freed.
    pub(super) fn recall(&mut self) -> (Vec<SeqRanges>, usize) {
        let mut bytes = 0;
        let mut ranges: Vec<SeqRanges> = self
            .ready
            .drain(..)
            .map(|batch| {
                bytes += batch.encoded.bytes();
                batch.ranges
            })
            .collect();
        if let Some(open) = self.open.take() {
            ranges.push(open.ranges);
        }
        self.full_since = None;
        (ranges, bytes)
    }
}

/// Bytes that a record takes in a batch, at most: its parts, and the longest varints that
/// the v2 format puts around them.
fn size_bound(record: &RecordRef<'_>) -> usize {
    const LENGTH: usize = 5;
    const TIME: usize = 10;
    let part = |bytes: Option<&[u8]>| LENGTH + bytes.map_or(0, <[u8]>::len);
    let headers = record
        .headers
        .iter()
        .map(|h| LENGTH + h.name.len() + part(h.value));
    3 * LENGTH + TIME + part(record.key) + part(record.value) + headers.sum::<usize>()
}

/// Builders whose buffers are used again.
#[derive(Default)]
pub(super) struct BuilderPool(Vec<BatchBuilder>);

/// Builders kept; each holds a buffer of about `batch.size`.
const POOLED_BUILDERS: usize = 8;

impl BuilderPool {
    fn take(&mut self) -> BatchBuilder {
        self.0.pop().unwrap_or_default()
    }

    fn give(&mut self, builder: BatchBuilder) {
        if self.0.len() < POOLED_BUILDERS {
            self.0.push(builder);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_batch_fits_a_request_whatever_the_codec_makes_of_it() {
        const REQUEST: usize = 1 << 20;
        let codecs = [
            Compression::None,
            Compression::Gzip(6),
            Compression::Snappy,
            Compression::Lz4,
            Compression::Zstd(3),
        ];
        let mut rng = fastrand::Rng::with_seed(7);
        let value: Vec<u8> = std::iter::repeat_with(|| rng.u8(..))
            .take(batch_bytes_max(REQUEST) - 128)
            .collect();
        for codec in codecs {
            let mut builder = BatchBuilder::new();
            builder.push(&RecordRef {
                key: None,
                value: Some(&value),
                timestamp: None,
                headers: &[],
            });
            let sealed = builder.seal(codec).unwrap().bytes();
            assert!(
                sealed > value.len() && sealed + REQUEST_ROOM <= REQUEST,
                "{codec:?}: {sealed}"
            );
        }
    }
}
