//! The generations as their directories and `gen.meta` files tell, and the gaps between them.
//!
//! Opens no database.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use crate::proof::Seq;
use crate::spool::generations::{Generation, Missing, State, Table};
use crate::spool::ledger::Counts;
use crate::spool::meta::{self, Meta, Summary};
use crate::spool::shared::{Shared, generation_dir, lock};

/// A generation's directory as found.
pub(super) struct Known {
    pub(super) first: Seq,
    meta: Meta,
    pub(super) spool_id: Option<u64>,
}

/// The generations in the directory, oldest first.
pub(super) fn list(dir: &Path) -> io::Result<Vec<Known>> {
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
pub(super) fn dirty(known: &[Known]) -> impl Iterator<Item = Seq> + '_ {
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
pub(super) fn fill_table(shared: &Shared, known: &[Known], begin: Seq, marked_end: Seq) {
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
            unwritten: None,
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
            unwritten: None,
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
pub(super) fn bury_missing(shared: &Shared) -> io::Result<()> {
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
