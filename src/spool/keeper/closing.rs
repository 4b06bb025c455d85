//! Generations that are put away until somebody wants to read them: what is resolved in them
//! is written down before, or kept in memory when the disk refuses it.

use std::sync::Arc;

use super::Keeper;
use crate::proof::Seq;
use crate::spool::generations::{OPEN_BESIDES_NEWEST, OpenGeneration, State};
use crate::spool::meta::{self, Meta, Summary};
use crate::spool::records;
use crate::spool::shared::lock;
use crate::spool::store::{Store, StoreError};
use crate::spool::tracker::Tracker;

impl Keeper {
    /// Closes the least recently used generations over the limit, one more when the cursor
    /// waits for room.
    pub(super) fn close_surplus(&self) {
        let surplus = {
            let mut table = lock(&self.shared.table);
            let suspect = table.suspect.take();
            let room = usize::from(std::mem::take(&mut table.make_room));
            let mut open = table.open_besides_newest();
            let keep = OPEN_BESIDES_NEWEST - room;
            let suspect = suspect.filter(|suspect| open.contains(suspect));
            open.truncate(open.len().saturating_sub(keep));
            open.extend(suspect);
            open
        };
        for first in surplus {
            self.close(first);
        }
        self.shared.changed.notify_all();
    }

    fn close(&self, first: Seq) {
        let open = {
            let mut table = lock(&self.shared.table);
            let Some(generation) = table.generations.get_mut(&first) else {
                return;
            };
            let busy = State::Busy(generation.summary());
            match std::mem::replace(&mut generation.state, busy) {
                State::Open(open) => open,
                other => {
                    generation.state = other;
                    return;
                }
            }
        };
        let OpenGeneration {
            store, mut tracker, ..
        } = *open;
        let closed = match &store {
            Some(store) => {
                let changes = tracker.take_changes().unwrap_or_default();
                records::write_durably(store, &changes)
            }
            None => Ok(()),
        };
        let summary = lock(&self.shared.table)
            .generations
            .get(&first)
            .map(|g| g.summary());
        let written = closed.and_then(|()| match summary {
            Some(summary) => self.note_closed(first, summary),
            None => Ok(()),
        });
        let is_written = written.is_ok();
        if let Err(error) = written.and(close_store(store)) {
            self.shared
                .failed("cannot close a generation in order", &error);
        }
        let mut table = lock(&self.shared.table);
        if let Some(generation) = table.generations.get_mut(&first) {
            generation.state = State::Closed(generation.summary());
            if !is_written {
                tracker.forget_written();
                generation.unwritten = Some(Box::new(tracker));
            }
        }
        drop(table);
        self.shared.changed.notify_all();
    }

    /// Lets a start know what is resolved in a generation without opening it.
    fn note_closed(&self, first: Seq, summary: Summary) -> Result<(), StoreError> {
        let dir = self.shared.generation_dir(first);
        let meta = Meta::Closed(summary);
        Ok(meta::write(&dir, self.shared.spool_id, &meta)?)
    }

    /// Tries once more to write down what a failed close could not.
    fn write_unwritten(&self) {
        let mut table = lock(&self.shared.table);
        let generations = table.generations.values_mut();
        let unwritten: Vec<(Seq, Summary, Box<Tracker>)> = generations
            .filter_map(|g| Some((g.first, g.summary(), g.unwritten.take()?)))
            .collect();
        drop(table);
        for (first, summary, mut tracker) in unwritten {
            let dir = self.shared.generation_dir(first);
            let changes = tracker.take_changes().unwrap_or_default();
            let written = Store::open(&dir, self.shared.config.cache_bytes).and_then(|opened| {
                records::write_durably(&opened.store, &changes)?;
                opened.store.close()
            });
            if let Err(error) = written.and_then(|()| self.note_closed(first, summary)) {
                self.shared.failed(
                    "cannot write down what is resolved; it is sent again",
                    &error,
                );
            }
        }
    }

    pub(super) fn close_all(&self) {
        self.write_unwritten();
        let open: Vec<Seq> = lock(&self.shared.table)
            .generations
            .keys()
            .copied()
            .collect();
        for first in open {
            self.close(first);
        }
    }
}

fn close_store(store: Option<Arc<Store>>) -> Result<(), StoreError> {
    store.and_then(Arc::into_inner).map_or(Ok(()), Store::close)
}
