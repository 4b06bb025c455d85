//! The control socket: one JSON request a line, one JSON answer a line.
//!
//! Mode 0600: whoever may read the spool may ask. Knows the commands, not how the parts
//! that it asks do their work.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tracing::{debug, warn};

use super::status::Watched;
use crate::config::{AckMode, UnixConfig};
use crate::event::EventBuf;
use crate::input::file::commands::{FILES_AT_ONCE, SeekTo, TailControl};
use crate::input::unix::{BindError, BoundSocket};
use crate::proof::Seq;
use crate::spool::{Appender, DeadLetter, DeadLetters, Want};

/// Longest request, in bytes.
const REQUEST_BYTES: u64 = 64 << 10;

/// Requests served at once.
const CONNECTIONS: usize = 16;

/// A connection without a request for this long is closed.
const IDLE: Duration = Duration::from_secs(60);

/// Dead letters that one `list` shows, and one step of `retry` and `drop` handles.
const LETTERS_AT_ONCE: usize = 1000;

/// A request line.
#[derive(Debug, Deserialize)]
#[serde(tag = "cmd", rename_all = "kebab-case", deny_unknown_fields)]
enum Request {
    Status,
    DeadLetterList {
        #[serde(default)]
        from: Seq,
        limit: Option<usize>,
    },
    DeadLetterShow {
        seq: Seq,
    },
    DeadLetterRetry {
        #[serde(default)]
        seqs: Vec<Seq>,
        #[serde(default)]
        all: bool,
    },
    DeadLetterDrop {
        #[serde(default)]
        seqs: Vec<Seq>,
        #[serde(default)]
        all: bool,
    },
    TailStatus {
        /// Part of the paths to show.
        path: Option<String>,
        #[serde(default)]
        from: usize,
        limit: Option<usize>,
    },
    TailSeek {
        /// A path or a key.
        file: String,
        to: Seek,
        #[serde(default)]
        yes: bool,
    },
    TailForget {
        /// A path or a key.
        file: String,
        #[serde(default)]
        yes: bool,
    },
}

/// `"beginning"`, `"end"` or `{"offset": N}`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Seek {
    Beginning,
    End,
    Offset(u64),
}

impl From<Seek> for SeekTo {
    fn from(seek: Seek) -> Self {
        match seek {
            Seek::Beginning => Self::Beginning,
            Seek::End => Self::End,
            Seek::Offset(offset) => Self::Offset(offset),
        }
    }
}

/// What the control socket can reach.
pub(super) struct Control {
    pub(super) watched: Arc<Watched>,
    pub(super) dead_letters: DeadLetters,
    pub(super) appender: Appender,
    pub(super) tail: Option<TailControl>,
}

impl Control {
    fn tail(&self) -> Result<&TailControl, String> {
        let none = "no input of type \"file\" is configured";
        self.tail.as_ref().ok_or_else(|| none.to_owned())
    }
}

/// Binds the control socket as strictly as an input's, and for its owner alone.
pub(super) fn bind(path: &Path) -> Result<BoundSocket, BindError> {
    BoundSocket::bind(&UnixConfig {
        path: path.to_owned(),
        mode: 0o600,
        group: None,
        ack: AckMode::None,
        max_connections: CONNECTIONS as u32,
        accept_unterminated: false,
        idle_timeout: IDLE,
    })
}

/// Serves until dropped.
pub(super) async fn serve(socket: BoundSocket, control: Arc<Control>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(place) = places.clone().acquire_owned().await else {
            return;
        };
        match accept(socket.listener()).await {
            Some(stream) => {
                let control = control.clone();
                tokio::spawn(async move {
                    if let Err(error) = talk(stream, &control).await {
                        debug!(%error, "control connection ended");
                    }
                    drop(place);
                });
            }
            None => tokio::time::sleep(Duration::from_millis(200)).await,
        }
    }
}

async fn accept(listener: &UnixListener) -> Option<UnixStream> {
    match listener.accept().await {
        Ok((stream, _)) => Some(stream),
        Err(error) => {
            warn!(%error, "cannot accept a control connection");
            None
        }
    }
}

async fn talk(mut stream: UnixStream, control: &Control) -> std::io::Result<()> {
    let (reader, mut writer) = stream.split();
    let mut reader = BufReader::new(reader);
    loop {
        let mut line = Vec::new();
        let mut limited = (&mut reader).take(REQUEST_BYTES);
        let Ok(read) = timeout(IDLE, limited.read_until(b'\n', &mut line)).await else {
            return Ok(());
        };
        if read? == 0 {
            return Ok(());
        }
        let answer = match answer(&line, control).await {
            Ok(data) => json!({"ok": true, "data": data}),
            Err(error) => json!({"ok": false, "error": error}),
        };
        let mut bytes = answer.to_string().into_bytes();
        bytes.push(b'\n');
        if timeout(IDLE, writer.write_all(&bytes)).await.is_err() {
            return Ok(());
        }
    }
}

async fn answer(line: &[u8], control: &Control) -> Result<Value, String> {
    let request = serde_json::from_slice(line).map_err(|e| format!("bad request: {e}"))?;
    let letters = control.dead_letters.clone();
    match request {
        Request::Status => Ok(control.watched.snapshot()),
        Request::DeadLetterList { from, limit } => {
            let limit = limit.unwrap_or(LETTERS_AT_ONCE).min(LETTERS_AT_ONCE);
            let listed = blocking(move || letters.list(from, limit)).await?;
            Ok(listed.iter().map(summary).collect())
        }
        Request::DeadLetterShow { seq } => {
            let letter = blocking(move || letters.get(seq)).await?;
            let letter = letter.ok_or_else(|| format!("there is no dead letter {seq}"))?;
            Ok(whole(&letter))
        }
        Request::DeadLetterRetry { seqs, all } => retry(control, seqs, all).await,
        Request::DeadLetterDrop { seqs, all } => {
            let mut dropped = 0;
            while let Some(step) = next_letters(control, &seqs, all, dropped).await? {
                let step: Vec<Seq> = step.iter().map(|letter| letter.seq).collect();
                let letters = control.dead_letters.clone();
                dropped += step.len();
                blocking(move || letters.remove(&step)).await?;
            }
            Ok(json!({"dropped": dropped}))
        }
        Request::TailStatus { path, from, limit } => {
            let limit = limit.unwrap_or(FILES_AT_ONCE);
            let report = control.tail()?.status(path, from, limit).await?;
            Ok(json!(report))
        }
        Request::TailSeek { file, to, yes } => {
            let file = control.tail()?.seek(file, to.into(), yes).await?;
            Ok(json!({"file": file}))
        }
        Request::TailForget { file, yes } => {
            let file = control.tail()?.forget(file, yes).await?;
            Ok(json!({"file": file}))
        }
    }
}

/// Appends letters as new events and removes them once they are durable: a crash between
/// the two sends an event twice, never never.
async fn retry(control: &Control, seqs: Vec<Seq>, all: bool) -> Result<Value, String> {
    let mut retried = 0;
    while let Some(step) = next_letters(control, &seqs, all, retried).await? {
        for letter in &step {
            let mut event = EventBuf::default();
            event.push(&letter.bytes);
            let source = Arc::new(letter.source.clone());
            let appended = control
                .appender
                .append(event, source, letter.received, Want::Durable);
            let mut pending = appended.await.map_err(|e| e.to_string())?;
            pending.receipt().await.map_err(|e| e.to_string())?;
        }
        let done: Vec<Seq> = step.iter().map(|letter| letter.seq).collect();
        retried += done.len();
        let letters = control.dead_letters.clone();
        blocking(move || letters.remove(&done)).await?;
    }
    Ok(json!({"retried": retried}))
}

/// The next letters to handle: the first of all, or the named ones from the `done`-th on.
async fn next_letters(
    control: &Control,
    seqs: &[Seq],
    all: bool,
    done: usize,
) -> Result<Option<Vec<DeadLetter>>, String> {
    let letters = control.dead_letters.clone();
    if all {
        let step = blocking(move || letters.list(0, LETTERS_AT_ONCE)).await?;
        return Ok((!step.is_empty()).then_some(step));
    }
    let Some(&seq) = seqs.get(done) else {
        return Ok(None);
    };
    let letter = blocking(move || letters.get(seq)).await?;
    let letter = letter.ok_or_else(|| format!("there is no dead letter {seq}"))?;
    Ok(Some(vec![letter]))
}

async fn blocking<T: Send + 'static, E: std::fmt::Display + Send + 'static>(
    work: impl FnOnce() -> Result<T, E> + Send + 'static,
) -> Result<T, String> {
    let done = tokio::task::spawn_blocking(work)
        .await
        .map_err(|e| e.to_string())?;
    done.map_err(|e| e.to_string())
}

fn summary(letter: &DeadLetter) -> Value {
    json!({
        "seq": letter.seq,
        "topic": letter.topic,
        "partition": letter.partition,
        "reason": letter.reason,
        "dead_lettered_ms": letter.at,
        "received_ms": letter.received,
        "input": letter.source.input,
        "size": letter.bytes.len(),
    })
}

/// Bytes travel as base64-free JSON numbers would be unreadable, so as hexadecimal text.
fn whole(letter: &DeadLetter) -> Value {
    let mut value = summary(letter);
    let hex: String = letter
        .bytes
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    if let Some(fields) = value.as_object_mut() {
        fields.insert("bytes_hex".to_owned(), Value::String(hex));
    }
    value
}
