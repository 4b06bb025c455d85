//! `match = "all"`: an event goes to each route that takes it, and leaves the spool when the
//! last copy is settled. The real daemon against the scripted cluster.

use std::time::Duration;

use spoolway_test_support::daemon::{Daemon, Writer};
use spoolway_test_support::kafka::wait::wait_for;
use spoolway_test_support::scripted::{Action, Cluster, Record, When};

const WITHIN: Duration = Duration::from_secs(30);

/// Routes to `first`, and those with a `to` also to `second`.
const BOTH: &str = "name = \"all\"\n[routing]\nmatch = \"all\"\n[[route]]\nname = \"some\"\n\
                    trigger = 'to > 0'\ntopic = \"second\"";

fn daemon(cluster: &Cluster, lines: &str) -> Daemon {
    Daemon::builder(env!("CARGO_BIN_EXE_spoolway"))
        .bootstrap(&cluster.bootstrap())
        .topic("first")
        .route(lines)
        .root("stop_timeout = \"3s\"")
        .kafka("batch.events = 20")
        .kafka("request.timeout.ms = 1000")
        .start()
        .unwrap()
}

/// A cluster of two brokers; partition 1 of `second` is all that the other one leads.
fn cluster() -> Cluster {
    let cluster = Cluster::start(2);
    cluster.create_topic("first", 1);
    cluster.create_topic("second", 2);
    cluster
}

/// Every third event goes to one topic only.
fn line(number: u64) -> String {
    format!("{{\"n\":{number},\"to\":{}}}", number % 3)
}

fn write(writer: &mut Writer, numbers: std::ops::Range<u64>) {
    let mut sent = 0;
    for number in numbers {
        sent = writer.send(line(number).as_bytes()).unwrap();
    }
    writer.wait_acked(sent).unwrap();
}

fn numbers(cluster: &Cluster, topic: &str, partition: i32) -> Vec<u64> {
    let number = |record: &Record| {
        let json: serde_json::Value = serde_json::from_slice(record.value_bytes()).unwrap();
        json["n"].as_u64().unwrap()
    };
    let records = cluster.records(topic, partition);
    records.iter().map(number).collect()
}

fn twice(count: u64) -> Vec<u64> {
    (0..count).filter(|number| number % 3 != 0).collect()
}

fn ledger(daemon: &Daemon, name: &str) -> u64 {
    daemon.status_json().unwrap()["ledger"][name]
        .as_u64()
        .unwrap()
}

fn wait_ledger(daemon: &Daemon, name: &str, wanted: u64) {
    wait_for(WITHIN, &format!("{wanted} {name}"), || {
        Ok(daemon.status_json()?["ledger"][name] == wanted)
    })
    .unwrap();
}

/// Accepted = delivered + dead-lettered + dropped + in the spool.
fn assert_balanced(daemon: &Daemon) {
    let status = daemon.status_json().unwrap();
    let of = |name: &str| status["ledger"][name].as_u64().unwrap();
    let sum = of("delivered") + of("dead_lettered") + of("dropped") + of("in_spool");
    assert_eq!(of("accepted"), sum, "{}", status["ledger"]);
}

#[test]
fn an_event_goes_to_each_route_that_takes_it_once_and_in_order() {
    let cluster = cluster();
    let lines = BOTH.replace("topic = \"second\"", "topic = \"second\"\npartition = 1");
    let daemon = daemon(&cluster, &lines);
    let mut writer = daemon.writer().unwrap();
    write(&mut writer, 0..900);
    wait_ledger(&daemon, "delivered", 900);
    assert_eq!(numbers(&cluster, "first", 0), (0..900).collect::<Vec<_>>());
    assert_eq!(numbers(&cluster, "second", 1), twice(900));
    assert_balanced(&daemon);
    wait_for(WITHIN, "no memory for copies", || {
        Ok(daemon.status_json()?["drain"]["copy_bytes"] == 0)
    })
    .unwrap();
}

#[test]
fn two_copies_for_one_partition_are_two_records() {
    let cluster = cluster();
    let lines = BOTH.replace("\"second\"", "\"first\"\nkey = \"n\"");
    let daemon = daemon(&cluster, &lines);
    let mut writer = daemon.writer().unwrap();
    write(&mut writer, 0..300);
    wait_ledger(&daemon, "delivered", 300);
    let mut wanted: Vec<u64> = (0..300).chain(twice(300)).collect();
    wanted.sort_unstable();
    assert_eq!(numbers(&cluster, "first", 0), wanted);
}

#[test]
fn copies_for_a_dead_partition_wait_and_the_others_are_sent_once() {
    let cluster = cluster();
    let lines = BOTH.replace("topic = \"second\"", "topic = \"second\"\npartition = 1");
    let daemon = daemon(&cluster, &lines);
    let mut writer = daemon.writer().unwrap();
    write(&mut writer, 0..90);
    wait_ledger(&daemon, "delivered", 90);
    let before = numbers(&cluster, "second", 1).len();
    cluster.broker_down(2);
    write(&mut writer, 90..3_000);
    cluster.wait_until("the living topic to get everything", WITHIN, |state| {
        state.record_count("first", 0) == 3_000
    });
    let single = (0..3_000).filter(|number| number % 3 == 0).count() as u64;
    wait_ledger(&daemon, "delivered", single + before as u64);
    assert_balanced(&daemon);
    assert!(
        daemon.status_json().unwrap()["drain"]["copy_bytes"].as_u64() > Some(0),
        "what waits is shown"
    );
    cluster.broker_up(2);
    wait_ledger(&daemon, "delivered", 3_000);
    assert_eq!(
        numbers(&cluster, "first", 0),
        (0..3_000).collect::<Vec<_>>()
    );
    assert_eq!(numbers(&cluster, "second", 1), twice(3_000));
    assert_balanced(&daemon);
}

#[test]
fn after_a_restart_open_events_are_sent_again_by_each_route() {
    let cluster = cluster();
    let lines = BOTH.replace("topic = \"second\"", "topic = \"second\"\npartition = 1");
    let mut daemon = daemon(&cluster, &lines);
    cluster.broker_down(2);
    let mut writer = daemon.writer().unwrap();
    write(&mut writer, 0..300);
    wait_ledger(&daemon, "delivered", 100);
    drop(writer);
    assert!(daemon.sigterm(WITHIN).unwrap().success());
    daemon.start().unwrap();
    cluster.broker_up(2);
    wait_ledger(&daemon, "in_spool", 0);
    assert_eq!(numbers(&cluster, "second", 1), twice(300));
    let mut first = numbers(&cluster, "first", 0);
    assert_eq!(first.len(), 500, "two hundred open events went again");
    first.sort_unstable();
    first.dedup();
    assert_eq!(first, (0..300).collect::<Vec<_>>());
    assert_eq!(ledger(&daemon, "delivered"), 300);
}

#[test]
fn a_refused_copy_is_a_dead_letter_of_its_route_and_the_other_copy_arrives() {
    let cluster = cluster();
    let lines = BOTH.replace("topic = \"second\"", "topic = \"second\"\npartition = 1");
    let daemon = daemon(&cluster, &lines);
    let to_second = When::produce().partition("second", 1);
    cluster.script(to_second, Action::RejectRecord(0, "no such colour"));
    let mut writer = daemon.writer().unwrap();
    write(&mut writer, 0..90);
    wait_ledger(&daemon, "in_spool", 0);
    assert_eq!(ledger(&daemon, "dead_lettered"), 1);
    assert_eq!(ledger(&daemon, "delivered"), 89);
    assert_eq!(numbers(&cluster, "first", 0), (0..90).collect::<Vec<_>>());
    assert_eq!(numbers(&cluster, "second", 1), twice(90)[1..]);
    let listed = daemon.dead_letters().unwrap();
    assert!(listed.contains("route some: "), "{listed}");
    assert_balanced(&daemon);
}

#[test]
fn two_refused_copies_are_one_dead_letter_with_both_reasons() {
    let cluster = cluster();
    let lines = "name = \"all\"\npartition = 7\n[routing]\nmatch = \"all\"\n[[route]]\n\
                 name = \"text\"\ntopic = \"second\"\npartition = \"n\"";
    let daemon = daemon(&cluster, lines);
    let mut writer = daemon.writer().unwrap();
    writer.send(b"{\"n\":\"x\"}").unwrap();
    writer.send_acked(b"{\"n\":0}").unwrap();
    wait_ledger(&daemon, "dead_lettered", 2);
    let listed = daemon.dead_letters().unwrap();
    let lines: Vec<&str> = listed.lines().collect();
    assert_eq!(lines.len(), 2, "{listed}");
    assert!(lines[0].contains("route all: topic first has no partition 7; route text: "));
    assert!(lines[1].contains("route all: ") && !lines[1].contains("route text"));
    assert_eq!(numbers(&cluster, "second", 0), [0]);
}

#[test]
fn a_reload_sends_no_copy_again_and_drops_what_no_route_wants_any_more() {
    let cluster = cluster();
    let lines = BOTH.replace("topic = \"second\"", "topic = \"second\"\npartition = 1");
    let daemon = daemon(&cluster, &lines);
    cluster.broker_down(2);
    let mut writer = daemon.writer().unwrap();
    write(&mut writer, 0..3_000);
    wait_ledger(&daemon, "delivered", 1_000);
    // What waits goes elsewhere now: the first half by the route of that name, the rest by
    // none. What is with the producer stays there.
    let text = std::fs::read_to_string(daemon.config()).unwrap();
    let text = text.replace("'to > 0'", "'to > 0 and n < 2000'");
    let text = text.replace("partition = 1", "partition = 0");
    std::fs::write(daemon.config(), text).unwrap();
    daemon.sighup().unwrap();
    wait_for(WITHIN, "the routes", || {
        Ok(daemon.log().contains("in force from the next event on"))
    })
    .unwrap();
    cluster.broker_up(2);
    wait_ledger(&daemon, "in_spool", 0);
    assert_eq!(
        numbers(&cluster, "first", 0),
        (0..3_000).collect::<Vec<_>>()
    );
    let moved = numbers(&cluster, "second", 0);
    assert!(!moved.is_empty() && moved.iter().all(|number| *number < 2_000));
    let mut second = numbers(&cluster, "second", 1);
    second.extend(moved);
    second.sort_unstable();
    let each_once = second.is_sorted_by(|a, b| a < b);
    assert!(each_once && second.starts_with(&twice(2_000)), "{second:?}");
    let dropped = ledger(&daemon, "dropped");
    assert_eq!(second.len() as u64 + dropped, 2_000);
    assert!(dropped > 0);
    assert_balanced(&daemon);
}
