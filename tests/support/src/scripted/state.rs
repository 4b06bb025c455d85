//! The cluster's state: brokers, topics, the log of requests, violations.
//!
//! One value behind one lock; every change to it wakes the waiting test. No sockets here.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Instant;

use super::batch::Record;
use super::log::{PartitionLog, Verdict};
use super::sasl::Gate;
use super::script::{Action, Api, Script};

/// One broker.
#[derive(Debug)]
pub(super) struct Broker {
    pub(super) address: SocketAddr,
    /// Whether it takes part: listens and keeps connections.
    pub(super) up: bool,
    /// Whether the controller has taken it out of the metadata.
    pub(super) fenced: bool,
    /// Raised whenever its connections have to end.
    pub(super) generation: u64,
}

/// One partition.
#[derive(Debug)]
pub(super) struct Partition {
    pub(super) leader: i32,
    pub(super) leader_epoch: i32,
    pub(super) log: PartitionLog,
}

/// One topic.
#[derive(Debug)]
pub(super) struct Topic {
    pub(super) partitions: Vec<Partition>,
    /// Answered for every partition and in the metadata while not 0.
    pub(super) sticky: i16,
    /// `max.message.bytes`
    pub(super) max_message_bytes: usize,
}

/// One batch of a produce request and what became of it.
#[derive(Debug, Clone)]
pub struct Sent {
    /// Topic.
    pub topic: String,
    /// Partition.
    pub partition: i32,
    /// `acks` of the request.
    pub acks: i16,
    /// Producer id.
    pub producer_id: i64,
    /// Producer epoch.
    pub epoch: i16,
    /// First sequence number.
    pub first_sequence: i32,
    /// Last sequence number.
    pub last_sequence: i32,
    /// Size of the batch as sent, bytes.
    pub bytes: usize,
    /// What the log said; `None` when the batch never came to it.
    pub verdict: Option<Verdict>,
    /// The error code in the answer.
    pub code: i16,
}

/// One request as it arrived.
#[derive(Debug, Clone)]
pub struct Request {
    /// When it had arrived whole.
    pub at: Instant,
    /// Broker that got it.
    pub broker: i32,
    /// Connection, counted from 1 over the whole cluster.
    pub connection: u64,
    /// Kind.
    pub api: Api,
    /// Version.
    pub version: i16,
    /// `client.id`; empty when it has none.
    pub client_id: String,
    /// Bytes of the frame without its length prefix.
    pub bytes: usize,
    /// The batches of a produce request.
    pub sent: Vec<Sent>,
    /// What the script did to it.
    pub actions: Vec<Action>,
}

/// Everything a test may look at while it waits.
#[derive(Debug)]
pub struct State {
    pub(super) brokers: BTreeMap<i32, Broker>,
    pub(super) topics: BTreeMap<String, Topic>,
    pub(super) script: Script,
    pub(super) versions: BTreeMap<Api, (i16, i16)>,
    pub(super) requests: Vec<Request>,
    pub(super) violations: Vec<String>,
    /// Producers without idempotence, and acks other than all, break no rule.
    pub(super) loose: bool,
    pub(super) next_producer_id: i64,
    pub(super) connections: u64,
    pub(super) open_connections: BTreeMap<i32, usize>,
    pub(super) stopping: bool,
    /// The logins, when the cluster demands any.
    pub(super) gate: Option<Gate>,
}

/// First producer id given out; not 0, so that a zeroed field is noticed.
pub(super) const FIRST_PRODUCER_ID: i64 = 4000;

impl State {
    pub(super) fn new() -> Self {
        let versions = [
            (Api::ApiVersions, (0, 3)),
            (Api::Metadata, (0, 12)),
            (Api::InitProducerId, (0, 5)),
            (Api::Produce, (3, 12)), // 13 names topics by id
        ];
        Self {
            brokers: BTreeMap::new(),
            topics: BTreeMap::new(),
            script: Script::default(),
            versions: BTreeMap::from(versions),
            requests: Vec::new(),
            violations: Vec::new(),
            loose: false,
            next_producer_id: FIRST_PRODUCER_ID,
            connections: 0,
            open_connections: BTreeMap::new(),
            stopping: false,
            gate: None,
        }
    }

    /// How many requests of this kind have arrived.
    pub fn count(&self, api: Api) -> usize {
        self.requests.iter().filter(|r| r.api == api).count()
    }

    /// Every request in order of arrival.
    pub fn requests(&self) -> &[Request] {
        &self.requests
    }

    /// The records of a partition in order; none when it does not exist.
    pub fn records(&self, topic: &str, partition: i32) -> impl Iterator<Item = &Record> {
        self.log(topic, partition)
            .into_iter()
            .flat_map(PartitionLog::records)
    }

    /// Number of records in a partition.
    pub fn record_count(&self, topic: &str, partition: i32) -> usize {
        self.log(topic, partition).map_or(0, PartitionLog::len)
    }

    /// Number of records in all partitions of a topic.
    pub fn topic_record_count(&self, topic: &str) -> usize {
        let partitions = self
            .topics
            .get(topic)
            .into_iter()
            .flat_map(|t| &t.partitions);
        partitions.map(|p| p.log.len()).sum()
    }

    /// The log of a partition.
    pub fn log(&self, topic: &str, partition: i32) -> Option<&PartitionLog> {
        let index = usize::try_from(partition).ok()?;
        Some(&self.topics.get(topic)?.partitions.get(index)?.log)
    }

    /// Connections open to a broker right now.
    pub fn open_connections(&self, broker: i32) -> usize {
        self.open_connections
            .get(&broker)
            .copied()
            .unwrap_or_default()
    }

    /// Connections ever made to the cluster.
    pub fn connections(&self) -> u64 {
        self.connections
    }

    /// What the producer did that it must not do.
    pub fn violations(&self) -> &[String] {
        &self.violations
    }

    pub(super) fn partition_mut(&mut self, topic: &str, partition: i32) -> Option<&mut Partition> {
        let index = usize::try_from(partition).ok()?;
        self.topics.get_mut(topic)?.partitions.get_mut(index)
    }

    /// A few lines that tell where the cluster stands, for the text of a failed wait.
    pub(super) fn summary(&self) -> String {
        use std::fmt::Write;
        let mut out = String::new();
        for (name, topic) in &self.topics {
            for (index, p) in topic.partitions.iter().enumerate() {
                let _ = writeln!(
                    out,
                    "{name}-{index}: {} records, leader {}",
                    p.log.len(),
                    p.leader
                );
            }
        }
        let tail = self.requests.len().saturating_sub(10);
        let _ = writeln!(out, "{} requests, the last of them:", self.requests.len());
        for r in &self.requests[tail..] {
            let _ = write!(
                out,
                "  {:?} v{} at {} {:?}",
                r.api, r.version, r.broker, r.actions
            );
            for s in &r.sent {
                let _ = write!(
                    out,
                    " [{}-{} e{} {}..={} -> {}]",
                    s.topic, s.partition, s.epoch, s.first_sequence, s.last_sequence, s.code
                );
            }
            let _ = writeln!(out);
        }
        for violation in &self.violations {
            let _ = writeln!(out, "violation: {violation}");
        }
        out
    }
}
