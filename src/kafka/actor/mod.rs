//! The task that drives the core: mailbox in, requests and reports out.
//!
//! Owns the broker tasks, the control task and what is known of topics. Decides nothing
//! about batches; that is the core's part. `fleet` has the tasks, `traffic` the requests,
//! `transact` transactions, `publish` what others see.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use tokio::sync::{mpsc, oneshot};

mod fleet;
mod publish;
mod traffic;
mod transact;

use super::backoff::Backoff;
use super::broker::{BrokerEvent, Command};
use super::connect::Connector;
use super::control::{Ask, ControlEvent};
use super::core::{Action, Core, Now, Settings};
use super::topics::{Standing, Topic};
use super::txn::News;
use super::{Batch, ClusterView, ConnectionStatus, KafkaStatus, Position, Report};
use crate::config::{HostPort, KafkaConfig};
use crate::proof::BrokerAuthority;

/// The status is made anew at most this often while batches flow.
const STATUS_EVERY: Duration = Duration::from_millis(250);

/// Most messages handled before the core's actions are carried out.
const BURST: usize = 64;

/// What reaches the actor.
#[derive(Debug)]
pub(super) enum Event {
    Send(Batch),
    Want(Arc<str>),
    Forget(Arc<str>),
    Broker(BrokerEvent),
    Control(ControlEvent),
    Begin {
        spool_id: u64,
    },
    CloseRun {
        run: u32,
        end: Position,
    },
    AbortRun {
        run: u32,
        words: String,
    },
    Coordinator(News),
    /// One of the tasks has ended in a panic.
    Broken,
    Close {
        deadline: Duration,
        done: oneshot::Sender<()>,
    },
}

/// A broker that leads a wanted partition.
#[derive(Debug)]
struct Leader {
    task: u64,
    address: HostPort,
    commands: mpsc::UnboundedSender<Command>,
    connection: ConnectionStatus,
    needs_person: bool,
}

/// See the module.
pub(super) struct Actor {
    connector: Arc<Connector>,
    core: Core,
    /// With transactions only.
    transact: Option<transact::Transact>,
    rng: fastrand::Rng,
    reports: Box<dyn Fn(Report) + Send + Sync>,
    cluster: Arc<ArcSwap<ClusterView>>,
    status: Arc<ArcSwap<KafkaStatus>>,
    /// Weak, so that the tasks end when all handles are gone.
    events: mpsc::WeakUnboundedSender<Event>,
    asks: Option<mpsc::UnboundedSender<Ask>>,
    leaders: BTreeMap<i32, Leader>,
    next_task: u64,
    topics: HashMap<Arc<str>, Topic>,
    control: ConnectionStatus,
    control_halt: Option<String>,
    identity_error: Option<(String, bool)>,
    metadata: Schedule,
    status_due: Instant,
    /// Something has happened since the status was made.
    status_stale: bool,
    closing: Option<(Instant, oneshot::Sender<()>)>,
    /// A part is missing: it ends, so that somebody notices and starts everything again.
    is_broken: bool,
}

/// When metadata is asked for.
#[derive(Debug)]
struct Schedule {
    due: Option<Instant>,
    asked_at: Option<Instant>,
    /// Asked, and no answer yet.
    open: bool,
    /// Answers in a row that left something unsettled.
    unsettled: u32,
}

impl Actor {
    pub(super) fn new(
        config: &KafkaConfig,
        authority: BrokerAuthority,
        mut rng: fastrand::Rng,
        (cluster, status): (Arc<ArcSwap<ClusterView>>, Arc<ArcSwap<KafkaStatus>>),
        events: mpsc::WeakUnboundedSender<Event>,
        reports: Box<dyn Fn(Report) + Send + Sync>,
    ) -> Self {
        let settings = Settings {
            max_in_flight: usize::from(config.max_in_flight.max(1)),
            max_request_bytes: config.max_request_size as usize,
            retry: Backoff::to_retry(config),
            idempotent: config.idempotence,
            // A transaction that failed is sent again as a whole, for ever.
            retries: config.retries.filter(|_| config.transaction.is_none()),
        };
        let (authority, transact) = match &config.transaction {
            None => (Some(authority), None),
            Some(transaction) => {
                let transact = transact::Transact::new(authority, transaction, config.linger);
                (None, Some(transact))
            }
        };
        let core = Core::new(settings, authority, rng.fork());
        let metadata = Schedule {
            due: None,
            asked_at: None,
            open: false,
            unsettled: 0,
        };
        Self {
            connector: Connector::new(config.clone()),
            core,
            transact,
            rng,
            reports,
            cluster,
            status,
            events,
            asks: None,
            leaders: BTreeMap::new(),
            next_task: 0,
            topics: HashMap::new(),
            control: ConnectionStatus::default(),
            control_halt: None,
            identity_error: None,
            metadata,
            status_due: Instant::now(),
            status_stale: true,
            closing: None,
            is_broken: false,
        }
    }

    /// Runs until closed, until every handle is gone, or until a task of it panics.
    pub(super) async fn run(mut self, mut mailbox: mpsc::UnboundedReceiver<Event>) {
        self.start_control();
        self.start_coordinator();
        let mut burst = Vec::with_capacity(BURST);
        loop {
            let wake = self.next_wakeup();
            let pause = wake.map(|at| at.saturating_duration_since(Instant::now()));
            tokio::select! {
                count = mailbox.recv_many(&mut burst, BURST) => {
                    if count == 0 {
                        return; // every handle is gone: nobody is left to report to
                    }
                }
                () = tokio::time::sleep(pause.unwrap_or_default()), if pause.is_some() => {}
            }
            let now = Now::read();
            self.status_stale |= !burst.is_empty();
            for event in burst.drain(..) {
                self.handle(event, now);
            }
            self.core.tick(now);
            self.retry_denied(now);
            self.act(now);
            self.transact(now);
            self.ask_metadata(now);
            if self.is_broken || self.closed(now) {
                return;
            }
            if self.status_stale && self.status_due <= now.mono {
                self.publish_status(now.mono);
            }
        }
    }

    fn next_wakeup(&self) -> Option<Instant> {
        let denied = self.topics.values().filter_map(Topic::denied_until).min();
        let closing = self.closing.as_ref().map(|(deadline, _)| *deadline);
        let metadata = self.metadata.due.filter(|_| !self.metadata.open);
        let status = Some(self.status_due).filter(|_| self.status_stale);
        let run = self.transact.as_ref().and_then(|t| t.next_wakeup());
        let wakes = [
            self.core.next_wakeup(),
            denied,
            closing,
            metadata,
            status,
            run,
        ];
        wakes.into_iter().flatten().min()
    }

    fn handle(&mut self, event: Event, now: Now) {
        match event {
            Event::Send(batch) => match &mut self.transact {
                None => {
                    self.want(&batch.to.topic, now);
                    self.core.send(batch, now);
                }
                Some(transact) => transact.batch(batch, now),
            },
            Event::Begin { .. }
            | Event::CloseRun { .. }
            | Event::AbortRun { .. }
            | Event::Coordinator(_) => {
                if let Some(transact) = &mut self.transact {
                    transact.handle(event, now);
                }
            }
            Event::Broken => self.is_broken = true,
            Event::Want(topic) => self.want(&topic, now),
            Event::Forget(topic) => self.forget_topic(&topic, now),
            Event::Broker(event) => self.broker(event, now),
            Event::Control(event) => self.control(event, now),
            Event::Close { deadline, done } => {
                self.core.close();
                self.closing = Some((now.mono + deadline, done));
                if let Some(transact) = &mut self.transact {
                    transact.close(now);
                }
            }
        }
    }

    fn want(&mut self, topic: &Arc<str>, now: Now) {
        if !self.topics.contains_key(topic) {
            self.topics.insert(topic.clone(), Topic::default());
            self.metadata.due = Some(now.mono);
            self.metadata.open = false;
        }
    }

    fn forget_topic(&mut self, topic: &Arc<str>, now: Now) {
        if self.topics.remove(topic).is_some() {
            self.core.forget_topic(topic);
            self.publish_cluster(now.mono);
        }
    }

    fn control(&mut self, event: ControlEvent, now: Now) {
        match event {
            ControlEvent::Up { address } => {
                let address = address.to_string();
                self.control = ConnectionStatus {
                    up: true,
                    address,
                    error: None,
                    retry_at: None,
                };
                self.control_halt = None;
                tracing::info!(address = self.control.address, "connected for metadata");
            }
            ControlEvent::Down {
                address,
                error,
                needs_person,
                retry_at,
            } => {
                let address = address.to_string();
                tracing::warn!(address, error, "no connection for metadata");
                self.control_halt = needs_person.then(|| error.clone());
                let (error, retry_at) = (Some(error), Some(retry_at));
                self.control = ConnectionStatus {
                    up: false,
                    address,
                    error,
                    retry_at,
                };
            }
            ControlEvent::ProducerId(identity) => {
                self.identity_error = None;
                self.core.identity(identity, now);
            }
            ControlEvent::ProducerIdRefused {
                reason,
                needs_person,
            } => {
                tracing::warn!(reason, "no producer id yet");
                self.identity_error = Some((reason, needs_person));
            }
            ControlEvent::Metadata { metadata, refused } => {
                self.take_metadata(&metadata, &refused, now);
            }
        }
        self.status_due = now.mono;
    }

    /// Carries out what the core wants done.
    fn act(&mut self, now: Now) {
        for action in self.core.take_actions() {
            let action = match &mut self.transact {
                None => action,
                Some(transact) => match transact.take(action, now) {
                    Some(action) => action,
                    None => continue,
                },
            };
            match action {
                Action::Report(report) => (self.reports)(report),
                // Of transactions only, and taken by them.
                Action::Stored { .. } => {}
                Action::Produce {
                    broker,
                    request,
                    parts,
                } => {
                    self.produce(broker, request, parts, now);
                }
                Action::WantIdentity => self.ask(Ask::ProducerId),
                Action::Refresh => self.refresh(now.mono),
                Action::Denied { topic, words } => self.denied(&topic, words, now),
                Action::Accepted { topic } => {
                    if let Some(known) = self.topics.get_mut(&topic) {
                        known.accepted();
                    }
                }
            }
        }
    }

    /// A topic refuses writes: it is left alone for a while.
    fn denied(&mut self, topic: &Arc<str>, words: String, now: Now) {
        tracing::warn!(topic = &**topic, words, "the topic refuses writes");
        let pause = self.connector.config().retry_backoff_max;
        if let Some(known) = self.topics.get_mut(topic) {
            known.deny(words, pause, now.mono);
            let standing = known.standing(now.mono);
            if let Standing::Failing { reason, since } = standing {
                self.core.topic_failing(topic, reason, since, now);
            }
        }
        self.publish_cluster(now.mono);
    }

    fn ask(&self, ask: Ask) {
        if let Some(asks) = &self.asks {
            let _ = asks.send(ask);
        }
    }

    /// Lets topics that were refused be tried again.
    fn retry_denied(&mut self, now: Now) {
        let over = |topic: &Topic| topic.denied_until().is_some_and(|until| until <= now.mono);
        let names: Vec<Arc<str>> = self
            .topics
            .iter()
            .filter(|(_, t)| over(t))
            .map(|(name, _)| name.clone())
            .collect();
        for name in &names {
            if let Some(topic) = self.topics.get_mut(name) {
                topic.denial_over();
                if topic.standing(now.mono) == Standing::Usable {
                    self.core.topic_usable(name);
                }
            }
        }
        if !names.is_empty() {
            self.publish_cluster(now.mono);
        }
    }

    /// Finishes an ordered close when nothing is on the wire, or the time is up.
    fn closed(&mut self, now: Now) -> bool {
        let ending = self.transact.as_ref().is_some_and(|t| t.is_ending());
        let done = self.core.requests() == 0 && !ending;
        let over = |deadline: Instant| deadline <= now.mono || done;
        if !self
            .closing
            .as_ref()
            .is_some_and(|(deadline, _)| over(*deadline))
        {
            return false;
        }
        self.core.abandon();
        for action in self.core.take_actions() {
            if let Action::Report(report) = action {
                (self.reports)(report);
            }
        }
        if let Some((_, done)) = self.closing.take() {
            let _ = done.send(());
        }
        true
    }
}
