//! A scripted Kafka cluster inside the test process.
//!
//! It speaks ApiVersions, Metadata, InitProducerId and Produce over TCP on 127.0.0.1, with
//! the codec of `kafka-protocol`, which shares nothing with the producer under test. It
//! keeps what was produced, follows a broker's rules of de-duplication, misbehaves exactly
//! where the test orders it, and writes down what a producer must never do. There is no
//! TLS and no fetching here: a real broker covers those; logins are judged by the test.
//!
//! ```no_run
//! use std::time::Duration;
//! use spoolway_test_support::scripted::{Action, Cluster, When, code};
//!
//! let cluster = Cluster::start(3);
//! cluster.create_topic("events", 4);
//! cluster.script(When::produce().partition("events", 0).nth(2), Action::DropAfter);
//! // start the producer on cluster.bootstrap() and send ...
//! cluster.wait_until("all stored", Duration::from_secs(10), |state| {
//!     state.topic_record_count("events") == 100
//! });
//! ```
//!
//! Dropping a [`Cluster`] with violations fails the test; [`Cluster::take_violations`] is for
//! tests that expect some.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

mod answer;
pub mod batch;
pub mod code;
mod log;
mod metadata;
mod produce;
mod sasl;
mod script;
mod server;
mod state;
#[cfg(test)]
mod tests;

pub use batch::Record;
pub use log::{PartitionLog, Stored, Verdict};
pub use sasl::Judge;
pub use script::{Action, Api, When};
pub use state::{Request, Sent, State};

use server::Shared;
use state::{Broker, Partition, Topic};

/// `max.message.bytes` of a topic by default.
const MAX_MESSAGE_BYTES: usize = 1_048_588;
/// Attempts to get a broker's old port back.
const REBIND_WAIT: Duration = Duration::from_secs(5);

/// A running cluster; dropping it stops it.
#[derive(Debug)]
pub struct Cluster {
    shared: Arc<Shared>,
}

impl Cluster {
    /// Starts brokers 1 to `brokers`, each on a port of its own.
    pub fn start(brokers: i32) -> Self {
        let shared = Arc::new(Shared::new(State::new()));
        for id in 1..=brokers {
            let listener = TcpListener::bind("127.0.0.1:0").expect("a free port on 127.0.0.1");
            let address = listener
                .local_addr()
                .expect("the address of a bound listener");
            let broker = Broker {
                address,
                up: true,
                fenced: false,
                generation: 0,
            };
            shared.lock().brokers.insert(id, broker);
            server::listen(&shared, id, listener, 0);
        }
        Self { shared }
    }

    /// Every broker as `host:port`, separated by commas.
    pub fn bootstrap(&self) -> String {
        let all: Vec<String> = self
            .shared
            .lock()
            .brokers
            .values()
            .map(|b| b.address.to_string())
            .collect();
        all.join(",")
    }

    /// Where a broker listens, also while it is down.
    pub fn address(&self, broker: i32) -> SocketAddr {
        self.shared
            .lock()
            .brokers
            .get(&broker)
            .expect("a broker of this cluster")
            .address
    }

    /// Makes a topic; its partitions are led by the brokers in turn.
    pub fn create_topic(&self, topic: &str, partitions: i32) {
        self.change(|state| {
            let brokers: Vec<i32> = state.brokers.keys().copied().collect();
            let partitions = brokers
                .iter()
                .cycle()
                .zip(0..partitions)
                .map(|(&leader, _)| Partition {
                    leader,
                    leader_epoch: 0,
                    log: PartitionLog::default(),
                });
            let topic_state = Topic {
                partitions: partitions.collect(),
                sticky: code::NONE,
                max_message_bytes: MAX_MESSAGE_BYTES,
            };
            state.topics.insert(topic.to_owned(), topic_state);
        });
    }

    /// Adds partitions to a topic, as an operator does.
    pub fn add_partitions(&self, topic: &str, more: usize) {
        self.change(|state| {
            let leader = state.brokers.keys().next().copied().unwrap_or(1);
            let partitions = &mut topic_mut(state, topic).partitions;
            for _ in 0..more {
                let log = PartitionLog::default();
                partitions.push(Partition {
                    leader,
                    leader_epoch: 0,
                    log,
                });
            }
        });
    }

    /// Deletes a topic with its records.
    pub fn delete_topic(&self, topic: &str) {
        self.change(|state| drop(state.topics.remove(topic)));
    }

    /// Answers every write to the topic with this code until it is set to [`code::NONE`].
    /// UNKNOWN_TOPIC_OR_PARTITION and TOPIC_AUTHORIZATION_FAILED show in metadata too.
    pub fn set_error(&self, topic: &str, error: i16) {
        self.change(|state| topic_mut(state, topic).sticky = error);
    }

    /// Sets `max.message.bytes` of a topic: the largest batch, as sent.
    pub fn set_max_message_bytes(&self, topic: &str, bytes: usize) {
        self.change(|state| topic_mut(state, topic).max_message_bytes = bytes);
    }

    /// From now on connections have to log in; `judge` says who may. A login is good for
    /// `lifetime`, without end when that is not given.
    pub fn demand_login(&self, mechanism: &str, lifetime: Option<Duration>, judge: Judge) {
        let mechanism = mechanism.to_owned();
        self.change(|state| {
            state.gate = Some(sasl::Gate {
                mechanism,
                judge,
                lifetime,
                inside: std::collections::BTreeMap::new(),
                accepted: 0,
            });
        });
    }

    /// Connections that were ever made.
    pub fn connections(&self) -> u64 {
        self.shared.lock().connections
    }

    /// Logins that were accepted since they are demanded.
    pub fn logins(&self) -> u64 {
        let state = self.shared.lock();
        state.gate.as_ref().map_or(0, |gate| gate.accepted)
    }

    /// Offers these versions of a request, both included.
    pub fn set_versions(&self, api: Api, min: i16, max: i16) {
        self.change(|state| {
            state.versions.insert(api, (min, max));
        });
    }

    /// Gives a partition another leader, which knows all that the old one knew.
    pub fn move_leader(&self, topic: &str, partition: i32, to: i32) {
        self.change(|state| {
            let partition = state
                .partition_mut(topic, partition)
                .expect("a known partition");
            partition.leader = to;
            partition.leader_epoch += 1;
        });
    }

    /// Stops listening and closes the connections. Metadata still names the broker, as in
    /// the seconds before a controller notices; see [`Cluster::fence`].
    pub fn broker_down(&self, broker: i32) {
        let address = self.address(broker);
        self.change(|state| {
            let broker = broker_mut(state, broker);
            broker.up = false;
            broker.generation += 1;
        });
        server::wake(address);
    }

    /// Listens again on the same port.
    pub fn broker_up(&self, broker: i32) {
        let address = self.address(broker);
        let deadline = Instant::now() + REBIND_WAIT;
        let listener = loop {
            match TcpListener::bind(address) {
                Ok(listener) => break listener,
                // The thread of the old listener may not have let go of it yet.
                Err(e) if Instant::now() > deadline => panic!("{address} is gone: {e}"),
                Err(_) => std::thread::yield_now(),
            }
        };
        let mut generation = 0;
        self.change(|state| {
            let broker = broker_mut(state, broker);
            broker.up = true;
            broker.fenced = false;
            broker.generation += 1;
            generation = broker.generation;
        });
        server::listen(&self.shared, broker, listener, generation);
    }

    /// Takes a broker out of the metadata; its partitions have no leader then.
    pub fn fence(&self, broker: i32) {
        self.change(|state| broker_mut(state, broker).fenced = true);
    }

    /// A restart of the broker from disk: connections end, and of every producer only the
    /// last batch is remembered in the partitions it leads.
    pub fn restart(&self, broker: i32) {
        self.broker_down(broker);
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let now_ms = i64::try_from(now.as_millis()).unwrap_or(i64::MAX);
        self.change(|state| {
            let all = state.topics.values_mut().flat_map(|t| &mut t.partitions);
            for partition in all.filter(|p| p.leader == broker) {
                partition.log.restart(now_ms);
            }
        });
        self.broker_up(broker);
    }

    /// Every partition forgets every producer; the records stay.
    pub fn forget_producers(&self) {
        self.change(|state| {
            for partition in state.topics.values_mut().flat_map(|t| &mut t.partitions) {
                partition.log.forget_producers();
            }
        });
    }

    /// A partition loses its last batches, as after an unclean leader election.
    pub fn lose_tail(&self, topic: &str, partition: i32, batches: usize) {
        self.change(|state| {
            let partition = state
                .partition_mut(topic, partition)
                .expect("a known partition");
            partition.log.lose_tail(batches);
        });
    }

    /// From now on producers without idempotence, and acks other than all, break no rule.
    pub fn allow_loose_producers(&self) {
        self.change(|state| state.loose = true);
    }

    /// Adds a rule; rules are looked at in the order in which they were added.
    pub fn script(&self, when: When, action: Action) {
        self.change(|state| state.script.add(when, action));
    }

    /// Takes all rules back.
    pub fn clear_script(&self) {
        self.change(|state| state.script.clear());
    }

    /// How many requests of this kind have arrived.
    pub fn count(&self, api: Api) -> usize {
        self.shared.lock().count(api)
    }

    /// Every request in order of arrival.
    pub fn requests(&self) -> Vec<Request> {
        self.shared.lock().requests.clone()
    }

    /// The records of a partition in order.
    pub fn records(&self, topic: &str, partition: i32) -> Vec<Record> {
        self.shared
            .lock()
            .records(topic, partition)
            .cloned()
            .collect()
    }

    /// The batches of a partition in order.
    pub fn batches(&self, topic: &str, partition: i32) -> Vec<Stored> {
        let state = self.shared.lock();
        state
            .log(topic, partition)
            .map(|l| l.stored().to_vec())
            .unwrap_or_default()
    }

    /// The batches of a partition in order, without the first `skip`.
    pub fn batches_from(&self, topic: &str, partition: i32, skip: usize) -> Vec<Stored> {
        let state = self.shared.lock();
        let stored = state.log(topic, partition).map(PartitionLog::stored);
        let fresh = stored.and_then(|stored| stored.get(skip..));
        fresh.unwrap_or_default().to_vec()
    }

    /// What the producer did that it must not do.
    pub fn violations(&self) -> Vec<String> {
        self.shared.lock().violations.clone()
    }

    /// The same, forgotten afterwards.
    pub fn take_violations(&self) -> Vec<String> {
        std::mem::take(&mut self.shared.lock().violations)
    }

    /// Waits for a condition on the state; looked at after every change.
    ///
    /// # Panics
    ///
    /// When it does not hold within `within`; the text tells `what` and the state.
    #[track_caller]
    pub fn wait_until(&self, what: &str, within: Duration, done: impl Fn(&State) -> bool) {
        if !self.shared.wait_until(Instant::now() + within, done) {
            panic!(
                "not within {within:?}: {what}\n{}",
                self.shared.lock().summary()
            );
        }
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.shared.lock());
        self.shared.notify();
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.stopping = true;
        let listening = state.brokers.values().filter(|b| b.up);
        let addresses: Vec<SocketAddr> = listening.map(|b| b.address).collect();
        let violations = std::mem::take(&mut state.violations);
        drop(state);
        self.shared.notify();
        for address in addresses {
            server::wake(address);
        }
        if !violations.is_empty() && !std::thread::panicking() {
            panic!("the producer broke the rules:\n{}", violations.join("\n"));
        }
    }
}

fn topic_mut<'a>(state: &'a mut State, topic: &str) -> &'a mut Topic {
    state
        .topics
        .get_mut(topic)
        .expect("a topic of this cluster")
}

fn broker_mut(state: &mut State, broker: i32) -> &mut Broker {
    state
        .brokers
        .get_mut(&broker)
        .expect("a broker of this cluster")
}
