//! What goes into the producer and what comes back: batches and reports.
//!
//! Plain values. Every [`Batch`] given to the producer comes back in exactly one [`Report`].

use std::sync::Arc;
use std::time::Instant;

use super::{EncodedBatch, RunReport};
use crate::proof::{Acked, SeqRanges};

/// A partition of a topic.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicPartition {
    /// Topic name.
    pub topic: Arc<str>,
    /// Partition number.
    pub partition: i32,
}

impl std::fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}

/// A sealed batch and the events in it.
#[derive(Debug)]
pub struct Batch {
    /// Where it goes.
    pub to: TopicPartition,
    /// The records.
    pub encoded: EncodedBatch,
    /// One sequence number per record, in record order.
    pub ranges: SeqRanges,
    /// The sender's term for this partition, from 0. When batches of a term come back, the
    /// term is over: batches of it that were already under way come back too, so that none
    /// overtakes those that have to go again.
    pub term: u32,
    /// When its events are too old to be sent; `None` = never.
    pub expires: Option<Expiry>,
}

/// `delivery.timeout.ms` for the events of one batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expiry {
    /// When its oldest event expires: a batch that cannot be in the log comes back then.
    pub oldest: Instant,
    /// When its newest event expires: one that may be in the log comes back then, so that
    /// none of its events is sent a second time.
    pub newest: Instant,
}

/// Batches of one partition that come back, to be sent again.
#[derive(Debug)]
pub struct Returned {
    /// Partition.
    pub to: TopicPartition,
    /// Events of each, in order.
    pub batches: Vec<SeqRanges>,
    /// The term that is over.
    pub term: u32,
    /// Bytes given back, with those of batches that are reported together with these and are
    /// not sent again.
    pub bytes: usize,
}

/// What became of batches. `bytes` is what they held of `buffer.memory`.
#[derive(Debug)]
pub enum Report {
    /// The broker has the batch, as far as `acks` asks it.
    Acked {
        /// Partition it is in.
        to: TopicPartition,
        /// Names the events.
        proof: Acked,
        /// Bytes given back.
        bytes: usize,
    },
    /// The first batch was refused for good. All later ones of the partition come back too;
    /// none of them is in the log.
    Refused {
        /// Events of the refused batch.
        refused: SeqRanges,
        /// Why, and what may help.
        verdict: Refusal,
        /// The batches behind it.
        returned: Returned,
    },
    /// Every unresolved batch of the partition comes back: its topic is unknown or forbidden,
    /// or the partition is gone, or the first batch has expired, or the producer was closed.
    Returned {
        /// The batches.
        returned: Returned,
        /// For a person.
        reason: String,
    },
    /// Batches that failed once more than `retries` allows are given up; the broker may have
    /// one all the same when an answer was lost. Later ones come back, none of them in the
    /// log.
    GivenUp {
        /// Events of each batch that is not sent again, in order.
        given_up: Vec<SeqRanges>,
        /// The other batches.
        returned: Returned,
        /// For a person.
        reason: String,
    },
    /// News about a run, with transactions; then no other report about batches comes.
    Run(RunReport),
    /// The view of the cluster has changed.
    ClusterChanged,
}

/// Why a batch will never be taken as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// Too large for the broker: send it in parts; one record alone is a dead letter.
    TooLarge {
        /// Kafka's code: 10 or 18.
        code: i16,
        /// In words.
        reason: String,
    },
    /// A record's content is refused.
    Invalid {
        /// Kafka's code.
        code: i16,
        /// The record within the batch, when the broker names it.
        record_index: Option<u32>,
        /// In words.
        reason: String,
    },
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::TooLarge { reason, .. } | Self::Invalid { reason, .. } => f.write_str(reason),
        }
    }
}
