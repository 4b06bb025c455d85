//! The keeper: the thread that writes down what is resolved, and gives space back.
//!
//! It works in rounds while there is something to do and sleeps without a timer otherwise.
//! A round writes the trackers' changes to their generations, deletes generations that are
//! resolved, closes those over the limit, and moves the high-water mark. It never touches
//! what the committer has not flushed. burial.rs has the way of a generation that is resolved,
//! closing.rs that of one that is put away.

mod burial;
mod closing;
#[cfg(test)]
mod tests;

use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use super::generations::{Generation, OPEN_BESIDES_NEWEST, State, Table};
use super::highwater::{HighWater, Mark};
use super::mailbox::Mailbox;
use super::quota::FullReason;
use super::records;
use super::shared::{Shared, lock};
use super::store::Store;
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
    /// Whether everything that this round was to write is on disk.
    is_written: bool,
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
            is_written: true,
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
        self.is_written = true;
        let given_up = self.given_up();
        self.write_changes();
        let freed = self.delete_resolved();
        if let Some(given_up) = given_up.filter(|_| self.is_written) {
            self.shared.given_up.store(given_up, Ordering::Relaxed);
        }
        self.close_surplus();
        let durable = lock(&self.shared.table).durable;
        if durable != self.marked.end
            && self.marked_at.elapsed() >= MARK_EVERY
            && let Err(error) = self.mark()
        {
            self.shared
                .failed("cannot write the high-water mark", &error);
        }
        self.shared.keep_quarantine();
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

    /// Events given up by now, if this round can write all of them down.
    fn given_up(&self) -> Option<u64> {
        let table = lock(&self.shared.table);
        let takes_all = |generation: &Generation| {
            let is_reopened =
                matches!(&generation.state, State::Open(open) if open.store.is_none());
            generation.unwritten.is_none() && !is_reopened
        };
        let takes_all = table.generations.values().all(takes_all);
        takes_all.then(|| table.counts().given_up())
    }

    /// Reports what went wrong in this round.
    fn failed(&mut self, what: &str, error: &dyn std::fmt::Display) {
        self.is_written = false;
        self.shared.failed(what, error);
    }

    /// Writes what changed to the open generations, and makes it durable. Not while writing
    /// fails: a handle that fails would then refuse reads as well.
    fn write_changes(&mut self) {
        if *self.shared.full.borrow() == Some(FullReason::WriteFailed) {
            self.is_written = false;
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
            if let Err(error) = records::write_durably(&store, &changes) {
                self.failed("cannot write down what is resolved", &error);
                let mut table = lock(&self.shared.table);
                table.resolved = true;
                if let Some(generation) = table.generations.get_mut(&first)
                    && let State::Open(open) = &mut generation.state
                {
                    open.tracker.forget_written();
                }
                // A handle that failed once fails for ever.
                if table.newest().is_some_and(|newest| newest.first == first) {
                    self.mailbox.reopen();
                } else {
                    table.suspect = Some(first);
                }
            }
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
