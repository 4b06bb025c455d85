//! What becomes of a batch: its events leave the spool, go again, are split up, or go to the
//! dead letters.
//!
//! Does not decide whether an error may be retried; the producer has done that.

use std::time::Instant;

use tracing::warn;

use super::copies::Settled;
use super::run::State;
use crate::kafka::{Refusal, Report, Returned, TopicPartition};
use crate::proof::{Acked, Seq, SeqRanges};

impl State {
    /// Takes one answer of the producer.
    pub(super) fn settle(&mut self, report: Report, now: Instant) {
        match report {
            Report::Acked { to, proof, bytes } => {
                self.came_back(&to, 1, bytes);
                self.acked(proof);
                self.unsaved = true;
            }
            Report::Refused {
                refused,
                verdict,
                returned,
            } => {
                self.returned(&returned, 1);
                self.refused(&returned.to, &refused, &verdict, now);
                self.go_again(&returned);
            }
            Report::Returned { returned, reason } => {
                let to = &returned.to;
                warn!(topic = %to.topic, partition = to.partition, reason,
                    "batches came back; their events wait in the spool");
                self.returned(&returned, 0);
                self.lanes.named(&to.topic).lane(to.partition).last_error = Some(reason);
                self.go_again(&returned);
            }
            Report::GivenUp {
                given_up,
                returned,
                reason,
            } => {
                let to = &returned.to;
                warn!(topic = %to.topic, partition = to.partition, reason,
                    "batches are given up; their events go to the dead letters");
                self.returned(&returned, given_up.len());
                for ranges in &given_up {
                    self.bury(to, ranges, &reason, now);
                }
                self.lanes.named(&to.topic).lane(to.partition).last_error = Some(reason);
                self.go_again(&returned);
            }
            Report::Run(report) => self.run_report(report, now),
            Report::ClusterChanged => {}
        }
    }

    /// Takes out of the spool what the broker has, once no other copy of it is open.
    pub(super) fn acked(&mut self, proof: Acked) {
        if self.copies.is_empty() {
            return self.cursor.acked(proof);
        }
        let copies = &mut self.copies;
        let mut worse = Vec::new();
        let proof = proof.narrow(|seq, copy| match copies.settle(seq, copy) {
            Settled::Open => false,
            Settled::Whole(None) => true,
            Settled::Whole(Some(ending)) => {
                worse.push((seq, ending));
                false
            }
        });
        self.cursor.acked(proof);
        for (seq, ending) in worse {
            self.resolve(seq, ending);
        }
    }

    pub(super) fn came_back(&mut self, to: &TopicPartition, batches: u32, bytes: usize) {
        self.sealed_bytes = self.sealed_bytes.saturating_sub(bytes);
        self.lanes
            .named(&to.topic)
            .lane(to.partition)
            .came_back(batches);
    }

    /// The producer is done with these batches, and with `others` that are not sent again.
    fn returned(&mut self, returned: &Returned, others: usize) {
        let batches = returned.batches.len() + others;
        self.came_back(&returned.to, batches as u32, returned.bytes);
    }

    /// Events of batches that were not appended go again, before whatever the lane has not
    /// sent yet.
    fn go_again(&mut self, returned: &Returned) {
        let to = &returned.to;
        let lane = self.lanes.named(&to.topic).lane(to.partition);
        lane.end_term(returned.term);
        let (unsent, bytes) = lane.recall();
        self.sealed_bytes = self.sealed_bytes.saturating_sub(bytes);
        self.give_back(to, &returned.batches);
        self.give_back(to, &unsent);
    }

    /// Marks events as unplaced and has the second pass begin at the first of them.
    pub(super) fn give_back(&mut self, to: &TopicPartition, ranges: &[SeqRanges]) {
        let mut first = None;
        for (seq, copy) in ranges.iter().flat_map(SeqRanges::copies) {
            self.unplaced.mark(seq);
            self.copies.came_back(seq, copy);
            first = Some(first.map_or(seq, |first: Seq| first.min(seq)));
        }
        if let Some(first) = first {
            self.lanes
                .named(&to.topic)
                .lane_lags_from(to.partition, first);
        }
    }

    pub(super) fn refused(
        &mut self,
        to: &TopicPartition,
        refused: &SeqRanges,
        verdict: &Refusal,
        now: Instant,
    ) {
        let words = verdict.to_string();
        self.lanes.named(&to.topic).lane(to.partition).last_error = Some(words.clone());
        if let Some(offender) = offender(refused, verdict) {
            let records = || (0..).zip(refused.copies());
            let one = |(at, record)| (at == offender).then_some(record);
            let others = |(at, record)| (at != offender).then_some(record);
            let blamed: SeqRanges = records().filter_map(one).collect();
            warn!(topic = %to.topic, partition = to.partition, seq = blamed.first(), reason = words,
                "the broker refused an event for good; it goes to the dead letters");
            self.bury(to, &blamed, &words, now);
            return self.give_back(to, &[records().filter_map(others).collect()]);
        }
        let topic = self.lanes.named(&to.topic);
        if let (Some(first), Some(last)) = (refused.first(), refused.last()) {
            let half = u32::try_from(refused.len() / 2).unwrap_or(u32::MAX);
            topic.isolate(first, last, half);
        }
        warn!(topic = %to.topic, partition = to.partition, events = refused.len(), reason = words,
            "the broker refused a batch; its events go again in smaller ones");
        self.give_back(to, std::slice::from_ref(refused));
    }
}

/// The record that is to blame, when that is known: its place in the batch.
fn offender(refused: &SeqRanges, verdict: &Refusal) -> Option<usize> {
    match verdict {
        _ if refused.len() == 1 => Some(0),
        Refusal::Invalid {
            record_index: Some(index),
            ..
        } => usize::try_from(*index)
            .ok()
            .filter(|index| (*index as u64) < refused.len()),
        _ => None,
    }
}
