//! The two passes over the spool: each event into the batch of its partition, or marked as
//! unplaced, or to the dead letters.
//!
//! Does not send batches and does not see answers.

use std::sync::Arc;
use std::time::Instant;

use tracing::{error, warn};

use super::STALL_AFTER;
use super::lanes::{Pass, Target, view_of};
use super::route::{ID_HEADER, Routed};
use super::run::State;
use crate::kafka::{ClusterView, HeaderRef, RecordRef, TopicPartition, TopicView};
use crate::proof::Seq;
use crate::spool::{Block, DeadLetter, StoredEvent};

impl State {
    /// Reads and places one new block. False when there is none, or no room for one.
    pub(super) fn main_pass(&mut self, now: Instant) -> bool {
        let cluster = self.producer.cluster();
        if !self.may_read(&cluster, now) {
            return false;
        }
        match self.cursor.next() {
            Ok(Some(block)) => {
                self.place(&block, Pass::Main, &cluster, now);
                true
            }
            Ok(None) => false,
            Err(failure) => {
                error!(error = %failure, "cannot read the spool; trying again");
                self.status.last_error = Some(failure.to_string());
                false
            }
        }
    }

    /// Reads one block again for partitions that lag and have room. False when there is none.
    pub(super) fn lagging_pass(&mut self, now: Instant) -> bool {
        if self.buffered() >= self.settings.buffer_memory {
            return false;
        }
        let cluster = self.producer.cluster();
        let from = self
            .lanes
            .topics()
            .iter()
            .filter_map(|topic| topic.lagging_from(view_of(&cluster, &topic.name), now))
            .min();
        let Some(from) = from else { return false };
        let Some(first) = self.unplaced.next_block(from) else {
            self.advance(from, Seq::MAX, None);
            return true;
        };
        match self.cursor.reread(first) {
            Ok(Some(block)) if block.first() == first => {
                self.place(&block, Pass::Lagging, &cluster, now);
            }
            // Resolved meanwhile, or lost to damage: nothing of it is left to place.
            Ok(_) => self.unplaced.forget(first),
            Err(failure) => {
                error!(error = %failure, "cannot read the spool; trying again");
                self.status.last_error = Some(failure.to_string());
                return false;
            }
        }
        self.advance(from, first, self.unplaced.next_block(first + 1));
        true
    }

    fn advance(&mut self, from: Seq, first: Seq, next: Option<Seq>) {
        for topic in self.lanes.topics_mut() {
            topic.advance(from, first, next);
        }
    }

    fn may_read(&mut self, cluster: &ClusterView, now: Instant) -> bool {
        if self.buffered() >= self.settings.buffer_memory {
            return false;
        }
        let mut open = false;
        let mut stalled = Vec::new();
        for topic in self.lanes.topics_mut() {
            let room = topic.room(view_of(cluster, &topic.name.clone()), now, STALL_AFTER);
            if room.full {
                return false;
            }
            open |= room.open;
            let topic = &topic.name;
            stalled.extend(room.stalled.into_iter().map(|partition| TopicPartition {
                topic: topic.clone(),
                partition,
            }));
        }
        if open {
            stalled.iter().for_each(|to| self.pass_over(to));
        }
        open
    }

    /// Takes back what a stalled partition has not sent, so that the others can go on.
    fn pass_over(&mut self, to: &TopicPartition) {
        warn!(topic = %to.topic, partition = to.partition,
            "partition is stuck; its events wait in the spool");
        let position = self.cursor.position();
        let lane = self.lanes.named(&to.topic).lane(to.partition);
        let (ranges, bytes) = lane.recall();
        lane.lag_from(position);
        self.sealed_bytes = self.sealed_bytes.saturating_sub(bytes);
        self.give_back(to, &ranges);
    }

    /// Places each event of `block` that is neither resolved nor in a batch.
    fn place(&mut self, block: &Block, pass: Pass, cluster: &ClusterView, now: Instant) {
        let span = block.range();
        if pass == Pass::Main {
            self.note_block(span);
        }
        let untouched = pass == Pass::Main && self.cursor.is_untouched(block);
        let views: Vec<Option<&TopicView>> = self
            .settings
            .router
            .topics()
            .iter()
            .map(|topic| view_of(cluster, topic))
            .collect();
        let mut letters = Vec::new();
        for event in block.events() {
            if pass == Pass::Lagging && !self.unplaced.contains(span.first, event.seq) {
                continue;
            }
            if !untouched && !self.cursor.is_unresolved(event.seq) {
                self.unplaced.clear(span.first, event.seq);
                continue;
            }
            let placed = self.place_event(&event, pass, span.first, &views, &mut letters, now);
            match (placed, pass) {
                (true, Pass::Lagging) => self.unplaced.clear(span.first, event.seq),
                (false, Pass::Main) => self.unplaced.mark(span, event.seq),
                _ => {}
            }
        }
        self.store_letters(letters, now);
    }

    /// False when the event found no place.
    fn place_event(
        &mut self,
        event: &StoredEvent<'_>,
        pass: Pass,
        block: Seq,
        views: &[Option<&TopicView>],
        letters: &mut Vec<DeadLetter>,
        now: Instant,
    ) -> bool {
        let Self {
            settings,
            lanes,
            pool,
            stable_id,
            ..
        } = self;
        let Some(routed) = settings.router.route(event) else {
            return false;
        };
        let Some(topic) = lanes.routed(routed.topic) else {
            return false;
        };
        let view = views.get(routed.topic).copied().flatten();
        match topic.target(&routed, view, pass, block, now) {
            Target::Lane(partition) => {
                let limits = topic.limits(event.seq, &settings.limits);
                let id = stable_id.of(event.seq);
                let headers = [HeaderRef {
                    name: ID_HEADER,
                    value: Some(id),
                }];
                let record = record(&routed, &headers);
                let lane = topic.lane(partition);
                match lane.push(event.seq, &record, &limits, pool, now) {
                    Ok(sealed) => self.sealed_bytes += sealed,
                    Err(failure) => {
                        // The batch was lost with its encoder; its events are unresolved in
                        // the spool and come again after a restart.
                        error!(error = %failure, "cannot encode a batch");
                        self.status.last_error = Some(failure.to_string());
                        return false;
                    }
                }
                true
            }
            Target::DeadLetter => {
                let reason = topic.doomed.clone().unwrap_or_default();
                letters.push(super::settle::dead_letter(event, &topic.name, None, reason));
                true
            }
            Target::Nowhere => false,
        }
    }

    /// Stores letters durably; only then do their events leave the spool.
    pub(super) fn store_letters(&mut self, letters: Vec<DeadLetter>, now: Instant) {
        if letters.is_empty() {
            return;
        }
        let seqs: Vec<(Arc<str>, Seq)> = letters
            .iter()
            .map(|l| (Arc::from(l.topic.as_str()), l.seq))
            .collect();
        match self.dead_letters.put(letters) {
            Ok(proof) => self.cursor.dead_lettered(proof),
            Err(failure) => {
                warn!(error = %failure, "cannot store dead letters; their events stay");
                self.status.last_error = Some(failure.to_string());
                for (topic, seq) in seqs {
                    self.mark(seq);
                    let block = self.block_of(seq).map_or(seq, |span| span.first);
                    let topic = self.lanes.named(&topic);
                    topic.lag_from(block);
                    topic.pause(now);
                }
            }
        }
    }
}

fn record<'a>(routed: &'a Routed<'_>, headers: &'a [HeaderRef<'a>]) -> RecordRef<'a> {
    RecordRef {
        key: routed.key.as_deref(),
        value: routed.value,
        headers: if routed.id_header { headers } else { &[] },
    }
}
