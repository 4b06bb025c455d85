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

/// Appends whose delivery somebody waits for, by first sequence number.
#[derive(Debug, Default)]
pub(super) struct Deliveries(BTreeMap<Seq, Waiter>);

impl Deliveries {
    /// Adds a waiter for the events of `range`. To be called before they can be resolved.
    pub(super) fn expect(&mut self, range: SeqRange, done: oneshot::Sender<Delivery>) {
        let left = u64::from(range.count);
        let waiter = Waiter {
            end: range.end(),
            left,
            delivery: Delivery::default(),
            done,
        };
        self.0.insert(range.first, waiter);
    }

    /// Notes that `first..end` are resolved for the first time, and answers who is complete.
    pub(super) fn resolved(&mut self, first: Seq, end: Seq, ending: Ending) {
        let mut at = end;
        while let Some((&start, waiter)) = self.0.range_mut(..at).next_back() {
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
                && let Some(waiter) = self.0.remove(&start)
            {
                // The writer may have gone; its events are delivered all the same.
                let _ = waiter.done.send(waiter.delivery);
            }
            at = start;
        }
    }
}
