//! `[[route]]` and `[routing]`: which events go where, and as what.
//!
//! The languages of triggers and templates are `crate::route`'s; here their mistakes get a
//! place in the file. Payloads are in `payload`, lists of headers in `pairs`, presets in
//! `preset`, tests in `test`.

use std::ops::Range;
use std::time::Duration;

use toml::Spanned;
use toml::de::DeValue;

use crate::config::report::Sink;
use crate::config::section::{Entry, Section};
use crate::config::{Compression, Partitioner, RouteConfig, RoutingConfig};
use crate::route::spec::{
    HeaderSpec, KeySpec, Matching, NoMatch, PartitionSpec, RouteSpec, Spread,
};
use crate::route::template::{Pick, Template};
use crate::route::timestamp::{TimeUnit, TimestampSpec};
use crate::route::topic::{TopicSpec, topic_fault};
use crate::route::trigger::Trigger;

mod pairs;
mod payload;
mod preset;
mod test;

use preset::Preset;

/// Most routes; Segment allows 50 mappings for one destination.
const ROUTES_MAX: usize = 64;

/// Most entries of a list within a route.
const LIST_MAX: usize = 64;

/// Smallest and largest `batch_bytes`.
const BATCH_BYTES: std::ops::RangeInclusive<u32> = 5_000..=64 << 20;

/// Largest `batch_events`.
const BATCH_EVENTS_MAX: u64 = 1_000_000;

/// Shortest and longest `topic_idle`.
const TOPIC_IDLE: std::ops::RangeInclusive<Duration> =
    Duration::from_secs(1)..=Duration::from_secs(365 * 24 * 60 * 60);

/// Levels of codecs that are only named.
const GZIP_LEVEL: u32 = 6;
const ZSTD_LEVEL: i32 = 3;

/// Reads all of them; `partitioner` is what `[kafka]` says about partitions.
pub(super) fn read_all(
    entry: Option<&Entry<'_>>,
    partitioner: Partitioner,
    sink: &mut Sink,
) -> Vec<RouteConfig> {
    let entries = super::tables("[[route]]", entry, ROUTES_MAX, sink);
    let routes: Vec<RouteConfig> = entries
        .iter()
        .filter_map(|entry| read(entry, partitioner, sink))
        .collect();
    for (index, (route, entry)) in routes.iter().zip(&entries).enumerate() {
        let earlier = routes.iter().take(index);
        if earlier.into_iter().any(|r| r.spec.name == route.spec.name) && routes.len() > 1 {
            let message = format!("[[route]] name: {:?} is there twice", route.spec.name);
            let help = Some("give each route a name of its own".to_owned());
            sink.error(entry.key.clone(), message, help);
        }
    }
    routes
}

/// Reads `[routing]`.
pub(super) fn read_routing(entry: Option<&Entry<'_>>, sink: &mut Sink) -> RoutingConfig {
    let mut routing = RoutingConfig::default();
    let Some(mut section) = entry.and_then(|entry| super::table("[routing]", entry, sink)) else {
        return routing;
    };
    let matchings = [("first", Matching::First), ("all", Matching::All)];
    routing.matching = section.choice("match", routing.matching, &matchings);
    let choices = [("dead-letter", 0), ("drop", 1), ("topic", 2)];
    let no_match = section.choice("no_match", 0, &choices);
    let topic = section.text("default_topic");
    match (no_match, topic) {
        (2, Some(topic)) => match topic_fault(topic.get_ref()) {
            Some(what) => section.fault("default_topic", topic.span(), what, None),
            None => routing.no_match = NoMatch::Topic(topic.into_inner().into()),
        },
        (2, None) => section.absent(
            "default_topic",
            "name the topic, or use no_match = \"drop\"",
        ),
        (_, Some(topic)) => {
            let help = Some("add no_match = \"topic\"".to_owned());
            section.fault("default_topic", topic.span(), "has no effect", help);
        }
        (1, None) => routing.no_match = NoMatch::Drop,
        _ => {}
    }
    routing.topic_idle = section.duration("topic_idle", routing.topic_idle, TOPIC_IDLE);
    section.finish();
    routing
}

fn read(entry: &Entry<'_>, partitioner: Partitioner, sink: &mut Sink) -> Option<RouteConfig> {
    let mut section = super::table("[[route]]", entry, sink)?;
    let preset = preset::read(&mut section);
    let name = section.text("name").map(Spanned::into_inner);
    let allowed = texts(&mut section, "allowed_topics").unwrap_or_default();
    let topic = read_topic(&mut section, &texts_of(&allowed));
    let trigger = read_trigger(&mut section, "trigger", preset.trigger);
    let tombstone = read_trigger(&mut section, "tombstone", None);
    let integrations = match section.text("integrations").map(Spanned::into_inner) {
        None => preset.integrations.map(str::to_owned),
        Some(name) => Some(name).filter(|name| !name.is_empty()),
    };
    let key = read_key(&mut section, &preset);
    let partition = read_partition(&mut section);
    let default_partition = read_default_partition(&mut section);
    let spreads = [
        ("sticky", Spread::Sticky),
        ("round-robin", Spread::RoundRobin),
    ];
    let spread = partitioner.spread.unwrap_or(preset.spread);
    let spread = section.choice("spread", spread, &spreads);
    let partition_by_key = section.flag("partition_by_key", partitioner.by_key);
    let headers = read_headers(&mut section);
    let timestamp = read_timestamp(&mut section);
    let payload = payload::read(&mut section, &preset);
    let enabled = section.flag("enabled", true);
    let id_header = section.flag("id_header", true);
    let batch_bytes = section.bytes("batch_bytes", &[], 0, BATCH_BYTES);
    let batch_events = section.number("batch_events", 0, 1..=BATCH_EVENTS_MAX);
    let compression = read_compression(&mut section);
    let tests = test::read_all(&mut section);
    section.finish();
    let topic = topic?;
    let name = name.filter(|name| !name.is_empty());
    let name = name.unwrap_or_else(|| topic.source().to_owned());
    Some(RouteConfig {
        spec: RouteSpec {
            name: name.into(),
            enabled,
            trigger,
            integrations,
            topic,
            key,
            partition,
            default_partition,
            spread,
            partition_by_key,
            headers,
            id_header,
            payload,
            timestamp,
            tombstone,
        },
        batch_bytes: Some(batch_bytes).filter(|b| *b > 0).or(preset.batch_bytes),
        batch_events: u32::try_from(batch_events).ok().filter(|e| *e > 0),
        compression,
        tests,
    })
}

fn read_topic(section: &mut Section<'_, '_>, allowed: &[String]) -> Option<TopicSpec> {
    let Some(topic) = section.text("topic") else {
        section.absent("topic", "set it, e.g. topic = \"events\"");
        return None;
    };
    match TopicSpec::new(topic.get_ref(), allowed) {
        Ok(spec) => Some(spec),
        Err(error) => {
            section.fault("topic", topic.span(), &error.to_string(), None);
            None
        }
    }
}

fn read_trigger(
    section: &mut Section<'_, '_>,
    key: &'static str,
    default: Option<&str>,
) -> Option<Trigger> {
    let given = section.text(key);
    let span = given.as_ref().map_or(0..0, Spanned::span);
    let source = given.map(Spanned::into_inner);
    let source = source.or_else(|| default.map(str::to_owned))?;
    match Trigger::parse(&source) {
        Ok(trigger) => {
            if let Some(word) = trigger.unquoted_word() {
                let what = format!("compares with the field {word}, not with a text");
                let help = format!("write \"{word}\" for the text, or $.{word} for the field");
                section.caution(key, span, &what, Some(help));
            }
            Some(trigger)
        }
        Err(error) => {
            section.fault(key, span, &error.to_string(), None);
            None
        }
    }
}

/// A text with its place.
type Placed = Spanned<String>;

/// A string, or a list of strings; `None` when the key is not there.
fn texts(section: &mut Section<'_, '_>, key: &'static str) -> Option<Vec<Placed>> {
    let entry = section.take(key)?;
    texts_in(section, key, &entry)
}

fn texts_in(section: &mut Section<'_, '_>, key: &str, entry: &Entry<'_>) -> Option<Vec<Placed>> {
    match items(section, key, entry) {
        None => section.text_of(key, entry).map(|text| vec![text]),
        Some(items) => items.map(|item| section.text_of(key, &item)).collect(),
    }
}

/// The parts of a list, `None` when it is none; those beyond the limit are reported and left out.
fn items<'a>(
    section: &mut Section<'_, '_>,
    key: &str,
    entry: &Entry<'a>,
) -> Option<impl Iterator<Item = Entry<'a>> + use<'a>> {
    let DeValue::Array(array) = entry.value.get_ref() else {
        return None;
    };
    if array.len() > LIST_MAX {
        let what = format!("has more than {LIST_MAX} entries");
        section.fault(key, entry.value.span(), &what, None);
    }
    let items = array.iter().take(LIST_MAX);
    Some(items.map(|value| Entry {
        key: value.span(),
        value,
    }))
}

fn texts_of(placed: &[Placed]) -> Vec<String> {
    placed.iter().map(|text| text.get_ref().clone()).collect()
}

/// Fields to choose from; `None` when there are none, or one is broken and reported.
fn pick(section: &mut Section<'_, '_>, key: &str, fields: &[Placed]) -> Option<Pick> {
    let first = fields.first()?;
    let last = fields.last().unwrap_or(first);
    let span: Range<usize> = first.span().start..last.span().end;
    match Pick::fields(fields.iter().map(|field| field.get_ref().as_str())) {
        Ok(pick) => {
            let has_sign = |field: &&Placed| field.get_ref().contains(['{', '|']);
            if let Some(field) = fields.iter().find(has_sign) {
                let what = "names a field with a brace or a bar in its name";
                let help = "a path stands without braces; for alternatives write a list, \
                            e.g. [\"userId\", \"anonymousId\"]";
                section.caution(key, field.span(), what, Some(help.to_owned()));
            }
            Some(pick)
        }
        Err(error) => {
            let what = format!("is not a path to a JSON field: {error}");
            let help = Some("write field names with dots, e.g. \"user.id\"".to_owned());
            section.fault(key, span, &what, help);
            None
        }
    }
}

fn read_key(section: &mut Section<'_, '_>, preset: &Preset) -> Option<KeySpec> {
    let Some(fields) = texts(section, "key") else {
        let fields = preset.key.iter().copied();
        let default = Pick::fields(fields).ok().filter(|_| !preset.key.is_empty());
        return default.map(KeySpec::Fields);
    };
    match fields.as_slice() {
        [text] if text.get_ref().contains('{') => {
            template(section, "key", text).map(KeySpec::Template)
        }
        fields => pick(section, "key", fields).map(KeySpec::Fields),
    }
}

/// A template; `None` when it is broken and reported.
fn template(section: &mut Section<'_, '_>, key: &str, text: &Placed) -> Option<Template> {
    match Template::parse(text.get_ref()) {
        Ok(template) => Some(template),
        Err(error) => {
            section.fault(key, text.span(), &error.to_string(), None);
            None
        }
    }
}

fn read_partition(section: &mut Section<'_, '_>) -> Option<PartitionSpec> {
    const KEY: &str = "partition";
    let entry = section.take(KEY)?;
    if let DeValue::Integer(_) = entry.value.get_ref() {
        return partition_number(section, KEY, &entry).map(PartitionSpec::Fixed);
    }
    let fields = texts_in(section, KEY, &entry)?;
    pick(section, KEY, &fields).map(PartitionSpec::Fields)
}

fn read_default_partition(section: &mut Section<'_, '_>) -> Option<i32> {
    const KEY: &str = "default_partition";
    let entry = section.take(KEY)?;
    partition_number(section, KEY, &entry)
}

fn partition_number(section: &mut Section<'_, '_>, key: &str, entry: &Entry<'_>) -> Option<i32> {
    let number = crate::config::quantity::whole_number(entry.value.get_ref());
    let number = number.and_then(|number| i32::try_from(number).ok());
    if number.is_none() {
        section.wrong_type(key, entry, "a partition's number, from 0");
    }
    number
}

/// Headers in their order; a name alone has the value null.
fn read_headers(section: &mut Section<'_, '_>) -> Vec<HeaderSpec> {
    const KEY: &str = "headers";
    let mut headers = Vec::new();
    for (name, value) in pairs::read(section, KEY).unwrap_or_default() {
        let value = match value {
            None => None,
            Some(text) => match template(section, KEY, &text) {
                None => continue,
                value => value,
            },
        };
        headers.push(HeaderSpec { name, value });
    }
    headers
}

fn read_timestamp(section: &mut Section<'_, '_>) -> Option<TimestampSpec> {
    const UNIT: &str = "timestamp_unit";
    let fields = texts(section, "timestamp");
    let unit = section.text(UNIT);
    let Some(fields) = fields else {
        if let Some(unit) = unit {
            let help = Some("add timestamp = \"FIELD\"".to_owned());
            section.fault(UNIT, unit.span(), "has no effect", help);
        }
        return None;
    };
    let units = [("ms", TimeUnit::Millis), ("s", TimeUnit::Seconds)];
    let unit = unit.and_then(|unit| section.choice_of(UNIT, &unit, &units));
    Some(TimestampSpec {
        fields: pick(section, "timestamp", &fields)?,
        unit: unit.unwrap_or_default(),
    })
}

fn read_compression(section: &mut Section<'_, '_>) -> Option<Compression> {
    let choices = [
        ("none", Compression::None),
        ("gzip", Compression::Gzip(GZIP_LEVEL)),
        ("snappy", Compression::Snappy),
        ("lz4", Compression::Lz4),
        ("zstd", Compression::Zstd(ZSTD_LEVEL)),
    ];
    let text = section.text("compression")?;
    section.choice_of("compression", &text, &choices)
}
