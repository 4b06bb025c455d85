//! The task for metadata and producer ids, on a connection of its own.
//!
//! Its own, so that a broker that is muted or busy with produce requests does not hold up
//! finding a leader. Tries the known brokers and the bootstrap addresses in turn, for ever.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rskafka::protocol::messages::{ReadVersionedType, RequestBody, WriteVersionedType};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::backoff::Backoff;
use super::connect::{Connection, Connector, request_failure};
use super::core::Identity;
use super::outcome::verdict;
use super::wire::{Metadata, MetadataQuery, NewProducerId};
use crate::config::HostPort;

/// What the actor asks for; a newer question for metadata replaces an older one.
#[derive(Debug)]
pub(super) enum Ask {
    Metadata(Vec<Arc<str>>),
    ProducerId,
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
    Metadata(Metadata),
    ProducerId(Identity),
    /// No producer id for now; asked again by itself.
    ProducerIdRefused {
        reason: String,
        needs_person: bool,
    },
}

/// Everything the control task owns.
pub(super) struct ControlTask<F> {
    pub(super) connector: Arc<Connector>,
    pub(super) asks: mpsc::UnboundedReceiver<Ask>,
    pub(super) emit: F,
    pub(super) rng: fastrand::Rng,
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
        }
    }

    fn is_empty(&self) -> bool {
        self.metadata.is_none() && !self.producer_id
    }
}

impl<F: Fn(ControlEvent) + Send> ControlTask<F> {
    /// Runs until the sender of questions is dropped.
    pub(super) async fn run(mut self) {
        let config = self.connector.config();
        let reconnect = Backoff {
            first: config.reconnect_backoff,
            max: config.reconnect_backoff_max,
        };
        let retry = Backoff {
            first: config.retry_backoff,
            max: config.retry_backoff_max,
        };
        let bootstrap = config.bootstrap.clone();
        let mut known: Vec<HostPort> = Vec::new();
        let mut turn = 0_usize;
        let mut failures = 0_u32;
        let mut refusals = 0;
        let mut wanted = Wanted::default();
        let mut connection: Option<Connection> = None;
        loop {
            if wanted.is_empty() {
                match self.asks.recv().await {
                    Some(ask) => wanted.add(ask),
                    None => return,
                }
            }
            while let Ok(ask) = self.asks.try_recv() {
                wanted.add(ask);
            }
            connection = connection.filter(|c| !c.pulse.is_closed());
            let candidates = candidates(&known, &bootstrap);
            let Some(live) = &connection else {
                let Some(address) = candidates.get(turn % candidates.len().max(1)) else {
                    return;
                };
                let connected = self.connector.connect(address).await;
                turn += 1;
                match connected {
                    Ok(made) => {
                        (self.emit)(ControlEvent::Up {
                            address: address.clone(),
                        });
                        connection = Some(made);
                    }
                    Err(error) => {
                        failures += 1;
                        let whole_turns = failures.div_ceil(candidates.len().max(1) as u32);
                        let mut pause = reconnect.after(whole_turns, &mut self.rng);
                        if !(failures as usize).is_multiple_of(candidates.len().max(1)) {
                            pause = Duration::ZERO; // the next address may do
                        }
                        let needs_person = error.needs_person();
                        self.down(address, error.to_string(), needs_person, pause);
                        tokio::time::sleep(pause).await;
                    }
                }
                continue;
            };
            match self.ask_all(live, &mut wanted).await {
                Ok(Some(metadata)) => {
                    failures = 0;
                    known = addresses(&metadata);
                    (self.emit)(ControlEvent::Metadata(metadata));
                }
                Ok(None) => failures = 0,
                Err(error) => {
                    connection = None;
                    failures += 1;
                    let pause = reconnect.after(failures, &mut self.rng);
                    let address = candidates.get((turn + candidates.len() - 1) % candidates.len());
                    if let Some(address) = address {
                        self.down(address, error, false, pause);
                    }
                    tokio::time::sleep(pause).await;
                }
            }
            if wanted.producer_id && connection.is_some() {
                refusals += 1;
                tokio::time::sleep(retry.after(refusals, &mut self.rng)).await;
            } else {
                refusals = 0;
            }
        }
    }

    fn down(&self, address: &HostPort, error: String, needs_person: bool, pause: Duration) {
        let address = address.clone();
        let retry_at = Instant::now() + pause;
        (self.emit)(ControlEvent::Down {
            address,
            error,
            needs_person,
            retry_at,
        });
    }

    /// Asks what is wanted; clears what was answered.
    async fn ask_all(
        &self,
        connection: &Connection,
        wanted: &mut Wanted,
    ) -> Result<Option<Metadata>, String> {
        let mut metadata = None;
        if let Some(topics) = &wanted.metadata {
            let query = MetadataQuery {
                topics: topics.clone(),
            };
            metadata = Some(self.request(connection, query).await?);
            wanted.metadata = None;
        }
        if wanted.producer_id {
            let given = self.request(connection, NewProducerId).await?;
            // Going on with the id -1 of an error would switch idempotence off (measured).
            if given.code == 0 && given.id >= 0 {
                wanted.producer_id = false;
                let identity = Identity {
                    id: given.id,
                    epoch: given.epoch,
                };
                (self.emit)(ControlEvent::ProducerId(identity));
            } else {
                let reason = format!("no producer id: {}", verdict(given.code));
                let needs_person = matches!(given.code, 29 | 31 | 53);
                (self.emit)(ControlEvent::ProducerIdRefused {
                    reason,
                    needs_person,
                });
            }
        }
        Ok(metadata)
    }

    async fn request<R>(&self, connection: &Connection, body: R) -> Result<R::ResponseBody, String>
    where
        R: RequestBody + Send + WriteVersionedType<Vec<u8>>,
        R::ResponseBody: ReadVersionedType<std::io::Cursor<Vec<u8>>>,
    {
        let limit = self.connector.config().request_timeout;
        match timeout(limit, connection.messenger.request(body)).await {
            Ok(answer) => answer.map_err(|e| request_failure(&e)),
            Err(_) => Err(format!(
                "no answer within {} ms (request.timeout.ms); connection dropped",
                limit.as_millis()
            )),
        }
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
    brokers
        .map(|b| HostPort {
            host: b.host.clone(),
            port: b.port,
        })
        .collect()
}
