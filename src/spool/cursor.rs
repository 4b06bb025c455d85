//! The side of the spool that the drain sees: read in order, resolve, read again.
//!
//! Takes blocks from the committer's hand while it keeps up, and from disk otherwise.
//! Damage is counted, reported and stepped over here; it never comes out as an error twice.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use super::block::Block;
use super::error::ReadError;
use super::generations::{Generation, Missing, OPEN_BESIDES_NEWEST, OpenGeneration, State};
use super::ledger::Ending;
use super::mailbox::Mailbox;
use super::meta::{self, Meta};
use super::page::{Found, Reader};
use super::quarantine;
use super::records;
use super::shared::{Shared, lock};
use super::store::{OpenStore, Store, StoreError};
use crate::event::UnixMillis;
use crate::proof::{Acked, DeadLettered, Seq, SeqRange, SeqRanges};

/// A block that the disk refuses this often in a row is given up as damaged.
const READ_TRIES: u32 = 8;

/// Reads the spool in order and resolves events. One per spool, for the drain's thread.
#[derive(Debug)]
pub struct Cursor {
    shared: Arc<Shared>,
    mailbox: Arc<Mailbox>,
    position: Seq,
    failures: u32,
}

/// What to do about a place in the spool.
enum Place {
    /// Read the block of this event from the open generation.
    Read {
        generation: Seq,
        seq: Seq,
        end: Seq,
        store: Arc<Store>,
        pages: u32,
        hint: Option<u32>,
    },
    /// The generation has to be opened first.
    Closed(Seq),
    /// The newest generation is being opened again.
    Reopening(Seq),
    /// Nothing unresolved from there on, up to this end.
    End(Seq),
}

impl Cursor {
    pub(super) fn new(shared: Arc<Shared>, mailbox: Arc<Mailbox>, position: Seq) -> Self {
        Self {
            shared,
            mailbox,
            position,
            failures: 0,
        }
    }

    /// Has `wake` run whenever new blocks may be read; it must be quick and must not block.
    pub fn on_new_block(&mut self, wake: impl Fn() + Send + Sync + 'static) {
        *lock(&self.shared.wake) = Some(Box::new(wake));
    }

    /// Sequence number from which [`Cursor::next`] goes on.
    pub fn position(&self) -> Seq {
        self.position
    }

    /// The next block with an unresolved event; `None` when there is none yet.
    ///
    /// # Errors
    /// When the disk does not answer; worth trying again after a pause.
    #[expect(
        clippy::should_implement_trait,
        reason = "it goes on after None, unlike an iterator"
    )]
    pub fn next(&mut self) -> Result<Option<Arc<Block>>, ReadError> {
        if self.position >= self.shared.durable.load(Ordering::Acquire) {
            return Ok(None);
        }
        let found = lock(&self.shared.hand).take(self.position);
        let found = match found {
            Some(block) => {
                self.saw(&block);
                Ok(block)
            }
            None => self.read(self.position)?,
        };
        self.position = found.as_ref().map_or_else(|end| *end, |block| block.end());
        Ok(found.ok())
    }

    /// The first block with an unresolved event at or after `seq`, read again; does not move
    /// the position.
    ///
    /// # Errors
    /// As [`Cursor::next`].
    pub fn reread(&mut self, seq: Seq) -> Result<Option<Arc<Block>>, ReadError> {
        Ok(self.read(seq)?.ok())
    }

    /// False once `seq` is delivered, dead-lettered or lost.
    pub fn is_unresolved(&self, seq: Seq) -> bool {
        let mut table = lock(&self.shared.table);
        match table.holding(seq) {
            Some(generation) => match &generation.state {
                State::Open(open) => open.tracker.is_unresolved(seq),
                _ => generation.first_unresolved_from(seq) == Some(seq),
            },
            None => false,
        }
    }

    /// Whether no event of `block` is resolved: then there is no need to ask for each.
    pub fn is_untouched(&self, block: &Block) -> bool {
        let mut table = lock(&self.shared.table);
        table
            .holding(block.first())
            .is_some_and(|generation| match &generation.state {
                State::Open(open) => open
                    .tracker
                    .is_untouched(block.first(), u64::from(block.len())),
                _ => false,
            })
    }

    /// The broker has these events.
    pub fn acked(&mut self, proof: Acked) {
        self.resolve(proof.ranges(), Ending::Delivered);
    }

    /// These events are in the dead-letter store.
    pub fn dead_lettered(&mut self, proof: DeadLettered) {
        self.resolve(proof.ranges(), Ending::DeadLettered);
    }

    /// The configuration says that these events go nowhere.
    pub fn dropped(&mut self, ranges: &SeqRanges) {
        self.resolve(ranges, Ending::Dropped);
    }

    /// Has what was resolved written down soon (within 200 ms), durably.
    pub fn checkpoint(&mut self) {
        let table = lock(&self.shared.table);
        if table.resolved && table.keeper_sleeps {
            self.shared.changed.notify_all();
        }
    }

    /// The first unresolved event; every one before it is resolved.
    pub fn watermark(&self) -> Seq {
        let table = lock(&self.shared.table);
        let mut firsts = table
            .generations
            .values()
            .filter_map(|generation| generation.first_unresolved_from(generation.first));
        firsts.next().unwrap_or(table.durable)
    }

    /// When the oldest unresolved event arrived, as far as its block has been read.
    pub fn oldest_unresolved(&self) -> Option<UnixMillis> {
        let table = lock(&self.shared.table);
        let oldest = table
            .generations
            .values()
            .find(|generation| !generation.is_resolved())?;
        match &oldest.state {
            State::Open(open) => open.tracker.oldest_received(),
            _ => None,
        }
    }

    fn saw(&self, block: &Block) {
        let mut table = lock(&self.shared.table);
        if let Some(generation) = table.holding(block.first())
            && let State::Open(open) = &mut generation.state
        {
            open.tracker
                .saw(block.first(), u64::from(block.len()), block.received());
        }
    }

    fn resolve(&mut self, ranges: &SeqRanges, ending: Ending) {
        for range in ranges.ranges() {
            let mut range = range;
            while let Some(closed) = self.resolve_open(range, ending) {
                // A block of a closed generation was in flight: it must be opened for it.
                let generation = lock(&self.shared.table).holding(closed).map(|g| g.first);
                if let Some(first) = generation
                    && let Err(error) = self.open(first)
                {
                    // Not written down, so these come again: twice is better than never.
                    tracing::warn!(%error, "cannot note events as resolved; they will be resent");
                    break;
                }
                range = SeqRange {
                    first: closed,
                    count: (range.end() - closed) as u32,
                };
            }
        }
    }

    fn resolve_open(&self, range: SeqRange, ending: Ending) -> Option<Seq> {
        let mut table = lock(&self.shared.table);
        let mut deliveries = lock(&self.shared.deliveries);
        table.resolve(range, ending, |from, to| {
            deliveries.resolved(from, to, ending)
        })
    }

    /// Reads the first block with an unresolved event at or after `seq` from disk; when there
    /// is none, tells up to which end there is none.
    fn read(&mut self, seq: Seq) -> Result<Result<Arc<Block>, Seq>, ReadError> {
        let mut from = seq;
        loop {
            match self.place(from) {
                Place::End(end) => return Ok(Err(end)),
                Place::Reopening(first) => return Err(ReadError::Reopening { first }),
                Place::Closed(first) => self.open(first)?,
                Place::Read {
                    generation,
                    seq,
                    end,
                    store,
                    pages,
                    hint,
                } => {
                    let forgiving = self.failures >= READ_TRIES;
                    let reader = Reader {
                        store: &store,
                        pages,
                        forgiving,
                    };
                    let found = reader.read(seq, hint);
                    drop(store);
                    match self.settle(generation, seq, end, found)? {
                        Some(block) => return Ok(Ok(block)),
                        None => from = seq,
                    }
                }
            }
        }
    }

    fn place(&self, from: Seq) -> Place {
        let mut table = lock(&self.shared.table);
        let mut at = from;
        loop {
            let Some(generation) = table.from(at) else {
                return Place::End(at);
            };
            let (first, end) = (generation.first, generation.end);
            let Some(seq) = generation.first_unresolved_from(at.max(first)) else {
                at = end;
                continue;
            };
            let place = match &generation.state {
                State::Open(open) => match &open.store {
                    Some(store) => Place::Read {
                        generation: first,
                        seq,
                        end,
                        store: Arc::clone(store),
                        pages: open.pages,
                        hint: open.hint.filter(|hint| hint.0 == seq).map(|hint| hint.1),
                    },
                    None => Place::Reopening(first),
                },
                _ => Place::Closed(first),
            };
            table.touch(first);
            return place;
        }
    }

    /// Takes note of what was read for `seq`; `None` means that the place is resolved now.
    fn settle(
        &mut self,
        generation: Seq,
        seq: Seq,
        end: Seq,
        found: Result<Found, StoreError>,
    ) -> Result<Option<Arc<Block>>, ReadError> {
        let (reason, next) = match found {
            Ok(Found::Block(block, after)) => {
                self.failures = 0;
                let mut table = lock(&self.shared.table);
                if let Some(generation) = table.generations.get_mut(&generation)
                    && let State::Open(open) = &mut generation.state
                {
                    open.hint = Some((block.end(), after));
                    open.tracker
                        .saw(block.first(), u64::from(block.len()), block.received());
                }
                return Ok(Some(Arc::new(block)));
            }
            Ok(Found::Damaged(reason, next)) => (reason, next),
            Err(error) => {
                self.failures = self.failures.saturating_add(1);
                self.ask_for_reopening(generation);
                let reason = error.to_string();
                return Err(ReadError::Store {
                    first: generation,
                    reason,
                });
            }
        };
        self.failures = 0;
        let next = next
            .filter(|&next| next > seq && next <= end)
            .unwrap_or(end);
        self.lose(seq, next, reason);
        Ok(None)
    }

    /// A handle that failed once fails for ever: it has to be closed and opened again.
    fn ask_for_reopening(&self, first: Seq) {
        let mut table = lock(&self.shared.table);
        let newest = table.newest().map(|newest| newest.first);
        if newest == Some(first) {
            self.mailbox.reopen();
        } else {
            table.suspect = Some(first);
            self.shared.changed.notify_all();
        }
    }

    /// Counts the unresolved events in `first..end` as lost.
    fn lose(&self, first: Seq, end: Seq, reason: String) {
        let mut lost = 0;
        let mut at = first;
        let mut table = lock(&self.shared.table);
        let mut deliveries = lock(&self.shared.deliveries);
        while at < end {
            let count = u32::try_from(end - at).unwrap_or(u32::MAX);
            let piece = SeqRange { first: at, count };
            let closed = table.resolve(piece, Ending::Lost, |from, to| {
                lost += to - from;
                deliveries.resolved(from, to, Ending::Lost);
            });
            debug_assert!(closed.is_none(), "only open generations are read");
            at = piece.end();
        }
        table.report(Missing {
            first,
            end,
            lost,
            quarantine: None,
            reason,
        });
    }

    /// Opens a closed generation, after one of the others was closed if need be.
    fn open(&self, first: Seq) -> Result<(), ReadError> {
        self.wait_for_room(first);
        let dir = self.shared.generation_dir(first);
        let cache = self.shared.config.cache_bytes;
        let opened = match Store::open(&dir, cache) {
            Err(StoreError::Full) => {
                self.shared.reserve.release();
                Store::open(&dir, cache)
            }
            other => other,
        };
        let opened = opened.and_then(|OpenStore { store, pages }| {
            let tracker = records::load(&store, first)?;
            meta::write(&dir, self.shared.spool_id, &Meta::Open)?;
            let store = Some(Arc::new(store));
            Ok(Box::new(OpenGeneration {
                store,
                pages,
                tracker,
                hint: None,
            }))
        });
        match opened {
            Ok(open) => {
                let mut table = lock(&self.shared.table);
                if let Some(generation) = table.generations.get_mut(&first) {
                    generation.state = State::Open(open);
                }
                Ok(())
            }
            Err(StoreError::Damaged(reason) | StoreError::Panicked(reason)) => {
                quarantine::generation(&self.shared, first, &reason).map_err(|e| ReadError::Store {
                    first,
                    reason: e.to_string(),
                })
            }
            Err(other) => Err(ReadError::Store {
                first,
                reason: other.to_string(),
            }),
        }
    }

    /// Waits until the generation at `first` is closed and another one may be opened.
    fn wait_for_room(&self, first: Seq) {
        let mut table = lock(&self.shared.table);
        loop {
            let is_busy = table
                .generations
                .get(&first)
                .is_some_and(|g: &Generation| matches!(g.state, State::Busy(_)));
            let is_full = table.open_besides_newest().len() >= OPEN_BESIDES_NEWEST;
            if table.stopping || !(is_busy || is_full) {
                return;
            }
            table.make_room = true;
            self.shared.changed.notify_all();
            table = self
                .shared
                .changed
                .wait(table)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }
}
