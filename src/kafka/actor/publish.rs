//! What the actor lets others see: the view of the cluster and the status.
//!
//! Copies state out; changes none.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use super::super::status::TOPICS_SHOWN;
use super::super::{BrokerStatus, ClusterView, KafkaStatus, Report, TopicStatus, TopicView};
use super::{Actor, STATUS_EVERY};
use crate::config::TlsConfig;

impl Actor {
    pub(super) fn publish_cluster(&mut self, now: Instant) {
        let down = |id: i32| {
            let leader = self.leaders.get(&id);
            leader.is_none_or(|l| !l.connection.up && l.connection.error.is_some())
        };
        let views = self.topics.iter();
        let views = views.filter_map(|(name, t)| Some((name.clone(), t.view(now, down)?)));
        let views: HashMap<_, _> = views.collect();
        let old = self.cluster.load();
        if views != old.topics {
            let version = old.version + 1;
            self.cluster.store(Arc::new(ClusterView {
                version,
                topics: views,
            }));
            (self.reports)(Report::ClusterChanged);
        }
        self.status_due = now;
        self.status_stale = true;
    }

    fn failing_topics(&self, now: Instant) -> Vec<TopicStatus> {
        let failing = self.topics.iter();
        let failing = failing.filter_map(|(name, topic)| match topic.view(now, |_| false)? {
            TopicView::Failing { reason, since, .. } => Some(TopicStatus {
                name: name.clone(),
                error: reason,
                since,
            }),
            TopicView::Known { .. } => None,
        });
        let mut failing: Vec<TopicStatus> = failing.collect();
        failing.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        failing.truncate(TOPICS_SHOWN);
        failing
    }

    pub(super) fn publish_status(&mut self, now: Instant) {
        self.status_due = now + STATUS_EVERY;
        self.status_stale = false;
        let brokers = self.leaders.iter().map(|(id, leader)| {
            let (requests, throttled_until) = self.core.lane_status(*id);
            let connection = leader.connection.clone();
            BrokerStatus {
                id: *id,
                connection,
                requests,
                throttled_until,
            }
        });
        let halted = self.leaders.values().filter(|l| l.needs_person);
        let halted = halted.filter_map(|l| l.connection.error.clone()).next();
        let refused = self.identity_error.as_ref().filter(|(_, person)| *person);
        let refused = refused.map(|(reason, _)| reason.clone());
        let transaction = self.transact.as_ref().and_then(|t| t.halted());
        let mut control = self.control.clone();
        if let Some((reason, _)) = &self.identity_error {
            control.error.get_or_insert_with(|| reason.clone());
        }
        self.status.store(Arc::new(KafkaStatus {
            control,
            brokers: brokers.collect(),
            partitions: self.core.partition_status(),
            topics: self.failing_topics(now),
            halted: self
                .control_halt
                .clone()
                .or(halted)
                .or(refused)
                .or(transaction),
            transaction: self.transact.as_ref().map(|t| t.status(now)),
            certificates: self.connector.certificates(),
            unverified: unverified(self.connector.config().tls.as_ref()),
            totals: self.core.totals(),
        }));
    }
}

/// The words for what the configuration switches off.
fn unverified(tls: Option<&TlsConfig>) -> Option<&'static str> {
    let tls = tls?;
    if !tls.verify_certificate {
        Some("CERTIFICATES ARE NOT VERIFIED (enable.ssl.certificate.verification = false)")
    } else if !tls.verify_hostname {
        Some("HOST NAMES ARE NOT VERIFIED (ssl.endpoint.identification.algorithm)")
    } else {
        None
    }
}
