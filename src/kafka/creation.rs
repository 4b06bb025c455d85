//! Topics made on demand, with `topic.auto.create = true`: which ones are asked for, and
//! what the answer means. Without it nothing here is reached, and no topic is ever created.
//!
//! Asked with CreateTopics and not by the broker's own auto-creation, so that partitions and
//! replicas are those of the configuration and a refusal has words. Sends nothing itself.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::code;
use super::outcome::verdict;
use super::wire::{CreatedTopics, Metadata, NewTopics, broker_share};
use crate::config::TopicCreation;

/// Most topics that one run of the daemon creates: a template filled from events must not
/// be able to flood a cluster. Those that exist already do not count.
const CREATED_MAX: usize = 1_000;

/// Most topics in one request; the rest goes with the next metadata.
const REQUEST_MAX: usize = 100;

/// The topics that this run has created, and why others were not.
#[derive(Debug, Default)]
pub(super) struct Creator {
    created: usize,
}

/// What became of one request.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Made {
    /// Topics that were not created, with the reason in words.
    pub(super) refused: HashMap<String, String>,
    /// The broker cannot create topics; another one can (ZooKeeper, before Kafka 4).
    pub(super) elsewhere: bool,
}

impl Creator {
    /// The request for those topics of the answer that do not exist; `None` without any.
    pub(super) fn request(
        &self,
        how: TopicCreation,
        metadata: &Metadata,
        limit: Duration,
    ) -> Option<NewTopics> {
        let missing = metadata
            .topics
            .iter()
            .filter(|t| t.code == code::UNKNOWN_TOPIC_OR_PARTITION);
        let room = CREATED_MAX.saturating_sub(self.created).min(REQUEST_MAX);
        let names: Vec<Arc<str>> = missing.take(room).map(|t| t.name.as_str().into()).collect();
        (!names.is_empty()).then(|| new_topics(names, how, limit))
    }

    /// The words for what is missing once the limit is reached.
    pub(super) fn beyond_limit(&self, metadata: &Metadata) -> HashMap<String, String> {
        let missing = metadata
            .topics
            .iter()
            .filter(|t| t.code == code::UNKNOWN_TOPIC_OR_PARTITION);
        let missing = missing.filter(|_| self.created >= CREATED_MAX);
        missing
            .map(|t| (t.name.clone(), too_many(&t.name)))
            .collect()
    }

    /// Takes the answer in: topics that are made now have no leader yet, others get words.
    pub(super) fn settle(&mut self, answer: &CreatedTopics, metadata: &mut Metadata) -> Made {
        let mut made = Made::default();
        for (name, code, message) in &answer.topics {
            match *code {
                code::NONE | code::TOPIC_ALREADY_EXISTS => {
                    let is_new = *code == code::NONE;
                    self.created += usize::from(is_new);
                    let topics = metadata.topics.iter_mut();
                    let topics = topics.filter(|t| t.name == *name);
                    topics.for_each(|t| t.code = code::LEADER_NOT_AVAILABLE);
                    tracing::info!(topic = name, new = is_new, "topic created on demand");
                }
                code::NOT_CONTROLLER => made.elsewhere = true,
                code => {
                    let words = refusal(name, code, message.as_deref());
                    made.refused.insert(name.clone(), words);
                }
            }
        }
        made.refused.extend(self.beyond_limit(metadata));
        made
    }
}

/// The request for these topics; `limit` is the deadline of a request.
pub(super) fn new_topics(names: Vec<Arc<str>>, how: TopicCreation, limit: Duration) -> NewTopics {
    NewTopics {
        names,
        partitions: how.partitions,
        replication: how.replication,
        settings: &[],
        timeout_ms: broker_share(limit),
        dry_run: false,
    }
}

fn too_many(topic: &str) -> String {
    format!(
        "topic {topic:?} does not exist and is not created: topic.auto.create has made \
         {CREATED_MAX} topics since the start; check the route's template, create it by hand"
    )
}

/// Why a topic was not created, and what to do.
pub(super) fn refusal(topic: &str, code: i16, message: Option<&str>) -> String {
    let known = match code {
        code::TOPIC_AUTHORIZATION_FAILED | code::CLUSTER_AUTHORIZATION_FAILED => Some((
            "TOPIC_AUTHORIZATION_FAILED",
            "no right to create it; grant CREATE on the cluster or on topics of this prefix",
        )),
        code::INVALID_PARTITIONS => Some((
            "INVALID_PARTITIONS",
            "the broker refuses topic.auto.partitions; brokers before 2.4 know no -1",
        )),
        code::INVALID_REPLICATION_FACTOR => Some((
            "INVALID_REPLICATION_FACTOR",
            "the broker refuses topic.auto.replication; it needs as many brokers",
        )),
        code::POLICY_VIOLATION => Some((
            "POLICY_VIOLATION",
            "a policy of the cluster refuses it; set topic.auto.partitions and \
             topic.auto.replication as the policy wants, or create it by hand",
        )),
        _ => None,
    };
    let why = match known {
        Some((name, words)) => format!("{name} ({code}): {words}"),
        None => {
            let meant = verdict(code);
            format!("{} ({code}); tried again", meant.name)
        }
    };
    let said = message.map(|message| format!("; the broker says: {message}"));
    format!(
        "topic {topic:?} does not exist and could not be created: {why}{}",
        said.unwrap_or_default()
    )
}

#[cfg(test)]
mod tests {
    use super::super::wire::MetadataTopic;
    use super::*;

    const HOW: TopicCreation = TopicCreation {
        partitions: 3,
        replication: -1,
    };

    fn missing(count: usize) -> Metadata {
        let topic = |n: usize| MetadataTopic {
            code: code::UNKNOWN_TOPIC_OR_PARTITION,
            name: format!("t{n}"),
            ..MetadataTopic::default()
        };
        Metadata {
            topics: (0..count).map(topic).collect(),
            ..Metadata::default()
        }
    }

    fn answer(topics: &[(&str, i16)]) -> CreatedTopics {
        let topics = topics
            .iter()
            .map(|(name, code)| ((*name).to_owned(), *code, None));
        CreatedTopics {
            topics: topics.collect(),
        }
    }

    #[test]
    fn what_exists_now_waits_for_its_leader_and_what_was_refused_has_words() {
        let mut creator = Creator::default();
        let mut metadata = missing(4);
        let request = creator.request(HOW, &metadata, Duration::from_secs(1));
        assert_eq!(request.map(|r| r.names.len()), Some(4));
        let answer = answer(&[("t0", 0), ("t1", 36), ("t2", 29), ("t3", 41)]);
        let made = creator.settle(&answer, &mut metadata);
        let codes: Vec<i16> = metadata.topics.iter().map(|t| t.code).collect();
        assert_eq!(codes, [5, 5, 3, 3]);
        assert!(made.elsewhere);
        assert_eq!(made.refused.len(), 1);
        assert!(made.refused["t2"].contains("grant CREATE"), "{made:?}");
        assert_eq!(creator.created, 1);
    }

    #[test]
    fn a_template_gone_wild_ends_at_the_limit() {
        let mut creator = Creator::default();
        let mut asked = 0;
        loop {
            let mut metadata = missing(150);
            let Some(request) = creator.request(HOW, &metadata, Duration::from_secs(1)) else {
                break;
            };
            assert!(request.names.len() <= REQUEST_MAX);
            asked += request.names.len();
            let names: Vec<(&str, i16)> = request.names.iter().map(|n| (&**n, 0)).collect();
            let made = creator.settle(&answer(&names), &mut metadata);
            assert_eq!(made.refused.is_empty(), asked < CREATED_MAX);
        }
        assert_eq!(asked, CREATED_MAX);
    }
}
