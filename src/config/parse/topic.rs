//! The keys of `[kafka]` about topics: whether missing ones are created, and the test topic.

use std::sync::Arc;

use toml::de::DeValue;

use crate::config::TopicCreation;
use crate::config::section::Section;
use crate::route::topic::topic_fault;

/// Most partitions of a topic that is made on demand: beyond, a person should decide.
const PARTITIONS_MAX: i64 = 10_000;

/// Most replicas of such a topic.
const REPLICATION_MAX: i64 = 100;

/// What Kafka writes for "as the broker has it".
const BROKERS_CHOICE: i64 = -1;

/// Reads `topic.auto.create` and the two keys that say how.
pub(super) fn read_creation(section: &mut Section<'_, '_>) -> Option<TopicCreation> {
    let wanted = section.flag("topic.auto.create", false);
    let partitions = count(section, "topic.auto.partitions", PARTITIONS_MAX, wanted);
    let replication = count(section, "topic.auto.replication", REPLICATION_MAX, wanted);
    wanted.then_some(TopicCreation {
        partitions: i32::try_from(partitions).unwrap_or(-1),
        replication: i16::try_from(replication).unwrap_or(-1),
    })
}

/// A count from 1 to `most`, or the broker's choice; said to be useless without creation.
fn count(section: &mut Section<'_, '_>, key: &'static str, most: i64, used: bool) -> i64 {
    let Some(entry) = section.take(key) else {
        return BROKERS_CHOICE;
    };
    let number = match entry.value.get_ref() {
        DeValue::Integer(number) => number.as_str().parse().ok(),
        _ => None,
    };
    let number = number.filter(|n| *n == BROKERS_CHOICE || (1..=most).contains(n));
    let Some(number) = number else {
        let help = Some(format!("use 1 to {most}, or -1 for the broker's choice"));
        section.fault(key, entry.value.span(), "is out of range", help);
        return BROKERS_CHOICE;
    };
    if !used {
        let help = Some("set topic.auto.create = true, or remove it".to_owned());
        section.caution(
            key,
            entry.key,
            "has no effect without topic.auto.create",
            help,
        );
    }
    number
}

/// Reads `test_topic`.
pub(super) fn read_test_topic(section: &mut Section<'_, '_>) -> Option<Arc<str>> {
    let name = section.text("test_topic")?;
    if let Some(fault) = topic_fault(name.get_ref()) {
        section.fault("test_topic", name.span(), fault, None);
        return None;
    }
    Some(name.into_inner().into())
}

#[cfg(test)]
mod tests {
    use crate::config::{Context, KafkaConfig, TopicCreation, from_text};

    fn kafka(lines: &str) -> Result<(KafkaConfig, String), String> {
        let text = format!(
            "[spool]\ndir = \"/s\"\n[[input]]\nname = \"a\"\ntype = \"unix\"\npath = \"/a\"\n\
             [[route]]\ntopic = \"t\"\n[kafka]\nbootstrap.servers = \"k:1\"\n{lines}\n"
        );
        let loaded = from_text(&text, "f", &Context::default()).map_err(|r| r.to_string())?;
        Ok((loaded.config.kafka, loaded.warnings.to_string()))
    }

    #[test]
    fn topics_are_created_only_when_asked_for_and_then_as_said() {
        assert_eq!(kafka("").unwrap().0.topic_creation, None);
        let made = |partitions, replication| {
            Some(TopicCreation {
                partitions,
                replication,
            })
        };
        let plain = kafka("topic.auto.create = true").unwrap().0;
        assert_eq!(plain.topic_creation, made(-1, -1));
        let full = "topic.auto.create = true\ntopic.auto.partitions = 6\n\
                    topic.auto.replication = 3\ntest_topic = \"x\"";
        let full = kafka(full).unwrap().0;
        assert_eq!(full.topic_creation, made(6, 3));
        assert_eq!(full.test_topic.as_deref(), Some("x"));
        let (unused, warning) = kafka("topic.auto.partitions = 6").unwrap();
        assert_eq!(unused.topic_creation, None);
        assert!(
            warning.contains("no effect without topic.auto.create"),
            "{warning}"
        );
        for wrong in [
            "topic.auto.create = 1",
            "topic.auto.partitions = 0",
            "topic.auto.partitions = 10001",
            "topic.auto.replication = \"3\"",
            "test_topic = \"a b\"",
        ] {
            assert!(kafka(wrong).is_err(), "{wrong}");
        }
    }
}
