//! Rights on the cluster: which ones something takes, how a person gives them, and whether a
//! topic may be written.
//!
//! Other missing rights show in the answers to what needs them.

use std::sync::Arc;

use super::outcome::{Outcome, verdict};
use super::session::Session;
use super::tools;
use super::wire::{Produce, TopicBatches};
use crate::config::{KafkaConfig, SaslConfig};

/// What a right is for.
#[derive(Debug, Clone, Copy)]
pub(super) enum On<'a> {
    Topic(&'a str),
    TransactionalId(&'a str),
}

/// What a right allows; a broker takes Describe as given with each of the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Right {
    Read,
    Write,
    Describe,
}

/// What a transactional id takes.
pub(super) const OF_TRANSACTIONAL_ID: [Right; 2] = [Right::Write, Right::Describe];

/// What the position topic takes.
pub(super) const OF_POSITIONS: [Right; 2] = [Right::Write, Right::Read];

impl Right {
    fn name(self) -> &'static str {
        match self {
            Self::Read => "Read",
            Self::Write => "Write",
            Self::Describe => "Describe",
        }
    }

    /// The action of an IAM policy (Amazon MSK Developer Guide, "Semantics of IAM
    /// authorization policy actions and resources").
    fn action(self, on: On<'_>) -> &'static str {
        match (self, on) {
            (Self::Read, _) => "kafka-cluster:ReadData",
            (Self::Write, On::Topic(_)) => "kafka-cluster:WriteData",
            (Self::Describe, On::Topic(_)) => "kafka-cluster:DescribeTopic",
            (Self::Write, On::TransactionalId(_)) => "kafka-cluster:AlterTransactionalId",
            (Self::Describe, On::TransactionalId(_)) => "kafka-cluster:DescribeTransactionalId",
        }
    }
}

/// What a person has to run so that this client gets the rights.
pub(super) fn grant(config: &KafkaConfig, on: On<'_>, rights: &[Right]) -> String {
    if let Some(SaslConfig::Aws(_)) = config.sasl {
        let actions: Vec<_> = rights.iter().map(|right| right.action(on)).collect();
        return format!("allow {} in the IAM policy", actions.join(" and "));
    }
    let user = config.sasl.as_ref().and_then(SaslConfig::username);
    let who = match user {
        Some(_) => "",
        None => ", with this client's name for the broker as NAME",
    };
    let principal = format!("User:{}", user.unwrap_or("NAME"));
    let names: Vec<_> = rights.iter().map(|right| right.name()).collect();
    let mut words = vec!["--add", "--allow-principal", &principal];
    words.extend(names.iter().flat_map(|name| ["--operation", name]));
    words.extend(match on {
        On::Topic(name) => ["--topic", name],
        On::TransactionalId(name) => ["--transactional-id", name],
    });
    let command = tools::command(config, "kafka-acls.sh", &words);
    format!("grant {}{who}: {command}", names.join(" and "))
}

/// Whether the topic may be written, by a write that holds no batch: the broker looks at the
/// right first, then refuses the request as empty, and stores nothing
/// (`kafka.server.KafkaApis`, 3.9 and 4.4). Any broker answers for any partition.
pub(super) async fn may_write(
    session: &Session,
    topic: &Arc<str>,
    partition: i32,
) -> Result<bool, String> {
    let request = Produce {
        acks: -1,
        transactional_id: None,
        timeout_ms: 1, // there is nothing to replicate
        topics: vec![TopicBatches {
            topic: topic.clone(),
            batches: vec![(partition, bytes::Bytes::new())],
        }],
    };
    let answer = session.ask(request).await?;
    let part = answer.parts.first();
    let part = part.ok_or("the broker does not tell rights")?;
    Ok(verdict(part.code).outcome != Outcome::Deny)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::HostPort;

    #[test]
    fn the_command_names_user_rights_and_resource_and_is_safe_to_paste() {
        let server = HostPort {
            host: "kafka".into(),
            port: 9092,
        };
        let config = KafkaConfig::new(vec![server]);
        let on = On::TransactionalId("edge 17's");
        let words = grant(&config, on, &[Right::Write, Right::Describe]);
        let command = "--add --allow-principal User:NAME --operation Write --operation Describe \
                       --transactional-id 'edge 17'\\''s'`";
        assert!(words.ends_with(command), "{words}");
        assert!(
            words.starts_with("grant Write and Describe, with"),
            "{words}"
        );
    }
}
