//! What the benches share: events like real ones, load, and figures read from /proc.
//!
//! Measures; prints nothing.

use std::fs;
use std::io::Write;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use spoolway_test_support::daemon::Writer;

/// Bytes of one event, without its newline.
pub(crate) const EVENT_BYTES: usize = 256;

/// Connections that load comes from.
pub(crate) const CONNECTIONS: u64 = 8;

/// Events in one write of a loading connection: about 64 KiB.
const EVENTS_A_WRITE: u64 = 256;

/// One JSON line of [`EVENT_BYTES`] bytes with its newline: fields as a web event has them,
/// some that repeat and some that do not.
pub(crate) fn event_line(number: u64, out: &mut Vec<u8>) {
    // A multiplicative hash stands in for ids that no compressor can guess.
    let id = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let start = out.len();
    let _ = write!(
        out,
        r#"{{"type":"track","event":"Order Completed","messageId":"{id:016x}","userId":"u-{}","timestamp":"2026-11-21T03:{:02}:{:02}.{:03}Z","properties":{{"total":{}.{:02},"currency":"EUR","sku":"{:08x}","path":"/checkout/{}"}},"pad":""#,
        id >> 44,
        number / 60_000 % 60,
        number / 1000 % 60,
        number % 1000,
        id % 900,
        id % 100,
        id >> 32,
        id % 37,
    );
    let used = out.len() - start;
    out.resize(start + EVENT_BYTES - 2, b'x');
    debug_assert!(used <= EVENT_BYTES - 2, "the event fits");
    out.extend_from_slice(b"\"}\n");
}

/// Writes `events` events over [`CONNECTIONS`] connections as fast as they are taken; returns
/// when all are acknowledged as durable.
pub(crate) fn load(socket: &std::path::Path, events: u64) -> Result<Duration> {
    let started = Instant::now();
    std::thread::scope(|scope| {
        let writers: Vec<_> = (0..CONNECTIONS)
            .map(|connection| {
                let share = events / CONNECTIONS;
                scope.spawn(move || load_one(socket, connection * share, share))
            })
            .collect();
        writers
            .into_iter()
            .try_for_each(|w| w.join().expect("a load thread does not panic"))
    })?;
    Ok(started.elapsed())
}

fn load_one(socket: &std::path::Path, first: u64, events: u64) -> Result<()> {
    let mut writer = Writer::connect(socket)?;
    let mut bytes = Vec::new();
    let mut sent = 0;
    while sent < events {
        bytes.clear();
        let count = EVENTS_A_WRITE.min(events - sent);
        (0..count).for_each(|at| event_line(first + sent + at, &mut bytes));
        writer.send_lines(&bytes, count)?;
        sent += count;
    }
    writer.wait_acked(events)?;
    Ok(())
}

/// What a process has used.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Usage {
    /// User and system time, seconds.
    pub(crate) cpu: f64,
    /// Highest resident memory, MiB.
    pub(crate) peak_mib: f64,
    /// Bytes handed to the block layer.
    pub(crate) written: u64,
}

impl Usage {
    /// Of process `pid` until now.
    pub(crate) fn of(pid: u32) -> Result<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        // After the name, which may hold anything, in parentheses; proc_pid_stat(5).
        let fields = stat.rsplit(')').next().context("stat has a name")?;
        let fields: Vec<&str> = fields.split_whitespace().collect();
        let ticks = |at: usize| fields.get(at).and_then(|f| f.parse::<f64>().ok());
        let cpu = ticks(11).context("utime")? + ticks(12).context("stime")?;
        let number = |file: &str, name: &str| -> Result<u64> {
            let text = fs::read_to_string(format!("/proc/{pid}/{file}"))?;
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            let digits = line
                .context("the field is there")?
                .trim()
                .trim_end_matches(" kB");
            Ok(digits.parse()?)
        };
        Ok(Self {
            cpu: cpu / 100.0,
            peak_mib: number("status", "VmHWM:")? as f64 / 1024.0,
            written: number("io", "write_bytes:")?,
        })
    }
}

/// The `part`-th quantile of sorted figures.
pub(crate) fn quantile(sorted: &[f64], part: f64) -> f64 {
    let at = ((sorted.len() as f64 - 1.0) * part).round() as usize;
    sorted.get(at).copied().unwrap_or(f64::NAN)
}

/// Bytes of all files below `folder`.
pub(crate) fn folder_bytes(folder: &std::path::Path) -> u64 {
    let Ok(entries) = fs::read_dir(folder) else {
        return 0;
    };
    entries
        .filter_map(|entry| entry.ok())
        .map(|entry| match entry.metadata() {
            Ok(found) if found.is_dir() => folder_bytes(&entry.path()),
            Ok(found) => std::os::unix::fs::MetadataExt::blocks(&found) * 512,
            Err(_) => 0,
        })
        .sum()
}

/// Time of one `fdatasync` after a 4 KiB append, in microseconds, sorted.
pub(crate) fn fdatasyncs(folder: &std::path::Path, count: usize) -> Result<Vec<f64>> {
    let mut file = fs::File::create(folder.join("fdatasync-probe"))?;
    let mut times = Vec::with_capacity(count);
    for _ in 0..count {
        file.write_all(&[7; 4096])?;
        let started = Instant::now();
        file.sync_data()?;
        times.push(started.elapsed().as_secs_f64() * 1e6);
    }
    fs::remove_file(folder.join("fdatasync-probe"))?;
    times.sort_by(f64::total_cmp);
    Ok(times)
}

/// Writes one event at a time at `rate` a second over [`CONNECTIONS`] connections, each event
/// at its own moment whether or not earlier ones were answered; returns the time from its write
/// to its ack, in microseconds.
pub(crate) fn paced(socket: &std::path::Path, rate: u64, events: u64) -> Result<Vec<f64>> {
    let started = Instant::now() + Duration::from_millis(100);
    let results: Vec<Result<Vec<f64>>> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..CONNECTIONS)
            .map(|connection| {
                scope.spawn(move || {
                    let due = move |at: u64| {
                        let number = at * CONNECTIONS + connection;
                        started + Duration::from_secs_f64(number as f64 / rate as f64)
                    };
                    paced_one(socket, events / CONNECTIONS, due)
                })
            })
            .collect();
        threads
            .into_iter()
            .map(|t| t.join().expect("a load thread does not panic"))
            .collect()
    });
    results
        .into_iter()
        .collect::<Result<Vec<_>>>()
        .map(|times| times.concat())
}

fn paced_one(
    socket: &std::path::Path,
    events: u64,
    due: impl Fn(u64) -> Instant + Copy + Send,
) -> Result<Vec<f64>> {
    use std::io::{BufRead, BufReader};
    let mut stream = std::os::unix::net::UnixStream::connect(socket)?;
    let ear = stream.try_clone()?;
    let (written, times_written) = std::sync::mpsc::channel::<Instant>();
    std::thread::scope(|scope| {
        let listener = scope.spawn(move || -> Result<Vec<f64>> {
            let mut times = Vec::new();
            for line in BufReader::new(ear).lines() {
                let line = line?;
                let told = Instant::now();
                let digits: String = line.chars().filter(char::is_ascii_digit).collect();
                let acked: u64 = digits.parse().with_context(|| line.clone())?;
                let newly = (acked as usize).saturating_sub(times.len());
                let waits = times_written.iter().take(newly);
                times.extend(waits.map(|at| (told - at).as_secs_f64() * 1e6));
                if acked >= events {
                    break;
                }
            }
            Ok(times)
        });
        let mut bytes = Vec::new();
        for at in 0..events {
            let wait = due(at).saturating_duration_since(Instant::now());
            if !wait.is_zero() {
                std::thread::park_timeout(wait);
            }
            bytes.clear();
            event_line(at, &mut bytes);
            written.send(Instant::now())?;
            stream.write_all(&bytes)?;
        }
        listener.join().expect("the listener does not panic")
    })
}
