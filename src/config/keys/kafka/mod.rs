//! The keys of `[kafka]`: official property names, and the few of ours. Those about
//! encryption and logins are in `security`.

use super::{Key, Kind};

mod security;

use security::SECURITY;

/// `[kafka]`
pub(super) const KAFKA: &[Key] = &joined();

const COUNT: usize = CLIENT.len() + SECURITY.len() + PRODUCER.len();

#[expect(
    clippy::indexing_slicing,
    reason = "in a constant a wrong index does not compile"
)]
const fn joined() -> [Key; COUNT] {
    let parts = [CLIENT, SECURITY, PRODUCER];
    let mut keys = [CLIENT[0]; COUNT];
    let (mut part, mut at, mut next) = (0, 0, 0);
    while next < COUNT {
        if at == parts[part].len() {
            (part, at) = (part + 1, 0);
        }
        keys[next] = parts[part][at];
        (at, next) = (at + 1, next + 1);
    }
    keys
}

/// Where the cluster is, and what we are called.
const CLIENT: &[Key] = &[
    Key {
        name: "bootstrap.servers",
        kind: Kind::List,
        also: &["metadata.broker.list"],
        default: "required",
        range: "up to 64 `host:port`, with commas or as an array",
        effect: "brokers asked first; `[address]:port` for IPv6",
    },
    Key {
        name: "client.dns.lookup",
        kind: Kind::Choice(&[
            "use_all_dns_ips",
            "resolve_canonical_bootstrap_servers_only",
        ]),
        also: &[],
        default: "`use_all_dns_ips`",
        range: "`use_all_dns_ips`, `resolve_canonical_bootstrap_servers_only`",
        effect: "every address of a name is tried; the other value calls each bootstrap server \
            by the names that its addresses have in the DNS, and TLS verifies these",
    },
    Key {
        name: "client.id",
        kind: Kind::Text,
        also: &[],
        default: "`spoolway`",
        range: "249 bytes",
        effect: "name of this host in the broker's logs and quotas",
    },
    Key {
        name: "properties_file",
        kind: Kind::Text,
        also: &[],
        default: "none",
        range: "path, 1 MiB",
        effect: "a Java `client.properties`, taken whole: each property counts as if it stood \
            in this table, and what this table says wins; not one of Kafka's",
    },
];

/// How events are sent.
const PRODUCER: &[Key] = &[
    Key {
        name: "acks",
        kind: Kind::Any,
        also: &["request.required.acks"],
        default: "`all`",
        range: "`all`, `1`, `0`",
        effect: "whose word for a batch is waited for; `1` and `0` need `allow_data_loss = true`, \
            are warned about and switch idempotence off",
    },
    Key {
        name: "allow_data_loss",
        kind: Kind::Flag,
        also: &[],
        default: "`false`",
        range: "",
        effect: "required for `acks` less than `all`; not one of Kafka's",
    },
    Key {
        name: "enable.idempotence",
        kind: Kind::Flag,
        also: &[],
        default: "`true` with `acks = \"all\"`",
        range: "",
        effect: "brokers recognise what is sent again; without it such a batch may be doubled, \
            and one batch of a partition is in flight, so that the order is kept",
    },
    Key {
        name: "retries",
        kind: Kind::Number,
        also: &["message.send.max.retries"],
        default: "2147483647",
        range: "0 to 2147483647",
        effect: "how often a batch that failed is sent again before its events go to the dead \
            letters; 2147483647 = until a broker has them or refuses them. A smaller number is \
            warned about, and has no effect on transactions",
    },
    Key {
        name: "delivery.timeout.ms",
        kind: Kind::Quantity,
        also: &["message.timeout.ms"],
        default: "none",
        range: "1s to 365days, at least `linger.ms` and `request.timeout.ms` together; 0 = none",
        effect: "an event that is not acknowledged at this age, counted from its arrival, \
            goes to the dead letters",
    },
    Key {
        name: "batch.size",
        kind: Kind::Quantity,
        also: &[],
        default: "1000000",
        range: "1B to 64MiB, at most `max.request.size`, to which the default is lowered",
        effect: "a batch closes at this many uncompressed bytes",
    },
    Key {
        name: "batch.events",
        kind: Kind::Number,
        also: &["batch.num.messages"],
        default: "10000",
        range: "1 to 1000000",
        effect: "a batch closes at this many events; not one of Kafka's",
    },
    Key {
        name: "linger.ms",
        kind: Kind::Quantity,
        also: &["queue.buffering.max.ms"],
        default: "5",
        range: "0 to 1min",
        effect: "longest wait of a batch's first event",
    },
    Key {
        name: "compression.type",
        kind: Kind::Choice(&["none", "gzip", "snappy", "lz4", "zstd"]),
        also: &["compression.codec"],
        default: "`lz4`",
        range: "`none`, `gzip`, `snappy`, `lz4`, `zstd`",
        effect: "codec of the batches",
    },
    Key {
        name: "compression.gzip.level",
        kind: Kind::Number,
        also: &[],
        default: "6",
        range: "1 to 9",
        effect: "with gzip only",
    },
    Key {
        name: "compression.zstd.level",
        kind: Kind::Number,
        also: &[],
        default: "3",
        range: "1 to 22",
        effect: "with zstd only",
    },
    Key {
        name: "max.in.flight.requests.per.connection",
        kind: Kind::Number,
        also: &[],
        default: "5",
        range: "1 to 5",
        effect: "batches in flight, here per partition; the order is kept with each value",
    },
    Key {
        name: "max.request.size",
        kind: Kind::Quantity,
        also: &["message.max.bytes"],
        default: "1048576",
        range: "16KiB to 64MiB",
        effect: "largest request; keep it within the broker's `message.max.bytes`",
    },
    Key {
        name: "buffer.memory",
        kind: Kind::Quantity,
        also: &[],
        default: "16777216",
        range: "1MiB to 1GiB, at least `max.request.size`",
        effect: "bytes of batches built and not yet acknowledged",
    },
    Key {
        name: "partitioner.class",
        kind: Kind::Text,
        also: &["partitioner"],
        default: "by the route",
        range: "`DefaultPartitioner`, `RoundRobinPartitioner`, `UniformStickyPartitioner`, each \
            also with its Java package; `murmur2_random`, `random`",
        effect: "default of `spread` and `partition_by_key` in every route, instead of a \
            preset's: the key decides; each event in turn; batch by batch. The last two, and \
            `random`, take no account of the key",
    },
    Key {
        name: "partitioner.ignore.keys",
        kind: Kind::Flag,
        also: &[],
        default: "`false`",
        range: "",
        effect: "`true` sets `partition_by_key = false` in every route that does not set it",
    },
    Key {
        name: "request.timeout.ms",
        kind: Kind::Quantity,
        also: &["socket.timeout.ms"],
        default: "15000",
        range: "1s to 10min",
        effect: "how long a broker may take for an answer",
    },
    Key {
        name: "socket.connection.setup.timeout.ms",
        kind: Kind::Quantity,
        also: &[],
        default: "10000",
        range: "100ms to 10min",
        effect: "how long TCP, TLS and SASL may take together; doubles with each failed attempt",
    },
    Key {
        name: "socket.connection.setup.timeout.max.ms",
        kind: Kind::Quantity,
        also: &[],
        default: "30000",
        range: "100ms to 1h",
        effect: "up to this",
    },
    Key {
        name: "connections.max.idle.ms",
        kind: Kind::Quantity,
        also: &[],
        default: "540000",
        range: "1s to 24h; -1 or 0 = never",
        effect: "a connection without a request for this long is closed until there is one",
    },
    Key {
        name: "retry.backoff.ms",
        kind: Kind::Quantity,
        also: &[],
        default: "100",
        range: "1ms to 1h",
        effect: "first wait before a retry",
    },
    Key {
        name: "retry.backoff.max.ms",
        kind: Kind::Quantity,
        also: &[],
        default: "5000",
        range: "1ms to 1h",
        effect: "longest wait before a retry",
    },
    Key {
        name: "reconnect.backoff.ms",
        kind: Kind::Quantity,
        also: &[],
        default: "100",
        range: "1ms to 1h",
        effect: "first wait before a new connection",
    },
    Key {
        name: "reconnect.backoff.max.ms",
        kind: Kind::Quantity,
        also: &[],
        default: "10000",
        range: "1ms to 1h",
        effect: "longest wait before a new connection",
    },
    Key {
        name: "metadata.max.age.ms",
        kind: Kind::Quantity,
        also: &["topic.metadata.refresh.interval.ms"],
        default: "300000",
        range: "1s to 24h",
        effect: "how long the map of topics and leaders is believed",
    },
    Key {
        name: "send.buffer.bytes",
        kind: Kind::Quantity,
        also: &["socket.send.buffer.bytes"],
        default: "-1",
        range: "1KiB to 64MiB, or -1",
        effect: "kernel buffer; -1 = the kernel's choice",
    },
    Key {
        name: "receive.buffer.bytes",
        kind: Kind::Quantity,
        also: &["socket.receive.buffer.bytes"],
        default: "-1",
        range: "1KiB to 64MiB, or -1",
        effect: "the same for answers",
    },
    Key {
        name: "transactional.id",
        kind: Kind::Text,
        also: &[],
        default: "none: no transactions",
        range: "249 bytes, of one running daemon only",
        effect: "consumers that read committed records see each event exactly once; see \
            [transactions](transactions.md)",
    },
    Key {
        name: "transaction.timeout.ms",
        kind: Kind::Quantity,
        also: &[],
        default: "60000",
        range: "5s to 15min, within the broker's `transaction.max.timeout.ms`",
        effect: "the broker aborts a transaction after this long; Spoolway after two thirds of it",
    },
    Key {
        name: "transactional.position.topic",
        kind: Kind::Text,
        also: &[],
        default: "`spoolway-positions`",
        range: "a topic with `cleanup.policy=compact`",
        effect: "where the committed position of each spool is kept; not one of Kafka's",
    },
    Key {
        name: "topic_patience",
        kind: Kind::Text,
        also: &[],
        default: "`\"24h\"`",
        range: "duration, or `\"forever\"`",
        effect: "how long an unknown or forbidden topic is retried before its events become dead \
            letters; not one of Kafka's",
    },
    Key {
        name: "topic.auto.create",
        kind: Kind::Flag,
        also: &[],
        default: "`false`",
        range: "",
        effect: "whether a missing topic is created when an event needs it; takes the right \
            CREATE; not one of Kafka's",
    },
    Key {
        name: "topic.auto.partitions",
        kind: Kind::Number,
        also: &[],
        default: "-1",
        range: "1 to 10000, or -1",
        effect: "partitions of such a topic; -1 = the broker's `num.partitions`",
    },
    Key {
        name: "topic.auto.replication",
        kind: Kind::Number,
        also: &[],
        default: "-1",
        range: "1 to 100, or -1",
        effect: "replicas of such a topic; -1 = the broker's `default.replication.factor`",
    },
    Key {
        name: "test_topic",
        kind: Kind::Text,
        also: &[],
        default: "none",
        range: "a topic",
        effect: "where `kafka test --send` writes its marked record; not one of Kafka's",
    },
];
