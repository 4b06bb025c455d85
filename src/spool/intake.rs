//! The side of the spool that inputs see: append, and wait for the receipt.
//!
//! Owns the mailbox of the committer and the limit on its memory. Writes nothing itself.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::delivery::Delivery;
use super::error::AppendError;
use super::quota::FullReason;
use super::shared::{Shared, lock};
use crate::config::WhenFull;
use crate::event::{EventBuf, Source, UnixMillis};
use crate::proof::Receipt;

/// What the caller of an append wants to hear of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Want {
    /// The receipt only.
    Durable,
    /// The receipt, and when Kafka has all events.
    Delivered,
}

/// Events on their way to the committer.
#[derive(Debug)]
pub(super) struct Append {
    pub(super) events: EventBuf,
    pub(super) source: Arc<Source>,
    pub(super) received: UnixMillis,
    pub(super) receipt: oneshot::Sender<Receipt>,
    pub(super) delivery: Option<oneshot::Sender<Delivery>>,
    /// Memory taken from the intake's limit, given back when this goes.
    pub(super) _memory: Option<OwnedSemaphorePermit>,
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

/// The committer's mailbox.
#[derive(Debug, Default)]
pub(super) struct Mailbox {
    queue: Mutex<Queue>,
    filled: Condvar,
}

#[derive(Debug, Default)]
struct Queue {
    appends: VecDeque<Append>,
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
    /// The newest generation is drained and large: begin a new one.
    Rotate,
    /// The newest store refuses reads: open it again.
    Reopen,
    Closed,
}

impl Mailbox {
    fn send(&self, append: Append) -> Result<(), AppendError> {
        let mut queue = lock(&self.queue);
        if queue.closed {
            return Err(AppendError::Closed);
        }
        queue.appends.push_back(append);
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

    /// Takes no more appends; those inside are still committed until `deadline`.
    pub(super) fn close(&self, deadline: Instant) {
        let mut queue = lock(&self.queue);
        queue.closed = true;
        queue.deadline = Some(deadline);
        drop(queue);
        self.filled.notify_all();
    }

    /// Waits for mail; takes appends up to about `limit` bytes.
    pub(super) fn receive(&self, limit: usize) -> Mail {
        let mut queue = lock(&self.queue);
        loop {
            if std::mem::take(&mut queue.reopen) {
                return Mail::Reopen;
            }
            if !queue.appends.is_empty() {
                let mut bytes = 0;
                let fits = queue.appends.iter().take_while(|append| {
                    let before = bytes;
                    bytes += append.events.memory_bytes();
                    before < limit
                });
                let count = fits.count();
                return Mail::Appends(queue.appends.drain(..count).collect());
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

/// Hands events to the spool. One for all inputs, cheap to clone.
#[derive(Debug, Clone)]
pub struct Appender {
    shared: Arc<Shared>,
    mailbox: Arc<Mailbox>,
    memory: Arc<Semaphore>,
}

impl Appender {
    pub(super) fn new(shared: Arc<Shared>, mailbox: Arc<Mailbox>) -> Self {
        let memory = Arc::new(Semaphore::new(shared.config.intake_memory as usize));
        Self {
            shared,
            mailbox,
            memory,
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
        if events.is_empty() {
            return Err(AppendError::Empty);
        }
        self.check_lengths(&events)?;
        self.wait_for_room().await?;
        // One event may be larger than all of the intake's memory; it then takes all of it.
        let limit = self.shared.config.intake_memory;
        let bytes = u32::try_from(events.memory_bytes())
            .unwrap_or(limit)
            .min(limit);
        let permit = Arc::clone(&self.memory).acquire_many_owned(bytes).await;
        let memory = Some(permit.map_err(|_| AppendError::Closed)?);
        let (receipt, receipt_end) = oneshot::channel();
        let (delivery, delivery_end) = match want {
            Want::Durable => (None, None),
            Want::Delivered => {
                let (sender, receiver) = oneshot::channel();
                (Some(sender), Some(receiver))
            }
        };
        let append = Append {
            events,
            source,
            received,
            receipt,
            delivery,
            _memory: memory,
        };
        self.mailbox.send(append)?;
        Ok(Pending {
            receipt: receipt_end,
            delivery: delivery_end,
        })
    }

    /// Why the spool takes nothing now, if so. Cheap.
    pub fn is_full(&self) -> Option<FullReason> {
        *self.shared.full.borrow()
    }

    fn check_lengths(&self, events: &EventBuf) -> Result<(), AppendError> {
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

    async fn wait_for_room(&self) -> Result<(), AppendError> {
        let Some(reason) = self.is_full() else {
            return Ok(());
        };
        if self.shared.config.when_full == WhenFull::Reject {
            return Err(AppendError::Full(reason));
        }
        let mut full = self.shared.full.subscribe();
        full.wait_for(Option::is_none)
            .await
            .map(drop)
            .map_err(|_| AppendError::Closed)
    }

    pub(super) fn close(&self) {
        self.memory.close();
    }
}
