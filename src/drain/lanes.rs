//! All lanes, by topic: which partition an event goes to, and which topics are in trouble.
//!
//! Decides by the cluster view it is given; holds no events of its own.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::lane::{BatchLimits, Lane};
use crate::kafka::{ClusterView, PartitionView, TopicPartition, TopicView};
use crate::proof::Seq;
use crate::route::spec::Spread;
use crate::route::{Placement, Routed};

/// Isolations remembered for one topic; beyond, the oldest is forgotten, which costs a
/// second refusal and nothing else.
const ISOLATIONS: usize = 32;

/// Topics made from events at most, so that a writer cannot fill the memory with them.
const MADE_TOPICS: usize = 1_000;

/// A topic whose dead letters could not be stored is left alone for this long.
const PAUSE: Duration = Duration::from_secs(5);

/// A batch that was refused as a whole: its events go in smaller ones.
#[derive(Debug, Clone, Copy)]
struct Isolation {
    first: Seq,
    last: Seq,
    events: u32,
}

/// One topic that events are routed to.
pub(super) struct Topic {
    /// Its name.
    pub(super) name: Arc<str>,
    lanes: HashMap<i32, Lane>,
    sticky: Option<i32>,
    /// Where the last event went that was spread in turn.
    turn: i32,
    lag: Option<Seq>,
    left: bool,
    /// How many partitions it had when last seen.
    partitions: Option<usize>,
    isolations: Vec<Isolation>,
    /// Why its events go to the dead letters, once patience is used up.
    pub(super) doomed: Option<String>,
    paused_until: Option<Instant>,
}

/// Where an event may go now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Target {
    /// Into the batch of this partition.
    Lane(i32),
    /// To the dead letters: the topic cannot be had.
    DeadLetter,
    /// To the dead letters: the topic has no partition of this number.
    NoPartition(i32),
    /// Nowhere for now: it stays in the spool and is read again.
    Nowhere,
}

/// Which pass over the spool is asking.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pass {
    /// Over events that wait, to give up those that have expired; places none.
    Expiring,
    /// Over events read again.
    Lagging,
    /// Over new events.
    Main,
}

impl Topic {
    fn new(name: Arc<str>) -> Self {
        Self {
            name,
            lanes: HashMap::new(),
            sticky: None,
            turn: -1,
            lag: None,
            left: false,
            partitions: None,
            isolations: Vec::new(),
            doomed: None,
            paused_until: None,
        }
    }

    /// The lanes in use.
    pub(super) fn lanes(&self) -> impl Iterator<Item = &Lane> {
        self.lanes.values()
    }

    /// The lanes in use.
    pub(super) fn lanes_mut(&mut self) -> impl Iterator<Item = &mut Lane> {
        self.lanes.values_mut()
    }

    /// The lane of a partition, made when missing.
    pub(super) fn lane(&mut self, partition: i32) -> &mut Lane {
        let (name, lag) = (&self.name, self.lag);
        self.lanes.entry(partition).or_insert_with(|| {
            Lane::new(
                TopicPartition {
                    topic: name.clone(),
                    partition,
                },
                lag,
            )
        })
    }

    /// Events of this topic in `block` or later may be unplaced, whatever their lane.
    pub(super) fn lag_from(&mut self, block: Seq) {
        self.lag = Some(self.lag.map_or(block, |lag| lag.min(block)));
        self.lanes
            .values_mut()
            .for_each(|lane| lane.lag_from(block));
    }

    /// Events of this partition in `block` or later may be unplaced; events without a key may
    /// have been among them.
    pub(super) fn lane_lags_from(&mut self, partition: i32, block: Seq) {
        self.leave(Pass::Main, block);
        self.lane(partition).lag_from(block);
    }

    /// A topic that has grown routes its keys anew: what waits for one partition may belong to
    /// another now.
    pub(super) fn has_partitions(&mut self, count: usize) {
        let grown = self
            .partitions
            .replace(count)
            .is_some_and(|before| before != count);
        let lags = self
            .lanes
            .values()
            .filter_map(Lane::lag)
            .chain(self.lag)
            .min();
        if let Some(block) = lags.filter(|_| grown) {
            self.lag_from(block);
        }
    }

    /// Block `first` was read again, and no block from `from` to it holds unplaced events:
    /// whoever left none in it goes on to `next`.
    pub(super) fn advance(&mut self, from: Seq, first: Seq, next: Option<Seq>) {
        let window = from..=first;
        let left = std::mem::take(&mut self.left);
        if self.lag.is_some_and(|lag| window.contains(&lag)) {
            self.lag = if left { Some(first) } else { next };
        }
        for lane in self.lanes.values_mut() {
            lane.advance(&window, next);
        }
    }

    /// Notes that an event without a lane found no place.
    fn leave(&mut self, pass: Pass, block: Seq) {
        match pass {
            Pass::Main => self.lag = Some(self.lag.map_or(block, |lag| lag.min(block))),
            Pass::Lagging => self.left = true,
            Pass::Expiring => {}
        }
    }

    /// Notes that an event found no place, without knowing its lane.
    fn leave_all(&mut self, pass: Pass, block: Seq) {
        self.leave(pass, block);
        self.lanes
            .values_mut()
            .for_each(|lane| lane.leave(pass, block));
    }

    /// Limits for the batch that `seq` goes into.
    pub(super) fn limits(&self, seq: Seq, limits: &BatchLimits) -> BatchLimits {
        let isolated = self
            .isolations
            .iter()
            .filter(|i| (i.first..=i.last).contains(&seq));
        let events = isolated.map(|i| i.events).min().unwrap_or(limits.events);
        BatchLimits {
            events: limits.events.min(events),
            ..*limits
        }
    }

    /// Sends the events from `first` to `last` in batches of at most `events` from now on.
    pub(super) fn isolate(&mut self, first: Seq, last: Seq, events: u32) {
        if self.isolations.len() >= ISOLATIONS {
            self.isolations.remove(0);
        }
        self.isolations.push(Isolation {
            first,
            last,
            events: events.max(1),
        });
    }

    /// Leaves the topic alone for a while, with events of `block` that are unplaced again.
    pub(super) fn pause(&mut self, block: Seq, now: Instant) {
        self.lag_from(block);
        self.left = true;
        self.paused_until = Some(now + PAUSE);
    }

    fn paused(&self, now: Instant) -> bool {
        self.paused_until.is_some_and(|until| now < until)
    }

    /// Where an event of `block` routed here may go. With `Nowhere`, the topic has noted
    /// that the event waits.
    pub(super) fn target(
        &mut self,
        routed: &Routed<'_>,
        view: Option<&TopicView>,
        pass: Pass,
        block: Seq,
        now: Instant,
    ) -> Target {
        let partitions = match view {
            _ if self.paused(now) => None,
            Some(TopicView::Known { partitions }) => Some(partitions),
            _ if self.doomed.is_some() => return Target::DeadLetter,
            _ => None,
        };
        let Some(partitions) = partitions else {
            self.leave_all(pass, block);
            return Target::Nowhere;
        };
        let count = i32::try_from(partitions.len()).unwrap_or(i32::MAX);
        match (routed.partition(count), routed.placement) {
            (Some(partition), _) if partition >= count => Target::NoPartition(partition),
            (Some(partition), _) => self.keyed(partition, partitions, pass, block),
            (None, Placement::Any(Spread::RoundRobin)) => self.in_turn(partitions, pass, block),
            (None, _) => self.sticky(partitions, pass, block),
        }
    }

    /// One event after the other, over the partitions that can take one.
    fn in_turn(&mut self, views: &[PartitionView], pass: Pass, block: Seq) -> Target {
        let lags = pass == Pass::Main && self.lag.is_some();
        let free = |view: &&PartitionView| {
            view.available
                && self.lanes.get(&view.id).is_none_or(|lane| match pass {
                    Pass::Main => lane.lag().is_none(),
                    Pass::Lagging | Pass::Expiring => !lane.is_full(),
                })
        };
        let after = views.iter().filter(|view| view.id > self.turn).find(free);
        let chosen = after
            .or_else(|| views.iter().find(free))
            .map(|view| view.id);
        match chosen.filter(|_| !lags) {
            Some(partition) => {
                self.turn = partition;
                Target::Lane(partition)
            }
            None => {
                self.leave(pass, block);
                Target::Nowhere
            }
        }
    }

    fn keyed(&mut self, partition: i32, views: &[PartitionView], pass: Pass, block: Seq) -> Target {
        let lane = self.lane(partition);
        let free = match pass {
            Pass::Main => lane.lag().is_none(),
            Pass::Lagging | Pass::Expiring => !lane.is_full() && is_available(views, partition),
        };
        if free {
            return Target::Lane(partition);
        }
        lane.leave(pass, block);
        Target::Nowhere
    }

    /// Fills one batch after the other, each for the least loaded partition.
    fn sticky(&mut self, views: &[PartitionView], pass: Pass, block: Seq) -> Target {
        let chosen = match pass {
            Pass::Main if self.lag.is_some() => None,
            _ => self
                .open_sticky(views)
                .or_else(|| self.least_loaded(views, pass)),
        };
        self.sticky = chosen;
        chosen.map(Target::Lane).unwrap_or_else(|| {
            self.leave(pass, block);
            Target::Nowhere
        })
    }

    fn open_sticky(&self, views: &[PartitionView]) -> Option<i32> {
        self.sticky.filter(|partition| {
            self.lanes.get(partition).is_some_and(Lane::is_open) && is_available(views, *partition)
        })
    }

    fn least_loaded(&self, views: &[PartitionView], pass: Pass) -> Option<i32> {
        views
            .iter()
            .filter(|view| view.available)
            .filter_map(|view| match self.lanes.get(&view.id) {
                None => Some((0, view.id)),
                Some(lane) if lane.is_full() && pass == Pass::Lagging => None,
                Some(lane) if lane.lag().is_some() && pass == Pass::Main => None,
                Some(lane) => Some((lane.load(), view.id)),
            })
            .min()
            .map(|(_, id)| id)
    }

    /// From where a second pass may go on for this topic, when anything of it lags and has
    /// room.
    pub(super) fn lagging_from(&self, view: Option<&TopicView>, now: Instant) -> Option<Seq> {
        if self.paused(now) {
            return None;
        }
        if self.name.is_empty() {
            return self.lag;
        }
        let Some(TopicView::Known { partitions }) = view else {
            let lanes = self.lanes.values().filter_map(Lane::lag);
            return self
                .doomed
                .as_ref()
                .and_then(|_| lanes.chain(self.lag).min());
        };
        let lanes = self
            .lanes
            .values()
            .filter(|lane| !lane.is_full() && is_available(partitions, lane.partition().partition))
            .filter_map(Lane::lag);
        let keyless = self
            .lag
            .filter(|_| self.least_loaded(partitions, Pass::Lagging).is_some());
        lanes.chain(keyless).min()
    }

    /// Whether new events of this topic have somewhere to go, and which lanes are full.
    pub(super) fn room(&mut self, view: Option<&TopicView>, now: Instant, stall: Duration) -> Room {
        let mut room = Room::default();
        let Some(TopicView::Known { partitions }) = view else {
            room.open = self.doomed.is_some() && !self.paused(now);
            return room;
        };
        for view in partitions {
            let Some(lane) = self.lanes.get_mut(&view.id) else {
                room.open |= view.available;
                continue;
            };
            if lane.lag().is_some() {
                continue;
            }
            let full_for = lane.full_for(now);
            if !lane.is_full() {
                room.open |= view.available;
            } else if full_for >= stall {
                room.stalled.push(view.id);
            } else {
                room.full = true;
            }
        }
        room
    }
}

/// What [`Topic::room`] found.
#[derive(Debug, Default)]
pub(super) struct Room {
    /// Some partition can take events.
    pub(super) open: bool,
    /// Some partition is full, but not for long.
    pub(super) full: bool,
    /// Partitions that have been full for too long.
    pub(super) stalled: Vec<i32>,
}

fn is_available(views: &[PartitionView], partition: i32) -> bool {
    // Partition ids are dense from 0, so the index is a guess that is nearly always right.
    let guess = usize::try_from(partition)
        .ok()
        .and_then(|index| views.get(index));
    let found = guess.filter(|view| view.id == partition);
    found
        .or_else(|| views.iter().find(|view| view.id == partition))
        .is_some_and(|v| v.available)
}

/// Every topic, in the order of first use.
#[derive(Default)]
pub(super) struct Lanes {
    topics: Vec<Topic>,
    /// Index in `topics` by name.
    by_name: HashMap<Arc<str>, usize>,
    /// How many topics were made from events.
    made: usize,
    /// Index in `topics` by index in the router's list.
    by_route: Vec<usize>,
}

impl Lanes {
    /// Makes room for the router's topics; those of an earlier router stay.
    pub(super) fn use_topics(&mut self, names: &[Arc<str>]) {
        self.by_route = names.iter().map(|name| self.index(name)).collect();
    }

    fn index(&mut self, name: &Arc<str>) -> usize {
        let found = self.by_name.get(name).copied();
        found.unwrap_or_else(|| {
            self.topics.push(Topic::new(name.clone()));
            self.by_name.insert(name.clone(), self.topics.len() - 1);
            self.topics.len() - 1
        })
    }

    /// The topic that was made from an event; `None` when there are too many already. Tells
    /// `new` of one that is seen for the first time.
    pub(super) fn made(&mut self, name: &str, new: impl FnOnce(&Arc<str>)) -> Option<&mut Topic> {
        if !self.by_name.contains_key(name) {
            if self.made >= MADE_TOPICS {
                return None;
            }
            self.made += 1;
            let name = Arc::from(name);
            new(&name);
            self.index(&name);
        }
        let index = *self.by_name.get(name)?;
        self.topics.get_mut(index)
    }

    /// Unplaced events in `block` or later may belong to any of the router's topics.
    pub(super) fn routed_lag_from(&mut self, block: Seq) {
        for &index in &self.by_route {
            if let Some(topic) = self.topics.get_mut(index) {
                topic.lag_from(block);
            }
        }
    }

    /// The topic by its index in the router's list.
    pub(super) fn routed(&mut self, topic: usize) -> Option<&mut Topic> {
        self.by_route
            .get(topic)
            .and_then(|&index| self.topics.get_mut(index))
    }

    /// The topic by its name.
    pub(super) fn named(&mut self, name: &Arc<str>) -> &mut Topic {
        let index = self.index(name);
        #[expect(clippy::indexing_slicing, reason = "index() has just found or made it")]
        &mut self.topics[index]
    }

    /// All topics.
    pub(super) fn topics(&self) -> &[Topic] {
        &self.topics
    }

    /// All topics.
    pub(super) fn topics_mut(&mut self) -> &mut [Topic] {
        &mut self.topics
    }

    /// Uncompressed bytes of all batches being built.
    pub(super) fn open_bytes(&self) -> usize {
        self.topics
            .iter()
            .flat_map(Topic::lanes)
            .map(Lane::open_bytes)
            .sum()
    }

    /// Batches with the producer.
    pub(super) fn in_flight(&self) -> u32 {
        self.topics
            .iter()
            .flat_map(Topic::lanes)
            .map(Lane::in_flight)
            .sum()
    }
}

/// What the cluster says of a topic.
pub(super) fn view_of<'a>(cluster: &'a ClusterView, topic: &Arc<str>) -> Option<&'a TopicView> {
    cluster.topics.get(topic)
}
