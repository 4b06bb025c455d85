//! Each row of docs/rudderstack.md, docs/signalsmith.md and docs/airbyte.md that is about an
//! event, by the real daemon against a real Apache Kafka.

use std::fs;

use spoolway::route::partition::keyed_partition;
use spoolway_test_support::daemon::Daemon;
use spoolway_test_support::kafka::Kafka;

use crate::route_docs::{Example, PAGES};
use crate::route_rig::*;

#[test]
fn rudderstack_keys_by_user_or_else_by_anonymous_user() {
    let events = [
        r#"{"userId":"u1","anonymousId":"a1"}"#,
        r#"{"userId":null,"anonymousId":"a2"}"#,
        r#"{"anonymousId":"a3"}"#,
        r#"{"userId":"","anonymousId":"a4"}"#,
    ];
    let mut records = sent("rudder", "preset = \"rudderstack\"", &events);
    records.sort_by_key(key);
    let keys: Vec<Option<String>> = records.iter().map(key).collect();
    assert_eq!(keys, ["a2", "a3", "a4", "u1"].map(|k| Some(k.to_owned())));
    for record in &records {
        let key = record.key.clone().unwrap();
        assert_eq!(record.partition, keyed_partition(&key, PARTITIONS));
    }
}

#[test]
fn signalsmith_keys_by_the_primary_key_or_the_field_that_is_named() {
    let event = r#"{"id":7,"country":"nz"}"#;
    let record = one("signal-id", "preset = \"signalsmith\"", event);
    assert_eq!(
        (key(&record).as_deref(), value(&record)),
        (Some("7"), event.to_owned())
    );
    let lines = "preset = \"signalsmith\"\nkey = [\"country\", \"id\"]";
    let records = sent("signal-field", lines, &[event, r#"{"id":8}"#]);
    let mut keys: Vec<Option<String>> = records.iter().map(key).collect();
    keys.sort();
    assert_eq!(keys, [Some("8".to_owned()), Some("nz".to_owned())]);
}

#[test]
fn airbyte_topic_pattern_and_envelope_with_the_uuid_as_key() {
    let kafka = Kafka::shared();
    for topic in ["ab-shop-orders", "ab-shop-users"] {
        kafka.admin().create_topic(topic, 1, &[]).unwrap();
    }
    let daemon = daemon("ab-{namespace}-{stream}", "preset = \"airbyte\"");
    let message = |stream: &str, n: u32| {
        format!(
            "{{\"type\":\"RECORD\",\"record\":{{\"namespace\":\"shop\",\"stream\":\"{stream}\",\
             \"emitted_at\":{n},\"data\":{{\"n\": {n}.0}}}}}}"
        )
    };
    let flat = r#"{"namespace":"shop","stream":"users","n":3}"#.to_owned();
    let events = [message("orders", 1), message("users", 2), flat.clone()];
    let _writer = write(&daemon, &events.each_ref().map(String::as_str));
    wait_drained(&daemon);
    let orders = kafka.admin().read_all("ab-shop-orders").unwrap();
    let users = kafka.admin().read_all("ab-shop-users").unwrap();
    assert_eq!((orders.len(), users.len()), (1, 2));
    for record in orders.iter().chain(&users) {
        let envelope: serde_json::Value = serde_json::from_str(&value(record)).unwrap();
        let id = envelope["_airbyte_ab_id"].as_str().map(str::to_owned);
        assert!(id.is_some() && id == key(record));
    }
    let tail = r#""_airbyte_emitted_at":1,"_airbyte_data":{"n": 1.0}}"#;
    assert!(value(&orders[0]).ends_with(tail), "{}", value(&orders[0]));
    assert!(value(&users[1]).ends_with(&format!("\"_airbyte_data\":{flat}}}")));
}

/// The uuid that belongs to a stable id: 60 bits of the spool, 62 of the sequence.
fn uuid_of(stable_id: &str) -> String {
    let (spool, seq) = stable_id.split_once('-').unwrap();
    let seq: u64 = seq.parse().unwrap();
    let low = format!("{:016x}", 1 << 63 | seq);
    let (a, b, c) = (&spool[1..9], &spool[9..13], &spool[13..16]);
    format!("{a}-{b}-8{c}-{}-{}", &low[..4], &low[4..])
}

#[test]
fn the_uuid_of_an_event_is_the_same_after_a_restart() {
    let kafka = Kafka::shared();
    let mut daemon = Daemon::builder(env!("CARGO_BIN_EXE_spoolway"))
        .bootstrap(&kafka.bootstrap())
        .topic("ab-late")
        .route("preset = \"airbyte\"")
        .start()
        .unwrap();
    let events: Vec<String> = (0..20).map(|n| format!("{{\"n\":{n}}}")).collect();
    let _writer = write(
        &daemon,
        &events.iter().map(String::as_str).collect::<Vec<_>>(),
    );
    daemon.kill9().unwrap();
    kafka.admin().create_topic("ab-late", 1, &[]).unwrap();
    daemon.start().unwrap();
    wait_drained(&daemon);
    let records = kafka.admin().read_all("ab-late").unwrap();
    assert_eq!(records.len(), 20);
    let spool = daemon.status_json().unwrap()["spool_id"].clone();
    for (seq, record) in (1..).zip(&records) {
        let id = String::from_utf8(record.header("spoolway-id").unwrap().to_vec()).unwrap();
        assert!(id.ends_with(&format!("-{seq}")), "{id} of {spool}");
        assert_eq!(key(record), Some(uuid_of(&id)));
    }
}

/// The configuration as the page has it, but for the cluster and the folders.
#[test]
fn the_example_of_each_products_page_delivers_what_the_page_shows() {
    let kafka = Kafka::shared();
    for page in PAGES {
        let text = fs::read_to_string(format!("docs/{page}.md")).unwrap();
        let example = Example::of(&text);
        let shown = |name: &str| {
            let mut lines = example.shown.lines();
            let line = lines.find_map(|line| line.strip_prefix(&format!("  {name}: ")));
            line.unwrap_or_else(|| panic!("{page} shows no {name}"))
        };
        let topic = shown("topic");
        kafka.admin().create_topic(topic, 6, &[]).unwrap();
        let mut daemon = Daemon::builder(env!("CARGO_BIN_EXE_spoolway"))
            .prepare()
            .unwrap();
        let (head, rest) = example.config.split_once("[kafka]\n").unwrap();
        let (_, routes) = rest.split_once("[[route]]\n").unwrap();
        let head = head
            .replace("/var/lib/spoolway", daemon.spool_dir().to_str().unwrap())
            .replace("/run/spoolway/app.sock", daemon.socket().to_str().unwrap());
        let config = format!(
            "{head}[kafka]\nbootstrap.servers = {:?}\nsecurity.protocol = \"PLAINTEXT\"\n\
             [[route]]\n{routes}",
            kafka.bootstrap()
        );
        fs::write(daemon.config(), config).unwrap();
        daemon.start().unwrap();
        let _writer = write(&daemon, &[example.event]);
        wait_drained(&daemon);
        let records = kafka.admin().read_all(topic).unwrap();
        assert_eq!(records.len(), 1, "{page}");
        if page == "airbyte" {
            // The uuid is that of the spool, and with it the partition.
            assert!(value(&records[0]).contains(&key(&records[0]).unwrap()));
            continue;
        }
        assert_eq!(key(&records[0]).as_deref(), Some(shown("key")), "{page}");
        assert_eq!(value(&records[0]), shown("payload"), "{page}");
        let partition = format!("{}, by the key", records[0].partition);
        assert_eq!(partition, shown("partition"), "{page}");
    }
}
