//! Transactions under kills: a consumer of committed records sees each event exactly once,
//! whatever dies. No allowance for what was in flight. Kafka's own consumer has to see the
//! same as ours.

use std::collections::HashMap;
use std::thread;
use std::time::{Duration, Instant};

use spoolway_test_support::daemon::Daemon;
use spoolway_test_support::kafka::wait::wait_for;
use spoolway_test_support::kafka::{Kafka, Version};
use spoolway_test_support::skipped;
use spoolway_test_support::wire::Record;

use super::load::Load;
use super::{
    DRAINED_WITHIN, PARTITIONS, STOPPED_WITHIN, WRITERS, check_ledger, from_env, kafka,
    kill_and_restart, number, rng,
};

/// Kills by default: what fits a minute. `SPOOLWAY_TXN_KILLS` asks for more.
const KILLS: u64 = 40;

/// One in so many of them falls to the older Kafka, without KIP-890.
const OLDER: u64 = 2;

/// Said by Kafka 4 (KAFKA-20734) when it ends a transaction without its markers, because it does not know
/// the partitions' leaders yet: seen just after its start. What was aborted may then be
/// committed by the next transaction (docs/transactions.md).
const MARKERS_SKIPPED: &str = "these partitions are likely deleted already";

/// Of so many kills one takes the broker as well.
const BROKER_TOO: u64 = 10;

/// The broker is gone for up to so long, in milliseconds, while the daemon runs.
const AWAY_MS: u64 = 1_000;

fn daemon(kafka: &Kafka, topic: &str) -> Daemon {
    let positions = format!("{topic}-positions");
    let admin = kafka.admin();
    admin.create_topic(topic, PARTITIONS, &[]).unwrap();
    admin
        .create_topic(&positions, 2, &[("cleanup.policy", "compact")])
        .unwrap();
    Daemon::builder(env!("CARGO_BIN_EXE_spoolway"))
        .bootstrap(&kafka.bootstrap())
        .topic(topic)
        .route("key = \"writer\"")
        .ack("durable")
        .kafka(&format!("transactional.id = \"{topic}\""))
        .kafka(&format!("transactional.position.topic = \"{positions}\""))
        .kafka("batch.events = 20")
        .kafka("reconnect.backoff.ms = 20\nreconnect.backoff.max.ms = 200")
        .kafka("retry.backoff.ms = 20\nretry.backoff.max.ms = 200")
        .start()
        .unwrap()
}

fn kills() -> u64 {
    from_env("SPOOLWAY_TXN_KILLS").unwrap_or(KILLS)
}

#[test]
fn no_kill_of_daemon_or_broker_loses_or_doubles_what_is_committed() {
    survive(&mut kafka(), kills());
}

#[test]
fn no_kill_of_daemon_or_broker_loses_or_doubles_what_is_committed_to_kafka_3_9() {
    let mut older = Kafka::builder().version(Version::V3_9).start().unwrap();
    survive(&mut older, kills().div_ceil(OLDER));
}

/// Where each event is that is there twice, and in which transaction.
fn doubled(records: &[Record]) -> String {
    let mut seen: HashMap<&[u8], &Record> = HashMap::new();
    let mut words = String::new();
    for record in records {
        let value = record.value.as_deref().unwrap_or_default();
        if let Some(first) = seen.insert(value, record) {
            for at in [first, record] {
                let Record {
                    partition,
                    offset,
                    producer_id,
                    producer_epoch,
                    timestamp,
                    ..
                } = at;
                words += &format!(
                    "{partition}@{offset} by {producer_id}/{producer_epoch} sent {timestamp}; "
                );
            }
            words += "\n";
        }
    }
    words
}

/// What the daemon logged about its starts and transactions.
fn recoveries(daemon: &Daemon) -> String {
    let told = ["txn", "transact", "position", "spool open"];
    let log = daemon.log();
    let lines = log.lines().filter(|l| told.iter().any(|t| l.contains(t)));
    lines.collect::<Vec<_>>().join("\n")
}

fn survive(kafka: &mut Kafka, kills: u64) {
    const TOPIC: &str = "kill-transactional";
    let mut rng = rng("transactional");
    let mut daemon = daemon(kafka, TOPIC);
    let began = Instant::now();
    let load = Load::start(&daemon.socket(), 0..WRITERS, rng.u64(..));
    for kill in 1..=kills {
        if kill % BROKER_TOO == 0 {
            kafka.kill9().unwrap();
            thread::park_timeout(Duration::from_millis(rng.u64(..AWAY_MS)));
            kafka.start().unwrap();
        }
        kill_and_restart(&mut daemon, &mut rng);
        check_ledger(&daemon);
    }
    let sent = load.stop();
    let took = began.elapsed();
    // The load outruns a debug build, so that more kills leave more to deliver.
    let patience = DRAINED_WITHIN + Duration::from_secs(2 * kills);
    wait_for(patience, "an empty spool", || {
        Ok(number(&daemon.status_json()?, "in_spool") == 0)
    })
    .unwrap();
    let status = check_ledger(&daemon);
    assert_eq!(number(&status, "dead_lettered"), 0, "{status:#}");
    let stopped = daemon.sigterm(STOPPED_WITHIN).unwrap();
    assert!(stopped.success(), "{}", daemon.log());
    // The coordinator confirms a commit before its markers are in the partitions.
    wait_for(DRAINED_WITHIN, "the end of every transaction", || {
        let admin = kafka.admin();
        for mark in admin.watermarks(TOPIC)? {
            if admin.last_stable_offset(TOPIC, mark.partition)? < mark.high {
                return Ok(false);
            }
        }
        Ok(true)
    })
    .unwrap();
    let records = kafka.admin().read_committed(TOPIC).unwrap();
    let all = kafka.admin().read_all(TOPIC).unwrap().len();
    let found = sent.check(&records);
    eprintln!(
        "transactional, {:?}: {kills} kills in {took:?}; {} sent, {} acknowledged, {} committed \
         records, {} aborted, {} doubled, {} lost",
        kafka.version(),
        sent.total_sent(),
        sent.total_acked(),
        found.records,
        all - records.len(),
        found.doubled,
        found.lost.len(),
    );
    if kafka.log().contains(MARKERS_SKIPPED) {
        return skipped(
            "transactional",
            "the broker has left out markers; no promise holds then",
        );
    }
    assert!(found.lost.is_empty(), "lost: {:?}", found.lost);
    let doubled = doubled(&records);
    assert!(doubled.is_empty(), "{doubled}\n{}", recoveries(&daemon));
    assert!(found.out_of_order.is_empty(), "{:?}", found.out_of_order);
    assert!(found.strange.is_empty(), "{:?}", found.strange);
    assert!(sent.total_acked() > 0, "the load was real");
    let values = records.iter().map(|r| r.value.as_deref().unwrap());
    let mut ours: Vec<&[u8]> = values.collect();
    let theirs = kafka.console_consumer_committed(TOPIC).unwrap();
    let mut theirs: Vec<&[u8]> = theirs.lines().map(str::as_bytes).collect();
    ours.sort_unstable();
    theirs.sort_unstable();
    assert!(ours == theirs, "Kafka's own consumer sees {}", theirs.len());
}
