//! `kafka test`: walks the whole way to the cluster and says of each step how it went.
//!
//! Name, TCP, TLS, login, versions, the cluster and its advertised listeners, each topic:
//! whether it exists, has leaders, may be written, takes our batches, agrees on the time;
//! and, only when asked, one marked record. Uses the producer's own way to connect on
//! connections of its own, which end with the examination. Changes nothing but what
//! [`Plan::send`] asks for, and retries nothing: what a step says is what happened now.
//!
//! - `door`: one address, from its name to the login.
//! - `listeners`: the addresses that the brokers advertise.
//! - `topic`: one topic, from its name to the right to write it; `limits`: what it takes.
//! - `clock`: this host's time against the broker's.
//! - `transaction`: the transactional id and the position topic, where there is one.
//! - `send`: one marked record, when asked for.

mod clock;
mod door;
mod limits;
mod listeners;
mod send;
mod topic;
mod transaction;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::timeout;

use super::connect::Connector;
use super::session::Session;
use super::wire::{Metadata, MetadataQuery, MetadataTopic};
use crate::config::{HostPort, KafkaConfig};
use clock::Window;
use door::Door;

/// What is examined.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The connection, as the daemon would make it.
    pub kafka: KafkaConfig,
    /// Topics that have to be there.
    pub topics: Vec<PlannedTopic>,
    /// Largest event that is taken from writers, bytes.
    pub largest_event: u32,
    /// Whether to write one marked record into the first topic.
    pub send: bool,
    /// Longest time for everything together.
    pub limit: Duration,
}

/// A topic of the plan.
#[derive(Debug, Clone)]
pub struct PlannedTopic {
    /// Its name.
    pub name: Arc<str>,
    /// Largest batch that is built for it, bytes before compression.
    pub batch_bytes: u32,
}

/// A step of the examination, in the order in which they are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The name of a bootstrap server has addresses.
    Dns,
    /// An address takes a TCP connection.
    Tcp,
    /// The handshake: certificates of both sides, protocol.
    Tls,
    /// A Kafka broker answers there.
    Versions,
    /// It takes our login.
    Login,
    /// It tells the cluster and its brokers.
    Cluster,
    /// A broker can be reached where it says that it is.
    Listener,
    /// A topic exists and may be seen.
    Topic,
    /// Its partitions have leaders and replicas in sync.
    Partitions,
    /// It may be written.
    Write,
    /// It takes our batches and events.
    Size,
    /// The transactional id may be used, and its position kept.
    Transaction,
    /// This host and the brokers agree on the time.
    Clock,
    /// The marked record is in the log.
    Send,
}

impl Step {
    /// One word, also for machines.
    pub fn name(self) -> &'static str {
        match self {
            Self::Dns => "dns",
            Self::Tcp => "tcp",
            Self::Tls => "tls",
            Self::Versions => "versions",
            Self::Login => "login",
            Self::Cluster => "cluster",
            Self::Listener => "listener",
            Self::Topic => "topic",
            Self::Partitions => "partitions",
            Self::Write => "write",
            Self::Size => "size",
            Self::Transaction => "transaction",
            Self::Clock => "clock",
            Self::Send => "send",
        }
    }
}

/// What kind of trouble it is; decides the exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A name has no address.
    Name,
    /// No connection, or it broke.
    Connection,
    /// TLS failed, or the other side is no Kafka of this protocol.
    Handshake,
    /// The login was refused.
    Login,
    /// A broker advertises an address that cannot be used from here.
    Listener,
    /// A topic is not there, or is not as it has to be.
    Topic,
    /// A partition cannot be written now.
    Partition,
    /// A right is missing.
    Permission,
    /// A topic takes less than we send.
    Size,
    /// A setting is beyond what the brokers allow.
    Setting,
    /// The clocks differ.
    Clock,
    /// The time for the examination is over.
    Time,
}

impl Kind {
    /// One word for machines.
    pub fn name(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::Connection => "connection",
            Self::Handshake => "handshake",
            Self::Login => "login",
            Self::Listener => "listener",
            Self::Topic => "topic",
            Self::Partition => "partition",
            Self::Permission => "permission",
            Self::Size => "size",
            Self::Setting => "setting",
            Self::Clock => "clock",
            Self::Time => "time",
        }
    }
}

impl Kind {
    /// A few words for people.
    pub fn words(self) -> &'static str {
        match self {
            Self::Name => "a name does not resolve",
            Self::Connection => "no connection",
            Self::Handshake => "TLS or the protocol fails",
            Self::Login => "the login is refused",
            Self::Listener => "a broker advertises an unusable address",
            Self::Topic => "a topic is missing or unfit",
            Self::Partition => "a partition cannot be written now",
            Self::Permission => "a right is missing",
            Self::Size => "a topic takes less than is sent",
            Self::Setting => "a setting is beyond what the brokers allow",
            Self::Clock => "this host's clock is wrong",
            Self::Time => "the time is over",
        }
    }
}

/// What to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advice {
    /// What kind of trouble it is.
    pub kind: Kind,
    /// In words, with the command or the key.
    pub todo: String,
}

/// How a step went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// Events flow, but this will hurt one day.
    Warn(Advice),
    /// Events do not flow.
    Fail(Advice),
    /// Not looked at; the words say why.
    Skip,
}

/// One step and how it went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Which step.
    pub step: Step,
    /// What it is about: an address, a broker, a topic.
    pub subject: String,
    /// How it went.
    pub verdict: Verdict,
    /// What was seen, or the cause.
    pub what: String,
    /// How long it took.
    pub took: Duration,
}

impl Finding {
    fn new(step: Step, subject: &str, verdict: Verdict, what: impl Into<String>) -> Self {
        Self {
            step,
            subject: subject.to_owned(),
            verdict,
            what: what.into(),
            took: Duration::ZERO,
        }
    }

    fn ok(step: Step, subject: &str, what: impl Into<String>) -> Self {
        Self::new(step, subject, Verdict::Ok, what)
    }

    fn skip(step: Step, subject: &str, what: impl Into<String>) -> Self {
        Self::new(step, subject, Verdict::Skip, what)
    }

    fn warn(
        step: Step,
        subject: &str,
        kind: Kind,
        what: impl Into<String>,
        todo: impl Into<String>,
    ) -> Self {
        Self::fail(step, subject, kind, what, todo).softened()
    }

    fn fail(
        step: Step,
        subject: &str,
        kind: Kind,
        what: impl Into<String>,
        todo: impl Into<String>,
    ) -> Self {
        let todo = todo.into();
        Self::new(step, subject, Verdict::Fail(Advice { kind, todo }), what)
    }

    fn since(mut self, begin: Instant) -> Self {
        self.took = begin.elapsed();
        self
    }

    /// A failure that does not stop the events, because there is another way.
    fn softened(mut self) -> Self {
        if let Verdict::Fail(advice) = self.verdict {
            self.verdict = Verdict::Warn(advice);
        }
        self
    }
}

/// Examines, and tells each finding as soon as it is made. Returns the kind of the first
/// failure, if there is one, within about [`Plan::limit`].
pub async fn examine(plan: &Plan, tell: &mut (dyn FnMut(&Finding) + Send)) -> Option<Kind> {
    let mut exam = Exam {
        plan,
        connector: Connector::new(plan.kafka.clone()),
        tell,
        failed: None,
        at: Step::Dns,
        sessions: HashMap::new(),
        window: Window::default(),
    };
    if timeout(plan.limit, exam.walk()).await.is_err() {
        let finding = Finding::fail(
            exam.at,
            "everything",
            Kind::Time,
            format!("not done within {} s", plan.limit.as_secs_f32()),
            "give it more time with --timeout; a cluster this slow will be slow for events too",
        );
        exam.note(finding);
    }
    exam.failed
}

/// Why nothing can be asked of a topic's leaders.
const NOT_LED: &str = "no partition has a leader that can be reached; see the steps above";

/// An examination under way.
struct Exam<'a> {
    plan: &'a Plan,
    connector: Arc<Connector>,
    tell: &'a mut (dyn FnMut(&Finding) + Send),
    failed: Option<Kind>,
    /// The step under way.
    at: Step,
    /// Connections to brokers by their id.
    sessions: HashMap<i32, Session>,
    /// How far from the brokers' clocks all topics looked at so far take records.
    window: Window,
}

impl Exam<'_> {
    fn note(&mut self, finding: Finding) {
        if let Verdict::Fail(advice) = &finding.verdict {
            self.failed.get_or_insert(advice.kind);
        }
        (self.tell)(&finding);
    }

    /// The first partition whose leader was reached; without one, [`NOT_LED`].
    fn led(&self, topic: &MetadataTopic) -> Option<(i32, &Session)> {
        topic.partitions.iter().find_map(|partition| {
            let session = self.sessions.get(&partition.leader?)?;
            Some((partition.id, session))
        })
    }

    async fn walk(&mut self) {
        let Some((address, session)) = self.bootstrap().await else {
            return;
        };
        self.at = Step::Cluster;
        let Some(cluster) = self.cluster(&address, &session).await else {
            return;
        };
        self.at = Step::Listener;
        self.listeners(&cluster, &address).await;
        self.at = Step::Topic;
        let plan = self.plan;
        for topic in &plan.topics {
            self.topic(&session, &cluster, topic).await;
        }
        if plan.topics.is_empty() {
            let what = "the routes make their topics from events: name one with --topic";
            self.note(Finding::skip(Step::Topic, "routes", what));
        }
        match &plan.kafka.transaction {
            Some(config) => {
                self.at = Step::Transaction;
                self.transaction(&session, &cluster, config).await;
            }
            None => self.producer_id(&session).await,
        }
        self.at = Step::Clock;
        self.clock(&session).await;
        self.at = Step::Send;
        if let Some(topic) = plan.topics.first().filter(|_| plan.send) {
            self.send(&cluster, &topic.name).await;
        }
    }

    /// Knocks at every bootstrap server at once; one that works is enough.
    async fn bootstrap(&mut self) -> Option<(HostPort, Session)> {
        let connector = &*self.connector;
        let servers = connector.bootstrap().await;
        let doors = servers.iter();
        let doors =
            doors.map(|address| async move { (address, Door::knock(connector, address).await) });
        let doors = futures_util::future::join_all(doors).await;
        let usable = doors.iter().any(|(_, door)| door.session.is_some());
        let mut first = None;
        for (address, door) in doors {
            for finding in door.findings {
                self.note(if usable { finding.softened() } else { finding });
            }
            if let Some(session) = door.session
                && first.is_none()
            {
                first = Some((address.clone(), session));
            }
        }
        first
    }

    async fn cluster(&mut self, address: &HostPort, session: &Session) -> Option<Metadata> {
        let begin = Instant::now();
        let subject = address.to_string();
        let topics = self.plan.topics.iter().map(|topic| topic.name.clone());
        let transaction = self.plan.kafka.transaction.as_ref();
        let positions = transaction.map(|config| config.position_topic.clone());
        let topics = Some(topics.chain(positions).collect());
        match session.ask(MetadataQuery { topics }).await {
            Ok(cluster) => {
                let id = cluster.cluster_id.as_deref().unwrap_or("without an id");
                let count = cluster.brokers.len();
                let what = format!("cluster {id}, brokers: {count}");
                self.note(Finding::ok(Step::Cluster, &subject, what).since(begin));
                Some(cluster)
            }
            Err(reason) => {
                let todo = "look into the broker's log; it took the login and then no question";
                let finding =
                    Finding::fail(Step::Cluster, &subject, Kind::Connection, reason, todo);
                self.note(finding.since(begin));
                None
            }
        }
    }
}
