//! One topic: whether it exists, has leaders, and may be written.

use std::sync::Arc;

use super::{Exam, Finding, Kind, Step};
use crate::kafka::outcome::verdict;
use crate::kafka::session::Session;
use crate::kafka::wire::{Cluster, ClusterQuery, ClusterTopic};

/// Kafka's numbers of the answers that are told apart here.
const UNKNOWN_TOPIC: i16 = 3;
const LEADER_NOT_AVAILABLE: i16 = 5;
const TOPIC_AUTHORIZATION_FAILED: i16 = 29;

/// Kafka's number of the operation Write (org.apache.kafka.common.acl.AclOperation).
const WRITE: u32 = 4;

/// Names within this many changed letters of the wanted one are proposed.
const LIKENESS: usize = 2;

impl Exam<'_> {
    /// Looks at one topic of the answer.
    pub(super) async fn topic(&mut self, session: &Session, cluster: &Cluster, name: &Arc<str>) {
        let Some(topic) = cluster.topics.iter().find(|t| *t.name == **name) else {
            let what = "the answer does not speak of it";
            let todo = "look into the broker's log";
            self.note(Finding::fail(Step::Topic, name, Kind::Topic, what, todo));
            return;
        };
        match topic.code {
            0 | LEADER_NOT_AVAILABLE => {
                self.note(Finding::ok(Step::Topic, name, "exists"));
                self.partitions(topic);
                self.may_write(topic);
            }
            UNKNOWN_TOPIC => {
                let finding = self.missing(session, name).await;
                self.note(finding);
            }
            TOPIC_AUTHORIZATION_FAILED => {
                let what = "this login may not see it (TOPIC_AUTHORIZATION_FAILED)";
                let finding =
                    Finding::fail(Step::Topic, name, Kind::Permission, what, self.grant(name));
                self.note(finding);
            }
            code => {
                let todo = "look at the topic on the cluster";
                let what = verdict(code).to_string();
                self.note(Finding::fail(Step::Topic, name, Kind::Topic, what, todo));
            }
        }
    }

    /// How to give the right that is missing.
    fn grant(&self, topic: &str) -> String {
        let user = match &self.plan.kafka.sasl {
            Some(sasl) => format!("User:{}", sasl.username),
            None => "of this client".to_owned(),
        };
        format!(
            "grant WRITE on the topic (DESCRIBE comes with it) to the principal {user}: \
             `kafka-acls.sh --add --allow-principal {user} --operation Write --topic {topic}`"
        )
    }

    async fn missing(&self, session: &Session, name: &str) -> Finding {
        let what = "does not exist (UNKNOWN_TOPIC_OR_PARTITION)";
        let mut todo = String::new();
        if let Ok(all) = session.ask(ClusterQuery { topics: None }).await
            && let Some(like) = alike(name, &all.topics)
        {
            todo = format!("names are case-sensitive: did you mean {like:?}? Otherwise ");
        }
        todo += &format!(
            "create it: `kafka-topics.sh --create --topic {name}`; Spoolway creates no topic, and \
             a broker's auto.create.topics.enable does nothing for it"
        );
        Finding::fail(Step::Topic, name, Kind::Topic, what, todo)
    }

    fn partitions(&mut self, topic: &ClusterTopic) {
        let all = &topic.partitions;
        let name = &topic.name;
        let replicas = all.iter().map(|p| p.replicas).min().unwrap_or(0);
        let listed = |wanted: &dyn Fn(&&crate::kafka::wire::ClusterPartition) -> bool| {
            let ids = all.iter().filter(wanted).map(|p| p.id.to_string());
            ids.collect::<Vec<_>>().join(", ")
        };
        let leaderless = listed(&|p| p.leader.is_none());
        let behind = listed(&|p| p.in_sync < p.replicas);
        let sum = format!("partitions: {}, replicas: {replicas}", all.len());
        let finding = if all.is_empty() || !leaderless.is_empty() {
            let what = format!("{sum}; without a leader: {leaderless}");
            let todo = "their events wait in the spool; start the brokers that hold them";
            Finding::fail(Step::Partitions, name, Kind::Partition, what, todo)
        } else if !behind.is_empty() {
            let what = format!("{sum}; replicas are behind in: {behind}");
            let todo = "a broker is down or slow; below min.insync.replicas writes are refused";
            Finding::warn(Step::Partitions, name, Kind::Partition, what, todo)
        } else {
            Finding::ok(Step::Partitions, name, sum)
        };
        self.note(finding);
    }

    fn may_write(&mut self, topic: &ClusterTopic) {
        let name = &topic.name;
        let finding = match topic.operations {
            Some(bits) if bits & (1 << WRITE) != 0 => {
                Finding::ok(Step::Write, name, "this login may write it")
            }
            Some(_) => {
                let what = "this login may see the topic and not write it";
                Finding::fail(Step::Write, name, Kind::Permission, what, self.grant(name))
            }
            None => Finding::skip(Step::Write, name, "the broker does not tell rights"),
        };
        self.note(finding);
    }
}

/// The topic whose name is most like the wanted one.
fn alike<'t>(name: &str, topics: &'t [ClusterTopic]) -> Option<&'t str> {
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
        let named = |name: &str, internal| ClusterTopic {
            name: name.to_owned(),
            internal,
            ..ClusterTopic::default()
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
