//! One turn of one file: one read, its whole events, and the checkpoint behind them.
//!
//! Makes sure that what it read is still the content that the checkpoint speaks of: a file
//! can be truncated and written anew in place (copytruncate), to any size, at any moment. What
//! is not seen is a file that is truncated twice within one read.
//! Does not wait, and hands nothing to the spool.

use std::io;
use std::time::Instant;

use super::follow::Follow;
use super::framing::{Framed, Framing, Tail};
use super::identity::{HEAD_BYTES, Print, Stat};
use super::open::Content;
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

impl Reading {
    /// These events, all of one content.
    pub(super) fn of(portions: Vec<Portion>, more: bool) -> Self {
        Self {
            portions,
            more,
            rewritten: false,
            left_out: 0,
        }
    }
}

/// The memory that all files are read into, one after the other.
#[derive(Debug, Default)]
pub(super) struct Window {
    bytes: Vec<u8>,
}

impl Window {
    /// Reads up to `count` bytes at `offset`.
    fn fill(&mut self, file: &impl Content, offset: u64, count: usize) -> io::Result<&[u8]> {
        if self.bytes.len() < count || self.bytes.len() > 2 * count.max(TURN_BYTES) {
            self.bytes.resize(count.max(TURN_BYTES), 0);
            self.bytes.shrink_to_fit();
        }
        let buffer = self.bytes.get_mut(..count).unwrap_or_default();
        let read = file.read(buffer, offset)?;
        Ok(self.bytes.get(..read).unwrap_or_default())
    }
}

/// Takes one turn: `follow.progress`, `head` and `mark` move behind what was read.
///
/// # Errors
/// When the file cannot be read; nothing has moved then.
pub(super) fn turn(
    follow: &mut Follow,
    file: &impl Content,
    framing: &Framing,
    window: &mut Window,
    tail: Tail,
) -> io::Result<Turned> {
    let stat = file.stat()?;
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
            let more = searched < follow.progress.searched_to() && follow.lag() > 0;
            return Ok(Turned::Read(Reading::of(Vec::new(), more)));
        }
    }
    read(follow, file, framing, window, tail)
}

/// No byte was added. When the time stamp moved all the same, the bytes may be others.
fn compare(
    follow: &mut Follow,
    file: &impl Content,
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
    follow.is_sure();
    Ok(Turned::Nothing)
}

fn read(
    follow: &mut Follow,
    file: &impl Content,
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
    let head = first_bytes(file)?;
    let is_torn = base == 0 && !Print::of_head(bytes).begins(&head);
    let rewritten = is_torn || !follow.head.begins(&head);
    if rewritten && marked == 0 {
        return Ok(Turned::Rewritten);
    }
    follow.is_sure();
    // Between the mark and the end of the read the new content may have grown so far that a
    // part of it was read. Where it is shorter by now, all of it is old.
    if rewritten && file.stat()?.size > consumed {
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

/// The bytes that the file begins with now.
fn first_bytes(file: &impl Content) -> io::Result<Vec<u8>> {
    let mut first = vec![0; HEAD_BYTES];
    let read = file.read(&mut first, 0)?;
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

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::path::Path;
    use std::sync::Arc;

    use super::*;
    use crate::config::{FileConfig, FilePatterns};
    use crate::event::Source;
    use crate::input::file::framing::RunLimits;

    /// A file that becomes the next of its contents after so many questions.
    struct Changing {
        contents: RefCell<Vec<(u32, Vec<u8>)>>,
        stat: Stat,
    }

    impl Changing {
        fn new(contents: &[(u32, &[u8])]) -> Self {
            let contents = contents.iter().map(|(n, bytes)| (*n, bytes.to_vec()));
            Self {
                contents: RefCell::new(contents.collect()),
                stat: Stat::at(Path::new("/")).unwrap(),
            }
        }

        fn now(&self) -> Vec<u8> {
            let mut contents = self.contents.borrow_mut();
            let is_over = contents[0].0 == 0;
            if is_over {
                contents.remove(0);
            }
            contents[0].0 -= 1;
            contents[0].1.clone()
        }
    }

    impl Content for Changing {
        fn stat(&self) -> io::Result<Stat> {
            let content = self.now();
            Ok(Stat {
                size: content.len() as u64,
                modified: (content.len() as i64, 0),
                ..self.stat
            })
        }

        fn read(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
            let content = self.now();
            let rest = content.get(offset as usize..).unwrap_or_default();
            let count = rest.len().min(buffer.len());
            buffer[..count].copy_from_slice(&rest[..count]);
            Ok(count)
        }
    }

    struct Rig {
        follow: Follow,
        framing: Framing,
        window: Window,
    }

    impl Rig {
        fn new() -> Self {
            let stat = Stat::at(Path::new("/")).unwrap();
            let source = Arc::new(Source::of_input("logs"));
            let config = FileConfig::new(FilePatterns::default());
            let limits = RunLimits {
                bytes: 1 << 20,
                events: 1000,
            };
            Self {
                follow: Follow::new(0, Path::new("/l"), &stat, source),
                framing: Framing::new(&config, limits),
                window: Window::default(),
            }
        }

        fn turn(&mut self, file: &Changing) -> (Vec<String>, bool) {
            let (follow, window) = (&mut self.follow, &mut self.window);
            match turn(follow, file, &self.framing, window, Tail::MayGrow).unwrap() {
                Turned::Nothing => (Vec::new(), false),
                Turned::Rewritten => (Vec::new(), true),
                Turned::Read(reading) => {
                    let events = reading.portions.iter().flat_map(|p| p.events.iter());
                    let events = events.map(|e| String::from_utf8_lossy(e).into_owned());
                    (events.collect(), reading.rewritten)
                }
            }
        }
    }

    const OLD: &[u8] = b"old 1\nold 2\n";
    const GROWN: &[u8] = b"old 1\nold 2\nold 3\n";

    /// A rig that has read [`OLD`].
    fn after_old() -> Rig {
        let mut rig = Rig::new();
        let read = rig.turn(&Changing::new(&[(99, OLD)]));
        assert_eq!(read, (vec!["old 1".to_owned(), "old 2".to_owned()], false));
        rig
    }

    #[test]
    fn what_was_read_before_a_truncation_is_kept() {
        // Of the questions stat, read, first bytes and stat the first two meet the old content.
        let mut rig = after_old();
        let read = rig.turn(&Changing::new(&[(2, GROWN), (99, b"new\n")]));
        assert_eq!(read, (vec!["old 3".to_owned()], true));
        assert_eq!(rig.follow.unread_for_sure(), 0);
    }

    #[test]
    fn what_may_be_of_the_new_content_is_not_taken_for_the_old() {
        /// Its mark is read of the old content, and the line behind it of the new one.
        struct Torn(Changing, Vec<u8>);
        impl Content for Torn {
            fn stat(&self) -> io::Result<Stat> {
                self.0.stat()
            }
            fn read(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
                let count = self.0.read(buffer, offset)?;
                if self.1.len() > buffer.len() || offset > 0 || buffer.len() <= HEAD_BYTES {
                    return Ok(count);
                }
                buffer[..self.1.len()].copy_from_slice(&self.1);
                Ok(self.1.len())
            }
        }
        let mut rig = after_old();
        let new = b"new 1\nnew 2\nnew 3\n";
        let read = [OLD, b"new 3\n"].concat();
        let torn = Torn(Changing::new(&[(1, GROWN), (99, new)]), read);
        let (follow, window) = (&mut rig.follow, &mut rig.window);
        let turned = turn(follow, &torn, &rig.framing, window, Tail::MayGrow).unwrap();
        assert!(matches!(turned, Turned::Rewritten), "{turned:?}");
        // What the old content had at that moment and nobody has read.
        assert_eq!(rig.follow.unread_for_sure(), 6);
    }

    #[test]
    fn the_size_of_the_new_content_is_not_counted_as_a_loss_of_the_old() {
        let mut rig = after_old();
        let anew = Changing::new(&[(99, &[b'n'; 500])]);
        // As a look around does, before the file gets its turn.
        rig.follow.look(&anew.stat().unwrap(), Instant::now());
        assert_eq!(rig.turn(&anew), (Vec::new(), true));
        assert_eq!(rig.follow.unread_for_sure(), 0);
    }
}
