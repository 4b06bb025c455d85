//! The whole daemon against the oldest and the newest release of Apache Kafka that it is
//! tested with, over TLS and SASL with access rules, as a user has it.

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use spoolway_test_support::daemon::{Daemon, Journal};
use spoolway_test_support::kafka::{Kafka, Listener, Version};

const WITHIN: Duration = Duration::from_secs(60);
const EVENTS: u64 = 2_000;
const CODECS: [&str; 5] = ["none", "gzip", "snappy", "lz4", "zstd"];

fn deliver(version: Version) {
    let kafka = Kafka::builder().version(version).start().unwrap();
    let admin = kafka.admin();
    let password = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(password.path(), "alice-secret\n").unwrap();
    std::fs::set_permissions(password.path(), std::fs::Permissions::from_mode(0o600)).unwrap();
    for codec in CODECS {
        let topic = format!("codec-{codec}");
        admin.create_topic(&topic, 3, &[]).unwrap();
        admin.allow_produce("alice", &topic).unwrap();
        let daemon = Daemon::builder(env!("CARGO_BIN_EXE_spoolway"))
            .bootstrap(&kafka.address(Listener::SaslSsl).to_string())
            .topic(&topic)
            .kafka("security.protocol = \"SASL_SSL\"")
            .kafka("sasl.mechanism = \"SCRAM-SHA-512\"")
            .kafka("sasl.username = \"alice\"")
            .kafka(&format!(
                "sasl.password = {{ file = {:?} }}",
                password.path()
            ))
            .kafka(&format!("ssl.ca.location = {:?}", kafka.pki().ca))
            .kafka(&format!("compression.type = \"{codec}\""))
            .start()
            .unwrap();
        let mut journal = Journal::default();
        let mut writer = daemon.writer().unwrap();
        for _ in 0..EVENTS {
            let number = journal.next(1);
            writer.send(&Journal::event(1, number)).unwrap();
        }
        writer.wait_acked(EVENTS).unwrap();
        (1..=EVENTS).for_each(|number| journal.acked(1, number));
        let records = admin
            .wait_for_records(&topic, EVENTS as usize, WITHIN)
            .unwrap();
        let found = journal.check(&records);
        assert!(found.lost.is_empty(), "{codec}: {found:?}");
        assert!(found.strange.is_empty(), "{codec}: {found:?}");
        assert_eq!(found.doubled, 0, "{codec}: {found:?}");
    }
    console_consumer_reads_all(&kafka);
}

/// A second opinion on the format, by Kafka's own consumer.
fn console_consumer_reads_all(kafka: &Kafka) {
    let codecs = CODECS.len() as u64;
    let read = kafka
        .console_consumer_of_all("codec-.*", codecs * EVENTS)
        .unwrap();
    let mut read: Vec<&[u8]> = read.lines().map(str::as_bytes).collect();
    read.sort_unstable();
    let sent = (1..=EVENTS).map(|number| Journal::event(1, number));
    let mut sent: Vec<Vec<u8>> = sent
        .flat_map(|event| std::iter::repeat_n(event, CODECS.len()))
        .collect();
    sent.sort_unstable();
    assert!(read == sent, "{} of {} lines", read.len(), sent.len());
}

#[test]
fn every_codec_arrives_in_kafka_3_9_byte_for_byte() {
    deliver(Version::V3_9);
}

#[test]
fn every_codec_arrives_in_the_newest_kafka_byte_for_byte() {
    deliver(Version::V4_4);
}
