//! The two passes over the spool: each event into the batch of its partition, or marked as
//! unplaced, or to the dead letters.
//!
//! Does not send batches and does not see answers.

use std::sync::Arc;
use std::time::Instant;

use tracing::{error, warn};

use super::STALL_AFTER;
use super::lanes::{Pass, Target, view_of};
use super::run::State;
use super::settle::dead_letter;
use super::stable_id::ID_HEADER;
use crate::kafka::{ClusterView, HeaderRef, RecordRef, TopicPartition, TopicView};
use crate::proof::{Seq, SeqRanges};
use crate::route::{Event, Routed, RoutedTopic, Verdict};
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
        // Topics that are made from events are not known before they are read.
        let mut open = self.settings.router.makes_topics();
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
        let placing = Placing {
            pass,
            block: span.first,
            views,
            cluster,
            now,
        };
        let mut given_up = GivenUp::default();
        for event in block.events() {
            if pass == Pass::Lagging && !self.unplaced.contains(span.first, event.seq) {
                continue;
            }
            if !untouched && !self.cursor.is_unresolved(event.seq) {
                self.unplaced.clear(span.first, event.seq);
                continue;
            }
            let placed = self.place_event(&event, &placing, &mut given_up);
            match (placed, pass) {
                (true, Pass::Lagging) => self.unplaced.clear(span.first, event.seq),
                (false, Pass::Main) => self.unplaced.mark(span, event.seq),
                _ => {}
            }
        }
        if !given_up.dropped.is_empty() {
            self.cursor.dropped(&given_up.dropped);
            self.unsaved = true;
        }
        self.store_letters(given_up.letters, now);
    }

    /// False when the event found no place.
    fn place_event(
        &mut self,
        event: &StoredEvent<'_>,
        placing: &Placing<'_>,
        given_up: &mut GivenUp,
    ) -> bool {
        let Self {
            settings,
            lanes,
            producer,
            scratch,
            pool,
            stable_id,
            ..
        } = self;
        // A checked configuration has the first match only: the spool knows one outcome of
        // an event, not one for each copy.
        let mut matches = settings.router.matches(routable(event), scratch);
        let routed = match matches.next() {
            Some(Verdict::Send(routed)) => routed,
            Some(Verdict::DeadLetter { route, reason }) => {
                let reason = match route {
                    Some(route) => format!("route {route}: {reason}"),
                    None => reason,
                };
                given_up.letters.push(dead_letter(event, "", None, reason));
                return true;
            }
            Some(Verdict::Drop) => {
                given_up.dropped.push(event.seq);
                return true;
            }
            None => return false,
        };
        let (topic, view) = match routed.topic {
            RoutedTopic::Listed(index) => {
                let view = placing.views.get(index).copied().flatten();
                (lanes.routed(index), view)
            }
            RoutedTopic::Named(name) => {
                let topic = lanes.made(name, |name| producer.want_topic(name));
                (topic, placing.cluster.topics.get(name))
            }
        };
        let Some(topic) = topic else {
            let reason = "too many topics are made from events".to_owned();
            given_up.letters.push(dead_letter(event, "", None, reason));
            return true;
        };
        match topic.target(&routed, view, placing.pass, placing.block, placing.now) {
            Target::Lane(partition) => {
                let limits = settings.route_limits.get(routed.route);
                let limits = topic.limits(event.seq, limits.unwrap_or(&settings.limits));
                let id = [HeaderRef {
                    name: ID_HEADER,
                    value: Some(stable_id.of(event.seq)),
                }];
                let more = headers(&routed, &id);
                let record = record(&routed, &id, &more);
                let lane = topic.lane(partition);
                match lane.push(event.seq, &record, &limits, pool, placing.now) {
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
                let letter = dead_letter(event, &topic.name, None, reason);
                given_up.letters.push(letter);
                true
            }
            Target::NoPartition(partition) => {
                let reason = format!("topic {} has no partition {partition}", topic.name);
                let letter = dead_letter(event, &topic.name, Some(partition), reason);
                given_up.letters.push(letter);
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
                    topic.pause(block, now);
                }
            }
        }
    }
}

/// What is the same for all events of one block.
struct Placing<'c> {
    pass: Pass,
    /// First sequence of the block.
    block: Seq,
    /// What the cluster says of the router's topics.
    views: Vec<Option<&'c TopicView>>,
    cluster: &'c ClusterView,
    now: Instant,
}

/// Events of one block that are not sent.
#[derive(Default)]
struct GivenUp {
    letters: Vec<DeadLetter>,
    dropped: SeqRanges,
}

fn routable<'a>(event: &StoredEvent<'a>) -> Event<'a> {
    Event {
        seq: event.seq,
        source: event.source,
        received: event.received,
        bytes: event.bytes,
    }
}

/// The headers of a route that has some of its own; allocates only then.
fn headers<'a>(routed: &'a Routed<'_>, id: &[HeaderRef<'a>; 1]) -> Vec<HeaderRef<'a>> {
    let mut own = routed.headers().peekable();
    if own.peek().is_none() {
        return Vec::new();
    }
    let id = id.iter().filter(|_| routed.id_header).copied();
    let own = own.map(|(name, value)| HeaderRef {
        name: name.as_bytes(),
        value,
    });
    id.chain(own).collect()
}

fn record<'a>(
    routed: &'a Routed<'_>,
    id: &'a [HeaderRef<'a>; 1],
    more: &'a [HeaderRef<'a>],
) -> RecordRef<'a> {
    RecordRef {
        key: routed.key,
        value: routed.value,
        headers: match (more.is_empty(), routed.id_header) {
            (false, _) => more,
            (true, true) => id,
            (true, false) => &[],
        },
    }
}
