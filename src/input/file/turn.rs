//! One turn of one file: one read, its whole events, and the checkpoint behind them.
//!
//! Makes sure that what it read is still the content that the checkpoint speaks of: a file
//! can be truncated and written anew in place (copytruncate), to any size, at any moment.
//! Does not wait, and hands nothing to the spool.

use std::fs::File;
use std::io;
use std::time::Instant;

use super::follow::Follow;
use super::framing::{Framed, Framing, Tail};
use super::identity::{HEAD_BYTES, Print, Stat};
use super::open::read_at;
use crate::event::{EventBuf, FileRun};

/// Bytes that a file may read in one turn: large enough to be cheap, small enough that a
/// busy file does not keep the others waiting.
pub(super) const TURN_BYTES: usize = 256 << 10;

/// Events of one turn on their way to the spool, to be stored with their checkpoint.
#[derive(Debug)]
pub(super) struct Portion {
    pub(super) events: EventBuf,
    pub(super) run: FileRun,
    /// The checkpoint behind the events.
    pub(super) consumed: u64,
    pub(super) skipping: bool,
    /// Of the bytes before it.
    pub(super) mark: Print,
}

/// What a turn found.
#[derive(Debug)]
pub(super) enum Turned {
    /// Nothing new.
    Nothing,
    /// Other content than the one being followed; nothing of it was read.
    Rewritten,
    /// Bytes of the content being followed.
    Read(Reading),
}

/// What was read of a file.
#[derive(Debug)]
pub(super) struct Reading {
    /// In file order.
    pub(super) portions: Vec<Portion>,
    /// There is more to read at once.
    pub(super) more: bool,
    /// Right after the read the file was found written anew.
    pub(super) rewritten: bool,
    /// Bytes of cut lines that were left out.
    pub(super) left_out: u64,
}

/// The memory that all files are read into, one after the other.
#[derive(Debug, Default)]
pub(super) struct Window {
    bytes: Vec<u8>,
}

impl Window {
    /// Reads up to `count` bytes at `offset`.
    fn fill(&mut self, file: &File, offset: u64, count: usize) -> io::Result<&[u8]> {
        if self.bytes.len() < count || self.bytes.len() > 2 * count.max(TURN_BYTES) {
            self.bytes.resize(count.max(TURN_BYTES), 0);
            self.bytes.shrink_to_fit();
        }
        let buffer = self.bytes.get_mut(..count).unwrap_or_default();
        let read = read_at(file, buffer, offset)?;
        Ok(self.bytes.get(..read).unwrap_or_default())
    }
}

/// Takes one turn: `follow.progress`, `head` and `mark` move behind what was read.
///
/// # Errors
/// When the file cannot be read; nothing has moved then.
pub(super) fn turn(
    follow: &mut Follow,
    file: &File,
    framing: &Framing,
    window: &mut Window,
    tail: Tail,
) -> io::Result<Turned> {
    let stat = Stat::of(file)?;
    follow.look(&stat, Instant::now());
    if stat.size < follow.progress.consumed() {
        return Ok(Turned::Rewritten);
    }
    let searched = follow.progress.searched_to();
    let has_rest = tail != Tail::MayGrow && stat.size > follow.progress.consumed();
    if stat.size <= searched && !has_rest {
        return compare(follow, file, &stat, window);
    }
    if searched > follow.progress.consumed() && tail == Tail::MayGrow {
        let fresh = window.fill(file, searched, TURN_BYTES)?;
        if !framing.ends_in(&mut follow.progress, fresh) {
            let portions = Vec::new();
            let more = searched < follow.progress.searched_to() && follow.lag() > 0;
            return Ok(Turned::Read(reading(portions, more)));
        }
    }
    read(follow, file, framing, window, tail)
}

fn reading(portions: Vec<Portion>, more: bool) -> Reading {
    Reading {
        portions,
        more,
        rewritten: false,
        left_out: 0,
    }
}

/// No byte was added. When the time stamp moved all the same, the bytes may be others.
fn compare(
    follow: &mut Follow,
    file: &File,
    stat: &Stat,
    window: &mut Window,
) -> io::Result<Turned> {
    if follow.compared == Some(stat.modified) {
        return Ok(Turned::Nothing);
    }
    let marked = usize::from(follow.mark.len);
    let base = follow.progress.consumed().saturating_sub(marked as u64);
    let is_marked = follow.mark.begins(window.fill(file, base, marked)?);
    let head = window.fill(file, 0, HEAD_BYTES)?;
    if !is_marked || !follow.head.begins(head) {
        return Ok(Turned::Rewritten);
    }
    follow.head = Print::of_head(head);
    follow.compared = Some(stat.modified);
    Ok(Turned::Nothing)
}

fn read(
    follow: &mut Follow,
    file: &File,
    framing: &Framing,
    window: &mut Window,
    tail: Tail,
) -> io::Result<Turned> {
    let consumed = follow.progress.consumed();
    let marked = usize::from(follow.mark.len);
    let base = consumed.saturating_sub(marked as u64);
    let searched = follow.progress.searched_to() - consumed;
    let wanted = usize::try_from(searched).unwrap_or(usize::MAX);
    let wanted = wanted.saturating_add(TURN_BYTES);
    let wanted = wanted.min(framing.window_max().max(TURN_BYTES));
    let bytes = window.fill(file, base, marked + wanted)?;
    let Some(fresh) = bytes.get(marked..).filter(|_| follow.mark.begins(bytes)) else {
        return Ok(Turned::Rewritten);
    };
    // After the read: what was read before the first bytes changed is still the old content.
    let head = first_bytes(file, base, bytes)?;
    let rewritten = !follow.head.begins(&head);
    if rewritten && marked == 0 {
        return Ok(Turned::Rewritten);
    }
    if !rewritten {
        follow.head = Print::of_head(&head);
    }
    let end = consumed + fresh.len() as u64;
    // A file that grew meanwhile has not ended, and neither has one read in part.
    let tail = if end < follow.size {
        Tail::MayGrow
    } else {
        tail
    };
    let before = follow.progress;
    let mut portions = Vec::new();
    framing.frame(&mut follow.progress, fresh, tail, &mut |framed: Framed| {
        let behind = (framed.consumed - base) as usize;
        let mark = Print::of_mark(bytes.get(..behind).unwrap_or_default());
        portions.push(portion(framed, mark));
    });
    let behind = (follow.progress.consumed() - base) as usize;
    follow.mark = Print::of_mark(bytes.get(..behind).unwrap_or_default());
    let moved = follow.progress != before;
    if !rewritten && follow.progress.searched_to() >= follow.size {
        follow.compared = Some(follow.modified);
    }
    Ok(Turned::Read(Reading {
        portions,
        more: moved && follow.lag() > 0,
        rewritten,
        left_out: follow.progress.take_left_out(),
    }))
}

/// The bytes that the file begins with now, taken from the window where it holds them.
fn first_bytes(file: &File, base: u64, window: &[u8]) -> io::Result<Vec<u8>> {
    if base == 0 {
        let first = window.get(..HEAD_BYTES).unwrap_or(window);
        return Ok(first.to_vec());
    }
    let mut first = vec![0; HEAD_BYTES];
    let read = read_at(file, &mut first, 0)?;
    first.truncate(read);
    Ok(first)
}

pub(super) fn portion(framed: Framed, mark: Print) -> Portion {
    Portion {
        run: FileRun {
            count: framed.events.len() as u32,
            offset: framed.offset,
            gap: framed.gap,
            is_cut: framed.is_cut,
        },
        events: framed.events,
        consumed: framed.consumed,
        skipping: framed.skipping,
        mark,
    }
}
