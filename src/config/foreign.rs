//! Properties that a Java file may well hold and that have nothing to do with what Spoolway
//! delivers: they are named in a warning and not used.
//!
//! Only harmless ones: a property whose absence would change what reaches Kafka is refused
//! like any other, in `parse`.

/// Names, each with the reason.
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
    ("metadata.max.idle.ms", TOPICS_IDLE),
    (
        "metadata.recovery.",
        "the bootstrap servers are asked again anyway",
    ),
    ("metric.reporters", METRICS),
    ("metrics.", METRICS),
    ("partition.assignment.strategy", CONSUMER),
    ("schema.registry.", REGISTRY),
    ("security.providers", JAVA),
    ("session.timeout.ms", CONSUMER),
    ("ssl.keymanager.algorithm", JAVA),
    ("ssl.provider", JAVA),
    ("ssl.secure.random.implementation", JAVA),
    ("ssl.trustmanager.algorithm", JAVA),
    ("value.deserializer", CONSUMER),
];

/// Of `metadata.max.idle.ms`.
pub(super) const TOPICS_IDLE: &str = "a topic that a route names stays known, and one made from \
                                      events as long as [routing] topic_idle says";

const CONSUMER: &str = "it is for consumers";
const JAVA: &str = "it names Java code; TLS is rustls here";
const METRICS: &str = "metrics are in spoolway status";
const REGISTRY: &str = "events are written as they are, without a schema registry";

/// The reason why a property of a file is not used, when it does no harm.
pub(super) fn foreign(name: &str) -> Option<&'static str> {
    reason_in(FOREIGN, name)
}

/// The reason that a table of names gives for one. A name in it that ends in a dot stands for
/// all that begin so.
pub(super) fn reason_in(table: &[(&str, &'static str)], name: &str) -> Option<&'static str> {
    let covers = |known: &str| match known.ends_with('.') {
        true => name.starts_with(known),
        false => name == known,
    };
    let found = table.iter().find(|(known, _)| covers(known));
    found.map(|(_, reason)| *reason)
}
