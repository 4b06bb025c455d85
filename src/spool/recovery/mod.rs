//! Brings a spool directory, whatever state it is in, to a spool that runs.
//!
//! Opens only generations that were open when the process or the power went, and the newest;
//! names and `gen.meta` files tell about the others. What is damaged is put into quarantine
//! and counted, and the start goes on. Nothing here runs after the start.

mod checkpoints;
mod databases;
mod directories;
mod format;

use std::fs;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

pub(super) use format::{check_format, write_format};

use super::checkpoints::{CheckpointLoss, CheckpointTable};
use super::error::{OpenError, io_at};
use super::generations::{Missing, Table};
use super::highwater::{HighWater, Mark};
use super::ledger::Counts;
use super::past::Past;
use super::shared::{Shared, generation_dir, lock};
use crate::config::SpoolConfig;
use crate::proof::Seq;
use checkpoints::Kept;
use databases::{begin_newest, open_newest, read_dirty, store_error};
use directories::{bury_missing, dirty, fill_table, list};

/// What the start found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RecoveryReport {
    /// Whether the spool was made just now.
    pub created: bool,
    /// Generations found.
    pub generations: usize,
    /// Events waiting to be sent.
    pub in_spool: u64,
    /// Stretches that are gone, counted as lost.
    pub missing: Vec<Missing>,
    /// Checkpoints of inputs.
    pub checkpoints: usize,
    /// Why some of them may be missing or older than they were, if so.
    pub checkpoint_loss: Option<CheckpointLoss>,
}

/// A spool that may run.
pub(super) struct Recovered {
    pub(super) shared: Arc<Shared>,
    pub(super) highwater: HighWater,
    pub(super) mark: Mark,
    pub(super) checkpoints: CheckpointTable,
    pub(super) report: RecoveryReport,
}

/// Builds the shared state from what is in the directory.
pub(super) fn recover(config: &SpoolConfig) -> Result<Recovered, OpenError> {
    let dir = &config.dir;
    let path = dir.join("highwater");
    let (mut highwater, mark) = HighWater::open(&path).map_err(io_at(&path))?;
    let mut known = list(dir).map_err(io_at(dir))?;
    let created = mark.is_none() && known.is_empty();
    let spool_id = mark
        .map(|mark| mark.spool_id)
        .or_else(|| known.iter().find_map(|known| known.spool_id))
        .map_or_else(random_id, Ok)
        .map_err(io_at(dir))?;
    let oldest = known.first().map_or(1, |known| known.first);
    // Without the file the past of the spool is unknown; the ledger starts over from here.
    let folded = mark.map_or(
        Counts {
            delivered: oldest - 1,
            ..Counts::default()
        },
        |m| m.folded,
    );
    let is_counted = mark.is_some() || created;
    let begin = folded.total() + 1;
    let kept = Kept::read(dir).map_err(io_at(dir))?;
    let marked_end = mark.map_or(0, |mark| mark.end);
    let marked_end = marked_end.max(begin).max(kept.as_of().unwrap_or(0));

    // A crash between the mark and the removal left directories that are counted already.
    let counted = known.partition_point(|known| known.first < begin);
    for known in known.drain(..counted) {
        let path = generation_dir(dir, known.first);
        fs::remove_dir_all(&path).map_err(io_at(&path))?;
    }

    let mut shared = Shared::new(config, spool_id, Table::new(folded, marked_end));
    let generations = known.len();
    let newest = known.last().map(|known| known.first);
    fill_table(&shared, &known, begin, marked_end);
    for first in dirty(&known) {
        read_dirty(&shared, first).map_err(|e| store_error(&shared, first, e))?;
    }
    bury_missing(&shared).map_err(io_at(dir))?;
    let end = match newest.map(|first| (first, open_newest(&shared, first, mark.is_some()))) {
        Some((_, Ok(end))) => end,
        Some((first, Err(error))) => return Err(store_error(&shared, first, error)),
        None => marked_end,
    };
    let checkpoints = kept.bring_up_to(end, &shared);
    begin_newest(&shared, end)?;

    let mark = Mark {
        spool_id,
        end,
        folded: lock(&shared.table).folded,
    };
    highwater.write(&mark).map_err(io_at(&path))?;
    let table = lock(&shared.table);
    let in_spool = table.ledger().in_spool;
    let report = RecoveryReport {
        created,
        generations,
        in_spool,
        missing: table.missing.clone(),
        checkpoints: checkpoints.now().entries.len(),
        checkpoint_loss: checkpoints.now().loss.clone(),
    };
    let given_up = table.counts().given_up();
    drop(table);
    shared.given_up.store(given_up, Ordering::Relaxed);
    shared.past = Past {
        end,
        given_up: is_counted.then_some(given_up),
    };
    Ok(Recovered {
        shared: Arc::new(shared),
        highwater,
        mark,
        checkpoints,
        report,
    })
}

fn random_id() -> io::Result<u64> {
    getrandom::u64()
        .map(|id| id.max(1))
        .map_err(io::Error::other)
}

/// The sequence number at which a cursor starts: the first unresolved event.
pub(super) fn start_position(shared: &Shared) -> Seq {
    lock(&shared.table).watermark()
}
