//! Which events of one generation are resolved. Pure; knows no files.
//!
//! Everything below the watermark is resolved. Above it there is a span per block that was
//! read or touched, with a bit per event once some but not all of its events are resolved.

mod span;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use super::block::{BlockError, Bytes};
use super::ledger::{Counts, Ending};
use crate::event::UnixMillis;
use crate::proof::Seq;
use span::Span;

/// State of the events of one generation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Tracker {
    watermark: Seq,
    below: Counts,
    above: Counts,
    spans: BTreeMap<Seq, Span>,
    changed: bool,
    /// Spans whose records the watermark has passed.
    obsolete: Vec<Seq>,
}

/// What has to be written so that a restart knows what this tracker knows.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Changes {
    /// Records of spans, by first sequence number. To be written before `base`.
    pub(super) spans: Vec<(Seq, Vec<u8>)>,
    /// The watermark's record.
    pub(super) base: Vec<u8>,
    /// Spans whose records may go. To be removed after `base`.
    pub(super) obsolete: Vec<Seq>,
}

impl Tracker {
    /// A generation of which nothing is resolved, from `first` on.
    pub(super) fn new(first: Seq) -> Self {
        Self {
            watermark: first,
            below: Counts::default(),
            above: Counts::default(),
            spans: BTreeMap::new(),
            changed: false,
            obsolete: Vec::new(),
        }
    }

    /// Notes the block of `count` events at `first`, so that its events can be resolved.
    pub(super) fn saw(&mut self, first: Seq, count: u64, received: UnixMillis) {
        let end = first + count;
        let mut at = first.max(self.watermark);
        while at < end {
            // Parts of it may have been resolved before it was read.
            if let Some(stop) = self.covered_until(at) {
                at = stop;
                continue;
            }
            let next = self
                .spans
                .range(at..end)
                .next()
                .map_or(end, |(&next, _)| next);
            self.spans.insert(at, Span::new(next - at, received));
            at = next;
        }
    }

    /// The end of the span that holds `seq`.
    fn covered_until(&self, seq: Seq) -> Option<Seq> {
        let (first, span) = self.spans.range(..=seq).next_back()?;
        let end = first + span.count;
        (seq < end).then_some(end)
    }

    /// Whether every event of the generation that ends at `end` is resolved.
    pub(super) fn is_resolved_until(&self, end: Seq) -> bool {
        self.watermark >= end
    }

    /// Whether `seq` is still to be resolved.
    pub(super) fn is_unresolved(&self, seq: Seq) -> bool {
        if seq < self.watermark {
            return false;
        }
        match self.spans.range(..=seq).next_back() {
            Some((first, span)) if seq - first < span.count => !span.has(seq - first),
            _ => true,
        }
    }

    /// Whether no event of the block at `first`, noted before, is resolved.
    pub(super) fn is_untouched(&self, first: Seq, count: u64) -> bool {
        let span = self.spans.get(&first);
        span.is_some_and(|span| span.count == count && span.counts.total() == 0)
    }

    /// Resolves the events `first..end`; `newly` hears of each piece not resolved before.
    pub(super) fn resolve(
        &mut self,
        first: Seq,
        end: Seq,
        ending: Ending,
        mut newly: impl FnMut(Seq, Seq),
    ) {
        let mut at = first.max(self.watermark);
        while at < end {
            if self.covered_until(at).is_none() {
                self.fill_gap(at, end);
            }
            let Some((&start, span)) = self.spans.range_mut(..=at).next_back() else {
                break;
            };
            let span_end = start + span.count;
            let stop = end.min(span_end);
            let before = span.counts.total();
            if before == 0 && at == start && stop == span_end {
                span.counts.add(ending, span.count);
                newly(at, stop);
            } else if before < span.count {
                let mut piece = at;
                for seq in at..stop {
                    if span.set(seq - start) {
                        span.counts.add(ending, 1);
                    } else {
                        if piece < seq {
                            newly(piece, seq);
                        }
                        piece = seq + 1;
                    }
                }
                if piece < stop {
                    newly(piece, stop);
                }
                if span.is_resolved() {
                    span.bits = None;
                }
            }
            let added = span.counts.total() - before;
            if added > 0 {
                span.changed = true;
                self.changed = true;
                self.above.add(ending, added);
            }
            at = stop;
        }
        self.advance();
    }

    /// Makes a span where no block was seen, from `at` to the next span or `end`.
    fn fill_gap(&mut self, at: Seq, end: Seq) {
        let next = self
            .spans
            .range(at..)
            .next()
            .map_or(end, |(&first, _)| first.min(end));
        self.spans.insert(at, Span::new(next - at, 0));
    }

    fn advance(&mut self) {
        while let Some(entry) = self.spans.first_entry() {
            if *entry.key() != self.watermark || !entry.get().is_resolved() {
                return;
            }
            let (first, span) = entry.remove_entry();
            self.watermark = first + span.count;
            self.below.merge(&span.counts);
            if span.recorded {
                self.obsolete.push(first);
            }
            self.above = subtract(&self.above, &span.counts);
        }
    }

    /// How the resolved events ended.
    pub(super) fn counts(&self) -> Counts {
        let mut all = self.below;
        all.merge(&self.above);
        all
    }

    /// The first unresolved event at or after `seq`; it may lie past the generation's end.
    pub(super) fn first_unresolved_from(&self, seq: Seq) -> Seq {
        let mut at = seq.max(self.watermark);
        let start = self
            .spans
            .range(..=at)
            .next_back()
            .map_or(at, |(&first, _)| first);
        for (&first, span) in self.spans.range(start..) {
            let end = first + span.count;
            if end <= at {
                continue;
            }
            if first > at {
                return at;
            }
            if let Some(found) = (at..end).find(|s| !span.has(s - first)) {
                return found;
            }
            at = end;
        }
        at
    }

    /// When the block of the oldest unresolved event arrived, if it was read.
    pub(super) fn oldest_received(&self) -> Option<UnixMillis> {
        let (first, span) = self.spans.first_key_value()?;
        (*first == self.watermark && span.received > 0).then_some(span.received)
    }

    /// What changed since the last call; `None` when nothing did.
    pub(super) fn take_changes(&mut self) -> Option<Changes> {
        if !self.changed {
            return None;
        }
        self.changed = false;
        let mut changes = Changes {
            obsolete: std::mem::take(&mut self.obsolete),
            ..Changes::default()
        };
        for (&first, span) in self.spans.iter_mut().filter(|(_, span)| span.changed) {
            span.changed = false;
            span.recorded = true;
            changes.spans.push((first, span.encode()));
        }
        changes.base.push(VERSION);
        changes
            .base
            .extend_from_slice(&self.watermark.to_le_bytes());
        self.below.encode(&mut changes.base);
        Some(changes)
    }

    /// Makes the next [`Tracker::take_changes`] tell everything again, after a failed write.
    pub(super) fn forget_written(&mut self) {
        self.changed = true;
        for span in self
            .spans
            .values_mut()
            .filter(|span| span.counts.total() > 0)
        {
            span.changed = true;
        }
    }

    /// Rebuilds the state from its records. A generation without a base starts at `first`.
    pub(super) fn load<'a>(
        first: Seq,
        base: Option<&[u8]>,
        spans: impl Iterator<Item = (Seq, &'a [u8])>,
    ) -> Result<Self, BlockError> {
        let mut tracker = Self::new(first);
        if let Some(base) = base {
            let mut at = Bytes(base);
            let version = at.u8()?;
            if version != VERSION {
                return Err(BlockError::Version(version));
            }
            tracker.watermark = at.u64()?;
            tracker.below = Counts::decode(&mut at)?;
            if tracker.watermark.checked_sub(first) != Some(tracker.below.total()) {
                return Err(BlockError::Inconsistent);
            }
        }
        for (seq, value) in spans {
            // A crash between the base and the removal leaves records below the watermark.
            if seq >= tracker.watermark {
                let mut span = Span::decode(value)?;
                span.recorded = true;
                tracker.above.merge(&span.counts);
                tracker.spans.insert(seq, span);
            }
        }
        tracker.advance();
        Ok(tracker)
    }
}

/// Version of the records.
const VERSION: u8 = 1;

fn subtract(from: &Counts, what: &Counts) -> Counts {
    Counts {
        delivered: from.delivered - what.delivered,
        dead_lettered: from.dead_lettered - what.dead_lettered,
        dropped: from.dropped - what.dropped,
        lost: from.lost - what.lost,
    }
}
