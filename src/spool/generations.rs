//! The table of generations: which there are, which are open, what is resolved in each.
//!
//! Shared by the committer (which adds to the newest), the cursor (which reads and resolves)
//! and the keeper (which writes down, closes and deletes). Owns no thread. The lock is held
//! for look-ups and marks only, never over a disk operation.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use super::ledger::{Counts, Ending, Ledger};
use super::meta::Summary;
use super::store::Store;
use super::tracker::Tracker;
use crate::proof::{Seq, SeqRange};

/// Databases open besides the newest: the oldest one and the one being read.
pub(super) const OPEN_BESIDES_NEWEST: usize = 2;

/// A generation whose database is open.
#[derive(Debug)]
pub(super) struct OpenGeneration {
    /// `None` for the moment in which the newest is opened again after a failed write.
    pub(super) store: Option<Arc<Store>>,
    /// Pages that a flush has covered.
    pub(super) pages: u32,
    pub(super) tracker: Tracker,
    /// Where the block starting at this sequence number lies; the next one to be read.
    pub(super) hint: Option<(Seq, u32)>,
}

/// State of one generation.
#[derive(Debug)]
pub(super) enum State {
    Open(Box<OpenGeneration>),
    /// On its way between open and closed, in the hands of one thread.
    Busy(Summary),
    Closed(Summary),
    /// All resolved, database deleted; kept until those before it are gone too.
    Gone(Summary),
}

/// One generation: the events `first..end`, in one directory.
#[derive(Debug)]
pub(super) struct Generation {
    pub(super) first: Seq,
    pub(super) end: Seq,
    pub(super) file_bytes: u64,
    pub(super) state: State,
    /// Turn of the cursor's last look; the lowest is closed first.
    pub(super) used: u64,
    /// What is resolved of a closed one, when the disk refused to take it: the database tells
    /// less than that.
    pub(super) unwritten: Option<Box<Tracker>>,
}

impl Generation {
    /// How its resolved events ended.
    pub(super) fn counts(&self) -> Counts {
        match &self.state {
            State::Open(open) => open.tracker.counts(),
            State::Busy(s) | State::Closed(s) | State::Gone(s) => s.counts,
        }
    }

    /// First unresolved event at or after `seq`, as far as is known without opening.
    pub(super) fn first_unresolved_from(&self, seq: Seq) -> Option<Seq> {
        let found = match &self.state {
            State::Open(open) => open.tracker.first_unresolved_from(seq),
            State::Busy(s) | State::Closed(s) | State::Gone(s) => s.first_unresolved.max(seq),
        };
        let is_gone = matches!(self.state, State::Gone(_));
        (found < self.end && !is_gone && !self.is_resolved()).then_some(found)
    }

    /// Whether nothing of it is left to do.
    pub(super) fn is_resolved(&self) -> bool {
        match &self.state {
            State::Open(open) => open.tracker.is_resolved_until(self.end),
            State::Busy(s) | State::Closed(s) | State::Gone(s) => s.first_unresolved >= self.end,
        }
    }

    /// What is to be remembered when it closes.
    pub(super) fn summary(&self) -> Summary {
        Summary {
            end: self.end,
            first_unresolved: self.first_unresolved_from(self.first).unwrap_or(self.end),
            counts: self.counts(),
        }
    }
}

/// A quarantined or missing stretch, for status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// First sequence number that is gone.
    pub first: Seq,
    /// One past the last.
    pub end: Seq,
    /// Of these, events that were not resolved before and now count as lost.
    pub lost: u64,
    /// Where what was left of them was put, if there was anything.
    pub quarantine: Option<PathBuf>,
    /// What was found.
    pub reason: String,
}

/// Most stretches remembered for status; the counters keep counting.
const MISSING_KEPT: usize = 256;

/// All generations, and the numbers about the whole spool.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) generations: BTreeMap<Seq, Generation>,
    /// Totals of generations that have no directory any more.
    pub(super) folded: Counts,
    /// The next sequence number to be given.
    pub(super) next: Seq,
    /// One past the last durable event.
    pub(super) durable: Seq,
    pub(super) missing: Vec<Missing>,
    /// Something was resolved that is not written down yet.
    pub(super) resolved: bool,
    /// The cursor waits for a database to be closed.
    pub(super) make_room: bool,
    /// A generation whose handle failed to read: to be closed and opened again.
    pub(super) suspect: Option<Seq>,
    pub(super) stopping: bool,
    /// The keeper sleeps without a timer: whoever leaves it work has to wake it.
    pub(super) keeper_sleeps: bool,
    turn: u64,
}

impl Table {
    pub(super) fn new(folded: Counts, next: Seq) -> Self {
        Self {
            generations: BTreeMap::new(),
            folded,
            next,
            durable: next,
            missing: Vec::new(),
            resolved: false,
            make_room: false,
            suspect: None,
            stopping: false,
            keeper_sleeps: false,
            turn: 0,
        }
    }

    /// The generation that holds `seq`.
    pub(super) fn holding(&mut self, seq: Seq) -> Option<&mut Generation> {
        let (_, generation) = self.generations.range_mut(..=seq).next_back()?;
        (seq < generation.end).then_some(generation)
    }

    /// The first generation with anything at or after `seq`.
    pub(super) fn from(&mut self, seq: Seq) -> Option<&mut Generation> {
        let first = self
            .generations
            .range(..=seq)
            .next_back()
            .map_or(seq, |(&first, _)| first);
        self.generations
            .range_mut(first..)
            .map(|(_, g)| g)
            .find(|g| g.end > seq)
    }

    /// The newest generation.
    pub(super) fn newest(&mut self) -> Option<&mut Generation> {
        self.generations.last_entry().map(|entry| entry.into_mut())
    }

    /// Notes that the cursor uses the generation at `first`.
    pub(super) fn touch(&mut self, first: Seq) {
        self.turn += 1;
        if let Some(generation) = self.generations.get_mut(&first) {
            generation.used = self.turn;
        }
    }

    /// The open generations besides the newest, least recently used first.
    pub(super) fn open_besides_newest(&self) -> Vec<Seq> {
        let newest = self.generations.last_key_value().map(|(&first, _)| first);
        let mut open: Vec<_> = self
            .generations
            .values()
            .filter(|g| matches!(g.state, State::Open(_)) && Some(g.first) != newest)
            .map(|g| (g.used, g.first))
            .collect();
        open.sort_unstable();
        open.into_iter().map(|(_, first)| first).collect()
    }

    /// Databases that are open, or still being opened or closed, besides the newest.
    pub(super) fn databases_besides_newest(&self) -> usize {
        let busy = |g: &&Generation| matches!(g.state, State::Busy(_));
        self.open_besides_newest().len() + self.generations.values().filter(busy).count()
    }

    /// Resolves `range` as far as it lies in open generations; `newly` hears of each piece
    /// resolved for the first time. Returns the first event that lies in a closed one.
    pub(super) fn resolve(
        &mut self,
        range: SeqRange,
        ending: Ending,
        mut newly: impl FnMut(Seq, Seq),
    ) -> Option<Seq> {
        let mut at = range.first;
        while at < range.end() {
            let Some(generation) = self.from(at) else {
                break;
            };
            let (from, to) = (at.max(generation.first), range.end().min(generation.end));
            if from >= to {
                break;
            }
            match &mut generation.state {
                State::Open(open) => open.tracker.resolve(from, to, ending, &mut newly),
                State::Closed(s) | State::Busy(s) if s.first_unresolved < to => {
                    return Some(from.max(s.first_unresolved));
                }
                _ => {}
            }
            at = to;
            self.resolved = true;
        }
        None
    }

    /// How all events resolved so far ended.
    pub(super) fn counts(&self) -> Counts {
        let mut all = self.folded;
        for generation in self.generations.values() {
            all.merge(&generation.counts());
        }
        all
    }

    /// The ledger of this moment.
    pub(super) fn ledger(&self) -> Ledger {
        Ledger::new(
            self.next.saturating_sub(1),
            self.durable.saturating_sub(1),
            &self.counts(),
        )
    }

    /// The first unresolved event; every one before it is resolved.
    pub(super) fn watermark(&self) -> Seq {
        let mut generations = self.generations.values();
        let first = generations.find_map(|g| g.first_unresolved_from(g.first));
        first.unwrap_or(self.durable)
    }

    /// Bytes of all databases.
    pub(super) fn file_bytes(&self) -> u64 {
        self.generations.values().map(|g| g.file_bytes).sum()
    }

    /// Remembers a stretch that is gone, and says so in the log.
    pub(super) fn report(&mut self, missing: Missing) {
        tracing::error!(
            first = missing.first,
            end = missing.end,
            lost = missing.lost,
            reason = %missing.reason,
            quarantine = ?missing.quarantine,
            "events are missing from the spool; they are counted as lost"
        );
        if self.missing.len() < MISSING_KEPT {
            self.missing.push(missing);
        }
    }
}
