//! The keeper: the thread that writes down what is resolved, and gives space back.
//!
//! It works in rounds while there is something to do and sleeps without a timer otherwise.
//! A round writes the trackers' changes to their generations, deletes generations that are
//! resolved, closes those over the limit, and moves the high-water mark. It never touches
//! what the committer has not flushed.

use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use super::generations::{OPEN_BESIDES_NEWEST, OpenGeneration, State, Table};
use super::highwater::{HighWater, Mark};
use super::ledger::Counts;
use super::mailbox::Mailbox;
use super::meta::{self, Meta};
use super::quota::FullReason;
use super::records;
use super::shared::{Shared, lock};
use super::store::{Store, StoreError};
use super::tracker::Changes;
use crate::proof::Seq;

/// Time between two rounds: also the most that a crash makes resolved events come again.
const ROUND: Duration = Duration::from_millis(200);
/// Most time between two high-water marks while events come.
const MARK_EVERY: Duration = Duration::from_secs(1);
/// A newest generation that is drained, idle and larger than this makes way for a new one.
const DRAINED_BYTES: u64 = 8 * 1024 * 1024;

/// State of the thread.
#[derive(Debug)]
pub(super) struct Keeper {
    shared: Arc<Shared>,
    mailbox: Arc<Mailbox>,
    highwater: HighWater,
    marked: Mark,
    marked_at: Instant,
    /// End of the spool in the round before, to see idleness.
    last_end: Seq,
    /// The end at which a rotation was asked for, so that it is asked for once.
    asked_at: Seq,
}

impl Keeper {
    pub(super) fn new(
        shared: Arc<Shared>,
        mailbox: Arc<Mailbox>,
        highwater: HighWater,
        marked: Mark,
    ) -> Self {
        let marked_at = Instant::now();
        Self {
            shared,
            mailbox,
            highwater,
            marked,
            marked_at,
            last_end: 0,
            asked_at: 0,
        }
    }

    /// Works until the spool stops; then closes everything.
    pub(super) fn run(mut self) {
        while self.wait() {
            self.round();
        }
        self.round();
        self.close_all();
        if let Err(error) = self.mark() {
            self.shared
                .failed("cannot write the high-water mark", &error);
        }
    }

    /// Sleeps until the next round is due; false when the spool stops.
    fn wait(&self) -> bool {
        let mut table = lock(&self.shared.table);
        while !self.has_work(&mut table) {
            table.keeper_sleeps = true;
            let woken = self.shared.changed.wait(table);
            table = woken.unwrap_or_else(PoisonError::into_inner);
        }
        table.keeper_sleeps = false;
        let due = Instant::now() + ROUND;
        loop {
            let now = Instant::now();
            let surplus = table.open_besides_newest().len() > OPEN_BESIDES_NEWEST;
            let urgent = surplus || table.make_room || table.suspect.is_some();
            if table.stopping || urgent || now >= due {
                return !table.stopping;
            }
            let woken = self.shared.changed.wait_timeout(table, due - now);
            table = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn has_work(&self, table: &mut Table) -> bool {
        table.stopping
            || table.make_room
            || table.suspect.is_some()
            || table.resolved
            || table.durable != self.marked.end
            || table.open_besides_newest().len() > OPEN_BESIDES_NEWEST
            || self.shared.full.borrow().is_some()
            || self.wants_rotation(table)
    }

    fn wants_rotation(&self, table: &mut Table) -> bool {
        let durable = table.durable;
        self.asked_at != durable
            && table
                .newest()
                .is_some_and(|newest| newest.is_resolved() && newest.file_bytes > DRAINED_BYTES)
    }

    fn round(&mut self) {
        self.write_changes();
        let freed = self.delete_resolved();
        self.close_surplus();
        let durable = lock(&self.shared.table).durable;
        if durable != self.marked.end
            && self.marked_at.elapsed() >= MARK_EVERY
            && let Err(error) = self.mark()
        {
            self.shared
                .failed("cannot write the high-water mark", &error);
        }
        if freed || self.shared.full.borrow().is_some() {
            self.shared.check_quota();
        }
        self.shared.keep_reserve();
        if durable == self.last_end && self.wants_rotation(&mut lock(&self.shared.table)) {
            self.asked_at = durable;
            self.mailbox.rotate();
        }
        self.last_end = durable;
    }

    /// Writes what changed to the open generations, and makes it durable. Not while writing
    /// fails: a handle that fails would then refuse reads as well.
    fn write_changes(&self) {
        if *self.shared.full.borrow() == Some(FullReason::WriteFailed) {
            return;
        }
        let mut work: Vec<(Seq, Arc<Store>, Changes)> = Vec::new();
        {
            let mut table = lock(&self.shared.table);
            table.resolved = false;
            let newest = table.generations.last_key_value().map(|(&first, _)| first);
            for generation in table.generations.values_mut() {
                // What is about to be deleted needs no records.
                if generation.is_resolved() && Some(generation.first) != newest {
                    continue;
                }
                if let State::Open(open) = &mut generation.state
                    && let Some(store) = &open.store
                    && let Some(changes) = open.tracker.take_changes()
                {
                    work.push((generation.first, Arc::clone(store), changes));
                }
            }
        }
        for (first, store, changes) in work {
            let written = records::write(&store, &changes).and_then(|()| store.flush());
            if let Err(error) = written {
                self.shared
                    .failed("cannot write down what is resolved", &error);
                let mut table = lock(&self.shared.table);
                table.resolved = true;
                if let Some(generation) = table.generations.get_mut(&first)
                    && let State::Open(open) = &mut generation.state
                {
                    open.tracker.forget_written();
                }
            }
        }
    }

    /// Deletes the databases of generations that are resolved; true when space was freed.
    fn delete_resolved(&mut self) -> bool {
        let mut freed = false;
        for (first, store) in self.take_resolved() {
            freed = true;
            if let Some(store) = store.and_then(Arc::into_inner)
                && let Err(error) = store.close()
            {
                self.shared
                    .failed("cannot close a drained generation", &error);
            }
            if let Err(error) = self.bury(first) {
                self.shared
                    .failed("cannot delete a drained generation", &error);
            }
        }
        if let Err(error) = self.fold_front() {
            self.shared
                .failed("cannot delete a drained generation", &error);
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

    /// Closes the least recently used generations over the limit, one more when the cursor
    /// waits for room.
    fn close_surplus(&self) {
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
                records::write(store, &changes).and_then(|()| store.flush())
            }
            None => Ok(()),
        };
        let summary = lock(&self.shared.table)
            .generations
            .get(&first)
            .map(|g| g.summary());
        let dir = self.shared.generation_dir(first);
        let written = closed.and_then(|()| match summary {
            Some(summary) => Ok(meta::write(
                &dir,
                self.shared.spool_id,
                &Meta::Closed(summary),
            )?),
            None => Ok(()),
        });
        if let Err(error) = written.and_then(|()| close_store(store)) {
            self.shared
                .failed("cannot close a generation in order", &error);
        }
        let mut table = lock(&self.shared.table);
        if let Some(generation) = table.generations.get_mut(&first) {
            generation.state = State::Closed(generation.summary());
        }
        drop(table);
        self.shared.changed.notify_all();
    }

    fn close_all(&self) {
        let open: Vec<Seq> = lock(&self.shared.table)
            .generations
            .keys()
            .copied()
            .collect();
        for first in open {
            self.close(first);
        }
    }

    /// Writes the high-water mark as of now.
    fn mark(&mut self) -> io::Result<()> {
        let mark = {
            let table = lock(&self.shared.table);
            Mark {
                spool_id: self.shared.spool_id,
                end: table.durable,
                folded: table.folded,
            }
        };
        self.marked_at = Instant::now();
        self.highwater.write(&mark)?;
        self.marked = mark;
        Ok(())
    }
}

fn close_store(store: Option<Arc<Store>>) -> Result<(), StoreError> {
    store.and_then(Arc::into_inner).map_or(Ok(()), Store::close)
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
