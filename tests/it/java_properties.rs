//! A Java `client.properties`, taken whole by the real daemon against a real Apache Kafka:
//! what the file asks for is found in the log.

use std::collections::BTreeMap;
use std::fs;

use spoolway_test_support::daemon::Daemon;
use spoolway_test_support::kafka::wait::wait_for;
use spoolway_test_support::kafka::{Kafka, Listener};
use spoolway_test_support::wire::{Codec, Record};

use crate::route_rig::{WITHIN, wait_drained};

const EVENTS: u64 = 600;
const PARTITIONS: i32 = 3;

/// `[kafka]` as the builder of daemons writes it.
const BUILT: &str = "bootstrap.servers = \"127.0.0.1:1\"\nsecurity.protocol = \"PLAINTEXT\"";

/// A daemon whose `[kafka]` is this file, `lines` beside it; events have the key of `k`.
fn daemon(topic: &str, java: &str, lines: &str) -> Daemon {
    let builder = Daemon::builder(env!("CARGO_BIN_EXE_spoolway")).topic(topic);
    let mut daemon = builder.route("key = \"k\"").prepare().unwrap();
    let file = daemon.folder().join("client.properties");
    fs::write(&file, java).unwrap();
    let built = fs::read_to_string(daemon.config()).unwrap();
    let text = built.replace(BUILT, &format!("properties_file = {file:?}\n{lines}"));
    assert_ne!(built, text);
    fs::write(daemon.config(), text).unwrap();
    daemon.start().unwrap();
    daemon
}

/// What both files say about the way to the cluster. Nobody listens at the first address.
fn way(kafka: &Kafka, user: &str, password: &str) -> String {
    format!(
        "# from the Kafka team\n\
         bootstrap.servers=127.0.0.1:1,\\\n    localhost:{}\n\
         client.dns.lookup=use_all_dns_ips\n\
         security.protocol=SASL_SSL\n\
         ssl.protocol=TLSv1.3\nssl.enabled.protocols=TLSv1.2,TLSv1.3\n\
         ssl.endpoint.identification.algorithm=https\n\
         ssl.truststore.type=PEM\nssl.truststore.location={}\n\
         sasl.mechanism=SCRAM-SHA-512\n\
         sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required \\\n\
         \x20   username=\"{user}\" \\\n    password=\"{password}\";\n\
         key.serializer=org.apache.kafka.common.serialization.StringSerializer\n\
         value.serializer=org.apache.kafka.common.serialization.ByteArraySerializer\n\
         request.timeout.ms=5000\nmetadata.max.age.ms=60000\nconnections.max.idle.ms=540000\n\
         socket.connection.setup.timeout.ms=5000\nsend.buffer.bytes=131072\n",
        kafka.address(Listener::SaslSsl).port(),
        kafka.pki().ca.display(),
    )
}

/// Events of one key with some noise; no two are the same.
fn event(number: u64, noise: usize) -> String {
    let mut source = fastrand::Rng::with_seed(number);
    let pad: String = std::iter::repeat_with(|| source.alphanumeric())
        .take(noise)
        .collect();
    format!("{{\"k\":\"one\",\"n\":{number},\"pad\":\"{pad}\"}}")
}

fn write(daemon: &Daemon, events: impl Iterator<Item = String>) {
    let mut writer = daemon.writer().unwrap();
    let count = events.fold(0, |_, event| writer.send(event.as_bytes()).unwrap());
    writer.wait_acked(count).unwrap();
}

/// The producer's status is made now and then; it says so at last.
#[track_caller]
fn until(daemon: &Daemon, what: &str, said: impl Fn(&serde_json::Value) -> bool) {
    wait_for(WITHIN, what, || Ok(said(&daemon.status_json()?["kafka"]))).unwrap();
}

/// Bytes of the values of each batch, by partition and first offset.
fn batches(records: &[Record]) -> BTreeMap<(i32, i64), usize> {
    let mut bytes = BTreeMap::new();
    for record in records {
        let batch = (record.partition, record.batch_offset);
        *bytes.entry(batch).or_default() += record.value.as_ref().unwrap().len();
    }
    bytes
}

#[test]
fn a_java_file_with_tls_login_and_batching_has_every_effect_that_a_log_can_show() {
    let kafka = Kafka::shared();
    let admin = kafka.admin();
    let topic = "java-file";
    let limit = [("max.message.bytes", "20000")];
    admin.create_topic(topic, PARTITIONS, &limit).unwrap();
    admin.allow_produce("alice", topic).unwrap();
    // Less than the ten seconds of a broker's account make of these events.
    let rate = Some(8_000.0);
    admin
        .alter_client_quota("edge-java", "producer_byte_rate", rate)
        .unwrap();
    let java = way(kafka, "alice", "alice-secret")
        + "client.id=edge-java\nacks=all\nenable.idempotence=true\nretries=2147483647\n\
           max.in.flight.requests.per.connection=3\n\
           compression.type=zstd\ncompression.zstd.level=9\n\
           batch.size=16384\nlinger.ms=50\nmax.request.size=65536\nbuffer.memory=33554432\n\
           delivery.timeout.ms=120000\nretry.backoff.ms=100\nretry.backoff.max.ms=1000\n\
           reconnect.backoff.ms=50\nreconnect.backoff.max.ms=1000\n\
           partitioner.class=org.apache.kafka.clients.producer.RoundRobinPartitioner\n";
    let daemon = daemon(topic, &java, "");
    // One is too large for the topic, though not for a request.
    write(&daemon, std::iter::once(event(0, 30_000)));
    write(&daemon, (1..=EVENTS).map(|number| event(number, 300)));
    wait_drained(&daemon);
    let status = daemon.status_json().unwrap();
    assert_eq!(status["ledger"]["dead_lettered"], 1, "{status:#}");
    assert_eq!(status["ledger"]["delivered"], EVENTS, "{status:#}");
    // The quota is that of the client id.
    until(&daemon, "a throttled answer", |kafka| {
        kafka["totals"]["throttled_answers"].as_u64() > Some(0)
    });
    let listed = daemon.dead_letters().unwrap();
    assert!(listed.contains("max.message.bytes"), "{listed}");

    let records = admin.read_all(topic).unwrap();
    assert_eq!(records.len() as u64, EVENTS);
    assert!(records.iter().all(|r| r.codec == Codec::Zstd));
    assert!(records.iter().all(|r| r.key.as_deref() == Some(b"one")));
    let id = records[0].producer_id;
    assert!(id >= 0 && records.iter().all(|r| r.producer_id == id));
    // The hash of the one key would give all of them to one partition. A throttled one is
    // passed over for a while, so that they are not even.
    for partition in 0..PARTITIONS {
        let own = records.iter().filter(|r| r.partition == partition);
        assert!(own.count() > 10, "in turn, whatever the key");
    }
    let batches = batches(&records);
    let largest = batches.values().max().unwrap();
    assert!((8_000..=16_384).contains(largest), "{batches:?}");
}

#[test]
fn a_java_file_with_a_transactional_id_writes_events_in_transactions() {
    let kafka = Kafka::shared();
    let admin = kafka.admin();
    let (topic, positions) = ("java-transactions", "java-positions");
    admin.create_topic(topic, PARTITIONS, &[]).unwrap();
    let compacted = [("cleanup.policy", "compact")];
    admin.create_topic(positions, 1, &compacted).unwrap();
    let java = way(kafka, "admin", "admin-secret")
        + "transactional.id=edge-java\ntransaction.timeout.ms=30000\nacks=-1\n\
           compression.type=gzip\ncompression.gzip.level=9\nlinger.ms=20\n\
           partitioner.class=UniformStickyPartitioner\n";
    let lines = format!("transactional.position.topic = \"{positions}\"");
    let daemon = daemon(topic, &java, &lines);
    write(&daemon, (0..EVENTS).map(|number| event(number, 300)));
    wait_drained(&daemon);
    wait_for(WITHIN, "the markers", || {
        Ok(admin.read_committed(topic)?.len() as u64 == EVENTS)
    })
    .unwrap();
    let records = admin.read_committed(topic).unwrap();
    assert!(records.iter().all(|r| r.codec == Codec::Gzip));
    assert!(records.iter().all(|r| r.producer_id >= 0));
    let number = |record: &Record| {
        let value: serde_json::Value = serde_json::from_slice(record.value.as_ref()?).ok()?;
        value["n"].as_u64()
    };
    let mut numbers: Vec<u64> = records.iter().filter_map(number).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..EVENTS).collect::<Vec<u64>>());
    until(&daemon, "a committed transaction", |kafka| {
        kafka["transaction"]["committed"].as_u64() > Some(0)
    });
}
