//! Durable appends through the spool, against a plain file in the same run.
//!
//! `cargo bench --bench spool_append`; SPOOLWAY_BENCH_DIR names the disk (default
//! `target/bench`), SPOOLWAY_BENCH_EVENTS the number of events.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a benchmark fails by panicking"
)]

use std::error::Error;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use spoolway::config::{SpoolCodec, SpoolConfig, WhenFull};
use spoolway::event::{EventBuf, Source};
use spoolway::proof;
use spoolway::spool::{Appender, Spool, Want};

const TASKS: u64 = 8;
const EVENT_BYTES: usize = 256;
const READ_BYTES: usize = 64 * 1024;

fn main() -> Result<(), Box<dyn Error>> {
    // `cargo test --benches` runs this too; then a glance is enough.
    let is_bench = std::env::args().any(|arg| arg == "--bench");
    let default = if is_bench { 4_000_000 } else { 80_000 };
    let events: u64 = match std::env::var("SPOOLWAY_BENCH_EVENTS") {
        Ok(text) => text.parse()?,
        Err(_) => default,
    };
    let dir = std::env::var_os("SPOOLWAY_BENCH_DIR")
        .map_or_else(|| PathBuf::from("target/bench"), PathBuf::from);
    fs::create_dir_all(&dir)?;
    println!(
        "{events} events of {EVENT_BYTES} bytes, {TASKS} producers, {}",
        dir.display()
    );
    let plain = plain_file(&dir, events)?;
    println!("plain file, one write and fdatasync per 64 KiB   {plain:>10.0} events/s");
    let spool = spool(&dir, events, false)?;
    println!("spool, nobody reads                              {spool:>10.0} events/s");
    println!(
        "ratio                                            {:>10.2}",
        spool / plain
    );
    let both = self::spool(&dir, events, true)?;
    println!("spool, drained at the same time                  {both:>10.0} events/s");
    Ok(())
}

/// One line of a log as services write them, different each time.
fn event(rng: &mut fastrand::Rng, number: u64) -> String {
    let mut line = format!(
        "{{\"ts\":\"2026-11-21T02:31:{:02}.{:06}Z\",\"level\":\"{}\",\"svc\":\"{}\",\"n\":{number},\
         \"trace\":\"{:016x}\",\"ms\":{},\"path\":\"/api/v1/{}/{}\",\"msg\":\"request done\"",
        number / 1_000_000 % 60,
        number % 1_000_000,
        ["info", "warn", "error"][rng.usize(..3)],
        ["billing", "search", "gateway", "auth"][rng.usize(..4)],
        rng.u64(..),
        rng.u32(..5000),
        ["users", "orders", "items"][rng.usize(..3)],
        rng.u32(..1_000_000),
    );
    line.push_str(",\"user\":\"");
    while line.len() < EVENT_BYTES - 2 {
        line.push(if line.len() % 3 == 0 {
            rng.alphanumeric()
        } else {
            'x'
        });
    }
    line.push_str("\"}");
    line
}

/// Reads of 64 KiB, made before the clock starts.
fn reads(events: u64) -> Vec<EventBuf> {
    let mut rng = fastrand::Rng::with_seed(7);
    let mut number = 0;
    let per_read = (READ_BYTES / EVENT_BYTES) as u64;
    let distinct = (events / per_read).clamp(1, 512);
    (0..distinct)
        .map(|_| {
            let mut read = EventBuf::default();
            for _ in 0..per_read {
                read.push(event(&mut rng, number).as_bytes());
                number += 1;
            }
            read
        })
        .collect()
}

fn plain_file(dir: &Path, events: u64) -> Result<f64, Box<dyn Error>> {
    let reads = reads(events);
    let path = dir.join("plain");
    let per_task = events / TASKS / (READ_BYTES / EVENT_BYTES) as u64;
    let began = Instant::now();
    std::thread::scope(|scope| {
        let tasks: Vec<_> = (0..TASKS)
            .map(|task| {
                let (reads, path) = (&reads, path.with_extension(task.to_string()));
                scope.spawn(move || -> std::io::Result<()> {
                    let mut options = OpenOptions::new();
                    let mut file = options
                        .write(true)
                        .create(true)
                        .truncate(true)
                        .mode(0o600)
                        .open(&path)?;
                    for n in 0..per_task {
                        file.write_all(reads[n as usize % reads.len()].bytes())?;
                        file.sync_data()?;
                    }
                    fs::remove_file(&path)
                })
            })
            .collect();
        tasks.into_iter().try_for_each(|task| task.join().unwrap())
    })?;
    Ok(
        (per_task * TASKS * (READ_BYTES / EVENT_BYTES) as u64) as f64
            / began.elapsed().as_secs_f64(),
    )
}

fn spool(dir: &Path, events: u64, drained: bool) -> Result<f64, Box<dyn Error>> {
    let dir = dir.join("spool");
    let _ = fs::remove_dir_all(&dir);
    let config = SpoolConfig {
        dir: dir.clone(),
        max_bytes: 64 << 30,
        min_free: 0,
        max_event_bytes: 1 << 20,
        when_full: WhenFull::Block,
        commit_interval: Duration::ZERO,
        compression: match std::env::var("SPOOLWAY_BENCH_CODEC").as_deref() {
            Ok("none") => SpoolCodec::None,
            Ok("zstd") => SpoolCodec::Zstd,
            _ => SpoolCodec::Lz4,
        },
        generation_bytes: std::env::var("SPOOLWAY_BENCH_GENERATION")
            .map_or(Ok(32 << 20), |text| text.parse())?,
        intake_memory: 8 << 20,
        cache_bytes: 8 << 20,
        dead_letter_max_bytes: 1 << 28,
    };
    let reads = Arc::new(reads(events));
    let per_task = (events / TASKS / (READ_BYTES / EVENT_BYTES) as u64) as usize;
    let total = per_task as u64 * TASKS * (READ_BYTES / EVENT_BYTES) as u64;
    let (disk, broker) = proof::issue();
    let opened = Spool::open(&config, disk)?;
    let mut cursor = opened.cursor;
    let reader = drained.then(|| {
        std::thread::spawn(move || {
            let (wake, woken) = std::sync::mpsc::sync_channel(1);
            cursor.on_new_block(move || {
                // Full means that the reader is told already.
                let _ = wake.try_send(());
            });
            let mut seen = 0;
            while seen < total {
                match cursor.next().unwrap() {
                    Some(block) => {
                        seen += block
                            .events()
                            .filter(|event| !event.bytes.is_empty())
                            .count() as u64;
                        cursor.acked(broker.acked(block.range().into()));
                        cursor.checkpoint();
                    }
                    None => drop(woken.recv_timeout(Duration::from_millis(100))),
                }
            }
        })
    });
    let (io, cpu) = (written_bytes()?, cpu_seconds()?);
    let began = Instant::now();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .build()?;
    runtime.block_on(async {
        let tasks: Vec<_> = (0..TASKS)
            .map(|task| {
                tokio::spawn(produce(
                    opened.appender.clone(),
                    reads.clone(),
                    per_task,
                    task,
                ))
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
    });
    let appended = began.elapsed();
    if let Some(reader) = reader {
        reader.join().unwrap();
    }
    let elapsed = began.elapsed();
    let cpu = cpu_seconds()? - cpu;
    let status = opened.status.snapshot();
    let payload = (total * EVENT_BYTES as u64) as f64;
    println!(
        "  flush p50 {} us, p99 {} us, {} commits, {} generations, disk {:.1} MiB, append {:.2} s",
        status.flush_p50_micros,
        status.flush_p99_micros,
        status.commits,
        status.generations,
        status.disk_bytes as f64 / 1048576.0,
        appended.as_secs_f64(),
    );
    println!(
        "  stored {:.3}, written {:.3} bytes per payload byte; {:.2} us CPU per event; RSS {} MiB",
        status.stored_bytes as f64 / payload,
        (written_bytes()? - io) as f64 / payload,
        cpu * 1e6 / total as f64,
        proc_number("/proc/self/status", "VmRSS:")? / 1024,
    );
    assert!(
        opened
            .handle
            .close(Instant::now() + Duration::from_secs(30))
    );
    fs::remove_dir_all(&dir)?;
    Ok(total as f64 / elapsed.as_secs_f64())
}

async fn produce(appender: Appender, reads: Arc<Vec<EventBuf>>, count: usize, task: u64) {
    let source = Arc::new(Source::of_input(&format!("bench-{task}")));
    let mut pending = std::collections::VecDeque::new();
    for n in 0..count {
        let read = reads[n % reads.len()].clone();
        let appended = appender.append(read, source.clone(), 1_795_000_000_000, Want::Durable);
        pending.push_back(appended.await.unwrap());
        if pending.len() > 16 {
            pending.pop_front().unwrap().receipt().await.unwrap();
        }
    }
    for mut append in pending {
        append.receipt().await.unwrap();
    }
}

fn written_bytes() -> Result<u64, Box<dyn Error>> {
    proc_number("/proc/self/io", "write_bytes:")
}

fn proc_number(path: &str, field: &str) -> Result<u64, Box<dyn Error>> {
    let text = fs::read_to_string(path)?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(field))
        .ok_or("no such field")?;
    Ok(line
        .split_whitespace()
        .next()
        .ok_or("empty field")?
        .parse()?)
}

fn cpu_seconds() -> Result<f64, Box<dyn Error>> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    let after_name = stat.rsplit(") ").next().ok_or("no name")?;
    let ticks = after_name
        .split(' ')
        .skip(11)
        .take(2)
        .map(str::parse::<u64>);
    Ok(ticks.sum::<Result<u64, _>>()? as f64 / 100.0)
}
