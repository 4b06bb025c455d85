//! How long the transaction has been open, and what follows from it: when it is given up,
//! whether the coordinator may have ended it by itself, and which readers wait for it.
//!
//! Knows the times and the partitions; what is done about them is the machine's.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::super::TopicPartition;
use super::super::core::Now;

/// Part of `transaction.timeout.ms` after which an unfinished run is given up: early enough
/// that our abort comes before the coordinator's, which would look like a second instance.
const PATIENCE: f64 = 0.66;

/// A transaction that is open for longer than this, and than twice the time for which a run
/// is filled, is worth a warning: readers of committed records wait for it.
const LONG: Duration = Duration::from_secs(5);

/// The coordinator looks this often for transactions that are over their time
/// (`transaction.abort.timed.out.transaction.cleanup.interval.ms` by default).
const SWEEP: Duration = Duration::from_secs(10);

/// Partitions that the warning names; the others are counted.
const NAMED_MAX: usize = 8;

/// The age of the transaction, while one may be open.
#[derive(Debug)]
pub(super) struct Age {
    timeout: Duration,
    long: Duration,
    /// When it began, at the earliest.
    began: Option<Now>,
    /// Partitions of events that it has written, or may have.
    wrote: BTreeSet<TopicPartition>,
    warned: bool,
}

impl Age {
    /// `linger`: for how long a run is filled by intent.
    pub(super) fn new(timeout: Duration, linger: Duration) -> Self {
        Self {
            timeout,
            long: LONG.max(linger * 2),
            began: None,
            wrote: BTreeSet::new(),
            warned: false,
        }
    }

    /// The transaction writes, and so begins if it had not.
    pub(super) fn writes(&mut self, to: Option<&TopicPartition>, now: Now) {
        self.began.get_or_insert(now);
        if let Some(to) = to.filter(|to| !self.wrote.contains(to)) {
            self.wrote.insert(to.clone());
        }
    }

    /// The end of the transaction is known.
    pub(super) fn over(&mut self) {
        self.began = None;
        self.wrote.clear();
        self.warned = false;
    }

    /// Whether one may be open.
    pub(super) fn is_open(&self) -> bool {
        self.began.is_some()
    }

    /// Since when, milliseconds.
    pub(super) fn open_ms(&self, now: Instant) -> Option<u64> {
        let open = now.saturating_duration_since(self.began?.mono);
        Some(u64::try_from(open.as_millis()).unwrap_or(u64::MAX))
    }

    /// When an unfinished run is to be given up.
    pub(super) fn gives_up_at(&self) -> Option<Instant> {
        let began = self.began?;
        Some(began.mono + self.timeout.mul_f64(PATIENCE))
    }

    /// Why, at that time.
    pub(super) fn given_up_words(&self) -> String {
        format!(
            "not complete within {} % of transaction.timeout.ms = {}; a partition or the link is \
             too slow for it",
            PATIENCE * 100.0,
            self.timeout.as_millis()
        )
    }

    /// Whether the coordinator may have ended the transaction for its age. Both clocks are
    /// asked: one stands still while the host sleeps, the other may be set back.
    pub(super) fn is_expired(&self, now: Now) -> bool {
        let limit_ms = i64::try_from(self.timeout.as_millis()).unwrap_or(i64::MAX);
        self.began.is_some_and(|began| {
            now.mono.saturating_duration_since(began.mono) >= self.timeout
                || now.unix_ms.saturating_sub(began.unix_ms) >= limit_ms
        })
    }

    /// When [`Age::warning`] has something to say.
    pub(super) fn warns_at(&self) -> Option<Instant> {
        let began = self
            .began
            .filter(|_| !self.warned && !self.wrote.is_empty());
        Some(began?.mono + self.long)
    }

    /// The warning about readers that wait, once for each transaction.
    pub(super) fn warning(&mut self, now: Instant) -> Option<String> {
        self.warns_at().filter(|at| *at <= now)?;
        self.warned = true;
        self.readers_wait(now)
    }

    /// Which readers wait for the transaction, in words; `None` while it is young, and when
    /// the coordinator must have ended it.
    pub(super) fn readers_wait(&self, now: Instant) -> Option<String> {
        let open = now.saturating_duration_since(self.began?.mono);
        if open < self.long || open > self.timeout + SWEEP || self.wrote.is_empty() {
            return None;
        }
        let named = self.wrote.iter().take(NAMED_MAX).map(ToString::to_string);
        let named = named.collect::<Vec<_>>().join(", ");
        let more = match self.wrote.len().saturating_sub(NAMED_MAX) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        Some(format!(
            "a transaction is open for {} s: consumers of committed records see nothing new in \
             {named}{more} until it ends, at the latest {} s after its beginning \
             (transaction.timeout.ms and the broker's sweep)",
            open.as_secs(),
            (self.timeout + SWEEP).as_secs()
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(60);

    fn now() -> Now {
        Now {
            mono: Instant::now(),
            unix_ms: 0,
        }
    }

    fn partition(number: i32) -> TopicPartition {
        TopicPartition {
            topic: "orders".into(),
            partition: number,
        }
    }

    #[test]
    fn readers_that_wait_are_warned_of_once_and_shown_until_the_broker_must_have_ended_it() {
        let begin = now();
        let mut age = Age::new(TIMEOUT, Duration::ZERO);
        (0..10).for_each(|number| age.writes(Some(&partition(number)), begin));
        let after = |seconds| begin.mono + Duration::from_secs(seconds);
        assert_eq!(age.warning(after(4)), None);
        assert_eq!(age.warns_at(), Some(after(5)));
        let words = age.warning(after(6)).unwrap();
        assert!(words.contains("open for 6 s"), "{words}");
        assert!(words.contains("orders-0, orders-1") && words.contains("orders-7 and 2 more"));
        assert_eq!((age.warning(after(7)), age.warns_at()), (None, None));
        assert!(age.readers_wait(after(70)).is_some());
        assert_eq!(age.readers_wait(after(71)), None);
        age.over();
        assert_eq!(age.readers_wait(after(10)), None);
    }

    #[test]
    fn a_run_that_is_filled_for_long_by_intent_is_no_reason_to_warn() {
        let begin = now();
        let mut age = Age::new(TIMEOUT, Duration::from_secs(10));
        age.writes(Some(&partition(0)), begin);
        assert_eq!(age.warns_at(), Some(begin.mono + Duration::from_secs(20)));
    }
}
