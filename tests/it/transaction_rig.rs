//! What the tests of transactions share: a daemon with a transactional id, and what a
//! consumer of committed records sees.

use std::collections::BTreeMap;
use std::time::Duration;

use spoolway_test_support::daemon::{Builder, Daemon, Writer};
use spoolway_test_support::kafka::wait::wait_for;
use spoolway_test_support::kafka::{Kafka, Listener};

/// How long a test waits for anything.
pub(crate) const WITHIN: Duration = Duration::from_secs(60);

/// A daemon with transactions of this id, and a topic and a position topic of its own.
pub(crate) fn daemon(kafka: &Kafka, id: &str, partitions: i32) -> Builder {
    let admin = kafka.admin();
    admin.create_topic(id, partitions, &[]).unwrap();
    admin
        .create_topic(&positions(id), 1, &[("cleanup.policy", "compact")])
        .unwrap();
    instance(kafka, id)
}

/// The same without its topics: they are there, or not yet.
pub(crate) fn instance(kafka: &Kafka, id: &str) -> Builder {
    instance_at(&kafka.bootstrap(), id)
}

/// The same for a cluster that is found at these addresses.
pub(crate) fn instance_at(bootstrap: &str, id: &str) -> Builder {
    let positions = positions(id);
    Daemon::builder(env!("CARGO_BIN_EXE_spoolway"))
        .bootstrap(bootstrap)
        .topic(id)
        .kafka(&format!("transactional.id = \"{id}\""))
        .kafka(&format!("transactional.position.topic = \"{positions}\""))
        .kafka("retry.backoff.ms = 20\nretry.backoff.max.ms = 200")
        .kafka("reconnect.backoff.ms = 20\nreconnect.backoff.max.ms = 200")
}

/// The same as user alice, who may nothing unless a rule says so.
pub(crate) fn as_alice(daemon: Builder, kafka: &Kafka) -> Builder {
    daemon
        .bootstrap(&kafka.address(Listener::SaslPlaintext).to_string())
        .kafka("security.protocol = \"SASL_PLAINTEXT\"\nallow_sasl_plaintext = true")
        .kafka("sasl.mechanism = \"PLAIN\"\nsasl.username = \"alice\"")
        .kafka("sasl.password = \"alice-secret\"")
}

pub(crate) fn positions(id: &str) -> String {
    format!("{id}-positions")
}

pub(crate) fn write(writer: &mut Writer, numbers: std::ops::Range<u64>) {
    let mut sent = 0;
    for number in numbers {
        sent = writer
            .send(format!("{{\"n\":{number}}}").as_bytes())
            .unwrap();
    }
    writer.wait_acked(sent).unwrap();
}

/// How often a reader of committed records sees each number, once every transaction has
/// ended: the coordinator confirms a commit before its markers are in the partitions.
pub(crate) fn committed(kafka: &Kafka, topic: &str) -> BTreeMap<u64, u32> {
    wait_for(WITHIN, "the end of every transaction", || {
        let admin = kafka.admin();
        for mark in admin.watermarks(topic)? {
            if admin.last_stable_offset(topic, mark.partition)? < mark.high {
                return Ok(false);
            }
        }
        Ok(true)
    })
    .unwrap();
    let mut found = BTreeMap::new();
    for record in kafka.admin().read_committed(topic).unwrap() {
        let value: serde_json::Value =
            serde_json::from_slice(record.value.as_deref().unwrap()).unwrap();
        *found.entry(value["n"].as_u64().unwrap()).or_default() += 1;
    }
    found
}

#[track_caller]
pub(crate) fn assert_each_once(kafka: &Kafka, topic: &str, count: u64) {
    let expected: BTreeMap<u64, u32> = (0..count).map(|number| (number, 1)).collect();
    assert_eq!(committed(kafka, topic), expected);
}

#[track_caller]
pub(crate) fn wait_drained(daemon: &Daemon) {
    let drained = wait_for(WITHIN, "an empty spool", || {
        Ok(daemon.status_json()?["ledger"]["in_spool"] == 0)
    });
    if let Err(error) = drained {
        let status = daemon.status_json().unwrap();
        panic!("{error:#}\n{status:#}\n{}", daemon.log());
    }
}

pub(crate) fn transaction(daemon: &Daemon, key: &str) -> serde_json::Value {
    daemon.status_json().unwrap()["kafka"]["transaction"][key].clone()
}

/// The same by Kafka's own consumer.
#[track_caller]
pub(crate) fn assert_java_sees_each_once(kafka: &Kafka, topic: &str, count: u64) {
    let mut found = BTreeMap::new();
    for line in kafka.console_consumer_committed(topic).unwrap().lines() {
        let value: serde_json::Value = serde_json::from_str(line).unwrap();
        *found.entry(value["n"].as_u64().unwrap()).or_default() += 1;
    }
    let expected: BTreeMap<u64, u32> = (0..count).map(|number| (number, 1)).collect();
    assert_eq!(found, expected);
}
