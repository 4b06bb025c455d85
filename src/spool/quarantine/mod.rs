//! Puts aside what cannot be read, and counts what was in it as lost.
//!
//! A person may want to look at it; limit.rs bounds how much is kept. Decides nothing about
//! when.

mod limit;

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::generations::{Generation, Missing, State};
use super::ledger::Ending;
use super::meta::{self, Meta, Summary};
use super::shared::{Shared, lock};
use super::store::Value;
use crate::proof::Seq;

pub(super) use limit::Limit;

/// Where things are put.
fn room(spool: &Path) -> PathBuf {
    spool.join("quarantine")
}

/// Moves the directory of the generation at `first` away and counts what is not resolved
/// in it as lost. The generation stays in the table as gone, or goes if it had no events.
pub(super) fn generation(shared: &Shared, first: Seq, reason: &str) -> io::Result<()> {
    let dir = shared.generation_dir(first);
    let place = set_aside(&shared.dir, &dir)?;
    let mut table = lock(&shared.table);
    let Some(generation) = table.generations.get_mut(&first) else {
        return Ok(());
    };
    if generation.end == first {
        table.generations.remove(&first);
        return Ok(());
    }
    let known = generation.counts().lost;
    let pieces = unresolved(generation);
    let mut missing = write_off(generation, place, reason);
    missing.lost = generation.counts().lost - known;
    let summary = generation.summary();
    table.report(missing);
    table.resolved = true;
    drop(table);
    for (from, to) in pieces {
        lock(&shared.deliveries).resolved(from, to, Ending::Lost);
    }
    fs::create_dir_all(&dir)?;
    meta::write(&dir, shared.spool_id, &Meta::Gone(summary))?;
    File::open(&shared.dir)?.sync_all()
}

/// The stretches of `generation` that nobody has resolved; all from the first one on when
/// it is not open.
fn unresolved(generation: &mut Generation) -> Vec<(Seq, Seq)> {
    let (first, end) = (generation.first, generation.end);
    match &mut generation.state {
        State::Open(open) => {
            let mut pieces = Vec::new();
            open.tracker
                .resolve(first, end, Ending::Lost, |from, to| pieces.push((from, to)));
            pieces
        }
        State::Busy(s) | State::Closed(s) | State::Gone(s) => vec![(s.first_unresolved, end)],
    }
}

/// Counts everything in `generation` that nobody resolved as lost, and marks it as gone.
pub(super) fn write_off(
    generation: &mut Generation,
    place: Option<PathBuf>,
    reason: &str,
) -> Missing {
    let before = match &generation.state {
        // Its tracker has the loss already.
        State::Open(open) => open.tracker.counts(),
        State::Busy(s) | State::Closed(s) | State::Gone(s) => s.counts,
    };
    let mut counts = before;
    counts.lost += (generation.end - generation.first).saturating_sub(before.total());
    let lost = counts.lost - before.lost;
    let (first, end) = (generation.first, generation.end);
    generation.state = State::Gone(Summary {
        end,
        first_unresolved: end,
        counts,
    });
    generation.file_bytes = 0;
    Missing {
        first,
        end,
        lost,
        quarantine: place,
        reason: reason.to_owned(),
    }
}

/// Writes the pages of a damaged stretch that begins at event `first` to a file of their own
/// in `quarantine/`, each as `u32 page number | u32 length | bytes`, little endian. `None`
/// when there is no page.
pub(super) fn pages(
    spool: &Path,
    first: Seq,
    pages: &[(u32, Value)],
) -> io::Result<Option<PathBuf>> {
    let room = room(spool);
    let place = room.join(format!("block-{first:020}.pages"));
    if pages.is_empty() {
        return Ok(None);
    }
    let mut content = Vec::new();
    for (number, value) in pages {
        content.extend_from_slice(&number.to_le_bytes());
        content.extend_from_slice(&(value.len() as u32).to_le_bytes());
        content.extend_from_slice(value);
    }
    fs::create_dir_all(&room)?;
    let mut file = File::create(&place)?;
    file.write_all(&content)?;
    file.sync_all()?;
    File::open(&room)?.sync_all()?;
    Ok(Some(place))
}

/// Moves `what` into `quarantine/` under a name of its own; `None` when it is not there.
pub(super) fn set_aside(spool: &Path, what: &Path) -> io::Result<Option<PathBuf>> {
    let Some(name) = what.file_name() else {
        return Ok(None);
    };
    if !what.exists() {
        return Ok(None);
    }
    let room = room(spool);
    fs::create_dir_all(&room)?;
    for number in 0.. {
        let place = room.join(format!("{}.{number}", name.to_string_lossy()));
        if place.exists() {
            continue;
        }
        fs::rename(what, &place)?;
        File::open(&room)?.sync_all()?;
        File::open(spool)?.sync_all()?;
        return Ok(Some(place));
    }
    Ok(None)
}
