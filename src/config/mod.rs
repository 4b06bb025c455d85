//! The checked configuration: every value here has passed its checks.
//!
//! Raw text becomes these types once, in `parse`; nothing downstream checks again.
//! Units are in the types or in the docs. Defaults are all in `defaults`.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

mod alias;
pub mod certificate;
mod defaults;
mod explain;
mod file;
mod foreign;
pub mod jaas;
mod keys;
mod load;
mod overlay;
mod parse;
mod parts;
mod pattern;
pub mod pem;
pub mod properties;
mod quantity;
mod reload;
mod report;
mod routes;
pub mod sasl;
mod schema;
pub mod secret;
mod section;
mod show;
mod units;

pub use explain::{Explained, explain};
pub use file::{
    Encoding, FileConfig, LineEnding, LinePattern, MultilineConfig, MultilineRule, StartAt,
};
pub use keys::refresh_reference;
pub use load::{ConfigSource, DROP_INS, FirstLook, from_file, from_flags, from_text, from_texts};
pub use parse::{Context, Loaded, SOCKET_PATH_MAX};
pub use pattern::{Captures, FilePatterns, PathPattern, PatternError};
pub use pem::PemSource;
pub use reload::{Change, changes};
pub use report::{Diagnostic, Report, Severity};
pub use routes::{Partitioner, RouteConfig, RouteTest, RoutingConfig};
pub use sasl::{SaslConfig, SaslMechanism};
pub use schema::schema;
pub use secret::{Secret, SecretError, SecretSource};
pub use show::show;
pub use units::{format_duration, format_size, parse_duration, parse_size};

/// Everything `spoolway run` needs.
#[derive(Debug, Clone)]
pub struct Config {
    /// `[spool]`
    pub spool: SpoolConfig,
    /// `[[input]]`, at least one.
    pub inputs: Vec<InputConfig>,
    /// `[kafka]`
    pub kafka: KafkaConfig,
    /// `[[route]]`, at least one.
    pub routes: Vec<RouteConfig>,
    /// `[routing]`
    pub routing: RoutingConfig,
    /// `[control]`
    pub control: ControlConfig,
    /// `[log]`
    pub log: LogConfig,
    /// `stop_timeout`: deadline of an ordered stop. Default 10 s.
    pub stop_timeout: Duration,
}

/// `[spool]`: the queue on disk.
#[derive(Debug, Clone, PartialEq)]
pub struct SpoolConfig {
    /// Directory of the spool; made when missing, mode 0700.
    pub dir: PathBuf,
    /// Most bytes the directory may take, dead letters included. Default 10 GiB.
    pub max_bytes: u64,
    /// Intake pauses when the file system has fewer bytes free than this. Default 256 MiB.
    pub min_free: u64,
    /// Largest event in bytes. Default 1 MiB, at most 16 MiB.
    pub max_event_bytes: u32,
    /// What a writer meets when the spool is full. Default block.
    pub when_full: WhenFull,
    /// Shortest time between two commits; 0 = as fast as the disk allows. Default 0.
    pub commit_interval: Duration,
    /// Codec of blocks on disk. Default lz4.
    pub compression: SpoolCodec,
    /// A generation is rotated when its file has this many bytes. Default 16 MiB.
    pub generation_bytes: u64,
    /// Most bytes accepted from inputs but not yet committed. Default 4 MiB.
    pub intake_memory: u32,
    /// Cache given to each open sled database, bytes. Default 4 MiB.
    pub cache_bytes: u64,
    /// Most bytes of the dead-letter store. Default 256 MiB.
    pub dead_letter_max_bytes: u64,
}

/// What happens to a writer when the spool is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhenFull {
    /// Stop reading; the writer waits.
    Block,
    /// Refuse each event by name.
    Reject,
}

/// Codec of blocks on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpoolCodec {
    /// LZ4 block format.
    Lz4,
    /// As it is.
    None,
    /// Zstandard, level 1.
    Zstd,
}

/// One `[[input]]`.
#[derive(Debug, Clone, PartialEq)]
pub struct InputConfig {
    /// Unique name, recorded with every event.
    pub name: Arc<str>,
    /// What it reads.
    pub kind: InputKind,
}

/// The kinds of input.
#[derive(Debug, Clone, PartialEq)]
pub enum InputKind {
    /// `type = "file"`
    File(Box<FileConfig>),
    /// `type = "unix"`
    Unix(UnixConfig),
}

/// `type = "unix"`: a Unix stream socket that takes newline-delimited events.
#[derive(Debug, Clone, PartialEq)]
pub struct UnixConfig {
    /// Path of the socket.
    pub path: PathBuf,
    /// Permission bits of the socket file. Default 0o660.
    pub mode: u32,
    /// Group of the socket file, by name or number. Default: the daemon's own.
    pub group: Option<String>,
    /// What a writer is told. Default none.
    pub ack: AckMode,
    /// Most connections of this input at once. Default 512.
    pub max_connections: u32,
    /// Whether an unterminated last line at close is an event. Default true.
    pub accept_unterminated: bool,
    /// A connection without a byte for this long is closed; zero = never. Default zero.
    pub idle_timeout: Duration,
}

/// What a socket writer is told about its lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AckMode {
    /// `{"ack":N}` once Kafka has the first N lines.
    Broker,
    /// `{"ack":N}` once the first N lines are on disk.
    Durable,
    /// Nothing.
    None,
}

/// `host:port` of a broker.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HostPort {
    /// Name, IPv4 or IPv6 address without brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

impl std::fmt::Display for HostPort {
    /// An IPv6 address in brackets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { host, port } = self;
        if host.contains(':') {
            write!(f, "[{host}]:{port}")
        } else {
            write!(f, "{host}:{port}")
        }
    }
}

/// `[kafka]`: official property names.
#[derive(Debug, Clone, PartialEq)]
pub struct KafkaConfig {
    /// `bootstrap.servers`
    pub bootstrap: Vec<HostPort>,
    /// `client.dns.lookup`. Default every address of a name.
    pub dns_lookup: DnsLookup,
    /// `client.id`. Default `spoolway`.
    pub client_id: Arc<str>,
    /// TLS of `security.protocol`; `None` = plain TCP.
    pub tls: Option<TlsConfig>,
    /// SASL of `security.protocol`.
    pub sasl: Option<SaslConfig>,
    /// `batch.size`: a batch closes at this many uncompressed bytes. Default 1 MB.
    pub batch_size: u32,
    /// `batch.events`: a batch closes at this many events. Default 10,000.
    pub batch_events: u32,
    /// `linger.ms`: longest wait of a batch's first event. Default 5 ms.
    pub linger: Duration,
    /// `compression.type` and its level. Default lz4.
    pub compression: Compression,
    /// `partitioner.class` and `partitioner.ignore.keys`; in force through the routes.
    pub partitioner: Partitioner,
    /// `max.in.flight.requests.per.connection`, here per partition: 1 to 5. Default 5.
    pub max_in_flight: u8,
    /// `max.request.size` in bytes. Default 1 MiB.
    pub max_request_size: u32,
    /// `buffer.memory`: bytes of batches built and not yet acknowledged. Default 16 MiB.
    pub buffer_memory: u32,
    /// `request.timeout.ms`. Default 15 s.
    pub request_timeout: Duration,
    /// `socket.connection.setup.timeout.ms`: TCP, TLS and SASL together. Default 10 s.
    pub connect_timeout: Duration,
    /// `retry.backoff.ms`. Default 100 ms.
    pub retry_backoff: Duration,
    /// `retry.backoff.max.ms`. Default 5 s.
    pub retry_backoff_max: Duration,
    /// `reconnect.backoff.ms`. Default 100 ms.
    pub reconnect_backoff: Duration,
    /// `reconnect.backoff.max.ms`. Default 10 s.
    pub reconnect_backoff_max: Duration,
    /// `metadata.max.age.ms`. Default 5 min.
    pub metadata_max_age: Duration,
    /// `send.buffer.bytes`; `None` leaves the kernel's choice.
    pub send_buffer: Option<u32>,
    /// `receive.buffer.bytes`; `None` leaves the kernel's choice.
    pub receive_buffer: Option<u32>,
    /// How long an unknown or forbidden topic is retried before its events go to the
    /// dead letters. Default 24 h; `None` = for ever.
    pub topic_patience: Option<Duration>,
    /// `topic.auto.create` with what such topics get; `None` = topics are never created.
    pub topic_creation: Option<TopicCreation>,
    /// `test_topic`: where `kafka test --send` writes its record.
    pub test_topic: Option<Arc<str>>,
    /// `acks`. Default all.
    pub acks: Acks,
    /// `enable.idempotence`. Default true, and false with less than `acks=all`.
    pub idempotence: bool,
    /// `retries`: how often a batch that failed is sent again before its events go to the
    /// dead letters. Default `None` = for ever.
    pub retries: Option<u32>,
    /// `delivery.timeout.ms`: age at which an event that no broker has acknowledged goes to
    /// the dead letters. Default `None` = never.
    pub delivery_timeout: Option<Duration>,
    /// `socket.connection.setup.timeout.max.ms`: what `connect_timeout` doubles up to from
    /// one failed attempt to the next. Default 30 s.
    pub connect_timeout_max: Duration,
    /// `connections.max.idle.ms`: a connection without a request for this long is closed
    /// until there is one again. Default 9 min; `None` = never.
    pub connections_max_idle: Option<Duration>,
    /// `transactional.id` and what belongs to it. Default none.
    pub transaction: Option<TransactionConfig>,
}

/// By which names the bootstrap servers are called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DnsLookup {
    /// As they are written; every address of a name is tried.
    AllAddresses,
    /// By the canonical name of each of their addresses (KIP-235).
    CanonicalBootstrap,
}

/// How missing topics are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TopicCreation {
    /// `topic.auto.partitions`; -1 = the broker's `num.partitions`.
    pub partitions: i32,
    /// `topic.auto.replication`; -1 = the broker's `default.replication.factor`.
    pub replication: i16,
}

/// Whose word for a batch is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acks {
    /// Every replica in sync has it: nothing that was acknowledged is lost with a broker.
    All,
    /// The leader has it; lost when the leader is lost before a replica has it.
    Leader,
    /// The broker was told; whether it stored the batch is not known.
    None,
}

/// Transactions, for consumers that read committed records only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransactionConfig {
    /// `transactional.id`: names this producer to the cluster; of one running daemon only.
    pub id: Arc<str>,
    /// `transaction.timeout.ms`: after this long the coordinator aborts. Default 60 s.
    pub timeout: Duration,
    /// `transactional.position.topic`: the compacted topic of the positions. Default
    /// `spoolway-positions`.
    pub position_topic: Arc<str>,
}

/// TLS towards the brokers.
#[derive(Debug, Clone, PartialEq)]
pub struct TlsConfig {
    /// `ssl.ca.location` or `ssl.ca.pem`: replaces the system's roots.
    pub ca: Option<PemSource>,
    /// Client certificate chain and key.
    pub identity: Option<TlsIdentity>,
    /// `ssl.endpoint.identification.algorithm`: false only when set to the empty string.
    pub verify_hostname: bool,
    /// `enable.ssl.certificate.verification`: false for tests only.
    pub verify_certificate: bool,
    /// `ssl.crl.location`: PEM file with revocation lists of the brokers' authorities.
    pub crl_file: Option<PathBuf>,
    /// `ssl.enabled.protocols` and `ssl.protocol`. Default both.
    pub versions: TlsVersions,
}

/// Versions of TLS that are spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsVersions {
    /// TLS 1.2 and 1.3.
    Both,
    /// TLS 1.2 only.
    Only1_2,
    /// TLS 1.3 only.
    Only1_3,
}

/// A client certificate.
#[derive(Debug, Clone, PartialEq)]
pub struct TlsIdentity {
    /// `ssl.certificate.location` or `.pem`: chain, leaf first.
    pub certificate: PemSource,
    /// `ssl.key.location` or `.pem`: its private key.
    pub key: PemSource,
    /// `ssl.key.password`: opens an encrypted PKCS#8 key.
    pub key_password: Option<SecretSource>,
}

/// Codec of Kafka record batches, with its level where it has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// gzip, level 1 to 9.
    Gzip(u32),
    /// LZ4 frame.
    Lz4,
    /// As it is.
    None,
    /// Snappy in xerial framing, as the Java client writes it.
    Snappy,
    /// Zstandard, level 1 to 22.
    Zstd(i32),
}

/// `[control]`: the socket that `status` and `dead-letter` talk to.
#[derive(Debug, Clone, PartialEq)]
pub struct ControlConfig {
    /// Path of the socket. Default `control.sock` in the spool directory.
    pub path: PathBuf,
}

/// `[log]`
#[derive(Debug, Clone, PartialEq)]
pub struct LogConfig {
    /// Filter as `tracing` understands it, e.g. `info` or `spoolway::kafka=debug`.
    pub filter: String,
    /// How a line looks.
    pub format: LogFormat,
    /// A repeated message is written at most once in this time. Default 10 s.
    pub repeat_interval: Duration,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For people.
    Text,
}
