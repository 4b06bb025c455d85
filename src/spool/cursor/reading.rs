//! Reading from disk: which generation, opened if need be, and what to do about damage.

use std::path::PathBuf;
use std::sync::{Arc, PoisonError};

use super::Cursor;
use crate::proof::{Seq, SeqRange};
use crate::spool::block::Block;
use crate::spool::error::ReadError;
use crate::spool::generations::{Generation, Missing, OPEN_BESIDES_NEWEST, OpenGeneration, State};
use crate::spool::ledger::Ending;
use crate::spool::meta::{self, Meta};
use crate::spool::page::{Found, Reader};
use crate::spool::quarantine;
use crate::spool::records;
use crate::spool::shared::lock;
use crate::spool::store::{OpenStore, Store, StoreError};

/// A block that the disk refuses this often in a row is given up as damaged.
const READ_TRIES: u32 = 8;

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
    /// Reads the first block with an unresolved event at or after `seq` from disk; when there
    /// is none, tells up to which end there is none.
    pub(super) fn read(&mut self, seq: Seq) -> Result<Result<Arc<Block>, Seq>, ReadError> {
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
                    let kept = match &found {
                        Ok(Found::Damaged(_, next)) => {
                            self.keep_pages(&reader, seq, next.unwrap_or(end))
                        }
                        _ => None,
                    };
                    drop(store);
                    match self.settle(generation, seq, end, found, kept)? {
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
        kept: Option<PathBuf>,
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
        self.lose(seq, next, reason, kept);
        Ok(None)
    }

    /// Copies what is left of the blocks with the events `first..end` into quarantine: their
    /// generation goes once everything else in it is sent.
    fn keep_pages(&self, reader: &Reader<'_>, first: Seq, end: Seq) -> Option<PathBuf> {
        let kept = reader
            .raw(first, end)
            .map_err(|error| error.to_string())
            .and_then(|pages| {
                quarantine::pages(&self.shared.dir, first, &pages).map_err(|e| e.to_string())
            });
        kept.unwrap_or_else(|error| {
            self.shared
                .failed("cannot keep a damaged block aside", &error);
            None
        })
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
    fn lose(&self, first: Seq, end: Seq, reason: String, quarantine: Option<PathBuf>) {
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
            quarantine,
            reason,
        });
    }

    /// Opens a closed generation, after one of the others was closed if need be.
    pub(super) fn open(&self, first: Seq) -> Result<(), ReadError> {
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
            Ok(mut open) => {
                let mut table = lock(&self.shared.table);
                if let Some(generation) = table.generations.get_mut(&first) {
                    if let Some(tracker) = generation.unwritten.take() {
                        open.tracker = *tracker;
                    }
                    generation.state = State::Open(open);
                    table.resolved = true;
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
