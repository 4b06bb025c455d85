//! `delete_after_delivery`: a file goes once the broker has every event of it and nobody has
//! written to it for a grace time.
//!
//! Removes only what it is sure of; whatever is in doubt stays, and the reason is shown. What
//! is written in the last instant is still read, through the open handle.

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use rustix::fs::AtFlags;
use tracing::{info, warn};

use super::follow::{Follow, NOT_SURE, Presence};
use super::identity::{FileId, Stat};
use super::open::{Guard, OpenError};
use super::outbox::{Delivered, Outbox};
use super::tailer::Tailer;
use super::wake::folder_of;
use crate::config::FileConfig;
use crate::spool::{Before, Want};

/// Most appends of one file whose delivery is awaited. One with more of them under way, as
/// when it grows by single lines while Kafka is away, is kept.
const UNDELIVERED_MAX: u32 = 4096;

impl Follow {
    /// What is to be heard of the next append.
    pub(super) fn want_for(&mut self, config: &FileConfig, outbox: &Outbox) -> Want {
        let was_delivered = std::mem::take(&mut self.delivered);
        if !config.delete_after_delivery || self.kept.is_some() {
            return Want::Durable;
        }
        if was_delivered {
            // Whatever of it is given up from now on makes this number grow.
            self.given_up = Some(outbox.given_up());
        }
        if self.undelivered >= UNDELIVERED_MAX {
            self.kept = Some("too much of it was on its way at once");
            return Want::Durable;
        }
        self.undelivered += 1;
        Want::Delivered
    }

    /// Keeps it for good, after a restart as well.
    pub(super) fn keep(&mut self, why: &'static str) {
        self.kept = Some(why);
        self.delivered = false;
        self.given_up = None;
        self.in_doubt = false;
    }

    /// Notes whether the broker has all of it by now. True when that is news.
    fn settle(&mut self) -> bool {
        let was_delivered = self.delivered;
        self.delivered |= self.undelivered == 0 && self.kept.is_none() && !self.in_doubt;
        self.delivered != was_delivered
    }

    /// Whether nothing speaks against its removal, the grace time apart.
    fn is_done_with(&self) -> bool {
        self.presence == Presence::Listed
            && self.delivered
            && self.kept.is_none()
            && self.unread() == 0
            && self.progress.consumed() > 0
    }
}

impl Tailer {
    /// Notes what became of an append.
    pub(super) fn delivered(&mut self, delivered: Delivered) {
        let Some(follow) = self.files.get_mut(delivered.key) else {
            return;
        };
        follow.undelivered = follow.undelivered.saturating_sub(1);
        if !delivered.is_whole {
            follow.keep("the broker refused some of its events; see the dead letters");
        }
        if follow.settle() || !delivered.is_whole {
            self.dirty.insert(delivered.key);
        }
    }

    /// Looks what became of the events that files had in the spool at the start: whether the
    /// broker has them is known only for all events of that time together.
    fn settle_doubts(&mut self) {
        if self.doubts.is_empty() {
            return;
        }
        let Before::Settled(given_up) = self.outbox.before() else {
            return;
        };
        for key in std::mem::take(&mut self.doubts) {
            let Some(follow) = self.files.get_mut(key).filter(|follow| follow.in_doubt) else {
                continue;
            };
            follow.in_doubt = false;
            if given_up.is_none() || follow.given_up != given_up {
                follow.keep(NOT_SURE);
            }
            follow.settle();
            self.dirty.insert(key);
        }
    }

    /// Removes what may be removed by now.
    pub(super) fn remove_delivered(&mut self, now: Instant) {
        self.settle_doubts();
        for index in 0..self.inputs.len() {
            let Some(input) = self.inputs.get(index) else {
                return;
            };
            if !input.config.delete_after_delivery {
                continue;
            }
            let grace = input.config.delete_grace;
            let is_due = |follow: &&Follow| {
                follow.input == index
                    && follow.is_done_with()
                    && now.saturating_duration_since(follow.grown) >= grace
            };
            let due: Vec<u64> = self.files.iter().filter(is_due).map(|f| f.key).collect();
            for key in due {
                self.remove_file(key);
            }
        }
    }

    fn remove_file(&mut self, key: u64) {
        // Open first: what is written between the last look and the removal is not lost.
        if !self.hold_open(key) {
            return;
        }
        let Some(follow) = self.files.get_mut(key) else {
            return;
        };
        let Some(input) = self.inputs.get(follow.input) else {
            return;
        };
        let open = follow.handle.as_ref().and_then(|file| Stat::of(file).ok());
        let is_same = open.is_some_and(|stat| {
            stat.size == follow.progress.consumed()
                && stat.modified == follow.modified
                && stat.links == 1
        });
        if !is_same {
            return;
        }
        match unlink(&input.guard, &follow.at, follow.id) {
            Ok(()) => {
                info!(input = %input.name, path = %follow.at.display(), "delivered and removed");
                input.stats.removed.fetch_add(1, Relaxed);
                follow.presence = Presence::Deleted;
                follow.finished = false;
                follow.error = None;
                self.lively.insert(key);
            }
            Err(error) => {
                let text = format!("cannot be removed: {error}");
                if follow.error.as_ref() != Some(&text) {
                    warn!(input = %input.name, path = %follow.at.display(), %error,
                        "delivered and not removed");
                    input.stats.errors.fetch_add(1, Relaxed);
                }
                follow.error = Some(text);
            }
        }
    }
}

/// Removes the name `path` when it still stands for the file `id`.
fn unlink(guard: &Guard, path: &Path, id: FileId) -> Result<(), OpenError> {
    let folder = guard.folder(&folder_of(path))?;
    let name = path.file_name().ok_or(OpenError::Gone)?;
    let name = CString::new(name.as_bytes()).map_err(|_| OpenError::Gone)?;
    let stat = Stat::within(&folder, &name, false).map_err(OpenError::System)?;
    if stat.id != id {
        return Err(OpenError::Gone);
    }
    rustix::fs::unlinkat(&folder, &name, AtFlags::empty()).map_err(OpenError::System)
}
