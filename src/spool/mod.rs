//! The spool: every event is on disk before its writer is told so, and stays until Kafka
//! has it.
//!
//! ```text
//! spool.dir/
//!   LOCK        keeps a second daemon out
//!   format      "spoolway spool 1"
//!   checkpoints how far inputs have come (checkpoints.rs)
//!   highwater   how far the spool had come, told from outside the store (highwater.rs)
//!   reserve     space given up so that a full disk can be drained (reserve.rs)
//!   gen-<seq>/  a generation: one sled database with the events from <seq> on (store.rs),
//!               gen.meta: its result while it is closed (meta.rs)
//!   dead/       dead letters (dead_letter/)
//!   quarantine/ what could not be read (quarantine/)
//!   control.sock is the daemon's, unless `[control] path` puts it elsewhere
//! ```
//!
//! Events are gathered into blocks (block/), blocks are cut to pages (page.rs), and pages
//! fill slots of the newest generation in order. What is resolved is written to each
//! generation as a watermark and bits above it (tracker/, records.rs); pages are never
//! removed one by one. A generation goes as a whole once all its events are resolved: that
//! gives space back, bounds recovery and memory, and confines damage.
//!
//! Three threads: the committer adds (committer/), the keeper writes down and deletes
//! (keeper/), the drain's thread reads and resolves (cursor/).

mod barrier;
mod block;
mod checkpoint_file;
mod checkpoints;
mod committer;
mod cursor;
mod dead_letter;
mod delivery;
mod error;
#[cfg(fuzzing)]
pub mod fuzz;
mod generations;
mod highwater;
mod histogram;
mod intake;
mod keeper;
mod ledger;
mod lock;
mod mailbox;
mod meta;
mod page;
mod past;
mod quarantine;
mod quota;
mod records;
mod recovery;
mod reserve;
mod shared;
mod status;
mod store;
mod tracker;

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc;
use std::time::{Duration, Instant};

pub use block::{Block, Events, StoredEvent};
pub use checkpoints::{
    CHECKPOINT_VALUE_MAX, CHECKPOINTS_BYTES_MAX, CHECKPOINTS_MAX, CheckpointLoss, Checkpoints,
};
pub use cursor::Cursor;
pub use dead_letter::{DeadLetter, DeadLetterStats, DeadLetters};
pub use delivery::Delivery;
pub use error::{AppendError, DeadLetterError, OpenError, ReadError};
pub use generations::Missing;
pub use intake::{Appender, FILE_READ_BYTES, FILE_READ_EVENTS, FileRead, Noted, Pending, Want};
pub use ledger::{Counts, Ledger};
pub use past::Before;
pub use quota::FullReason;
pub use recovery::RecoveryReport;
pub use status::{SpoolStatus, SpoolStatusHandle};

use crate::config::SpoolConfig;
use crate::proof::DiskAuthority;
use committer::Committer;
use error::io_at;
use keeper::Keeper;
use lock::DirLock;
use mailbox::Mailbox;
use shared::Shared;

/// The facade: opens a spool.
#[derive(Debug)]
pub struct Spool;

/// An open spool, one part for each of its users.
#[derive(Debug)]
pub struct Opened {
    /// For inputs.
    pub appender: Appender,
    /// For the drain.
    pub cursor: Cursor,
    /// For the drain and the command line.
    pub dead_letters: DeadLetters,
    /// For whoever asks.
    pub status: SpoolStatusHandle,
    /// For whoever stops it.
    pub handle: SpoolHandle,
    /// How far the inputs had come.
    pub checkpoints: Checkpoints,
    /// What the start found.
    pub recovery: RecoveryReport,
}

impl Spool {
    /// Opens the spool in `config.dir`, making or repairing it, and starts its threads.
    /// Blocks; returns once events may be appended.
    ///
    /// # Errors
    /// When another daemon holds the directory, a later release wrote it, or the disk
    /// refuses. Damage is no error: it is quarantined and reported.
    pub fn open(config: &SpoolConfig, disk: DiskAuthority) -> Result<Opened, OpenError> {
        let dir = &config.dir;
        let is_new = recovery::check_format(dir)?;
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(dir)
            .map_err(io_at(dir))?;
        let lock = DirLock::take(dir)?;
        if is_new {
            recovery::write_format(dir)?;
        }
        let recovery::Recovered {
            shared,
            highwater,
            mark,
            checkpoints: table,
            report,
        } = recovery::recover(config)?;
        let checkpoints = table.now().clone();
        let disk = Arc::new(disk);
        let mailbox = Arc::new(Mailbox::default());
        let dead_letters = DeadLetters::new(Arc::clone(&shared), Arc::clone(&disk));
        shared.keep_reserve();
        shared.keep_quarantine();
        shared.check_quota();

        let committer = Committer::new(Arc::clone(&shared), Arc::clone(&mailbox), disk, table);
        let keeper = Keeper::new(Arc::clone(&shared), Arc::clone(&mailbox), highwater, mark);
        let (committed, committer_ends) = mpsc::channel::<()>();
        let (kept, keeper_ends) = mpsc::channel::<()>();
        start("spool-commit", move || {
            committer.run();
            drop(committed);
        })
        .map_err(io_at(dir))?;
        start("spool-keep", move || {
            keeper.run();
            drop(kept);
        })
        .map_err(io_at(dir))?;

        let appender = Appender::new(Arc::clone(&shared), Arc::clone(&mailbox), &checkpoints);
        Ok(Opened {
            cursor: Cursor::new(
                Arc::clone(&shared),
                Arc::clone(&mailbox),
                recovery::start_position(&shared),
            ),
            status: SpoolStatusHandle::new(Arc::clone(&shared)),
            handle: SpoolHandle {
                shared,
                mailbox,
                appender: appender.clone(),
                dead_letters: dead_letters.clone(),
                committer_ends,
                keeper_ends,
                _lock: lock,
            },
            appender,
            dead_letters,
            checkpoints,
            recovery: report,
        })
    }
}

fn start(name: &str, run: impl FnOnce() + Send + 'static) -> std::io::Result<()> {
    std::thread::Builder::new()
        .name(name.into())
        .spawn(run)
        .map(drop)
}

/// Stops the spool, and tells whether it is alive. Holds the directory's lock.
#[derive(Debug)]
pub struct SpoolHandle {
    shared: Arc<Shared>,
    mailbox: Arc<Mailbox>,
    appender: Appender,
    dead_letters: DeadLetters,
    committer_ends: mpsc::Receiver<()>,
    keeper_ends: mpsc::Receiver<()>,
    _lock: DirLock,
}

impl SpoolHandle {
    /// Random identity of this spool, made once.
    pub fn spool_id(&self) -> u64 {
        self.shared.spool_id
    }

    /// A number that moves with every finished flush.
    pub fn progress(&self) -> u64 {
        self.shared.progress.load(Ordering::Relaxed)
    }

    /// How long the committer has waited for the disk, if it does. The watchdog's question:
    /// `progress` also stands still when nothing comes.
    pub fn busy_for(&self) -> Option<Duration> {
        self.shared.busy_for()
    }

    /// The thread that has ended, as only a panic ends it before [`SpoolHandle::close`]: the
    /// spool then takes nothing, or gives nothing back.
    pub fn ended(&self) -> Option<&'static str> {
        let threads = [
            (&self.committer_ends, "the spool's committer"),
            (&self.keeper_ends, "the spool's keeper"),
        ];
        let ended = |ends: &mpsc::Receiver<()>| {
            matches!(ends.try_recv(), Err(mpsc::TryRecvError::Disconnected))
        };
        threads
            .into_iter()
            .find_map(|(ends, name)| ended(ends).then_some(name))
    }

    /// Stops: takes no more events, commits what is queued, writes everything down, closes.
    /// Returns false when `deadline` came first; what has a receipt is safe all the same.
    pub fn close(self, deadline: Instant) -> bool {
        self.appender.close();
        self.mailbox.close(deadline);
        let left = |deadline: Instant| deadline.saturating_duration_since(Instant::now());
        let timed_out = Err(mpsc::RecvTimeoutError::Timeout);
        if self.committer_ends.recv_timeout(left(deadline)) == timed_out {
            return false;
        }
        shared::lock(&self.shared.table).stopping = true;
        self.shared.changed.notify_all();
        let closed = self.keeper_ends.recv_timeout(left(deadline)) != timed_out;
        self.dead_letters.close();
        closed
    }
}
