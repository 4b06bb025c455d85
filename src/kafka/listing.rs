//! The topics of a cluster, for the command line.
//!
//! Asks the first bootstrap server that answers. Topics that the login may not describe are
//! not told by Kafka, so they are not listed.

use super::connect::{Connector, Trace};
use super::session::Session;
use super::wire::{MetadataQuery, MetadataTopic};
use crate::config::KafkaConfig;

/// A topic as the cluster describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicInfo {
    /// Its name.
    pub name: String,
    /// Number of partitions.
    pub partitions: usize,
    /// Copies of each partition; the fewest where they differ.
    pub replicas: usize,
    /// Partitions without a leader, which cannot be written now.
    pub leaderless: usize,
    /// Partitions with copies that are behind.
    pub under_replicated: usize,
    /// Whether Kafka keeps it for itself.
    pub internal: bool,
}

/// Why there is no list.
#[derive(Debug, thiserror::Error)]
pub enum ListError {
    /// No bootstrap server could be used.
    #[error("no bootstrap server answers: {0}; `spoolway kafka test` looks closer")]
    NoBroker(String),
    /// The question got no answer.
    #[error("the cluster did not tell its topics: {0}")]
    NoAnswer(String),
}

/// All topics that the login may see, by name.
///
/// # Errors
/// When no broker can be reached, or none answers.
pub async fn list_topics(config: &KafkaConfig) -> Result<Vec<TopicInfo>, ListError> {
    let connector = Connector::new(config.clone());
    let session = first_of(&connector).await?;
    let answer = session.ask(MetadataQuery { topics: None }).await;
    let cluster = answer.map_err(ListError::NoAnswer)?;
    let mut topics: Vec<TopicInfo> = cluster.topics.iter().map(TopicInfo::of).collect();
    topics.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    Ok(topics)
}

/// A session with the first bootstrap server that takes one.
async fn first_of(connector: &Connector) -> Result<Session, ListError> {
    let mut failures = Vec::new();
    for address in &connector.bootstrap().await {
        match Session::open(connector, address, &mut Trace::default()).await {
            Ok(session) => return Ok(session),
            Err(error) => {
                failures.push(format!("{address}: {error}"));
            }
        }
    }
    Err(ListError::NoBroker(failures.join("; ")))
}

impl TopicInfo {
    fn of(topic: &MetadataTopic) -> Self {
        let partitions = &topic.partitions;
        let count = |wanted: fn(&super::wire::MetadataPartition) -> bool| {
            partitions
                .iter()
                .filter(|partition| wanted(partition))
                .count()
        };
        Self {
            name: topic.name.clone(),
            partitions: partitions.len(),
            replicas: partitions.iter().map(|p| p.replicas).min().unwrap_or(0),
            leaderless: count(|p| p.leader.is_none()),
            under_replicated: count(|p| p.in_sync < p.replicas),
            internal: topic.internal,
        }
    }
}
