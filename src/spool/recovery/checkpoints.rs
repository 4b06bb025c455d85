//! The checkpoints as they were: the file, and what the blocks behind it carry.
//!
//! Only blocks of the newest generation are looked through. Where one is missing the rest is
//! left alone: an input that goes on from an older checkpoint sends some events twice, and
//! one that goes on from too new a checkpoint never sends those of the missing block.

use std::io;
use std::path::Path;
use std::sync::Arc;

use crate::proof::Seq;
use crate::spool::checkpoint_file::{self, Found};
use crate::spool::checkpoints::{CheckpointLoss, CheckpointTable, Checkpoints};
use crate::spool::generations::State;
use crate::spool::page::{self, Reader};
use crate::spool::quarantine;
use crate::spool::shared::{Shared, lock};

/// What the file says.
pub(super) enum Kept {
    Nothing,
    Table(Seq, Checkpoints),
    Damaged(String),
}

impl Kept {
    /// Reads the file of the spool directory; what is damaged goes into quarantine.
    pub(super) fn read(spool: &Path) -> io::Result<Self> {
        let path = checkpoint_file::path(spool);
        Ok(match checkpoint_file::read(&path)? {
            Found::Nothing => Self::Nothing,
            Found::Table(as_of, table) => Self::Table(as_of, table),
            Found::Damaged(error) => {
                quarantine::set_aside(spool, &path)?;
                Self::Damaged(error.to_string())
            }
        })
    }

    /// The end that the spool had when the file was written: a shorter log has lost events.
    pub(super) fn as_of(&self) -> Option<Seq> {
        match self {
            Self::Table(as_of, _) => Some(*as_of),
            Self::Nothing | Self::Damaged(_) => None,
        }
    }

    /// Adds what the blocks up to `end`, the end of the spool, carry. What was lost is told
    /// and, if the disk lets it, written to the file, so that it is not forgotten by the next
    /// start.
    pub(super) fn bring_up_to(self, end: Seq, shared: &Shared) -> CheckpointTable {
        let (as_of, mut found, was_whole) = match self {
            Self::Nothing => {
                return CheckpointTable::new(&shared.dir, Checkpoints::default(), false);
            }
            Self::Table(as_of, found) => (as_of, found, true),
            Self::Damaged(reason) => {
                let loss = Some(CheckpointLoss::FileDamaged { reason });
                let entries = Default::default();
                let newest = lock(&shared.table).newest().map_or(end, |g| g.first);
                (newest, Checkpoints { entries, loss }, false)
            }
        };
        let reached = apply_blocks(shared, as_of, end, &mut found);
        if was_whole && reached >= end {
            return CheckpointTable::new(&shared.dir, found, true);
        }
        if was_whole {
            found.loss = Some(CheckpointLoss::BlocksLost { first: reached });
        }
        if let Some(loss) = &found.loss {
            tracing::error!(%loss, "inputs may send some events twice");
        }
        let mut table = CheckpointTable::new(&shared.dir, found, false);
        if let Err(error) = table.write(end) {
            shared.failed("cannot write the checkpoints", &error);
        }
        table
    }
}

/// Takes over what the blocks from `from` on carry; returns where the first one is missing,
/// `end` when none is.
fn apply_blocks(shared: &Shared, from: Seq, end: Seq, found: &mut Checkpoints) -> Seq {
    let (store, pages) = match lock(&shared.table).newest().map(|newest| &newest.state) {
        Some(State::Open(open)) => match &open.store {
            Some(store) => (Arc::clone(store), open.pages),
            None => return from,
        },
        _ => return from,
    };
    let reader = Reader {
        store: &store,
        pages,
        forgiving: true,
    };
    let (mut at, mut hint) = (from, None);
    while at < end {
        let Ok(page::Found::Block(block, after)) = reader.read(at, hint) else {
            break;
        };
        let Ok(checkpoints) = block.checkpoints() else {
            break;
        };
        checkpoints.into_iter().for_each(|one| found.apply(one));
        (at, hint) = (block.end(), Some(after));
    }
    at
}
