//! `delivery.timeout.ms`: events that are too old to be sent go to the dead letters.
//!
//! The age of an event counts from its arrival by the host's clock, over restarts and
//! outages, as Kafka counts from `send()`. Events in batches come back from the producer
//! when they expire; the ones that wait in the spool are looked at here.

use std::time::{Duration, Instant};

use tracing::error;

use super::run::State;
use super::topic::{Pass, Topic};
use crate::clock::{UnixMillis, unix_ms};
use crate::kafka::Expiry;

/// Time between two looks at the oldest event that waits; also how late one may expire.
const LOOK: Duration = Duration::from_secs(1);

/// The two clocks and the limit, for the time of one block.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ages {
    limit: Duration,
    now: Instant,
    unix_ms: UnixMillis,
}

impl Ages {
    /// `None` without a limit.
    pub(super) fn new(limit: Option<Duration>, now: Instant) -> Option<Self> {
        Some(Self {
            limit: limit?,
            now,
            unix_ms: unix_ms(),
        })
    }

    /// How long an event may still wait; zero once it has expired. One that a wrong clock
    /// has put into the future has the whole time.
    fn left(&self, received: UnixMillis) -> Duration {
        let age = u64::try_from(self.unix_ms.saturating_sub(received)).unwrap_or(0);
        self.limit.saturating_sub(Duration::from_millis(age))
    }

    /// Whether the event has expired.
    pub(super) fn over(&self, received: UnixMillis) -> bool {
        self.left(received).is_zero()
    }

    /// Why an expired event of this topic is a dead letter, with what went wrong last.
    pub(super) fn reason(&self, topic: &Topic) -> String {
        let mut words = format!(
            "expired: not acknowledged within {} ms (delivery.timeout.ms)",
            self.limit.as_millis()
        );
        let errors = topic.lanes().filter_map(|lane| lane.last_error.as_ref());
        if let Some(error) = errors.last() {
            words += &format!("; last error: {error}");
        }
        words
    }

    /// What a batch of this one event has.
    pub(super) fn expiry(&self, received: UnixMillis) -> Expiry {
        let at = self.now + self.left(received);
        Expiry {
            oldest: at,
            newest: at,
        }
    }
}

/// The expiry of two batches as one.
pub(super) fn join(one: Option<Expiry>, other: Option<Expiry>) -> Option<Expiry> {
    match (one, other) {
        (Some(one), Some(other)) => Some(Expiry {
            oldest: one.oldest.min(other.oldest),
            newest: one.newest.max(other.newest),
        }),
        (one, other) => one.or(other),
    }
}

impl State {
    /// Gives up what has expired of the oldest block that waits, be it for its partition or
    /// to be read at all. True when there may be more.
    pub(super) fn expire(&mut self, now: Instant) -> bool {
        let Some(ages) = Ages::new(self.settings.delivery_timeout, now) else {
            return false;
        };
        if self.expiry_look > now {
            return false;
        }
        self.expiry_look = now + LOOK;
        let waiting = self.unplaced.next(0);
        let first = waiting.unwrap_or_else(|| self.cursor.position());
        let block = match self.cursor.reread(first) {
            Ok(block) => block,
            Err(failure) => {
                error!(error = %failure, "cannot read the spool; trying again");
                self.status.last_error = Some(failure.to_string());
                return false;
            }
        };
        let Some(block) = block.filter(|block| waiting.is_none() || block.first() <= first) else {
            return false;
        };
        let expired = |received| ages.over(received);
        if !block.events().next().is_some_and(|e| expired(e.received)) {
            return false;
        }
        let cluster = self.producer.cluster();
        if waiting.is_some() {
            self.place(&block, Pass::Expiring, &cluster, now);
        } else if let Ok(Some(block)) = self.cursor.next() {
            self.place(&block, Pass::Main, &cluster, now);
        }
        // The block is done with, or what is left of it is younger.
        let waiting = self.unplaced.next(0);
        let more = waiting.is_none_or(|next| next >= block.end());
        if more {
            self.expiry_look = now;
        }
        more
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_expires_by_its_age_and_one_from_the_future_has_all_its_time() {
        let ages = Ages {
            limit: Duration::from_secs(10),
            now: Instant::now(),
            unix_ms: 1_000_000,
        };
        assert!(ages.over(990_000) && ages.over(0));
        assert!(!ages.over(990_001));
        assert_eq!(ages.left(1_500_000), Duration::from_secs(10));
        let joined = join(Some(ages.expiry(995_000)), Some(ages.expiry(999_000)));
        let joined = joined.expect("both expire");
        assert_eq!(joined.oldest, ages.now + Duration::from_secs(5));
        assert_eq!(joined.newest, ages.now + Duration::from_secs(9));
    }
}
