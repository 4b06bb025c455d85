//! Starts the inputs of a configuration: a task for each socket, one thread for all files.
//!
//! Only wires; what an input does is its own.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinHandle;
use tracing::{error, warn};

use super::{RunError, system, systemd};
use crate::config::{Config, FileConfig, InputKind, UnixConfig};
use crate::input::activation::Handed;
use crate::input::file::commands::TailControl;
use crate::input::file::stats::FileStats;
use crate::input::file::{self, Settings};
use crate::input::framing::{LINE_MEMORY_BYTES, LineMemory};
use crate::input::park::Parked;
use crate::input::stats::InputStats;
use crate::input::stop::Stop;
use crate::input::unix::{self, BoundSocket, Shared};
use crate::spool::{Appender, Checkpoints};

/// Longest wait for the first look at the log files: a network file system may hang.
const FIRST_LOOK: Duration = Duration::from_secs(5);

/// The inputs, running.
pub(super) struct Inputs {
    /// Each ends after a stop was asked for.
    pub(super) running: Vec<JoinHandle<()>>,
    /// Connections at rest, from the stop on; as many as there were connections at most.
    pub(super) parked: UnboundedReceiver<Parked>,
    pub(super) sockets: Vec<(Arc<str>, Arc<InputStats>)>,
    pub(super) files: Vec<(Arc<str>, Arc<FileStats>)>,
    /// Asks the thread that follows files, when there is one.
    pub(super) tail: Option<TailControl>,
}

/// Binds all sockets before anything is read, then starts all inputs.
pub(super) fn start(
    config: &Config,
    mut handed: Handed,
    appender: &Appender,
    checkpoints: Checkpoints,
    stop: &Stop,
) -> Result<Inputs, RunError> {
    systemd::forget(&handed.take_kept());
    let mut bound: Vec<(Arc<str>, &UnixConfig, BoundSocket)> = Vec::new();
    let mut files: Vec<(Arc<str>, FileConfig)> = Vec::new();
    for input in &config.inputs {
        match &input.kind {
            InputKind::Unix(unix) => {
                let socket = BoundSocket::claim_or_bind(unix, &mut handed)?;
                bound.push((input.name.clone(), unix, socket));
            }
            InputKind::File(file) => files.push((input.name.clone(), (**file).clone())),
        }
    }
    for path in handed.unclaimed() {
        error!(path = %path.display(), "a socket was handed over and no input has its path; \
            writers wait there for ever");
    }
    let (parking, parked) = unbounded_channel();
    let mut inputs = Inputs {
        running: Vec::new(),
        parked,
        sockets: Vec::new(),
        files: Vec::new(),
        tail: None,
    };
    start_sockets(
        &mut inputs,
        bound,
        config,
        (handed, parking),
        appender,
        stop,
    );
    if !files.is_empty() {
        let settings = Settings {
            inputs: files,
            own: own_directories(config),
            checkpoints,
            appender: appender.clone(),
        };
        let tail = file::start(settings, stop.clone()).map_err(system("follow files"))?;
        if tail.looked.recv_timeout(FIRST_LOOK).is_err() {
            warn!(within = ?FIRST_LOOK, "the first look at the log files takes its time; \
                a file system may hang");
        }
        inputs.files = tail.stats;
        inputs.tail = Some(tail.control);
        let (ended, mut stop) = (tail.ended, stop.clone());
        inputs.running.push(tokio::spawn(async move {
            // An error: the thread ended in a panic, and what it had read is read again.
            if ended.await.is_err() {
                error!("the thread that follows files ended in a panic");
            } else {
                // Where the spool refuses what was read, the sockets go on all the same.
                stop.asked().await;
            }
        }));
    }
    Ok(inputs)
}

fn start_sockets(
    inputs: &mut Inputs,
    bound: Vec<(Arc<str>, &UnixConfig, BoundSocket)>,
    config: &Config,
    (mut handed, parking): (Handed, UnboundedSender<Parked>),
    appender: &Appender,
    stop: &Stop,
) {
    let shared = Shared {
        appender: appender.clone(),
        memory: LineMemory::new(LINE_MEMORY_BYTES),
        max_event_bytes: config.spool.max_event_bytes,
    };
    for (name, unix, socket) in bound {
        let stats = Arc::new(InputStats::default());
        let running = unix::run(
            socket,
            (name.clone(), unix.clone()),
            shared.clone(),
            stats.clone(),
            handed.take_parked(&name),
            parking.clone(),
            stop.clone(),
        );
        inputs.running.push(tokio::spawn(running));
        inputs.sockets.push((name, stats));
    }
}

/// Where no file is followed: the spool, whose control socket may be elsewhere but is no file.
fn own_directories(config: &Config) -> Vec<PathBuf> {
    vec![config.spool.dir.clone()]
}
