//! What can go wrong with the spool, one type per operation.

use std::io;
use std::path::{Path, PathBuf};

use super::checkpoints::{CHECKPOINT_VALUE_MAX, CHECKPOINTS_BYTES_MAX, CHECKPOINTS_MAX};
use super::intake::{FILE_READ_BYTES, FILE_READ_EVENTS};
use super::quota::FullReason;

/// Why the spool could not be opened. Damage is no reason: it is moved to `quarantine/`.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process holds the directory.
    #[error(
        "spool {} is in use by {}; stop it or choose another spool.dir",
        dir.display(),
        pid.map_or("another process".to_owned(), |p| format!("process {p}"))
    )]
    Locked {
        /// The spool directory.
        dir: PathBuf,
        /// Process id of the holder, when its lock file tells.
        pid: Option<u32>,
    },
    /// A later release wrote this directory; it was not touched.
    #[error(
        "spool format {found} is newer than {known}, the newest this release knows; \
         install the release that wrote it, or choose an empty spool.dir"
    )]
    NewerFormat {
        /// Format found on disk.
        found: u32,
        /// Newest format this release reads.
        known: u32,
    },
    /// The file that names the format holds something else; the directory was not touched.
    #[error("{} is no spool format file; is spool.dir the right directory?", path.display())]
    NotASpool {
        /// The file.
        path: PathBuf,
    },
    /// A file operation failed.
    #[error("cannot use {}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The disk is full, and the spool's reserve is used up.
    #[error(
        "no space is left to open {}; free {} MiB on its file system. Nothing is lost",
        dir.display(), wanted >> 20
    )]
    NoSpace {
        /// The generation that was to be opened.
        dir: PathBuf,
        /// Bytes that are enough to open and drain it.
        wanted: u64,
    },
    /// The store could not open a generation, or begin one.
    #[error("cannot open the generation in {}: {reason}", dir.display())]
    Generation {
        /// Its directory.
        dir: PathBuf,
        /// What the store said.
        reason: String,
    },
    /// A flush returned without an `fdatasync`: this build must not promise anything.
    #[error("flush does not reach fdatasync in this build; it must not be used")]
    BarrierInactive,
}

/// Turns an [`io::Error`] into [`OpenError::Io`] that names `path`.
pub(super) fn io_at(path: &Path) -> impl FnOnce(io::Error) -> OpenError {
    let path = path.to_owned();
    move |source| OpenError::Io { path, source }
}

/// Why events were not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// The spool is full and `spool.when_full = "reject"`. Worth trying again later.
    #[error("spool is full: {0}")]
    Full(FullReason),
    /// The spool is stopping. The events are not durable.
    #[error("spool is closed")]
    Closed,
    /// There was no event to append; the caller's mistake.
    #[error("append without an event")]
    Empty,
    /// An event is longer than `spool.max_event_bytes`. Never worth trying again.
    #[error("event of {bytes} bytes is longer than spool.max_event_bytes = {limit}")]
    TooLong {
        /// Length of the event.
        bytes: u32,
        /// The limit.
        limit: u32,
    },
    /// Events with a checkpoint lie in one block, and these do not fit; the caller's mistake.
    #[error(
        "{events} events of {bytes} bytes with one checkpoint: more than \
         {FILE_READ_EVENTS} events or {FILE_READ_BYTES} bytes"
    )]
    TooMuchAtOnce {
        /// Number of events.
        events: u64,
        /// Bytes of all of them.
        bytes: u64,
    },
    /// The value of a checkpoint is over its limit.
    #[error("checkpoint of {bytes} bytes is longer than {CHECKPOINT_VALUE_MAX}")]
    CheckpointTooLong {
        /// Length of the value.
        bytes: u64,
    },
    /// There are as many checkpoints as the spool keeps; one has to be forgotten first.
    #[error(
        "more than {CHECKPOINTS_MAX} checkpoints or {CHECKPOINTS_BYTES_MAX} bytes of them; \
         narrow the include patterns, or forget files that are gone"
    )]
    TooManyCheckpoints,
    /// The disk refused the checkpoint file. Worth trying again later.
    #[error("the checkpoints could not be written; see the last error")]
    NotWritten,
}

/// Why a block could not be read now. Worth trying again: damage is counted and skipped,
/// so only a disk that does not answer comes here.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The store refused.
    #[error("cannot read generation {first}: {reason}")]
    Store {
        /// First sequence number of the generation.
        first: u64,
        /// What the store said.
        reason: String,
    },
    /// The newest generation is being opened again after a failed write.
    #[error("generation {first} is being opened again after a failed write")]
    Reopening {
        /// First sequence number of the generation.
        first: u64,
    },
}

/// Why the dead-letter store did not do it. The events stay in the spool.
#[derive(Debug, thiserror::Error)]
pub enum DeadLetterError {
    /// `spool.dead_letter_max_bytes` is reached.
    #[error(
        "dead letters take {used} of {limit} bytes; retry or drop some (spoolway dead-letter), \
         or raise spool.dead_letter_max_bytes"
    )]
    Full {
        /// Bytes taken.
        used: u64,
        /// The limit.
        limit: u64,
    },
    /// The store refused.
    #[error("dead-letter store: {0}")]
    Store(String),
}
