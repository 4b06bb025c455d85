//! What the drain is told about its runs, and what status shows. Plain values.

use super::super::position::Position;
use super::super::{Refusal, TopicPartition};
use crate::proof::{Acked, SeqRanges};

/// News about a run. Runs are numbered; what belongs to an earlier one is over.
#[derive(Debug)]
pub enum RunReport {
    /// Batches of this run may be sent. Comes after the start and after each abort.
    Ready {
        /// The run that may begin.
        run: u32,
        /// What an earlier transaction has committed, when there was one.
        recovered: Option<Recovered>,
    },
    /// A batch is in the log, and not yet committed.
    Stored {
        /// Its run.
        run: u32,
        /// Its partition.
        to: TopicPartition,
        /// Bytes given back of `buffer.memory`.
        bytes: usize,
    },
    /// Everything of the run can be read by consumers. The next run may begin.
    Committed {
        /// The run.
        run: u32,
        /// One for each batch.
        proofs: Vec<Acked>,
    },
    /// Nothing of the run will be seen by consumers that read committed records. All its
    /// batches are given back; [`RunReport::Ready`] follows.
    Aborted {
        /// The run.
        run: u32,
        /// Why.
        cause: AbortCause,
    },
}

/// Why a run was aborted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AbortCause {
    /// A batch was refused for good.
    Refused {
        /// Its partition.
        to: TopicPartition,
        /// Its events.
        refused: SeqRanges,
        /// Why.
        verdict: Refusal,
    },
    /// Its time was up.
    TimedOut {
        /// For a person.
        words: String,
    },
    /// Anything else: it is tried again.
    Passing {
        /// For a person.
        words: String,
    },
}

impl std::fmt::Display for AbortCause {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Refused { to, verdict, .. } => write!(f, "{to}: {verdict}"),
            Self::TimedOut { words } | Self::Passing { words } => f.write_str(words),
        }
    }
}

/// What the position topic says, with the proof for all events before it. The proof is good
/// for the spool that the position speaks of; the drain checks that before it uses it.
#[derive(Debug)]
pub struct Recovered {
    /// The position.
    pub position: Position,
    /// Every event before its end.
    pub proof: Acked,
}

/// The transactional producer for `status`.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct TransactionStatus {
    /// What it is doing, in words.
    pub phase: &'static str,
    /// The end of the last committed run, as far as is known.
    pub position: Option<u64>,
    /// Runs committed since start.
    pub committed: u64,
    /// Runs aborted since start.
    pub aborted: u64,
    /// Why the last run was aborted, until one is committed.
    pub last_abort: Option<String>,
    /// What the coordinator said last that is not mended yet.
    pub error: Option<String>,
    /// How long the open transaction has been open, milliseconds.
    pub open_ms: Option<u64>,
    /// Which readers of committed records wait for it, once it is open for long.
    pub readers_wait: Option<String>,
}
