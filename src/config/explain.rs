//! `spoolway kafka explain`: the value of each key of `[kafka]` that is in force, and the
//! place that it comes from. Shows no secret.
//!
//! Numbers, times and sizes come from the checked configuration in Kafka's own units, so
//! that what is printed is what is used; words are shown as they were written.

use std::path::Path;
use std::time::Duration;

use serde::Serialize;
use toml::de::{DeTable, DeValue};

use super::keys::{self, Key, Kind};
use super::load::read_parts;
use super::overlay;
use super::parse::{Context, parse};
use super::parts::Parts;
use super::report::{Report, Sink};
use super::section::{Entry, Section};
use super::{Acks, Compression, DnsLookup, KafkaConfig};

/// What is shown instead of a secret.
const MASK: &str = "***";

/// What is said of a key that nobody has set.
const DEFAULT: &str = "default";

/// One key of `[kafka]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Explained {
    /// The official name.
    pub name: &'static str,
    /// The value in force; none where there is none.
    pub value: Option<String>,
    /// `default`, or `file:line`.
    pub origin: String,
    /// How the file spells the name, when otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spelled: Option<String>,
}

/// Every key of `[kafka]` in the order of the reference, by the configuration at `path`.
///
/// # Errors
/// The report of every mistake; then nothing is explained.
pub fn explain(path: &Path, mut context: Context) -> Result<Vec<Explained>, Report> {
    let parts = read_parts(path, &mut context)?;
    let kafka = parse(parts.clone(), &context)?.config.kafka;
    Ok(explained(parts, &kafka))
}

fn explained(parts: Parts, kafka: &KafkaConfig) -> Vec<Explained> {
    let padded = parts.padded();
    let mut sink = Sink::new(parts, false);
    let document = overlay::read(&padded, &mut sink);
    let empty = DeTable::new();
    let table = match document.get_ref().get("kafka").map(|value| value.get_ref()) {
        Some(DeValue::Table(table)) => table,
        _ => &empty,
    };
    let set = Section::flattened("", 0..0, table, &mut sink).rest();
    let row = |key: &'static Key| {
        let names = [&[key.name], key.also].concat();
        let found = names
            .into_iter()
            .find_map(|name| Some((name, set.get(name)?)));
        let (origin, spelled) = match found {
            None => (DEFAULT.to_owned(), None),
            Some((name, entry)) => {
                let spelled = (name != key.name).then(|| name.to_owned());
                (sink.parts().line_at(entry.key.start), spelled)
            }
        };
        Explained {
            name: key.name,
            value: value(key, found.map(|(_, entry)| entry), kafka),
            origin,
            spelled,
        }
    };
    keys::kafka_keys().map(row).collect()
}

fn value(key: &Key, entry: Option<&Entry<'_>>, kafka: &KafkaConfig) -> Option<String> {
    if key.kind == Kind::Secret {
        return entry.map(|_| MASK.to_owned());
    }
    let known = IN_FORCE.iter().find(|(name, _)| *name == key.name);
    if let Some((_, show)) = known {
        return show(kafka);
    }
    match entry {
        Some(entry) => Some(written(entry.value.get_ref())),
        None => key.default_in_words().map(|words| words.replace('"', "")),
    }
}

fn written(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => text.to_string(),
        DeValue::Integer(number) => number.as_str().to_owned(),
        DeValue::Boolean(flag) => flag.to_string(),
        DeValue::Array(items) => {
            let items = items.iter().map(|item| written(item.get_ref()));
            items.collect::<Vec<_>>().join(",")
        }
        // A table names where a secret is; what it names is no secret, and not shown here.
        _ => MASK.to_owned(),
    }
}

type Show = fn(&KafkaConfig) -> Option<String>;

/// What is used, in Kafka's own notation.
const IN_FORCE: &[(&str, Show)] = &[
    ("bootstrap.servers", |k| {
        let servers = k.bootstrap.iter().map(ToString::to_string);
        Some(servers.collect::<Vec<_>>().join(","))
    }),
    ("client.dns.lookup", |k| {
        let lookup = match k.dns_lookup {
            DnsLookup::AllAddresses => "use_all_dns_ips",
            DnsLookup::CanonicalBootstrap => "resolve_canonical_bootstrap_servers_only",
        };
        Some(lookup.to_owned())
    }),
    ("client.id", |k| Some(k.client_id.to_string())),
    ("security.protocol", |k| {
        let protocol = match (&k.tls, &k.sasl) {
            (None, None) => "PLAINTEXT",
            (Some(_), None) => "SSL",
            (None, Some(_)) => "SASL_PLAINTEXT",
            (Some(_), Some(_)) => "SASL_SSL",
        };
        Some(protocol.to_owned())
    }),
    ("acks", |k| {
        let acks = match k.acks {
            Acks::All => "all",
            Acks::Leader => "1",
            Acks::None => "0",
        };
        Some(acks.to_owned())
    }),
    ("enable.idempotence", |k| Some(k.idempotence.to_string())),
    ("retries", |k| {
        let retries = k.retries.unwrap_or(i32::MAX.unsigned_abs());
        Some(retries.to_string())
    }),
    ("delivery.timeout.ms", |k| k.delivery_timeout.and_then(ms)),
    ("batch.size", |k| Some(k.batch_size.to_string())),
    ("batch.events", |k| Some(k.batch_events.to_string())),
    ("linger.ms", |k| ms(k.linger)),
    ("compression.type", |k| {
        let codec = match k.compression {
            Compression::Gzip(_) => "gzip",
            Compression::Lz4 => "lz4",
            Compression::None => "none",
            Compression::Snappy => "snappy",
            Compression::Zstd(_) => "zstd",
        };
        Some(codec.to_owned())
    }),
    ("max.in.flight.requests.per.connection", |k| {
        Some(k.max_in_flight.to_string())
    }),
    ("max.request.size", |k| Some(k.max_request_size.to_string())),
    ("buffer.memory", |k| Some(k.buffer_memory.to_string())),
    ("request.timeout.ms", |k| ms(k.request_timeout)),
    ("socket.connection.setup.timeout.ms", |k| {
        ms(k.connect_timeout)
    }),
    ("socket.connection.setup.timeout.max.ms", |k| {
        ms(k.connect_timeout_max)
    }),
    ("connections.max.idle.ms", |k| {
        k.connections_max_idle.map_or_else(never, ms)
    }),
    ("retry.backoff.ms", |k| ms(k.retry_backoff)),
    ("retry.backoff.max.ms", |k| ms(k.retry_backoff_max)),
    ("reconnect.backoff.ms", |k| ms(k.reconnect_backoff)),
    ("reconnect.backoff.max.ms", |k| ms(k.reconnect_backoff_max)),
    ("metadata.max.age.ms", |k| ms(k.metadata_max_age)),
    ("send.buffer.bytes", |k| {
        k.send_buffer.map_or_else(never, |b| Some(b.to_string()))
    }),
    ("receive.buffer.bytes", |k| {
        k.receive_buffer.map_or_else(never, |b| Some(b.to_string()))
    }),
];

fn ms(time: Duration) -> Option<String> {
    Some(time.as_millis().to_string())
}

/// Kafka's word for "no limit of ours".
fn never() -> Option<String> {
    Some("-1".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::from_text;

    const HEAD: &str = "[spool]\ndir = \"/s\"\n[[input]]\nname = \"a\"\ntype = \"unix\"\n\
        path = \"/a\"\n[[route]]\ntopic = \"t\"\n[kafka]\n";

    fn rows(lines: &str) -> Vec<Explained> {
        let text = format!("{HEAD}bootstrap.servers = \"k:1, [::1]:2\"\n{lines}\n");
        let loaded = from_text(&text, "main.toml", &Context::default());
        let kafka = loaded
            .unwrap_or_else(|report| panic!("{report}"))
            .config
            .kafka;
        explained(Parts::file("main.toml", &text), &kafka)
    }

    fn row(rows: &[Explained], name: &str) -> (Option<String>, String) {
        let found = rows.iter().find(|row| row.name == name).unwrap();
        (found.value.clone(), found.origin.clone())
    }

    #[test]
    fn each_value_is_the_one_in_force_and_names_its_line_or_is_a_default() {
        let rows = rows(
            "queue.buffering.max.ms = \"2s\"\nbatch.size = \"1KiB\"\nacks = 1\n\
             allow_data_loss = true",
        );
        let text = |value: &str| Some(value.to_owned());
        assert_eq!(
            row(&rows, "linger.ms"),
            (text("2000"), "main.toml:11".into())
        );
        assert_eq!(
            row(&rows, "batch.size"),
            (text("1024"), "main.toml:12".into())
        );
        assert_eq!(row(&rows, "bootstrap.servers").0, text("k:1,[::1]:2"));
        // Follows from acks, not from its own default.
        assert_eq!(
            row(&rows, "enable.idempotence"),
            (text("false"), DEFAULT.into())
        );
        assert_eq!(
            row(&rows, "security.protocol"),
            (text("SSL"), DEFAULT.into())
        );
        assert_eq!(row(&rows, "delivery.timeout.ms"), (None, DEFAULT.into()));
        let linger = rows.iter().find(|row| row.name == "linger.ms").unwrap();
        assert_eq!(linger.spelled.as_deref(), Some("queue.buffering.max.ms"));
    }

    #[test]
    fn a_default_in_force_is_the_one_that_the_reference_shows() {
        for found in rows("") {
            let key = keys::kafka_keys()
                .find(|key| key.name == found.name)
                .unwrap();
            let shown = key.plain_default().trim_matches('"');
            if let Ok(number) = shown.parse::<i64>() {
                assert_eq!(found.value, Some(number.to_string()), "{}", found.name);
            }
        }
    }

    #[test]
    fn a_default_in_words_carries_no_mark_and_what_has_to_be_set_has_none() {
        let rows = rows("");
        for found in &rows {
            let value = found.value.as_deref().unwrap_or_default();
            let is_marked = value.contains(['`', '"']) || value.contains("](");
            assert!(!is_marked, "{found:?}");
        }
        let profile = row(&rows, "sasl.aws.profile").0;
        assert_eq!(profile.as_deref(), Some("AWS_PROFILE, else default"));
        for unset in [
            "sasl.aws.access.key.id",
            "sasl.oauthbearer.client.credentials.client.id",
            "sasl.username",
            "transactional.id",
        ] {
            assert_eq!(row(&rows, unset), (None, DEFAULT.into()), "{unset}");
        }
    }

    #[test]
    fn no_secret_is_explained() {
        let rows =
            rows("sasl.mechanism = \"PLAIN\"\nsasl.username = \"u\"\nsasl.password = \"canary\"");
        assert_eq!(row(&rows, "sasl.password").0.as_deref(), Some(MASK));
        assert!(!format!("{rows:?}").contains("canary"));
    }
}
