//! `[kafka]`: official property names, in Kafka's own notation or with units.

use std::time::Duration;

use toml::de::DeValue;

use super::names::{FIXED, refusal};
use super::security;
use super::{Context, bootstrap, delivery, partitioner, topic, transaction};
use crate::config::overlay::{JAAS_CONFIG, PROPERTIES_FILE};
use crate::config::quantity::whole_number;
use crate::config::report::Sink;
use crate::config::section::{Entry, Section};
use crate::config::{Compression, KafkaConfig};

const MIB: u32 = 1 << 20;

/// Longest `client.id` in bytes; it travels in every request.
const CLIENT_ID_BYTES_MAX: usize = 249;

pub(super) const HOUR: Duration = Duration::from_secs(60 * 60);
pub(super) const MINUTE: Duration = Duration::from_secs(60);
pub(super) const SECOND: Duration = Duration::from_secs(1);
pub(super) const MILLISECOND: Duration = Duration::from_millis(1);

/// Levels of gzip, and its default as in Kafka (zlib's own).
const GZIP_LEVELS: (u64, u64) = (1, 9);
const GZIP_LEVEL: u64 = 6;
/// Levels of zstd, and its default as in Kafka.
const ZSTD_LEVELS: (u64, u64) = (1, 22);
const ZSTD_LEVEL: u64 = 3;

/// Reads the table.
pub(super) fn read(
    entry: Option<&Entry<'_>>,
    context: &Context,
    sink: &mut Sink,
) -> Option<KafkaConfig> {
    let Some(entry) = entry else {
        let help = "add it with bootstrap.servers = \"host:9092\"";
        sink.missing(
            None,
            "[kafka]: is missing".to_owned(),
            Some(help.to_owned()),
        );
        return None;
    };
    let DeValue::Table(inner) = entry.value.get_ref() else {
        sink.error(
            entry.key.clone(),
            "[kafka]: has to be a table".to_owned(),
            None,
        );
        return None;
    };
    let mut section = Section::flattened("[kafka]", entry.key.clone(), inner, sink);
    // What they hold is laid over the table already; see `overlay`.
    section.text(PROPERTIES_FILE);
    section.text(JAAS_CONFIG);
    let bootstrap = bootstrap::read(&mut section);
    let mut kafka = KafkaConfig::new(bootstrap.clone().unwrap_or_default());
    kafka.dns_lookup = bootstrap::read_lookup(&mut section);
    read_client_id(&mut section, &mut kafka);
    read_batching(&mut section, &mut kafka);
    read_times(&mut section, &mut kafka);
    kafka.partitioner = partitioner::read(&mut section);
    delivery::read(&mut section, &mut kafka);
    kafka.compression = read_compression(&mut section);
    kafka.topic_patience = read_patience(&mut section, kafka.topic_patience);
    kafka.topic_creation = topic::read_creation(&mut section);
    kafka.test_topic = topic::read_test_topic(&mut section);
    kafka.transaction = transaction::read(&mut section, &kafka);
    security::read(&mut section, &mut kafka, context);
    read_fixed(&mut section);
    refuse_rest(section);
    bootstrap.map(|_| kafka)
}

fn read_client_id(section: &mut Section<'_, '_>, kafka: &mut KafkaConfig) {
    let Some(id) = section.text("client.id") else {
        return;
    };
    if id.get_ref().len() > CLIENT_ID_BYTES_MAX || id.get_ref().chars().any(char::is_control) {
        let what = format!("has to be at most {CLIENT_ID_BYTES_MAX} bytes of plain text");
        section.fault("client.id", id.span(), &what, None);
        return;
    }
    kafka.client_id = id.into_inner().into();
}

fn read_batching(section: &mut Section<'_, '_>, kafka: &mut KafkaConfig) {
    kafka.max_request_size = section.bytes(
        "max.request.size",
        &["message.max.bytes"],
        kafka.max_request_size,
        16 << 10..=64 * MIB,
    );
    // Whoever lowers only the request means the batch as well.
    let batch = kafka.batch_size.min(kafka.max_request_size);
    kafka.batch_size = section.bytes("batch.size", &[], batch, 1..=64 * MIB);
    let events = u64::from(kafka.batch_events);
    let events = match section.take_alias("batch.events", &["batch.num.messages"]) {
        None => events,
        Some(entry) => match whole_number(entry.value.get_ref()) {
            Some(n) if (1..=1_000_000).contains(&n) => n,
            _ => {
                let help = Some("use a whole number from 1 to 1000000".to_owned());
                section.fault("batch.events", entry.value.span(), "is out of range", help);
                events
            }
        },
    };
    kafka.batch_events = u32::try_from(events).unwrap_or(kafka.batch_events);
    kafka.linger = section.millis(
        "linger.ms",
        &["queue.buffering.max.ms"],
        kafka.linger,
        Duration::ZERO..=MINUTE,
    );
    kafka.buffer_memory =
        section.bytes("buffer.memory", &[], kafka.buffer_memory, MIB..=1024 * MIB);
    let in_flight = u64::from(kafka.max_in_flight);
    let name = "max.in.flight.requests.per.connection";
    let in_flight = section.number(name, in_flight, 1..=5);
    kafka.max_in_flight = u8::try_from(in_flight).unwrap_or(kafka.max_in_flight);
}

fn read_times(section: &mut Section<'_, '_>, kafka: &mut KafkaConfig) {
    kafka.request_timeout = section.millis(
        "request.timeout.ms",
        &["socket.timeout.ms"],
        kafka.request_timeout,
        SECOND..=10 * MINUTE,
    );
    let backoff = MILLISECOND..=HOUR;
    kafka.retry_backoff = section.millis(
        "retry.backoff.ms",
        &[],
        kafka.retry_backoff,
        backoff.clone(),
    );
    kafka.retry_backoff_max = section.millis(
        "retry.backoff.max.ms",
        &[],
        kafka.retry_backoff_max,
        backoff.clone(),
    );
    kafka.reconnect_backoff = section.millis(
        "reconnect.backoff.ms",
        &[],
        kafka.reconnect_backoff,
        backoff.clone(),
    );
    kafka.reconnect_backoff_max = section.millis(
        "reconnect.backoff.max.ms",
        &[],
        kafka.reconnect_backoff_max,
        backoff,
    );
    kafka.metadata_max_age = section.millis(
        "metadata.max.age.ms",
        &["topic.metadata.refresh.interval.ms"],
        kafka.metadata_max_age,
        SECOND..=24 * HOUR,
    );
    kafka.send_buffer =
        read_socket_buffer(section, "send.buffer.bytes", "socket.send.buffer.bytes");
    kafka.receive_buffer = read_socket_buffer(
        section,
        "receive.buffer.bytes",
        "socket.receive.buffer.bytes",
    );
}

/// Bytes of a kernel buffer; Kafka writes -1, librdkafka 0, for the kernel's own choice.
fn read_socket_buffer(
    section: &mut Section<'_, '_>,
    key: &'static str,
    alias: &'static str,
) -> Option<u32> {
    let entry = section.take_alias(key, &[alias])?;
    let text = entry.scalar().unwrap_or_default();
    if text == "-1" || text == "0" {
        return None;
    }
    let bytes = whole_number(entry.value.get_ref())
        .or_else(|| crate::config::units::parse_size(&text).ok())
        .and_then(|bytes| u32::try_from(bytes).ok())
        .filter(|bytes| (1024..=64 * MIB).contains(bytes));
    if bytes.is_none() {
        let help = Some("use 1KiB to 64MiB, or -1 for the kernel's choice".to_owned());
        section.fault(key, entry.value.span(), "is not a buffer size", help);
    }
    bytes
}

fn read_compression(section: &mut Section<'_, '_>) -> Compression {
    const KEY: &str = "compression.type";
    let given = section.take_alias(KEY, &["compression.codec"]);
    let gzip_given = section.take("compression.gzip.level");
    let zstd_given = section.take("compression.zstd.level");
    let gzip = level(
        section,
        "compression.gzip.level",
        &gzip_given,
        GZIP_LEVEL,
        GZIP_LEVELS,
    );
    let zstd = level(
        section,
        "compression.zstd.level",
        &zstd_given,
        ZSTD_LEVEL,
        ZSTD_LEVELS,
    );
    let choices = [
        ("none", Compression::None),
        (
            "gzip",
            Compression::Gzip(u32::try_from(gzip).unwrap_or_default()),
        ),
        ("snappy", Compression::Snappy),
        ("lz4", Compression::Lz4),
        (
            "zstd",
            Compression::Zstd(i32::try_from(zstd).unwrap_or_default()),
        ),
    ];
    let text = given.and_then(|entry| section.text_of(KEY, &entry));
    let chosen = text.and_then(|text| section.choice_of(KEY, &text, &choices));
    let chosen = chosen.unwrap_or(Compression::Lz4);
    let unused = [
        (
            "compression.gzip.level",
            gzip_given,
            matches!(chosen, Compression::Gzip(_)),
        ),
        (
            "compression.zstd.level",
            zstd_given,
            matches!(chosen, Compression::Zstd(_)),
        ),
    ];
    for (key, entry, used) in unused {
        if let Some(entry) = entry.filter(|_| !used) {
            section.caution(
                key,
                entry.key,
                "has no effect with this compression.type",
                None,
            );
        }
    }
    chosen
}

fn level(
    section: &mut Section<'_, '_>,
    key: &'static str,
    entry: &Option<Entry<'_>>,
    default: u64,
    (low, high): (u64, u64),
) -> u64 {
    let Some(entry) = entry else { return default };
    match whole_number(entry.value.get_ref()) {
        Some(level) if (low..=high).contains(&level) => level,
        _ => {
            let help = Some(format!("use {low} to {high}"));
            section.fault(key, entry.value.span(), "is not a level", help);
            default
        }
    }
}

/// `topic_patience` is ours and has no Kafka notation: a duration, or `"forever"`.
fn read_patience(section: &mut Section<'_, '_>, default: Option<Duration>) -> Option<Duration> {
    let Some(entry) = section.take("topic_patience") else {
        return default;
    };
    if entry.value.get_ref().as_str() == Some("forever") {
        return None;
    }
    section.duration_of("topic_patience", &entry)
}

/// Properties with only one right value.
fn read_fixed(section: &mut Section<'_, '_>) {
    for fixed in FIXED {
        let Some(entry) = section.take(fixed.name) else {
            continue;
        };
        let written = entry.scalar().unwrap_or_default().to_lowercase();
        if !fixed.accepted.contains(&written.as_str()) {
            let what = format!("is refused with this value, because {}", fixed.reason);
            section.fault(fixed.name, entry.value.span(), &what, None);
        }
    }
}

/// What is left is either one of Kafka's properties that Spoolway refuses, or a mistake.
fn refuse_rest(mut section: Section<'_, '_>) {
    for (key, entry) in section.rest() {
        // A reason may stand for all names that begin alike.
        match refusal(&key).filter(|_| !section.is_slip(&key)) {
            Some(reason) => {
                let what = format!("is refused, because {reason}");
                section.fault(&key, entry.key.clone(), &what, None);
            }
            None => section.unknown(&key, &entry, &[]),
        }
    }
}
