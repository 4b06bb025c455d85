//! Which events of one generation are resolved. Pure; knows no files.
//!
//! Everything below the watermark is resolved. Above it there is a span per block that was
//! read or touched, with a bit per event once some but not all of its events are resolved.

use std::collections::BTreeMap;

use super::block::{BlockError, Bytes};
use super::ledger::{Counts, Ending};
use crate::event::UnixMillis;
use crate::proof::Seq;

/// Most events of a span that has bits: keeps its record below a page. Blocks are smaller.
const SPAN_BITS: u64 = 32 * 1024;

/// A block's worth of events above the watermark.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Span {
    count: u64,
    counts: Counts,
    /// One bit per event, set when resolved; `None` while all or none are.
    bits: Option<Box<[u64]>>,
    received: UnixMillis,
    changed: bool,
    /// Whether a record of this span is on disk.
    recorded: bool,
}

impl Span {
    fn new(count: u64, received: UnixMillis) -> Self {
        Self {
            count,
            counts: Counts::default(),
            bits: None,
            received,
            changed: false,
            recorded: false,
        }
    }

    fn is_resolved(&self) -> bool {
        self.counts.total() == self.count
    }

    fn has(&self, offset: u64) -> bool {
        match &self.bits {
            Some(bits) => bits
                .get((offset / 64) as usize)
                .is_some_and(|w| w >> (offset % 64) & 1 == 1),
            None => self.is_resolved(),
        }
    }

    /// Sets the bit; false when it was set before.
    fn set(&mut self, offset: u64) -> bool {
        let words = self.count.div_ceil(64) as usize;
        let bits = self
            .bits
            .get_or_insert_with(|| vec![0; words].into_boxed_slice());
        let Some(word) = bits.get_mut((offset / 64) as usize) else {
            return false;
        };
        let mask = 1 << (offset % 64);
        let newly = *word & mask == 0;
        *word |= mask;
        newly
    }
}

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
            changes.spans.push((first, encode_span(span)));
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
                let mut span = decode_span(value)?;
                span.recorded = true;
                tracker.above.merge(&span.counts);
                tracker.spans.insert(seq, span);
            }
        }
        tracker.advance();
        Ok(tracker)
    }
}

const VERSION: u8 = 1;

fn subtract(from: &Counts, what: &Counts) -> Counts {
    Counts {
        delivered: from.delivered - what.delivered,
        dead_lettered: from.dead_lettered - what.dead_lettered,
        dropped: from.dropped - what.dropped,
        lost: from.lost - what.lost,
    }
}

fn encode_span(span: &Span) -> Vec<u8> {
    let mut out = vec![VERSION];
    out.extend_from_slice(&span.count.to_le_bytes());
    out.extend_from_slice(&span.received.to_le_bytes());
    span.counts.encode(&mut out);
    for word in span.bits.iter().flatten() {
        out.extend_from_slice(&word.to_le_bytes());
    }
    out
}

fn decode_span(value: &[u8]) -> Result<Span, BlockError> {
    let mut at = Bytes(value);
    let version = at.u8()?;
    if version != VERSION {
        return Err(BlockError::Version(version));
    }
    let mut span = Span::new(at.u64()?, at.u64()?.cast_signed());
    span.counts = Counts::decode(&mut at)?;
    let resolved = span.counts.total();
    if resolved > span.count || span.count == 0 {
        return Err(BlockError::Inconsistent);
    }
    if resolved > 0 && resolved < span.count {
        if span.count > SPAN_BITS {
            return Err(BlockError::TooLarge(span.count as usize));
        }
        let words = span.count.div_ceil(64);
        let bits: Result<Box<[u64]>, _> = (0..words).map(|_| at.u64()).collect();
        let bits = bits?;
        let set: u64 = bits.iter().map(|w| u64::from(w.count_ones())).sum();
        if set != resolved {
            return Err(BlockError::Inconsistent);
        }
        span.bits = Some(bits);
    }
    Ok(span)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone)]
    enum Step {
        Saw(usize),
        Resolve(Seq, Seq, bool),
        Restart,
    }

    const FIRST: Seq = 100;
    const BLOCKS: [u64; 6] = [1, 70, 3, 200, 64, 30];

    fn step() -> impl Strategy<Value = Step> {
        let end = FIRST + BLOCKS.iter().sum::<u64>();
        prop_oneof![
            (0..BLOCKS.len()).prop_map(Step::Saw),
            (FIRST..end, 1..90u64, any::<bool>()).prop_map(move |(at, len, lost)| Step::Resolve(
                at,
                (at + len).min(end),
                lost
            )),
            Just(Step::Restart),
        ]
    }

    /// Writes the changes as the keeper does, and loads them again.
    fn restart(tracker: &mut Tracker, disk: &mut (Vec<u8>, BTreeMap<Seq, Vec<u8>>)) -> Tracker {
        if let Some(changes) = tracker.take_changes() {
            disk.1.extend(changes.spans);
            disk.0 = changes.base;
            changes
                .obsolete
                .iter()
                .for_each(|seq| drop(disk.1.remove(seq)));
        }
        let base = (!disk.0.is_empty()).then_some(disk.0.as_slice());
        let spans = disk.1.iter().map(|(seq, value)| (*seq, value.as_slice()));
        Tracker::load(FIRST, base, spans).unwrap()
    }

    proptest! {
        #[test]
        fn the_tracker_knows_each_event_and_a_restart_changes_nothing(
            steps in prop::collection::vec(step(), 1..60)
        ) {
            let end = FIRST + BLOCKS.iter().sum::<u64>();
            let mut model: BTreeMap<Seq, Ending> = BTreeMap::new();
            let mut tracker = Tracker::new(FIRST);
            let mut disk = (Vec::new(), BTreeMap::new());
            for step in steps {
                match step {
                    Step::Saw(index) => {
                        let first = FIRST + BLOCKS[..index].iter().sum::<u64>();
                        tracker.saw(first, BLOCKS[index], 5);
                    }
                    Step::Resolve(from, to, lost) => {
                        let ending = if lost { Ending::Lost } else { Ending::Delivered };
                        let mut heard = Vec::new();
                        tracker.resolve(from, to, ending, |a, b| heard.extend(a..b));
                        let newly: Vec<Seq> =
                            (from..to).filter(|seq| !model.contains_key(seq)).collect();
                        prop_assert_eq!(heard, newly.clone());
                        model.extend(newly.into_iter().map(|seq| (seq, ending)));
                    }
                    Step::Restart => tracker = restart(&mut tracker, &mut disk),
                }
                for seq in FIRST..end {
                    prop_assert_eq!(tracker.is_unresolved(seq), !model.contains_key(&seq));
                }
                let lost = model.values().filter(|e| **e == Ending::Lost).count() as u64;
                prop_assert_eq!(tracker.counts().lost, lost);
                prop_assert_eq!(tracker.counts().total(), model.len() as u64);
                let first = (FIRST..).find(|seq| !model.contains_key(seq)).unwrap();
                prop_assert_eq!(tracker.first_unresolved_from(FIRST), first);
                prop_assert_eq!(tracker.is_resolved_until(end), first >= end);
            }
        }

        #[test]
        fn damaged_records_are_refused_and_never_panic(
            base in prop::collection::vec(any::<u8>(), 0..60),
            span in prop::collection::vec(any::<u8>(), 0..90),
        ) {
            let _ = Tracker::load(1, Some(&base), std::iter::empty());
            let _ = Tracker::load(1, None, std::iter::once((7, span.as_slice())));
        }
    }
}
