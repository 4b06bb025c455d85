//! `topic.auto.create`: missing topics are made when asked for, as said, and a refusal is
//! told in words; without it none is ever made.

use std::time::Duration;

use spoolway_test_support::daemon::{Builder, Daemon};
use spoolway_test_support::kafka::wait::wait_for;
use spoolway_test_support::kafka::{Kafka, Listener, Version};
use spoolway_test_support::wire::{Access, Operation, Resource};

const WITHIN: Duration = Duration::from_secs(30);

fn daemon(kafka: &Kafka, listener: Listener) -> Builder {
    Daemon::builder(env!("CARGO_BIN_EXE_spoolway"))
        .bootstrap(&kafka.address(listener).to_string())
        .kafka("topic.auto.create = true")
        .kafka("retry.backoff.max.ms = 500")
}

fn write(daemon: &Daemon, lines: &[&str]) {
    let mut writer = daemon.writer().unwrap();
    for line in lines {
        writer.send(line.as_bytes()).unwrap();
    }
    writer.wait_acked(lines.len() as u64).unwrap();
}

fn wait_for_words(daemon: &Daemon, words: &str) {
    wait_for(WITHIN, words, || {
        Ok(daemon.status_json()?.to_string().contains(words))
    })
    .unwrap();
}

fn creates(kafka: &Kafka) {
    let admin = kafka.admin();
    let plain = daemon(kafka, Listener::Plaintext)
        .topic("made-{kind}")
        .kafka("topic.auto.partitions = 3")
        .kafka("topic.auto.replication = 1")
        .start()
        .unwrap();
    write(
        &plain,
        &[r#"{"kind":"a"}"#, r#"{"kind":"b"}"#, r#"{"kind":"a"}"#],
    );
    for (topic, count) in [("made-a", 2), ("made-b", 1)] {
        wait_for(WITHIN, topic, || {
            Ok(admin.partitions(topic).is_ok_and(|all| all.len() == 3))
        })
        .unwrap();
        let records = admin.wait_for_records(topic, count, WITHIN).unwrap();
        assert_eq!(records.len(), count, "{topic}");
    }
}

fn is_refused(kafka: &Kafka) {
    let admin = kafka.admin();
    let many = daemon(kafka, Listener::Plaintext)
        .topic("made-thrice")
        .kafka("topic.auto.replication = 3")
        .start()
        .unwrap();
    write(&many, &["{}"]);
    wait_for_words(&many, "topic.auto.replication; it needs as many brokers");
    drop(many);
    assert!(admin.partitions("made-thrice").is_err());

    let alice = daemon(kafka, Listener::SaslSsl)
        .topic("made-by-alice")
        .kafka("security.protocol = \"SASL_SSL\"")
        .kafka("sasl.mechanism = \"SCRAM-SHA-512\"")
        .kafka("sasl.username = \"alice\"")
        .kafka("sasl.password = \"alice-secret\"")
        .kafka(&format!("ssl.ca.location = {:?}", kafka.pki().ca))
        .start()
        .unwrap();
    admin.allow_produce("alice", "made-by-alice").unwrap();
    write(&alice, &["{}"]);
    wait_for_words(&alice, "grant CREATE on the cluster or on topics");
    let topic = Resource::Topic("made-by-alice");
    let create = Operation::Create;
    admin
        .create_acl("User:alice", topic, create, Access::Allow)
        .unwrap();
    let records = admin.wait_for_records("made-by-alice", 1, WITHIN).unwrap();
    assert_eq!(records.len(), 1);
}

#[test]
fn a_missing_topic_is_made_when_asked_for_on_the_newest_kafka() {
    creates(Kafka::shared());
    is_refused(Kafka::shared());
}

#[test]
fn a_missing_topic_is_made_when_asked_for_on_kafka_3_9() {
    let kafka = Kafka::builder().version(Version::V3_9).start().unwrap();
    creates(&kafka);
    is_refused(&kafka);
}

#[test]
fn without_being_asked_no_topic_is_made() {
    let kafka = Kafka::shared();
    let daemon = Daemon::builder(env!("CARGO_BIN_EXE_spoolway"))
        .bootstrap(&kafka.bootstrap())
        .topic("never-made")
        .start()
        .unwrap();
    write(&daemon, &["{}"]);
    wait_for_words(
        &daemon,
        "does not exist (UNKNOWN_TOPIC_OR_PARTITION); create it",
    );
    assert!(kafka.admin().partitions("never-made").is_err());
}
