//! One partition: which of its batches may go, and what an answer proves.
//!
//! Pure: no I/O, the time is passed in. This file has the batches and which may go, `answers`
//! what is proven, `giving_back` what is not sent any more. The rules, as measured on brokers:
//!
//! - A broker appends one producer's batches only in sequence. So an OK for a later batch
//!   proves every earlier one — as long as the broker remembers the producer at all. Until
//!   an OK has shown that it does ([`Partition::anchored`]), one batch goes at a time.
//! - After a failure nothing is sent until the wire is empty ([`Phase::Settling`]); then the
//!   unresolved batches go again one by one, oldest first ([`Phase::Round`]). A restarted
//!   broker remembers only the last batch and answers the others with "out of order", so
//!   that answer is no verdict until the whole round has given it.
//! - A sequence once sent never names other content: giving a batch back bumps the epoch.
//! - Without idempotence a broker recognises nothing: one batch is on the wire at a time, so
//!   that the order stays, and one without an answer goes again and may be doubled.

mod answers;
mod giving_back;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::super::batch::Stamp;
use super::super::{EncodedBatch, Expiry, TopicPartition};
use super::Now;
use super::entry::{Content, Entry, Identity, State};
use crate::proof::SeqRanges;

/// After this long without an OK a broker may have forgotten the producer; its memory is
/// `producer.id.expiration.ms`, a day by default, but a person can set it lower.
const ANCHOR_AGE: Duration = Duration::from_secs(600);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Pipelining.
    Flowing,
    /// Waiting until nothing is on the wire.
    Settling,
    /// Resending one by one; `next` is the position to send.
    Round { next: usize },
}

/// See the module.
#[derive(Debug)]
pub(super) struct Partition {
    pub(super) to: TopicPartition,
    pub(super) leader: Option<i32>,
    pub(super) not_before: Option<Instant>,
    pub(super) error: Option<String>,
    pub(super) failures: u32,
    /// Batches of an earlier term go back unsent; see [`Batch::term`](super::super::Batch).
    pub(super) term: u32,
    entries: VecDeque<Entry>,
    next_serial: u64,
    identity: Option<Identity>,
    /// A producer id that must not be taken again.
    retired: Option<i64>,
    next_sequence: i32,
    on_wire: usize,
    phase: Phase,
    anchored_at: Option<Instant>,
    /// The identity must change before the next send.
    rebase: bool,
    new_id: bool,
    /// A batch that was given back may still reach the log: no OK has come since under the
    /// epoch that keeps it out.
    doubt: bool,
    /// When the core looks whether the first batch has expired; no more often than that.
    pub(super) expiry_look: Option<Instant>,
    /// Its batches belong to transactions, whose epoch only the coordinator raises.
    transactional: bool,
}

impl Partition {
    /// `retired` is a producer id that it must not begin with.
    pub(super) fn new(to: TopicPartition, transactional: bool, retired: Option<i64>) -> Self {
        Self {
            to,
            leader: None,
            not_before: None,
            error: None,
            failures: 0,
            term: 0,
            entries: VecDeque::new(),
            next_serial: 0,
            identity: None,
            retired,
            next_sequence: 0,
            on_wire: 0,
            phase: Phase::Flowing,
            anchored_at: None,
            rebase: false,
            new_id: false,
            doubt: false,
            expiry_look: None,
            transactional,
        }
    }

    /// Drops every batch. Their answers, when they come, change nothing.
    pub(super) fn forget(&mut self) {
        self.entries.clear();
        self.not_before = None;
        self.failures = 0;
    }

    /// Takes whatever identity is given next, from sequence 0 on.
    pub(super) fn renew(&mut self) {
        self.forget();
        self.identity = None;
        self.retired = None;
        self.next_sequence = 0;
        self.phase = Phase::Flowing;
        self.anchored_at = None;
        self.rebase = false;
        self.new_id = false;
        self.doubt = false;
    }

    pub(super) fn push(
        &mut self,
        encoded: EncodedBatch,
        ranges: SeqRanges,
        expires: Option<Expiry>,
    ) {
        let bytes = encoded.bytes();
        let content = Some(Content::Sealed(encoded));
        let serial = self.next_serial;
        self.next_serial += 1;
        self.entries.push_back(Entry {
            serial,
            content,
            ranges,
            bytes,
            sends: 0,
            tries: 0,
            maybe_stored: false,
            corrupt_answers: 0,
            expires,
            state: State::Waiting,
        });
    }

    /// When the first batch has expired, and with it every batch that may be in the log: the
    /// others can go again without being doubled.
    pub(super) fn expires(&self) -> Option<Instant> {
        let first = self.entries.front()?.expires?.oldest;
        let doubtful = self.entries.iter().filter(|e| e.maybe_stored);
        let last = doubtful.filter_map(|e| e.expires.map(|at| at.newest)).max();
        Some(last.map_or(first, |last| last.max(first)))
    }

    pub(super) fn unresolved(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn on_wire(&self) -> usize {
        self.on_wire
    }

    /// Whether its memory is needed: a batch is under way, or one that was given back could
    /// get into the log behind whatever a partition without that memory sends.
    pub(super) fn in_use(&self) -> bool {
        !self.entries.is_empty() || self.on_wire > 0 || self.doubt
    }

    /// Whether it has to take one before it can send.
    pub(super) fn lacks_identity(&self) -> bool {
        self.identity.is_none()
    }

    pub(super) fn can_use(&self, identity: Identity) -> bool {
        self.retired != Some(identity.id)
    }

    fn is_idempotent(&self) -> bool {
        self.identity != Some(Identity::NOBODY)
    }

    /// Whether an OK within [`ANCHOR_AGE`] shows that the broker remembers the producer.
    fn anchored(&self, now: Instant) -> bool {
        self.anchored_at
            .is_some_and(|at| now.saturating_duration_since(at) < ANCHOR_AGE)
    }

    /// Position and size of the batch that may go now, were the broker ready.
    pub(super) fn sendable(&self, now: Instant, max_in_flight: usize) -> Option<(usize, usize)> {
        if self.not_before.is_some_and(|at| at > now) || self.leader.is_none() {
            return None;
        }
        let position = match self.phase {
            Phase::Settling => return None,
            Phase::Round { next } => (self.on_wire == 0).then_some(next)?,
            Phase::Flowing => {
                let most = if self.anchored(now) { max_in_flight } else { 1 };
                if self.on_wire >= most {
                    return None;
                }
                self.entries
                    .iter()
                    .position(|e| e.state == State::Waiting)?
            }
        };
        self.entries.get(position).map(|e| (position, e.bytes))
    }

    /// Takes the batch at `position` for sending: its serial and its bytes.
    pub(super) fn take(
        &mut self,
        position: usize,
        newest: Option<Identity>,
        now: Now,
    ) -> Option<(u64, Bytes, bool)> {
        let identity = match self.identity {
            Some(identity) => identity,
            None => newest.filter(|n| self.can_use(*n))?,
        };
        self.identity = Some(identity);
        let entry = self.entries.get_mut(position)?;
        let stamp = Stamp {
            producer_id: identity.id,
            epoch: identity.epoch,
            base_sequence: if identity.id < 0 {
                -1
            } else {
                self.next_sequence
            },
            time_ms: now.unix_ms,
            transactional: self.transactional,
        };
        let (batch, fresh) = match entry.content.take()? {
            Content::Stamped(batch) => (batch, false),
            Content::Sealed(batch) => (batch.stamp(stamp), true),
            Content::Outdated(batch) => (batch.restamp(stamp), true),
        };
        if fresh && identity.id >= 0 {
            self.next_sequence = advance(self.next_sequence, batch.records());
        }
        let bytes = batch.bytes();
        entry.content = Some(Content::Stamped(batch));
        entry.state = State::OnWire;
        entry.sends += 1;
        self.on_wire += 1;
        Some((entry.serial, bytes, entry.sends > 1))
    }

    /// The leader is another, or none. What is on the wire to the old one is waited for.
    pub(super) fn set_leader(&mut self, leader: Option<i32>) {
        if self.leader == leader {
            return;
        }
        if self.leader.is_some() && self.phase == Phase::Flowing && self.on_wire > 0 {
            self.phase = Phase::Settling;
        }
        self.leader = leader;
        self.anchored_at = None;
    }

    /// The broker takes a higher epoch of an id only from sequence 0 on.
    fn change_identity(&mut self) {
        if let Some(identity) = self.identity
            && self.next_sequence != 0
        {
            let may_raise = !self.transactional && !self.new_id;
            let higher = identity.epoch.checked_add(1).filter(|_| may_raise);
            self.identity = higher.map(|epoch| Identity {
                id: identity.id,
                epoch,
            });
            if self.identity.is_none() {
                self.retired = Some(identity.id);
            }
        }
        self.next_sequence = 0;
        self.anchored_at = None;
        self.rebase = false;
        self.new_id = false;
    }
}

/// The sequence after `records` from `base` on; it wraps to 0 (DefaultRecordBatch.java).
fn advance(base: i32, records: u32) -> i32 {
    let next = i64::from(base) + i64::from(records);
    (next % (i64::from(i32::MAX) + 1)) as i32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequences_wrap_to_zero_behind_the_largest() {
        assert_eq!(advance(0, 10), 10);
        assert_eq!(advance(i32::MAX, 1), 0);
        assert_eq!(advance(i32::MAX - 1, 1), i32::MAX);
        assert_eq!(advance(i32::MAX - 4, 10), 5);
    }
}
