//! Files without a name, read through their open handles: how many are held, and what
//! becomes of them when the daemon stops.
//!
//! Finds nothing out itself; that a file was deleted, the last look shows.

use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use tracing::error;

use super::follow::{Follow, Presence};
use super::identity::Stat;
use super::tailer::Tailer;

/// Longest time in which an ordered stop reads what deleted files still hold.
const LAST_READS: Duration = Duration::from_secs(5);

impl Tailer {
    /// A deleted file goes with its handle: what it still holds is read before the end.
    pub(super) async fn read_deleted(&mut self) {
        if self.outbox.is_closed() {
            return;
        }
        let deadline = Instant::now() + LAST_READS;
        self.scan(Instant::now()).await;
        while let Some((key, unread)) = self.deleted_and_unread() {
            let now = Instant::now();
            if now >= deadline || self.outbox.is_closed() {
                error!(unread, "stopped before a deleted file was read to its end");
                return;
            }
            if self.outbox.has_room() {
                self.take_turn(key, now);
                tokio::task::yield_now().await;
            } else {
                // A spool that stays full is told above.
                let _ = tokio::time::timeout_at(deadline.into(), self.outbox.taken()).await;
            }
        }
    }

    fn deleted_and_unread(&self) -> Option<(u64, u64)> {
        let mut files = self.files.iter();
        let held = files.find(|follow| {
            follow.presence == Presence::Deleted && follow.handle.is_some() && follow.lag() > 0
        });
        held.map(|follow| (follow.key, follow.unread()))
    }

    /// Deleted files take disk space as long as they are open: beyond the limits the
    /// longest quiet one is given up.
    pub(super) fn limit_deleted(&mut self) {
        for index in 0..self.inputs.len() {
            while let Some((key, unread)) = self.deleted_too_much(index) {
                if let (Some(input), Some(follow)) = (self.inputs.get(index), self.files.get(key)) {
                    input.stats.possible_loss(unread);
                    error!(input = %input.name, path = %follow.path.display(), unread,
                        "a deleted file is given up before it was read to its end: \
                         max_deleted_files or max_deleted_bytes is reached");
                }
                self.let_go(key);
            }
        }
    }

    /// The file to be given up, when an input holds more deleted files than it may.
    fn deleted_too_much(&self, index: usize) -> Option<(u64, u64)> {
        let input = self.inputs.get(index)?;
        let held = |follow: &&Follow| {
            follow.input == index && follow.presence == Presence::Deleted && follow.unread() > 0
        };
        let bytes = |follow: &Follow| {
            let stat = follow.handle.as_ref().and_then(|file| Stat::of(file).ok());
            stat.map_or(0, |stat| stat.disk_bytes)
        };
        let count = self.files.iter().filter(held).count();
        let total: u64 = self.files.iter().filter(held).map(bytes).sum();
        input.stats.deleted_files.store(count as u64, Relaxed);
        input.stats.deleted_bytes.store(total, Relaxed);
        let fits = count <= input.config.max_deleted_files as usize
            && total <= input.config.max_deleted_bytes;
        let oldest = self
            .files
            .iter()
            .filter(held)
            .min_by_key(|follow| follow.grown);
        oldest
            .filter(|_| !fits)
            .map(|follow| (follow.key, follow.unread()))
    }
}
