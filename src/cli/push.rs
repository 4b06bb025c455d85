//! `spoolway push`: the lines of standard input to an input's socket.
//!
//! One thread copies standard input to the socket, the caller's thread reads the answers,
//! so that a daemon that goes away is noticed while standard input is idle. Answers are
//! read even when nobody waits for them: closing a Unix socket with unread data makes the
//! other end lose what it has not read yet (unix(7), ECONNRESET).

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::Deserialize;

use super::CliError;
use super::args::{PushArgs, config_or_default};
use super::shown::printable;
use crate::config::{AckMode, Config, ConfigSource, Context, InputKind, UnixConfig};

/// Bytes copied from standard input at a time.
const COPY_BYTES: usize = 64 << 10;

/// Longest answer line; the daemon's own are far shorter.
const ANSWER_BYTES_MAX: u64 = 4 << 10;

/// How often the reader of answers looks at the clock.
const TICK: Duration = Duration::from_millis(100);

/// Refusals printed one by one; the rest is only counted.
const NACKS_PRINTED: u64 = 100;

pub(super) fn push(args: &PushArgs) -> Result<(), CliError> {
    let path = socket_path(args)?;
    let broken = |what: &str, error: io::Error| {
        not_durable(format!("{what} {}: {error}", path.display()), 0, 0)
    };
    let stream = UnixStream::connect(&path).map_err(|e| broken("cannot connect to", e))?;
    let answers = stream.try_clone().map_err(|e| broken("cannot use", e))?;
    stream
        .set_write_timeout(Some(args.timeout))
        .map_err(|e| broken("cannot use", e))?;
    answers
        .set_read_timeout(Some(TICK))
        .map_err(|e| broken("cannot use", e))?;
    let copy = Arc::new(Copy::default());
    let copying = copy.clone();
    std::thread::Builder::new()
        .name("push-copy".to_owned())
        .spawn(move || copying.run(io::stdin().lock(), stream))
        .map_err(|source| CliError::Io {
            what: "cannot start a thread",
            source,
        })?;
    Waiting {
        copy,
        wait_for_ack: args.ack,
        timeout: args.timeout,
        settled: 0,
        refused: 0,
    }
    .run(answers)
}

fn not_durable(reason: String, sent: u64, settled: u64) -> CliError {
    CliError::NotDurable {
        reason,
        sent,
        settled,
    }
}

fn socket_path(args: &PushArgs) -> Result<PathBuf, CliError> {
    if let Some(path) = &args.socket {
        return Ok(path.clone());
    }
    let path = config_or_default(args.config.clone());
    let source = ConfigSource::File {
        path,
        context: Context::default(),
    };
    let config = source.load().map_err(CliError::Config)?.config;
    let (name, unix) = choose(&config, args.input.as_deref())?;
    if args.ack && unix.ack == AckMode::None {
        let reason = format!("input {name:?} answers nothing; set ack = \"durable\" for it");
        return Err(not_durable(reason, 0, 0));
    }
    Ok(unix.path.clone())
}

fn choose<'c>(
    config: &'c Config,
    wanted: Option<&str>,
) -> Result<(&'c str, &'c UnixConfig), CliError> {
    let sockets = config.inputs.iter().filter_map(|input| match &input.kind {
        InputKind::Unix(unix) => Some((&*input.name, unix)),
        InputKind::File(_) => None,
    });
    let mut found = sockets
        .clone()
        .filter(|(name, _)| wanted.is_none_or(|one| one == *name));
    let names = || {
        sockets
            .clone()
            .map(|(name, _)| name)
            .collect::<Vec<_>>()
            .join(", ")
    };
    match (found.next(), found.next()) {
        (Some(input), None) => Ok(input),
        (Some(_), Some(_)) => Err(CliError::Usage(format!(
            "choose one with --input: {}",
            names()
        ))),
        (None, _) => Err(CliError::Usage(format!(
            "no such socket input; there are: {}",
            names()
        ))),
    }
}

/// Progress of the thread that copies.
#[derive(Default)]
struct Copy {
    lines: AtomicU64,
    finished: AtomicBool,
    failure: Mutex<Option<String>>,
}

impl Copy {
    fn run(&self, input: impl Read, mut socket: UnixStream) {
        let result = self.copy(input, &mut socket);
        if let Err(error) = result {
            *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
        }
        // Said before the end of the stream is: the daemon may answer it and close at once.
        self.finished.store(true, Ordering::Release);
        // The end of the stream tells the daemon that no line follows. When it is gone
        // already, the reader of answers finds out.
        let _ = socket.shutdown(Shutdown::Write);
    }

    fn copy(&self, mut input: impl Read, socket: &mut UnixStream) -> Result<(), String> {
        let mut buffer = vec![0; COPY_BYTES];
        let mut open_line = false;
        loop {
            let count = match input.read(&mut buffer) {
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(format!("cannot read standard input: {error}")),
            };
            let Some(chunk) = buffer.get(..count).filter(|chunk| !chunk.is_empty()) else {
                break;
            };
            // Counted first: an answer may come before the write returns.
            let newlines = memchr::memchr_iter(b'\n', chunk).count() as u64;
            self.lines.fetch_add(newlines, Ordering::AcqRel);
            send(socket, chunk)?;
            open_line = !chunk.ends_with(b"\n");
        }
        if open_line {
            self.lines.fetch_add(1, Ordering::AcqRel);
            send(socket, b"\n")?;
        }
        Ok(())
    }

    fn failure(&self) -> Option<String> {
        self.failure
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

fn send(socket: &mut UnixStream, bytes: &[u8]) -> Result<(), String> {
    socket.write_all(bytes).map_err(|error| match error.kind() {
        io::ErrorKind::WouldBlock => "the daemon takes no more lines; is its spool full?".into(),
        _ => format!("the daemon closed the connection: {error}"),
    })
}

/// `{"ack":N}` or `{"nack":K,"reason":".."}`.
#[derive(Deserialize)]
struct Answer {
    ack: Option<u64>,
    nack: Option<u64>,
    reason: Option<String>,
}

/// The thread that waits for answers.
struct Waiting {
    copy: Arc<Copy>,
    wait_for_ack: bool,
    timeout: Duration,
    settled: u64,
    refused: u64,
}

impl Waiting {
    fn run(mut self, stream: UnixStream) -> Result<(), CliError> {
        let mut reader = BufReader::new(stream);
        let mut line = Vec::new();
        let mut progress = (Instant::now(), 0);
        loop {
            let read = (&mut reader)
                .take(ANSWER_BYTES_MAX)
                .read_until(b'\n', &mut line);
            match read {
                Ok(_) if line.ends_with(b"\n") => {
                    self.take_answer(&line)?;
                    line.clear();
                }
                Ok(0) => return self.at_end(),
                Ok(_) if line.len() as u64 >= ANSWER_BYTES_MAX => {
                    return Err(self.failed("the daemon's answer is too long".to_owned()));
                }
                Ok(_) => {}
                Err(error) if is_tick(&error) => {}
                Err(error) => return Err(self.failed(format!("the connection broke: {error}"))),
            }
            if self.is_done() {
                return self.verdict();
            }
            if let Some(failure) = self.copy.failure() {
                return Err(self.failed(failure));
            }
            let reached = self.settled + self.copy.lines.load(Ordering::Acquire);
            if reached != progress.1 || !self.is_waiting() {
                progress = (Instant::now(), reached);
            } else if progress.0.elapsed() >= self.timeout {
                return Err(self.failed(format!("no answer for {:?}", self.timeout)));
            }
        }
    }

    fn take_answer(&mut self, line: &[u8]) -> Result<(), CliError> {
        match serde_json::from_slice(line) {
            Ok(Answer {
                ack: Some(count), ..
            }) => self.settled = self.settled.max(count),
            Ok(Answer {
                nack: Some(number),
                reason,
                ..
            }) => {
                self.refused += 1;
                if self.refused <= NACKS_PRINTED {
                    let reason = reason.unwrap_or_else(|| "no reason given".to_owned());
                    eprintln!("line {number} was refused: {}", printable(&reason));
                }
            }
            _ => return Err(self.failed("the daemon's answer is not understood".to_owned())),
        }
        Ok(())
    }

    /// Lines sent, once all of them are.
    fn total(&self) -> Option<u64> {
        let finished = self.copy.finished.load(Ordering::Acquire);
        finished.then(|| self.copy.lines.load(Ordering::Acquire))
    }

    /// Whether every line is settled. Without `--ack` only the daemon's end is awaited.
    fn is_done(&self) -> bool {
        self.wait_for_ack
            && self.copy.failure().is_none()
            && self.total().is_some_and(|total| self.settled >= total)
    }

    /// Whether the daemon owes an answer, or its end of the stream.
    fn is_waiting(&self) -> bool {
        let sent = self.copy.lines.load(Ordering::Acquire);
        self.total().is_some() || (self.wait_for_ack && self.settled < sent)
    }

    /// The daemon closed: right when it has read everything, and answered where asked to.
    fn at_end(self) -> Result<(), CliError> {
        if let Some(failure) = self.copy.failure() {
            return Err(self.failed(failure));
        }
        match self.total() {
            Some(total) if !self.wait_for_ack || self.settled >= total => self.verdict(),
            _ => Err(self.failed("the daemon closed the connection".to_owned())),
        }
    }

    fn verdict(self) -> Result<(), CliError> {
        if self.refused == 0 {
            return Ok(());
        }
        let reason = format!("{} lines were refused", self.refused);
        Err(self.failed(reason))
    }

    fn failed(&self, reason: String) -> CliError {
        not_durable(
            reason,
            self.copy.lines.load(Ordering::Acquire),
            self.settled,
        )
    }
}

fn is_tick(error: &io::Error) -> bool {
    use io::ErrorKind::{Interrupted, TimedOut, WouldBlock};
    matches!(error.kind(), WouldBlock | TimedOut | Interrupted)
}
