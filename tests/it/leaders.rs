//! Three real brokers, and the leader dies under load: another takes over, and every
//! acknowledged event is in the log once and in order.

use std::time::Duration;

use spoolway_test_support::kafka::wait::wait_for;
use spoolway_test_support::kafka::{Trio, Version};

use crate::producer_rig::{Rig, config};

/// Events in each batch.
const BATCH: u32 = 50;

/// Batches acknowledged before the leader dies, and sent after another has taken over.
const BATCHES: u64 = 100;

/// A leader is given up after some seconds without a sign of life.
const TAKE_OVER: Duration = Duration::from_secs(60);

#[test]
fn a_leader_that_dies_under_load_costs_nothing_and_doubles_nothing() {
    let mut trio = Trio::start(Version::V4_4).unwrap();
    trio.create_topic("led").unwrap();
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
    assert!(rig.acked == expected, "{} acknowledged", rig.acked.len());
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
