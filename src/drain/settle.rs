//! What becomes of a batch: its events leave the spool, go again, are split up, or go to the
//! dead letters.
//!
//! Does not decide whether an error may be retried; the producer has done that.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use tracing::warn;

use super::run::State;
use crate::kafka::{Refusal, Report, TopicPartition};
use crate::proof::{Seq, SeqRanges};
use crate::spool::{DeadLetter, StoredEvent};

impl State {
    /// Takes one answer of the producer.
    pub(super) fn settle(&mut self, report: Report, now: Instant) {
        match report {
            Report::Acked { to, proof, bytes } => {
                self.came_back(&to, 1, bytes);
                self.cursor.acked(proof);
                self.unsaved = true;
            }
            Report::Refused {
                to,
                refused,
                verdict,
                returned,
                term,
                bytes,
            } => {
                self.came_back(&to, 1 + returned.len() as u32, bytes);
                self.refused(&to, &refused, &verdict, now);
                self.go_again(&to, &returned, term);
            }
            Report::Returned {
                to,
                returned,
                term,
                reason,
                bytes,
            } => {
                warn!(topic = %to.topic, partition = to.partition, reason,
                    "batches came back; their events wait in the spool");
                self.came_back(&to, returned.len() as u32, bytes);
                self.lanes.named(&to.topic).lane(to.partition).last_error = Some(reason);
                self.go_again(&to, &returned, term);
            }
            Report::ClusterChanged => {}
        }
    }

    fn came_back(&mut self, to: &TopicPartition, batches: u32, bytes: usize) {
        self.sealed_bytes = self.sealed_bytes.saturating_sub(bytes);
        self.lanes
            .named(&to.topic)
            .lane(to.partition)
            .came_back(batches);
    }

    /// Events of batches that were not appended go again, before whatever the lane has not
    /// sent yet.
    fn go_again(&mut self, to: &TopicPartition, returned: &[SeqRanges], term: u32) {
        let lane = self.lanes.named(&to.topic).lane(to.partition);
        lane.end_term(term);
        let (unsent, bytes) = lane.recall();
        self.sealed_bytes = self.sealed_bytes.saturating_sub(bytes);
        self.give_back(to, returned);
        self.give_back(to, &unsent);
    }

    /// Marks events as unplaced and has the second pass begin at the first of them.
    pub(super) fn give_back(&mut self, to: &TopicPartition, ranges: &[SeqRanges]) {
        let mut first = None;
        for seq in ranges.iter().flat_map(SeqRanges::iter) {
            let block = self.mark(seq);
            first = Some(first.map_or(block, |first: Seq| first.min(block)));
        }
        if let Some(first) = first {
            self.lanes
                .named(&to.topic)
                .lane_lags_from(to.partition, first);
        }
    }

    /// Marks one event; returns the first sequence of its block.
    pub(super) fn mark(&mut self, seq: Seq) -> Seq {
        let Some(span) = self.block_of(seq) else {
            return seq;
        };
        self.unplaced.mark(span, seq);
        span.first
    }

    fn refused(
        &mut self,
        to: &TopicPartition,
        refused: &SeqRanges,
        verdict: &Refusal,
        now: Instant,
    ) {
        let words = verdict.to_string();
        self.lanes.named(&to.topic).lane(to.partition).last_error = Some(words.clone());
        if let Some(offender) = offender(refused, verdict) {
            warn!(topic = %to.topic, partition = to.partition, seq = offender, reason = words,
                "the broker refused an event for good; it goes to the dead letters");
            self.bury(to, offender, &words, now);
            let rest: Vec<SeqRanges> = vec![without(refused, offender)];
            return self.give_back(to, &rest);
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

    /// Moves one event to the dead letters.
    fn bury(&mut self, to: &TopicPartition, seq: Seq, reason: &str, now: Instant) {
        let block = match self.cursor.reread(seq) {
            Ok(Some(block)) => block,
            Ok(None) => return,
            Err(failure) => {
                self.status.last_error = Some(failure.to_string());
                return self.give_back(to, &[single(seq)]);
            }
        };
        let Some(event) = block.events().find(|event| event.seq == seq) else {
            return;
        };
        let letter = dead_letter(&event, &to.topic, Some(to.partition), reason.to_owned());
        self.store_letters(vec![letter], now);
    }
}

/// The event that is to blame, when that is known.
fn offender(refused: &SeqRanges, verdict: &Refusal) -> Option<Seq> {
    match verdict {
        _ if refused.len() == 1 => refused.first(),
        Refusal::Invalid {
            record_index: Some(index),
            ..
        } => refused.nth(usize::try_from(*index).ok()?),
        _ => None,
    }
}

fn without(ranges: &SeqRanges, seq: Seq) -> SeqRanges {
    let mut rest = SeqRanges::default();
    ranges
        .iter()
        .filter(|&other| other != seq)
        .for_each(|other| rest.push(other));
    rest
}

fn single(seq: Seq) -> SeqRanges {
    let mut ranges = SeqRanges::default();
    ranges.push(seq);
    ranges
}

/// An event as the dead-letter store keeps it.
pub(super) fn dead_letter(
    event: &StoredEvent<'_>,
    topic: &str,
    partition: Option<i32>,
    reason: String,
) -> DeadLetter {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    DeadLetter {
        seq: event.seq,
        source: event.source.clone(),
        received: event.received,
        topic: topic.to_owned(),
        partition,
        reason,
        at: i64::try_from(since.as_millis()).unwrap_or(i64::MAX),
        bytes: event.bytes.to_vec(),
    }
}
