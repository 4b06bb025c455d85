//! The committer: the one thread that adds events to the spool.
//!
//! Group commit without a timer: while one flush is on its way to the disk, whatever arrives
//! waits in the mailbox and becomes the next commit. One flush per commit, then all receipts.
//! After a failed write or flush no receipt is given from that handle: it is dropped, opened
//! again, cut back to the last receipt, and the same events are written once more.
//!
//! Owns the newest generation's write position and the table of checkpoints. Does not read,
//! remove or route. write.rs has the way of a commit, newest.rs that of a generation.

mod newest;
mod write;

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub(super) use newest::create;

use super::block::Builder;
use super::checkpoints::CheckpointTable;
use super::error::AppendError;
use super::generations::State;
use super::mailbox::{Append, Mail, Mailbox, Note};
use super::quota::FullReason;
use super::shared::{Shared, lock};
use super::store::Store;
use crate::proof::{DiskAuthority, Seq};

/// Most bytes of events in one commit: bounds the time to the first receipt.
const COMMIT_LIMIT: usize = 1024 * 1024;
/// First pause after a failed commit, doubled up to the second.
const BACKOFF: Duration = Duration::from_millis(100);
const BACKOFF_MAX: Duration = Duration::from_secs(5);
/// Space wanted above the reserve before a failed commit is tried again: its pages, the
/// snapshot sled writes when it opens, and the block tables of the file system.
const COMMIT_ROOM: u64 = 2 * COMMIT_LIMIT as u64;

/// State of the thread.
#[derive(Debug)]
pub(super) struct Committer {
    shared: Arc<Shared>,
    mailbox: Arc<Mailbox>,
    disk: Arc<DiskAuthority>,
    store: Option<Arc<Store>>,
    /// First event of the newest generation.
    generation: Seq,
    /// The next page of the newest generation.
    page: u32,
    builder: Builder,
    stored: Vec<u8>,
    since_quota: u64,
    checkpoints: CheckpointTable,
    /// First event of a generation that could not be begun and is to be removed.
    leftover: Option<Seq>,
    /// A newest generation of this size makes way for a new one.
    rotate_from: u64,
}

impl Committer {
    pub(super) fn new(
        shared: Arc<Shared>,
        mailbox: Arc<Mailbox>,
        disk: Arc<DiskAuthority>,
        checkpoints: CheckpointTable,
    ) -> Self {
        let mut committer = Self {
            rotate_from: shared.config.generation_bytes,
            shared,
            mailbox,
            disk,
            store: None,
            generation: 0,
            page: 0,
            builder: Builder::default(),
            stored: Vec::new(),
            since_quota: 0,
            checkpoints,
            leftover: None,
        };
        if let Some(newest) = lock(&committer.shared.table).newest()
            && let State::Open(open) = &newest.state
        {
            committer.store.clone_from(&open.store);
            committer.page = open.pages;
            committer.generation = newest.first;
        }
        committer.meter_checkpoints();
        committer
    }

    /// Commits until the mailbox is closed and empty.
    pub(super) fn run(mut self) {
        loop {
            let began = Instant::now();
            match self.mailbox.receive(COMMIT_LIMIT) {
                Mail::Closed => return self.finish(),
                Mail::Rotate => self.rotate(),
                Mail::Reopen => {
                    if !self.reopen_somehow() {
                        return;
                    }
                }
                Mail::Notes(notes) => self.note(notes),
                Mail::Appends(appends) => {
                    if !self.commit_somehow(appends) {
                        return;
                    }
                    let interval = self.shared.config.commit_interval;
                    if !interval.is_zero() {
                        // False only when a stop is overdue; what is queued is then given up.
                        self.mailbox.pause(interval.saturating_sub(began.elapsed()));
                    }
                }
            }
        }
    }

    /// Commits `appends`, however long it takes; false when a stop came first.
    fn commit_somehow(&mut self, appends: Vec<Append>) -> bool {
        loop {
            match self.commit(&appends) {
                Ok(written) => {
                    self.publish(appends, written);
                    return true;
                }
                Err(error) => self.shared.failed("commit failed", &error),
            }
            self.shared.set_full(Some(FullReason::WriteFailed));
            if !self.reopen_somehow() {
                return false;
            }
        }
    }

    /// Writes checkpoints that came without events.
    fn note(&mut self, notes: Vec<Note>) {
        let mut waiting = Vec::with_capacity(notes.len());
        for note in notes {
            note.checkpoints
                .into_iter()
                .for_each(|checkpoint| self.checkpoints.apply(checkpoint));
            if note.settles {
                self.checkpoints.settle();
            }
            waiting.push(note.done);
        }
        self.meter_checkpoints();
        let written = self.write_checkpoints();
        if let Err(error) = &written {
            self.shared.failed("cannot write the checkpoints", error);
        }
        for done in waiting {
            // Who asked may have gone.
            let _ = done.send(match &written {
                Ok(()) => Ok(()),
                Err(_) => Err(AppendError::NotWritten),
            });
        }
    }

    /// Shows the table to whoever asks for the status.
    fn meter_checkpoints(&self) {
        let now = self.checkpoints.now();
        let mut meters = lock(&self.shared.meters);
        meters.checkpoints = now.entries.len();
        meters.checkpoint_loss.clone_from(&now.loss);
    }

    /// Writes the checkpoint file as of now.
    fn write_checkpoints(&mut self) -> io::Result<()> {
        let as_of = lock(&self.shared.table).durable;
        let table = &mut self.checkpoints;
        self.shared.watched(|| table.write(as_of))
    }

    /// Everything is committed: a start need not look into blocks for checkpoints.
    fn finish(mut self) {
        if self.checkpoints.has_changed()
            && let Err(error) = self.write_checkpoints()
        {
            self.shared.failed("cannot write the checkpoints", &error);
        }
    }

    /// Opens the newest store again and waits until there is room to write; false when a
    /// stop came first.
    fn reopen_somehow(&mut self) -> bool {
        let mut backoff = BACKOFF;
        let mut is_open = false;
        loop {
            if !is_open {
                match self.reopen() {
                    Ok(()) => {
                        is_open = true;
                        self.shared.wake_readers();
                    }
                    Err(error) => self
                        .shared
                        .failed("cannot open the newest generation", &error),
                }
            }
            if !self.mailbox.pause(backoff) {
                return false;
            }
            // The reserve is for reading and deleting, not for more events.
            if is_open && self.shared.free_bytes() >= self.shared.reserve.bytes() + COMMIT_ROOM {
                return true;
            }
            // A newest generation that is drained holds the space that is waited for.
            let mut table = lock(&self.shared.table);
            let is_drained = table.newest().is_some_and(|newest| newest.is_resolved());
            drop(table);
            if is_open && is_drained {
                self.rotate();
            }
            backoff = (2 * backoff).min(BACKOFF_MAX);
        }
    }
}
