//! What was read, on its way to the spool, in order.
//!
//! A task of its own waits for room in the spool, so that the files are looked after
//! meanwhile: one that is renamed or deleted while the spool is full has to be held. Bounded
//! by [`OUTBOX_BYTES`]; does not read files.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

use tokio::sync::{Notify, mpsc, oneshot};
use tracing::error;

use crate::event::Checkpoint;
use crate::spool::{AppendError, Appender, Before, FileRead, Noted, Pending, Want};

/// No file is read while this many bytes wait; one turn may come on top.
pub(super) const OUTBOX_BYTES: usize = 512 << 10;

#[derive(Debug)]
enum Item {
    Read(FileRead, Want),
    Notes {
        checkpoints: Vec<Checkpoint>,
        /// Each file that is read has a checkpoint by now.
        settles: bool,
    },
    /// To be answered when everything before it is on disk.
    Flush(oneshot::Sender<()>),
}

#[derive(Debug, Default)]
struct State {
    waiting_bytes: AtomicUsize,
    taken: Notify,
    is_closed: AtomicBool,
}

/// What became of one append that was to be delivered.
#[derive(Debug, Clone, Copy)]
pub(super) struct Delivered {
    /// Key of the file.
    pub(super) key: u64,
    /// Whether the broker has all its events.
    pub(super) is_whole: bool,
}

/// The way to the spool.
#[derive(Debug)]
pub(super) struct Outbox {
    items: mpsc::UnboundedSender<Item>,
    state: Arc<State>,
    appender: Appender,
}

impl Outbox {
    /// Starts the task that hands over. The deliveries that were asked for come in the other
    /// half of what is returned.
    pub(super) fn start(appender: Appender) -> (Self, mpsc::UnboundedReceiver<Delivered>) {
        let (items, waiting) = mpsc::unbounded_channel();
        let state = Arc::new(State::default());
        let (delivered, deliveries) = mpsc::unbounded_channel();
        let task = hand_over(appender.clone(), waiting, state.clone(), delivered);
        tokio::spawn(task);
        let outbox = Self {
            items,
            state,
            appender,
        };
        (outbox, deliveries)
    }

    /// Events of all inputs that the spool has given up in its life.
    pub(super) fn given_up(&self) -> u64 {
        self.appender.given_up()
    }

    /// What became of the events that the start found in the spool.
    pub(super) fn before(&self) -> Before {
        self.appender.before()
    }

    /// Whether more may be read.
    pub(super) fn has_room(&self) -> bool {
        self.state.waiting_bytes.load(Relaxed) < OUTBOX_BYTES
    }

    /// Waits until something was taken, or the spool is closed.
    pub(super) async fn taken(&self) {
        self.state.taken.notified().await;
    }

    /// Whether the spool takes nothing any more.
    pub(super) fn is_closed(&self) -> bool {
        self.state.is_closed.load(Relaxed)
    }

    /// Hands over events.
    pub(super) fn read(&self, read: FileRead, want: Want) {
        let bytes = read.events.memory_bytes();
        self.state.waiting_bytes.fetch_add(bytes, Relaxed);
        self.send(Item::Read(read, want));
    }

    /// Hands over checkpoints without events; `settles` when with them each file that is read
    /// has one.
    pub(super) fn note(&self, checkpoints: Vec<Checkpoint>, settles: bool) {
        if settles || !checkpoints.is_empty() {
            self.send(Item::Notes {
                checkpoints,
                settles,
            });
        }
    }

    /// Waits until everything handed over so far is on disk. False when the spool closed
    /// first.
    pub(super) async fn flush(&self) -> bool {
        let (done, answer) = oneshot::channel();
        self.send(Item::Flush(done));
        answer.await.is_ok()
    }

    fn send(&self, item: Item) {
        // The task ends only when the spool has closed, and then nothing more is kept.
        let _ = self.items.send(item);
    }
}

/// What was handed to the spool last. Receipts come in order: these speak for all before.
#[derive(Default)]
struct Last {
    read: Option<Pending>,
    note: Option<Noted>,
}

async fn hand_over(
    appender: Appender,
    mut waiting: mpsc::UnboundedReceiver<Item>,
    state: Arc<State>,
    delivered: mpsc::UnboundedSender<Delivered>,
) {
    let mut last = Last::default();
    while let Some(item) = waiting.recv().await {
        let done = match item {
            Item::Read(read, want) => {
                let (key, bytes) = (read.checkpoint.key, read.events.memory_bytes());
                let pending = appender.append_file(read, want).await;
                state.waiting_bytes.fetch_sub(bytes, Relaxed);
                if let Err(error) = &pending
                    && !matches!(error, AppendError::Closed)
                {
                    // What comes after it would carry the checkpoint past these events.
                    error!(%error, "the spool refused what was read of a file; no file is \
                        read any further until a restart");
                    break;
                }
                pending.map(|pending| match want {
                    Want::Durable => last.read = Some(pending),
                    Want::Delivered => {
                        tokio::spawn(await_delivery(key, pending, delivered.clone()));
                    }
                })
            }
            Item::Notes {
                checkpoints,
                settles,
            } => note(&appender, checkpoints, settles)
                .await
                .map(|noted| last.note = Some(noted)),
            Item::Flush(answer) => settle(&mut last).await.map(|()| {
                // Whoever asked may have gone.
                let _ = answer.send(());
            }),
        };
        match done {
            Ok(()) => {}
            Err(AppendError::Closed) => break,
            Err(error) => error!(%error, "checkpoints of files are not on disk yet"),
        }
        state.taken.notify_one();
    }
    state.is_closed.store(true, Relaxed);
    state.taken.notify_one();
}

/// Tells when an append was delivered. A delivery implies the receipt.
async fn await_delivery(key: u64, pending: Pending, delivered: mpsc::UnboundedSender<Delivered>) {
    let Ok(delivery) = pending.delivery().await else {
        return;
    };
    let is_whole = delivery.refused.is_empty();
    // Nobody listens any more after a stop.
    let _ = delivered.send(Delivered { key, is_whole });
}

async fn note(
    appender: &Appender,
    checkpoints: Vec<Checkpoint>,
    settles: bool,
) -> Result<Noted, AppendError> {
    if settles {
        appender.settle(checkpoints).await
    } else {
        appender.note(checkpoints).await
    }
}

async fn settle(last: &mut Last) -> Result<(), AppendError> {
    if let Some(mut pending) = last.read.take() {
        pending.receipt().await?;
    }
    match last.note.take() {
        Some(noted) => noted.durable().await,
        None => Ok(()),
    }
}
