//! One topic: which of its partitions an event goes to, and whether it is in trouble.
//!
//! Decides by the cluster view it is given; holds no events of its own.

use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::lane::{BatchLimits, Lane};
use crate::kafka::{PartitionView, TopicPartition, TopicView};
use crate::proof::Seq;
use crate::route::spec::Spread;
use crate::route::{Placement, Routed};

/// Isolations remembered for one topic; beyond, the oldest is forgotten, which costs a
/// second refusal and nothing else.
const ISOLATIONS: usize = 32;

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
    /// The partition chosen last for an event without a key.
    turn: i32,
    lag: Option<Seq>,
    left: bool,
    /// How many partitions it had when last seen.
    partitions: Option<usize>,
    isolations: Vec<Isolation>,
    /// Why its events go to the dead letters, once patience is used up.
    pub(super) doomed: Option<String>,
    paused_until: Option<Instant>,
    /// When an event was last routed to it, of a topic that is made from events.
    pub(super) used: Instant,
    /// It was made from an event.
    pub(super) is_made: bool,
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
    /// One without events.
    pub(super) fn new(name: Arc<str>, is_made: bool, now: Instant) -> Self {
        Self {
            name,
            used: now,
            is_made,
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

    /// Whether it may be forgotten: nothing of it is under way, waits or lags, and for this
    /// long nothing was. A limit on its batches goes with it, which costs a second refusal.
    pub(super) fn is_idle(&self, idle: Duration, now: Instant) -> bool {
        let waits = self.lag.is_some() || self.paused(now);
        let unused = now.saturating_duration_since(self.used) >= idle;
        unused && !waits && self.lanes.values().all(Lane::is_idle)
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

    /// The block at `first` was read again, and no other event of `window`, which ends with it,
    /// is unplaced: whoever left none in it goes on to `next`.
    pub(super) fn advance(&mut self, window: &RangeInclusive<Seq>, first: Seq, next: Option<Seq>) {
        let left = std::mem::take(&mut self.left);
        if self.lag.is_some_and(|lag| window.contains(&lag)) {
            self.lag = if left { Some(first) } else { next };
        }
        for lane in self.lanes.values_mut() {
            lane.advance(window, first, next);
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

    /// Leaves the topic alone for a while, with events from `first` on that are unplaced again.
    pub(super) fn pause(&mut self, first: Seq, now: Instant) {
        self.lag_from(first);
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
        self.turn = chosen.unwrap_or(self.turn);
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

    /// Of several with as little to do, the one that follows the last choice: where events are
    /// few, each batch is done before the next, and all partitions are idle.
    fn least_loaded(&self, views: &[PartitionView], pass: Pass) -> Option<i32> {
        let place = |load, id| (load, id <= self.turn, id);
        views
            .iter()
            .filter(|view| view.available)
            .filter_map(|view| match self.lanes.get(&view.id) {
                None => Some(place(0, view.id)),
                Some(lane) if lane.is_full() && pass == Pass::Lagging => None,
                Some(lane) if lane.lag().is_some() && pass == Pass::Main => None,
                Some(lane) => Some(place(lane.load(), view.id)),
            })
            .min()
            .map(|(_, _, id)| id)
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
