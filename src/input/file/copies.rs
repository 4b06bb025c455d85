//! The copies that copytruncate makes: the file is copied beside itself, then truncated.
//!
//! What was not read of the old content at that moment is still in the copy, and where the
//! patterns find the copy, it is no new file. A copy is known by its name, by the first bytes
//! and by the bytes before the checkpoint. Reads a few bytes; follows nothing itself.

use std::path::{Path, PathBuf};

use super::follow::Follow;
use super::identity::{HEAD_BYTES, Print, Stat};
use super::names::original_names;
use super::open::{Guard, read_at};

/// Shortest beginning by which a copy is known: shorter ones are alike by chance.
const HEAD_BYTES_MIN: u16 = 16;

/// How a file relates to one that is followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Likeness {
    /// Another file.
    Other,
    /// A copy that goes at least as far as the other was read.
    Copy,
    /// It begins alike and ends before the place read up to: a copy in the making.
    Shorter,
}

/// Compares the file at `path` with the content that `follow` speaks of.
pub(super) fn likeness(guard: &Guard, path: &Path, follow: &Follow) -> Likeness {
    if follow.head.len < HEAD_BYTES_MIN {
        return Likeness::Other;
    }
    let Ok((file, stat)) = guard.file(path) else {
        return Likeness::Other;
    };
    let begins = |print: Print, offset: u64| {
        let mut bytes = [0; HEAD_BYTES];
        let count = read_at(&file, &mut bytes, offset).unwrap_or(0);
        print.begins(bytes.get(..count).unwrap_or_default())
    };
    if !begins(follow.head, 0) {
        return Likeness::Other;
    }
    let consumed = follow.progress.consumed();
    if stat.size < consumed {
        return Likeness::Shorter;
    }
    if begins(
        follow.mark,
        consumed.saturating_sub(u64::from(follow.mark.len)),
    ) {
        Likeness::Copy
    } else {
        Likeness::Other
    }
}

/// Of the files beside the one that was truncated the copy of its old content.
pub(super) fn find(
    guard: &Guard,
    follow: &Follow,
    beside: impl Iterator<Item = (PathBuf, Stat)>,
) -> Option<(PathBuf, Stat)> {
    beside
        .filter(|(path, _)| original_names(path).any(|original| original == follow.path))
        .find(|(path, _)| likeness(guard, path, follow) == Likeness::Copy)
}
