//! Batches that go back to their owner: because their topic fails, their partition is gone,
//! their time is over, or they were tried often enough.
//!
//! When a partition may give its batches back is the partition's to say; see the file of the
//! same name there.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::super::{Report, TopicPartition};
use super::{Action, Core, Now};

/// How long batches that may be in the log wait for their failing topic before they are
/// given back and counted as possible duplicates.
const DOUBTFUL_PATIENCE: Duration = Duration::from_secs(60);

/// Why a topic gets nothing at present.
#[derive(Debug)]
pub(super) struct Failing {
    reason: String,
    since: Instant,
}

impl Core {
    /// The partition does not exist (any more) in a topic that does.
    pub(in super::super) fn partition_gone(&mut self, to: &TopicPartition) {
        let slot = self.slot(to);
        if let Some(partition) = self.partitions.get_mut(slot) {
            partition.set_leader(None);
            if partition.returnable() {
                self.give_back(slot, format!("partition {to} does not exist"));
            }
        }
    }

    /// The topic cannot be written since `since`: its batches go back.
    pub(in super::super) fn topic_failing(
        &mut self,
        topic: &Arc<str>,
        reason: String,
        since: Instant,
        now: Now,
    ) {
        self.failing
            .insert(topic.clone(), Failing { reason, since });
        for slot in self.by_topic.get(topic).cloned().unwrap_or_default() {
            self.return_if_failing(slot, now.mono);
        }
    }

    /// The topic can be written again, as far as is known.
    pub(in super::super) fn topic_usable(&mut self, topic: &str) {
        self.failing.remove(topic);
    }

    /// Gives a failing topic's batches back, unless they may be in the log and it is early.
    pub(super) fn return_if_failing(&mut self, slot: usize, now: Instant) {
        let Some(partition) = self.partitions.get(slot) else {
            return;
        };
        let Some(failing) = self.failing.get(&partition.to.topic) else {
            return;
        };
        let patient = now.saturating_duration_since(failing.since) < DOUBTFUL_PATIENCE;
        if partition.on_wire() > 0 || (patient && !partition.returnable()) {
            return;
        }
        let reason = failing.reason.clone();
        self.give_back(slot, reason);
    }

    /// Gives a partition's batches back once the first has expired and nothing of it is on
    /// the wire. The epoch that follows keeps what was sent without an answer from getting
    /// into the log later (KIP-360). Which events are too old is the owner's to see.
    pub(super) fn expire(&mut self, slot: usize, now: Instant) {
        let Some(partition) = self.partitions.get_mut(slot) else {
            return;
        };
        let Some(at) = partition.expires() else {
            return;
        };
        if at > now {
            let later = |look: Instant| look <= now || at < look;
            if partition.expiry_look.is_none_or(later) {
                partition.expiry_look = Some(at);
                self.timers.insert((at, slot));
            }
        } else if partition.on_wire() == 0 {
            let error = partition.error.as_deref().unwrap_or("no broker took it");
            let reason = format!("{error} (delivery.timeout.ms is over)");
            self.give_back(slot, reason);
        }
    }

    /// Gives up what has failed more often than `retries` allows. As with what expires, the
    /// epoch that follows keeps a late request from getting into the log.
    pub(super) fn give_up(&mut self, slot: usize) {
        let Some(retries) = self.settings.retries else {
            return;
        };
        let Some(partition) = self.partitions.get_mut(slot) else {
            return;
        };
        if !partition.is_exhausted(retries) {
            return;
        }
        let doubt = match partition.doubtful() {
            0 => "",
            _ => "; an answer was lost, so the broker may have it all the same",
        };
        let error = partition.error.as_deref().unwrap_or("no broker took it");
        let reason = format!(
            "given up after {} tries (retries = {retries}): {error}{doubt}",
            retries.saturating_add(1)
        );
        let (given_up, returned) = partition.take_exhausted(retries);
        self.actions.push(Action::Report(Report::GivenUp {
            given_up,
            returned,
            reason,
        }));
    }

    fn give_back(&mut self, slot: usize, reason: String) {
        let Some(partition) = self.partitions.get_mut(slot) else {
            return;
        };
        if partition.unresolved() == 0 {
            return;
        }
        let (returned, doubtful) = partition.return_all();
        self.totals.maybe_duplicate_records += doubtful;
        self.actions
            .push(Action::Report(Report::Returned { returned, reason }));
    }

    /// Gives back everything that is unresolved, whatever its state.
    pub(in super::super) fn abandon(&mut self) {
        for slot in 0..self.partitions.len() {
            self.give_back(slot, "the producer was closed".into());
        }
    }
}
