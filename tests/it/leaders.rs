//! Three real brokers, and one dies under load: the leader of a partition, or the coordinator
//! of transactions. Another takes over; every event is in the log once, and in order.

use std::time::Duration;

use spoolway_test_support::kafka::wait::wait_for;
use spoolway_test_support::kafka::{Trio, Version};

use crate::producer_rig::{Rig, config};
use crate::transaction_rig::{assert_java_sees_each_once, instance_at, positions, transaction};
use crate::transaction_rig::{wait_drained, write};

/// Events in each batch.
const BATCH: u32 = 50;

/// Batches acknowledged before the leader dies, and sent after another has taken over.
const BATCHES: u64 = 100;

/// A leader is given up after some seconds without a sign of life.
const TAKE_OVER: Duration = Duration::from_secs(60);

/// Coordinators that die one after the other.
const DEATHS: usize = 2;

/// Runs that have to be committed by the next coordinator.
const RUNS: u64 = 5;

#[test]
fn a_leader_or_coordinator_that_dies_costs_and_doubles_nothing_on_the_newest_kafka() {
    let mut trio = Trio::start(Version::V4_4).unwrap();
    a_leader_dies(&mut trio);
    coordinators_die(&mut trio);
}

#[test]
fn a_leader_or_coordinator_that_dies_costs_and_doubles_nothing_on_kafka_3_9() {
    let mut trio = Trio::start(Version::V3_9).unwrap();
    a_leader_dies(&mut trio);
    coordinators_die(&mut trio);
}

fn a_leader_dies(trio: &mut Trio) {
    trio.create_topic("led", 1, &[]).unwrap();
    let (first, _) = trio.leader("led").unwrap().unwrap();
    let mut config = config(&trio.bootstrap());
    config.request_timeout = Duration::from_secs(5);
    config.connect_timeout = Duration::from_secs(5);
    let mut rig = Rig::start(&config);
    let mut sent = 0;
    load(&mut rig, &mut sent, BATCHES);
    trio.node(first).kill9().unwrap();
    // As many as the producer takes without an answer: they are on their way meanwhile.
    let mut moved = false;
    wait_for(TAKE_OVER, "another leader", || {
        if rig.unresolved() < 5 {
            rig.send("led", 0, BATCH);
            sent += 1;
        }
        rig.poll();
        moved |= trio.leader("led")?.is_some_and(|(now, _)| now != first);
        Ok(moved && rig.unresolved() < 5)
    })
    .unwrap();
    load(&mut rig, &mut sent, BATCHES);
    rig.settle();
    let expected: Vec<u64> = (1..=sent * u64::from(BATCH)).collect();
    let apart = rig.acked.iter().zip(&expected).position(|(a, b)| a != b);
    assert!(
        rig.acked == expected,
        "{} of {} acknowledged, apart at {apart:?}: {:?}\nback: {:?}",
        rig.acked.len(),
        expected.len(),
        &rig.acked[apart.unwrap_or(0)..][..5],
        rig.back,
    );
    let records = trio.reader("led").unwrap().read_all("led").unwrap();
    let values = records.iter().map(|r| r.value.clone().unwrap());
    let found: Vec<u64> = values
        .map(|v| String::from_utf8(v.to_vec()).unwrap().parse().unwrap())
        .collect();
    assert!(
        found == expected,
        "{} of {} there",
        found.len(),
        expected.len()
    );
    trio.restart(first).unwrap();
}

fn coordinators_die(trio: &mut Trio) {
    let id = "txn-cluster";
    trio.create_topic(id, 3, &[]).unwrap();
    let compact = [("cleanup.policy", "compact")];
    trio.create_topic(&positions(id), 1, &compact).unwrap();
    let daemon = instance_at(&trio.bootstrap(), id).start().unwrap();
    let mut writer = daemon.writer().unwrap();
    let mut sent = 0;
    let mut load_until = |what: &str, done: &dyn Fn() -> bool| {
        wait_for(TAKE_OVER, what, || {
            write(&mut writer, sent..sent + 100);
            sent += 100;
            Ok(done())
        })
        .unwrap_or_else(|error| panic!("{error:#}\n{}", daemon.log()));
    };
    let committed = || transaction(&daemon, "committed").as_u64().unwrap();
    load_until("runs", &|| committed() >= RUNS);
    for _ in 0..DEATHS {
        let first = trio.coordinator(id).unwrap();
        trio.node(first).kill9().unwrap();
        load_until("another coordinator", &|| {
            trio.coordinator(id).is_some_and(|now| now != first)
        });
        let before = committed();
        load_until("runs by it", &|| committed() >= before + RUNS);
        trio.restart(first).unwrap();
        wait_for(TAKE_OVER, "all replicas", || {
            Ok(trio.leader(id)?.is_some_and(|(_, in_sync)| in_sync == 3))
        })
        .unwrap();
    }
    wait_drained(&daemon);
    assert_java_sees_each_once(trio.node(0), id, sent);
}

/// Sends `batches` with at most five unanswered at a time.
fn load(rig: &mut Rig, sent: &mut u64, batches: u64) {
    for _ in 0..batches {
        while rig.unresolved() >= 5 {
            rig.poll();
            std::thread::yield_now();
        }
        rig.send("led", 0, BATCH);
        *sent += 1;
    }
}
