//! Sequence numbers, and the tokens that carry the promise.
//!
//! A writer is answered only with a [`Receipt`]; an event that was not dropped or lost leaves
//! the spool only with an [`Acked`] or a [`DeadLettered`]. Each token can be made only by the
//! holder of an authority, and [`issue`] hands each authority out once, at start-up: one to the
//! spool, for its committer and its dead-letter store, one to the Kafka side. A wrong order
//! does not compile.

/// Position of an event in the spool: dense from 1, one per event, never reused.
pub type Seq = u64;

/// `count` events from `first` on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SeqRange {
    /// First sequence number.
    pub first: Seq,
    /// Number of events, at least 1.
    pub count: u32,
}

impl SeqRange {
    /// One past the last sequence number.
    pub fn end(&self) -> Seq {
        self.first + u64::from(self.count)
    }
}

/// Which copy of an event: with `match = "all"` every route that takes it sends one, and
/// each route has a number. 0 where an event has one copy only.
pub type CopyId = u16;

/// The events of one batch in the order of its records, ascending. An event is in it more
/// than once when several routes send it to the same partition.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct SeqRanges(Vec<Run>);

/// Events in a row, all of the same copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Run {
    first: Seq,
    count: u32,
    copy: CopyId,
}

impl Run {
    fn end(&self) -> Seq {
        self.first + u64::from(self.count)
    }
}

impl SeqRanges {
    /// Adds `seq`, which is higher than all before it.
    pub fn push(&mut self, seq: Seq) {
        self.push_copy(seq, 0);
    }

    /// Adds a copy of `seq`; no event before it is a later one.
    pub fn push_copy(&mut self, seq: Seq, copy: CopyId) {
        if let Some(last) = self.0.last_mut()
            && last.end() == seq
            && last.copy == copy
            && last.count < u32::MAX
        {
            last.count += 1;
            return;
        }
        self.0.push(Run {
            first: seq,
            count: 1,
            copy,
        });
    }

    /// Adds a range that lies behind all before it.
    pub fn add(&mut self, range: SeqRange) {
        self.0.push(Run {
            first: range.first,
            count: range.count,
            copy: 0,
        });
    }

    /// The ranges in order.
    pub fn ranges(&self) -> impl Iterator<Item = SeqRange> + '_ {
        self.0.iter().map(|run| SeqRange {
            first: run.first,
            count: run.count,
        })
    }

    /// Number of records.
    pub fn len(&self) -> u64 {
        self.0.iter().map(|run| u64::from(run.count)).sum()
    }

    /// Whether there is no event.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The lowest sequence number.
    pub fn first(&self) -> Option<Seq> {
        self.0.first().map(|run| run.first)
    }

    /// The highest sequence number.
    pub fn last(&self) -> Option<Seq> {
        self.0.last().map(|run| run.end() - 1)
    }

    /// Every sequence number in order.
    pub fn iter(&self) -> impl Iterator<Item = Seq> + '_ {
        self.copies().map(|(seq, _)| seq)
    }

    /// Every record in order: its event, and which copy of it.
    pub fn copies(&self) -> impl Iterator<Item = (Seq, CopyId)> + '_ {
        let runs = self.0.iter();
        runs.flat_map(|run| (run.first..run.end()).map(|seq| (seq, run.copy)))
    }
}

impl FromIterator<(Seq, CopyId)> for SeqRanges {
    /// Of records in the order of a batch.
    fn from_iter<T: IntoIterator<Item = (Seq, CopyId)>>(copies: T) -> Self {
        let mut ranges = Self::default();
        for (seq, copy) in copies {
            ranges.push_copy(seq, copy);
        }
        ranges
    }
}

impl From<SeqRange> for SeqRanges {
    fn from(range: SeqRange) -> Self {
        Self(vec![Run {
            first: range.first,
            count: range.count,
            copy: 0,
        }])
    }
}

/// Proof that events are on disk: a flush that reached the device has returned.
#[derive(Debug)]
pub struct Receipt {
    range: SeqRange,
}

impl Receipt {
    /// The events that are durable.
    pub fn range(&self) -> SeqRange {
        self.range
    }
}

/// Proof that the broker stored these events with the configured acks.
#[derive(Debug)]
pub struct Acked {
    ranges: SeqRanges,
}

impl Acked {
    /// The events that may be removed.
    pub fn ranges(&self) -> &SeqRanges {
        &self.ranges
    }

    /// The proof for a part of the records: those of which `keep` is true. Of an event with
    /// several copies, that is the one that settles it.
    pub fn narrow(self, mut keep: impl FnMut(Seq, CopyId) -> bool) -> Self {
        let copies = self.ranges.copies();
        Self {
            ranges: copies.filter(|&(seq, copy)| keep(seq, copy)).collect(),
        }
    }
}

/// Proof that these events are durable in the dead-letter store.
#[derive(Debug)]
pub struct DeadLettered {
    ranges: SeqRanges,
}

impl DeadLettered {
    /// The events that may be removed.
    pub fn ranges(&self) -> &SeqRanges {
        &self.ranges
    }

    /// The proof in parts, one for each event.
    pub fn into_events(self) -> impl Iterator<Item = (Seq, Self)> {
        let events: Vec<Seq> = self.ranges.iter().collect();
        events.into_iter().map(|seq| {
            let ranges = [(seq, 0)].into_iter().collect();
            (seq, Self { ranges })
        })
    }
}

/// The right to say "it is on disk". Held by the spool's committer and its dead-letter store.
#[derive(Debug)]
pub struct DiskAuthority(());

impl DiskAuthority {
    /// To be called after the flush that covers `range` has returned without an error.
    pub fn receipt(&self, range: SeqRange) -> Receipt {
        Receipt { range }
    }

    /// To be called after the flush of the dead-letter store has returned without an error.
    pub fn dead_lettered(&self, ranges: SeqRanges) -> DeadLettered {
        DeadLettered { ranges }
    }
}

/// The right to say "the broker has it". Held by the Kafka side alone.
#[derive(Debug)]
pub struct BrokerAuthority(());

impl BrokerAuthority {
    /// To be called when the broker's answer proves that the batch is in the log.
    pub fn acked(&self, ranges: SeqRanges) -> Acked {
        Acked { ranges }
    }
}

/// Hands out both authorities, for the composition root. `tests/it/tidy.rs` checks that
/// nothing but `daemon` and tests calls it.
pub fn issue() -> (DiskAuthority, BrokerAuthority) {
    (DiskAuthority(()), BrokerAuthority(()))
}
