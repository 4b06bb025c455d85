//! One partition's log and what a broker remembers about producers.
//!
//! The rules are those of Kafka's `ProducerStateManager`, read in its source and measured
//! on a broker 4.3.1. Pure: no network, no clock but the times passed in. On top of the
//! broker's rules it notices what a broker cannot: a sequence number that comes back with
//! other content.

use std::collections::{BTreeMap, HashMap, VecDeque};

use super::batch::{Batch, Record};
use super::code;

/// Batches remembered per producer (`ProducerStateEntry.NUM_BATCHES_TO_RETAIN`).
const REMEMBERED: usize = 5;
/// `producer.id.expiration.ms`, by the CreateTime of the last batch.
const EXPIRY_MS: i64 = 24 * 60 * 60 * 1000;

/// A batch in the log.
#[derive(Debug, Clone)]
pub struct Stored {
    /// Offset of its first record.
    pub base_offset: i64,
    /// As it was sent; the records carry their final offsets.
    pub batch: Batch,
}

/// What became of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// In the log at this offset.
    Appended(i64),
    /// Was in the log already, at this offset.
    Duplicate(i64),
    /// Refused with this error code.
    Refused(i16),
}

impl Verdict {
    /// The error code to answer with.
    pub fn code(self) -> i16 {
        match self {
            Verdict::Appended(_) | Verdict::Duplicate(_) => code::NONE,
            Verdict::Refused(code) => code,
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct Remembered {
    first: i32,
    last: i32,
    base_offset: i64,
}

#[derive(Debug, Clone)]
struct Producer {
    epoch: i16,
    last_timestamp: i64,
    batches: VecDeque<Remembered>,
}

/// The log of one partition.
#[derive(Debug, Default)]
pub struct PartitionLog {
    stored: Vec<Stored>,
    next_offset: i64,
    producers: HashMap<i64, Producer>,
    /// First sequence numbers ever sent, by (producer, epoch): their last one and checksum.
    sent: HashMap<(i64, i16), BTreeMap<i32, (i32, u32)>>,
}

impl PartitionLog {
    /// Applies the broker's rules to one batch.
    pub fn append(&mut self, batch: Batch) -> Verdict {
        if batch.producer_id < 0 {
            return self.store(batch);
        }
        if let Some(offset) = self.known(&batch) {
            return Verdict::Duplicate(offset);
        }
        if let Some(refusal) = self.refusal(&batch) {
            return Verdict::Refused(refusal);
        }
        let base_offset = self.next_offset;
        let (first, last) = (batch.first_sequence, batch.last_sequence());
        let producer = self
            .producers
            .entry(batch.producer_id)
            .or_insert_with(|| Producer {
                epoch: batch.epoch,
                last_timestamp: 0,
                batches: VecDeque::new(),
            });
        if producer.epoch != batch.epoch {
            producer.epoch = batch.epoch;
            producer.batches.clear();
        }
        producer.last_timestamp = batch.max_timestamp;
        producer.batches.push_back(Remembered {
            first,
            last,
            base_offset,
        });
        if producer.batches.len() > REMEMBERED {
            producer.batches.pop_front();
        }
        self.store(batch)
    }

    fn store(&mut self, mut batch: Batch) -> Verdict {
        let base_offset = self.next_offset;
        for record in &mut batch.records {
            record.offset += base_offset;
        }
        self.next_offset += batch.records.len() as i64;
        self.stored.push(Stored { base_offset, batch });
        Verdict::Appended(base_offset)
    }

    fn known(&self, batch: &Batch) -> Option<i64> {
        let producer = self.producers.get(&batch.producer_id)?;
        if producer.epoch != batch.epoch {
            return None;
        }
        let (first, last) = (batch.first_sequence, batch.last_sequence());
        let found = producer
            .batches
            .iter()
            .find(|b| b.first == first && b.last == last)?;
        Some(found.base_offset)
    }

    fn refusal(&self, batch: &Batch) -> Option<i16> {
        let producer = self.producers.get(&batch.producer_id)?;
        if batch.epoch < producer.epoch {
            return Some(code::INVALID_PRODUCER_EPOCH);
        }
        let expected = match producer.batches.back() {
            Some(last) if batch.epoch == producer.epoch => last.last.checked_add(1).unwrap_or(0),
            _ => 0,
        };
        (batch.first_sequence != expected).then_some(code::OUT_OF_ORDER_SEQUENCE_NUMBER)
    }

    /// Notes that a batch was sent, whatever becomes of it, and says in words when its
    /// sequence numbers were already used for other bytes. A broker does not compare
    /// content: it would answer OK and the new records would be lost.
    pub fn note_sent(&mut self, batch: &Batch) -> Option<String> {
        let (first, last) = (batch.first_sequence, batch.last_sequence());
        let checksum = crc32c::crc32c(&batch.raw);
        let sent = self
            .sent
            .entry((batch.producer_id, batch.epoch))
            .or_default();
        if last < first {
            return None; // wrapped around: ranges no longer compare
        }
        let clash = match sent.range(..=last).next_back() {
            Some((&f, &(l, sum))) if f == first && l == last => sum != checksum,
            Some((_, &(l, _))) => first <= last && l >= first,
            None => false,
        };
        sent.insert(first, (last, checksum));
        clash.then(|| {
            format!(
                "sequence {first}..={last} of producer {} epoch {} sent again with other bytes",
                batch.producer_id, batch.epoch
            )
        })
    }

    /// A broker start from disk: only the last batch of each producer is remembered, and a
    /// producer whose last CreateTime is older than a day is forgotten.
    pub fn restart(&mut self, now_ms: i64) {
        self.producers
            .retain(|_, p| now_ms - p.last_timestamp < EXPIRY_MS);
        for producer in self.producers.values_mut() {
            let keep = producer.batches.len().saturating_sub(1);
            producer.batches.drain(..keep);
        }
    }

    /// Forgets every producer; the records stay.
    pub fn forget_producers(&mut self) {
        self.producers.clear();
    }

    /// Loses the last `batches` batches, as an unclean leader election would.
    pub fn lose_tail(&mut self, batches: usize) {
        for _ in 0..batches {
            let Some(lost) = self.stored.pop() else {
                return;
            };
            self.next_offset = lost.base_offset;
            if let Some(producer) = self.producers.get_mut(&lost.batch.producer_id) {
                producer
                    .batches
                    .retain(|b| b.base_offset != lost.base_offset);
                if producer.batches.is_empty() {
                    self.producers.remove(&lost.batch.producer_id);
                }
            }
        }
    }

    /// The batches in order.
    pub fn stored(&self) -> &[Stored] {
        &self.stored
    }

    /// The records in order.
    pub fn records(&self) -> impl Iterator<Item = &Record> {
        self.stored.iter().flat_map(|s| s.batch.records.iter())
    }

    /// Number of records.
    pub fn len(&self) -> usize {
        usize::try_from(self.next_offset).unwrap_or_default()
    }

    /// Whether there is no record.
    pub fn is_empty(&self) -> bool {
        self.next_offset == 0
    }
}
