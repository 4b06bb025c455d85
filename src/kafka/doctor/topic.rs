//! One topic: whether it exists, has leaders, and may be written.

use std::sync::Arc;
use std::time::Instant;

use super::{Exam, Finding, Kind, PlannedTopic, Step};
use crate::config::{KafkaConfig, TopicCreation};
use crate::kafka::code;
use crate::kafka::creation::{new_topics, refusal};
use crate::kafka::outcome::{Outcome, verdict};
use crate::kafka::rights::{self, On, Right};
use crate::kafka::session::Session;
use crate::kafka::tools;
use crate::kafka::wire::{
    Metadata, MetadataPartition, MetadataQuery, MetadataTopic, NewProducerId, NewTopics, Settings,
};

/// Names within this many changed letters of the wanted one are proposed.
const LIKENESS: usize = 2;

/// A topic that has to be there.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted<'w> {
    pub(super) name: &'w Arc<str>,
    /// Rights that it takes.
    pub(super) rights: &'w [Right],
    /// Further words of the command that creates it.
    pub(super) options: &'w [&'w str],
}

impl Exam<'_> {
    /// Looks at one topic of the answer.
    pub(super) async fn topic(
        &mut self,
        session: &Session,
        cluster: &Metadata,
        planned: &PlannedTopic,
    ) {
        let name = &planned.name;
        let like = Wanted {
            name,
            rights: &[Right::Write],
            options: &[],
        };
        let Some(topic) = self.existing(session, cluster, like).await else {
            return;
        };
        let begin = Instant::now();
        let settings = self.settings(session, name).await;
        self.partitions(topic, settings.as_ref());
        self.may_write(session, topic, name).await;
        if let Some(settings) = settings {
            self.size(planned, &settings, begin);
        }
    }

    /// Whether the topic is there and may be seen; notes what stands against it.
    pub(super) async fn existing<'c>(
        &mut self,
        session: &Session,
        cluster: &'c Metadata,
        wanted: Wanted<'_>,
    ) -> Option<&'c MetadataTopic> {
        let name = wanted.name;
        let fail =
            |kind, what: &str, todo: String| Finding::fail(Step::Topic, name, kind, what, todo);
        let topic = cluster.topics.iter().find(|t| *t.name == **name);
        let code = topic.map(|topic| topic.code);
        let there = matches!(code, Some(code::NONE | code::LEADER_NOT_AVAILABLE));
        let config = &self.plan.kafka;
        let finding = match code {
            None => {
                let what = "the answer does not speak of it";
                fail(Kind::Topic, what, "look into the broker's log".to_owned())
            }
            Some(code::NONE | code::LEADER_NOT_AVAILABLE) => {
                Finding::ok(Step::Topic, name, "exists")
            }
            Some(code::UNKNOWN_TOPIC_OR_PARTITION) => match config.topic_creation {
                Some(how) => would_create(session, name, how, config).await,
                None => self.missing(session, name, wanted.options).await,
            },
            Some(code::TOPIC_AUTHORIZATION_FAILED) => {
                let what = "this login may not see it (TOPIC_AUTHORIZATION_FAILED)";
                let grant = rights::grant(config, On::Topic(name), wanted.rights);
                fail(Kind::Permission, what, grant)
            }
            Some(code) => {
                let todo = "look at the topic on the cluster".to_owned();
                fail(Kind::Topic, &verdict(code).to_string(), todo)
            }
        };
        self.note(finding);
        topic.filter(|_| there)
    }

    async fn missing(&self, session: &Session, name: &str, options: &[&str]) -> Finding {
        let what = "does not exist (UNKNOWN_TOPIC_OR_PARTITION)";
        let mut todo = String::new();
        if let Ok(all) = session.ask(MetadataQuery { topics: None }).await
            && let Some(like) = alike(name, &all.topics)
        {
            todo = format!("names are case-sensitive: did you mean {like:?}? Otherwise ");
        }
        todo += &format!(
            "create it: {}, or let the daemon do it with topic.auto.create = true; a broker's \
             auto.create.topics.enable does nothing here",
            tools::create_topic(&self.plan.kafka, name, options)
        );
        Finding::fail(Step::Topic, name, Kind::Topic, what, todo)
    }

    pub(super) fn partitions(&mut self, topic: &MetadataTopic, settings: Option<&Settings>) {
        let all = &topic.partitions;
        let name = &topic.name;
        let replicas = all.iter().map(|p| p.replicas).min().unwrap_or(0);
        let least = settings.and_then(|s| s.number("min.insync.replicas"));
        let least = usize::try_from(least.unwrap_or(1)).unwrap_or(1);
        let listed = |wanted: &dyn Fn(&&MetadataPartition) -> bool| {
            let ids = all.iter().filter(wanted).map(|p| p.id.to_string());
            ids.collect::<Vec<_>>().join(", ")
        };
        let leaderless = listed(&|p| p.leader.is_none());
        let too_few = listed(&|p| p.in_sync < least);
        let behind = listed(&|p| p.in_sync < p.replicas);
        let sum = format!("partitions: {}, replicas: {replicas}", all.len());
        let fail = |what, todo| Finding::fail(Step::Partitions, name, Kind::Partition, what, todo);
        let finding = if all.is_empty() || !leaderless.is_empty() {
            let what = format!("{sum}; without a leader: {leaderless}");
            fail(
                what,
                "their events wait in the spool; start the brokers that hold them",
            )
        } else if !too_few.is_empty() {
            let what = format!(
                "{sum}; fewer in sync than min.insync.replicas = {least} in: {too_few}, so that \
                 writes are refused (NOT_ENOUGH_REPLICAS)"
            );
            let todo = "start the missing brokers; if the topic has fewer replicas than \
                        min.insync.replicas, add replicas or lower that";
            fail(what, todo)
        } else if !behind.is_empty() {
            let what = format!("{sum}; replicas are behind in: {behind}");
            let todo = "a broker is down or slow; below min.insync.replicas writes are refused";
            Finding::warn(Step::Partitions, name, Kind::Partition, what, todo)
        } else {
            Finding::ok(Step::Partitions, name, sum)
        };
        self.note(finding);
    }

    pub(super) async fn may_write(
        &mut self,
        session: &Session,
        topic: &MetadataTopic,
        name: &Arc<str>,
    ) {
        let partition = topic.partitions.first().map_or(0, |partition| partition.id);
        let finding = match rights::may_write(session, name, partition).await {
            Ok(true) => Finding::ok(Step::Write, name, "this login may write it"),
            Ok(false) => {
                let what = "this login may see the topic and not write it \
                            (TOPIC_AUTHORIZATION_FAILED)";
                let grant = rights::grant(&self.plan.kafka, On::Topic(name), &[Right::Write]);
                Finding::fail(Step::Write, name, Kind::Permission, what, grant)
            }
            Err(reason) => Finding::skip(Step::Write, name, reason),
        };
        self.note(finding);
    }

    /// Whether the cluster gives a producer id, without which nothing is sent.
    pub(super) async fn producer_id(&mut self, session: &Session) {
        let subject = "producer id";
        let begin = Instant::now();
        let finding = match session.ask(NewProducerId).await {
            Ok(given) if given.given().is_some() => Finding::ok(Step::Write, subject, "given"),
            Ok(given) if verdict(given.code).outcome == Outcome::Deny => {
                let what = format!("refused: {}", verdict(given.code));
                let todo = "grant WRITE on a topic, or IDEMPOTENT_WRITE on the cluster before \
                            Kafka 3.0";
                Finding::fail(Step::Write, subject, Kind::Permission, what, todo)
            }
            Ok(given) => {
                let what = format!("not now: {}", verdict(given.code));
                let todo = "it is asked for again by itself; a broker that just started says this";
                Finding::warn(Step::Write, subject, Kind::Partition, what, todo)
            }
            Err(reason) => Finding::skip(Step::Write, subject, reason),
        };
        self.note(finding.since(begin));
    }
}

/// Whether the daemon could create the topic: a request that only asks, and creates nothing.
async fn would_create(
    session: &Session,
    name: &Arc<str>,
    how: TopicCreation,
    config: &KafkaConfig,
) -> Finding {
    let request = NewTopics {
        dry_run: true,
        ..new_topics(vec![name.clone()], how, config.request_timeout)
    };
    let answer = match session.ask(request).await {
        Ok(answer) => answer,
        Err(reason) => return Finding::skip(Step::Topic, name, reason),
    };
    let Some((_, code, message)) = answer.topics.first() else {
        return Finding::skip(Step::Topic, name, "does not exist, and the answer is empty");
    };
    let what = "does not exist yet; the daemon creates it for the first event \
                (topic.auto.create)";
    match *code {
        0 => Finding::ok(Step::Topic, name, what),
        code::NOT_CONTROLLER => Finding::skip(Step::Topic, name, what),
        code => {
            let kind = match verdict(code).outcome {
                Outcome::Deny => Kind::Permission,
                _ => Kind::Topic,
            };
            let what = refusal(name, code, message.as_deref());
            let command = tools::create_topic(config, name, &[]);
            let todo = format!("mend that, or create it by hand: {command}");
            Finding::fail(Step::Topic, name, kind, what, todo)
        }
    }
}

/// The topic whose name is most like the wanted one.
fn alike<'t>(name: &str, topics: &'t [MetadataTopic]) -> Option<&'t str> {
    let distance = |other: &str| {
        let (name, other) = (name.to_lowercase(), other.to_lowercase());
        strsim::osa_distance(&name, &other)
    };
    let candidates = topics.iter().filter(|topic| !topic.internal);
    let candidates = candidates.map(|topic| (distance(&topic.name), topic.name.as_str()));
    let nearest = candidates
        .filter(|(distance, _)| *distance <= LIKENESS)
        .min();
    nearest.map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_with_nearly_the_same_name_is_proposed() {
        let named = |name: &str, internal| MetadataTopic {
            name: name.to_owned(),
            internal,
            ..MetadataTopic::default()
        };
        let topics = [
            named("Orders", false),
            named("payments", false),
            named("_order", true),
        ];
        assert_eq!(alike("orders", &topics), Some("Orders"));
        assert_eq!(alike("order", &topics), Some("Orders"));
        assert_eq!(alike("clicks", &topics), None);
    }
}
