//! Generations that are resolved: their databases are deleted at once, their directories when
//! everything before them is gone too.

use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::sync::Arc;

use super::Keeper;
use crate::proof::Seq;
use crate::spool::generations::State;
use crate::spool::ledger::Counts;
use crate::spool::meta::{self, Meta};
use crate::spool::shared::lock;
use crate::spool::store::Store;

impl Keeper {
    /// Deletes the databases of generations that are resolved; true when space was freed.
    pub(super) fn delete_resolved(&mut self) -> bool {
        let mut freed = false;
        for (first, store) in self.take_resolved() {
            freed = true;
            if let Some(store) = store.and_then(Arc::into_inner)
                && let Err(error) = store.close()
            {
                self.failed("cannot close a drained generation", &error);
            }
            if let Err(error) = self.bury(first) {
                self.failed("cannot delete a drained generation", &error);
            }
        }
        if let Err(error) = self.fold_front() {
            self.failed("cannot delete a drained generation", &error);
        }
        freed
    }

    fn take_resolved(&self) -> Vec<(Seq, Option<Arc<Store>>)> {
        let mut table = lock(&self.shared.table);
        let newest = table.generations.last_key_value().map(|(&first, _)| first);
        let mut taken = Vec::new();
        for generation in table.generations.values_mut() {
            let is_gone = matches!(generation.state, State::Gone(_) | State::Busy(_));
            if Some(generation.first) == newest || is_gone || !generation.is_resolved() {
                continue;
            }
            let gone = State::Gone(generation.summary());
            let store = match std::mem::replace(&mut generation.state, gone) {
                State::Open(open) => open.store,
                _ => None,
            };
            generation.file_bytes = 0;
            taken.push((generation.first, store));
        }
        taken
    }

    /// Deletes the database of a generation that is gone, and keeps its result.
    fn bury(&self, first: Seq) -> io::Result<()> {
        let dir = self.shared.generation_dir(first);
        let summary = match lock(&self.shared.table).generations.get(&first) {
            Some(generation) => generation.summary(),
            None => return Ok(()),
        };
        meta::write(&dir, self.shared.spool_id, &Meta::Gone(summary))?;
        remove_database(&dir)
    }

    /// Adds the oldest generations, once gone, to the folded totals and removes their
    /// directories: the totals are durable first.
    fn fold_front(&mut self) -> io::Result<()> {
        let mut folded: Vec<Seq> = Vec::new();
        let mut counts = Counts::default();
        {
            let table = lock(&self.shared.table);
            for generation in table.generations.values() {
                if !matches!(generation.state, State::Gone(_)) {
                    break;
                }
                counts.merge(&generation.counts());
                folded.push(generation.first);
            }
        }
        if folded.is_empty() {
            return Ok(());
        }
        {
            let mut table = lock(&self.shared.table);
            table.folded.merge(&counts);
            for first in &folded {
                table.generations.remove(first);
            }
        }
        self.mark()?;
        for first in folded {
            fs::remove_dir_all(self.shared.generation_dir(first))?;
        }
        File::open(&self.shared.dir)?.sync_all()
    }
}

/// Removes everything in `dir` but `gen.meta`.
fn remove_database(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            fs::remove_dir_all(entry.path())?;
        } else if entry.file_name() != meta::NAME {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}
