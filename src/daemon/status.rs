//! The one model of what the daemon is doing: `status`, the systemd line and the logs all
//! read it, so they cannot disagree.
//!
//! Gathers; computes nothing but rates.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use serde_json::{Value, json};

use crate::clock::unix_ms;
use crate::config::Config;
use crate::config::certificate::in_words;
use crate::drain::Drain;
use crate::input::file::stats::FileStats;
use crate::input::stats::InputStats;
use crate::kafka::{ConnectionStatus, KafkaStatus, Producer};
use crate::spool::{SpoolStatus, SpoolStatusHandle};

/// Weight of the newest second in the rates.
const RATE_WEIGHT: f64 = 0.2;

/// Everything that status looks at.
pub(super) struct Watched {
    pub(super) spool: SpoolStatusHandle,
    pub(super) producer: Producer,
    pub(super) drain: Arc<Mutex<Option<Drain>>>,
    pub(super) inputs: Vec<(Arc<str>, Arc<InputStats>)>,
    pub(super) files: Vec<(Arc<str>, Arc<FileStats>)>,
    pub(super) config: Arc<Config>,
    pub(super) started: Instant,
    pub(super) rates: Mutex<Rates>,
}

/// Events a second, smoothed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rates {
    at: Instant,
    accepted: u64,
    delivered: u64,
    accepted_rate: f64,
    delivered_rate: f64,
}

impl Rates {
    /// Starts from the ledger as it is, so that an old backlog is no rate.
    pub(super) fn new(status: &SpoolStatus) -> Self {
        Self {
            at: Instant::now(),
            accepted: status.ledger.accepted,
            delivered: status.ledger.delivered,
            accepted_rate: 0.0,
            delivered_rate: 0.0,
        }
    }

    fn sample(&mut self, status: &SpoolStatus, now: Instant) {
        let seconds = now.saturating_duration_since(self.at).as_secs_f64();
        if seconds < 0.5 {
            return;
        }
        let rate = |new: u64, old: u64| new.saturating_sub(old) as f64 / seconds;
        let smooth = |old: f64, new: f64| old + RATE_WEIGHT * (new - old);
        let (accepted, delivered) = (status.ledger.accepted, status.ledger.delivered);
        self.accepted_rate = smooth(self.accepted_rate, rate(accepted, self.accepted));
        self.delivered_rate = smooth(self.delivered_rate, rate(delivered, self.delivered));
        (self.at, self.accepted, self.delivered) = (now, accepted, delivered);
    }

    /// Seconds until the spool is empty if everything goes on as it does; `None` when it
    /// does not shrink.
    fn seconds_to_empty(&self, in_spool: u64) -> Option<u64> {
        let shrink = self.delivered_rate - self.accepted_rate;
        (in_spool > 0 && shrink > 0.5).then(|| (in_spool as f64 / shrink) as u64)
    }
}

impl Watched {
    /// Takes a sample for the rates; called once a second.
    pub(super) fn sample(&self) {
        let status = self.spool.snapshot();
        if let Ok(mut rates) = self.rates.lock() {
            rates.sample(&status, Instant::now());
        }
    }

    /// The line that `systemctl status` shows.
    pub(super) fn line(&self) -> String {
        let status = self.spool.snapshot();
        let ledger = &status.ledger;
        let mut line = format!(
            "{} in spool, {} delivered, {} dead-lettered",
            ledger.in_spool, ledger.delivered, ledger.dead_lettered
        );
        if let Some(reason) = &status.full {
            line.push_str(&format!("; intake paused: {reason}"));
        }
        let losses = self.files.iter().map(|(_, stats)| {
            stats
                .possible_losses
                .load(std::sync::atomic::Ordering::Relaxed)
        });
        match losses.sum::<u64>() {
            0 => {}
            losses => line.push_str(&format!("; files: {losses} possible losses")),
        }
        if let Some(error) = last_error(&self.producer.status()) {
            line.push_str(&format!("; Kafka: {error}"));
        }
        line
    }

    /// All of it.
    pub(super) fn snapshot(&self) -> Value {
        let spool = self.spool.snapshot();
        let drain = self
            .drain
            .lock()
            .ok()
            .and_then(|d| d.as_ref().map(Drain::status));
        let drain = drain.unwrap_or_default();
        let rates = self.rates.lock().map(|rates| *rates).ok();
        let age = drain
            .oldest_undelivered_ms
            .map(|at| (unix_ms() - at).max(0) / 1000);
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "pid": std::process::id(),
            "uptime_seconds": self.started.elapsed().as_secs(),
            "ledger": {
                "accepted": spool.ledger.accepted,
                "durable": spool.ledger.durable,
                "delivered": spool.ledger.delivered,
                "dead_lettered": spool.ledger.dead_lettered,
                "dropped": spool.ledger.dropped,
                "lost": spool.ledger.lost,
                "in_spool": spool.ledger.in_spool,
            },
            "oldest_undelivered_seconds": age,
            "rates": {
                "accepted_per_second": rates.map(|r| r.accepted_rate.round()),
                "delivered_per_second": rates.map(|r| r.delivered_rate.round()),
                "seconds_to_empty": rates.and_then(|r| r.seconds_to_empty(spool.ledger.in_spool)),
            },
            "spool": self.spool_part(&spool),
            "inputs": self.inputs_part(),
            "drain": drain,
            "kafka": kafka(&self.producer.status()),
        })
    }

    /// Sockets first, then files.
    fn inputs_part(&self) -> Vec<Value> {
        let sockets = self.inputs.iter().map(|(name, stats)| input(name, stats));
        let files = self.files.iter().map(|(name, stats)| files(name, stats));
        sockets.chain(files).collect()
    }

    fn spool_part(&self, spool: &SpoolStatus) -> Value {
        json!({
            "dir": self.config.spool.dir,
            "id": format!("{:016x}", spool.spool_id),
            "disk_bytes": spool.disk_bytes,
            "max_bytes": spool.max_bytes,
            "free_bytes": spool.free_bytes,
            "min_free": self.config.spool.min_free,
            "full": spool.full.as_ref().map(ToString::to_string),
            "generations": spool.generations,
            "quarantined": spool.missing.iter().map(|missing| json!({
                "path": missing.quarantine,
                "first": missing.first,
                "last": missing.end.saturating_sub(1),
                "lost": missing.lost,
                "reason": missing.reason,
            })).collect::<Vec<_>>(),
            "checkpoints": spool.checkpoints,
            "checkpoint_loss": spool.checkpoint_loss.as_ref().map(ToString::to_string),
            "commits": spool.commits,
            "flush_p50_micros": spool.flush_p50_micros,
            "flush_p99_micros": spool.flush_p99_micros,
            "last_error": spool.last_error,
        })
    }
}

fn input(name: &str, stats: &InputStats) -> Value {
    use std::sync::atomic::Ordering::Relaxed;
    json!({
        "name": name,
        "type": "unix",
        "connections": stats.connections.load(Relaxed),
        "connections_total": stats.connections_total.load(Relaxed),
        "connections_refused": stats.connections_refused.load(Relaxed),
        "closed_unread": stats.closed_unread.load(Relaxed),
        "events": stats.events.load(Relaxed),
        "bytes": stats.bytes.load(Relaxed),
        "refused": {
            "too_long": stats.too_long.load(Relaxed),
            "busy": stats.busy.load(Relaxed),
            "spool_full": stats.spool_full.load(Relaxed),
            "not_stored": stats.not_stored.load(Relaxed),
        },
    })
}

fn files(name: &str, stats: &FileStats) -> Value {
    use std::sync::atomic::Ordering::Relaxed;
    json!({
        "name": name,
        "type": "file",
        "files": stats.files.load(Relaxed),
        "open": stats.open.load(Relaxed),
        "events": stats.events.load(Relaxed),
        "bytes": stats.bytes.load(Relaxed),
        "lag_bytes": stats.lag_bytes.load(Relaxed),
        "cut_lines": stats.cut_lines.load(Relaxed),
        "cut_bytes": stats.cut_bytes.load(Relaxed),
        "possible_losses": stats.possible_losses.load(Relaxed),
        "lost_bytes": stats.lost_bytes.load(Relaxed),
        "deleted_files": stats.deleted_files.load(Relaxed),
        "deleted_bytes": stats.deleted_bytes.load(Relaxed),
        "removed": stats.removed.load(Relaxed),
        "refused": stats.refused.load(Relaxed),
        "errors": stats.errors.load(Relaxed),
    })
}

/// The most telling error: what needs a person, else the first connection that is down.
fn last_error(kafka: &KafkaStatus) -> Option<&str> {
    let brokers = kafka.brokers.iter().map(|broker| &broker.connection);
    let mut down = std::iter::once(&kafka.control)
        .chain(brokers)
        .filter_map(|c| c.error.as_deref());
    let partition = || kafka.partitions.iter().find_map(|p| p.error.as_deref());
    let topic = || kafka.topics.first().map(|topic| topic.error.as_str());
    let transaction = kafka.transaction.as_ref();
    let transaction = || transaction.and_then(|t| t.error.as_deref().or(t.last_abort.as_deref()));
    kafka
        .halted
        .as_deref()
        .or_else(|| down.next())
        .or_else(transaction)
        .or_else(partition)
        .or_else(topic)
}

fn kafka(kafka: &KafkaStatus) -> Value {
    let now = Instant::now();
    let wait = |at: Option<Instant>| at.map(|at| at.saturating_duration_since(now).as_millis());
    let connection = |c: &ConnectionStatus| {
        json!({
            "up": c.up,
            "address": c.address,
            "error": c.error,
            "retry_in_ms": wait(c.retry_at),
        })
    };
    json!({
        "last_error": last_error(kafka),
        "halted": kafka.halted,
        "readers_wait": kafka.transaction.as_ref().and_then(|t| t.readers_wait.as_deref()),
        "control": connection(&kafka.control),
        "brokers": kafka.brokers.iter().map(|broker| json!({
            "id": broker.id,
            "connection": connection(&broker.connection),
            "requests": broker.requests,
            "throttled_for_ms": wait(broker.throttled_until),
        })).collect::<Vec<_>>(),
        "partitions": kafka.partitions.iter().map(|partition| json!({
            "topic": partition.to.topic,
            "partition": partition.to.partition,
            "unresolved": partition.unresolved,
            "in_flight": partition.in_flight,
            "error": partition.error,
            "retry_in_ms": wait(partition.retry_at),
        })).collect::<Vec<_>>(),
        "topics": kafka.topics.iter().map(|topic| json!({
            "topic": topic.name,
            "error": topic.error,
            "for_seconds": now.saturating_duration_since(topic.since).as_secs(),
        })).collect::<Vec<_>>(),
        "unverified": kafka.unverified,
        "certificates": kafka.certificates.iter().map(|certificate| json!({
            "whose": certificate.whose,
            "subject": certificate.subject,
            "expires": in_words(certificate.not_after),
            "days_left": days_left(certificate.not_after),
        })).collect::<Vec<_>>(),
        "transaction": kafka.transaction.as_ref().map(|t| json!({
            "phase": t.phase,
            "position": t.position,
            "committed": t.committed,
            "aborted": t.aborted,
            "open_ms": t.open_ms,
            "last_abort": t.last_abort,
            "error": t.error,
        })),
        "totals": {
            "acked_batches": kafka.totals.acked_batches,
            "acked_bytes": kafka.totals.acked_bytes,
            "resent_batches": kafka.totals.resent_batches,
            "throttled_answers": kafka.totals.throttled_answers,
            "maybe_duplicate_records": kafka.totals.maybe_duplicate_records,
        },
    })
}

/// Whole days until a time; negative when it is over.
fn days_left(end: SystemTime) -> i64 {
    const DAY: u64 = 24 * 60 * 60;
    let days = |time: Duration| i64::try_from(time.as_secs() / DAY).unwrap_or(i64::MAX);
    match end.duration_since(SystemTime::now()) {
        Ok(left) => days(left),
        Err(over) => -days(over.duration()) - 1,
    }
}
