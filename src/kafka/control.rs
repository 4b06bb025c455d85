//! The task for metadata and producer ids, on a connection of its own.
//!
//! Its own, so that a broker that is muted or busy with produce requests does not hold up
//! finding a leader. Tries the known brokers and the bootstrap addresses in turn, for ever.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rskafka::protocol::messages::{ReadVersionedType, RequestBody, WriteVersionedType};

use super::backoff::Backoff;
use super::code;
use super::connect::Connection;
use super::core::Identity;
use super::creation::{Creator, Made};
use super::outcome::verdict;
use super::session;
use super::wire::{Metadata, MetadataBroker, MetadataQuery, NewProducerId};
use super::wiring::Wiring;
use crate::config::HostPort;

/// What the actor asks for; a newer question for metadata replaces an older one.
#[derive(Debug)]
pub(super) enum Ask {
    Metadata(Vec<Arc<str>>),
    ProducerId,
    /// A broker answers again: whatever waits for the next try is tried now.
    Now,
}

/// What the control task tells the actor.
#[derive(Debug)]
pub(super) enum ControlEvent {
    Up {
        address: HostPort,
    },
    Down {
        address: HostPort,
        error: String,
        needs_person: bool,
        retry_at: Instant,
    },
    Metadata {
        metadata: Metadata,
        /// Topics that could not be created on demand, with the reason.
        refused: HashMap<String, String>,
    },
    ProducerId(Identity),
    /// No producer id for now; asked again by itself.
    ProducerIdRefused {
        reason: String,
        needs_person: bool,
    },
}

/// The control task.
pub(super) struct ControlTask<F> {
    wiring: Wiring<Ask, F>,
    wanted: Wanted,
    /// Addresses of the brokers by the last metadata.
    known: Vec<HostPort>,
    /// The next address to try, modulo their number.
    turn: usize,
    /// Failed connections and requests in a row.
    failures: u32,
    /// Refused producer ids in a row.
    refusals: u32,
    creator: Creator,
}

/// What is not answered yet.
#[derive(Default)]
struct Wanted {
    metadata: Option<Vec<Arc<str>>>,
    producer_id: bool,
}

impl Wanted {
    fn add(&mut self, ask: Ask) {
        match ask {
            Ask::Metadata(topics) => self.metadata = Some(topics),
            Ask::ProducerId => self.producer_id = true,
            Ask::Now => {}
        }
    }

    fn is_empty(&self) -> bool {
        self.metadata.is_none() && !self.producer_id
    }
}

/// A connection and whose it is.
struct Live {
    connection: Connection,
    address: HostPort,
}

impl<F: Fn(ControlEvent) + Send> ControlTask<F> {
    pub(super) fn new(wiring: Wiring<Ask, F>) -> Self {
        Self {
            wiring,
            wanted: Wanted::default(),
            known: Vec::new(),
            turn: 0,
            failures: 0,
            refusals: 0,
            creator: Creator::default(),
        }
    }

    /// Runs until the sender of questions is dropped.
    pub(super) async fn run(mut self) {
        let mut live: Option<Live> = None;
        loop {
            if self.wanted.is_empty() {
                let idle = self.wiring.config().connections_max_idle;
                let idle = idle.filter(|_| live.is_some());
                tokio::select! {
                    ask = self.wiring.mail.recv() => match ask {
                        Some(ask) => self.wanted.add(ask),
                        None => return,
                    },
                    () = tokio::time::sleep(idle.unwrap_or_default()), if idle.is_some() => {
                        live = None;
                        continue;
                    }
                }
            }
            while let Ok(ask) = self.wiring.mail.try_recv() {
                self.wanted.add(ask);
            }
            if self.wiring.mail.is_closed() {
                return;
            }
            if self.wanted.is_empty() {
                continue;
            }
            live = live.filter(|l| {
                !l.connection.pulse.is_closed() && !self.wiring.connector.is_due(&l.connection)
            });
            live = match live {
                None => self.connect().await,
                Some(live) => self.serve(live).await,
            };
        }
    }

    /// Tries the next address; pauses once all have failed.
    async fn connect(&mut self) -> Option<Live> {
        let candidates = candidates(&self.known, &self.wiring.connector.bootstrap().await);
        let count = candidates.len().max(1);
        let address = candidates.into_iter().nth(self.turn % count)?;
        self.turn += 1;
        let last = self.turn.is_multiple_of(count);
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        let earlier = self.failures / count.max(1);
        match self.wiring.connector.connect(&address, earlier).await {
            Ok(connection) => {
                (self.wiring.emit)(ControlEvent::Up {
                    address: address.clone(),
                });
                Some(Live {
                    connection,
                    address,
                })
            }
            Err(error) => {
                self.failures += 1;
                let turns = self.failures.div_ceil(count);
                let pause = if last {
                    self.reconnect().after(turns, &mut self.wiring.rng)
                } else {
                    Duration::ZERO // the next address may do
                };
                self.down(&address, error.to_string(), error.needs_person(), pause);
                self.pause(pause).await;
                None
            }
        }
    }

    /// Asks what is wanted; gives the connection back if it is still good.
    async fn serve(&mut self, live: Live) -> Option<Live> {
        match self.ask_all(&live.connection).await {
            Ok(()) => self.failures = 0,
            Err(error) => {
                self.failures += 1;
                let pause = self.reconnect().after(self.failures, &mut self.wiring.rng);
                self.down(&live.address, error, false, pause);
                drop(live);
                self.pause(pause).await;
                return None;
            }
        }
        if self.wanted.producer_id {
            self.refusals += 1;
            let retry = Backoff::to_retry(self.wiring.config());
            tokio::time::sleep(retry.after(self.refusals, &mut self.wiring.rng)).await;
        } else {
            self.refusals = 0;
        }
        Some(live)
    }

    /// Waits before the next try, unless a broker is seen to answer meanwhile.
    async fn pause(&mut self, time: Duration) {
        let over = tokio::time::sleep(time);
        tokio::pin!(over);
        loop {
            tokio::select! {
                () = &mut over => return,
                ask = self.wiring.mail.recv() => match ask {
                    Some(Ask::Now) | None => return,
                    Some(ask) => self.wanted.add(ask),
                },
            }
        }
    }

    fn reconnect(&self) -> Backoff {
        Backoff::to_reconnect(self.wiring.config())
    }

    fn down(&self, address: &HostPort, error: String, needs_person: bool, pause: Duration) {
        let address = address.clone();
        let retry_at = Instant::now() + pause;
        (self.wiring.emit)(ControlEvent::Down {
            address,
            error,
            needs_person,
            retry_at,
        });
    }

    /// Asks what is wanted; clears what was answered.
    async fn ask_all(&mut self, connection: &Connection) -> Result<(), String> {
        if let Some(topics) = &self.wanted.metadata {
            let query = MetadataQuery {
                topics: Some(topics.clone()),
            };
            let mut metadata = self.request(connection, query).await?;
            self.wanted.metadata = None;
            self.known = addresses(&metadata);
            let Made { refused, elsewhere } = self.create(connection, &mut metadata).await;
            (self.wiring.emit)(ControlEvent::Metadata { metadata, refused });
            if elsewhere {
                return Err("topics are created by another broker; asking the next".into());
            }
        }
        if self.wanted.producer_id {
            let given = self.request(connection, NewProducerId).await?;
            if let Some(identity) = given.given() {
                self.wanted.producer_id = false;
                (self.wiring.emit)(ControlEvent::ProducerId(identity));
            } else {
                let reason = format!("no producer id: {}", verdict(given.code));
                let needs_person = matches!(
                    given.code,
                    code::TOPIC_AUTHORIZATION_FAILED
                        | code::CLUSTER_AUTHORIZATION_FAILED
                        | code::TRANSACTIONAL_ID_AUTHORIZATION_FAILED
                );
                (self.wiring.emit)(ControlEvent::ProducerIdRefused {
                    reason,
                    needs_person,
                });
            }
        }
        Ok(())
    }

    /// Creates the topics that are missing, if the configuration wants that.
    async fn create(&mut self, connection: &Connection, metadata: &mut Metadata) -> Made {
        let config = self.wiring.config();
        let Some(how) = config.topic_creation else {
            return Made::default();
        };
        let request = self.creator.request(how, metadata, config.request_timeout);
        let Some(request) = request else {
            return Made {
                refused: self.creator.beyond_limit(metadata),
                elsewhere: false,
            };
        };
        let names = request.names.clone();
        match self.request(connection, request).await {
            Ok(answer) => self.creator.settle(&answer, metadata),
            Err(reason) => {
                let words = |name: &Arc<str>| {
                    let words = format!("topic {name:?} could not be created: {reason}");
                    (name.to_string(), words)
                };
                Made {
                    refused: names.iter().map(words).collect(),
                    elsewhere: false,
                }
            }
        }
    }

    async fn request<R>(&self, connection: &Connection, body: R) -> Result<R::ResponseBody, String>
    where
        R: RequestBody + Send + WriteVersionedType<Vec<u8>>,
        R::ResponseBody: ReadVersionedType<std::io::Cursor<Vec<u8>>>,
    {
        session::ask(connection, body, self.wiring.config().request_timeout).await
    }
}

/// Brokers by the last metadata first, then the bootstrap addresses; each once.
fn candidates(known: &[HostPort], bootstrap: &[HostPort]) -> Vec<HostPort> {
    let mut seen = HashSet::new();
    known
        .iter()
        .chain(bootstrap)
        .filter(|a| seen.insert(*a))
        .cloned()
        .collect()
}

fn addresses(metadata: &Metadata) -> Vec<HostPort> {
    let brokers = metadata.brokers.iter();
    brokers.map(MetadataBroker::address).collect()
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;
    use tokio::sync::mpsc;
    use tokio::time::timeout;

    use super::super::connect::Connector;
    use super::*;
    use crate::config::KafkaConfig;

    #[tokio::test]
    async fn a_broker_that_answers_again_ends_the_wait() {
        let limit = Duration::from_secs(20);
        let gone = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = gone.local_addr().unwrap();
        drop(gone);
        let mut config = KafkaConfig::new(vec![HostPort {
            host: address.ip().to_string(),
            port: address.port(),
        }]);
        let hour = Duration::from_secs(3600);
        (config.reconnect_backoff, config.reconnect_backoff_max) = (hour, hour);
        let (asks, mail) = mpsc::unbounded_channel();
        let (tell, mut told) = mpsc::unbounded_channel();
        let task = ControlTask::new(Wiring {
            connector: Connector::new(config),
            mail,
            emit: move |event| tell.send(event).unwrap_or_default(),
            rng: fastrand::Rng::with_seed(1),
        });
        tokio::spawn(task.run());
        asks.send(Ask::Metadata(Vec::new())).unwrap();
        let down = timeout(limit, told.recv()).await.unwrap();
        assert!(matches!(down, Some(ControlEvent::Down { .. })), "{down:?}");

        let back = TcpListener::bind(address).await.unwrap();
        // A new question alone is no sign of a broker.
        asks.send(Ask::ProducerId).unwrap();
        let early = timeout(Duration::from_millis(50), back.accept()).await;
        assert!(early.is_err(), "it tries before its time");
        asks.send(Ask::Now).unwrap();
        timeout(limit, back.accept()).await.unwrap().unwrap();
    }
}
