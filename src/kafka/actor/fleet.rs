//! The actor's tasks and topics: control task, one broker task per leader, metadata.
//!
//! Says when metadata is asked for, and passes on what it says. Does not send batches.

use std::collections::{BTreeMap, HashMap};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Instant;

use futures_util::FutureExt;
use tokio::sync::mpsc;

use super::super::backoff::Backoff;
use super::super::broker::BrokerTask;
use super::super::control::{Ask, ControlTask};
use super::super::core::Now;
use super::super::topics::{self, Standing, Topic};
use super::super::wire::Metadata;
use super::super::wiring::Wiring;
use super::super::{ConnectionStatus, TopicPartition};
use super::{Actor, Event, Leader};
use crate::config::HostPort;

/// Starts a task that the producer cannot do without: when it panics, as only a bug makes it,
/// the actor is told.
pub(super) fn start_vital(
    events: mpsc::WeakUnboundedSender<Event>,
    task: impl Future<Output = ()> + Send + 'static,
) {
    tokio::spawn(async move {
        // Nothing of the task is looked at afterwards.
        let ended = AssertUnwindSafe(task).catch_unwind().await;
        if ended.is_err()
            && let Some(events) = events.upgrade()
        {
            let _ = events.send(Event::Broken);
        }
    });
}

impl Actor {
    pub(super) fn start_control(&mut self) {
        let (asks, wiring) = self.wire(Event::Control);
        self.asks = Some(asks);
        start_vital(self.events.clone(), ControlTask::new(wiring).run());
    }

    /// The two ends of a task: what it is sent by, and what it is given. What it tells comes
    /// back as an `event`.
    pub(super) fn wire<M, N>(
        &mut self,
        event: fn(N) -> Event,
    ) -> (
        mpsc::UnboundedSender<M>,
        Wiring<M, impl Fn(N) + Send + use<M, N>>,
    ) {
        let (sender, mail) = mpsc::unbounded_channel();
        let events = self.events.clone();
        let emit = move |news| {
            if let Some(events) = events.upgrade() {
                let _ = events.send(event(news));
            }
        };
        let wiring = Wiring {
            connector: self.connector.clone(),
            mail,
            emit,
            rng: self.rng.fork(),
        };
        (sender, wiring)
    }

    /// `refused` has the words for topics that could not be created.
    pub(super) fn take_metadata(
        &mut self,
        metadata: &Metadata,
        refused: &HashMap<String, String>,
        now: Now,
    ) {
        topics::update(&mut self.topics, metadata, refused, now.mono);
        self.sync_leaders(metadata, now);
        let mut topics = std::mem::take(&mut self.topics);
        for (name, topic) in &mut topics {
            self.sync_topic(name, topic, now);
        }
        let unsettled = topics.values().any(Topic::unsettled);
        self.topics = topics;
        let config = self.connector.config();
        self.metadata.open = false;
        self.metadata.unsettled = if unsettled {
            self.metadata.unsettled + 1
        } else {
            0
        };
        let pause = if unsettled {
            Backoff::to_retry(config).after(self.metadata.unsettled, &mut self.rng)
        } else {
            config.metadata_max_age
        };
        self.metadata.due = Some(now.mono + pause);
        self.publish_cluster(now.mono);
    }

    /// Tells the core what is now known of a topic.
    fn sync_topic(&mut self, name: &Arc<str>, topic: &Topic, now: Now) {
        match topic.standing(now.mono) {
            Standing::Failing { reason, since } => {
                self.core.topic_failing(name, reason, since, now);
            }
            Standing::Usable => self.core.topic_usable(name),
            Standing::Wait => return,
        }
        for (id, leader) in topic.partitions() {
            let to = TopicPartition {
                topic: name.clone(),
                partition: *id,
            };
            self.core.leader(&to, *leader, now);
        }
        for id in self.core.partitions_of(name) {
            if !topic.partitions().iter().any(|(known, _)| *known == id) {
                let to = TopicPartition {
                    topic: name.clone(),
                    partition: id,
                };
                self.core.partition_gone(&to);
            }
        }
    }

    /// Starts tasks for new leaders, stops those of brokers that lead nothing wanted.
    fn sync_leaders(&mut self, metadata: &Metadata, now: Now) {
        let leading: Vec<i32> = self
            .topics
            .values()
            .flat_map(|topic| topic.partitions().iter().filter_map(|(_, leader)| *leader))
            .collect();
        let mut wanted = BTreeMap::new();
        for broker in metadata.brokers.iter().filter(|b| leading.contains(&b.id)) {
            wanted.insert(broker.id, broker.address());
        }
        let moved = |id: &i32, leader: &Leader| wanted.get(id) != Some(&leader.address);
        let gone = self.leaders.iter().filter(|(id, leader)| moved(id, leader));
        let gone: Vec<i32> = gone.map(|(id, _)| *id).collect();
        for id in gone {
            self.leaders.remove(&id);
            self.core.connection(id, false, now);
        }
        for (id, address) in wanted {
            if !self.leaders.contains_key(&id) {
                self.start_broker(id, address);
            }
        }
    }

    fn start_broker(&mut self, broker: i32, address: HostPort) {
        let (commands, wiring) = self.wire(Event::Broker);
        let task = self.next_task;
        self.next_task += 1;
        let connection = ConnectionStatus {
            address: address.to_string(),
            ..ConnectionStatus::default()
        };
        let body = BrokerTask {
            broker,
            task,
            address: address.clone(),
            wiring,
        };
        start_vital(self.events.clone(), body.run());
        let leader = Leader {
            task,
            address,
            commands,
            connection,
            needs_person: false,
        };
        self.leaders.insert(broker, leader);
    }

    /// Metadata is in doubt: asks soon, but not more often than the backoff allows.
    pub(super) fn refresh(&mut self, now: Instant) {
        let pause = self.connector.config().retry_backoff;
        let soon = self.metadata.asked_at.map_or(now, |at| now.max(at + pause));
        self.metadata.due = Some(self.metadata.due.map_or(soon, |due| due.min(soon)));
    }

    pub(super) fn ask_metadata(&mut self, now: Now) {
        let due = self.metadata.due.is_some_and(|due| due <= now.mono);
        if due && !self.metadata.open && !self.topics.is_empty() {
            self.metadata.open = true;
            self.metadata.asked_at = Some(now.mono);
            self.ask(Ask::Metadata(self.topics.keys().cloned().collect()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_task_that_panics_is_told_of_and_one_that_ends_is_not() {
        let (events, mut mailbox) = mpsc::unbounded_channel();
        start_vital(events.downgrade(), async {});
        start_vital(events.downgrade(), async { panic!("a bug") });
        assert!(matches!(mailbox.recv().await, Some(Event::Broken)));
        drop(events);
        assert!(mailbox.recv().await.is_none());
    }
}
