//! Kafka's other producer properties: real names that Spoolway refuses, each with its
//! reason, and the values that are accepted because they say what Spoolway does anyway.
//!
//! Names: Apache Kafka 4.x, "Producer Configs", and librdkafka's CONFIGURATION.md.

use crate::config::foreign::{TOPICS_IDLE, reason_in};

/// A property that may be written as long as it asks for what happens anyway.
pub(super) struct Fixed {
    pub(super) name: &'static str,
    /// Accepted values, lower case.
    pub(super) accepted: &'static [&'static str],
    /// Why no other value is.
    pub(super) reason: &'static str,
}

/// Those that give the bytes of an event as they are.
const SERIALIZERS: &[&str] = &[
    "org.apache.kafka.common.serialization.bytearrayserializer",
    "org.apache.kafka.common.serialization.bytebufferserializer",
    "org.apache.kafka.common.serialization.stringserializer",
];

pub(super) const FIXED: &[Fixed] = &[
    Fixed {
        name: "allow.auto.create.topics",
        accepted: &["false"],
        reason: "it leaves partitions and replicas to the broker; use topic.auto.create = true",
    },
    Fixed {
        name: "sasl.login.callback.handler.class",
        accepted: &[
            "org.apache.kafka.common.security.oauthbearer.oauthbearerlogincallbackhandler",
            "org.apache.kafka.common.security.oauthbearer.secured.oauthbearerlogincallbackhandler",
        ],
        reason: "it names Java code; Kafka's own for client credentials is the only one known",
    },
    Fixed {
        name: "sasl.client.callback.handler.class",
        accepted: &["software.amazon.msk.auth.iam.iamclientcallbackhandler"],
        reason: "it names Java code; that of AWS IAM for Amazon MSK is the only one known",
    },
    Fixed {
        name: "ssl.truststore.type",
        accepted: &["pem"],
        reason: "only PEM files are read; convert it with keytool and openssl",
    },
    Fixed {
        name: "ssl.keystore.type",
        accepted: &["pem"],
        reason: "only PEM files are read; convert it with keytool and openssl",
    },
    Fixed {
        name: "enable.metrics.push",
        accepted: &["false"],
        reason: "client metrics are not pushed to brokers; use spoolway status",
    },
    Fixed {
        name: "key.serializer",
        accepted: SERIALIZERS,
        reason: "keys are the bytes themselves; remove the line",
    },
    Fixed {
        name: "value.serializer",
        accepted: SERIALIZERS,
        reason: "values are the bytes themselves; remove the line",
    },
];

/// Properties that are refused whatever their value, with the reason. A name that ends in
/// a dot stands for every name that begins with it.
const REFUSED: &[(&str, &str)] = &[
    (
        "auto.include.jmx.reporter",
        "it names Java code; use spoolway status",
    ),
    ("broker.address.family", "both address families are tried"),
    (
        "compression.lz4.level",
        "lz4 has one level here; use zstd for smaller batches",
    ),
    (
        "config.providers",
        "use { file | env | credential } for sasl.password",
    ),
    ("debug", "use [log] filter, e.g. \"spoolway::kafka=debug\""),
    ("interceptor.classes", "it names Java code"),
    (
        "max.block.ms",
        "writers wait, or are refused, as [spool] when_full says",
    ),
    ("metadata.max.idle.ms", TOPICS_IDLE),
    (
        "metadata.recovery.rebootstrap.trigger.ms",
        "the bootstrap servers are asked again anyway",
    ),
    (
        "metadata.recovery.strategy",
        "the bootstrap servers are asked again anyway",
    ),
    (
        "metric.reporters",
        "it names Java code; use spoolway status",
    ),
    ("metrics.", "use spoolway status"),
    (
        "partitioner.",
        "the partition follows from the key, or fills batches when there is none",
    ),
    ("queue.buffering.max.kbytes", "use buffer.memory"),
    (
        "queue.buffering.max.messages",
        "use buffer.memory; what waits is on disk",
    ),
    (
        "sasl.kerberos.",
        "Kerberos is not supported; use SCRAM-SHA-512 over SASL_SSL",
    ),
    (
        "sasl.login.",
        "a login is made at each connection, with what is configured then",
    ),
    (
        "sasl.oauthbearer.",
        "a token is read, or fetched with client credentials, and its claims are the broker's to \
         check",
    ),
    ("security.providers", "it names Java code"),
    ("socket.keepalive.enable", "TCP keepalive is always on"),
    ("socket.nagle.disable", "TCP_NODELAY is always on"),
    (
        "ssl.ca.certificate.stores",
        "name a PEM file in ssl.ca.location",
    ),
    (
        "ssl.cipher.suites",
        "TLS 1.3 and the strong suites of TLS 1.2 are fixed",
    ),
    ("ssl.curves.list", "the key exchange groups are fixed"),
    ("ssl.engine.factory.class", "it names Java code"),
    ("ssl.keymanager.algorithm", "it names Java code"),
    ("ssl.provider", "it names Java code"),
    ("ssl.secure.random.implementation", "it names Java code"),
    ("ssl.trustmanager.algorithm", "it names Java code"),
    (
        "ssl.truststore.password",
        "only PEM files are read, and they have no password",
    ),
    (
        "sticky.partitioning.linger.ms",
        "events without a key stay with a partition for one batch; use linger.ms",
    ),
    (
        "transaction.two.phase.commit.enable",
        "a transaction here is committed by Spoolway alone",
    ),
];

/// The reason why a property is refused, when it is one of Kafka's.
pub(super) fn refusal(name: &str) -> Option<&'static str> {
    reason_in(REFUSED, name)
}
