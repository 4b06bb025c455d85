//! The state of the producer, for `status` and for systemd's status line.
//!
//! Plain values, made by the actor now and then; nothing is decided by them.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use super::{TopicPartition, TransactionStatus};

/// Everything there is to say about the Kafka side.
#[derive(Debug, Default, Clone)]
pub struct KafkaStatus {
    /// The connection for metadata and producer ids.
    pub control: ConnectionStatus,
    /// The leaders that are written to, by broker id.
    pub brokers: Vec<BrokerStatus>,
    /// Partitions with unresolved batches.
    pub partitions: Vec<PartitionStatus>,
    /// Topics that cannot be written, at most [`TOPICS_SHOWN`] of them, by name.
    pub topics: Vec<TopicStatus>,
    /// What only a person can mend (a password, a certificate, a right), in words.
    pub halted: Option<String>,
    /// Certificates by the last handshakes: the brokers', ours, and the authority's.
    pub certificates: Vec<CertificateStatus>,
    /// What is not verified although it should be, in words; for tests only.
    pub unverified: Option<&'static str>,
    /// The transactions, with `transactional.id` only.
    pub transaction: Option<TransactionStatus>,
    /// Sums since start.
    pub totals: Totals,
}

/// Most topics in the status: with templates there may be any number.
pub(super) const TOPICS_SHOWN: usize = 100;

/// A topic that cannot be written.
#[derive(Debug, Clone)]
pub struct TopicStatus {
    /// Its name.
    pub name: Arc<str>,
    /// Why, in words.
    pub error: String,
    /// Since when, without a success in between.
    pub since: Instant,
}

/// A certificate.
#[derive(Debug, Clone)]
pub struct CertificateStatus {
    /// Whose it is, e.g. `broker kafka-1:9093`.
    pub whose: String,
    /// Its subject.
    pub subject: String,
    /// It is not good after this.
    pub not_after: SystemTime,
}

/// A connection.
#[derive(Debug, Default, Clone)]
pub struct ConnectionStatus {
    /// Whether it stands.
    pub up: bool,
    /// `host:port`, when one was tried.
    pub address: String,
    /// Why it last failed, in words; empty after a success.
    pub error: Option<String>,
    /// When it is tried again.
    pub retry_at: Option<Instant>,
}

/// A broker.
#[derive(Debug, Default, Clone)]
pub struct BrokerStatus {
    /// Kafka's node id.
    pub id: i32,
    /// Its connection.
    pub connection: ConnectionStatus,
    /// Requests without an answer.
    pub requests: usize,
    /// Until when the broker asked for silence (KIP-219).
    pub throttled_until: Option<Instant>,
}

/// A partition.
#[derive(Debug, Clone)]
pub struct PartitionStatus {
    /// Which.
    pub to: TopicPartition,
    /// Batches not yet resolved.
    pub unresolved: usize,
    /// Batches on the wire.
    pub in_flight: usize,
    /// The last failure since the last success, in words.
    pub error: Option<String>,
    /// When it is tried again.
    pub retry_at: Option<Instant>,
}

/// Sums since start.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Totals {
    /// Batches in the log.
    pub acked_batches: u64,
    /// Bytes of these, as sent.
    pub acked_bytes: u64,
    /// Batches sent again.
    pub resent_batches: u64,
    /// Answers that named a throttle time.
    pub throttled_answers: u64,
    /// Records that went again although an earlier try may be in the log.
    pub maybe_duplicate_records: u64,
}
