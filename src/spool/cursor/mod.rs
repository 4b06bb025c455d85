//! The side of the spool that the drain sees: read in order, resolve, read again.
//!
//! Takes blocks from the committer's hand while it keeps up, and from disk otherwise
//! (reading.rs). Damage is counted, reported and stepped over there; it never comes out as an
//! error twice.

mod reading;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::block::Block;
use super::error::ReadError;
use super::generations::State;
use super::ledger::Ending;
use super::mailbox::Mailbox;
use super::shared::{Shared, lock};
use crate::event::UnixMillis;
use crate::proof::{Acked, DeadLettered, Seq, SeqRange, SeqRanges};

/// Time between two tries to note what was resolved in a generation that does not open.
const OWED_PAUSE: Duration = Duration::from_secs(1);

/// Reads the spool in order and resolves events. One per spool, for the drain's thread.
#[derive(Debug)]
pub struct Cursor {
    shared: Arc<Shared>,
    mailbox: Arc<Mailbox>,
    position: Seq,
    failures: u32,
    /// What is resolved and could not be noted, because its generation did not open.
    owed: Vec<(SeqRange, Ending)>,
    owed_since: Instant,
}

impl Cursor {
    pub(super) fn new(shared: Arc<Shared>, mailbox: Arc<Mailbox>, position: Seq) -> Self {
        Self {
            shared,
            mailbox,
            position,
            failures: 0,
            owed: Vec::new(),
            owed_since: Instant::now(),
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

    /// One past the last event that is on disk.
    pub fn end(&self) -> Seq {
        self.shared.durable.load(Ordering::Acquire)
    }

    /// Has [`Cursor::next`] go on from `seq`, which it has passed before.
    pub fn go_back(&mut self, seq: Seq) {
        self.position = self.position.min(seq);
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
        self.pay_owed();
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
        self.pay_owed();
        let table = lock(&self.shared.table);
        if table.resolved && table.keeper_sleeps {
            self.shared.changed.notify_all();
        }
    }

    /// The first unresolved event; every one before it is resolved.
    pub fn watermark(&self) -> Seq {
        lock(&self.shared.table).watermark()
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
                range = SeqRange {
                    first: closed,
                    count: (range.end() - closed) as u32,
                };
                if let Some(first) = generation
                    && let Err(error) = self.open(first)
                {
                    tracing::warn!(%error, first = range.first, count = range.count,
                        "cannot note events as resolved yet; a crash would send them again");
                    self.owed.push((range, ending));
                    self.owed_since = Instant::now();
                    break;
                }
            }
        }
    }

    /// Tries again to note what was resolved, once in a while.
    fn pay_owed(&mut self) {
        if self.owed.is_empty() || self.owed_since.elapsed() < OWED_PAUSE {
            return;
        }
        for (range, ending) in std::mem::take(&mut self.owed) {
            self.resolve(&range.into(), ending);
        }
    }

    fn resolve_open(&self, range: SeqRange, ending: Ending) -> Option<Seq> {
        let mut table = lock(&self.shared.table);
        let mut deliveries = lock(&self.shared.deliveries);
        table.resolve(range, ending, |from, to| {
            deliveries.resolved(from, to, ending)
        })
    }
}
