//! What the spool says about itself. Reads counters, changes nothing.

use std::sync::Arc;

use super::checkpoints::CheckpointLoss;
use super::generations::Missing;
use super::ledger::Ledger;
use super::quota::FullReason;
use super::shared::{Shared, lock};

/// The spool at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpoolStatus {
    /// Random identity of this spool, made once; part of each record's stable id.
    pub spool_id: u64,
    /// The account of all events.
    pub ledger: Ledger,
    /// Bytes of events committed since the start of the process, and as stored.
    pub payload_bytes: u64,
    /// Bytes of blocks that these became.
    pub stored_bytes: u64,
    /// Bytes the spool takes on disk, dead letters, quarantine and reserve included.
    pub disk_bytes: u64,
    /// `spool.max_bytes`
    pub max_bytes: u64,
    /// Bytes free on the file system of the spool.
    pub free_bytes: u64,
    /// Why nothing is taken now, if so.
    pub full: Option<FullReason>,
    /// Number of generations.
    pub generations: usize,
    /// Stretches found missing or damaged since the start of the process, at most 256.
    pub missing: Vec<Missing>,
    /// Checkpoints of inputs.
    pub checkpoints: usize,
    /// Why some of them may be missing or old, until the inputs have dealt with it.
    pub checkpoint_loss: Option<CheckpointLoss>,
    /// Commits since the start of the process.
    pub commits: u64,
    /// Median time of a flush, microseconds.
    pub flush_p50_micros: u64,
    /// 99th percentile of the time of a flush, microseconds.
    pub flush_p99_micros: u64,
    /// The last thing that failed.
    pub last_error: Option<String>,
}

/// Answers what the spool's state is. Cheap to clone.
#[derive(Debug, Clone)]
pub struct SpoolStatusHandle {
    shared: Arc<Shared>,
}

impl SpoolStatusHandle {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// The state of this moment.
    pub fn snapshot(&self) -> SpoolStatus {
        let disk_bytes = self.shared.used_bytes();
        let (ledger, generations, missing) = {
            let table = lock(&self.shared.table);
            (
                table.ledger(),
                table.generations.len(),
                table.missing.clone(),
            )
        };
        let meters = lock(&self.shared.meters);
        SpoolStatus {
            spool_id: self.shared.spool_id,
            ledger,
            payload_bytes: meters.payload_bytes,
            stored_bytes: meters.stored_bytes,
            disk_bytes,
            max_bytes: self.shared.config.max_bytes,
            free_bytes: self.shared.free_bytes(),
            full: *self.shared.full.borrow(),
            generations,
            missing,
            checkpoints: meters.checkpoints,
            checkpoint_loss: meters.checkpoint_loss.clone(),
            commits: meters.commits,
            flush_p50_micros: meters.flush.quantile(0.5),
            flush_p99_micros: meters.flush.quantile(0.99),
            last_error: meters.last_error.clone(),
        }
    }
}
