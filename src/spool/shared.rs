//! What the committer, the keeper, the cursor and the inputs share, and its counters.
//!
//! Owns no thread and makes no decision; each field says who writes it.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::block::Block;
use super::checkpoints::CheckpointLoss;
use super::delivery::Deliveries;
use super::generations::Table;
use super::histogram::Histogram;
use super::past::Past;
use super::quarantine;
use super::quota::{FullReason, Quota};
use super::reserve::Reserve;
use crate::config::SpoolConfig;
use crate::proof::Seq;

/// Most bytes of committed blocks kept for a cursor that keeps up.
const HAND_BYTES: usize = 2 * 1024 * 1024;

/// The same error is not logged again for this long: some things are tried five times a second.
const SAME_ERROR: Duration = Duration::from_secs(30);

/// The reserve is made only when this many times its size is free.
const RESERVE_ROOM: u64 = 4;

/// Locks, whether or not another thread panicked in there: all state behind these locks is
/// valid after every single assignment.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The committer's hand: the blocks it committed last, in order and without a gap.
#[derive(Debug, Default)]
pub(super) struct Hand {
    blocks: VecDeque<Arc<Block>>,
    bytes: usize,
}

impl Hand {
    /// Adds a block that is durable; the oldest make room for it.
    pub(super) fn push(&mut self, block: Arc<Block>) {
        self.bytes += block.memory_bytes();
        self.blocks.push_back(block);
        while self.bytes > HAND_BYTES && self.blocks.len() > 1 {
            self.pop();
        }
    }

    /// The block that starts at `seq`; those before it are let go.
    pub(super) fn take(&mut self, seq: Seq) -> Option<Arc<Block>> {
        while self.blocks.front().is_some_and(|block| block.first() < seq) {
            self.pop();
        }
        if self.blocks.front()?.first() != seq {
            return None;
        }
        self.pop()
    }

    fn pop(&mut self) -> Option<Arc<Block>> {
        let block = self.blocks.pop_front()?;
        self.bytes = self.bytes.saturating_sub(block.memory_bytes());
        Some(block)
    }
}

/// Numbers for status, written by the committer.
#[derive(Debug, Default)]
pub(super) struct Meters {
    pub(super) commits: u64,
    pub(super) flush: Histogram,
    pub(super) last_error: Option<String>,
    /// When that was logged.
    told_at: Option<Instant>,
    pub(super) payload_bytes: u64,
    pub(super) stored_bytes: u64,
    pub(super) checkpoints: usize,
    pub(super) checkpoint_loss: Option<CheckpointLoss>,
}

impl Meters {
    /// Notes an error; true when it is to be logged.
    fn is_news(&mut self, text: String, now: Instant) -> bool {
        let is_same = self.last_error.as_ref() == Some(&text);
        let was_told = self.told_at.is_some_and(|at| now < at + SAME_ERROR);
        if is_same && was_told {
            return false;
        }
        self.last_error = Some(text);
        self.told_at = Some(now);
        true
    }
}

/// A function to be run when blocks may be read.
pub(super) type Wake = Box<dyn Fn() + Send + Sync>;

/// Shared by the spool's threads and handles.
pub(super) struct Shared {
    pub(super) dir: PathBuf,
    pub(super) config: SpoolConfig,
    pub(super) quota: Quota,
    pub(super) reserve: Reserve,
    pub(super) quarantine: quarantine::Limit,
    pub(super) spool_id: u64,
    pub(super) table: Mutex<Table>,
    /// Told when the keeper has something to do, or has done what a cursor waits for.
    pub(super) changed: Condvar,
    pub(super) hand: Mutex<Hand>,
    pub(super) deliveries: Mutex<Deliveries>,
    pub(super) meters: Mutex<Meters>,
    pub(super) wake: Mutex<Option<Wake>>,
    pub(super) full: watch::Sender<Option<FullReason>>,
    /// Written once, by the start.
    pub(super) past: Past,
    /// Events that left the spool and are not with the broker, of all since it was made: as a
    /// crash leaves it, so it may be behind the table. Written by the keeper.
    pub(super) given_up: AtomicU64,
    /// Bytes of the dead-letter store, kept by it.
    pub(super) dead_bytes: AtomicU64,
    /// One past the last durable event; a copy of the table's for the cursor's quick look.
    pub(super) durable: AtomicU64,
    /// Moves with every finished disk operation.
    pub(super) progress: AtomicU64,
    /// When the disk operation under way began, in ms after `born`, plus one; 0 = none.
    busy_since: AtomicU64,
    born: Instant,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Shared")
            .field("dir", &self.dir)
            .finish_non_exhaustive()
    }
}

impl Shared {
    pub(super) fn new(config: &SpoolConfig, spool_id: u64, table: Table) -> Self {
        let durable = table.durable;
        Self {
            dir: config.dir.clone(),
            config: config.clone(),
            quota: Quota {
                max_bytes: config.max_bytes,
                min_free: config.min_free,
            },
            reserve: Reserve::new(&config.dir, config.max_bytes),
            quarantine: quarantine::Limit::new(&config.dir, config.max_bytes),
            spool_id,
            table: Mutex::new(table),
            changed: Condvar::new(),
            hand: Mutex::default(),
            deliveries: Mutex::default(),
            meters: Mutex::default(),
            wake: Mutex::new(None),
            full: watch::Sender::new(None),
            past: Past::default(),
            given_up: AtomicU64::new(0),
            dead_bytes: AtomicU64::new(0),
            durable: AtomicU64::new(durable),
            progress: AtomicU64::new(0),
            busy_since: AtomicU64::new(0),
            born: Instant::now(),
        }
    }

    /// Directory of the generation whose first event is `first`.
    pub(super) fn generation_dir(&self, first: Seq) -> PathBuf {
        generation_dir(&self.dir, first)
    }

    /// Bytes the spool takes, dead letters, quarantine and reserve included.
    pub(super) fn used_bytes(&self) -> u64 {
        let dead = self.dead_bytes.load(Ordering::Relaxed);
        let beside = dead + self.quarantine.used_bytes() + self.reserve.kept_bytes();
        lock(&self.table).file_bytes() + beside
    }

    /// Bytes free on the file system of the spool; all of them when it does not say.
    pub(super) fn free_bytes(&self) -> u64 {
        rustix::fs::statvfs(&self.dir).map_or(u64::MAX, |s| s.f_bavail.saturating_mul(s.f_frsize))
    }

    /// Makes the reserve file when it is missing and there is plenty of room for it.
    pub(super) fn keep_reserve(&self) {
        let is_writable = *self.full.borrow() != Some(FullReason::WriteFailed);
        if is_writable
            && self.free_bytes() / RESERVE_ROOM >= self.reserve.bytes()
            && let Err(error) = self.reserve.keep()
        {
            self.failed("cannot keep the reserve file", &error);
        }
    }

    /// Measures quarantine and keeps it within its share.
    pub(super) fn keep_quarantine(&self) {
        if let Err(error) = self.quarantine.keep() {
            self.failed("cannot look after quarantine/", &error);
        }
    }

    /// Measures space and opens or shuts the intake.
    pub(super) fn check_quota(&self) {
        let was = *self.full.borrow();
        if was == Some(FullReason::WriteFailed) {
            return;
        }
        let now = self.quota.check(self.used_bytes(), self.free_bytes(), was);
        self.set_full(now);
    }

    /// Opens or shuts the intake; tells everybody who waits.
    pub(super) fn set_full(&self, now: Option<FullReason>) {
        let changed = self.full.send_if_modified(|full| {
            let changed = *full != now;
            *full = now;
            changed
        });
        if changed {
            match now {
                Some(reason) => tracing::warn!(%reason, "spool is full; intake is paused"),
                None => tracing::info!("spool has room again; intake goes on"),
            }
            // Through the lock, so that a keeper about to sleep does not miss it.
            drop(lock(&self.table));
            self.changed.notify_all();
        }
    }

    /// Runs the cursor's wake function.
    pub(super) fn wake_readers(&self) {
        if let Some(wake) = lock(&self.wake).as_ref() {
            wake();
        }
    }

    /// Remembers the last thing that failed, for status and log. What fails again and again in
    /// the same way is logged once in [`SAME_ERROR`].
    pub(super) fn failed(&self, what: &str, error: &dyn std::fmt::Display) {
        let text = format!("{what}: {error}");
        if lock(&self.meters).is_news(text, Instant::now()) {
            tracing::error!(%error, "{what}");
        }
    }

    /// Runs a disk operation that may hang; [`Shared::busy_for`] tells how long it lasts.
    pub(super) fn watched<T>(&self, operation: impl FnOnce() -> T) -> T {
        let now = self.born.elapsed().as_millis() as u64 + 1;
        self.busy_since.store(now, Ordering::Relaxed);
        let result = operation();
        self.busy_since.store(0, Ordering::Relaxed);
        self.progress.fetch_add(1, Ordering::Relaxed);
        result
    }

    /// How long the committer's disk operation has lasted, if one is under way.
    pub(super) fn busy_for(&self) -> Option<Duration> {
        let since = self.busy_since.load(Ordering::Relaxed).checked_sub(1)?;
        Some(
            self.born
                .elapsed()
                .saturating_sub(Duration::from_millis(since)),
        )
    }
}

/// Directory of the generation whose first event is `first`.
pub(super) fn generation_dir(dir: &Path, first: Seq) -> PathBuf {
    dir.join(format!("gen-{first:020}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_that_repeats_is_logged_once_in_a_while_and_another_one_at_once() {
        let mut meters = Meters::default();
        let start = Instant::now();
        let mut told = 0;
        for round in 0..1500 {
            let now = start + Duration::from_millis(200) * round;
            told += u32::from(meters.is_news("disk: away".into(), now));
        }
        assert_eq!(told, 10, "of 1,500 in five minutes");
        let now = start + Duration::from_secs(300);
        assert!(meters.is_news("disk: full".into(), now));
        assert_eq!(meters.last_error.as_deref(), Some("disk: full"));
    }
}
