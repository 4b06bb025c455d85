//! The drain: reads the spool, routes, builds batches, settles what the broker answered.
//!
//! One named thread owns everything here. It reads a block, applies the routes to each
//! event, and adds the record to the batch of its partition. A batch closes by bytes, count
//! or linger and goes to the producer; its events leave the spool when the producer hands
//! back a proof.
//!
//! A partition that cannot take events must not hold up the others. When it has been full
//! for [`STALL_AFTER`] while another can go on, its events are passed over and marked in
//! `unplaced`; the main pass goes on without it, and a second pass reads them again, in
//! order, once it has room. So holes stay in the spool as whole blocks until the partition
//! is back: the space they hold is bounded by `spool.max_bytes`, the memory by one bit an
//! event. They are marked and not copied elsewhere, because that writes nothing and leaves no
//! second truth to keep in step.
//!
//! With `match = "all"` an event has a copy for each route that takes it; `copies` knows which
//! of them are settled, and the spool hears of the last one. That knowledge is in memory
//! only: a restart sends every copy of an open event again.
//!
//! Does not know sled, sockets or the Kafka protocol.

use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use crate::config::{KafkaConfig, RouteConfig, RoutingConfig};
use crate::kafka::{Producer, Report};
use crate::route::spec::RouteSpec;
use crate::route::{Host, Router};
use crate::spool::{Cursor, DeadLetters};

mod copies;
mod event;
mod expiry;
mod lane;
mod lanes;
mod letters;
mod place;
mod run;
mod settle;
mod stable_id;
mod status;
mod topic;
mod transact;
mod unplaced;

pub use lane::BatchLimits;
pub use stable_id::ID_HEADER;
pub use status::{DrainStatus, LaneStatus, RunStatus};

/// A partition that was full for this long, while another could go on, is passed over.
pub const STALL_AFTER: Duration = Duration::from_millis(500);

/// What other owners tell the drain.
pub enum Message {
    /// The producer's answer.
    Report(Report),
    /// The spool has something new.
    NewBlock,
    /// A changed configuration.
    Reload(Box<Settings>),
    /// End once nothing is in flight, or at the instant.
    Stop(Instant),
}

/// What the drain takes from the configuration.
#[derive(Debug)]
pub struct Settings {
    /// The routes.
    pub router: Router,
    /// When batches close, where the route does not say.
    pub limits: BatchLimits,
    /// The same for each route, by [`crate::route::Routed::route`].
    pub route_limits: Vec<BatchLimits>,
    /// Bytes of batches built and not yet acknowledged.
    pub buffer_memory: usize,
    /// How long an unknown or forbidden topic is retried.
    pub topic_patience: Option<Duration>,
    /// Age at which an event that is not acknowledged is given up.
    pub delivery_timeout: Option<Duration>,
    /// How long a topic that no route names is remembered without an event.
    pub topic_idle: Duration,
    /// Whether events go in runs; see `transact`. Not changed by a reload.
    pub transactional: bool,
}

impl Settings {
    /// Picks them from checked configuration.
    pub fn new(
        kafka: &KafkaConfig,
        routes: &[RouteConfig],
        routing: &RoutingConfig,
        host: Host,
    ) -> Self {
        let transactional = kafka.transaction.is_some();
        let request = kafka.max_request_size as usize;
        let limits = BatchLimits {
            bytes: (kafka.batch_size as usize).min(lane::batch_bytes_max(request)),
            events: kafka.batch_events,
            // A batch can wait for the end of its run: nobody sees it before.
            linger: if transactional {
                kafka.linger.max(transact::RUN_INTERVAL)
            } else {
                kafka.linger
            },
            compression: kafka.compression,
            in_flight: u32::from(kafka.max_in_flight),
        };
        let specs: Vec<RouteSpec> = routes.iter().map(|route| route.spec.clone()).collect();
        let enabled = routes.iter().filter(|route| route.spec.enabled);
        Self {
            router: Router::new(&specs, routing.matching, &routing.no_match, host),
            limits,
            route_limits: enabled
                .map(|route| limits.of_route(route, request))
                .collect(),
            buffer_memory: kafka.buffer_memory as usize,
            topic_patience: kafka.topic_patience,
            delivery_timeout: kafka.delivery_timeout,
            topic_idle: routing.topic_idle,
            transactional,
        }
    }
}

/// The running drain.
pub struct Drain {
    inbox: mpsc::Sender<Message>,
    status: Arc<Mutex<DrainStatus>>,
    thread: thread::JoinHandle<Cursor>,
}

/// The way into the drain's mailbox, made before the drain so that the producer can be
/// given it.
pub struct Mailbox {
    sender: mpsc::Sender<Message>,
    receiver: mpsc::Receiver<Message>,
}

impl Mailbox {
    /// An empty one.
    ///
    /// It needs no bound of its own: reports are bounded by the batches in flight, and wake-ups
    /// are coalesced.
    pub fn new() -> Self {
        let (sender, receiver) = mpsc::channel();
        Self { sender, receiver }
    }

    /// For whoever has something to tell.
    pub fn sender(&self) -> mpsc::Sender<Message> {
        self.sender.clone()
    }
}

impl Default for Mailbox {
    fn default() -> Self {
        Self::new()
    }
}

impl Drain {
    /// Starts the thread.
    ///
    /// # Errors
    /// When the system has no thread left.
    pub fn spawn(
        mailbox: Mailbox,
        cursor: Cursor,
        dead_letters: DeadLetters,
        producer: Producer,
        spool_id: u64,
        settings: Settings,
    ) -> std::io::Result<Self> {
        let status = Arc::new(Mutex::new(DrainStatus::default()));
        let inbox = mailbox.sender.clone();
        let state = run::State::new(
            cursor,
            dead_letters,
            producer,
            spool_id,
            settings,
            mailbox.sender,
            status.clone(),
        );
        let thread = thread::Builder::new()
            .name("drain".to_owned())
            .spawn(move || state.run(&mailbox.receiver))?;
        Ok(Self {
            inbox,
            status,
            thread,
        })
    }

    /// What it is doing now.
    pub fn status(&self) -> DrainStatus {
        self.status
            .lock()
            .map(|status| status.clone())
            .unwrap_or_default()
    }

    /// Applies changed settings from the next event on.
    pub fn reload(&self, settings: Settings) {
        let _ = self.inbox.send(Message::Reload(Box::new(settings)));
    }

    /// Whether its thread has ended; unless it was asked to, by a panic.
    pub fn has_ended(&self) -> bool {
        self.thread.is_finished()
    }

    /// Asks it to end once nothing is in flight, at the latest at `deadline`.
    pub fn stop(&self, deadline: Instant) {
        let _ = self.inbox.send(Message::Stop(deadline));
    }

    /// Waits for the end; gives the cursor back. `None` when the thread panicked.
    pub fn join(self) -> Option<Cursor> {
        self.thread.join().ok()
    }
}
