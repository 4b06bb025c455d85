//! What the tests of routes share: a daemon in front of a real Apache Kafka, and a look at
//! what became of events.

use std::time::Duration;

use spoolway_test_support::daemon::{Builder, Daemon, Writer};
use spoolway_test_support::kafka::Kafka;
use spoolway_test_support::kafka::wait::wait_for;
use spoolway_test_support::wire::Record;

pub(crate) const WITHIN: Duration = Duration::from_secs(60);
pub(crate) const PARTITIONS: i32 = 3;

/// A daemon whose one route goes to a topic of its own; `lines` go on in its table.
pub(crate) fn daemon(topic: &str, lines: &str) -> Daemon {
    builder(topic, lines).start().unwrap()
}

/// The same before its start, for more settings.
pub(crate) fn builder(topic: &str, lines: &str) -> Builder {
    let kafka = Kafka::shared();
    if !topic.contains('{') {
        kafka.admin().create_topic(topic, PARTITIONS, &[]).unwrap();
    }
    Daemon::builder(env!("CARGO_BIN_EXE_spoolway"))
        .bootstrap(&kafka.bootstrap())
        .topic(topic)
        .route(lines)
}

pub(crate) fn write(daemon: &Daemon, events: &[&str]) -> Writer {
    let mut writer = daemon.writer().unwrap();
    let mut sent = 0;
    for event in events {
        sent = writer.send(event.as_bytes()).unwrap();
    }
    writer.wait_acked(sent).unwrap();
    writer
}

pub(crate) fn wait_drained(daemon: &Daemon) {
    wait_for(WITHIN, "an empty spool", || {
        Ok(daemon.status_json()?["ledger"]["in_spool"] == 0)
    })
    .unwrap();
}

/// What the topic holds once the spool is empty.
pub(crate) fn sent(topic: &str, lines: &str, events: &[&str]) -> Vec<Record> {
    let daemon = daemon(topic, lines);
    let _writer = write(&daemon, events);
    wait_drained(&daemon);
    Kafka::shared().admin().read_all(topic).unwrap()
}

pub(crate) fn one(topic: &str, lines: &str, event: &str) -> Record {
    let mut records = sent(topic, lines, &[event]);
    assert_eq!(records.len(), 1);
    records.remove(0)
}

pub(crate) fn value(record: &Record) -> String {
    String::from_utf8(record.value.clone().expect("a value").to_vec()).unwrap()
}

pub(crate) fn key(record: &Record) -> Option<String> {
    let key = record.key.clone()?;
    Some(String::from_utf8(key.to_vec()).unwrap())
}

pub(crate) fn values(records: &[Record]) -> Vec<String> {
    let mut values: Vec<String> = records.iter().map(value).collect();
    values.sort();
    values
}

pub(crate) fn ledger(daemon: &Daemon, name: &str) -> u64 {
    daemon.status_json().unwrap()["ledger"][name]
        .as_u64()
        .unwrap()
}

pub(crate) fn call(kind: &str) -> String {
    format!(r#"{{"type":"{kind}"}}"#)
}
