//! The dialog with the transaction coordinator: found, connected, and asked until there is an
//! answer that means something: moved coordinators are found again, what passes is waited for,
//! what needs a person is said and tried again. So an answer that was lost with its connection
//! is asked for once more; that is sound, because every request here may be repeated under the
//! same epoch.
//!
//! Which questions there are, and what their answers lead to, is the coordinator task's.

use std::io::Cursor;
use std::time::Duration;

use rskafka::protocol::messages::{ReadVersionedType, RequestBody, WriteVersionedType};

use super::super::backoff::Backoff;
use super::super::code;
use super::super::connect::{Connector, Trace};
use super::super::outcome::verdict;
use super::super::rights::{self, On};
use super::super::session::Session;
use super::super::wire::{CoordinatorQuery, FeaturesQuery};
use super::super::wiring::Wiring;
use super::coordinator::{Ask, News};
use crate::config::{HostPort, TransactionConfig};

/// Wait for the coordinator to finish the transaction before, which takes it some writes to
/// the partitions' leaders. As the Java client has it (TransactionManager.java).
const CONCURRENT_PAUSE: Duration = Duration::from_millis(20);

/// So many of these waits in a row, and status says what is waited for.
const CONCURRENT_SAID: u32 = 50;

/// First version of transactions in which partitions join by being written (KIP-890).
const IMPLICIT_VERSION: i16 = 2;

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
pub(super) struct Dialog<F> {
    wiring: Wiring<Ask, F>,
    config: TransactionConfig,
    home: Option<Session>,
    /// What the coordinator offers.
    offers_implicit: bool,
    /// The next bootstrap address to try, modulo their number.
    turn: usize,
    /// Failures in a row.
    failures: u32,
    /// The trouble that was logged last, until it is over.
    said: String,
}

impl<F: Fn(News) + Send> Dialog<F> {
    pub(super) fn new(wiring: Wiring<Ask, F>, config: TransactionConfig) -> Self {
        Self {
            wiring,
            config,
            home: None,
            offers_implicit: false,
            turn: 0,
            failures: 0,
            said: String::new(),
        }
    }

    pub(super) fn config(&self) -> &TransactionConfig {
        &self.config
    }

    pub(super) fn connector(&self) -> &Connector {
        &self.wiring.connector
    }

    /// Whether partitions may join by being written.
    pub(super) fn offers_implicit(&self) -> bool {
        self.offers_implicit
    }

    /// What the machine wants to know next; `None` when it has gone.
    pub(super) async fn question(&mut self) -> Option<Ask> {
        self.wiring.mail.recv().await
    }

    /// Tells the machine; trouble before it is over.
    pub(super) fn answer(&mut self, news: News) {
        self.said.clear();
        (self.wiring.emit)(news);
    }

    /// Waits as after so many failures.
    pub(super) async fn rest(&mut self, failures: u32) {
        let retry = Backoff::to_retry(self.wiring.config());
        tokio::time::sleep(retry.after(failures, &mut self.wiring.rng)).await;
    }

    /// Takes a connection back that has proven good.
    pub(super) fn keep(&mut self, home: Session) {
        self.home = Some(home);
        self.failures = 0;
    }

    /// Asks until there is an answer; `None` when nobody waits for it any more.
    pub(super) async fn exchange<R>(
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
                    if self.wiring.mail.is_closed() {
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
    pub(super) async fn home(&mut self) -> Option<Session> {
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
        let bootstrap = self.wiring.connector.bootstrap().await;
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
            code::TRANSACTIONAL_ID_AUTHORIZATION_FAILED => {
                return Err((self.needed(found.code), true));
            }
            code => return Err((format!("no coordinator: {}", verdict(code)), false)),
        }
        drop(asked);
        let home = self.connect(&found.broker.address()).await?;
        // A broker that cannot be asked is older than the feature.
        let features = home.ask(FeaturesQuery).await;
        self.offers_implicit = features.is_ok_and(|f| f.transaction_version >= IMPLICIT_VERSION);
        Ok(home)
    }

    async fn connect(&self, address: &HostPort) -> Result<Session, (String, bool)> {
        let connected = Session::open(&self.wiring.connector, address, &mut Trace::default()).await;
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
        let on = On::TransactionalId(id);
        let grant = rights::grant(self.wiring.config(), on, &rights::OF_TRANSACTIONAL_ID);
        format!("no right to use transactional.id {id:?}; {grant}")
    }

    pub(super) fn trouble(&mut self, words: String, needs_person: bool) {
        // Asked many times, and said once.
        if self.said != words {
            self.said.clone_from(&words);
            tracing::warn!(
                transactional_id = &*self.config.id,
                words,
                "the coordinator"
            );
        }
        (self.wiring.emit)(News::Trouble {
            words,
            needs_person,
        });
    }

    /// Waits before the next try; `None` when nobody waits for it any more.
    pub(super) async fn pause(&mut self) -> Option<()> {
        self.failures += 1;
        self.rest(self.failures).await;
        (!self.wiring.mail.is_closed()).then_some(())
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
        code::TRANSACTIONAL_ID_AUTHORIZATION_FAILED | code::INVALID_TRANSACTION_TIMEOUT => {
            Meaning::Person
        }
        _ => Meaning::Final,
    }
}
