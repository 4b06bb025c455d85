//! The side of the spool that inputs see: append, and wait for the receipt.
//!
//! Owns the limits on what waits for the committer. Writes nothing itself.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::block::{BLOCK_EVENTS, BLOCK_TARGET, checkpoint_bytes};
use super::checkpoints::{Admission, Checkpoints};
use super::delivery::Delivery;
use super::error::AppendError;
use super::mailbox::{Append, Mailbox, Note};
use super::past::Before;
use super::quota::FullReason;
use super::shared::{Shared, lock};
use crate::config::WhenFull;
use crate::event::{Checkpoint, EventBuf, FileRun, Source, UnixMillis};
use crate::proof::Receipt;

/// Most bytes of events in one [`FileRead`] of several events: what one block takes.
pub const FILE_READ_BYTES: usize = BLOCK_TARGET;
/// Most events in one [`FileRead`].
pub const FILE_READ_EVENTS: usize = BLOCK_EVENTS;

/// What the caller of an append wants to hear of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Want {
    /// The receipt only.
    Durable,
    /// The receipt, and when Kafka has all events.
    Delivered,
}

/// Events that were read from a file, and what becomes true with them.
#[derive(Debug)]
pub struct FileRead {
    /// At most [`FILE_READ_BYTES`] and [`FILE_READ_EVENTS`], or a single larger event.
    pub events: EventBuf,
    /// The input and its file.
    pub source: Arc<Source>,
    /// When they were read.
    pub received: UnixMillis,
    /// Where they lie in the file, in order; events beyond the runs have no place.
    pub runs: Vec<FileRun>,
    /// How far the input has come with them. After any crash either all events and the
    /// checkpoint are in the spool, or none of them.
    pub checkpoint: Checkpoint,
}

/// An append that the committer has not answered yet.
#[derive(Debug)]
pub struct Pending {
    receipt: oneshot::Receiver<Receipt>,
    delivery: Option<oneshot::Receiver<Delivery>>,
}

impl Pending {
    /// Waits until the events are durable. To be awaited once.
    ///
    /// # Errors
    /// [`AppendError::Closed`] when the spool stopped first: the events may be lost.
    pub async fn receipt(&mut self) -> Result<Receipt, AppendError> {
        (&mut self.receipt).await.map_err(|_| AppendError::Closed)
    }

    /// Waits until every event has left the spool. Only after [`Want::Delivered`].
    ///
    /// # Errors
    /// [`AppendError::Closed`] when the spool stopped first, or it was not asked for.
    pub async fn delivery(self) -> Result<Delivery, AppendError> {
        self.delivery
            .ok_or(AppendError::Closed)?
            .await
            .map_err(|_| AppendError::Closed)
    }
}

/// Checkpoints that the committer has not answered yet.
#[derive(Debug)]
pub struct Noted {
    done: oneshot::Receiver<Result<(), AppendError>>,
}

impl Noted {
    /// Waits until the checkpoints are durable.
    ///
    /// # Errors
    /// [`AppendError::NotWritten`] when the disk refused: they may come to be durable with
    /// what follows, and are worth being noted again. [`AppendError::Closed`] when the spool
    /// stopped first.
    pub async fn durable(self) -> Result<(), AppendError> {
        self.done.await.map_err(|_| AppendError::Closed)?
    }
}

/// What [`Appender::append`] and [`Appender::append_file`] have in common.
struct Outgoing {
    events: EventBuf,
    source: Arc<Source>,
    received: UnixMillis,
    runs: Vec<FileRun>,
    checkpoint: Option<Checkpoint>,
}

/// Hands events to the spool. One for all inputs, cheap to clone.
#[derive(Debug, Clone)]
pub struct Appender {
    shared: Arc<Shared>,
    mailbox: Arc<Mailbox>,
    memory: Arc<Semaphore>,
    admission: Arc<Mutex<Admission>>,
}

impl Appender {
    pub(super) fn new(shared: Arc<Shared>, mailbox: Arc<Mailbox>, found: &Checkpoints) -> Self {
        let memory = Arc::new(Semaphore::new(shared.config.intake_memory as usize));
        Self {
            shared,
            mailbox,
            memory,
            admission: Arc::new(Mutex::new(Admission::of(found))),
        }
    }

    /// Hands over `events`, in order with all earlier calls of the same caller. Waits for
    /// intake memory and, with `when_full = "block"`, for room in the spool.
    ///
    /// # Errors
    /// [`AppendError::TooLong`], [`AppendError::Full`] with `when_full = "reject"`, and
    /// [`AppendError::Closed`] once the spool is stopping.
    pub async fn append(
        &self,
        events: EventBuf,
        source: Arc<Source>,
        received: UnixMillis,
        want: Want,
    ) -> Result<Pending, AppendError> {
        self.check(&events)?;
        match (self.shared.config.when_full, self.is_full()) {
            (_, None) => {}
            (WhenFull::Reject, Some(reason)) => return Err(AppendError::Full(reason)),
            (WhenFull::Block, Some(_)) => self.wait_for_room().await?,
        }
        let letter = Outgoing {
            events,
            source,
            received,
            runs: Vec::new(),
            checkpoint: None,
        };
        self.hand_over(letter, want).await
    }

    /// Hands over what was read from a file: the events and their checkpoint become durable
    /// together. In order with all earlier calls of the same caller, [`Appender::note`]
    /// included. A file can wait, so this waits for room whatever `when_full` says.
    ///
    /// # Errors
    /// [`AppendError::TooLong`]; [`AppendError::TooMuchAtOnce`], because what has a checkpoint
    /// is never split; [`AppendError::CheckpointTooLong`] and
    /// [`AppendError::TooManyCheckpoints`]; [`AppendError::Closed`] once the spool is stopping.
    pub async fn append_file(&self, read: FileRead, want: Want) -> Result<Pending, AppendError> {
        self.check(&read.events)?;
        let (events, bytes) = (read.events.len(), read.events.payload_bytes());
        if events > 1 && (bytes > FILE_READ_BYTES || events > FILE_READ_EVENTS) {
            return Err(AppendError::TooMuchAtOnce {
                events: events as u64,
                bytes: bytes as u64,
            });
        }
        self.wait_for_room().await?;
        lock(&self.admission).admit(&read.checkpoint)?;
        let letter = Outgoing {
            events: read.events,
            source: read.source,
            received: read.received,
            runs: read.runs,
            checkpoint: Some(read.checkpoint),
        };
        self.hand_over(letter, want).await
    }

    /// Hands over checkpoints that come without events: a file seen for the first time,
    /// moved by hand, done with, forgotten. In order with all other calls of the same caller.
    /// Each call costs a write of all checkpoints and two syncs, so gather what belongs
    /// together. Works while the spool is full.
    ///
    /// # Errors
    /// As the checkpoint of [`Appender::append_file`]; those before the refused one are then
    /// let in all the same, and none of them is handed over.
    pub async fn note(&self, checkpoints: Vec<Checkpoint>) -> Result<Noted, AppendError> {
        self.note_with(checkpoints, false).await
    }

    /// As [`Appender::note`]; says besides that each thing that is read has a checkpoint by
    /// now, so that the next start need not tell of [`Checkpoints::loss`] again.
    ///
    /// # Errors
    /// As [`Appender::note`].
    pub async fn settle(&self, checkpoints: Vec<Checkpoint>) -> Result<Noted, AppendError> {
        self.note_with(checkpoints, true).await
    }

    async fn note_with(
        &self,
        checkpoints: Vec<Checkpoint>,
        settles: bool,
    ) -> Result<Noted, AppendError> {
        let mut bytes = 0;
        {
            let mut admission = lock(&self.admission);
            for checkpoint in &checkpoints {
                admission.admit(checkpoint)?;
                bytes += checkpoint_bytes(checkpoint.value.as_deref().map_or(0, <[u8]>::len));
            }
        }
        let memory = self.take_memory(bytes).await?;
        let (done, done_end) = oneshot::channel();
        self.mailbox.send_note(Note {
            checkpoints,
            settles,
            done,
            _memory: memory,
        })?;
        Ok(Noted { done: done_end })
    }

    /// Why the spool takes nothing now, if so. Cheap.
    pub fn is_full(&self) -> Option<FullReason> {
        *self.shared.full.borrow()
    }

    /// Waits until the spool takes events, whatever `when_full` says.
    ///
    /// # Errors
    /// [`AppendError::Closed`] once the spool is gone.
    pub async fn wait_for_room(&self) -> Result<(), AppendError> {
        if self.is_full().is_none() {
            return Ok(());
        }
        let mut full = self.shared.full.subscribe();
        full.wait_for(Option::is_none)
            .await
            .map(drop)
            .map_err(|_| AppendError::Closed)
    }

    /// Events that left the spool and are not with the broker (dead letters, dropped, lost),
    /// of all since it was made. Never more than the next start finds, whatever comes.
    pub fn given_up(&self) -> u64 {
        self.shared.given_up.load(Ordering::Relaxed)
    }

    /// What became of the events that were in the spool when it was opened.
    pub fn before(&self) -> Before {
        let table = lock(&self.shared.table);
        let past = &self.shared.past;
        past.look(table.watermark(), table.counts().given_up())
    }

    async fn hand_over(&self, letter: Outgoing, want: Want) -> Result<Pending, AppendError> {
        let runs = letter.runs.len() * size_of::<FileRun>();
        let value = letter.checkpoint.as_ref().and_then(|c| c.value.as_deref());
        let attached = runs + value.map_or(0, <[u8]>::len);
        let memory = self
            .take_memory(letter.events.memory_bytes() + attached)
            .await?;
        let (receipt, receipt_end) = oneshot::channel();
        let (delivery, delivery_end) = match want {
            Want::Durable => (None, None),
            Want::Delivered => {
                let (sender, receiver) = oneshot::channel();
                (Some(sender), Some(receiver))
            }
        };
        self.mailbox.send(Append {
            events: letter.events,
            source: letter.source,
            received: letter.received,
            runs: letter.runs,
            checkpoint: letter.checkpoint,
            receipt,
            delivery,
            _memory: memory,
        })?;
        Ok(Pending {
            receipt: receipt_end,
            delivery: delivery_end,
        })
    }

    /// Takes `bytes` from the intake's memory. One event may be larger than all of it; it then
    /// takes all of it.
    async fn take_memory(&self, bytes: usize) -> Result<Option<OwnedSemaphorePermit>, AppendError> {
        let limit = self.shared.config.intake_memory;
        let bytes = u32::try_from(bytes).unwrap_or(limit).min(limit);
        let permit = Arc::clone(&self.memory).acquire_many_owned(bytes).await;
        permit.map(Some).map_err(|_| AppendError::Closed)
    }

    fn check(&self, events: &EventBuf) -> Result<(), AppendError> {
        if events.is_empty() {
            return Err(AppendError::Empty);
        }
        let limit = self.shared.config.max_event_bytes;
        if events.payload_bytes() <= limit as usize {
            return Ok(());
        }
        let longest = events.iter().map(<[u8]>::len).max().unwrap_or(0);
        let bytes = u32::try_from(longest).unwrap_or(u32::MAX);
        if bytes > limit {
            Err(AppendError::TooLong { bytes, limit })
        } else {
            Ok(())
        }
    }

    pub(super) fn close(&self) {
        self.memory.close();
    }
}
