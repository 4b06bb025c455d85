//! The databases of generations that were open when the process or the power went.
//!
//! Learns from them what is resolved and where the spool ends, and puts aside what cannot
//! be opened.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::proof::Seq;
use crate::spool::barrier;
use crate::spool::committer;
use crate::spool::error::OpenError;
use crate::spool::generations::{Missing, OpenGeneration, State};
use crate::spool::ledger::Ending;
use crate::spool::meta::{self, Meta, Summary};
use crate::spool::page::Reader;
use crate::spool::quarantine;
use crate::spool::records;
use crate::spool::shared::{Shared, lock};
use crate::spool::store::{OpenStore, Store, StoreError};
use crate::spool::tracker::Tracker;

/// Events written off when neither a damaged newest generation nor the high-water file tells
/// where it ended: more than one generation holds, so that no number is given twice.
const UNKNOWN_END: u64 = 1 << 24;

/// Opens a store; gives up the reserve when there is no space to do so.
fn open_store(shared: &Shared, first: Seq) -> Result<OpenStore, StoreError> {
    let dir = shared.generation_dir(first);
    match Store::open(&dir, shared.config.cache_bytes) {
        Err(StoreError::Full) => {
            shared.reserve.release();
            Store::open(&dir, shared.config.cache_bytes)
        }
        other => other,
    }
}

/// Learns from its database what became of a generation that was open at the crash.
pub(super) fn read_dirty(shared: &Shared, first: Seq) -> Result<(), StoreError> {
    let read = open_store(shared, first).and_then(|opened| {
        let tracker = records::load(&opened.store, first);
        opened.store.close().and(tracker)
    });
    let tracker = match read {
        Ok(tracker) => tracker,
        Err(StoreError::Full) => return Err(StoreError::Full),
        Err(error) => return Ok(quarantine::generation(shared, first, &error.to_string())?),
    };
    let mut table = lock(&shared.table);
    let Some(generation) = table.generations.get_mut(&first) else {
        return Ok(());
    };
    let end = generation.end;
    let first_unresolved = tracker.first_unresolved_from(first).min(end);
    let summary = Summary {
        end,
        first_unresolved,
        counts: tracker.counts(),
    };
    generation.state = State::Closed(summary);
    drop(table);
    let dir = shared.generation_dir(first);
    Ok(meta::write(&dir, shared.spool_id, &Meta::Closed(summary))?)
}

/// Opens the newest generation and finds the end of the spool; it is in the table as open
/// afterwards, or gone. Returns the next sequence number.
pub(super) fn open_newest(shared: &Shared, first: Seq, has_mark: bool) -> Result<Seq, StoreError> {
    let (expected, is_gone) = {
        let mut table = lock(&shared.table);
        let marked = table.durable;
        match table.generations.get_mut(&first) {
            Some(g) => (g.end.max(marked), matches!(g.state, State::Gone(_))),
            None => (marked, true),
        }
    };
    if is_gone {
        return Ok(expected);
    }
    let opened = open_store(shared, first).and_then(|opened| {
        let reader = Reader {
            store: &opened.store,
            pages: opened.pages,
            forgiving: true,
        };
        let (end, pages) = reader.last_block()?.unwrap_or((first, 0));
        opened.store.clear_pages_from(pages)?;
        let tracker = records::load(&opened.store, first)?;
        Ok((opened.store, tracker, end, pages))
    });
    let (store, tracker, end, pages) = match opened {
        Ok(opened) => opened,
        Err(StoreError::Full) => return Err(StoreError::Full),
        Err(error) => {
            let end = if has_mark {
                expected
            } else {
                first + UNKNOWN_END
            };
            if let Some(generation) = lock(&shared.table).generations.get_mut(&first) {
                generation.end = end;
            }
            quarantine::generation(shared, first, &error.to_string())?;
            return Ok(end);
        }
    };
    meta::write(&shared.generation_dir(first), shared.spool_id, &Meta::Open)?;
    let tracker = lose_tail(shared, tracker, end, expected);
    let mut table = lock(&shared.table);
    if let Some(generation) = table.generations.get_mut(&first) {
        generation.end = end.max(expected);
        generation.file_bytes = store.file_bytes();
        let store = Some(Arc::new(store));
        let open = OpenGeneration {
            store,
            pages,
            tracker,
            hint: None,
        };
        generation.state = State::Open(Box::new(open));
    }
    Ok(end.max(expected))
}

/// Counts what the high-water mark promises and the log does not have.
fn lose_tail(shared: &Shared, mut tracker: Tracker, end: Seq, expected: Seq) -> Tracker {
    if end < expected {
        let mut lost = 0;
        tracker.resolve(end, expected, Ending::Lost, |from, to| lost += to - from);
        let reason = "the log is shorter than the high-water mark".to_owned();
        let missing = Missing {
            first: end,
            end: expected,
            lost,
            quarantine: None,
            reason,
        };
        lock(&shared.table).report(missing);
    }
    tracker
}

/// Makes sure that there is an open newest generation that ends at `end`.
pub(super) fn begin_newest(shared: &Shared, end: Seq) -> Result<(), OpenError> {
    {
        let mut table = lock(&shared.table);
        table.next = end;
        table.durable = end;
        shared.durable.store(end, Ordering::Release);
        if table
            .newest()
            .is_some_and(|newest| matches!(newest.state, State::Open(_)))
        {
            return Ok(());
        }
    }
    let calls = barrier::calls();
    let created = committer::create(shared, end).or_else(|error| match error {
        StoreError::Full => {
            shared.reserve.release();
            committer::create(shared, end)
        }
        other => Err(other),
    });
    let generation = created.map_err(|error| store_error(shared, end, error))?;
    if barrier::calls() == calls {
        return Err(OpenError::BarrierInactive);
    }
    lock(&shared.table).generations.insert(end, generation);
    Ok(())
}

pub(super) fn store_error(shared: &Shared, first: Seq, error: StoreError) -> OpenError {
    let path = shared.generation_dir(first);
    match error {
        StoreError::Io(source) => OpenError::Io { path, source },
        StoreError::Full => OpenError::NoSpace {
            dir: path,
            wanted: shared.reserve.bytes(),
        },
        other => OpenError::Generation {
            dir: path,
            reason: other.to_string(),
        },
    }
}
