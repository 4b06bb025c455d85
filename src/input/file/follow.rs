//! What is known of one followed file. A few hundred bytes, whatever its size.
//!
//! Holds state; the decisions are made by `turn` (one read) and `scan` (one look around).

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::checkpoint::{Known, Place};
use super::framing::{Progress, Tail};
use super::identity::{FileId, Print, Stat};
use crate::config::FileConfig;
use crate::event::{Checkpoint, Source};

/// A file that its patterns no longer find, or that is deleted, gives its unfinished last
/// line when nobody has written to it for this long.
pub(super) const LAST_LINE_QUIET: Duration = Duration::from_secs(30);

/// A file that is read once is complete when nobody has written to it for this long.
pub(super) const COMPLETE_QUIET: Duration = Duration::from_secs(5);

/// Why a file is kept of which nobody knows any more what became of its events.
pub(super) const NOT_SURE: &str = "what was read before a restart may not be delivered";

/// Where a file is, as the last look found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Presence {
    /// At its path, which the patterns mean.
    Listed,
    /// Under a name that the patterns do not mean; followed to its end all the same.
    Moved,
    /// It has no name left and is held open.
    Deleted,
    /// Nowhere to be found since then, and not open.
    Missing(Instant),
}

/// One followed content of a file.
#[derive(Debug)]
pub(super) struct Follow {
    /// Names it in checkpoints: random, the same through every renaming.
    pub(super) key: u64,
    /// Index of its input.
    pub(super) input: usize,
    /// The path under which the patterns found it.
    pub(super) path: PathBuf,
    /// Where it is now; another than `path` once it was renamed.
    pub(super) at: PathBuf,
    pub(super) id: FileId,
    pub(super) head: Print,
    pub(super) mark: Print,
    pub(super) progress: Progress,
    pub(super) contents: u32,
    pub(super) presence: Presence,
    pub(super) handle: Option<File>,
    pub(super) source: Arc<Source>,
    /// Size at the last look.
    pub(super) size: u64,
    /// Bytes that this content is known to have had: when it was last compared with its prints.
    pub(super) sure_size: u64,
    /// Time stamp of the content at the last look.
    pub(super) modified: (i64, u32),
    /// Time stamp at which the content was last compared with its prints.
    pub(super) compared: Option<(i64, u32)>,
    /// When it last grew.
    pub(super) grown: Instant,
    /// Compressed by gzip, as its last opening showed.
    pub(super) is_packed: bool,
    /// It waits for its turn.
    pub(super) is_queued: bool,
    /// Read to its end and let go.
    pub(super) finished: bool,
    /// The broker has everything before the checkpoint.
    pub(super) delivered: bool,
    /// Appends whose delivery is awaited.
    pub(super) undelivered: u32,
    /// Events that the spool had given up when `delivered` was last true; `None` when nobody
    /// will ask.
    pub(super) given_up: Option<u64>,
    /// Events of an earlier run may still be in the spool.
    pub(super) in_doubt: bool,
    /// Why it must not be deleted, whatever is delivered.
    pub(super) kept: Option<&'static str>,
    /// Why it could not be read the last time.
    pub(super) error: Option<String>,
}

impl Follow {
    /// A file seen for the first time.
    pub(super) fn new(input: usize, path: &Path, stat: &Stat, source: Arc<Source>) -> Self {
        Self {
            key: fastrand::u64(..),
            input,
            path: path.to_owned(),
            at: path.to_owned(),
            id: stat.id,
            head: Print::default(),
            mark: Print::default(),
            progress: Progress::new(0, false),
            contents: 0,
            presence: Presence::Listed,
            handle: None,
            source,
            size: stat.size,
            sure_size: 0,
            modified: stat.modified,
            compared: None,
            grown: Instant::now(),
            is_packed: false,
            is_queued: false,
            finished: false,
            delivered: true,
            undelivered: 0,
            given_up: None,
            in_doubt: false,
            kept: None,
            error: None,
        }
    }

    /// A file as a checkpoint remembers it; where it is, the next look shows.
    pub(super) fn remembered(key: u64, input: usize, place: Place, source: Arc<Source>) -> Self {
        let now = Instant::now();
        let is_sure = place.delivered || place.consumed == 0;
        Self {
            key,
            input,
            undelivered: 0,
            given_up: place.given_up,
            in_doubt: !is_sure && place.given_up.is_some(),
            kept: (!is_sure && place.given_up.is_none()).then_some(NOT_SURE),
            at: place.path.clone(),
            path: place.path,
            id: place.id,
            head: place.head,
            mark: place.mark,
            progress: Progress::new(place.consumed, place.skipping),
            contents: place.contents,
            presence: Presence::Missing(now),
            handle: None,
            source,
            size: place.consumed,
            sure_size: place.consumed,
            modified: (0, 0),
            compared: None,
            grown: now,
            is_packed: false,
            is_queued: false,
            finished: place.finished,
            delivered: place.delivered,
            error: None,
        }
    }

    /// What the spool is to remember now.
    pub(super) fn checkpoint(&self) -> Checkpoint {
        self.checkpoint_at(
            self.progress.consumed(),
            self.progress.skipping(),
            self.mark,
        )
    }

    /// What the spool is to remember together with the events before `consumed`.
    pub(super) fn checkpoint_at(&self, consumed: u64, skipping: bool, mark: Print) -> Checkpoint {
        let place = Place {
            input: self.source.input.to_string(),
            path: self.path.clone(),
            id: self.id,
            head: self.head,
            mark,
            consumed,
            skipping,
            contents: self.contents,
            finished: self.finished,
            delivered: self.delivered,
            given_up: self.given_up,
        };
        Checkpoint {
            key: self.key,
            value: Some(Known::File(place).encode().into()),
        }
    }

    /// Notes what a look showed. True when there is something to read, or to compare.
    pub(super) fn look(&mut self, stat: &Stat, now: Instant) -> bool {
        if stat.size != self.size || stat.modified != self.modified {
            self.grown = now;
        }
        self.size = stat.size;
        self.modified = stat.modified;
        // Whether a compressed file was followed before is asked until it can be told.
        let is_undecided = self.is_packed && self.head == Print::default();
        !self.finished && (self.lag() > 0 || self.compared != Some(stat.modified) || is_undecided)
    }

    /// Bytes that were there at the last look and are not yet searched.
    pub(super) fn lag(&self) -> u64 {
        if self.is_packed {
            return 0;
        }
        self.size.saturating_sub(self.progress.searched_to())
    }

    /// Bytes that were there at the last look and are not in the spool; of a compressed file
    /// all, until all are.
    pub(super) fn unread(&self) -> u64 {
        if self.is_packed {
            return if self.finished { 0 } else { self.size };
        }
        self.size.saturating_sub(self.progress.consumed())
    }

    /// Notes that the size at the last look was that of the content that is followed.
    pub(super) fn is_sure(&mut self) {
        self.sure_size = self.sure_size.max(self.size);
    }

    /// Bytes of this content that are not in the spool, as far as that is certain. The size at
    /// the last look may be that of another content already.
    pub(super) fn unread_for_sure(&self) -> u64 {
        self.sure_size.saturating_sub(self.progress.consumed())
    }

    /// What is known of the end of the file.
    pub(super) fn tail(&self, config: &FileConfig, now: Instant) -> Tail {
        let quiet = now.saturating_duration_since(self.grown);
        let is_left = self.presence != Presence::Listed && quiet >= LAST_LINE_QUIET;
        let is_complete = config.read_once && quiet >= COMPLETE_QUIET;
        if is_left || is_complete {
            return Tail::Ended;
        }
        let timeout = config.multiline.as_ref().map(|multiline| multiline.timeout);
        let is_over = timeout.is_some_and(|timeout| quiet >= timeout);
        if self.progress.is_open() && is_over {
            return Tail::TimedOut;
        }
        Tail::MayGrow
    }

    /// The same content in another file: the copy that was made before this one was truncated.
    /// What is on its way to the broker is counted for it.
    pub(super) fn moved_to_copy(&self, at: &Path, stat: &Stat) -> Self {
        let mut copy = Self::new(self.input, at, stat, self.source.clone());
        copy.key = self.key;
        copy.head = self.head;
        copy.mark = self.mark;
        copy.progress = self.progress;
        copy.contents = self.contents;
        copy.presence = Presence::Moved;
        copy.delivered = self.delivered;
        copy.undelivered = self.undelivered;
        copy.given_up = self.given_up;
        copy.in_doubt = self.in_doubt;
        copy.kept = self.kept;
        copy
    }

    /// Begins anew with other content in the same file, under a key of its own.
    pub(super) fn rewritten(&mut self) {
        self.key = fastrand::u64(..);
        self.head = Print::default();
        self.mark = Print::default();
        self.progress = Progress::new(0, false);
        self.contents = self.contents.wrapping_add(1);
        self.sure_size = 0;
        self.compared = None;
        self.delivered = true;
        self.undelivered = 0;
        self.given_up = None;
        self.in_doubt = false;
        self.kept = None;
        self.finished = false;
    }
}
