//! What has arrived in Kafka, line by line: which are there, which came under a second id,
//! and which nobody wrote.
//!
//! A line says which one it is, so every byte of a record can be compared with what was
//! written. The id of the spool tells a record that was sent twice, which a crash allows,
//! from a line that was read twice, which nothing does.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use spoolway_test_support::kafka::Kafka;
use spoolway_test_support::scripted::Cluster;

pub(crate) const TOPIC: &str = "events";

/// Pause between two looks into a scripted broker, and a real one.
const LOOK: Duration = Duration::from_millis(5);
const LOOK_KAFKA: Duration = Duration::from_millis(300);

/// Of the unexpected so many are kept for the message.
const KEPT: usize = 5;

/// Line `number` of the file `file`, without its end. Most are short, a few are not.
pub(crate) fn line(file: u32, number: u32) -> Vec<u8> {
    let mixed = (u64::from(file) << 32 | u64::from(number)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let pad = match mixed >> 56 {
        0 => 5000,
        some => some as usize % 120,
    };
    let letter = b'a' + (mixed >> 40) as u8 % 26;
    let mut line = format!("{file:04} {number:07} ").into_bytes();
    line.resize(line.len() + pad, letter);
    line
}

fn parse(value: &[u8]) -> Option<(u32, u32)> {
    let text = std::str::from_utf8(value.get(..13)?).ok()?;
    let (file, number) = text.split_at(4);
    let (file, number) = (file.parse().ok()?, number.trim().parse().ok()?);
    (line(file, number) == value).then_some((file, number))
}

/// Where records come from.
pub(crate) enum Broker {
    Scripted(Cluster),
    Real(Box<Kafka>),
}

impl Broker {
    pub(crate) fn scripted() -> Self {
        let cluster = Cluster::start(1);
        cluster.create_topic(TOPIC, 1);
        Self::Scripted(cluster)
    }

    pub(crate) fn real() -> Self {
        let kafka = Kafka::builder().start().unwrap();
        kafka.admin().create_topic(TOPIC, 1, &[]).unwrap();
        Self::Real(Box::new(kafka))
    }

    pub(crate) fn bootstrap(&self) -> String {
        match self {
            Self::Scripted(cluster) => cluster.bootstrap(),
            Self::Real(kafka) => kafka.bootstrap(),
        }
    }

    /// Takes what came since `seen`, which counts batches or records.
    fn take(&self, seen: &mut usize, table: &Mutex<Table>) {
        match self {
            Self::Scripted(cluster) => {
                let fresh = cluster.batches_from(TOPIC, 0, *seen);
                *seen += fresh.len();
                let mut table = lock(table);
                for record in fresh.iter().flat_map(|stored| &stored.batch.records) {
                    table.take(record.value_bytes(), record.header("spoolway-id"));
                }
            }
            Self::Real(kafka) => {
                let Ok(records) = kafka.admin().read_all(TOPIC) else {
                    return;
                };
                let mut table = lock(table);
                for record in records.get(*seen..).unwrap_or_default() {
                    let value = record.value.as_deref().unwrap_or_default();
                    table.take(value, record.header("spoolway-id"));
                }
                *seen = records.len();
            }
        }
    }

    fn pause(&self) -> Duration {
        match self {
            Self::Scripted(_) => LOOK,
            Self::Real(_) => LOOK_KAFKA,
        }
    }
}

#[derive(Debug, Default)]
pub(crate) struct Table {
    ids: BTreeMap<u32, Vec<Option<Vec<u8>>>>,
    pub(crate) records: u64,
    /// Records that came again under the same id.
    pub(crate) resent: u64,
    /// Lines that came under two ids: they were read twice.
    pub(crate) read_twice: u64,
    /// Records that are no line, each id once.
    pub(crate) strange: u64,
    strange_ids: BTreeSet<Vec<u8>>,
    /// Some of both.
    pub(crate) examples: Vec<String>,
    is_over: bool,
}

impl Table {
    fn take(&mut self, value: &[u8], id: Option<&[u8]>) {
        self.records += 1;
        let id = id.unwrap_or_default();
        let Some((file, number)) = parse(value) else {
            if self.strange_ids.insert(id.to_vec()) {
                self.strange += 1;
                self.example("nobody wrote", value);
            }
            return;
        };
        let lines = self.ids.entry(file).or_default();
        let at = number as usize;
        if lines.len() <= at {
            lines.resize(at + 1, None);
        }
        match &lines[at] {
            None => lines[at] = Some(id.to_vec()),
            Some(first) if first == id => self.resent += 1,
            Some(_) => {
                self.read_twice += 1;
                self.example("read twice", value);
            }
        }
    }

    fn example(&mut self, what: &str, value: &[u8]) {
        if self.examples.len() < KEPT {
            let start = value.get(..60).unwrap_or(value);
            let text = String::from_utf8_lossy(start);
            self.examples
                .push(format!("{what}: {} bytes, {text:?}", value.len()));
        }
    }

    pub(crate) fn has(&self, file: u32, number: u32) -> bool {
        let lines = self.ids.get(&file);
        lines.is_some_and(|lines| matches!(lines.get(number as usize), Some(Some(_))))
    }

    fn has_all(&self, file: u32, first: u32, behind: u32) -> bool {
        (first..behind).all(|number| self.has(file, number))
    }
}

fn lock(table: &Mutex<Table>) -> MutexGuard<'_, Table> {
    table.lock().unwrap_or_else(PoisonError::into_inner)
}

#[derive(Default)]
struct Shared {
    table: Mutex<Table>,
    changed: Condvar,
}

/// A thread that looks into the broker all the time.
pub(crate) struct Arrivals {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Arrivals {
    pub(crate) fn watch(broker: Broker) -> Self {
        let shared = Arc::<Shared>::default();
        let seen_by = Arc::clone(&shared);
        let thread = thread::spawn(move || {
            let mut seen = 0;
            while !lock(&seen_by.table).is_over {
                broker.take(&mut seen, &seen_by.table);
                seen_by.changed.notify_all();
                thread::park_timeout(broker.pause());
            }
        });
        Self {
            shared,
            thread: Some(thread),
        }
    }

    /// Looks at what is there.
    pub(crate) fn look<T>(&self, look: impl FnOnce(&Table) -> T) -> T {
        look(&lock(&self.shared.table))
    }

    /// Waits until `done`; false when that takes longer than `within`.
    pub(crate) fn wait(&self, within: Duration, done: impl Fn(&Table) -> bool) -> bool {
        let deadline = Instant::now() + within;
        let mut table = lock(&self.shared.table);
        while !done(&table) {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            let woken = self.shared.changed.wait_timeout(table, left);
            table = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    /// Waits for the lines from `first` to before `behind` of a file.
    pub(crate) fn wait_lines(&self, within: Duration, file: u32, first: u32, behind: u32) -> bool {
        self.wait(within, |table| table.has_all(file, first, behind))
    }
}

impl Drop for Arrivals {
    fn drop(&mut self) {
        lock(&self.shared.table).is_over = true;
        if let Some(thread) = self.thread.take() {
            // Its panic has been printed.
            let _ = thread.join();
        }
    }
}
