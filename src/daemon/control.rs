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
use tokio::net::UnixStream;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tracing::{debug, warn};

use super::letters::{self, Letters, Which};
use super::status::Watched;
use crate::config::{AckMode, UnixConfig};
use crate::input::file::commands::{FILES_AT_ONCE, SeekTo, TailControl};
use crate::input::seldom::Seldom;
use crate::input::unix::{ACCEPT_RETRY, BindError, BoundSocket};
use crate::proof::Seq;
use crate::spool::{Appender, DeadLetters};

/// Longest request, in bytes.
const REQUEST_BYTES: u64 = 64 << 10;

/// Requests served at once.
const CONNECTIONS: usize = 16;

/// A connection without a request for this long is closed.
const IDLE: Duration = Duration::from_secs(60);

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
    /// The dead letters that a command names: all is all that there are by now.
    fn letters(&self, seqs: Vec<Seq>, all: bool) -> Letters {
        let newest = self.watched.spool.snapshot().ledger.accepted;
        let which = if all {
            Which::Between(0..=newest)
        } else {
            Which::Named(seqs.into())
        };
        let store = self.dead_letters.clone();
        Letters { store, which }
    }

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
    let mut failures = Seldom::default();
    loop {
        let Ok(place) = places.clone().acquire_owned().await else {
            return;
        };
        match socket.listener().accept().await {
            Ok((stream, _)) => {
                let control = control.clone();
                tokio::spawn(async move {
                    if let Err(error) = talk(stream, &control).await {
                        debug!(%error, "control connection ended");
                    }
                    drop(place);
                });
            }
            Err(error) => {
                if failures.is_due() {
                    warn!(%error, "cannot accept control connections; trying again");
                }
                tokio::time::sleep(ACCEPT_RETRY).await;
            }
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
    match request {
        Request::Status => Ok(control.watched.snapshot()),
        Request::DeadLetterList { from, limit } => {
            letters::list(&control.dead_letters, from, limit).await
        }
        Request::DeadLetterShow { seq } => letters::show(&control.dead_letters, seq).await,
        Request::DeadLetterRetry { seqs, all } => {
            letters::retry(&control.appender, control.letters(seqs, all)).await
        }
        Request::DeadLetterDrop { seqs, all } => letters::drop(control.letters(seqs, all)).await,
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
