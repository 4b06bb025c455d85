//! Requests to the brokers, their answers, and how the connections stand.
//!
//! Which batch goes into which request, and what an answer means for it, is the core's.

use std::time::Duration;

use super::super::TopicPartition;
use super::super::broker::{BrokerEvent, BrokerNews, Command};
use super::super::control::Ask;
use super::super::core::{Now, Part, PartReply, Reply, RequestId};
use super::super::outcome::verdict;
use super::super::wire::{Produce, Produced, TopicBatches, broker_share};
use super::Actor;
use crate::config::Acks;

impl Actor {
    pub(super) fn produce(&mut self, broker: i32, request: RequestId, parts: Vec<Part>, now: Now) {
        let mut topics: Vec<TopicBatches> = Vec::new();
        for part in parts {
            let entry = (part.to.partition, part.records);
            match topics.iter_mut().find(|known| known.topic == part.to.topic) {
                Some(known) => known.batches.push(entry),
                None => topics.push(TopicBatches {
                    topic: part.to.topic,
                    batches: vec![entry],
                }),
            }
        }
        let acks = match self.connector.config().acks {
            Acks::All => -1,
            Acks::Leader => 1,
            Acks::None => 0,
        };
        let body = Produce {
            transactional_id: self.transact.as_ref().map(|t| t.id().clone()),
            acks,
            timeout_ms: broker_share(self.connector.config().request_timeout),
            topics,
        };
        let command = Command {
            request,
            body,
            implicit: self.transact.as_ref().is_some_and(|t| t.is_implicit()),
        };
        let sent = self
            .leaders
            .get(&broker)
            .is_some_and(|l| l.commands.send(command).is_ok());
        if !sent {
            self.core.lost(request, "no connection to the broker", now);
        }
    }

    pub(super) fn broker(&mut self, event: BrokerEvent, now: Now) {
        let BrokerEvent { broker, task, what } = event;
        let current = self
            .leaders
            .get_mut(&broker)
            .filter(|leader| leader.task == task);
        match what {
            BrokerNews::Answered { request, answer } => {
                let throttle =
                    Duration::from_millis(u64::try_from(answer.throttle_ms).unwrap_or(0));
                self.core.answered(request, replies(answer), throttle, now);
            }
            BrokerNews::Lost { request, reason } => self.core.lost(request, &reason, now),
            BrokerNews::Up => {
                let Some(leader) = current else { return };
                leader.connection.up = true;
                leader.connection.error = None;
                leader.connection.retry_at = None;
                leader.needs_person = false;
                tracing::info!(broker, address = leader.connection.address, "connected");
                self.core.connection(broker, true, now);
                self.publish_cluster(now.mono);
                if self.control.error.is_some() {
                    self.ask(Ask::Now);
                }
            }
            BrokerNews::Idle => {
                let Some(leader) = current else { return };
                leader.connection.up = false;
            }
            BrokerNews::Down {
                error,
                needs_person,
                retry_at,
            } => {
                let Some(leader) = current else { return };
                tracing::warn!(
                    broker,
                    address = leader.connection.address,
                    error,
                    "disconnected"
                );
                leader.connection.up = false;
                leader.connection.error = Some(error);
                leader.connection.retry_at = Some(retry_at);
                leader.needs_person = needs_person;
                self.core.connection(broker, false, now);
                self.refresh(now.mono);
                self.publish_cluster(now.mono);
            }
        }
    }
}

fn replies(answer: Produced) -> Vec<PartReply> {
    let parts = answer.parts.into_iter().map(|part| PartReply {
        to: TopicPartition {
            topic: part.topic.into(),
            partition: part.partition,
        },
        reply: Reply::Code {
            verdict: verdict(part.code),
            message: part.message,
            record_index: part.record_index,
        },
    });
    parts.collect()
}
