//! One run in its transaction: which of its batches may be sent, which are stored, and when
//! nothing is missing for the commit.
//!
//! Asks and sends by [`Step`]s. When the run is given up is the machine's to say.

use std::collections::HashSet;

use super::super::core::Identity;
use super::super::position::Position;
use super::super::{Batch, EncodedBatch, TopicPartition};
use super::coordinator::Ask;
use super::machine::Step;
use crate::proof::SeqRanges;

/// A run being filled or ended.
#[derive(Debug)]
pub(super) struct Open {
    identity: Identity,
    /// Partitions join by being written (KIP-890).
    implicit: bool,
    /// Where the position goes.
    position_to: TopicPartition,
    joined: HashSet<TopicPartition>,
    joining: Vec<TopicPartition>,
    /// Batches whose partitions have not joined yet.
    held: Vec<Batch>,
    /// Batches without an answer.
    unstored: usize,
    committing: bool,
    over: Over,
}

/// What is left of a run once it is committed.
#[derive(Debug, Default)]
pub(super) struct Over {
    /// The events of each batch that is in the log.
    pub(super) stored: Vec<SeqRanges>,
    /// Set once the run is complete.
    pub(super) end: Option<Position>,
}

impl Open {
    pub(super) fn new(identity: Identity, implicit: bool, position_to: TopicPartition) -> Self {
        Self {
            identity,
            implicit,
            position_to,
            joined: HashSet::new(),
            joining: Vec::new(),
            held: Vec::new(),
            unstored: 0,
            committing: false,
            over: Over::default(),
        }
    }

    pub(super) fn identity(&self) -> Identity {
        self.identity
    }

    /// Whether its end is set, so that no batch may follow.
    pub(super) fn is_closed(&self) -> bool {
        self.over.end.is_some()
    }

    pub(super) fn is_committing(&self) -> bool {
        self.committing
    }

    /// Sends a batch, or holds it until its partition has joined the transaction.
    pub(super) fn launch(&mut self, batch: Batch, steps: &mut Vec<Step>) {
        self.unstored += 1;
        if self.implicit || self.joined.contains(&batch.to) {
            steps.push(Step::Send(batch));
            return;
        }
        self.held.push(batch);
        self.join(steps);
    }

    /// Sends the position, after which only the commit follows.
    pub(super) fn close(
        &mut self,
        end: Position,
        encoded: EncodedBatch,
        run: u32,
        steps: &mut Vec<Step>,
    ) {
        self.over.end = Some(end);
        let batch = Batch {
            to: self.position_to.clone(),
            encoded,
            ranges: SeqRanges::default(),
            term: run,
            expires: None,
        };
        self.launch(batch, steps);
    }

    /// Registers the partitions of held batches; one question at a time.
    fn join(&mut self, steps: &mut Vec<Step>) {
        if !self.joining.is_empty() || self.held.is_empty() {
            return;
        }
        let mut wanted: HashSet<TopicPartition> =
            self.held.iter().map(|batch| batch.to.clone()).collect();
        if !self.joined.contains(&self.position_to) {
            wanted.insert(self.position_to.clone()); // saves a question at the end
        }
        let mut wanted: Vec<_> = wanted.into_iter().collect();
        wanted.sort_unstable();
        self.joining.clone_from(&wanted);
        steps.push(Step::Ask(Ask::Add {
            identity: self.identity,
            partitions: wanted,
        }));
    }

    /// The partitions that were asked for have joined.
    pub(super) fn added(&mut self, steps: &mut Vec<Step>) {
        self.joined.extend(self.joining.drain(..));
        let (go, held): (Vec<_>, Vec<_>) = std::mem::take(&mut self.held)
            .into_iter()
            .partition(|batch| self.joined.contains(&batch.to));
        self.held = held;
        steps.extend(go.into_iter().map(Step::Send));
        self.join(steps);
    }

    /// A batch is in the log; of events, or with none of the position.
    pub(super) fn stored(&mut self, ranges: SeqRanges, steps: &mut Vec<Step>) {
        self.unstored = self.unstored.saturating_sub(1);
        if !ranges.is_empty() {
            self.over.stored.push(ranges);
        }
        if self.is_closed() && self.unstored == 0 && !self.committing {
            self.committing = true;
            steps.push(Step::Ask(Ask::Commit {
                identity: self.identity,
            }));
        }
    }

    /// The run is committed, and the next one begins, of `next` if that is another.
    pub(super) fn begin_anew(&mut self, next: Option<Identity>, steps: &mut Vec<Step>) -> Over {
        let identity = next.unwrap_or(self.identity);
        if identity != self.identity {
            steps.push(Step::Renew(identity, self.implicit));
        }
        let anew = Self::new(identity, self.implicit, self.position_to.clone());
        std::mem::replace(self, anew).over
    }
}
