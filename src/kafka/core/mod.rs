//! The producer's decisions, without I/O: what to send, what an answer means, what to report.
//!
//! Everything that happens is a method call with the time in it, everything to be done comes
//! back as [`Action`]s. So each rule can be tested with scripted sequences.
//! [`partition`] holds the rules of one partition; this file passes on what happens to it,
//! [`lanes`] shares brokers among them, [`giving_back`] has what is not sent any more.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::backoff::Backoff;
use super::{Batch, Report, Returned, TopicPartition, Totals};
use crate::clock::{UnixMillis, unix_ms};
use crate::proof::{BrokerAuthority, SeqRanges};

mod entry;
mod forget;
mod giving_back;
mod lanes;
mod partition;
#[cfg(test)]
mod tests;

use entry::Effect;
pub(super) use entry::{Identity, Reply};
use giving_back::Failing;
use lanes::Lane;
use partition::Partition;

/// Bytes of a request around its parts, and of a part around its batch and topic; generous.
const REQUEST_OVERHEAD: usize = 512;
const PART_OVERHEAD: usize = 32;

/// The two clocks, read together at the edge.
#[derive(Debug, Clone, Copy)]
pub(super) struct Now {
    /// For waiting.
    pub(super) mono: Instant,
    /// For stamps, milliseconds since the Unix epoch.
    pub(super) unix_ms: UnixMillis,
}

impl Now {
    pub(super) fn read() -> Self {
        Self {
            mono: Instant::now(),
            unix_ms: unix_ms(),
        }
    }
}

/// The numbers that the core goes by.
#[derive(Debug, Clone, Copy)]
pub(super) struct Settings {
    /// Batches of one partition, and requests to one broker, without an answer.
    pub(super) max_in_flight: usize,
    /// Bytes of a request.
    pub(super) max_request_bytes: usize,
    /// Between tries of a partition.
    pub(super) retry: Backoff,
    /// Whether batches carry a producer id.
    pub(super) idempotent: bool,
    /// How often a batch that failed is sent again; `None` = for ever.
    pub(super) retries: Option<u32>,
}

/// One batch of a request.
#[derive(Debug, Clone)]
pub(super) struct Part {
    pub(super) to: TopicPartition,
    pub(super) records: Bytes,
}

/// Names a request for its answer.
pub(super) type RequestId = u64;

/// What the actor has to do.
#[derive(Debug)]
pub(super) enum Action {
    /// Send this; answer with [`Core::answered`].
    Produce {
        broker: i32,
        request: RequestId,
        parts: Vec<Part>,
    },
    /// Get a new producer id; answer with [`Core::identity`].
    WantIdentity,
    /// Ask for metadata, soon.
    Refresh,
    /// A topic refuses writes.
    Denied { topic: Arc<str>, words: String },
    /// A topic took a batch.
    Accepted { topic: Arc<str> },
    /// Tell the owner.
    Report(Report),
    /// A batch is in the log; of a core that may not say more.
    Stored {
        to: TopicPartition,
        ranges: SeqRanges,
        bytes: usize,
    },
}

/// A request without an answer.
#[derive(Debug)]
struct Sent {
    broker: i32,
    parts: Vec<(usize, u64)>,
}

/// The answer to one part of a request.
#[derive(Debug)]
pub(super) struct PartReply {
    pub(super) to: TopicPartition,
    pub(super) reply: Reply,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Core {
    settings: Settings,
    /// `None` with transactions: then only a commit proves that the broker has a batch.
    authority: Option<BrokerAuthority>,
    rng: fastrand::Rng,
    partitions: Vec<Partition>,
    index: HashMap<TopicPartition, usize>,
    by_topic: HashMap<Arc<str>, Vec<usize>>,
    /// Places in `partitions` of forgotten ones.
    free: Vec<usize>,
    /// Producer id that forgotten partitions may have used; no new partition begins with it.
    stale: Option<i64>,
    lanes: HashMap<i32, Lane>,
    requests: HashMap<RequestId, Sent>,
    next_request: RequestId,
    newest: Option<Identity>,
    identity_wanted: bool,
    failing: HashMap<Arc<str>, Failing>,
    /// Topics that refused their last batch.
    denied: HashSet<Arc<str>>,
    timers: BTreeSet<(Instant, usize)>,
    actions: Vec<Action>,
    effects: Vec<Effect>,
    totals: Totals,
    closing: bool,
}

impl Core {
    pub(super) fn new(
        settings: Settings,
        authority: Option<BrokerAuthority>,
        rng: fastrand::Rng,
    ) -> Self {
        Self {
            settings,
            authority,
            rng,
            partitions: Vec::new(),
            index: HashMap::new(),
            by_topic: HashMap::new(),
            free: Vec::new(),
            stale: None,
            lanes: HashMap::new(),
            requests: HashMap::new(),
            next_request: 0,
            newest: (!settings.idempotent).then_some(Identity::NOBODY),
            identity_wanted: false,
            failing: HashMap::new(),
            denied: HashSet::new(),
            timers: BTreeSet::new(),
            actions: Vec::new(),
            effects: Vec::new(),
            totals: Totals::default(),
            closing: false,
        }
    }

    /// What is to be done since the last call, in order.
    pub(super) fn take_actions(&mut self) -> Vec<Action> {
        std::mem::take(&mut self.actions)
    }

    /// Takes a batch; it comes back in exactly one report.
    pub(super) fn send(&mut self, batch: Batch, now: Now) {
        let slot = self.slot(&batch.to);
        if let Some(partition) = self.partitions.get_mut(slot) {
            if batch.term != partition.term {
                let reason = "earlier batches of the partition came back".to_owned();
                let returned = Returned {
                    to: batch.to,
                    bytes: batch.encoded.bytes(),
                    batches: vec![batch.ranges],
                    term: batch.term,
                };
                self.actions
                    .push(Action::Report(Report::Returned { returned, reason }));
                return;
            }
            partition.push(batch.encoded, batch.ranges, batch.expires);
        }
        self.expire(slot, now.mono);
        self.return_if_failing(slot, now.mono);
        self.ready(slot, now);
    }

    /// The leader of a partition by the newest metadata; `None` = there is none now.
    pub(super) fn leader(&mut self, to: &TopicPartition, leader: Option<i32>, now: Now) {
        let slot = self.slot(to);
        if let Some(partition) = self.partitions.get_mut(slot) {
            partition.set_leader(leader);
        }
        self.ready(slot, now);
    }

    /// Partitions of `topic` that batches were sent to.
    pub(super) fn partitions_of(&self, topic: &str) -> Vec<i32> {
        let slots = self.by_topic.get(topic).into_iter().flatten();
        slots
            .filter_map(|s| self.partitions.get(*s))
            .map(|p| p.to.partition)
            .collect()
    }

    /// A producer id has come.
    pub(super) fn identity(&mut self, identity: Identity, now: Now) {
        self.newest = Some(identity);
        self.identity_wanted = false;
        let waiting = |p: &Partition| p.lacks_identity() && p.unresolved() > 0;
        let slots: Vec<usize> = (0..self.partitions.len())
            .filter(|s| self.partitions.get(*s).is_some_and(waiting))
            .collect();
        for slot in slots {
            self.ready(slot, now);
        }
    }

    /// The answers to a request; a part without one counts as lost. `throttle` mutes the
    /// broker (KIP-219): what it answered stands all the same.
    pub(super) fn answered(
        &mut self,
        request: RequestId,
        replies: Vec<PartReply>,
        throttle: Duration,
        now: Now,
    ) {
        let mut replies: HashMap<TopicPartition, Reply> =
            replies.into_iter().map(|r| (r.to, r.reply)).collect();
        let reply = |to: &TopicPartition| {
            replies.remove(to).unwrap_or_else(|| Reply::Lost {
                reason: "the broker's answer does not name the partition; retried".into(),
            })
        };
        self.ended(request, throttle, reply, now);
    }

    /// The connection was lost before the request's answer.
    pub(super) fn lost(&mut self, request: RequestId, reason: &str, now: Now) {
        let reason = reason.to_owned();
        let lost = |_: &TopicPartition| Reply::Lost {
            reason: reason.clone(),
        };
        self.ended(request, Duration::ZERO, lost, now);
    }

    /// The request is on the wire no more; `reply` is what became of its part for a partition.
    fn ended(
        &mut self,
        request: RequestId,
        throttle: Duration,
        mut reply: impl FnMut(&TopicPartition) -> Reply,
        now: Now,
    ) {
        let Some(sent) = self.requests.remove(&request) else {
            return;
        };
        if let Some(lane) = self.lanes.get_mut(&sent.broker) {
            lane.answered(throttle, now.mono);
        }
        self.totals.throttled_answers += u64::from(!throttle.is_zero());
        for (slot, serial) in sent.parts {
            if let Some(reply) = self.partitions.get(slot).map(|p| reply(&p.to)) {
                self.part_answered(slot, serial, reply, now);
            }
        }
        self.pump(sent.broker, now);
    }

    fn part_answered(&mut self, slot: usize, serial: u64, reply: Reply, now: Now) {
        let Some(partition) = self.partitions.get_mut(slot) else {
            return;
        };
        let failures = partition.failures;
        let mut effects = std::mem::take(&mut self.effects);
        partition.answer(serial, reply, now.mono, &mut effects);
        if partition.failures > failures {
            let pause = self.settings.retry.after(partition.failures, &mut self.rng);
            let until = now.mono + pause;
            partition.not_before = Some(until);
            self.timers.insert((until, slot));
        }
        for effect in effects.drain(..) {
            self.apply(slot, effect);
        }
        self.effects = effects;
        self.return_if_failing(slot, now.mono);
        self.give_up(slot);
        self.expire(slot, now.mono);
        self.ready(slot, now);
    }

    fn apply(&mut self, slot: usize, effect: Effect) {
        let Some(to) = self.partitions.get(slot).map(|p| p.to.clone()) else {
            return;
        };
        match effect {
            Effect::Acked { ranges, bytes } => {
                self.totals.acked_batches += 1;
                self.totals.acked_bytes += bytes as u64;
                self.actions.push(Action::Accepted {
                    topic: to.topic.clone(),
                });
                self.actions.push(match &self.authority {
                    Some(authority) => Action::Report(Report::Acked {
                        to,
                        proof: authority.acked(ranges),
                        bytes,
                    }),
                    None => Action::Stored { to, ranges, bytes },
                });
            }
            Effect::Refused {
                refused,
                verdict,
                returned,
            } => {
                let report = Report::Refused {
                    refused,
                    verdict,
                    returned,
                };
                self.actions.push(Action::Report(report));
            }
            Effect::Refresh => self.actions.push(Action::Refresh),
            Effect::Denied { words } => {
                self.denied.insert(to.topic.clone());
                self.actions.push(Action::Denied {
                    topic: to.topic,
                    words,
                });
            }
            // What a transaction may have stored twice is aborted with it.
            Effect::MaybeDuplicate { records } if self.authority.is_some() => {
                self.totals.maybe_duplicate_records += records;
            }
            Effect::MaybeDuplicate { .. } => {}
        }
    }

    fn slot(&mut self, to: &TopicPartition) -> usize {
        if let Some(slot) = self.index.get(to) {
            return *slot;
        }
        let transactional = self.authority.is_none();
        let partition = Partition::new(to.clone(), transactional, self.stale);
        let slot = self.free.pop().unwrap_or(self.partitions.len());
        match self.partitions.get_mut(slot) {
            Some(free) => *free = partition,
            None => self.partitions.push(partition),
        }
        self.index.insert(to.clone(), slot);
        self.by_topic
            .entry(to.topic.clone())
            .or_default()
            .push(slot);
        slot
    }

    /// Forgets every batch without a report. Answers to what is on the wire are of no use.
    pub(super) fn forget(&mut self) {
        self.partitions.iter_mut().for_each(Partition::forget);
    }

    /// Starts anew under an identity given from outside. Nothing may be on the wire.
    pub(super) fn renew(&mut self, identity: Identity, now: Now) {
        self.partitions.iter_mut().for_each(Partition::renew);
        self.identity(identity, now);
    }

    /// The term that a batch for this partition has to carry to be taken.
    pub(super) fn term_of(&mut self, to: &TopicPartition) -> u32 {
        let slot = self.slot(to);
        self.partitions.get(slot).map_or(0, |p| p.term)
    }

    /// Sends nothing new from now on; what is on the wire is still answered.
    pub(super) fn close(&mut self) {
        self.closing = true;
    }

    /// Requests without an answer.
    pub(super) fn requests(&self) -> usize {
        self.requests.len()
    }
}
