//! One event through the routes: each copy into the batch of its partition, or it waits, or
//! it is given up.
//!
//! Does not read the spool and does not store letters.

use std::sync::Arc;
use std::time::Instant;

use super::Settings;
use super::copies::{Copies, Place, Settled, Worse};
use super::expiry::Ages;
use super::lane::BuilderPool;
use super::lanes::Lanes;
use super::letters::{Letters, dead_letter};
use super::run::State;
use super::stable_id::{ID_HEADER, StableId};
use super::topic::{Pass, Target};
use crate::kafka::{ClusterView, HeaderRef, Producer, RecordRef, TopicView};
use crate::proof::{CopyId, Seq, SeqRange, SeqRanges};
use crate::route::{Event, Routed, RoutedTopic, Verdict};
use crate::spool::{DeadLetter, StoredEvent};

/// Name of the header that an event has when it is only the beginning of a line, because
/// the line was longer than `max_line`. Its value is `true`.
const CUT_HEADER: &[u8] = b"spoolway-cut";

/// What is the same for all events of one block.
pub(super) struct Placing<'c> {
    pub(super) pass: Pass,
    pub(super) block: SeqRange,
    /// What the cluster says of the router's topics.
    pub(super) views: Vec<Option<&'c TopicView>>,
    pub(super) cluster: &'c ClusterView,
    pub(super) now: Instant,
    /// With `delivery.timeout.ms` set.
    pub(super) ages: Option<Ages>,
}

impl<'c> Placing<'c> {
    /// For events of `block`, with the router's topics as the cluster shows them.
    pub(super) fn new(
        pass: Pass,
        block: SeqRange,
        topics: &[Arc<str>],
        cluster: &'c ClusterView,
        ages: Option<Ages>,
        now: Instant,
    ) -> Self {
        let views = topics
            .iter()
            .map(|topic| cluster.topics.get(topic))
            .collect();
        Self {
            pass,
            block,
            views,
            cluster,
            now,
            ages,
        }
    }
}

/// Events of one block that are not sent.
#[derive(Default)]
pub(super) struct GivenUp {
    pub(super) letters: Letters,
    pub(super) dropped: SeqRanges,
    /// Events whose last open copy no route wants any more.
    pub(super) resolved: Vec<(Seq, Worse)>,
}

/// What became of a copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Spot {
    /// In a batch, or given up.
    Found,
    /// Stays in the spool and is read again.
    Waits,
}

impl State {
    /// False when the event, or a copy of it, found no place.
    pub(super) fn place_event(
        &mut self,
        event: &StoredEvent<'_>,
        placing: &Placing<'_>,
        given_up: &mut GivenUp,
    ) -> bool {
        let seq = event.seq;
        let has_begun = placing.pass != Pass::Main && self.copies.has_begun(seq);
        if placing.pass == Pass::Lagging && !has_begun {
            // None of it is under way, so that changed routes apply as to a new event.
            self.copies.forget(seq);
        }
        let mut spots = std::mem::take(&mut self.spots);
        spots.clear();
        let router = &self.settings.router;
        let is_tagged = has_begun || router.sends_all();
        let mut matches = router.matches(routable(event), &mut self.scratch);
        let mut dealer = Dealer {
            settings: &self.settings,
            lanes: &mut self.lanes,
            producer: &self.producer,
            pool: &mut self.pool,
            stable_id: &mut self.stable_id,
            sealed_bytes: &mut self.sealed_bytes,
            copies: &self.copies,
            placing,
            given_up,
        };
        while let Some(verdict) = matches.next() {
            let ids = &self.copy_ids;
            let copy = verdict.route().and_then(|route| ids.get(route));
            let copy = copy.filter(|_| is_tagged).map_or(0, |copy| *copy);
            if has_begun && (copy == 0 || is_under_way(self.copies.place(seq, copy))) {
                continue;
            }
            spots.push((copy, dealer.deal(&verdict, copy, event)));
        }
        let waits = spots.iter().any(|(_, spot)| *spot == Spot::Waits);
        if has_begun || spots.len() > 1 {
            self.note_copies(seq, placing.block, &spots, given_up);
        }
        self.spots = spots;
        !waits
    }

    /// Notes where the copies of an event are; those that no route wants any more are settled.
    fn note_copies(
        &mut self,
        seq: Seq,
        block: SeqRange,
        spots: &[(CopyId, Spot)],
        given_up: &mut GivenUp,
    ) {
        let unwanted = self.copies.waiting(seq).into_iter();
        let unwanted = unwanted.filter(|copy| spots.iter().all(|(known, _)| known != copy));
        let unwanted: Vec<CopyId> = unwanted.collect();
        for &(copy, spot) in spots {
            let place = match spot {
                Spot::Found => Place::UnderWay,
                Spot::Waits => Place::Waiting,
            };
            self.copies.put(block, seq, copy, place);
        }
        for copy in unwanted {
            self.copies.ended(seq, Worse::Dropped);
            if let Settled::Whole(Some(ending)) = self.copies.settle(seq, copy) {
                given_up.resolved.push((seq, ending));
            }
        }
    }
}

/// What placing one copy needs of the drain.
struct Dealer<'s> {
    settings: &'s Settings,
    lanes: &'s mut Lanes,
    producer: &'s Producer,
    pool: &'s mut BuilderPool,
    stable_id: &'s mut StableId,
    sealed_bytes: &'s mut usize,
    copies: &'s Copies,
    placing: &'s Placing<'s>,
    given_up: &'s mut GivenUp,
}

impl Dealer<'_> {
    fn deal(&mut self, verdict: &Verdict<'_>, copy: CopyId, event: &StoredEvent<'_>) -> Spot {
        match verdict {
            Verdict::Send(routed) => self.send(routed, copy, event),
            Verdict::DeadLetter { route, reason } => {
                let route = route.and_then(|route| self.settings.router.route_name(route));
                let reason = with_route(route, reason);
                self.give_up(dead_letter(event, "", None, reason), copy)
            }
            Verdict::Drop => {
                self.given_up.dropped.push(event.seq);
                Spot::Found
            }
        }
    }

    fn give_up(&mut self, letter: DeadLetter, copy: CopyId) -> Spot {
        self.given_up.letters.push(letter, copy);
        Spot::Found
    }

    fn send(&mut self, routed: &Routed<'_>, copy: CopyId, event: &StoredEvent<'_>) -> Spot {
        let placing = self.placing;
        let producer = self.producer;
        let (topic, view) = match routed.topic {
            RoutedTopic::Listed(index) => {
                let view = placing.views.get(index).copied().flatten();
                (self.lanes.routed(index), view)
            }
            RoutedTopic::Named(name) => {
                let topic = self
                    .lanes
                    .made(name, placing.now, |name| producer.want_topic(name));
                (topic, placing.cluster.topics.get(name))
            }
        };
        let route = self.copies.name(copy);
        let Some(topic) = topic else {
            let reason = with_route(
                route,
                "too many topics are made from events, see topic_idle",
            );
            return self.give_up(dead_letter(event, "", None, reason), copy);
        };
        if let Some(ages) = placing.ages.filter(|ages| ages.over(event.received)) {
            let reason = with_route(route, &ages.reason(topic));
            let letter = dead_letter(event, &topic.name, None, reason);
            return self.give_up(letter, copy);
        }
        if placing.pass == Pass::Expiring {
            return Spot::Waits;
        }
        let block = placing.block.first;
        let target = topic.target(routed, view, placing.pass, block, placing.now);
        let (partition, reason) = match target {
            Target::Nowhere => return Spot::Waits,
            Target::DeadLetter => (None, topic.doomed.clone().unwrap_or_default()),
            Target::NoPartition(partition) => {
                let reason = format!("topic {} has no partition {partition}", topic.name);
                (Some(partition), reason)
            }
            Target::Lane(partition) => {
                let limits = self.settings.route_limits.get(routed.route);
                let limits = limits.unwrap_or(&self.settings.limits);
                let limits = topic.limits(event.seq, limits);
                let id = [HeaderRef {
                    name: ID_HEADER,
                    value: Some(self.stable_id.of(event.seq)),
                }];
                let is_cut = event.place.is_some_and(|place| place.is_cut);
                let more = headers(routed, &id, is_cut);
                let record = record(routed, &id, &more);
                let lane = topic.lane(partition);
                let entry = (event.seq, copy);
                let expires = placing.ages.map(|ages| ages.expiry(event.received));
                let sealed = lane.push(entry, &record, expires, &limits, self.pool, placing.now);
                *self.sealed_bytes += sealed;
                return Spot::Found;
            }
        };
        let reason = with_route(route, &reason);
        let letter = dead_letter(event, &topic.name, partition, reason);
        self.give_up(letter, copy)
    }
}

/// The reason of a dead letter, with the route that it is about.
pub(super) fn with_route(route: Option<&str>, reason: &str) -> String {
    match route {
        Some(route) => format!("route {route}: {reason}"),
        None => reason.to_owned(),
    }
}

fn is_under_way(place: Place) -> bool {
    matches!(place, Place::UnderWay | Place::Settled)
}

fn routable<'a>(event: &StoredEvent<'a>) -> Event<'a> {
    Event {
        seq: event.seq,
        source: event.source,
        offset: event.place.map(|place| place.offset),
        received: event.received,
        bytes: event.bytes,
    }
}

/// The headers of an event that has more than its stable id; allocates only then.
fn headers<'a>(
    routed: &'a Routed<'_>,
    id: &[HeaderRef<'a>; 1],
    is_cut: bool,
) -> Vec<HeaderRef<'a>> {
    let mut own = routed.headers().peekable();
    if own.peek().is_none() && !is_cut {
        return Vec::new();
    }
    let id = id.iter().filter(|_| routed.id_header).copied();
    let own = own.map(|(name, value)| HeaderRef {
        name: name.as_bytes(),
        value,
    });
    let cut = is_cut.then_some(HeaderRef {
        name: CUT_HEADER,
        value: Some(b"true"),
    });
    id.chain(cut).chain(own).collect()
}

fn record<'a>(
    routed: &'a Routed<'_>,
    id: &'a [HeaderRef<'a>; 1],
    more: &'a [HeaderRef<'a>],
) -> RecordRef<'a> {
    RecordRef {
        key: routed.key,
        value: routed.value,
        timestamp: routed.timestamp,
        headers: match (more.is_empty(), routed.id_header) {
            (false, _) => more,
            (true, true) => id,
            (true, false) => &[],
        },
    }
}
