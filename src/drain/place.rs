//! The two passes over the spool: which block is read, and which of its events find a place.
//!
//! What becomes of one event is in `event`. Does not send batches and does not see answers.

use std::ops::RangeInclusive;
use std::time::Instant;

use tracing::{error, warn};

use super::STALL_AFTER;
use super::copies::COPY_BYTES_MAX;
use super::event::{GivenUp, Placing};
use super::expiry::Ages;
use super::run::State;
use super::topic::Pass;
use crate::kafka::{ClusterView, TopicPartition};
use crate::proof::Seq;
use crate::spool::Block;

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
            .filter_map(|topic| topic.lagging_from(cluster.topics.get(&topic.name), now))
            .min();
        let Some(from) = from else { return false };
        let Some(first) = self.unplaced.next(from) else {
            self.advance(from..=Seq::MAX, from, None);
            return true;
        };
        match self.cursor.reread(first) {
            Ok(Some(block)) if block.first() <= first => {
                self.place(&block, Pass::Lagging, &cluster, now);
                let next = self.unplaced.next(block.end());
                self.advance(from..=block.end() - 1, block.first(), next);
            }
            Ok(block) => {
                self.are_gone(first, block.map_or(Seq::MAX, |block| block.first()));
                let next = self.unplaced.next(first);
                self.advance(from..=first, first, next);
            }
            Err(failure) => {
                error!(error = %failure, "cannot read the spool; trying again");
                self.status.last_error = Some(failure.to_string());
                return false;
            }
        }
        true
    }

    /// The events `first..end` were resolved meanwhile, or lost to damage: nothing of them is
    /// left to place.
    fn are_gone(&mut self, first: Seq, end: Seq) {
        while let Some(seq) = self.unplaced.next(first).filter(|seq| *seq < end) {
            self.unplaced.clear(seq);
            self.copies.forget(seq);
        }
    }

    fn advance(&mut self, window: RangeInclusive<Seq>, first: Seq, next: Option<Seq>) {
        for topic in self.lanes.topics_mut() {
            topic.advance(&window, first, next);
        }
    }

    fn may_read(&mut self, cluster: &ClusterView, now: Instant) -> bool {
        if self.buffered() >= self.settings.buffer_memory {
            return false;
        }
        if self.copies_are_full() {
            return false;
        }
        // Topics that are made from events are not known before they are read.
        let mut open = self.settings.router.makes_topics();
        let mut stalled = Vec::new();
        for topic in self.lanes.topics_mut() {
            let room = topic.room(cluster.topics.get(&topic.name), now, STALL_AFTER);
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

    /// Whether copies that wait take all the memory that they may; says so once.
    fn copies_are_full(&mut self) -> bool {
        let is_full = self.copies.bytes() >= COPY_BYTES_MAX;
        if is_full && !self.copies_full {
            warn!(
                limit = COPY_BYTES_MAX,
                "too many events wait for one of their routes; nothing new is read until \
                 its partitions are back"
            );
        }
        self.copies_full = is_full;
        is_full
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
    pub(super) fn place(&mut self, block: &Block, pass: Pass, cluster: &ClusterView, now: Instant) {
        let span = block.range();
        let untouched = pass == Pass::Main && self.cursor.is_untouched(block);
        let topics = self.settings.router.topics();
        let ages = Ages::new(self.settings.delivery_timeout, now);
        let placing = Placing::new(pass, span, topics, cluster, ages, now);
        let mut given_up = GivenUp::default();
        for event in block.events() {
            if pass != Pass::Main && !self.unplaced.contains(event.seq) {
                continue;
            }
            if !untouched && !self.cursor.is_unresolved(event.seq) {
                self.unplaced.clear(event.seq);
                self.copies.forget(event.seq);
                continue;
            }
            let placed = self.place_event(&event, &placing, &mut given_up);
            match (placed, pass) {
                (true, Pass::Lagging | Pass::Expiring) => self.unplaced.clear(event.seq),
                (false, Pass::Main) => self.unplaced.mark(event.seq),
                _ => {}
            }
        }
        self.give_up(given_up, now);
    }

    /// Settles what is not sent. False when letters could not be stored.
    pub(super) fn give_up(&mut self, given_up: GivenUp, now: Instant) -> bool {
        if !given_up.dropped.is_empty() {
            self.cursor.dropped(&given_up.dropped);
            self.unsaved = true;
        }
        for (seq, ending) in given_up.resolved {
            self.resolve(seq, ending);
        }
        self.store_letters(given_up.letters, now)
    }
}
