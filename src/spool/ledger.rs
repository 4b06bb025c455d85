//! The ledger: how many events came, and what became of each. Pure counting.
//!
//! accepted = delivered + dead-lettered + dropped + lost + in spool, at every moment and
//! over restarts. It balances by construction: sequence numbers are dense, so the number
//! accepted is the highest one given, and what is not resolved is in the spool.

use super::block::{BlockError, Bytes};

/// More events than any spool sees; a larger count on disk is damage, and sums of what is
/// within it do not overflow.
const COUNT_MAX: u64 = 1 << 48;

/// How an event left the spool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    Delivered,
    DeadLettered,
    Dropped,
    Lost,
}

/// Events by how they left the spool.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Acknowledged by the broker.
    pub delivered: u64,
    /// Moved to the dead letters.
    pub dead_lettered: u64,
    /// Given up because the configuration says so: no route takes them.
    pub dropped: u64,
    /// Found missing or damaged on disk.
    pub lost: u64,
}

impl Counts {
    /// All of them.
    pub fn total(&self) -> u64 {
        self.delivered + self.given_up()
    }

    /// Those that the broker does not have.
    pub fn given_up(&self) -> u64 {
        self.dead_lettered + self.dropped + self.lost
    }

    pub(super) fn add(&mut self, ending: Ending, events: u64) {
        match ending {
            Ending::Delivered => self.delivered += events,
            Ending::DeadLettered => self.dead_lettered += events,
            Ending::Dropped => self.dropped += events,
            Ending::Lost => self.lost += events,
        }
    }

    pub(super) fn merge(&mut self, other: &Self) {
        self.delivered += other.delivered;
        self.dead_lettered += other.dead_lettered;
        self.dropped += other.dropped;
        self.lost += other.lost;
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        for number in [self.delivered, self.dead_lettered, self.dropped, self.lost] {
            out.extend_from_slice(&number.to_le_bytes());
        }
    }

    pub(super) fn decode(at: &mut Bytes<'_>) -> Result<Self, BlockError> {
        let mut number = || match at.u64()? {
            number if number <= COUNT_MAX => Ok(number),
            _ => Err(BlockError::Inconsistent),
        };
        Ok(Self {
            delivered: number()?,
            dead_lettered: number()?,
            dropped: number()?,
            lost: number()?,
        })
    }
}

/// The account of the whole spool since it was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ledger {
    /// Events given a sequence number.
    pub accepted: u64,
    /// Of these, events a flush has covered.
    pub durable: u64,
    /// Acknowledged by the broker.
    pub delivered: u64,
    /// Moved to the dead letters.
    pub dead_lettered: u64,
    /// Given up by a policy of the operator.
    pub dropped: u64,
    /// Found missing or damaged on disk.
    pub lost: u64,
    /// Not resolved yet.
    pub in_spool: u64,
}

impl Ledger {
    /// The account of a spool that gave `accepted` numbers and resolved `resolved`.
    pub(super) fn new(accepted: u64, durable: u64, resolved: &Counts) -> Self {
        Self {
            accepted,
            durable,
            delivered: resolved.delivered,
            dead_lettered: resolved.dead_lettered,
            dropped: resolved.dropped,
            lost: resolved.lost,
            in_spool: accepted.saturating_sub(resolved.total()),
        }
    }
}
