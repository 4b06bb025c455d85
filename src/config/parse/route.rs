//! `[[route]]`: which topic an event goes to, and with which key.

use toml::Spanned;

use crate::config::RouteConfig;
use crate::config::report::Sink;
use crate::config::section::{Entry, Section};

/// Longest topic name (Kafka, `org.apache.kafka.common.internals.Topic`).
const TOPIC_BYTES_MAX: usize = 249;

/// Longest dotted path of a key field, in bytes.
const KEY_FIELD_BYTES_MAX: usize = 1024;

/// Routes have no conditions yet, so a second one would never get an event.
const ROUTES_MAX: usize = 1;

/// Reads all of them.
pub(super) fn read_all(entry: Option<&Entry<'_>>, sink: &mut Sink) -> Vec<RouteConfig> {
    let entries = super::tables("[[route]]", entry, ROUTES_MAX, sink);
    entries
        .iter()
        .filter_map(|entry| read(entry, sink))
        .collect()
}

fn read(entry: &Entry<'_>, sink: &mut Sink) -> Option<RouteConfig> {
    let mut section = super::table("[[route]]", entry, sink)?;
    let topic = read_topic(&mut section);
    let mut route = RouteConfig::new(topic.as_deref().unwrap_or_default());
    if let Some(name) = section
        .text("name")
        .map(Spanned::into_inner)
        .filter(|n| !n.is_empty())
    {
        route.name = name.into();
    }
    route.key_field = read_key(&mut section);
    route.id_header = section.flag("id_header", route.id_header);
    section.finish();
    topic.map(|_| route)
}

fn read_topic(section: &mut Section<'_, '_>) -> Option<String> {
    let Some(topic) = section.text("topic") else {
        section.absent("topic", "set it, e.g. topic = \"events\"");
        return None;
    };
    if let Some(what) = topic_fault(topic.get_ref()) {
        let what = format!("{:?} {what}", topic.get_ref());
        let help = format!("use 1 to {TOPIC_BYTES_MAX} of a-z, A-Z, 0-9, dot, _ and -");
        section.fault("topic", topic.span(), &what, Some(help));
        return None;
    }
    Some(topic.into_inner())
}

/// What breaks Kafka's rules for topic names, if anything.
pub fn topic_fault(topic: &str) -> Option<&'static str> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if topic.is_empty() {
        return Some("is empty");
    }
    if topic == "." || topic == ".." {
        return Some("is not allowed as a topic");
    }
    if topic.len() > TOPIC_BYTES_MAX {
        return Some("is too long for a topic");
    }
    (!topic.chars().all(allowed)).then_some("has characters that a topic cannot have")
}

fn read_key(section: &mut Section<'_, '_>) -> Option<String> {
    let key = section.text("key")?;
    let path = key.get_ref();
    if path.len() > KEY_FIELD_BYTES_MAX || path.split('.').any(str::is_empty) {
        let help = Some("write field names with dots, e.g. key = \"user.id\"".to_owned());
        section.fault("key", key.span(), "is not a path to a JSON field", help);
        return None;
    }
    Some(key.into_inner())
}
