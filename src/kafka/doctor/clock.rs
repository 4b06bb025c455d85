//! This host's clock against the broker's. A broker refuses records from too far in the past
//! or the future (message.timestamp.*.max.ms), and signed logins end within minutes.
//!
//! Kafka has no request for the time. Two answers hold it: DescribeQuorum, from Kafka 3.3 on
//! and with the right to describe the cluster, and that to a write into a topic that keeps
//! the broker's time (message.timestamp.type=LogAppendTime), see `send`.

use std::time::Duration;

use super::{Exam, Finding, Kind, Step};
use crate::clock::unix_ms;
use crate::kafka::session::Session;
use crate::kafka::wire::{QuorumQuery, Settings};

/// A difference from here on is warned about: tokens and certificates come to harm first.
const TOLERATED: Duration = Duration::from_secs(60);

/// This host's clock less the broker's, milliseconds, and how exact that is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Skew {
    pub(super) ahead_ms: i64,
    pub(super) within_ms: i64,
}

impl Skew {
    /// From the broker's time, read between two looks at our own clock.
    pub(super) fn between(before_ms: i64, broker_ms: i64, after_ms: i64) -> Self {
        let middle = before_ms.midpoint(after_ms);
        Self {
            ahead_ms: middle.saturating_sub(broker_ms),
            within_ms: after_ms.saturating_sub(before_ms) / 2 + 1,
        }
    }
}

/// How far from its own clock a topic takes records, milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Window {
    pub(super) before_ms: i64,
    pub(super) after_ms: i64,
}

impl Default for Window {
    fn default() -> Self {
        Self {
            before_ms: i64::MAX,
            after_ms: i64::MAX,
        }
    }
}

impl Window {
    /// The settings before and from Kafka 3.6 on (KIP-937).
    pub(super) fn of(settings: &Settings) -> Self {
        if settings.text("message.timestamp.type") == Some("LogAppendTime") {
            return Self::default();
        }
        let either = settings.number("message.timestamp.difference.max.ms");
        let limit = |name| settings.number(name).or(either).unwrap_or(i64::MAX);
        Self {
            before_ms: limit("message.timestamp.before.max.ms"),
            after_ms: limit("message.timestamp.after.max.ms"),
        }
    }

    /// The narrower of both.
    pub(super) fn and(self, other: Self) -> Self {
        Self {
            before_ms: self.before_ms.min(other.before_ms),
            after_ms: self.after_ms.min(other.after_ms),
        }
    }
}

impl Exam<'_> {
    /// Asks for the controller's time.
    pub(super) async fn clock(&mut self, session: &Session) {
        let before = unix_ms();
        let answer = session.ask(QuorumQuery).await;
        let after = unix_ms();
        let finding = match answer.map(|quorum| quorum.controller_ms) {
            Ok(Some(controller)) => judge(Skew::between(before, controller, after), self.window),
            Ok(None) | Err(_) => Finding::skip(
                Step::Clock,
                "this host",
                "this cluster tells its time only to a login that may describe the cluster, or \
                 in the answer to a write: --send into a topic with LogAppendTime measures it",
            ),
        };
        self.note(finding);
    }
}

/// What a difference means.
pub(super) fn judge(skew: Skew, window: Window) -> Finding {
    let subject = "this host";
    let side = if skew.ahead_ms < 0 {
        "behind"
    } else {
        "ahead of"
    };
    let what = format!(
        "its clock is {} ms {side} the broker's, give or take {} ms",
        skew.ahead_ms.unsigned_abs(),
        skew.within_ms
    );
    let todo = "set this host's clock (`timedatectl`, chrony or systemd-timesyncd), or the \
                broker's if that one is wrong";
    if skew.ahead_ms > window.after_ms || skew.ahead_ms.saturating_neg() > window.before_ms {
        let what = format!("{what}; a topic refuses records from that far (INVALID_TIMESTAMP)");
        return Finding::fail(Step::Clock, subject, Kind::Clock, what, todo);
    }
    if u128::from(skew.ahead_ms.unsigned_abs()) > TOLERATED.as_millis() {
        return Finding::warn(Step::Clock, subject, Kind::Clock, what, todo);
    }
    Finding::ok(Step::Clock, subject, what)
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    #[test]
    fn a_clock_is_ok_within_a_minute_and_fails_where_a_topic_refuses() {
        let window = Window {
            before_ms: i64::MAX,
            after_ms: 3_600_000,
        };
        let at = |ahead_ms| {
            let skew = Skew {
                ahead_ms,
                within_ms: 1,
            };
            judge(skew, window)
        };
        assert_eq!(at(59_000).verdict, Verdict::Ok);
        assert!(at(59_000).what.contains("59000 ms ahead"));
        assert!(matches!(at(-61_000).verdict, Verdict::Warn(_)));
        assert!(at(-61_000).what.contains("61000 ms behind"));
        assert!(matches!(at(3_600_001).verdict, Verdict::Fail(_)));
        assert!(matches!(at(i64::MIN).verdict, Verdict::Warn(_)));
    }

    #[test]
    fn the_difference_is_taken_in_the_middle_of_the_round_trip() {
        let skew = Skew::between(1_000, 1_040, 1_100);
        assert_eq!((skew.ahead_ms, skew.within_ms), (10, 51));
    }

    #[test]
    fn the_window_is_that_of_the_settings_old_and_new() {
        let of = |values: &[(&str, &str)]| {
            let values = values.iter();
            let values = values.map(|(n, v)| ((*n).to_owned(), Some((*v).to_owned())));
            let settings = Settings {
                code: 0,
                values: values.collect(),
            };
            let window = Window::of(&settings);
            (window.before_ms, window.after_ms)
        };
        assert_eq!(of(&[]), (i64::MAX, i64::MAX));
        assert_eq!(of(&[("message.timestamp.difference.max.ms", "5")]), (5, 5));
        let new = ("message.timestamp.after.max.ms", "7");
        assert_eq!(of(&[new]), (i64::MAX, 7));
        let ours = ("message.timestamp.type", "LogAppendTime");
        assert_eq!(of(&[new, ours]), (i64::MAX, i64::MAX));
    }
}
