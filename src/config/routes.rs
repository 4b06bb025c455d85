//! `[[route]]` and `[routing]` as checked values, and how they are written out in full.
//!
//! What a route does to an event is in [`crate::route`]; here is what the configuration adds.

use std::time::Duration;

use crate::route::payload::{Mapping, PayloadSpec};
use crate::route::spec::{KeySpec, Matching, NoMatch, PartitionSpec, RouteSpec, Spread};
use crate::route::timestamp::TimeUnit;

use super::{Compression, format_duration, format_size};

/// `[routing]`: what concerns all routes together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoutingConfig {
    /// `match`. Default first.
    pub matching: Matching,
    /// `no_match`. Default dead-letter.
    pub no_match: NoMatch,
    /// `topic_idle`: a topic made from events is forgotten after this long without one.
    /// Default an hour.
    pub topic_idle: Duration,
}

impl Default for RoutingConfig {
    fn default() -> Self {
        Self {
            matching: Matching::default(),
            no_match: NoMatch::default(),
            topic_idle: Duration::from_secs(60 * 60),
        }
    }
}

/// `partitioner.class` and `partitioner.ignore.keys`: defaults of all routes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Partitioner {
    /// Default of `spread`; `None` = that of the preset.
    pub spread: Option<Spread>,
    /// Default of `partition_by_key`.
    pub by_key: bool,
}

impl Default for Partitioner {
    /// Keys decide, as in Kafka.
    fn default() -> Self {
        Self {
            spread: None,
            by_key: true,
        }
    }
}

/// One `[[route]]`.
#[derive(Debug, Clone)]
pub struct RouteConfig {
    /// What it does to an event.
    pub spec: RouteSpec,
    /// A batch closes at this many uncompressed bytes; `None` = `batch.size`.
    pub batch_bytes: Option<u32>,
    /// A batch closes at this many events; `None` = `batch.events`.
    pub batch_events: Option<u32>,
    /// Codec of its batches; `None` = `compression.type`.
    pub compression: Option<Compression>,
    /// `[[route.test]]`
    pub tests: Vec<RouteTest>,
}

/// One `[[route.test]]`: an event, and what is to become of it. What is `None` may be
/// anything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteTest {
    /// The event.
    pub event: String,
    /// Whether the route takes it and sends it. Default true.
    pub matches: bool,
    /// Its topic.
    pub topic: Option<String>,
    /// The partition that it asks for outright.
    pub partition: Option<i32>,
    /// Its key.
    pub key: Option<String>,
    /// All its headers in order, without the stable id; a value of `None` is null.
    pub headers: Option<Vec<(String, Option<String>)>>,
    /// Its timestamp as RFC 3339 in UTC with milliseconds, or `sent`.
    pub timestamp: Option<String>,
    /// Its value.
    pub payload: Option<String>,
}

impl RouteConfig {
    /// A route with no limits of its own.
    pub fn new(spec: RouteSpec) -> Self {
        Self {
            spec,
            batch_bytes: None,
            batch_events: None,
            compression: None,
            tests: Vec::new(),
        }
    }

    /// The route as TOML with every setting written out, presets included. Tests are left out.
    pub fn show(&self) -> String {
        let spec = &self.spec;
        let mut out = format!("[[route]]\nname = {}\n", quote(&spec.name));
        let mut line = |key: &str, value: String| out += &format!("{key} = {value}\n");
        if !spec.enabled {
            line("enabled", "false".to_owned());
        }
        if let Some(trigger) = &spec.trigger {
            line("trigger", quote(trigger.source()));
        }
        if let Some(name) = &spec.integrations {
            line("integrations", quote(name));
        }
        line("topic", quote(spec.topic.source()));
        if !spec.topic.allowed().is_empty() {
            line("allowed_topics", list(spec.topic.allowed()));
        }
        match &spec.key {
            Some(KeySpec::Fields(pick)) => line("key", list(&pick.shown())),
            Some(KeySpec::Template(template)) => line("key", quote(template.source())),
            None => {}
        }
        match &spec.partition {
            Some(PartitionSpec::Fixed(partition)) => line("partition", partition.to_string()),
            Some(PartitionSpec::Fields(pick)) => line("partition", list(&pick.shown())),
            None => {}
        }
        if let Some(partition) = spec.default_partition {
            line("default_partition", partition.to_string());
        }
        line(
            "spread",
            quote(match spec.spread {
                Spread::Sticky => "sticky",
                Spread::RoundRobin => "round-robin",
            }),
        );
        if !spec.partition_by_key {
            line("partition_by_key", "false".to_owned());
        }
        if !spec.headers.is_empty() {
            let headers = spec.headers.iter().map(|header| {
                let value = header.value.as_ref().map(|v| quote(v.source()));
                let value = value.map_or(String::new(), |value| format!(", {value}"));
                format!("[{}{value}]", quote(&header.name))
            });
            line("headers", format!("[{}]", join(headers)));
        }
        if let Some(timestamp) = &spec.timestamp {
            line("timestamp", list(&timestamp.fields.shown()));
            line(
                "timestamp_unit",
                quote(match timestamp.unit {
                    TimeUnit::Millis => "ms",
                    TimeUnit::Seconds => "s",
                }),
            );
        }
        line("id_header", spec.id_header.to_string());
        line("payload", show_payload(&spec.payload));
        if let Some(tombstone) = &spec.tombstone {
            line("tombstone", quote(tombstone.source()));
        }
        if let Some(bytes) = self.batch_bytes {
            line("batch_bytes", quote(&format_size(bytes.into())));
        }
        if let Some(events) = self.batch_events {
            line("batch_events", events.to_string());
        }
        if let Some(compression) = self.compression {
            line("compression", quote(codec_name(compression)));
        }
        out
    }
}

/// Two routes are the same when they do the same, which is when they are written the same.
impl PartialEq for RouteConfig {
    fn eq(&self, other: &Self) -> bool {
        self.show() == other.show() && self.tests == other.tests
    }
}

impl RoutingConfig {
    /// The table as TOML with every setting written out.
    pub fn show(&self) -> String {
        let matching = match self.matching {
            Matching::First => "first",
            Matching::All => "all",
        };
        let mut out = format!("[routing]\nmatch = {}\n", quote(matching));
        match &self.no_match {
            NoMatch::DeadLetter => out += "no_match = \"dead-letter\"\n",
            NoMatch::Drop => out += "no_match = \"drop\"\n",
            NoMatch::Topic(topic) => {
                out += &format!("no_match = \"topic\"\ndefault_topic = {}\n", quote(topic));
            }
        }
        let idle = format_duration(self.topic_idle);
        out += &format!("topic_idle = {}\n", quote(&idle));
        out
    }
}

fn codec_name(compression: Compression) -> &'static str {
    match compression {
        Compression::None => "none",
        Compression::Gzip(_) => "gzip",
        Compression::Snappy => "snappy",
        Compression::Lz4 => "lz4",
        Compression::Zstd(_) => "zstd",
    }
}

fn show_payload(payload: &PayloadSpec) -> String {
    match payload {
        PayloadSpec::Event => quote("event"),
        PayloadSpec::Tombstone => quote("tombstone"),
        PayloadSpec::Mapping(mapping) => show_mapping(mapping),
    }
}

fn show_mapping(mapping: &Mapping) -> String {
    match mapping {
        Mapping::Text(template) => quote(template.source()),
        Mapping::Fixed(json) => json.clone(),
        Mapping::List(items) => format!("[{}]", join(items.iter().map(show_mapping))),
        Mapping::Object(members) => {
            let members = members
                .iter()
                .map(|(name, member)| format!("{} = {}", quote(name), show_mapping(member)));
            format!("{{ {} }}", join(members))
        }
    }
}

/// A TOML string.
fn quote(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

fn list(items: &[String]) -> String {
    format!("[{}]", join(items.iter().map(|item| quote(item))))
}

fn join(items: impl Iterator<Item = String>) -> String {
    items.collect::<Vec<_>>().join(", ")
}
