//! Properties that a Java file may well hold and that have nothing to do with what Spoolway
//! delivers: they are named in a warning and not used.
//!
//! Only harmless ones: a property whose absence would change what reaches Kafka is refused
//! like any other, in `parse`.

/// Names, each with the reason. A name that ends in a dot stands for all that begin so.
const FOREIGN: &[(&str, &str)] = &[
    ("auto.commit.interval.ms", CONSUMER),
    ("auto.include.jmx.reporter", METRICS),
    ("auto.offset.reset", CONSUMER),
    ("basic.auth.", REGISTRY),
    ("check.crcs", CONSUMER),
    ("client.rack", CONSUMER),
    ("confluent.", "it is for Confluent's own clients"),
    ("default.api.timeout.ms", CONSUMER),
    ("enable.auto.commit", CONSUMER),
    ("enable.metrics.push", METRICS),
    ("exclude.internal.topics", CONSUMER),
    ("fetch.", CONSUMER),
    ("group.", CONSUMER),
    ("heartbeat.interval.ms", CONSUMER),
    ("isolation.level", CONSUMER),
    ("key.deserializer", CONSUMER),
    (
        "max.block.ms",
        "writers wait, or are refused, as [spool] when_full says",
    ),
    ("max.partition.fetch.bytes", CONSUMER),
    ("max.poll.", CONSUMER),
    ("metadata.max.idle.ms", "a topic in a route stays known"),
    (
        "metadata.recovery.",
        "the bootstrap servers are asked again anyway",
    ),
    ("metric.reporters", METRICS),
    ("metrics.", METRICS),
    ("partition.assignment.strategy", CONSUMER),
    ("schema.registry.", REGISTRY),
    (
        "security.providers",
        "it names Java code; TLS is rustls here",
    ),
    ("session.timeout.ms", CONSUMER),
    (
        "ssl.keymanager.algorithm",
        "it names Java code; TLS is rustls here",
    ),
    ("ssl.provider", "it names Java code; TLS is rustls here"),
    (
        "ssl.secure.random.implementation",
        "it names Java code; TLS is rustls here",
    ),
    (
        "ssl.trustmanager.algorithm",
        "it names Java code; TLS is rustls here",
    ),
    ("value.deserializer", CONSUMER),
];

const CONSUMER: &str = "it is for consumers";
const METRICS: &str = "metrics are in spoolway status";
const REGISTRY: &str = "events are written as they are, without a schema registry";

/// The reason why a property of a file is not used, when it does no harm.
pub(super) fn foreign(name: &str) -> Option<&'static str> {
    let covers = |known: &str| match known.strip_suffix('.') {
        Some(_) => name.starts_with(known),
        None => name == known,
    };
    let mut rows = FOREIGN.iter();
    rows.find(|(known, _)| covers(known))
        .map(|(_, reason)| *reason)
}
