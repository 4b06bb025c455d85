//! The committer's mailbox: what inputs hand over, in order, and what the keeper asks for.
//!
//! Owns the queue and nothing of what becomes of it. Bounded by the intake's memory, which
//! whoever sends has taken before.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::block::Read;
use super::delivery::Delivery;
use super::error::AppendError;
use super::shared::lock;
use crate::event::{Checkpoint, EventBuf, FileRun, Source, UnixMillis};
use crate::proof::Receipt;

/// Events on their way to the committer.
#[derive(Debug)]
pub(super) struct Append {
    pub(super) events: EventBuf,
    pub(super) source: Arc<Source>,
    pub(super) received: UnixMillis,
    /// Where the events lie in their file, if they come from one.
    pub(super) runs: Vec<FileRun>,
    /// Becomes durable with the events, in one block.
    pub(super) checkpoint: Option<Checkpoint>,
    pub(super) receipt: oneshot::Sender<Receipt>,
    pub(super) delivery: Option<oneshot::Sender<Delivery>>,
    /// Memory taken from the intake's limit, given back when this goes.
    pub(super) _memory: Option<OwnedSemaphorePermit>,
}

impl Append {
    /// The events, as the builder of a block takes them.
    pub(super) fn read(&self) -> Read<'_> {
        Read {
            events: &self.events,
            source: &self.source,
            received: self.received,
            runs: &self.runs,
        }
    }
}

/// Checkpoints without events, on their way to the committer.
#[derive(Debug)]
pub(super) struct Note {
    pub(super) checkpoints: Vec<Checkpoint>,
    /// Whether an earlier loss of checkpoints is dealt with hereby.
    pub(super) settles: bool,
    pub(super) done: oneshot::Sender<Result<(), AppendError>>,
    /// As of [`Append`].
    pub(super) _memory: Option<OwnedSemaphorePermit>,
}

#[derive(Debug)]
enum Letter {
    Append(Append),
    Note(Note),
}

/// The mailbox.
#[derive(Debug, Default)]
pub(super) struct Mailbox {
    queue: Mutex<Queue>,
    filled: Condvar,
}

#[derive(Debug, Default)]
struct Queue {
    letters: VecDeque<Letter>,
    rotate: bool,
    reopen: bool,
    closed: bool,
    /// After this moment the committer gives up what it cannot write.
    deadline: Option<Instant>,
}

/// What the committer finds in its mailbox.
#[derive(Debug)]
pub(super) enum Mail {
    Appends(Vec<Append>),
    Notes(Vec<Note>),
    /// The newest generation is drained and large: begin a new one.
    Rotate,
    /// The newest store refuses reads: open it again.
    Reopen,
    Closed,
}

impl Queue {
    /// The appends at the front, up to about `limit` bytes.
    fn take_appends(&mut self, limit: usize) -> Vec<Append> {
        let mut bytes = 0;
        let mut taken = Vec::new();
        while bytes < limit {
            match self.letters.pop_front() {
                Some(Letter::Append(append)) => {
                    bytes += append.events.memory_bytes();
                    taken.push(append);
                }
                Some(other) => {
                    self.letters.push_front(other);
                    break;
                }
                None => break,
            }
        }
        taken
    }

    fn take_notes(&mut self) -> Vec<Note> {
        let mut taken = Vec::new();
        loop {
            match self.letters.pop_front() {
                Some(Letter::Note(note)) => taken.push(note),
                Some(other) => {
                    self.letters.push_front(other);
                    break;
                }
                None => break,
            }
        }
        taken
    }
}

impl Mailbox {
    /// Hands over events.
    pub(super) fn send(&self, append: Append) -> Result<(), AppendError> {
        self.put(Letter::Append(append))
    }

    /// Hands over checkpoints.
    pub(super) fn send_note(&self, note: Note) -> Result<(), AppendError> {
        self.put(Letter::Note(note))
    }

    fn put(&self, letter: Letter) -> Result<(), AppendError> {
        let mut queue = lock(&self.queue);
        if queue.closed {
            return Err(AppendError::Closed);
        }
        queue.letters.push_back(letter);
        drop(queue);
        self.filled.notify_one();
        Ok(())
    }

    /// Asks for a new generation.
    pub(super) fn rotate(&self) {
        lock(&self.queue).rotate = true;
        self.filled.notify_one();
    }

    /// Asks for the newest store to be opened again.
    pub(super) fn reopen(&self) {
        lock(&self.queue).reopen = true;
        self.filled.notify_one();
    }

    /// Takes nothing more; what is inside is still committed until `deadline`.
    pub(super) fn close(&self, deadline: Instant) {
        let mut queue = lock(&self.queue);
        queue.closed = true;
        queue.deadline = Some(deadline);
        drop(queue);
        self.filled.notify_all();
    }

    /// Waits for mail; takes appends up to about `limit` bytes, or notes, in the order in
    /// which they were sent.
    pub(super) fn receive(&self, limit: usize) -> Mail {
        let mut queue = lock(&self.queue);
        loop {
            if std::mem::take(&mut queue.reopen) {
                return Mail::Reopen;
            }
            match queue.letters.front() {
                Some(Letter::Append(_)) => return Mail::Appends(queue.take_appends(limit)),
                Some(Letter::Note(_)) => return Mail::Notes(queue.take_notes()),
                None => {}
            }
            if std::mem::take(&mut queue.rotate) {
                return Mail::Rotate;
            }
            if queue.closed {
                return Mail::Closed;
            }
            queue = self
                .filled
                .wait(queue)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Waits for `pause`; false when the deadline of a stop has passed.
    pub(super) fn pause(&self, pause: Duration) -> bool {
        let end = Instant::now() + pause;
        let mut queue = lock(&self.queue);
        loop {
            let now = Instant::now();
            if queue.deadline.is_some_and(|deadline| now >= deadline) {
                return false;
            }
            let until = queue.deadline.map_or(end, |deadline| deadline.min(end));
            if now >= end {
                return true;
            }
            let waited = self.filled.wait_timeout(queue, until - now);
            queue = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}
