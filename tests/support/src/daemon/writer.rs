//! A writer as an application would be: sends lines, and reads what it is told of them.
//!
//! Does not know what the lines mean, and never sends one twice.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// Longest wait for an answer that must come.
const PATIENCE: Duration = Duration::from_secs(30);

/// What the daemon has said on one connection.
#[derive(Debug, Default, Clone)]
pub struct Told {
    /// The first so many lines are settled: safe, or named in `refused`.
    pub acked: u64,
    /// Refused lines, counted from 1, with the reason.
    pub refused: BTreeMap<u64, String>,
    /// Answers that break the protocol, in words.
    pub strange: Vec<String>,
    /// Whether the daemon has closed the connection.
    pub closed: bool,
}

impl Told {
    fn hear(&mut self, line: &str) {
        let parsed: Option<Value> = serde_json::from_str(line).ok();
        let number = |key: &str| {
            parsed
                .as_ref()
                .and_then(|v| v.get(key))
                .and_then(Value::as_u64)
        };
        match (number("ack"), number("nack")) {
            (Some(n), None) if n > self.acked => self.acked = n,
            (None, Some(n)) if n > self.acked => {
                let reason = parsed.as_ref().and_then(|v| v.get("reason")?.as_str());
                self.refused
                    .insert(n, reason.unwrap_or_default().to_owned());
            }
            _ => self
                .strange
                .push(format!("{line:?} after an ack of {}", self.acked)),
        }
    }
}

#[derive(Debug, Default)]
struct Shared {
    told: Mutex<Told>,
    bell: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One connection to an input.
#[derive(Debug)]
pub struct Writer {
    stream: UnixStream,
    sent: u64,
    shared: Arc<Shared>,
    reader: Option<JoinHandle<()>>,
}

impl Writer {
    /// Connects and starts to listen for answers.
    pub fn connect(path: &Path) -> Result<Self> {
        let stream = UnixStream::connect(path).with_context(|| path.display().to_string())?;
        let shared = Arc::new(Shared::default());
        let (ear, told) = (stream.try_clone()?, Arc::clone(&shared));
        let reader = thread::spawn(move || {
            let mut line = String::new();
            let mut answers = BufReader::new(ear);
            while answers.read_line(&mut line).is_ok_and(|n| n > 0) {
                // A daemon that is killed may leave half an answer, which says nothing.
                if line.ends_with('\n') {
                    told.lock().hear(line.trim_end());
                    told.bell.notify_all();
                }
                line.clear();
            }
            told.lock().closed = true;
            told.bell.notify_all();
        });
        Ok(Self {
            stream,
            sent: 0,
            shared,
            reader: Some(reader),
        })
    }

    /// Sends one line and returns its number, counted from 1.
    pub fn send(&mut self, event: &[u8]) -> Result<u64> {
        let mut line = event.to_vec();
        line.push(b'\n');
        self.send_lines(&line, 1)
    }

    /// Sends bytes that end `lines` lines; returns the number of lines sent so far.
    ///
    /// After an error none, some or all of them have arrived.
    pub fn send_lines(&mut self, bytes: &[u8], lines: u64) -> Result<u64> {
        self.sent += lines;
        self.stream
            .write_all(bytes)
            .context("writing to the input")?;
        Ok(self.sent)
    }

    /// Lines sent so far, those of a failed send included.
    pub fn sent(&self) -> u64 {
        self.sent
    }

    /// Ends the sending side; answers still come.
    pub fn finish(&self) -> Result<()> {
        Ok(self.stream.shutdown(Shutdown::Write)?)
    }

    /// What was answered so far.
    pub fn told(&self) -> Told {
        self.shared.lock().clone()
    }

    /// Waits until the first `lines` lines are settled.
    pub fn wait_acked(&self, lines: u64) -> Result<Told> {
        self.wait(&format!("an ack of {lines}"), |told| told.acked >= lines)
    }

    /// Sends one line and waits until it is settled, with all before it.
    pub fn send_acked(&mut self, event: &[u8]) -> Result<Told> {
        let line = self.send(event)?;
        self.wait_acked(line)
    }

    /// Waits until the daemon closes the connection.
    pub fn wait_closed(&self) -> Result<Told> {
        self.wait("the end of the connection", |told| told.closed)
    }

    /// Waits for a condition on what was answered.
    pub fn wait(&self, what: &str, done: impl Fn(&Told) -> bool) -> Result<Told> {
        let deadline = Instant::now() + PATIENCE;
        let mut told = self.shared.lock();
        while !done(&told) {
            let left = deadline.saturating_duration_since(Instant::now());
            if told.closed || left.is_zero() {
                bail!("no {what}, {} lines sent, told {told:?}", self.sent);
            }
            let woken = self.shared.bell.wait_timeout(told, left);
            told = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
        Ok(told.clone())
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let _ = self.stream.shutdown(Shutdown::Both);
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }
}
