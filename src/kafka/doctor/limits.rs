//! What a topic takes against what we send: sizes, replicas that have to confirm, times.
//!
//! Asked with DescribeConfigs, which needs a right of its own that delivery does not need.

use std::sync::Arc;
use std::time::Instant;

use super::clock::Window;
use super::{Exam, Finding, Kind, PlannedTopic, Step};
use crate::config::{KafkaConfig, format_size};
use crate::kafka::code;
use crate::kafka::outcome::verdict;
use crate::kafka::session::Session;
use crate::kafka::tools;
use crate::kafka::wire::{Settings, SettingsOf, SettingsQuery};

/// What is asked for; a broker leaves out the names that it does not know.
const NAMES: [&str; 7] = [
    "cleanup.policy",
    "max.message.bytes",
    "min.insync.replicas",
    "message.timestamp.type",
    "message.timestamp.before.max.ms",
    "message.timestamp.after.max.ms",
    "message.timestamp.difference.max.ms",
];

impl Exam<'_> {
    /// The settings of a topic; `None` when they are not told, which is noted.
    pub(super) async fn settings(
        &mut self,
        session: &Session,
        topic: &Arc<str>,
    ) -> Option<Settings> {
        let query = SettingsQuery {
            of: SettingsOf::Topic(topic.clone()),
            names: &NAMES,
        };
        let why = match session.ask(query).await {
            Ok(settings) if settings.code == code::NONE => {
                self.window = self.window.and(Window::of(&settings));
                return Some(settings);
            }
            Ok(settings) => verdict(settings.code).name.to_owned(),
            Err(reason) => reason,
        };
        let what = format!(
            "its settings are not told ({why}): that takes the right DESCRIBE_CONFIGS on the \
             topic, which delivery does not need"
        );
        self.note(Finding::skip(Step::Size, topic, what));
        None
    }

    /// Largest batch of the topic against ours, and against our largest event.
    pub(super) fn size(&mut self, topic: &PlannedTopic, settings: &Settings, begin: Instant) {
        let Some(limit) = settings.number("max.message.bytes") else {
            let what = "the broker does not tell max.message.bytes";
            self.note(Finding::skip(Step::Size, &topic.name, what));
            return;
        };
        let limit = u64::try_from(limit).unwrap_or(0);
        let batch = u64::from(topic.batch_bytes);
        let event = u64::from(self.plan.largest_event);
        let config = &self.plan.kafka;
        self.note(compare(config, &topic.name, limit, batch, event).since(begin));
    }
}

fn compare(config: &KafkaConfig, topic: &str, limit: u64, batch: u64, event: u64) -> Finding {
    let sum = format!(
        "max.message.bytes is {limit}, our batches have up to {} (batch.size)",
        format_size(batch)
    );
    if batch > limit {
        let what = format!("{sum}: a batch that does not compress is refused and sent in parts");
        let setting = format!("max.message.bytes={batch}");
        let todo = format!(
            "set batch.size = {limit} or less (or batch_bytes of the route), or raise \
             max.message.bytes: {}",
            tools::set_of_topic(config, topic, &setting)
        );
        return Finding::fail(Step::Size, topic, Kind::Size, what, todo);
    }
    if event > limit {
        let what = format!(
            "{sum}; an event of spool.max_event_bytes, {}, can be too large for the topic and \
             then becomes a dead letter",
            format_size(event)
        );
        let todo = format!(
            "lower spool.max_event_bytes to {limit}, or raise max.message.bytes of the topic \
             and max.request.size here"
        );
        return Finding::warn(Step::Size, topic, Kind::Size, what, todo);
    }
    Finding::ok(Step::Size, topic, sum)
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    #[test]
    fn sizes_fail_by_the_batch_and_warn_by_the_event() {
        let config = KafkaConfig::new(Vec::new());
        let of = |limit, batch, event| compare(&config, "t", limit, batch, event).verdict;
        assert_eq!(of(1_048_588, 524_288, 1_048_576), Verdict::Ok);
        assert!(matches!(
            of(1_000_000, 524_288, 1_048_576),
            Verdict::Warn(_)
        ));
        let Verdict::Fail(advice) = of(100_000, 524_288, 1_000) else {
            panic!("it fits");
        };
        assert_eq!(advice.kind, Kind::Size);
        assert!(
            advice.todo.contains("batch.size = 100000"),
            "{}",
            advice.todo
        );
    }
}
