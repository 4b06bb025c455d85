//! The keys of `[[route]]` and `[routing]`, in words.

use super::{Key, Kind};

/// `[[route]]`
pub(super) const ROUTE: [Key; 22] = [
    Key {
        name: "topic",
        kind: Kind::Text,
        also: &[],
        default: "required",
        range: "a topic, or a template with a fixed beginning",
        effect: "topic of the events; created only with `topic.auto.create`. Holes such as \
            `{type}` are filled from the event, see [routes.md](routes.md)",
    },
    Key {
        name: "name",
        kind: Kind::Text,
        also: &[],
        default: "the topic",
        range: "",
        effect: "name in status, logs and dead letters",
    },
    Key {
        name: "preset",
        kind: Kind::Choice(&["segment", "rudderstack", "signalsmith", "airbyte"]),
        also: &[],
        default: "none",
        range: "`segment`, `rudderstack`, `signalsmith`, `airbyte`",
        effect: "defaults of a product; what the route sets wins",
    },
    Key {
        name: "enabled",
        kind: Kind::Flag,
        also: &[],
        default: "`true`",
        range: "",
        effect: "`false` switches the route off",
    },
    Key {
        name: "trigger",
        kind: Kind::Text,
        also: &[],
        default: "every event",
        range: "8 KiB",
        effect: "which events the route takes, e.g. `'type = \"track\" and properties.total \
            > 100'`",
    },
    Key {
        name: "integrations",
        kind: Kind::Text,
        also: &[],
        default: "none",
        range: "",
        effect: "honours Segment's integrations object, in which the route has this name",
    },
    Key {
        name: "allowed_topics",
        kind: Kind::List,
        also: &[],
        default: "any that begins like the template",
        range: "names or patterns",
        effect: "topics that a template may produce",
    },
    Key {
        name: "key",
        kind: Kind::List,
        also: &[],
        default: "none",
        range: "path, several paths, or template",
        effect: "record key: the first field that is there, e.g. `\"user.id\"`, or a text \
            with holes",
    },
    Key {
        name: "partition",
        kind: Kind::Any,
        also: &[],
        default: "none",
        range: "number, path or several paths",
        effect: "partition of the event; comes before all else",
    },
    Key {
        name: "default_partition",
        kind: Kind::Number,
        also: &[],
        default: "none",
        range: "0 to 2147483647",
        effect: "partition of an event that names none; comes before the key",
    },
    Key {
        name: "spread",
        kind: Kind::Choice(&["sticky", "round-robin"]),
        also: &[],
        default: "`\"sticky\"`",
        range: "`sticky`, `round-robin`",
        effect: "where events go that have neither partition nor key",
    },
    Key {
        name: "partition_by_key",
        kind: Kind::Flag,
        also: &[],
        default: "`true`",
        range: "",
        effect: "`false`: the key has no say in the partition, and `spread` decides",
    },
    Key {
        name: "headers",
        kind: Kind::Any,
        also: &[],
        default: "none",
        range: "list of `[\"name\", \"template\"]`; `[\"name\"]` is null",
        effect: "headers in this order",
    },
    Key {
        name: "timestamp",
        kind: Kind::List,
        also: &[],
        default: "the time of sending",
        range: "path, or several paths",
        effect: "record timestamp: the first field that is there, else when the event was \
            received. Read [Timestamp](routes.md#timestamp) before you set it",
    },
    Key {
        name: "timestamp_unit",
        kind: Kind::Choice(&["ms", "s"]),
        also: &[],
        default: "`\"ms\"`",
        range: "`ms`, `s`",
        effect: "what a number in the field counts, since 1970; strings may be RFC 3339",
    },
    Key {
        name: "id_header",
        kind: Kind::Flag,
        also: &[],
        default: "`true`",
        range: "",
        effect: "whether each record carries its stable id, spool id and sequence, as a \
            header",
    },
    Key {
        name: "payload",
        kind: Kind::Any,
        also: &[],
        default: "`\"event\"`",
        range: "`event`, `airbyte`, `tombstone`, or a table with templates",
        effect: "record value",
    },
    Key {
        name: "tombstone",
        kind: Kind::Text,
        also: &[],
        default: "none",
        range: "a trigger",
        effect: "events for which it holds have no value",
    },
    Key {
        name: "batch_bytes",
        kind: Kind::Quantity,
        also: &[],
        default: "`batch.size`, which is 1 MB",
        range: "5000 bytes to 64MiB",
        effect: "a batch of this route closes at this many uncompressed bytes, and before it \
            is larger than a request may be",
    },
    Key {
        name: "batch_events",
        kind: Kind::Number,
        also: &[],
        default: "`batch.events`",
        range: "1 to 1000000",
        effect: "a batch of this route closes at this many events",
    },
    Key {
        name: "compression",
        kind: Kind::Choice(&["none", "gzip", "snappy", "lz4", "zstd"]),
        also: &[],
        default: "`compression.type`",
        range: "`none`, `gzip`, `snappy`, `lz4`, `zstd`",
        effect: "codec of this route's batches",
    },
    Key {
        name: "test",
        kind: Kind::Any,
        also: &[],
        default: "none",
        range: "tables `[[route.test]]`",
        effect: "sample events with what has to become of them; `spoolway check` runs them",
    },
];

/// `[routing]`
pub(super) const ROUTING: [Key; 4] = [
    Key {
        name: "match",
        kind: Kind::Choice(&["first", "all"]),
        also: &[],
        default: "`\"first\"`",
        range: "`first`, `all`",
        effect: "which of the routes that take an event get it; with `all` it leaves the \
            spool when each of them has sent it",
    },
    Key {
        name: "no_match",
        kind: Kind::Choice(&["dead-letter", "drop", "topic"]),
        also: &[],
        default: "`\"dead-letter\"`",
        range: "`dead-letter`, `drop`, `topic`",
        effect: "what becomes of an event that no route takes; dropped events are counted",
    },
    Key {
        name: "default_topic",
        kind: Kind::Text,
        also: &[],
        default: "none",
        range: "a topic",
        effect: "where it goes with `no_match = \"topic\"`",
    },
    Key {
        name: "topic_idle",
        kind: Kind::Duration,
        also: &[],
        default: "`\"1h\"`",
        range: "1s to 365days",
        effect: "a topic made from events is forgotten after this long without one; at most \
            1,000 are known at once",
    },
];
