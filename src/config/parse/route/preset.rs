//! `preset`: what a product does by default, in one line. Whatever the route sets wins.

use crate::config::section::Section;
use crate::route::spec::Spread;

/// Defaults of a route.
#[derive(Debug, Clone, Copy)]
pub(super) struct Preset {
    pub(super) trigger: Option<&'static str>,
    pub(super) integrations: Option<&'static str>,
    pub(super) key: &'static [&'static str],
    pub(super) spread: Spread,
    pub(super) airbyte_payload: bool,
    pub(super) batch_bytes: Option<u32>,
}

const NONE: Preset = Preset {
    trigger: None,
    integrations: None,
    key: &[],
    spread: Spread::Sticky,
    airbyte_payload: false,
    batch_bytes: None,
};

/// The default trigger of Segment's Send action, its integrations object under the name
/// Kafka, no key and round robin, batches of 1 MB.
const SEGMENT: Preset = Preset {
    trigger: Some("@segment"),
    integrations: Some("Kafka"),
    spread: Spread::RoundRobin,
    batch_bytes: Some(1_000_000),
    ..NONE
};

/// The user, or else the anonymous user, is the key.
const RUDDERSTACK: Preset = Preset {
    key: &["userId", "anonymousId"],
    ..NONE
};

/// The primary key is the key; `id` unless the route says otherwise.
const SIGNALSMITH: Preset = Preset {
    key: &["id"],
    ..NONE
};

/// The envelope, with its uuid as the key.
const AIRBYTE: Preset = Preset {
    key: &["@uuid"],
    airbyte_payload: true,
    ..NONE
};

/// The preset that the route names.
pub(super) fn read(section: &mut Section<'_, '_>) -> Preset {
    let choices = [
        ("segment", SEGMENT),
        ("rudderstack", RUDDERSTACK),
        ("signalsmith", SIGNALSMITH),
        ("airbyte", AIRBYTE),
    ];
    section.choice("preset", NONE, &choices)
}
