//! The whole daemon against a scripted cluster: each fault that a network or a broker can
//! have, and every event in Kafka once and in order all the same.
//!
//! The producer's own tests look closer; these prove the wiring. Crashes are in `crash`.

#![expect(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test, helpers included, fails by panicking"
)]

use std::thread;
use std::time::Duration;

use spoolway_test_support::daemon::{Builder, Daemon, Journal, Writer};
use spoolway_test_support::kafka::wait::wait_for;
use spoolway_test_support::scripted::{Action, Api, Cluster, When, code};

const TOPIC: &str = "events";
const WITHIN: Duration = Duration::from_secs(30);
/// Events sent before and after the fault each.
const SHARE: u64 = 60;

fn daemon(cluster: &Cluster) -> Builder {
    Daemon::builder(env!("CARGO_BIN_EXE_spoolway"))
        .bootstrap(&cluster.bootstrap())
        .topic(TOPIC)
        .kafka("batch.events = 7\nrequest.timeout.ms = 1000")
        .kafka("socket.connection.setup.timeout.ms = 1000")
        .kafka("retry.backoff.ms = 10\nretry.backoff.max.ms = 50")
        .kafka("reconnect.backoff.ms = 10\nreconnect.backoff.max.ms = 50")
}

/// Sends the next `count` events and waits until the daemon has them.
fn send(writer: &mut Writer, journal: &mut Journal, count: u64) {
    let mut bytes = Vec::new();
    for _ in 0..count {
        bytes.extend(Journal::event(1, journal.next(1)));
        bytes.push(b'\n');
    }
    let sent = writer.send_lines(&bytes, count).unwrap();
    writer.wait_acked(sent).unwrap();
}

fn values(cluster: &Cluster) -> Vec<Vec<u8>> {
    let records = cluster.records(TOPIC, 0);
    records.iter().map(|r| r.value_bytes().to_vec()).collect()
}

/// Waits for `count` events in the one partition and checks that they are there once and in
/// order.
#[track_caller]
fn check_once_in_order(what: &str, cluster: &Cluster, daemon: &Daemon, count: u64) {
    cluster.wait_until(what, WITHIN, |state| {
        state.record_count(TOPIC, 0) as u64 >= count
    });
    wait_empty(daemon);
    let expected: Vec<Vec<u8>> = (1..=count).map(|n| Journal::event(1, n)).collect();
    let stored = values(cluster);
    if stored != expected {
        let position = |value: &Vec<u8>| expected.iter().position(|e| e == value);
        let order: Vec<_> = stored.iter().map(position).collect();
        panic!("{what}: not once and in order: {order:?}\n{}", daemon.log());
    }
    assert_eq!(cluster.violations(), Vec::<String>::new(), "{what}");
}

fn ledger(daemon: &Daemon, key: &str) -> u64 {
    let status = daemon.status_json().unwrap();
    let number = status["ledger"][key].as_u64();
    number.unwrap_or_else(|| panic!("no ledger.{key} in {status:#}"))
}

#[track_caller]
fn wait_empty(daemon: &Daemon) {
    let empty = wait_for(WITHIN, "an empty spool", || {
        Ok(ledger(daemon, "in_spool") == 0)
    });
    if let Err(error) = empty {
        panic!(
            "{error}: {:#}\n{}",
            daemon.status_json().unwrap(),
            daemon.log()
        );
    }
}

/// Runs a daemon through one fault, in a cluster of its own.
fn survive(what: &str, when: When, action: Action) {
    let cluster = Cluster::start(1);
    cluster.create_topic(TOPIC, 1);
    cluster.script(when, action);
    let daemon = daemon(&cluster).start().unwrap();
    let mut writer = daemon.writer().unwrap();
    let mut journal = Journal::default();
    send(&mut writer, &mut journal, SHARE);
    send(&mut writer, &mut journal, SHARE);
    check_once_in_order(what, &cluster, &daemon, 2 * SHARE);
}

#[test]
fn a_broken_connection_or_answer_doubles_and_loses_nothing() {
    let actions = [
        Action::DropBefore,
        Action::DropAfter,
        Action::Silence,
        Action::SilenceAfter,
        Action::Malformed(vec![2]),
        Action::Malformed(vec![0xff; 40]),
        Action::FrameLength(-1),
        Action::FrameLength(0),
        Action::FrameLength(i32::MAX),
        Action::WrongCorrelationId,
        Action::Truncated(4),
        Action::CutShort,
        Action::Delay(Duration::from_millis(300)),
        Action::Throttle(Duration::from_millis(300)),
    ];
    // Most of the time is spent waiting for deadlines, so the faults go side by side.
    thread::scope(|scope| {
        for action in actions {
            scope.spawn(move || {
                for nth in [1, 3] {
                    let what = format!("{action:?} of produce {nth}");
                    survive(&what, When::produce().nth(nth), action.clone());
                }
                for api in [Api::ApiVersions, Api::Metadata, Api::InitProducerId] {
                    let what = format!("{action:?} of {api:?}");
                    survive(&what, When::api(api), action.clone());
                }
            });
        }
    });
}

#[test]
fn a_retriable_error_doubles_and_loses_nothing() {
    let before = [
        code::CORRUPT_MESSAGE,
        code::LEADER_NOT_AVAILABLE,
        code::NOT_LEADER_OR_FOLLOWER,
        code::REQUEST_TIMED_OUT,
        code::NOT_ENOUGH_REPLICAS,
        code::KAFKA_STORAGE_ERROR,
    ];
    let after = [
        code::REQUEST_TIMED_OUT,
        code::NOT_ENOUGH_REPLICAS_AFTER_APPEND,
    ];
    let actions = before
        .map(Action::Error)
        .into_iter()
        .chain(after.map(Action::ErrorAfter));
    for action in actions {
        let when = When::produce().nth(2).times(3);
        survive(&format!("{action:?} three times"), when, action);
    }
}

#[test]
fn no_batch_goes_out_without_a_producer_id() {
    let when = When::api(Api::InitProducerId).times(4);
    survive(
        "no producer id yet",
        when,
        Action::Error(code::COORDINATOR_LOAD_IN_PROGRESS),
    );
}

#[test]
fn a_broker_that_restarts_and_remembers_little_doubles_nothing() {
    let cluster = Cluster::start(1);
    cluster.create_topic(TOPIC, 1);
    let daemon = daemon(&cluster).start().unwrap();
    let mut writer = daemon.writer().unwrap();
    let mut journal = Journal::default();
    for round in 1..=5 {
        // Answers are lost while several batches are in flight, then the broker restarts.
        cluster.script(When::produce(), Action::SilenceAfter);
        send(&mut writer, &mut journal, SHARE);
        cluster.restart(1);
        send(&mut writer, &mut journal, SHARE);
        check_once_in_order("a restart", &cluster, &daemon, round * 2 * SHARE);
    }
}

#[test]
fn a_partition_is_followed_to_its_new_leader() {
    let cluster = Cluster::start(3);
    cluster.create_topic(TOPIC, 1);
    let daemon = daemon(&cluster).start().unwrap();
    let mut writer = daemon.writer().unwrap();
    let mut journal = Journal::default();
    for (round, leader) in (1..).zip([2, 3, 1, 2, 1]) {
        send(&mut writer, &mut journal, SHARE);
        cluster.move_leader(TOPIC, 0, leader);
        send(&mut writer, &mut journal, SHARE);
        check_once_in_order("a leader move", &cluster, &daemon, round * 2 * SHARE);
    }
    send(&mut writer, &mut journal, SHARE);
    cluster.broker_down(1);
    cluster.fence(1);
    send(&mut writer, &mut journal, SHARE);
    cluster.move_leader(TOPIC, 0, 3);
    check_once_in_order("a dead leader", &cluster, &daemon, 12 * SHARE);
}

#[test]
fn events_are_taken_while_no_broker_answers_and_delivered_when_one_does() {
    let cluster = Cluster::start(2);
    cluster.create_topic(TOPIC, 1);
    for broker in [1, 2] {
        cluster.broker_down(broker);
    }
    let daemon = daemon(&cluster).start().unwrap();
    let mut writer = daemon.writer().unwrap();
    let mut journal = Journal::default();
    send(&mut writer, &mut journal, SHARE);
    assert_eq!(ledger(&daemon, "in_spool"), SHARE);
    for broker in [1, 2] {
        cluster.broker_up(broker);
    }
    check_once_in_order("the brokers are back", &cluster, &daemon, SHARE);
}

#[test]
fn a_topic_that_does_not_exist_yet_keeps_its_events_waiting() {
    let cluster = Cluster::start(1);
    let daemon = daemon(&cluster)
        .kafka("metadata.max.age.ms = 1000")
        .start()
        .unwrap();
    let mut writer = daemon.writer().unwrap();
    let mut journal = Journal::default();
    send(&mut writer, &mut journal, SHARE);
    cluster.wait_until("asked for it", WITHIN, |state| {
        state.count(Api::Metadata) >= 3
    });
    assert_eq!(ledger(&daemon, "in_spool"), SHARE);
    cluster.create_topic(TOPIC, 1);
    check_once_in_order("the topic is there", &cluster, &daemon, SHARE);
    cluster.set_error(TOPIC, code::TOPIC_AUTHORIZATION_FAILED);
    send(&mut writer, &mut journal, SHARE);
    cluster.wait_until("refused", WITHIN, |state| {
        let sent = state.requests().iter().flat_map(|r| &r.sent);
        sent.filter(|s| s.code == code::TOPIC_AUTHORIZATION_FAILED)
            .count()
            > 0
    });
    assert_eq!(ledger(&daemon, "in_spool"), SHARE);
    cluster.set_error(TOPIC, code::NONE);
    check_once_in_order("allowed again", &cluster, &daemon, 2 * SHARE);
}

#[test]
fn an_event_that_the_broker_refuses_for_good_goes_to_the_dead_letters_alone() {
    let cluster = Cluster::start(1);
    cluster.create_topic(TOPIC, 1);
    let small = 4096;
    cluster.set_max_message_bytes(TOPIC, small);
    let daemon = daemon(&cluster)
        .kafka("compression.type = \"none\"")
        .start()
        .unwrap();
    let mut writer = daemon.writer().unwrap();
    let mut journal = Journal::default();
    send(&mut writer, &mut journal, SHARE);
    let large = vec![b'x'; 2 * small];
    writer.send_acked(&large).unwrap();
    send(&mut writer, &mut journal, SHARE);
    check_once_in_order("a large event", &cluster, &daemon, 2 * SHARE);
    assert_eq!(ledger(&daemon, "dead_lettered"), 1);

    cluster.script(When::produce(), Action::RejectRecord(0, "not to our taste"));
    writer.send_acked(b"refused by name").unwrap();
    wait_empty(&daemon);
    assert_eq!(ledger(&daemon, "dead_lettered"), 2);
    assert_eq!(ledger(&daemon, "accepted"), 2 * SHARE + 2);
    assert_eq!(ledger(&daemon, "delivered"), 2 * SHARE);
}

#[test]
fn requests_stay_below_the_size_that_was_set() {
    let cluster = Cluster::start(1);
    cluster.create_topic(TOPIC, 8);
    let daemon = daemon(&cluster)
        .kafka("max.request.size = 20000\nbatch.size = 8000\ncompression.type = \"none\"")
        .route("key = \"n\"")
        .start()
        .unwrap();
    let mut writer = daemon.writer().unwrap();
    let mut journal = Journal::default();
    let count = 20 * SHARE;
    send(&mut writer, &mut journal, count);
    cluster.wait_until("stored", WITHIN, |state| {
        state.topic_record_count(TOPIC) as u64 >= count
    });
    let largest = cluster
        .requests()
        .iter()
        .map(|r| r.bytes)
        .max()
        .expect("requests");
    assert!(largest <= 20_000, "a request of {largest} bytes");
    let spread = (0..8)
        .filter(|&p| !cluster.records(TOPIC, p).is_empty())
        .count();
    assert!(spread > 1, "keys go to several partitions");
}
