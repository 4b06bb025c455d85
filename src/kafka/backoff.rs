//! Waiting times that double up to a limit, with jitter so that hosts do not march in step.
//!
//! Computes times only; does not sleep.

use std::time::Duration;

use crate::config::KafkaConfig;

/// Part of the waiting time that is random, as a fraction of it: plus or minus 20 %, as
/// Kafka's own clients do (KIP-144, KIP-580).
const JITTER: f64 = 0.2;

/// A rule for the next waiting time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Backoff {
    /// First waiting time.
    pub(super) first: Duration,
    /// Longest waiting time before jitter.
    pub(super) max: Duration,
}

impl Backoff {
    /// `retry.backoff.ms`: between two tries of a request.
    pub(super) fn to_retry(config: &KafkaConfig) -> Self {
        Self {
            first: config.retry_backoff,
            max: config.retry_backoff_max,
        }
    }

    /// `reconnect.backoff.ms`: between two tries of a connection.
    pub(super) fn to_reconnect(config: &KafkaConfig) -> Self {
        Self {
            first: config.reconnect_backoff,
            max: config.reconnect_backoff_max,
        }
    }

    /// The waiting time after `failures` failures in a row, at least one.
    pub(super) fn after(&self, failures: u32, rng: &mut fastrand::Rng) -> Duration {
        self.plain(failures)
            .mul_f64(1.0 + JITTER * (2.0 * rng.f64() - 1.0))
    }

    /// The same without jitter. Where `first` is more than `max`, it is always `max`, as
    /// Kafka's documentation of the settings has it.
    pub(super) fn plain(&self, failures: u32) -> Duration {
        let doubled = 2_u32.saturating_pow(failures.saturating_sub(1).min(16));
        self.first.saturating_mul(doubled).min(self.max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_time_doubles_and_stays_within_the_jittered_limit() {
        let rule = Backoff {
            first: Duration::from_millis(100),
            max: Duration::from_secs(1),
        };
        let mut rng = fastrand::Rng::with_seed(7);
        for (failures, want_ms) in [
            (1, 100.0),
            (2, 200.0),
            (4, 800.0),
            (5, 1000.0),
            (99, 1000.0),
        ] {
            let ms = rule.after(failures, &mut rng).as_secs_f64() * 1000.0;
            assert!(
                (want_ms * 0.79..=want_ms * 1.21).contains(&ms),
                "{failures}: {ms}"
            );
        }
    }
}
