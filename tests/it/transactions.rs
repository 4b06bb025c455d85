//! Transactions against a real Apache Kafka: what a consumer of committed records sees.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;
use spoolway_test_support::kafka::wait::wait_for;
use spoolway_test_support::kafka::{Kafka, Version};
use spoolway_test_support::wire::{Access, Operation, Resource};

use crate::transaction_rig::{
    WITHIN, as_alice, assert_each_once, assert_java_sees_each_once, committed, daemon, instance,
    positions, transaction, wait_drained, write,
};

#[test]
fn a_run_is_committed_with_its_position_and_a_restart_goes_on_behind_it() {
    let kafka = Kafka::shared();
    let mut daemon = daemon(kafka, "txn-spine", 3).start().unwrap();
    write(&mut daemon.writer().unwrap(), 0..2_000);
    wait_drained(&daemon);
    assert_each_once(kafka, "txn-spine", 2_000);
    wait_for(WITHIN, "the position in status", || {
        Ok(transaction(&daemon, "position") == 2_001)
    })
    .unwrap();
    daemon.kill9().unwrap();
    daemon.start().unwrap();
    write(&mut daemon.writer().unwrap(), 2_000..3_000);
    wait_drained(&daemon);
    assert_each_once(kafka, "txn-spine", 3_000);
    assert!(daemon.sigterm(WITHIN).unwrap().success());
    // A marker in each: the records are in transactions, not beside them.
    let records = kafka.admin().read_all("txn-spine").unwrap().len() as u64;
    assert!(kafka.admin().count("txn-spine").unwrap() > records);
}

#[test]
fn a_second_instance_fences_the_first_which_says_so_and_loses_nothing() {
    let kafka = Kafka::shared();
    let first = daemon(kafka, "txn-fence", 2).start().unwrap();
    let mut writer = first.writer().unwrap();
    write(&mut writer, 0..100);
    wait_drained(&first);
    // The same id for another spool: a configuration that was copied to a second host.
    let second = instance(kafka, "txn-fence").start().unwrap();
    write(&mut second.writer().unwrap(), 1_000..1_100);
    wait_drained(&second);
    write(&mut writer, 100..200);
    wait_for(WITHIN, "the first to be fenced", || {
        let kafka = &first.status_json()?["kafka"];
        let halted = kafka["halted"].as_str().unwrap_or_default();
        let fenced = kafka["transaction"]["phase"] == "fenced";
        Ok(fenced && halted.contains("another producer") && halted.contains("txn-fence"))
    })
    .unwrap();
    assert_eq!(first.status_json().unwrap()["ledger"]["in_spool"], 100);
    write(&mut second.writer().unwrap(), 1_100..1_200);
    wait_drained(&second);
    drop(second);
    let mut first = first;
    first.kill9().unwrap();
    first.start().unwrap();
    wait_drained(&first);
    let mut expected: BTreeMap<u64, u32> = (0..200).map(|number| (number, 1)).collect();
    expected.extend((1_000..1_200).map(|number| (number, 1)));
    assert_eq!(committed(kafka, "txn-fence"), expected);
}

#[test]
fn a_broker_killed_and_restarted_in_mid_transaction_doubles_nothing() {
    for version in [Version::V3_9, Version::V4_4] {
        let mut kafka = Kafka::builder().version(version).start().unwrap();
        let daemon = daemon(&kafka, "txn-broker", 3).start().unwrap();
        let mut writer = daemon.writer().unwrap();
        let mut sent = 0;
        for _ in 0..3 {
            write(&mut writer, sent..sent + 10);
            sent += 10;
            wait_drained(&daemon);
        }
        // With KIP-890 each transaction has an epoch of its own; without, all share one.
        let records = kafka.admin().read_all("txn-broker").unwrap();
        let epochs: BTreeSet<i16> = records.iter().map(|r| r.producer_epoch).collect();
        assert_eq!(epochs.len() > 1, version == Version::V4_4, "{epochs:?}");
        for _ in 0..2 {
            write(&mut writer, sent..sent + 3_000);
            sent += 3_000;
            kafka.kill9().unwrap();
            write(&mut writer, sent..sent + 500);
            sent += 500;
            kafka.start().unwrap();
        }
        wait_drained(&daemon);
        assert_each_once(&kafka, "txn-broker", sent);
        assert_java_sees_each_once(&kafka, "txn-broker", sent);
    }
}

#[test]
fn sessions_that_the_broker_ends_cost_no_transaction() {
    let kafka = Kafka::builder()
        .property("connections.max.reauth.ms", "2500")
        .start()
        .unwrap();
    let id = "txn-reauth";
    let builder = daemon(&kafka, id, 3);
    let admin = kafka.admin();
    let allow = |resource, operation| {
        let allow = Access::Allow;
        admin.create_acl("User:alice", resource, operation, allow)
    };
    allow(Resource::TransactionalId(id), Operation::Write).unwrap();
    allow(Resource::Topic(id), Operation::Write).unwrap();
    allow(Resource::Topic(&positions(id)), Operation::All).unwrap();
    let daemon = as_alice(builder, &kafka).start().unwrap();
    let mut writer = daemon.writer().unwrap();
    write(&mut writer, 0..10);
    wait_drained(&daemon);
    daemon.clear_log().unwrap();
    let mut sent = 10;
    // Several sessions, on each of the connections.
    let until = Instant::now() + Duration::from_secs(9);
    while Instant::now() < until {
        write(&mut writer, sent..sent + 50);
        sent += 50;
    }
    wait_drained(&daemon);
    assert_each_once(&kafka, id, sent);
    assert_eq!(transaction(&daemon, "aborted"), 0, "{}", daemon.log());
    assert!(!daemon.log().contains("WARN"), "{}", daemon.log());
}

#[test]
fn a_transaction_that_the_broker_ended_for_its_age_is_sent_again() {
    let kafka = Kafka::builder()
        .property(
            "transaction.abort.timed.out.transaction.cleanup.interval.ms",
            "500",
        )
        .start()
        .unwrap();
    let daemon = daemon(&kafka, "txn-age", 1)
        .kafka("transaction.timeout.ms = 5000\nrequest.timeout.ms = 2000")
        .kafka("linger.ms = 2400")
        .start()
        .unwrap();
    let mut writer = daemon.writer().unwrap();
    // Larger than a batch, so that some of it is sent while the run is still filled.
    write(&mut writer, 0..40_000);
    wait_for(WITHIN, "an open transaction", || {
        Ok(kafka.admin().count("txn-age")? > 0)
    })
    .unwrap();
    kafka.pause().unwrap();
    // As old as the transaction may become.
    wait_for(WITHIN, "the warning about readers", || {
        let words = daemon.status_json()?["kafka"]["readers_wait"].to_string();
        Ok(words.contains("see nothing new in txn-age-0 until it ends"))
    })
    .unwrap();
    let screen = daemon.command("status").output().unwrap().stdout;
    let screen = String::from_utf8(screen).unwrap();
    assert!(
        screen.contains("READERS     a transaction is open"),
        "{screen}"
    );
    assert!(daemon.log().contains("see nothing new"), "{}", daemon.log());
    kafka.resume().unwrap();
    wait_drained(&daemon);
    let status = &daemon.status_json().unwrap()["kafka"];
    assert_eq!(status["readers_wait"], Value::Null, "{status:#}");
    assert_each_once(&kafka, "txn-age", 40_000);
    assert_ne!(transaction(&daemon, "aborted"), 0);
    assert_eq!(
        daemon.status_json().unwrap()["kafka"]["halted"],
        Value::Null
    );
}

#[test]
fn a_transaction_left_open_by_a_dead_instance_is_aborted_at_the_start() {
    let kafka = Kafka::shared();
    let mut daemon = daemon(kafka, "txn-left", 1)
        .kafka("transaction.timeout.ms = 600000\nlinger.ms = 10000")
        .start()
        .unwrap();
    write(&mut daemon.writer().unwrap(), 0..40_000);
    wait_for(WITHIN, "an open transaction", || {
        Ok(kafka.admin().count("txn-left")? > 0)
    })
    .unwrap();
    daemon.kill9().unwrap();
    assert_eq!(kafka.admin().last_stable_offset("txn-left", 0).unwrap(), 0);
    daemon.start().unwrap();
    // Far before the ten minutes of the transaction.
    wait_drained(&daemon);
    assert_each_once(kafka, "txn-left", 40_000);
    let stable = kafka.admin().last_stable_offset("txn-left", 0).unwrap();
    assert_eq!(
        kafka.admin().watermarks("txn-left").unwrap()[0].high,
        stable
    );
}

#[test]
fn an_event_that_the_broker_refuses_becomes_a_dead_letter_and_the_rest_is_committed() {
    let kafka = Kafka::shared();
    let daemon = daemon(kafka, "txn-poison", 1).start().unwrap();
    let limit = [("max.message.bytes", Some("2000"))];
    kafka
        .admin()
        .alter_topic_configs("txn-poison", &limit)
        .unwrap();
    let mut writer = daemon.writer().unwrap();
    write(&mut writer, 0..10);
    let noise: String = std::iter::repeat_with(fastrand::alphanumeric)
        .take(4_000)
        .collect();
    writer
        .send(format!("{{\"n\":10,\"x\":\"{noise}\"}}").as_bytes())
        .unwrap();
    write(&mut writer, 11..21);
    wait_drained(&daemon);
    let expected: BTreeMap<u64, u32> = (0..21).filter(|n| *n != 10).map(|n| (n, 1)).collect();
    assert_eq!(committed(kafka, "txn-poison"), expected);
    let ledger = &daemon.status_json().unwrap()["ledger"];
    assert_eq!(
        (&ledger["dead_lettered"], &ledger["delivered"]),
        (&1.into(), &20.into())
    );
}

#[test]
fn without_a_compacted_position_topic_delivery_waits_and_says_why() {
    let kafka = Kafka::shared();
    kafka.admin().create_topic("txn-where", 1, &[]).unwrap();
    let daemon = instance(kafka, "txn-where").start().unwrap();
    write(&mut daemon.writer().unwrap(), 0..10);
    let halted = |words: &str| {
        wait_for(WITHIN, words, || {
            let status = daemon.status_json()?;
            Ok(status["kafka"]["halted"]
                .as_str()
                .unwrap_or_default()
                .contains(words))
        })
        .unwrap();
    };
    halted("does not exist; create it");
    let topic = positions("txn-where");
    kafka
        .admin()
        .create_topic(&topic, 1, &[("cleanup.policy", "delete")])
        .unwrap();
    halted("positions would be deleted by age");
    let compact = [("cleanup.policy", Some("compact"))];
    kafka.admin().alter_topic_configs(&topic, &compact).unwrap();
    wait_drained(&daemon);
    assert_each_once(kafka, "txn-where", 10);
}

#[test]
fn an_older_copy_of_the_spool_skips_nothing_and_says_so() {
    let kafka = Kafka::shared();
    let mut daemon = daemon(kafka, "txn-copy", 1).start().unwrap();
    write(&mut daemon.writer().unwrap(), 0..10);
    wait_drained(&daemon);
    assert!(daemon.sigterm(WITHIN).unwrap().success());
    let copy = daemon.folder().join("copy");
    copy_folder(&daemon.spool_dir(), &copy);
    daemon.start().unwrap();
    write(&mut daemon.writer().unwrap(), 10..20);
    wait_drained(&daemon);
    daemon.kill9().unwrap();
    std::fs::remove_dir_all(daemon.spool_dir()).unwrap();
    copy_folder(&copy, &daemon.spool_dir());
    daemon.start().unwrap();
    // As many as were delivered behind the copy, under the same numbers: they are new.
    write(&mut daemon.writer().unwrap(), 100..110);
    wait_drained(&daemon);
    let seen = committed(kafka, "txn-copy");
    assert!(
        (100..110).all(|number| seen.get(&number) == Some(&1)),
        "{seen:?}"
    );
    assert!(daemon.log().contains("older copy"), "{}", daemon.log());
}

fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            copy_folder(&entry.path(), &target);
        } else if kind.is_file() {
            std::fs::copy(entry.path(), &target).unwrap();
        }
    }
}

#[test]
fn an_event_of_two_routes_waits_for_both_and_is_committed_to_each_once() {
    let kafka = Kafka::shared();
    let routes = "name = \"all\"\n[routing]\nmatch = \"all\"\n[[route]]\nname = \"late\"\n\
                  trigger = 'n >= 50'\ntopic = \"txn-late\"";
    let daemon = daemon(kafka, "txn-both", 2).route(routes).start().unwrap();
    write(&mut daemon.writer().unwrap(), 0..100);
    // Those before the first that cannot go to both are committed meanwhile.
    wait_for(WITHIN, "what has a place", || {
        Ok(daemon.status_json()?["ledger"]["delivered"] == 50)
    })
    .unwrap();
    assert_each_once(kafka, "txn-both", 50);
    kafka.admin().create_topic("txn-late", 1, &[]).unwrap();
    wait_drained(&daemon);
    assert_each_once(kafka, "txn-both", 100);
    let late: BTreeMap<u64, u32> = (50..100).map(|number| (number, 1)).collect();
    assert_eq!(committed(kafka, "txn-late"), late);
}

#[test]
fn the_position_topic_is_made_when_topics_may_be_made() {
    let kafka = Kafka::shared();
    let daemon = instance(kafka, "txn-made")
        .kafka("topic.auto.create = true\ntopic.auto.replication = 1")
        .kafka("topic.auto.partitions = 2")
        .start()
        .unwrap();
    write(&mut daemon.writer().unwrap(), 0..10);
    wait_drained(&daemon);
    assert_each_once(kafka, "txn-made", 10);
    // It would be refused if it were not compacted.
    assert_eq!(
        kafka.admin().partitions(&positions("txn-made")).unwrap(),
        [0, 1]
    );
}
