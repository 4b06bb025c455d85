//! Transactions beside plain delivery: the same events, the same broker, one after the other.

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use spoolway_test_support::daemon::Builder;
use spoolway_test_support::kafka::Kafka;
use spoolway_test_support::kafka::wait::wait_for;

use super::common::{EVENT_BYTES, Usage, load};
use super::{PARTITIONS, PATIENCE, broker, daemon, number, row};

/// Socket to Kafka, plain and transactional in turn, so that what else the machine does falls
/// on both.
pub(crate) fn transactions() -> Result<()> {
    println!("\n# transactions: {EVENT_BYTES}-byte events, socket to Kafka, acks durable");
    let events = number("SPOOLWAY_BENCH_EVENTS", 2_000_000)?;
    let kafka = broker()?;
    let compact = [("cleanup.policy", "compact")];
    kafka.admin().create_topic("positions", 1, &compact)?;
    for turn in ["warm-up", "first", "second"] {
        for transactional in [false, true] {
            let name = if transactional {
                "transactions"
            } else {
                "plain"
            };
            let topic = format!("{name}-{turn}");
            kafka.admin().create_topic(&topic, PARTITIONS, &[])?;
            let mut daemon = daemon(&kafka, &topic);
            if transactional {
                daemon = daemon
                    .kafka("transactional.id = \"bench\"")
                    .kafka("transactional.position.topic = \"positions\"");
            }
            measure(&kafka, daemon, &topic, events)?;
        }
    }
    Ok(())
}

fn measure(kafka: &Kafka, daemon: Builder, topic: &str, events: u64) -> Result<()> {
    let daemon = daemon.start()?;
    let pid = daemon.process_id().context("the daemon runs")?;
    let before = Usage::of(pid)?;
    let started = Instant::now();
    load(&daemon.socket(), events)?;
    let admin = kafka.admin();
    // Markers count as well, so that this ends a little early.
    wait_for(PATIENCE, "every record", || {
        Ok(admin.count(topic)? >= events)
    })?;
    // Asking the daemon takes a process: only for the last moment.
    wait_for(PATIENCE, "the last commit", || {
        let delivered = daemon.status_json()?;
        Ok(number_at(&delivered, "/ledger/delivered") == Some(events))
    })?;
    let took = started.elapsed();
    let used = Usage::of(pid)?;
    row(topic, events, took, Some(used.cpu - before.cpu));
    let status = daemon.status_json()?;
    let runs = number_at(&status, "/kafka/transaction/committed").unwrap_or(0);
    println!("peak memory {:.0} MiB; transactions: {runs}", used.peak_mib);
    let refused = number_at(&status, "/ledger/dead_lettered");
    ensure!(refused == Some(0), "{status:#}");
    Ok(())
}

fn number_at(status: &Value, pointer: &str) -> Option<u64> {
    status.pointer(pointer)?.as_u64()
}
