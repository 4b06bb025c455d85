//! Names for what the products do by default: conditions of triggers, fields of templates.
//!
//! The configuration expands whole presets; here is only what the languages need.

/// Conditions that a trigger may name with an `@`: Segment's spec calls, and the default
/// trigger of its Kafka destination.
pub(super) const CONDITIONS: [(&str, &str); 7] = [
    ("alias", "type = \"alias\""),
    ("group", "type = \"group\""),
    ("identify", "type = \"identify\""),
    ("page", "type = \"page\""),
    ("screen", "type = \"screen\""),
    (
        "segment",
        "type in [\"track\", \"identify\", \"page\", \"screen\", \"group\"]",
    ),
    ("track", "type = \"track\""),
];

/// The trigger that a named condition stands for.
pub(super) fn condition(name: &str) -> Option<&'static str> {
    let found = CONDITIONS.iter().find(|(known, _)| *known == name);
    found.map(|&(_, trigger)| trigger)
}

/// Names in templates that stand for something else: the machine's name, and Airbyte's
/// stream and namespace, which its messages carry inside `record`. An event's own field
/// `host` is written `{$.host}`.
pub(super) fn template_name(name: &str) -> Option<&'static str> {
    match name {
        "host" => Some("@host"),
        "stream" => Some("$.stream|record.stream"),
        "namespace" => Some("$.namespace|record.namespace"),
        _ => None,
    }
}
