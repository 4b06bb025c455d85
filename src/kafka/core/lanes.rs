//! The brokers' side of the core: which request may go to whom, and when to look again.
//!
//! One lane per broker. Requests carry many partitions, one batch of each; partitions take
//! turns, so that a busy one does not starve the others.

use std::collections::{HashSet, VecDeque};
use std::time::{Duration, Instant};

use super::super::status::PartitionStatus;
use super::{Action, Core, Now, PART_OVERHEAD, Part, REQUEST_OVERHEAD, Sent};
use crate::kafka::Totals;

/// Longest silence that a broker may ask for; a mistake in an answer must not stop the
/// delivery for days.
const THROTTLE_MAX: Duration = Duration::from_secs(300);

/// A broker as the core sees it.
#[derive(Debug, Default)]
pub(super) struct Lane {
    up: bool,
    requests: usize,
    muted_until: Option<Instant>,
    /// Partitions that may have something to send.
    ready: VecDeque<usize>,
    /// The same, to hold each once.
    queued: HashSet<usize>,
}

impl Lane {
    fn enqueue(&mut self, slot: usize) {
        if self.queued.insert(slot) {
            self.ready.push_back(slot);
        }
    }

    pub(super) fn answered(&mut self, throttle: Duration, now: Instant) {
        self.requests = self.requests.saturating_sub(1);
        if !throttle.is_zero() {
            let until = now + throttle.min(THROTTLE_MAX);
            self.muted_until = self.muted_until.max(Some(until));
        }
    }

    fn muted(&self, now: Instant) -> bool {
        self.muted_until.is_some_and(|until| until > now)
    }
}

impl Core {
    /// The broker's connection stands, or does no longer.
    pub(in super::super) fn connection(&mut self, broker: i32, up: bool, now: Now) {
        self.lanes.entry(broker).or_default().up = up;
        self.pump(broker, now);
    }

    /// Lets a partition's next batch go, if it may.
    pub(super) fn ready(&mut self, slot: usize, now: Now) {
        let Some(partition) = self.partitions.get_mut(slot) else {
            return;
        };
        let Some(leader) = partition.leader else {
            return;
        };
        if partition
            .sendable(now.mono, self.settings.max_in_flight)
            .is_none()
        {
            return;
        }
        self.lanes.entry(leader).or_default().enqueue(slot);
        self.pump(leader, now);
    }

    /// Sends as many requests as the broker may have.
    pub(super) fn pump(&mut self, broker: i32, now: Now) {
        while !self.closing && self.pump_one(broker, now) {}
    }

    fn pump_one(&mut self, broker: i32, now: Now) -> bool {
        let most = self.settings.max_in_flight;
        let Some(lane) = self.lanes.get_mut(&broker) else {
            return false;
        };
        if !lane.up || lane.requests >= most || lane.muted(now.mono) {
            return false;
        }
        let mut ready = std::mem::take(&mut lane.ready);
        lane.queued.clear();
        let (parts, sent) = self.gather(broker, &mut ready, now);
        let again = sent.iter().map(|(slot, _)| *slot);
        let partitions = &self.partitions;
        let again = again.filter(|slot| {
            partitions
                .get(*slot)
                .is_some_and(|p| p.sendable(now.mono, most).is_some())
        });
        let Some(lane) = self.lanes.get_mut(&broker) else {
            return false;
        };
        for slot in ready.into_iter().chain(again) {
            lane.enqueue(slot);
        }
        if parts.is_empty() {
            return false;
        }
        lane.requests += 1;
        let request = self.next_request;
        self.next_request += 1;
        self.requests.insert(
            request,
            Sent {
                broker,
                parts: sent,
            },
        );
        self.actions.push(Action::Produce {
            broker,
            request,
            parts,
        });
        true
    }

    /// Takes batches from the ready partitions until the request is full: one batch of each,
    /// at least one even when it alone is larger than a request shall be.
    fn gather(
        &mut self,
        broker: i32,
        ready: &mut VecDeque<usize>,
        now: Now,
    ) -> (Vec<Part>, Vec<(usize, u64)>) {
        let most = self.settings.max_in_flight;
        let mut parts = Vec::new();
        let mut sent = Vec::new();
        let mut bytes = REQUEST_OVERHEAD;
        while let Some(slot) = ready.pop_front() {
            let Some(partition) = self.partitions.get_mut(slot) else {
                continue;
            };
            if partition.leader != Some(broker) {
                continue;
            }
            let Some((position, size)) = partition.sendable(now.mono, most) else {
                continue;
            };
            let size = size + partition.to.topic.len() + PART_OVERHEAD;
            if !parts.is_empty() && bytes + size > self.settings.max_request_bytes {
                ready.push_front(slot);
                break;
            }
            let Some((serial, records, resent)) = partition.take(position, self.newest, now) else {
                let usable = self.newest.is_some_and(|n| partition.can_use(n));
                if !usable && !self.identity_wanted {
                    self.identity_wanted = true;
                    self.actions.push(Action::WantIdentity);
                }
                continue;
            };
            self.totals.resent_batches += u64::from(resent);
            bytes += size;
            parts.push(Part {
                to: partition.to.clone(),
                records,
            });
            sent.push((slot, serial));
        }
        (parts, sent)
    }

    /// When [`Core::tick`] has something to do.
    pub(in super::super) fn next_wakeup(&self) -> Option<Instant> {
        let retry = self.timers.first().map(|(at, _)| *at);
        let mute = self.lanes.values().filter_map(|l| l.muted_until).min();
        [retry, mute].into_iter().flatten().min()
    }

    /// Goes on with what was waiting for the time.
    pub(in super::super) fn tick(&mut self, now: Now) {
        while let Some((at, slot)) = self.timers.first().copied()
            && at <= now.mono
        {
            self.timers.pop_first();
            self.return_if_failing(slot, now.mono);
            self.expire(slot, now.mono);
            self.ready(slot, now);
        }
        let over = |lane: &Lane| lane.muted_until.is_some_and(|until| until <= now.mono);
        let brokers: Vec<i32> = self
            .lanes
            .iter()
            .filter(|(_, l)| over(l))
            .map(|(broker, _)| *broker)
            .collect();
        for broker in brokers {
            if let Some(lane) = self.lanes.get_mut(&broker) {
                lane.muted_until = None;
            }
            self.pump(broker, now);
        }
    }

    /// Sums since start.
    pub(in super::super) fn totals(&self) -> Totals {
        self.totals
    }

    /// Requests without an answer and the end of the silence asked for, per broker.
    pub(in super::super) fn lane_status(&self, broker: i32) -> (usize, Option<Instant>) {
        self.lanes
            .get(&broker)
            .map_or((0, None), |lane| (lane.requests, lane.muted_until))
    }

    /// Partitions with unresolved batches.
    pub(in super::super) fn partition_status(&self) -> Vec<PartitionStatus> {
        let busy = self.partitions.iter().filter(|p| p.unresolved() > 0);
        busy.map(|p| PartitionStatus {
            to: p.to.clone(),
            unresolved: p.unresolved(),
            in_flight: p.on_wire(),
            error: p.error.clone(),
            retry_at: p.not_before,
        })
        .collect()
    }
}
