//! Sequence numbers, and the tokens that carry the promise.
//!
//! A writer is answered only with a [`Receipt`]; an entry leaves the spool only with an
//! [`Acked`] or a [`DeadLettered`]. Each token can be made only by the holder
//! of an authority, and [`issue`] hands each authority out once, at start-up, to its one
//! owner: the committer and the Kafka side. A wrong order does not compile.

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

/// Ascending, disjoint ranges of sequence numbers: the events of one batch.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct SeqRanges(Vec<SeqRange>);

impl SeqRanges {
    /// Adds `seq`, which is higher than all before it.
    pub fn push(&mut self, seq: Seq) {
        if let Some(last) = self.0.last_mut()
            && last.end() == seq
            && last.count < u32::MAX
        {
            last.count += 1;
            return;
        }
        self.0.push(SeqRange {
            first: seq,
            count: 1,
        });
    }

    /// The ranges in order.
    pub fn as_slice(&self) -> &[SeqRange] {
        &self.0
    }

    /// Number of events.
    pub fn len(&self) -> u64 {
        self.0.iter().map(|r| u64::from(r.count)).sum()
    }

    /// Whether there is no event.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The lowest sequence number.
    pub fn first(&self) -> Option<Seq> {
        self.0.first().map(|r| r.first)
    }

    /// The highest sequence number.
    pub fn last(&self) -> Option<Seq> {
        self.0.last().map(|r| r.end() - 1)
    }

    /// Every sequence number in order.
    pub fn iter(&self) -> impl Iterator<Item = Seq> + '_ {
        self.0.iter().flat_map(|r| r.first..r.end())
    }

    /// The `index`-th sequence number.
    pub fn nth(&self, index: usize) -> Option<Seq> {
        self.iter().nth(index)
    }
}

impl From<SeqRange> for SeqRanges {
    fn from(range: SeqRange) -> Self {
        Self(vec![range])
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
}

/// The right to say "it is on disk". Held by the committer alone.
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
