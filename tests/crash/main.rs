//! The whole daemon, killed at random moments under load, against a real Kafka.
//!
//! `SPOOLWAY_KILLS` sets the number of kills (100), `SPOOLWAY_SEED` repeats a run. What may
//! come twice after a kill, as the README has it: batches in flight, and events whose
//! acknowledgement was not yet recorded. Losing power is not tested here: a killed process
//! leaves its writes in the page cache.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test, helpers included, fails by panicking"
)]

mod load;
mod transactional;

use std::ops::Range;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use fastrand::Rng;
use serde_json::Value;
use spoolway_test_support::daemon::{Daemon, Findings, Journal};
use spoolway_test_support::kafka::Kafka;
use spoolway_test_support::kafka::wait::wait_for;

use load::Load;

const KILLS: u64 = 100;
const WRITERS: u32 = 4;
const PARTITIONS: i32 = 3;
const BATCH_EVENTS: u64 = 20;
const IN_FLIGHT: u64 = 5;
/// Life of a daemon between READY=1 and SIGKILL, in milliseconds.
const LIFE_MS: Range<u64> = 0..1200;
/// Of so many starts one is killed while it recovers.
const KILLED_EARLY: u64 = 8;
/// Longest time from start to SIGKILL of those, in milliseconds.
const EARLY_MS: Range<u64> = 0..40;
/// Time in which acknowledgements may wait to be recorded, as the README says: the interval
/// of the drain and a flush on a busy disk.
const UNRECORDED: Duration = Duration::from_millis(250);
/// Longest time for the backlog of a test to reach Kafka.
const DRAINED_WITHIN: Duration = Duration::from_secs(60);
/// Longest time of an ordered stop: `stop_timeout` and some.
const STOPPED_WITHIN: Duration = Duration::from_secs(15);

/// The one broker of these tests, which therefore run one after the other.
fn kafka() -> MutexGuard<'static, Kafka> {
    static KAFKA: OnceLock<Mutex<Kafka>> = OnceLock::new();
    let kafka =
        KAFKA.get_or_init(|| Mutex::new(Kafka::builder().start().expect("the broker starts")));
    kafka.lock().unwrap_or_else(PoisonError::into_inner)
}

fn from_env(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

fn kills() -> u64 {
    from_env("SPOOLWAY_KILLS").unwrap_or(KILLS)
}

/// Random numbers of a test; the seed is printed for `SPOOLWAY_SEED`.
fn rng(test: &str) -> Rng {
    let seed = from_env("SPOOLWAY_SEED").unwrap_or_else(|| fastrand::u64(..));
    eprintln!("{test}: SPOOLWAY_SEED={seed}");
    Rng::with_seed(seed)
}

fn daemon(kafka: &Kafka, topic: &str, ack: &'static str) -> Daemon {
    Daemon::builder(env!("CARGO_BIN_EXE_spoolway"))
        .bootstrap(&kafka.bootstrap())
        .topic(topic)
        .route("key = \"writer\"")
        .ack(ack)
        .kafka(&format!("batch.events = {BATCH_EVENTS}"))
        .kafka(&format!(
            "max.in.flight.requests.per.connection = {IN_FLIGHT}"
        ))
        .kafka("reconnect.backoff.ms = 20\nreconnect.backoff.max.ms = 200")
        .kafka("retry.backoff.ms = 20\nretry.backoff.max.ms = 200")
        .start()
        .unwrap()
}

/// Kills the daemon at a random moment and starts it again.
fn kill_and_restart(daemon: &mut Daemon, rng: &mut Rng) {
    thread::park_timeout(Duration::from_millis(rng.u64(LIFE_MS)));
    daemon.kill9().unwrap();
    if rng.u64(..KILLED_EARLY) == 0 {
        daemon.launch().unwrap();
        thread::park_timeout(Duration::from_millis(rng.u64(EARLY_MS)));
        daemon.kill9().unwrap();
    }
    daemon.start().unwrap();
}

fn number(status: &Value, key: &str) -> u64 {
    let found = status["ledger"][key].as_u64();
    found.unwrap_or_else(|| panic!("no ledger.{key} in {status:#}"))
}

/// accepted = delivered + dead-lettered + dropped + in spool, and nothing lost.
fn check_ledger(daemon: &Daemon) -> Value {
    let status = daemon.status_json().unwrap();
    let parts = ["delivered", "dead_lettered", "dropped", "lost", "in_spool"];
    let sum: u64 = parts.iter().map(|part| number(&status, part)).sum();
    assert_eq!(number(&status, "accepted"), sum, "ledger of {status:#}");
    assert_eq!(number(&status, "lost"), 0, "ledger of {status:#}");
    status
}

fn wait_drained(daemon: &Daemon) {
    let drained = wait_for(DRAINED_WITHIN, "an empty spool", || {
        Ok(number(&daemon.status_json()?, "in_spool") == 0)
    });
    if let Err(error) = drained {
        panic!(
            "{error:#}\n{:#}\n{}",
            daemon.status_json().unwrap(),
            daemon.log()
        );
    }
}

/// Waits until all is in Kafka, stops the daemon and compares; prints what was found.
fn settle(test: &str, kafka: &Kafka, mut daemon: Daemon, topic: &str, sent: &Journal) -> Findings {
    wait_drained(&daemon);
    let status = check_ledger(&daemon);
    assert!(
        number(&status, "accepted") >= sent.total_acked(),
        "ledger of {status:#}"
    );
    assert_eq!(
        number(&status, "dead_lettered") + number(&status, "dropped"),
        0
    );
    assert!(
        daemon.sigterm(STOPPED_WITHIN).unwrap().success(),
        "{}",
        daemon.log()
    );
    let records = kafka.admin().read_all(topic).unwrap();
    let found = sent.check(&records);
    eprintln!(
        "{test}: {} sent, {} acknowledged, {} records, {} doubled in {} rewinds",
        sent.total_sent(),
        sent.total_acked(),
        found.records,
        found.doubled,
        found.rewinds
    );
    assert!(
        found.lost.is_empty(),
        "acknowledged and lost: {:?}",
        found.lost
    );
    assert!(found.out_of_order.is_empty(), "{:?}", found.out_of_order);
    assert!(found.strange.is_empty(), "{:?}", found.strange);
    assert_eq!(found.refused_but_stored, 0);
    assert!(sent.total_acked() > 0, "the load was real");
    found
}

/// What the kills may have doubled: batches in flight, and what was acknowledged within
/// [`UNRECORDED`] at the load's mean rate.
fn most_doubled(kills: u64, sent: &Journal, took: Duration) -> u64 {
    let in_flight = IN_FLIGHT * BATCH_EVENTS * PARTITIONS as u64;
    let rate = sent.total_sent() as f64 / took.as_secs_f64();
    kills * (in_flight + (rate * UNRECORDED.as_secs_f64()) as u64)
}

fn survive_kills(test: &str, topic: &str, ack: &'static str, kills: u64) {
    let kafka = kafka();
    kafka.admin().create_topic(topic, PARTITIONS, &[]).unwrap();
    let mut rng = rng(test);
    let mut daemon = daemon(&kafka, topic, ack);
    let began = Instant::now();
    let load = Load::start(&daemon.socket(), 0..WRITERS, rng.u64(..));
    for _ in 0..kills {
        kill_and_restart(&mut daemon, &mut rng);
        check_ledger(&daemon);
    }
    let sent = load.stop();
    let took = began.elapsed();
    let found = settle(test, &kafka, daemon, topic, &sent);
    let most = most_doubled(kills, &sent, took);
    eprintln!("{test}: {kills} kills in {took:?}, at most {most} doubled allowed");
    assert!(
        found.doubled <= most,
        "{} doubled, {most} allowed",
        found.doubled
    );
}

#[test]
fn no_kill_loses_or_reorders_what_was_acknowledged_as_durable() {
    survive_kills("durable", "kill-durable", "durable", kills());
}

#[test]
fn no_kill_loses_or_reorders_what_was_acknowledged_from_kafka() {
    survive_kills("broker", "kill-broker", "broker", kills().div_ceil(5));
}

#[test]
fn kills_while_kafka_is_away_lose_nothing_and_double_only_what_was_in_flight() {
    const TOPIC: &str = "kill-away";
    let mut kafka = kafka();
    kafka.admin().create_topic(TOPIC, PARTITIONS, &[]).unwrap();
    let mut rng = rng("away");
    let mut daemon = daemon(&kafka, TOPIC, "durable");
    let began = Instant::now();
    let load = Load::start(&daemon.socket(), 0..WRITERS, rng.u64(..));
    let delivering = wait_for(DRAINED_WITHIN, "deliveries", || {
        Ok(number(&daemon.status_json()?, "delivered") > 0)
    });
    delivering.unwrap();
    kafka.kill9().unwrap();
    for _ in 0..kills().div_ceil(10) {
        kill_and_restart(&mut daemon, &mut rng);
        check_ledger(&daemon);
    }
    kafka.start().unwrap();
    let sent = load.stop();
    let took = began.elapsed();
    let found = settle("away", &kafka, daemon, TOPIC, &sent);
    // The daemon in whose life Kafka went is the only one that was killed with answers owed.
    let most = most_doubled(1, &sent, took);
    assert!(
        found.doubled <= most,
        "{} doubled, {most} allowed",
        found.doubled
    );
}

#[test]
fn an_ordered_stop_under_load_doubles_nothing() {
    const TOPIC: &str = "stop-ordered";
    let kafka = kafka();
    kafka.admin().create_topic(TOPIC, PARTITIONS, &[]).unwrap();
    let mut rng = rng("ordered");
    let mut daemon = daemon(&kafka, TOPIC, "durable");
    let load = Load::start(&daemon.socket(), 0..WRITERS, rng.u64(..));
    for _ in 0..5 {
        thread::park_timeout(Duration::from_millis(rng.u64(100..700)));
        let status = daemon.sigterm(STOPPED_WITHIN).unwrap();
        assert!(status.success(), "{status}: {}", daemon.log());
        daemon.start().unwrap();
        check_ledger(&daemon);
    }
    let sent = load.stop();
    let found = settle("ordered", &kafka, daemon, TOPIC, &sent);
    assert_eq!((found.doubled, found.rewinds), (0, 0));
}
