//! Brings a spool directory, whatever state it is in, to a spool that runs.
//!
//! Opens only generations that were open when the process or the power went, and the newest;
//! names and `gen.meta` files tell about the others. What is damaged is put into quarantine
//! and counted, and the start goes on. Nothing here runs after the start.

use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::sync::Arc;

use super::barrier;
use super::committer;
use super::error::{OpenError, io_at};
use super::generations::{Generation, Missing, OpenGeneration, State, Table};
use super::highwater::{HighWater, Mark};
use super::ledger::{Counts, Ending};
use super::meta::{self, Meta, Summary};
use super::page::Reader;
use super::quarantine;
use super::records;
use super::shared::{Shared, generation_dir, lock};
use super::store::{OpenStore, Store, StoreError};
use super::tracker::Tracker;
use crate::config::SpoolConfig;
use crate::proof::Seq;

/// The format this release writes, and the newest it reads.
pub(super) const FORMAT: u32 = 1;
/// Events written off when neither a damaged newest generation nor the high-water file tells
/// where it ended: more than one generation holds, so that no number is given twice.
const UNKNOWN_END: u64 = 1 << 24;

/// What the start found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RecoveryReport {
    /// Whether the spool was made just now.
    pub created: bool,
    /// Generations found.
    pub generations: usize,
    /// Events waiting to be sent.
    pub in_spool: u64,
    /// Stretches that are gone, counted as lost.
    pub missing: Vec<Missing>,
}

/// A generation's directory as found.
struct Known {
    first: Seq,
    meta: Meta,
    spool_id: Option<u64>,
}

/// Checks or writes the file that names the format. Touches nothing when it is not ours.
pub(super) fn check_format(dir: &Path) -> Result<bool, OpenError> {
    let path = dir.join("format");
    match fs::read_to_string(&path) {
        Ok(text) => {
            let version = text.strip_prefix("spoolway spool ").map(str::trim_end);
            match version.and_then(|v| v.parse::<u32>().ok()) {
                Some(FORMAT) => Ok(false),
                Some(found) if found > FORMAT => Err(OpenError::NewerFormat {
                    found,
                    known: FORMAT,
                }),
                // A power cut right after the first start leaves an empty file.
                None if text.is_empty() => Ok(true),
                _ => Err(OpenError::NotASpool { path }),
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => {
            Err(OpenError::NotASpool { path })
        }
        Err(source) => Err(OpenError::Io { path, source }),
    }
}

/// Writes the format file, durably.
pub(super) fn write_format(dir: &Path) -> Result<(), OpenError> {
    let path = dir.join("format");
    let write = || {
        fs::write(&path, format!("spoolway spool {FORMAT}\n"))?;
        File::open(&path)?.sync_all()?;
        File::open(dir)?.sync_all()?;
        match dir.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            Some(parent) => File::open(parent)?.sync_all(),
            None => Ok(()),
        }
    };
    write().map_err(io_at(&path))
}

/// Builds the shared state from what is in the directory.
pub(super) fn recover(
    config: &SpoolConfig,
) -> Result<(Arc<Shared>, HighWater, Mark, RecoveryReport), OpenError> {
    let dir = &config.dir;
    let path = dir.join("highwater");
    let (mut highwater, mark) = HighWater::open(&path).map_err(io_at(&path))?;
    let mut known = list(dir).map_err(io_at(dir))?;
    let created = mark.is_none() && known.is_empty();
    let spool_id = mark
        .map(|mark| mark.spool_id)
        .or_else(|| known.iter().find_map(|known| known.spool_id))
        .map_or_else(random_id, Ok)
        .map_err(io_at(dir))?;
    let oldest = known.first().map_or(1, |known| known.first);
    // Without the file the past of the spool is unknown; the ledger starts over from here.
    let folded = mark.map_or(
        Counts {
            delivered: oldest - 1,
            ..Counts::default()
        },
        |m| m.folded,
    );
    let begin = folded.total() + 1;
    let marked_end = mark.map_or(0, |mark| mark.end).max(begin);

    // A crash between the mark and the removal left directories that are counted already.
    let counted = known.partition_point(|known| known.first < begin);
    for known in known.drain(..counted) {
        let path = generation_dir(dir, known.first);
        fs::remove_dir_all(&path).map_err(io_at(&path))?;
    }

    let shared = Shared::new(config, spool_id, Table::new(folded, marked_end));
    let generations = known.len();
    let newest = known.last().map(|known| known.first);
    fill_table(&shared, &known, begin, marked_end);
    for first in dirty(&known) {
        read_dirty(&shared, first).map_err(|e| store_error(&shared, first, e))?;
    }
    bury_missing(&shared).map_err(io_at(dir))?;
    let end = match newest.map(|first| (first, open_newest(&shared, first, mark.is_some()))) {
        Some((_, Ok(end))) => end,
        Some((first, Err(error))) => return Err(store_error(&shared, first, error)),
        None => marked_end,
    };
    begin_newest(&shared, end)?;

    let mark = Mark {
        spool_id,
        end,
        folded: lock(&shared.table).folded,
    };
    highwater.write(&mark).map_err(io_at(&path))?;
    let table = lock(&shared.table);
    let in_spool = table.ledger().in_spool;
    let report = RecoveryReport {
        created,
        generations,
        in_spool,
        missing: table.missing.clone(),
    };
    drop(table);
    Ok((Arc::new(shared), highwater, mark, report))
}

fn random_id() -> io::Result<u64> {
    getrandom::u64()
        .map(|id| id.max(1))
        .map_err(io::Error::other)
}

/// The generations in the directory, oldest first.
fn list(dir: &Path) -> io::Result<Vec<Known>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        let first = name.to_str().and_then(|name| name.strip_prefix("gen-"));
        if let Some(first) = first.and_then(|digits| digits.parse::<Seq>().ok())
            && first > 0
            && entry.file_type()?.is_dir()
        {
            let (meta, spool_id) = meta::read(&entry.path());
            found.push(Known {
                first,
                meta,
                spool_id,
            });
        }
    }
    found.sort_unstable_by_key(|known| known.first);
    Ok(found)
}

/// The generations that only their databases tell about, but for the newest.
fn dirty(known: &[Known]) -> impl Iterator<Item = Seq> + '_ {
    let older = known.split_last().map_or(known, |(_, older)| older);
    let ends = known.iter().skip(1).map(|next| next.first);
    older
        .iter()
        .zip(ends)
        .filter(|(known, end)| !is_told(&known.meta, *end))
        .map(|(k, _)| k.first)
}

fn is_told(meta: &Meta, end: Seq) -> bool {
    match meta {
        Meta::Open => false,
        Meta::Closed(summary) | Meta::Gone(summary) => summary.end <= end,
    }
}

/// Enters all generations as closed, and the gaps between them as lost.
fn fill_table(shared: &Shared, known: &[Known], begin: Seq, marked_end: Seq) {
    let mut table = lock(&shared.table);
    let mut expected = begin;
    for (index, one) in known.iter().enumerate() {
        enter_gap(&mut table, expected, one.first);
        let next = known.get(index + 1).map(|next| next.first);
        let end = match (&one.meta, next) {
            (Meta::Closed(s) | Meta::Gone(s), Some(next)) if s.end <= next => s.end,
            (Meta::Closed(s) | Meta::Gone(s), None) => s.end.max(one.first),
            (_, Some(next)) => next,
            (Meta::Open, None) => marked_end.max(one.first),
        };
        let nothing = Summary {
            end,
            first_unresolved: one.first,
            counts: Counts::default(),
        };
        let state = match one.meta {
            Meta::Gone(summary) if summary.end == end => State::Gone(summary),
            Meta::Closed(summary) if summary.end == end => State::Closed(summary),
            _ => State::Closed(nothing),
        };
        let file = generation_dir(&shared.dir, one.first).join("db");
        let file_bytes = fs::metadata(file).map_or(0, |meta| meta.len());
        let generation = Generation {
            first: one.first,
            end,
            file_bytes,
            state,
            used: 0,
        };
        table.generations.insert(one.first, generation);
        expected = end;
    }
    if known.is_empty() {
        enter_gap(&mut table, expected, marked_end);
    }
    table.resolved = true;
}

/// Enters `first..end` as a generation that is gone with all its events.
fn enter_gap(table: &mut Table, first: Seq, end: Seq) {
    if first >= end {
        return;
    }
    let counts = Counts {
        lost: end - first,
        ..Counts::default()
    };
    let state = State::Gone(Summary {
        end,
        first_unresolved: end,
        counts,
    });
    table.generations.insert(
        first,
        Generation {
            first,
            end,
            file_bytes: 0,
            state,
            used: 0,
        },
    );
    let reason = "their generation is not in the directory".to_owned();
    table.report(Missing {
        first,
        end,
        lost: end - first,
        quarantine: None,
        reason,
    });
}

/// Makes tombstones for gaps, so that the next start does not report them again.
fn bury_missing(shared: &Shared) -> io::Result<()> {
    let gone: Vec<(Seq, Summary)> = lock(&shared.table)
        .generations
        .values()
        .filter(|g| matches!(g.state, State::Gone(_)))
        .map(|g| (g.first, g.summary()))
        .collect();
    for (first, summary) in gone {
        let dir = shared.generation_dir(first);
        if !dir.exists() {
            fs::create_dir(&dir)?;
            meta::write(&dir, shared.spool_id, &Meta::Gone(summary))?;
            File::open(&shared.dir)?.sync_all()?;
        }
    }
    Ok(())
}

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
fn read_dirty(shared: &Shared, first: Seq) -> Result<(), StoreError> {
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
fn open_newest(shared: &Shared, first: Seq, has_mark: bool) -> Result<Seq, StoreError> {
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
fn begin_newest(shared: &Shared, end: Seq) -> Result<(), OpenError> {
    {
        let mut table = lock(&shared.table);
        table.next = end;
        table.durable = end;
        shared
            .durable
            .store(end, std::sync::atomic::Ordering::Release);
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

fn store_error(shared: &Shared, first: Seq, error: StoreError) -> OpenError {
    let path = shared.generation_dir(first);
    match error {
        StoreError::Io(source) => OpenError::Io { path, source },
        other => OpenError::Generation {
            dir: path,
            reason: other.to_string(),
        },
    }
}

/// The sequence number at which a cursor starts: the first unresolved event.
pub(super) fn start_position(shared: &Shared) -> Seq {
    let table = lock(&shared.table);
    let unresolved = table
        .generations
        .values()
        .find_map(|g| g.first_unresolved_from(g.first));
    unresolved.unwrap_or(table.durable)
}
