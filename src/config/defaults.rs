//! Every default in one place: what a configuration means where it says nothing.
//!
//! `packaging/spoolway.toml` and docs/configuration.md show the same values; a test parses
//! the sample and compares.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::*;

/// Name under which a broker knows us.
const CLIENT_ID: &str = "spoolway";

/// Uncompressed bytes at which a batch closes: 1 MB, as in Segment's destination. A batch of
/// bytes that no codec makes smaller still fits the 1,048,588 that a broker takes by default
/// (`message.max.bytes`), and a request of our own default size.
const BATCH_BYTES: u32 = 1_000_000;

/// Deadline of an ordered stop.
pub(super) const STOP_TIMEOUT: Duration = Duration::from_secs(10);

/// Largest event in bytes.
pub(super) const MAX_EVENT_BYTES: u32 = 1 << 20;

/// An event of several lines is finished when its file has not grown for this long.
pub(super) const MULTILINE_TIMEOUT: Duration = Duration::from_secs(2);

/// Most lines of one event.
pub(super) const MULTILINE_LINES: u32 = 500;

/// Most bytes of an event of several lines.
pub(super) const MULTILINE_BYTES: u32 = 1 << 20;

/// Largest share of `spool.max_bytes` that a default of another size may take: one in this.
/// Keeps a small spool usable without setting three more keys.
const SHARE_OF_SPOOL: u64 = 4;

impl SpoolConfig {
    /// A spool in `dir` with every default.
    pub fn new(dir: PathBuf) -> Self {
        Self {
            dir,
            max_bytes: 10 << 30,
            min_free: 256 << 20,
            max_event_bytes: MAX_EVENT_BYTES,
            when_full: WhenFull::Block,
            commit_interval: Duration::ZERO,
            compression: SpoolCodec::Lz4,
            generation_bytes: 16 << 20,
            intake_memory: 4 << 20,
            cache_bytes: 4 << 20,
            dead_letter_max_bytes: 256 << 20,
        }
    }

    /// Sets `max_bytes`, and lowers the defaults that must be smaller than it.
    pub fn limit(&mut self, max_bytes: u64) {
        self.max_bytes = max_bytes;
        let share = max_bytes / SHARE_OF_SPOOL;
        self.generation_bytes = self.generation_bytes.min(share);
        self.dead_letter_max_bytes = self.dead_letter_max_bytes.min(share);
    }
}

impl UnixConfig {
    /// A socket at `path` with every default.
    pub fn new(path: PathBuf) -> Self {
        Self {
            path,
            mode: 0o660,
            group: None,
            ack: AckMode::None,
            max_connections: 512,
            accept_unterminated: true,
            idle_timeout: Duration::ZERO,
        }
    }
}

impl FileConfig {
    /// The files of these patterns with every default.
    pub fn new(patterns: FilePatterns) -> Self {
        Self {
            patterns,
            start: StartAt::End,
            max_line: 1 << 20,
            line_ending: LineEnding::Auto,
            encoding: Encoding::Utf8,
            multiline: None,
            read_once: false,
            delete_after_delivery: false,
            delete_grace: Duration::from_secs(5 * 60),
            follow_symlinks_into: Vec::new(),
            scan_interval: Duration::from_secs(10),
            max_open_files: 256,
            max_deleted_files: 64,
            max_deleted_bytes: 1 << 30,
        }
    }
}

impl MultilineConfig {
    /// Lines joined by `rule` with every default.
    pub fn new(rule: MultilineRule) -> Self {
        Self {
            rule,
            timeout: MULTILINE_TIMEOUT,
            max_lines: MULTILINE_LINES,
            max_bytes: MULTILINE_BYTES,
        }
    }
}

impl KafkaConfig {
    /// A plain-text client of these brokers with every default.
    pub fn new(bootstrap: Vec<HostPort>) -> Self {
        Self {
            bootstrap,
            dns_lookup: DnsLookup::AllAddresses,
            client_id: CLIENT_ID.into(),
            tls: Some(TlsConfig::system()),
            sasl: None,
            batch_size: BATCH_BYTES,
            batch_events: 10_000,
            linger: Duration::from_millis(5),
            compression: Compression::Lz4,
            partitioner: Partitioner::default(),
            max_in_flight: 5,
            max_request_size: 1 << 20,
            buffer_memory: 16 << 20,
            request_timeout: Duration::from_secs(15),
            connect_timeout: Duration::from_secs(10),
            retry_backoff: Duration::from_millis(100),
            retry_backoff_max: Duration::from_secs(5),
            reconnect_backoff: Duration::from_millis(100),
            reconnect_backoff_max: Duration::from_secs(10),
            metadata_max_age: Duration::from_secs(5 * 60),
            send_buffer: None,
            receive_buffer: None,
            topic_patience: Some(Duration::from_secs(24 * 60 * 60)),
            topic_creation: None,
            test_topic: None,
            acks: Acks::All,
            idempotence: true,
            retries: None,
            delivery_timeout: None,
            connect_timeout_max: Duration::from_secs(30),
            connections_max_idle: Some(Duration::from_secs(9 * 60)),
            transaction: None,
        }
    }
}

impl ControlConfig {
    /// The control socket inside the spool directory.
    pub fn in_spool(dir: &Path) -> Self {
        Self {
            path: dir.join("control.sock"),
        }
    }
}

impl Default for LogConfig {
    fn default() -> Self {
        Self {
            filter: "info".to_owned(),
            format: LogFormat::Text,
            repeat_interval: Duration::from_secs(10),
        }
    }
}

impl TlsConfig {
    /// The system's authorities are trusted, everything is verified, and we are nobody.
    pub fn system() -> Self {
        Self {
            ca: None,
            identity: None,
            verify_hostname: true,
            verify_certificate: true,
            crl_file: None,
            versions: TlsVersions::Both,
        }
    }
}
