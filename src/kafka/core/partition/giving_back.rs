//! Batches that go back to their owner: when they may, and which of them were tried in vain.
//!
//! Who reports them, and why, is the core's matter.

use super::{Partition, Phase};
use crate::kafka::Returned;
use crate::proof::SeqRanges;

impl Partition {
    /// Takes all batches out, unsent as far as the log is concerned.
    pub(super) fn give_back(&mut self) -> Returned {
        self.doubt |= self.is_idempotent() && self.entries.iter().any(|e| e.maybe_stored);
        let returned = Returned {
            to: self.to.clone(),
            bytes: self.entries.iter().map(|e| e.bytes).sum(),
            batches: self.entries.drain(..).map(|e| e.ranges).collect(),
            term: self.term,
        };
        self.change_identity();
        self.term = self.term.wrapping_add(1);
        self.phase = Phase::Flowing;
        self.failures = 0;
        self.not_before = None;
        returned
    }

    /// Whether all batches may be given back: none on the wire, none perhaps in the log.
    pub(in super::super) fn returnable(&self) -> bool {
        self.on_wire == 0 && !self.entries.iter().any(|e| e.maybe_stored)
    }

    /// Gives all batches back, with the number of records that may be in the log.
    pub(in super::super) fn return_all(&mut self) -> (Returned, u64) {
        let doubtful = self.doubtful();
        (self.give_back(), doubtful)
    }

    /// Whether the first batch has failed more often than `retries` allows, and with it every
    /// batch that may be in the log: the others can go again without being doubled. Not in
    /// the middle of a round, which may yet prove that all of them are in the log.
    pub(in super::super) fn is_exhausted(&self, retries: u32) -> bool {
        let between = !matches!(self.phase, Phase::Round { next } if next > 0);
        let mut bound = self.entries.iter().enumerate();
        self.on_wire == 0
            && between
            && !self.entries.is_empty()
            && bound.all(|(at, e)| e.tries > retries || (at > 0 && !e.maybe_stored))
    }

    /// Gives all batches back: first those that have failed more often than `retries` allows,
    /// then the others.
    pub(in super::super) fn take_exhausted(&mut self, retries: u32) -> (Vec<SeqRanges>, Returned) {
        let over: Vec<bool> = self.entries.iter().map(|e| e.tries > retries).collect();
        let mut returned = self.give_back();
        let mut given_up = Vec::new();
        let batches = std::mem::take(&mut returned.batches);
        for (batch, is_over) in batches.into_iter().zip(over) {
            let to = if is_over {
                &mut given_up
            } else {
                &mut returned.batches
            };
            to.push(batch);
        }
        (given_up, returned)
    }

    /// Records of batches that may be in the log.
    pub(in super::super) fn doubtful(&self) -> u64 {
        let doubtful = self.entries.iter().filter(|e| e.maybe_stored);
        doubtful.map(|e| e.ranges.len()).sum()
    }
}
