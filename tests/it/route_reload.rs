//! Routes changed by SIGHUP while events wait, against a real Apache Kafka.

use std::fs;

use spoolway_test_support::daemon::Daemon;
use spoolway_test_support::kafka::Kafka;
use spoolway_test_support::kafka::wait::wait_for;

use crate::route_rig::*;

#[test]
fn a_changed_route_governs_the_backlog() {
    let kafka = Kafka::shared();
    kafka.admin().create_topic("change-new", 1, &[]).unwrap();
    // The topic of the old route does not exist, so nothing can leave.
    let daemon = Daemon::builder(env!("CARGO_BIN_EXE_spoolway"))
        .bootstrap(&kafka.bootstrap())
        .topic("change-missing")
        .start()
        .unwrap();
    let events: Vec<String> = (0..500).map(|n| format!("{{\"n\":{n}}}")).collect();
    let _writer = write(
        &daemon,
        &events.iter().map(String::as_str).collect::<Vec<_>>(),
    );
    assert_eq!(ledger(&daemon, "in_spool"), 500);
    let text = fs::read_to_string(daemon.config()).unwrap();
    let text = text.replace(
        "topic = \"change-missing\"",
        "topic = \"change-new\"\nkey = \"n\"",
    );
    fs::write(daemon.config(), text).unwrap();
    daemon.sighup().unwrap();
    wait_drained(&daemon);
    let records = kafka.admin().read_all("change-new").unwrap();
    let keys: Vec<Option<String>> = records.iter().map(key).collect();
    let wanted: Vec<Option<String>> = (0..500).map(|n| Some(n.to_string())).collect();
    assert_eq!(keys, wanted);
}

#[test]
fn events_without_a_route_wait_while_the_dead_letter_store_is_full() {
    let kafka = Kafka::shared();
    kafka.admin().create_topic("full-dead", 1, &[]).unwrap();
    let daemon = Daemon::builder(env!("CARGO_BIN_EXE_spoolway"))
        .bootstrap(&kafka.bootstrap())
        .topic("full-dead")
        .route("trigger = '@page'")
        .spool("dead_letter_max_bytes = \"1MiB\"")
        .start()
        .unwrap();
    let strange = format!("{{\"type\":\"x\",\"pad\":\"{}\"}}", "x".repeat(400_000));
    let page = call("page");
    for _ in 0..4 {
        let _writer = write(&daemon, &[&strange, &page]);
    }
    wait_for(
        WITHIN,
        "the pages",
        || Ok(ledger(&daemon, "delivered") == 4),
    )
    .unwrap();
    wait_for(WITHIN, "a full store", || {
        Ok(daemon.log().contains("cannot store dead letters"))
    })
    .unwrap();
    assert!(ledger(&daemon, "in_spool") > 0);
    let text = fs::read_to_string(daemon.config()).unwrap();
    fs::write(daemon.config(), text.replace("'@page'", "'true'")).unwrap();
    daemon.sighup().unwrap();
    wait_drained(&daemon);
    let total = ledger(&daemon, "dead_lettered") + ledger(&daemon, "delivered");
    assert_eq!(total, 8);
}

/// Events of the backlog, and the keys that they share.
const BACKLOG: usize = 40_000;
const KEYS: usize = 50;

#[test]
fn routes_changed_while_a_backlog_drains_deliver_every_event_once_and_in_order() {
    let kafka = Kafka::shared();
    kafka
        .admin()
        .create_topic("mid-b", PARTITIONS, &[])
        .unwrap();
    // Small batches, one at a time: the changes fall into the middle of the backlog.
    let daemon = Daemon::builder(env!("CARGO_BIN_EXE_spoolway"))
        .bootstrap(&kafka.bootstrap())
        .topic("mid-a")
        .root("log.repeat_interval = \"0s\"")
        .route("key = \"k\"")
        .kafka("batch.events = 20")
        .kafka("max.in.flight.requests.per.connection = 1")
        .kafka("metadata.max.age.ms = 1000")
        .start()
        .unwrap();
    let events: Vec<String> = (0..BACKLOG)
        .map(|n| format!("{{\"k\":\"key-{}\",\"n\":{n}}}", n % KEYS))
        .collect();
    let lines: Vec<&str> = events.iter().map(String::as_str).collect();
    let _writer = write(&daemon, &lines);
    assert_eq!(
        ledger(&daemon, "delivered"),
        0,
        "all of it waits for its topic"
    );
    kafka
        .admin()
        .create_topic("mid-a", PARTITIONS, &[])
        .unwrap();

    let mut topics = ["mid-a", "mid-b"];
    for change in 1..=3 {
        let reached = (change * BACKLOG / 10) as u64;
        wait_for(WITHIN, "a part of the backlog", || {
            Ok(daemon.status_json()?["ledger"]["delivered"].as_u64() >= Some(reached))
        })
        .unwrap();
        let text = fs::read_to_string(daemon.config()).unwrap();
        let text = text.replace(
            &format!("topic = \"{}\"", topics[0]),
            &format!("topic = \"{}\"", topics[1]),
        );
        fs::write(daemon.config(), text).unwrap();
        daemon.sighup().unwrap();
        wait_for(WITHIN, "the change", || {
            let changes = daemon
                .log()
                .matches("in force from the next event on")
                .count();
            Ok(changes >= change)
        })
        .unwrap();
        assert!(
            ledger(&daemon, "in_spool") > 0,
            "it was changed in the middle"
        );
        topics.swap(0, 1);
    }
    wait_drained(&daemon);

    let mut found = Vec::new();
    let mut topic_of = vec![""; BACKLOG];
    for topic in topics {
        let records = kafka.admin().read_all(topic).unwrap();
        assert!(!records.is_empty(), "{topic} has a part");
        let mut last = vec![None; KEYS];
        for record in &records {
            let event: serde_json::Value = serde_json::from_str(&value(record)).unwrap();
            let number = event["n"].as_u64().unwrap() as usize;
            let before = &mut last[number % KEYS];
            assert!(
                *before < Some(number),
                "{number} after {before:?} in {topic}"
            );
            *before = Some(number);
            topic_of[number] = topic;
            found.push(number);
        }
    }
    found.sort_unstable();
    assert_eq!(found, (0..BACKLOG).collect::<Vec<_>>());
    // Across the topics too: what a change finds unsent of a key goes to the other topic from
    // one event on, and none of it to the one before.
    let mut stretches = 0;
    for key in 0..KEYS {
        let mut of_key: Vec<&str> = topic_of.iter().skip(key).step_by(KEYS).copied().collect();
        assert_eq!(of_key[0], "mid-a");
        of_key.dedup();
        assert!(of_key.len() <= 4, "three changes make four: {of_key:?}");
        stretches += of_key.len();
    }
    // A block is placed as a whole, so a change may find less unsent than it waited for.
    assert!(stretches > KEYS, "no change met a key: {stretches}");
    assert_eq!(ledger(&daemon, "delivered"), BACKLOG as u64);
}
