//! The drain, by the real daemon against the scripted cluster: nothing that happens to one
//! partition or one event may hold up or harm the others.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use spoolway_test_support::daemon::{Daemon, Writer};
use spoolway_test_support::kafka::wait::wait_for;
use spoolway_test_support::scripted::{Action, Cluster, Record, State, When};

const WITHIN: Duration = Duration::from_secs(30);

fn daemon(cluster: &Cluster) -> spoolway_test_support::daemon::Builder {
    Daemon::builder(env!("CARGO_BIN_EXE_spoolway")).bootstrap(&cluster.bootstrap())
}

fn line(number: u64) -> String {
    format!(r#"{{"k":"key-{}","n":{number}}}"#, number % 40)
}

/// Sends lines and waits until they are durable.
fn write(writer: &mut Writer, numbers: std::ops::Range<u64>) {
    let mut sent = 0;
    for number in numbers {
        sent = writer.send(line(number).as_bytes()).unwrap();
    }
    writer.wait_acked(sent).unwrap();
}

/// Every number in a topic with how often it is there, whatever the partition.
fn numbers(cluster: &Cluster, topic: &str, partitions: i32) -> BTreeMap<u64, u32> {
    let mut found = BTreeMap::new();
    for partition in 0..partitions {
        for number in in_partition(cluster, topic, partition) {
            *found.entry(number).or_default() += 1;
        }
    }
    found
}

fn in_partition(cluster: &Cluster, topic: &str, partition: i32) -> Vec<u64> {
    let number = |record: &Record| {
        let json: serde_json::Value = serde_json::from_slice(record.value_bytes()).unwrap();
        json["n"].as_u64().unwrap()
    };
    cluster
        .records(topic, partition)
        .iter()
        .map(number)
        .collect()
}

fn assert_each_once(found: &BTreeMap<u64, u32>, count: u64) {
    let expected: BTreeMap<u64, u32> = (0..count).map(|number| (number, 1)).collect();
    assert_eq!(*found, expected);
}

fn wait_drained(daemon: &Daemon) {
    wait_for(WITHIN, "an empty spool", || {
        Ok(daemon.status_json()?["ledger"]["in_spool"] == 0)
    })
    .unwrap();
}

fn ledger(daemon: &Daemon, key: &str) -> u64 {
    daemon.status_json().unwrap()["ledger"][key]
        .as_u64()
        .unwrap()
}

fn all(topic: &'static str, count: usize) -> impl Fn(&State) -> bool {
    move |state| state.topic_record_count(topic) == count
}

#[test]
fn events_without_a_key_all_arrive_once_and_leave_the_spool() {
    let cluster = Cluster::start(2);
    cluster.create_topic("events", 3);
    let daemon = daemon(&cluster).start().unwrap();
    let mut writer = daemon.writer().unwrap();
    write(&mut writer, 0..2_000);
    cluster.wait_until("all there", WITHIN, all("events", 2_000));
    assert_each_once(&numbers(&cluster, "events", 3), 2_000);
    wait_drained(&daemon);
    assert_eq!(ledger(&daemon, "delivered"), 2_000);
    assert_eq!(ledger(&daemon, "accepted"), 2_000);
}

#[test]
fn few_events_without_a_key_go_to_the_partitions_in_turn() {
    let cluster = Cluster::start(1);
    cluster.create_topic("events", 4);
    let daemon = daemon(&cluster).start().unwrap();
    let mut writer = daemon.writer().unwrap();
    for number in 0..8 {
        write(&mut writer, number..number + 1);
        wait_drained(&daemon);
    }
    for partition in 0..4 {
        let found = in_partition(&cluster, "events", partition);
        assert_eq!(found.len(), 2, "partition {partition}: {found:?}");
    }
}

#[test]
fn the_oldest_event_has_an_age_also_while_no_broker_was_ever_reached() {
    let cluster = Cluster::start(1);
    cluster.broker_down(1);
    let daemon = daemon(&cluster).start().unwrap();
    let mut writer = daemon.writer().unwrap();
    write(&mut writer, 0..1);
    wait_for(WITHIN, "an age of a second", || {
        let age = &daemon.status_json()?["oldest_undelivered_seconds"];
        Ok(age.as_u64().is_some_and(|seconds| seconds > 0))
    })
    .unwrap();
}

#[test]
fn events_with_a_key_keep_their_order_and_go_where_the_java_client_sends_them() {
    let cluster = Cluster::start(1);
    cluster.create_topic("events", 4);
    let daemon = daemon(&cluster).route("key = \"k\"").start().unwrap();
    let mut writer = daemon.writer().unwrap();
    write(&mut writer, 0..1_000);
    cluster.wait_until("all there", WITHIN, all("events", 1_000));
    assert_each_once(&numbers(&cluster, "events", 4), 1_000);
    for partition in 0..4 {
        let found = in_partition(&cluster, "events", partition);
        assert!(found.is_sorted(), "partition {partition} is in order");
    }
    let keys = cluster.records("events", 0);
    assert!(keys.iter().all(|record| {
        record
            .key
            .as_deref()
            .is_some_and(|k| k.starts_with(b"key-"))
    }));
}

/// A daemon that has delivered 200 keyed events, and whose partition 1 is dead since.
fn with_a_dead_partition(cluster: &Cluster) -> (Daemon, Writer) {
    cluster.create_topic("events", 2);
    let daemon = daemon(cluster)
        .route("key = \"k\"")
        .kafka("batch.events = 20")
        .kafka("request.timeout.ms = 1000")
        .start()
        .unwrap();
    let mut writer = daemon.writer().unwrap();
    write(&mut writer, 0..200);
    cluster.wait_until("all there", WITHIN, all("events", 200));
    // An append whose answer is lost would come again after a restart, as it must.
    wait_drained(&daemon);
    cluster.broker_down(2);
    (daemon, writer)
}

#[test]
fn a_dead_partition_does_not_hold_up_the_others_and_catches_up_in_order() {
    let cluster = Cluster::start(2);
    let (daemon, mut writer) = with_a_dead_partition(&cluster);
    let dead = cluster.records("events", 1).len();
    // Far more for the dead partition than its batches can hold.
    write(&mut writer, 200..4_200);
    let expected_alive = expected(&cluster, 4_200);
    cluster.wait_until(
        "the living partition to get all of its events",
        WITHIN,
        |state| state.record_count("events", 0) == expected_alive,
    );
    assert_eq!(cluster.records("events", 1).len(), dead);
    let waiting = 4_200 - expected_alive as u64 - dead as u64;
    wait_for(WITHIN, "the ledger", || {
        Ok(ledger(&daemon, "in_spool") == waiting)
    })
    .unwrap();

    cluster.broker_up(2);
    cluster.wait_until("all there", WITHIN, all("events", 4_200));
    assert_each_once(&numbers(&cluster, "events", 2), 4_200);
    assert!(in_partition(&cluster, "events", 0).is_sorted());
    assert!(in_partition(&cluster, "events", 1).is_sorted());
    wait_drained(&daemon);
}

/// How many of the first `count` events belong to partition 0, judged by the keys that are
/// already there.
fn expected(cluster: &Cluster, count: u64) -> usize {
    let zero: std::collections::BTreeSet<u64> = in_partition(cluster, "events", 0)
        .into_iter()
        .map(|number| number % 40)
        .collect();
    (0..count)
        .filter(|number| zero.contains(&(number % 40)))
        .count()
}

#[test]
fn holes_survive_a_restart_and_nothing_is_sent_twice() {
    let cluster = Cluster::start(2);
    let (mut daemon, mut writer) = with_a_dead_partition(&cluster);
    write(&mut writer, 200..3_000);
    let alive = expected(&cluster, 3_000);
    cluster.wait_until("the living partition", WITHIN, |state| {
        state.record_count("events", 0) == alive
    });
    drop(writer);
    wait_for(WITHIN, "the answers of the living partition", || {
        Ok(ledger(&daemon, "delivered") >= alive as u64)
    })
    .unwrap();
    let in_spool = ledger(&daemon, "in_spool");
    assert!(daemon.sigterm(WITHIN).unwrap().success());
    daemon.start().unwrap();
    assert_eq!(
        ledger(&daemon, "in_spool"),
        in_spool,
        "the ledger balances over the restart"
    );
    cluster.broker_up(2);
    cluster.wait_until("all there", WITHIN, all("events", 3_000));
    assert_each_once(&numbers(&cluster, "events", 2), 3_000);
}

#[test]
fn one_refused_record_becomes_a_dead_letter_and_its_neighbours_arrive() {
    let cluster = Cluster::start(1);
    cluster.create_topic("events", 1);
    let daemon = daemon(&cluster).kafka("linger.ms = 200").start().unwrap();
    cluster.script(When::produce(), Action::RejectRecord(3, "no such colour"));
    let mut writer = daemon.writer().unwrap();
    write(&mut writer, 0..10);
    cluster.wait_until("the neighbours", WITHIN, all("events", 9));
    let found = in_partition(&cluster, "events", 0);
    assert_eq!(found, [0, 1, 2, 4, 5, 6, 7, 8, 9]);
    wait_drained(&daemon);
    assert_eq!(ledger(&daemon, "dead_lettered"), 1);

    let listed = daemon
        .command("dead-letter")
        .args(["list", "--json"])
        .output()
        .unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    assert!(listed.contains("no such colour"), "{listed}");
    let letter: serde_json::Value = serde_json::from_str(listed.lines().next().unwrap()).unwrap();
    let seq = letter["seq"].to_string();
    let shown = daemon
        .command("dead-letter")
        .args(["show", &seq])
        .output()
        .unwrap();
    assert_eq!(shown.stdout, line(3).as_bytes());

    let retried = daemon
        .command("dead-letter")
        .args(["retry", &seq])
        .output()
        .unwrap();
    assert!(retried.status.success(), "{retried:?}");
    cluster.wait_until("the mended one", WITHIN, all("events", 10));
    assert_eq!(in_partition(&cluster, "events", 0).last(), Some(&3));
    wait_drained(&daemon);
    let status = daemon.status_json().unwrap();
    let of = |key: &str| status["ledger"][key].as_u64().unwrap();
    assert_eq!(
        of("accepted"),
        of("delivered") + of("dead_lettered") + of("in_spool")
    );
}

#[test]
fn one_event_too_large_for_the_topic_is_isolated() {
    let cluster = Cluster::start(1);
    cluster.create_topic("events", 1);
    cluster.set_max_message_bytes("events", 20_000);
    let daemon = daemon(&cluster)
        .kafka("compression.type = \"none\"")
        .kafka("linger.ms = 200")
        .start()
        .unwrap();
    let mut writer = daemon.writer().unwrap();
    let large = format!(r#"{{"n":50,"pad":"{}"}}"#, "x".repeat(30_000));
    (0..50).for_each(|number| {
        writer.send(line(number).as_bytes()).unwrap();
    });
    writer.send(large.as_bytes()).unwrap();
    write(&mut writer, 51..101);
    cluster.wait_until("the neighbours", WITHIN, all("events", 100));
    let found = in_partition(&cluster, "events", 0);
    assert!(found.is_sorted(), "order is kept: {found:?}");
    assert!(!found.contains(&50));
    wait_drained(&daemon);
    assert_eq!(ledger(&daemon, "dead_lettered"), 1);
}

#[test]
fn a_missing_topic_is_waited_for_and_then_given_up_by_name() {
    let cluster = Cluster::start(1);
    let daemon = daemon(&cluster)
        .topic("missing")
        .kafka("topic_patience = \"2s\"")
        .kafka("metadata.max.age.ms = 1000")
        .start()
        .unwrap();
    let mut writer = daemon.writer().unwrap();
    write(&mut writer, 0..100);
    wait_for(WITHIN, "dead letters", || {
        Ok(ledger(&daemon, "dead_lettered") == 100)
    })
    .unwrap();
    assert_eq!(ledger(&daemon, "in_spool"), 0);
    cluster.create_topic("missing", 1);
    wait_for(WITHIN, "the daemon to see the topic", || {
        let brokers = &daemon.status_json()?["kafka"]["brokers"];
        Ok(brokers
            .as_array()
            .is_some_and(|brokers| !brokers.is_empty()))
    })
    .unwrap();
    write(&mut writer, 100..101);
    cluster.wait_until("the topic to be used", WITHIN, all("missing", 1));
    let retried = daemon
        .command("dead-letter")
        .args(["retry", "--all"])
        .output()
        .unwrap();
    assert!(retried.status.success(), "{retried:?}");
    cluster.wait_until("the letters", WITHIN, all("missing", 101));
}

#[test]
fn a_topic_made_late_gets_what_waited_for_it_in_order() {
    let cluster = Cluster::start(1);
    let daemon = daemon(&cluster)
        .topic("late")
        .kafka("metadata.max.age.ms = 1000")
        .start()
        .unwrap();
    let mut writer = daemon.writer().unwrap();
    write(&mut writer, 0..500);
    assert_eq!(ledger(&daemon, "in_spool"), 500);
    cluster.create_topic("late", 1);
    cluster.wait_until("all there", WITHIN, all("late", 500));
    assert!(in_partition(&cluster, "late", 0).is_sorted());
}

#[test]
fn a_lingering_batch_goes_without_more_events() {
    let cluster = Cluster::start(1);
    cluster.create_topic("events", 1);
    let daemon = daemon(&cluster).kafka("linger.ms = 50").start().unwrap();
    let mut writer = daemon.writer().unwrap();
    let started = Instant::now();
    write(&mut writer, 0..1);
    cluster.wait_until("one event", WITHIN, all("events", 1));
    assert!(
        started.elapsed() < Duration::from_secs(20),
        "it did not wait for a full batch"
    );
}

#[test]
fn a_stop_with_the_broker_silent_ends_in_time_and_loses_nothing() {
    let cluster = Cluster::start(1);
    cluster.create_topic("events", 1);
    let mut daemon = daemon(&cluster)
        .root("stop_timeout = \"3s\"")
        .start()
        .unwrap();
    cluster.script(When::produce().always(), Action::Silence);
    let mut writer = daemon.writer().unwrap();
    write(&mut writer, 0..100);
    drop(writer);
    assert!(daemon.sigterm(Duration::from_secs(10)).unwrap().success());
    cluster.clear_script();
    daemon.start().unwrap();
    cluster.wait_until("all there", WITHIN, all("events", 100));
    assert_each_once(&numbers(&cluster, "events", 1), 100);
}

#[test]
fn throttled_answers_count_as_the_success_they_are() {
    let cluster = Cluster::start(1);
    cluster.create_topic("events", 1);
    let pause = Duration::from_millis(100);
    cluster.script(When::produce().times(10), Action::Throttle(pause));
    let daemon = daemon(&cluster).kafka("batch.events = 50").start().unwrap();
    let mut writer = daemon.writer().unwrap();
    write(&mut writer, 0..1_000);
    cluster.wait_until("all there", WITHIN, all("events", 1_000));
    wait_drained(&daemon);
    assert_each_once(&numbers(&cluster, "events", 1), 1_000);
}
