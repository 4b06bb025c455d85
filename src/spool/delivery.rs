//! Tells writers that asked for it when all their events have left the spool.
//!
//! Owns the waiting list only. Waiters do not survive a restart; neither do their sockets.

use std::collections::BTreeMap;

use tokio::sync::oneshot;

use super::ledger::Ending;
use crate::proof::{Seq, SeqRange};

/// What became of the events of one append.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// Indexes within the append, from 0, of events that the broker does not have: they are
    /// in the dead letters or were lost on disk. In no particular order.
    pub refused: Vec<u32>,
}

#[derive(Debug)]
struct Waiter {
    end: Seq,
    left: u64,
    delivery: Delivery,
    done: oneshot::Sender<Delivery>,
}

/// No look for waiters that have gone before there are so many.
const SWEEP_FROM: usize = 1024;

/// Appends whose delivery somebody waits for, by first sequence number.
#[derive(Debug, Default)]
pub(super) struct Deliveries {
    waiters: BTreeMap<Seq, Waiter>,
    /// At this number those that have gone are looked for: while no broker answers, writers
    /// come and go, and what they left must not add up.
    sweep_at: usize,
}

impl Deliveries {
    /// Adds a waiter for the events of `range`. To be called before they can be resolved.
    pub(super) fn expect(&mut self, range: SeqRange, done: oneshot::Sender<Delivery>) {
        if self.waiters.len() >= self.sweep_at.max(SWEEP_FROM) {
            self.waiters.retain(|_, waiter| !waiter.done.is_closed());
            self.sweep_at = 2 * self.waiters.len();
        }
        let left = u64::from(range.count);
        let waiter = Waiter {
            end: range.end(),
            left,
            delivery: Delivery::default(),
            done,
        };
        self.waiters.insert(range.first, waiter);
    }

    /// Notes that `first..end` are resolved for the first time, and answers who is complete.
    pub(super) fn resolved(&mut self, first: Seq, end: Seq, ending: Ending) {
        let mut at = end;
        while let Some((&start, waiter)) = self.waiters.range_mut(..at).next_back() {
            if waiter.end <= first {
                return;
            }
            let (from, to) = (first.max(start), end.min(waiter.end));
            waiter.left = waiter.left.saturating_sub(to - from);
            if ending != Ending::Delivered {
                waiter
                    .delivery
                    .refused
                    .extend((from..to).map(|seq| (seq - start) as u32));
            }
            if waiter.left == 0
                && let Some(waiter) = self.waiters.remove(&start)
            {
                // The writer may have gone; its events are delivered all the same.
                let _ = waiter.done.send(waiter.delivery);
            }
            at = start;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiters_that_went_away_do_not_add_up_and_the_others_are_told() {
        let mut deliveries = Deliveries::default();
        let mut waits = Vec::new();
        for first in 1..=100_000 {
            let (done, told) = oneshot::channel();
            deliveries.expect(SeqRange { first, count: 1 }, done);
            if first % 1000 == 0 {
                waits.push(told);
            }
        }
        let kept = deliveries.waiters.len();
        assert!(kept <= 2 * SWEEP_FROM, "{kept} of 100 are kept");
        deliveries.resolved(1, 100_001, Ending::Delivered);
        for told in &mut waits {
            assert_eq!(told.try_recv(), Ok(Delivery::default()));
        }
    }
}
