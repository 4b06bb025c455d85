//! Checkpoints: how far inputs have come, kept as safely as the events themselves.
//!
//! A checkpoint that comes with events lies in their block, so that no crash can part them.
//! The committer keeps the whole table in memory and writes it to the file `checkpoints`
//! (checkpoint_file.rs) at each rotation, at an orderly stop, and for checkpoints that come
//! without events. The file and the blocks of the newest generation together are the truth:
//! a generation that is not the newest is never needed for it.
//!
//! The spool does not look into a checkpoint. Owns no thread.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::block::checkpoint_bytes;
use super::checkpoint_file::{self, Saved};
use super::error::AppendError;
use crate::event::Checkpoint;
use crate::proof::Seq;

/// Longest value of a checkpoint, in bytes: the longest path Linux takes, and as much again.
pub const CHECKPOINT_VALUE_MAX: usize = 8 * 1024;
/// Most checkpoints.
pub const CHECKPOINTS_MAX: usize = 65_536;
/// Most bytes of all checkpoints together, in memory and on disk.
pub const CHECKPOINTS_BYTES_MAX: usize = 32 * 1024 * 1024;

/// Why checkpoints are not what they were when the daemon ended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointLoss {
    /// The file could not be read; only what the newest generation has is known.
    #[error("the checkpoint file is damaged: {reason}")]
    FileDamaged {
        /// What is wrong with it.
        reason: String,
    },
    /// Blocks that carried checkpoints are gone; those before them hold.
    #[error("checkpoints were in the spool's events from {first} on, which are damaged or gone")]
    BlocksLost {
        /// The first event that is gone.
        first: Seq,
    },
    /// An earlier start found a loss, and the inputs had not dealt with it when it ended.
    #[error("an earlier loss of checkpoints was not dealt with before the daemon ended")]
    Unsettled,
}

/// The checkpoints that a start found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Checkpoints {
    /// The values by their keys.
    pub entries: BTreeMap<u64, Arc<[u8]>>,
    /// Set when entries may be missing or older than they were. Inputs then read again what
    /// they cannot be sure of, and call [`super::Appender::settle`] once each thing they read
    /// has a checkpoint; until then every start tells so again.
    pub loss: Option<CheckpointLoss>,
}

impl Checkpoints {
    /// Whether every entry is there and no older than the events in the spool.
    pub fn is_complete(&self) -> bool {
        self.loss.is_none()
    }

    /// Takes over what `checkpoint` says.
    pub(super) fn apply(&mut self, checkpoint: Checkpoint) {
        match checkpoint.value {
            Some(value) => self.entries.insert(checkpoint.key, value),
            None => self.entries.remove(&checkpoint.key),
        };
    }
}

/// The committer's table, and how much of it is in the file.
#[derive(Debug)]
pub(super) struct CheckpointTable {
    path: PathBuf,
    now: Checkpoints,
    /// Whether the file and the blocks behind it add up to the table. When not, the file has
    /// to be written before a block with a checkpoint is.
    is_founded: bool,
    /// Whether the table has changed since the file was written.
    changed: bool,
}

impl CheckpointTable {
    pub(super) fn new(spool: &Path, found: Checkpoints, is_founded: bool) -> Self {
        Self {
            path: checkpoint_file::path(spool),
            now: found,
            is_founded,
            changed: false,
        }
    }

    /// The table of this moment.
    pub(super) fn now(&self) -> &Checkpoints {
        &self.now
    }

    /// Whether a block with a checkpoint may be written.
    pub(super) fn is_founded(&self) -> bool {
        self.is_founded
    }

    /// Takes over what is durable in a block, or is about to be written to the file.
    pub(super) fn apply(&mut self, checkpoint: Checkpoint) {
        self.changed = true;
        self.now.apply(checkpoint);
    }

    /// Notes that the inputs have dealt with a loss; durable with the next write.
    pub(super) fn settle(&mut self) {
        self.changed = true;
        self.now.loss = None;
    }

    /// Writes the file, which then stands for all blocks below `as_of`.
    pub(super) fn write(&mut self, as_of: Seq) -> io::Result<()> {
        let saved = Saved {
            as_of,
            is_complete: self.now.is_complete(),
            entries: &self.now.entries,
        };
        checkpoint_file::write(&self.path, &saved)?;
        self.is_founded = true;
        self.changed = false;
        Ok(())
    }

    /// Whether something is not in the file.
    pub(super) fn has_changed(&self) -> bool {
        self.changed
    }

    /// Whether any input keeps checkpoints here: if not, there is no file either.
    pub(super) fn is_in_use(&self) -> bool {
        self.is_founded || self.changed || self.now != Checkpoints::default()
    }
}

/// Counts checkpoints at the door, so that the table never outgrows its limits.
#[derive(Debug, Default)]
pub(super) struct Admission {
    lengths: HashMap<u64, usize>,
    bytes: usize,
}

impl Admission {
    pub(super) fn of(found: &Checkpoints) -> Self {
        let lengths: HashMap<_, _> = found
            .entries
            .iter()
            .map(|(&key, value)| (key, checkpoint_bytes(value.len())))
            .collect();
        let bytes = lengths.values().sum();
        Self { lengths, bytes }
    }

    /// Lets `checkpoint` in.
    pub(super) fn admit(&mut self, checkpoint: &Checkpoint) -> Result<(), AppendError> {
        let Some(value) = &checkpoint.value else {
            let before = self.lengths.remove(&checkpoint.key);
            self.bytes -= before.unwrap_or(0);
            return Ok(());
        };
        if value.len() > CHECKPOINT_VALUE_MAX {
            return Err(AppendError::CheckpointTooLong {
                bytes: value.len() as u64,
            });
        }
        let before = self.lengths.get(&checkpoint.key).copied();
        let len = checkpoint_bytes(value.len());
        let bytes = self.bytes - before.unwrap_or(0) + len;
        let count = self.lengths.len() + usize::from(before.is_none());
        // What only moves is let through even if a release with larger limits filled it.
        let grows = before.is_none_or(|before| before < len);
        if grows && (count > CHECKPOINTS_MAX || bytes > CHECKPOINTS_BYTES_MAX) {
            return Err(AppendError::TooManyCheckpoints);
        }
        self.lengths.insert(checkpoint.key, len);
        self.bytes = bytes;
        Ok(())
    }
}
