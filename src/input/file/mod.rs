//! Log files as an input: followed through every rotation, each line once.
//!
//! One thread, "tail", looks after the files of all inputs. What was read goes to the spool
//! together with the checkpoint behind it, in one block: after a crash both are there or
//! neither is. State per file is small and of fixed size; the bytes of files are read into
//! one window, one file after the other.

mod arrival;
mod checkpoint;
pub mod commands;
mod copies;
mod deleted;
mod files;
mod follow;
pub mod framing;
mod handles;
mod identity;
mod input;
mod names;
mod open;
mod outbox;
mod packed;
mod reading;
mod remembered;
mod removal;
mod scan;
mod start;
pub mod stats;
mod tailer;
mod truncated;
mod turn;
mod unpacking;
mod wake;
mod walk;

#[cfg(test)]
mod tests;

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, mpsc};

use tokio::sync::oneshot;
use tracing::error;

use crate::config::FileConfig;
use crate::input::stop::Stop;
use crate::spool::{Appender, Checkpoints, FILE_READ_BYTES, FILE_READ_EVENTS};
use commands::TailControl;
use framing::RunLimits;
use input::Input;
use outbox::Outbox;
use stats::FileStats;
use tailer::{Mail, Tailer};

/// What the thread "tail" is given.
pub struct Settings {
    /// Name and settings of each file input.
    pub inputs: Vec<(Arc<str>, FileConfig)>,
    /// Directories whose files are never followed: the daemon's own.
    pub own: Vec<PathBuf>,
    /// How far the inputs had come.
    pub checkpoints: Checkpoints,
    /// Where events go.
    pub appender: Appender,
}

/// The thread "tail", running.
pub struct Tail {
    /// Asks it.
    pub control: TailControl,
    /// Counters by input, in the order of the settings.
    pub stats: Vec<(Arc<str>, Arc<FileStats>)>,
    /// Told when the first look around is on disk: what is written from then on is read, however
    /// soon its file is renamed and the daemon killed.
    pub looked: mpsc::Receiver<()>,
    /// Told when it has ended: everything that was read is on disk then.
    pub ended: oneshot::Receiver<()>,
}

/// Starts to follow files, until `stop`.
///
/// # Errors
/// When the system refuses the thread or its runtime.
pub fn start(settings: Settings, stop: Stop) -> io::Result<Tail> {
    let limits = RunLimits {
        bytes: FILE_READ_BYTES,
        events: FILE_READ_EVENTS,
    };
    let mut inputs: Vec<Input> = settings
        .inputs
        .into_iter()
        .enumerate()
        .map(|(index, (name, config))| Input::new(index, name, config, limits, &settings.own))
        .collect();
    let stats = inputs
        .iter()
        .map(|input| (input.name.clone(), input.stats.clone()))
        .collect();
    let (files, dirty) = remembered::files(&mut inputs, &settings.checkpoints);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let (control, commands) = commands::channel();
    let (ends, ended) = oneshot::channel();
    let (looks, looked) = mpsc::channel();
    let appender = settings.appender;
    std::thread::Builder::new()
        .name("tail".to_owned())
        .spawn(move || {
            runtime.block_on(async {
                let (outbox, deliveries) = Outbox::start(appender);
                let tailer = Tailer::new(inputs, files, dirty, outbox);
                let mail = Mail {
                    stop,
                    commands,
                    deliveries,
                };
                tailer.run(mail, looks).await;
            });
            if ends.send(()).is_err() {
                error!("the files were let go after the daemon had stopped waiting for that");
            }
        })?;
    Ok(Tail {
        control,
        stats,
        looked,
        ended,
    })
}
