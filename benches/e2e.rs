//! End to end: socket or log file → disk → Kafka, the drain of a backlog, latency, memory
//! and start-up.
//!
//! Each figure stands beside its peer's from the same run: librdkafka (kcat), Kafka's own
//! ProducerPerformance, and a bare fdatasync.
//!
//! usage: cargo bench --bench e2e [-- stream | tail | transactions | drain | latency | backlog]
//! SPOOLWAY_BENCH_EVENTS sets the number of events of all but the last two (default 2,000,000),
//! SPOOLWAY_BENCH_BACKLOG that of `backlog` (default 20,000,000 = 5 GB), SPOOLWAY_BENCH_BINARY
//! the daemon to measure (default: of this build).

#![allow(clippy::expect_used, reason = "a bench fails by panicking")]

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use spoolway_test_support::daemon::Daemon;
use spoolway_test_support::kafka::{Kafka, ProducerTest};

mod common;
mod files;
mod transactions;
use common::{EVENT_BYTES, Usage, event_line, fdatasyncs, folder_bytes, load, quantile};

const PARTITIONS: i32 = 4;
const PATIENCE: Duration = Duration::from_secs(600);

fn main() -> Result<()> {
    let chosen: Vec<String> = std::env::args()
        .skip(1)
        .filter(|a| !a.starts_with('-'))
        .collect();
    let wanted = |name: &str| chosen.is_empty() || chosen.iter().any(|c| c == name);
    println!(
        "machine: {} cores, {}",
        std::thread::available_parallelism()?,
        kernel()?
    );
    if wanted("stream") {
        stream()?;
    }
    if wanted("tail") {
        tail()?;
    }
    if wanted("transactions") {
        transactions::transactions()?;
    }
    if wanted("drain") {
        drain()?;
    }
    if wanted("latency") {
        latency()?;
    }
    if wanted("backlog") {
        backlog()?;
    }
    Ok(())
}

fn kernel() -> Result<String> {
    Ok(std::fs::read_to_string("/proc/sys/kernel/osrelease")?
        .trim()
        .to_owned())
}

fn number(variable: &str, default: u64) -> Result<u64> {
    std::env::var(variable).map_or(Ok(default), |text| Ok(text.parse()?))
}

fn broker() -> Result<Kafka> {
    Kafka::builder()
        .full_jvm(true)
        .folder_in(Path::new(env!("CARGO_TARGET_TMPDIR")))
        .start()
}

/// The daemon to measure: this build's, or the one that SPOOLWAY_BENCH_BINARY names.
fn binary() -> std::path::PathBuf {
    let named = std::env::var_os("SPOOLWAY_BENCH_BINARY");
    named.map_or_else(|| env!("CARGO_BIN_EXE_spoolway").into(), Into::into)
}

fn daemon(kafka: &Kafka, topic: &str) -> spoolway_test_support::daemon::Builder {
    Daemon::builder(binary())
        .bootstrap(&kafka.bootstrap())
        .topic(topic)
        .spool("max_bytes = \"40GiB\"")
}

fn wait_count(kafka: &Kafka, topic: &str, events: u64) -> Result<()> {
    let admin = kafka.admin();
    spoolway_test_support::kafka::wait::wait_for(PATIENCE, "every record", || {
        let count = admin.count(topic)?;
        ensure!(
            count <= events,
            "{count} records of {events} events: some were doubled"
        );
        Ok(count == events)
    })
}

fn row(name: &str, events: u64, took: Duration, cpu: Option<f64>) {
    let rate = events as f64 / took.as_secs_f64();
    let cpu = cpu.map_or_else(
        || "-".to_owned(),
        |cpu| format!("{:.2}", cpu * 1e6 / events as f64),
    );
    println!("{name:<52} {rate:>10.0} events/s {cpu:>6} CPU s/million");
}

/// Everything durable first, lz4, broker on the same cores.
fn stream() -> Result<()> {
    println!("\n# socket to Kafka: {EVENT_BYTES}-byte events, 8 connections, acks durable");
    let events = number("SPOOLWAY_BENCH_EVENTS", 2_000_000)?;
    let kafka = broker()?;
    for topic in ["warm-up", "stream"] {
        kafka.admin().create_topic(topic, PARTITIONS, &[])?;
        let daemon = daemon(&kafka, topic).start()?;
        let pid = daemon.process_id().context("the daemon runs")?;
        let before = Usage::of(pid)?;
        let started = Instant::now();
        let taken = load(&daemon.socket(), events)?;
        wait_count(&kafka, topic, events)?;
        let took = started.elapsed();
        let after = Usage::of(pid)?;
        if topic == "stream" {
            row("socket to durable ack", events, taken, None);
            row(
                "socket to Kafka",
                events,
                took,
                Some(after.cpu - before.cpu),
            );
            let payload = (events * EVENT_BYTES as u64) as f64;
            println!(
                "peak memory {:.0} MiB; {:.2} bytes written per payload byte",
                after.peak_mib,
                (after.written - before.written) as f64 / payload,
            );
        }
    }
    Ok(())
}

/// Log files, beside the socket path on the same broker.
fn tail() -> Result<()> {
    println!("\n# log files to Kafka: {EVENT_BYTES}-byte lines, written while they are followed");
    let events = number("SPOOLWAY_BENCH_EVENTS", 2_000_000)?;
    let kafka = broker()?;
    for (topic, files) in [
        ("warm-up", 1),
        ("one-file", 1),
        ("100-files", 100),
        ("socket", 0),
    ] {
        kafka.admin().create_topic(topic, PARTITIONS, &[])?;
        let mut daemon = daemon(&kafka, topic).prepare()?;
        let folder = daemon.folder().join("logs");
        files::follow(&daemon, &folder)?;
        daemon.start()?;
        let pid = daemon.process_id().context("the daemon runs")?;
        let before = Usage::of(pid)?;
        let started = Instant::now();
        if files > 0 {
            files::write(&folder, files, events)?;
        } else {
            load(&daemon.socket(), events)?;
        }
        wait_count(&kafka, topic, events)?;
        let took = started.elapsed();
        let after = Usage::of(pid)?;
        row(topic, events, took, Some(after.cpu - before.cpu));
        println!("peak memory {:.0} MiB", after.peak_mib);
    }
    quiet_files(&kafka)
}

/// What following costs while nobody writes.
fn quiet_files(kafka: &Kafka) -> Result<()> {
    const FILES: u64 = 1000;
    /// Files that were written to lately are looked at more often for 30 s.
    const QUIET: Duration = Duration::from_secs(40);
    kafka.admin().create_topic("quiet", PARTITIONS, &[])?;
    let mut daemon = daemon(kafka, "quiet").prepare()?;
    let folder = daemon.folder().join("logs");
    files::follow(&daemon, &folder)?;
    daemon.start()?;
    files::write(&folder, FILES, FILES * 256)?;
    wait_count(kafka, "quiet", FILES * 256)?;
    std::thread::park_timeout(QUIET);
    println!("{FILES} quiet files:");
    idle(daemon.process_id().context("the daemon runs")?)
}

/// A backlog into an idle broker, beside librdkafka and the Java producer on the same one.
fn drain() -> Result<()> {
    println!("\n# drain of a backlog: lz4, acks=all, idempotent, {PARTITIONS} partitions");
    let events = number("SPOOLWAY_BENCH_EVENTS", 2_000_000)?;
    let kafka = broker()?;
    let topic = |name: &str| kafka.admin().create_topic(name, PARTITIONS, &[]);
    topic("warm-up")?;
    java(&kafka, "warm-up", events / 4, 262_144)?;

    topic("spoolway")?;
    // Nobody listens on port 1: the events stay in the spool until the restart.
    let mut away = Daemon::builder(binary())
        .bootstrap("127.0.0.1:1")
        .topic("spoolway")
        .spool("max_bytes = \"40GiB\"")
        .start()?;
    load(&away.socket(), events)?;
    away.sigterm(PATIENCE)?;
    let config = std::fs::read_to_string(away.config())?;
    std::fs::write(
        away.config(),
        config.replace("127.0.0.1:1", &kafka.bootstrap()),
    )?;
    let started = Instant::now();
    away.start()?;
    let ready = started.elapsed();
    wait_count(&kafka, "spoolway", events)?;
    let took = started.elapsed();
    let pid = away.process_id().context("the daemon runs")?;
    row(
        "Spoolway, start-up and first login included",
        events,
        took,
        Some(Usage::of(pid)?.cpu),
    );
    println!("READY after {:.0} ms", ready.as_secs_f64() * 1e3);
    drop(away);

    topic("librdkafka")?;
    let mut lines = Vec::new();
    (0..events).for_each(|at| event_line(at, &mut lines));
    match kcat(&kafka, "librdkafka", &lines)? {
        Some((took, cpu)) => row("librdkafka (kcat -P)", events, took, Some(cpu)),
        None => println!("librdkafka: kcat is not installed; make bench installs it"),
    }
    wait_count(&kafka, "librdkafka", events)?;

    for batch in [16_384, 262_144] {
        let name = format!("java-{batch}");
        topic(&name)?;
        let rate = java(&kafka, &name, events, batch)?;
        println!(
            "{:<52} {rate:>10.0} events/s",
            format!("ProducerPerformance, batch.size={batch}")
        );
    }
    Ok(())
}

fn java(kafka: &Kafka, topic: &str, records: u64, batch: u32) -> Result<f64> {
    let batch = format!("batch.size={batch}");
    let properties = [
        "acks=all",
        "compression.type=lz4",
        "linger.ms=5",
        "enable.idempotence=true",
        &batch,
    ];
    let record_bytes = EVENT_BYTES as u32;
    let test = ProducerTest {
        topic,
        records,
        record_bytes,
        properties: &properties,
    };
    Ok(kafka.producer_performance(&test)?.rate)
}

/// Wall time and CPU seconds of kcat; `None` when it is not installed.
fn kcat(kafka: &Kafka, topic: &str, lines: &[u8]) -> Result<Option<(Duration, f64)>> {
    let child = Command::new("kcat")
        .args(["-P", "-b", &kafka.bootstrap(), "-t", topic])
        .args(["-X", "acks=all", "-X", "enable.idempotence=true"])
        .args(["-X", "compression.codec=lz4", "-X", "linger.ms=5"])
        .stdin(Stdio::piped())
        .spawn();
    let Ok(mut child) = child else {
        return Ok(None);
    };
    let before = children_cpu();
    let started = Instant::now();
    let mut stdin = child.stdin.take().context("kcat reads from a pipe")?;
    stdin.write_all(lines)?;
    drop(stdin);
    ensure!(child.wait()?.success(), "kcat failed");
    Ok(Some((started.elapsed(), children_cpu() - before)))
}

/// CPU seconds of children that have ended.
fn children_cpu() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default();
    let ticks = fields
        .split_whitespace()
        .skip(13)
        .take(2)
        .filter_map(|f| f.parse::<f64>().ok());
    ticks.sum::<f64>() / 100.0
}

/// From one write to its durable ack at 10,000 events/s, beside a bare fdatasync.
fn latency() -> Result<()> {
    const RATE: u64 = 10_000;
    const SECONDS: u64 = 10;
    println!("\n# write to durable ack at {RATE} events/s, one event a write");
    let kafka = broker()?;
    kafka.admin().create_topic("latency", PARTITIONS, &[])?;
    let daemon = daemon(&kafka, "latency").start()?;
    // The first seconds are the broker's own warm-up on the same two cores.
    common::paced(&daemon.socket(), RATE, RATE * 3)?;
    let bare = fdatasyncs(daemon.folder(), 2_000)?;
    let mut times = common::paced(&daemon.socket(), RATE, RATE * SECONDS)?;
    let bare_after = fdatasyncs(daemon.folder(), 2_000)?;
    times.sort_by(f64::total_cmp);
    for (name, sorted) in [
        ("fdatasync before", &bare),
        ("write to ack", &times),
        ("fdatasync after", &bare_after),
    ] {
        println!(
            "{name:<20} p50 {:>7.0} us   p90 {:>7.0} us   p99 {:>7.0} us",
            quantile(sorted, 0.5),
            quantile(sorted, 0.9),
            quantile(sorted, 0.99),
        );
    }
    println!(
        "p99 of the ack / p99 of fdatasync: {:.1}",
        quantile(&times, 0.99) / quantile(&bare, 0.99)
    );
    Ok(())
}

/// Memory, start-up and disk space with gigabytes in the spool.
fn backlog() -> Result<()> {
    let events = number("SPOOLWAY_BENCH_BACKLOG", 20_000_000)?;
    let payload = events * EVENT_BYTES as u64;
    println!(
        "\n# backlog of {events} events, {:.1} GB",
        payload as f64 / 1e9
    );
    let kafka = broker()?;
    kafka.admin().create_topic("backlog", PARTITIONS, &[])?;
    let mut daemon = Daemon::builder(binary())
        .bootstrap("127.0.0.1:1")
        .topic("backlog")
        .spool("max_bytes = \"40GiB\"")
        .start()?;
    let took = load(&daemon.socket(), events)?;
    let usage = Usage::of(daemon.process_id().context("the daemon runs")?)?;
    row("fill", events, took, Some(usage.cpu));
    println!(
        "peak memory {:.0} MiB; {:.2} bytes written per payload byte; spool {:.0} MiB on disk",
        usage.peak_mib,
        usage.written as f64 / payload as f64,
        folder_bytes(&daemon.spool_dir()) as f64 / 1048576.0,
    );
    daemon.kill9()?;
    let config = std::fs::read_to_string(daemon.config())?;
    std::fs::write(
        daemon.config(),
        config.replace("127.0.0.1:1", &kafka.bootstrap()),
    )?;
    let started = Instant::now();
    daemon.start()?;
    println!(
        "READY after SIGKILL: {:.0} ms",
        started.elapsed().as_secs_f64() * 1e3
    );
    wait_count(&kafka, "backlog", events)?;
    row("drain", events, started.elapsed(), None);
    let pid = daemon.process_id().context("the daemon runs")?;
    println!(
        "peak memory of the drain {:.0} MiB",
        Usage::of(pid)?.peak_mib
    );
    spoolway_test_support::kafka::wait::wait_for(PATIENCE, "a small spool", || {
        Ok(folder_bytes(&daemon.spool_dir()) < 32 << 20)
    })?;
    println!(
        "spool after the drain {:.1} MiB",
        folder_bytes(&daemon.spool_dir()) as f64 / 1048576.0
    );
    idle(pid)
}

fn idle(pid: u32) -> Result<()> {
    const SPAN: Duration = Duration::from_secs(20);
    let before = Usage::of(pid)?;
    std::thread::park_timeout(SPAN);
    let used = Usage::of(pid)?.cpu - before.cpu;
    println!("idle CPU {:.2} %", used / SPAN.as_secs_f64() * 100.0);
    Ok(())
}
