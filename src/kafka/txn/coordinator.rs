//! The task that talks to the transaction coordinator, on a connection of its own.
//!
//! One question at a time, each asked until it has an answer that means something: moved
//! coordinators are found again, what passes is waited for, what needs a person is said and
//! tried again. So an answer that was lost with its connection is asked for once more; that
//! is sound, because every request here may be repeated under the same epoch.

use std::io::Cursor;
use std::sync::Arc;
use std::time::Duration;

use rskafka::protocol::messages::{ReadVersionedType, RequestBody, WriteVersionedType};
use tokio::sync::mpsc;

use super::super::TopicPartition;
use super::super::backoff::Backoff;
use super::super::connect::{Connector, Trace};
use super::super::core::Identity;
use super::super::outcome::verdict;
use super::super::position::reader::{self, Located};
use super::super::rights::{self, On, Right};
use super::super::session::Session;
use super::super::wire::{
    AddPartitions, CoordinatorQuery, EndTxn, EndTxnBumping, FeaturesQuery, TxnProducerId,
};
use crate::config::{HostPort, TransactionConfig};

/// Wait for the coordinator to finish the transaction before, which takes it some writes to
/// the partitions' leaders. As the Java client has it (TransactionManager.java).
const CONCURRENT_PAUSE: Duration = Duration::from_millis(20);

/// So many of these waits in a row, and status says what is waited for.
const CONCURRENT_SAID: u32 = 50;

/// First version of transactions in which partitions join by being written (KIP-890).
const IMPLICIT_VERSION: i16 = 2;

/// Kafka's codes that are told apart here.
mod code {
    pub(super) const NONE: i16 = 0;
    pub(super) const TOPIC_AUTHORIZATION_FAILED: i16 = 29;
    pub(super) const INVALID_PRODUCER_EPOCH: i16 = 47;
    pub(super) const INVALID_TRANSACTION_TIMEOUT: i16 = 50;
    pub(super) const CONCURRENT_TRANSACTIONS: i16 = 51;
    pub(super) const ID_AUTHORIZATION_FAILED: i16 = 53;
    pub(super) const OPERATION_NOT_ATTEMPTED: i16 = 55;
    pub(super) const PRODUCER_FENCED: i16 = 90;
}

/// What the machine asks for, one at a time.
#[derive(Debug)]
pub(in super::super) enum Ask {
    /// Abort what is open under this identity, take a new one, read the position.
    Recover {
        spool_id: u64,
        abort: Option<Identity>,
    },
    /// Register partitions.
    Add {
        identity: Identity,
        partitions: Vec<TopicPartition>,
    },
    /// Commit.
    Commit { identity: Identity },
}

/// The answers.
#[derive(Debug)]
pub(in super::super) enum News {
    Recovered {
        identity: Identity,
        /// Partitions join the transaction by being written.
        implicit: bool,
        located: Located,
    },
    Added,
    /// `denied`: the topic that may not be written.
    NotAdded {
        denied: Option<Arc<str>>,
        words: String,
    },
    /// `next`: whom the next transaction belongs to, when it is another.
    Committed {
        next: Option<Identity>,
    },
    /// Not committed as far as this answer tells; the position will tell.
    NotCommitted {
        words: String,
    },
    /// The coordinator knows a newer epoch than ours. `recovering`: it said so to
    /// [`Ask::Recover`], which is over by this.
    Fenced {
        words: String,
        recovering: bool,
    },
    /// No answer yet; asked again by itself.
    Trouble {
        words: String,
        needs_person: bool,
    },
}

/// What an answer's code means for the question.
enum Meaning {
    /// It is an answer.
    Final,
    /// Ask again.
    Again { pause: Option<Duration> },
    /// Ask again, elsewhere.
    Moved,
    /// Ask again, and say that a person is needed.
    Person,
}

/// See the module.
pub(in super::super) struct CoordinatorTask<F> {
    connector: Arc<Connector>,
    config: TransactionConfig,
    asks: mpsc::UnboundedReceiver<Ask>,
    emit: F,
    rng: fastrand::Rng,
    home: Option<Session>,
    /// What the coordinator offers, and what the present producer id was taken for.
    offers_implicit: bool,
    implicit: bool,
    /// The next bootstrap address to try, modulo their number.
    turn: usize,
    /// Failures in a row.
    failures: u32,
    /// Recoveries without a commit in between.
    recoveries: u32,
    /// The trouble that was logged last, until it is over.
    said: String,
}

impl<F: Fn(News) + Send> CoordinatorTask<F> {
    pub(in super::super) fn new(
        connector: Arc<Connector>,
        config: TransactionConfig,
        asks: mpsc::UnboundedReceiver<Ask>,
        emit: F,
        rng: fastrand::Rng,
    ) -> Self {
        Self {
            connector,
            config,
            asks,
            emit,
            rng,
            home: None,
            offers_implicit: false,
            implicit: false,
            turn: 0,
            failures: 0,
            recoveries: 0,
            said: String::new(),
        }
    }

    /// Runs until the sender of questions is dropped.
    pub(in super::super) async fn run(mut self) {
        while let Some(question) = self.asks.recv().await {
            let answer = match question {
                Ask::Recover { spool_id, abort } => self.recover(spool_id, abort).await,
                Ask::Add {
                    identity,
                    partitions,
                } => self.add(identity, partitions).await,
                Ask::Commit { identity } => self.commit(identity).await,
            };
            self.said.clear();
            match answer {
                Some(news) => (self.emit)(news),
                None => return,
            }
        }
    }

    async fn recover(&mut self, spool_id: u64, abort: Option<Identity>) -> Option<News> {
        if self.recoveries > 0 {
            tokio::time::sleep(self.retry().after(self.recoveries, &mut self.rng)).await;
        }
        self.recoveries += 1;
        if let Some(identity) = abort
            && let Some(words) = self.abort(identity).await?
        {
            let recovering = true;
            return Some(News::Fenced { words, recovering });
        }
        let timeout_ms = i32::try_from(self.config.timeout.as_millis()).unwrap_or(i32::MAX);
        let body = |task: &Self| TxnProducerId {
            transactional_id: task.config.id.clone(),
            timeout_ms,
        };
        let given = loop {
            let given = self.exchange(body, |answer| answer.code).await?;
            if given.code == code::NONE && given.id >= 0 {
                break given;
            }
            self.trouble(format!("no producer id: {}", verdict(given.code)), true);
            self.pause().await?;
        };
        self.implicit = self.offers_implicit;
        let identity = Identity {
            id: given.id,
            epoch: given.epoch,
        };
        let located = self.locate(spool_id).await?;
        Some(News::Recovered {
            identity,
            implicit: self.implicit,
            located,
        })
    }

    /// Aborts; the words when we are fenced. Whether there was anything to abort is the same.
    async fn abort(&mut self, identity: Identity) -> Option<Option<String>> {
        let (code, _) = self.end(identity, false).await?;
        Some(self.fenced(code))
    }

    fn fenced(&self, code: i16) -> Option<String> {
        matches!(code, code::INVALID_PRODUCER_EPOCH | code::PRODUCER_FENCED).then(|| {
            format!(
                "another producer has taken over transactional.id {:?} ({}): stop it or give it \
                 another id, then restart this one",
                self.config.id,
                verdict(code).name
            )
        })
    }

    async fn end(&mut self, identity: Identity, commit: bool) -> Option<(i16, Option<Identity>)> {
        let body = move |task: &Self| EndTxn {
            transactional_id: task.config.id.clone(),
            identity,
            commit,
        };
        let ended = if self.implicit {
            let body = move |task: &Self| EndTxnBumping(body(task));
            self.exchange(body, |answer| answer.code).await?
        } else {
            self.exchange(body, |answer| answer.code).await?
        };
        Some((ended.code, ended.next))
    }

    async fn commit(&mut self, identity: Identity) -> Option<News> {
        let (code, next) = self.end(identity, true).await?;
        if code == code::NONE {
            self.recoveries = 0;
            return Some(News::Committed { next });
        }
        Some(match self.fenced(code) {
            Some(words) => News::Fenced {
                words,
                recovering: false,
            },
            None => News::NotCommitted {
                words: format!("not committed: {}", verdict(code)),
            },
        })
    }

    async fn add(&mut self, identity: Identity, partitions: Vec<TopicPartition>) -> Option<News> {
        let body = move |task: &Self| AddPartitions {
            transactional_id: task.config.id.clone(),
            identity,
            partitions: partitions.clone(),
        };
        let worst = |parts: &[(String, i32, i16)]| {
            let told = |(_, _, code): &&(String, i32, i16)| *code != code::OPERATION_NOT_ATTEMPTED;
            let failed = parts.iter().filter(|(_, _, code)| *code != code::NONE);
            failed.clone().find(told).or(failed.clone().next()).cloned()
        };
        let answer = self
            .exchange(body, |answer| {
                worst(&answer.parts).map_or(code::NONE, |(_, _, code)| code)
            })
            .await?;
        let Some((topic, partition, code)) = worst(&answer.parts) else {
            return Some(News::Added);
        };
        if let Some(words) = self.fenced(code) {
            let recovering = false;
            return Some(News::Fenced { words, recovering });
        }
        let denied = code == code::TOPIC_AUTHORIZATION_FAILED;
        Some(News::NotAdded {
            words: format!("{topic}-{partition}: {}", verdict(code)),
            denied: denied.then(|| topic.into()),
        })
    }

    /// Reads the position, again and again until it is known.
    async fn locate(&mut self, spool_id: u64) -> Option<Located> {
        loop {
            let Some(home) = self.home().await else {
                self.pause().await?;
                continue;
            };
            let topic = &self.config.position_topic;
            match reader::read(&self.connector, &home, topic, spool_id).await {
                Ok(located) => {
                    self.home = Some(home);
                    self.failures = 0;
                    return Some(located);
                }
                Err(error) => {
                    self.trouble(error.to_string(), error.needs_person());
                    self.pause().await?;
                }
            }
        }
    }

    /// Asks until there is an answer; `None` when nobody waits for it any more.
    async fn exchange<R>(
        &mut self,
        body: impl Fn(&Self) -> R,
        code: impl Fn(&R::ResponseBody) -> i16,
    ) -> Option<R::ResponseBody>
    where
        R: RequestBody + Send + WriteVersionedType<Vec<u8>>,
        R::ResponseBody: ReadVersionedType<Cursor<Vec<u8>>>,
    {
        let mut waits = 0_u32;
        loop {
            let Some(home) = self.home().await else {
                self.pause().await?;
                continue;
            };
            match home.ask(body(self)).await {
                Ok(answer) => {
                    let code = code(&answer);
                    let meaning = meaning(code);
                    if !matches!(meaning, Meaning::Moved) {
                        self.home = Some(home);
                    }
                    match meaning {
                        Meaning::Final => {
                            self.failures = 0;
                            return Some(answer);
                        }
                        Meaning::Again { pause: Some(pause) } => {
                            waits = waits.saturating_add(1);
                            if waits.is_multiple_of(CONCURRENT_SAID) {
                                self.trouble(verdict(code).to_string(), false);
                            }
                            tokio::time::sleep(pause).await;
                        }
                        Meaning::Again { pause: None } | Meaning::Moved => {
                            self.trouble(verdict(code).to_string(), false);
                            self.pause().await?;
                        }
                        Meaning::Person => {
                            self.trouble(self.needed(code), true);
                            self.pause().await?;
                        }
                    }
                    if self.asks.is_closed() {
                        return None;
                    }
                }
                Err(words) => {
                    self.trouble(words, false);
                    self.pause().await?;
                }
            }
        }
    }

    /// The connection to the coordinator, found and made when there is none. It is handed
    /// out, and put back by who found it good.
    async fn home(&mut self) -> Option<Session> {
        if let Some(home) = self.home.take().filter(|home| !home.is_closed()) {
            return Some(home);
        }
        match self.find().await {
            Ok(home) => Some(home),
            Err((words, needs_person)) => {
                self.trouble(words, needs_person);
                None
            }
        }
    }

    async fn find(&mut self) -> Result<Session, (String, bool)> {
        let bootstrap = self.connector.bootstrap().await;
        let at = self.turn % bootstrap.len().max(1);
        self.turn += 1;
        let Some(address) = bootstrap.get(at) else {
            return Err(("no bootstrap server is configured".into(), true));
        };
        let asked = self.connect(address).await?;
        let query = CoordinatorQuery {
            transactional_id: self.config.id.clone(),
        };
        let passing = |words: String| (words, false);
        let found = asked.ask(query).await.map_err(passing)?;
        match found.code {
            code::NONE => {}
            code::ID_AUTHORIZATION_FAILED => return Err((self.needed(found.code), true)),
            code => return Err((format!("no coordinator: {}", verdict(code)), false)),
        }
        drop(asked);
        let address = HostPort {
            host: found.host,
            port: found.port,
        };
        let home = self.connect(&address).await?;
        // A broker that cannot be asked is older than the feature.
        let features = home.ask(FeaturesQuery).await;
        self.offers_implicit = features.is_ok_and(|f| f.transaction_version >= IMPLICIT_VERSION);
        Ok(home)
    }

    async fn connect(&self, address: &HostPort) -> Result<Session, (String, bool)> {
        let connected = Session::open(&self.connector, address, &mut Trace::default()).await;
        connected.map_err(|error| (error.to_string(), error.needs_person()))
    }

    /// What a person has to do.
    fn needed(&self, code: i16) -> String {
        let id = &self.config.id;
        if code == code::INVALID_TRANSACTION_TIMEOUT {
            return format!(
                "transaction.timeout.ms = {} is above the broker's transaction.max.timeout.ms; \
                 lower it",
                self.config.timeout.as_millis()
            );
        }
        let rights = [Right::Write, Right::Describe];
        let grant = rights::grant(self.connector.config(), On::TransactionalId(id), &rights);
        format!("no right to use transactional.id {id:?}; {grant}")
    }

    fn trouble(&mut self, words: String, needs_person: bool) {
        // Asked many times, and said once.
        if self.said != words {
            self.said.clone_from(&words);
            tracing::warn!(
                transactional_id = &*self.config.id,
                words,
                "the coordinator"
            );
        }
        (self.emit)(News::Trouble {
            words,
            needs_person,
        });
    }

    fn retry(&self) -> Backoff {
        let config = self.connector.config();
        Backoff {
            first: config.retry_backoff,
            max: config.retry_backoff_max,
        }
    }

    /// Waits before the next try; `None` when nobody waits for it any more.
    async fn pause(&mut self) -> Option<()> {
        self.failures += 1;
        tokio::time::sleep(self.retry().after(self.failures, &mut self.rng)).await;
        (!self.asks.is_closed()).then_some(())
    }
}

fn meaning(code: i16) -> Meaning {
    match code {
        code::CONCURRENT_TRANSACTIONS => Meaning::Again {
            pause: Some(CONCURRENT_PAUSE),
        },
        // COORDINATOR_LOAD_IN_PROGRESS, _NOT_AVAILABLE, NOT_COORDINATOR
        14..=16 => Meaning::Moved,
        // UNKNOWN_SERVER_ERROR, REQUEST_TIMED_OUT, NETWORK_EXCEPTION, KAFKA_STORAGE_ERROR,
        // THROTTLING_QUOTA_EXCEEDED
        -1 | 7 | 13 | 56 | 89 => Meaning::Again { pause: None },
        code::ID_AUTHORIZATION_FAILED | code::INVALID_TRANSACTION_TIMEOUT => Meaning::Person,
        _ => Meaning::Final,
    }
}
