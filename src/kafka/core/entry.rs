//! A batch within its partition, and the words spoken about it.
//!
//! Types only; what they lead to is decided in `partition`.

use super::super::batch::StampedBatch;
use super::super::outcome::{Outcome, Verdict};
use super::super::{EncodedBatch, Expiry, Refusal, Returned};
use crate::proof::SeqRanges;

/// A producer id with an epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) struct Identity {
    pub(in super::super) id: i64,
    pub(in super::super) epoch: i16,
}

impl Identity {
    /// What a batch carries without idempotence: no producer (RecordBatch.NO_PRODUCER_ID).
    pub(in super::super) const NOBODY: Self = Self { id: -1, epoch: -1 };
}

/// The answer to one batch of one request.
#[derive(Debug, Clone)]
pub(in super::super) enum Reply {
    /// The broker answered with this code.
    Code {
        verdict: Verdict,
        message: Option<String>,
        record_index: Option<u32>,
    },
    /// No answer will come.
    Lost { reason: String },
}

impl Reply {
    /// Whether a failure uses up one of the batch's `retries`. A topic that refuses us has
    /// `topic_patience` instead.
    pub(super) fn counts(&self) -> bool {
        match self {
            Self::Code { verdict, .. } => verdict.outcome != Outcome::Deny,
            Self::Lost { .. } => true,
        }
    }
}

/// What follows from an answer.
#[derive(Debug)]
pub(super) enum Effect {
    Acked {
        ranges: SeqRanges,
        bytes: usize,
    },
    Refused {
        refused: SeqRanges,
        verdict: Refusal,
        returned: Returned,
    },
    /// The leader is in doubt.
    Refresh,
    /// The topic is refused by this verdict.
    Denied {
        words: String,
    },
    /// Records that go again under another identity though they may be in the log.
    MaybeDuplicate {
        records: u64,
    },
}

/// The bytes of a batch.
#[derive(Debug)]
pub(super) enum Content {
    /// Never sent under the present identity.
    Sealed(EncodedBatch),
    /// Sent, or about to be, with the sequence it carries.
    Stamped(StampedBatch),
    /// Carries an identity that is given up.
    Outdated(StampedBatch),
}

/// Where a batch stands.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum State {
    Waiting,
    OnWire,
    /// Not in the log by this answer, and may go again.
    Absent,
    /// Perhaps in the log.
    Unclear,
    /// Out of sequence for the broker.
    Gap,
    /// Out of sequence, and the identity is no longer good.
    Fenced,
    Refused(Refusal),
}

/// An unresolved batch.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) serial: u64,
    /// Absent only within `Partition::take` and `Partition::bump`.
    pub(super) content: Option<Content>,
    pub(super) ranges: SeqRanges,
    pub(super) bytes: usize,
    /// Sends under the present identity.
    pub(super) sends: u32,
    /// Sends that failed, under whatever identity; a batch that may be in the log waits for
    /// the first one and fails with it.
    pub(super) tries: u32,
    /// A send under the present identity ended without knowing.
    pub(super) maybe_stored: bool,
    pub(super) corrupt_answers: u32,
    /// See [`Batch::expires`](super::super::Batch).
    pub(super) expires: Option<Expiry>,
    pub(super) state: State,
}
