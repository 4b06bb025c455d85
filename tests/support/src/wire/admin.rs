//! Topics, access rules, quotas and configuration of the broker under test.
//!
//! Every method opens a connection of its own, so one `Admin` serves all threads and outlives
//! restarts of the broker.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use kafka_protocol::messages::alter_client_quotas_request::{EntityData, EntryData, OpData};
use kafka_protocol::messages::create_acls_request::AclCreation;
use kafka_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use kafka_protocol::messages::delete_acls_request::DeleteAclsFilter;
use kafka_protocol::messages::incremental_alter_configs_request::{
    AlterConfigsResource, AlterableConfig,
};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::metadata_response::MetadataResponseTopic;
use kafka_protocol::messages::{
    AlterClientQuotasRequest, CreateAclsRequest, CreatePartitionsRequest, CreateTopicsRequest,
    DeleteAclsRequest, DeleteTopicsRequest, IncrementalAlterConfigsRequest, MetadataRequest,
    TopicName,
};
use kafka_protocol::protocol::StrBytes;

use super::{Connection, check};
use crate::kafka::wait::wait_for;

/// Time the controller gets for one change, milliseconds.
const CHANGE_TIMEOUT_MS: i32 = 20_000;

/// Longest time until a change shows in the broker's metadata.
const SHOW_TIMEOUT: Duration = Duration::from_secs(20);

/// A rule about one name, and not about all that begin like it.
const LITERAL: i8 = 3;

/// Highest Metadata version with topic names alone.
const METADATA_VERSION: i16 = 12;

/// Administers one broker as its super user, over the PLAINTEXT listener.
#[derive(Debug, Clone, Copy)]
pub struct Admin {
    pub(super) address: SocketAddr,
}

/// What an access rule speaks of.
#[derive(Debug, Clone, Copy)]
pub enum Resource<'a> {
    /// The topic of this name, or every topic by `*`.
    Topic(&'a str),
    /// The whole cluster.
    Cluster,
    /// The transactions of this id.
    TransactionalId(&'a str),
}

impl Resource<'_> {
    /// The number of the protocol, and the name.
    fn parts(&self) -> (i8, &str) {
        match self {
            Self::Topic(name) => (2, name),
            Self::Cluster => (4, "kafka-cluster"),
            Self::TransactionalId(id) => (5, id),
        }
    }
}

/// What an access rule lets a user do; numbers of the protocol.
#[derive(Debug, Clone, Copy)]
pub enum Operation {
    /// Everything.
    All = 2,
    /// Fetch.
    Read = 3,
    /// Produce; implies `Describe`.
    Write = 4,
    /// Create topics.
    Create = 5,
    /// See in metadata.
    Describe = 8,
    /// Idempotent produce, for brokers before 3.0.
    IdempotentWrite = 12,
}

/// Whether an access rule allows or denies.
#[derive(Debug, Clone, Copy)]
pub enum Access {
    /// Denies, whatever else allows.
    Deny = 2,
    /// Allows.
    Allow = 3,
}

impl Admin {
    /// The administrator of the broker at `address`. Does not connect yet.
    pub fn new(address: SocketAddr) -> Self {
        Self { address }
    }

    pub(super) fn connect(&self) -> Result<Connection> {
        Connection::open(self.address)
    }

    /// Ids of the brokers that a metadata answer names. Empty while the broker is not ready.
    pub fn brokers(&self) -> Result<Vec<i32>> {
        let ask = MetadataRequest::default().with_topics(Some(Vec::new()));
        let answer = self.connect()?.call(&ask, METADATA_VERSION)?;
        Ok(answer
            .brokers
            .iter()
            .map(|broker| broker.node_id.0)
            .collect())
    }

    /// Creates a topic with one replica and returns once each partition has a leader.
    pub fn create_topic(
        &self,
        topic: &str,
        partitions: i32,
        configs: &[(&str, &str)],
    ) -> Result<()> {
        self.make_topic(topic, partitions, 1, configs)?;
        self.wait_for_partitions(topic, partitions)
    }

    /// Creates a topic with some replicas and waits for nothing.
    pub fn make_topic(
        &self,
        topic: &str,
        partitions: i32,
        replicas: i16,
        configs: &[(&str, &str)],
    ) -> Result<()> {
        let configs = configs.iter().map(|(name, value)| {
            CreatableTopicConfig::default()
                .with_name(text(name))
                .with_value(Some(text(value)))
        });
        let ask = CreateTopicsRequest::default()
            .with_timeout_ms(CHANGE_TIMEOUT_MS)
            .with_topics(vec![
                CreatableTopic::default()
                    .with_name(TopicName(text(topic)))
                    .with_num_partitions(partitions)
                    .with_replication_factor(replicas)
                    .with_configs(configs.collect()),
            ]);
        let answer = self.connect()?.call(&ask, i16::MAX)?;
        for result in &answer.topics {
            check(result.error_code).with_context(|| format!("creating topic {topic}"))?;
        }
        Ok(())
    }

    /// The node that leads a partition and how many replicas are in sync; `None` without a
    /// leader.
    pub fn leader(&self, topic: &str, partition: i32) -> Result<Option<(i32, usize)>> {
        let answer = self.describe(topic)?;
        check(answer.error_code).with_context(|| format!("topic {topic}"))?;
        let mut all = answer.partitions.iter();
        let found = all.find(|known| known.partition_index == partition);
        let found = found.with_context(|| format!("no partition {partition} of {topic}"))?;
        let leader = Some(found.leader_id.0).filter(|id| *id >= 0);
        Ok(leader.map(|id| (id, found.isr_nodes.len())))
    }

    /// Raises a topic's number of partitions to `total`.
    pub fn create_partitions(&self, topic: &str, total: i32) -> Result<()> {
        let ask = CreatePartitionsRequest::default()
            .with_timeout_ms(CHANGE_TIMEOUT_MS)
            .with_topics(vec![
                CreatePartitionsTopic::default()
                    .with_name(TopicName(text(topic)))
                    .with_count(total)
                    .with_assignments(None),
            ]);
        for result in self.connect()?.call(&ask, i16::MAX)?.results {
            check(result.error_code).with_context(|| format!("growing topic {topic}"))?;
        }
        self.wait_for_partitions(topic, total)
    }

    /// Deletes a topic and returns once it is gone from the metadata.
    pub fn delete_topic(&self, topic: &str) -> Result<()> {
        let ask = DeleteTopicsRequest::default()
            .with_timeout_ms(CHANGE_TIMEOUT_MS)
            .with_topic_names(vec![TopicName(text(topic))]);
        // From version 6 on, topics may be named by id and the field is another one.
        for result in self.connect()?.call(&ask, 5)?.responses {
            check(result.error_code).with_context(|| format!("deleting topic {topic}"))?;
        }
        wait_for(SHOW_TIMEOUT, &format!("topic {topic} to go"), || {
            Ok(self.describe(topic)?.error_code != 0)
        })
    }

    /// Adds one access rule for `principal`, such as `User:alice`, from any host.
    pub fn create_acl(
        &self,
        principal: &str,
        resource: Resource<'_>,
        operation: Operation,
        access: Access,
    ) -> Result<()> {
        let (kind, name) = resource.parts();
        let rule = AclCreation::default()
            .with_resource_type(kind)
            .with_resource_name(text(name))
            .with_resource_pattern_type(LITERAL)
            .with_principal(text(principal))
            .with_host(text("*"))
            .with_operation(operation as i8)
            .with_permission_type(access as i8);
        let ask = CreateAclsRequest::default().with_creations(vec![rule]);
        for result in self.connect()?.call(&ask, i16::MAX)?.results {
            check(result.error_code).with_context(|| format!("access rule of {principal}"))?;
        }
        Ok(())
    }

    /// Takes every access rule about `resource` back from `principal`.
    pub fn delete_acls(&self, principal: &str, resource: Resource<'_>) -> Result<()> {
        const ANY: i8 = 1;
        let (kind, name) = resource.parts();
        let filter = DeleteAclsFilter::default()
            .with_resource_type_filter(kind)
            .with_resource_name_filter(Some(text(name)))
            .with_pattern_type_filter(LITERAL)
            .with_principal_filter(Some(text(principal)))
            .with_host_filter(None)
            .with_operation(ANY)
            .with_permission_type(ANY);
        let ask = DeleteAclsRequest::default().with_filters(vec![filter]);
        for result in self.connect()?.call(&ask, i16::MAX)?.filter_results {
            check(result.error_code).with_context(|| format!("rules of {principal}"))?;
            ensure!(!result.matching_acls.is_empty(), "{principal} has no rule");
        }
        Ok(())
    }

    /// Lets `User:{user}` produce to `topic`.
    pub fn allow_produce(&self, user: &str, topic: &str) -> Result<()> {
        let principal = format!("User:{user}");
        self.create_acl(
            &principal,
            Resource::Topic(topic),
            Operation::Write,
            Access::Allow,
        )
    }

    /// Sets (`Some`) or removes (`None`) one quota of a client id, such as
    /// `producer_byte_rate` in bytes per second.
    pub fn alter_client_quota(
        &self,
        client_id: &str,
        quota: &str,
        value: Option<f64>,
    ) -> Result<()> {
        let entity = EntityData::default()
            .with_entity_type(text("client-id"))
            .with_entity_name(Some(text(client_id)));
        let change = OpData::default()
            .with_key(text(quota))
            .with_value(value.unwrap_or_default())
            .with_remove(value.is_none());
        let ask = AlterClientQuotasRequest::default().with_entries(vec![
            EntryData::default()
                .with_entity(vec![entity])
                .with_ops(vec![change]),
        ]);
        for result in self.connect()?.call(&ask, i16::MAX)?.entries {
            check(result.error_code).with_context(|| format!("quota of {client_id}"))?;
        }
        Ok(())
    }

    /// Sets properties of a topic, such as `max.message.bytes`; `None` = back to the default.
    pub fn alter_topic_configs(&self, topic: &str, configs: &[(&str, Option<&str>)]) -> Result<()> {
        const TOPIC: i8 = 2;
        self.alter_configs(TOPIC, topic, configs)
    }

    /// Sets properties of the broker that can change while it runs.
    pub fn alter_broker_configs(&self, configs: &[(&str, Option<&str>)]) -> Result<()> {
        const BROKER: i8 = 4;
        // The empty name means all brokers of the cluster.
        self.alter_configs(BROKER, "", configs)
    }

    fn alter_configs(&self, kind: i8, name: &str, configs: &[(&str, Option<&str>)]) -> Result<()> {
        const SET: i8 = 0;
        const DELETE: i8 = 1;
        let configs = configs.iter().map(|(name, value)| {
            AlterableConfig::default()
                .with_name(text(name))
                .with_config_operation(if value.is_some() { SET } else { DELETE })
                .with_value(value.map(text))
        });
        let ask = IncrementalAlterConfigsRequest::default().with_resources(vec![
            AlterConfigsResource::default()
                .with_resource_type(kind)
                .with_resource_name(text(name))
                .with_configs(configs.collect()),
        ]);
        for result in self.connect()?.call(&ask, i16::MAX)?.responses {
            check(result.error_code).with_context(|| format!("configuring {name:?}"))?;
        }
        Ok(())
    }

    /// Numbers of a topic's partitions, ascending.
    pub fn partitions(&self, topic: &str) -> Result<Vec<i32>> {
        let answer = self.describe(topic)?;
        check(answer.error_code).with_context(|| format!("topic {topic}"))?;
        let mut numbers: Vec<i32> = answer
            .partitions
            .iter()
            .map(|partition| partition.partition_index)
            .collect();
        numbers.sort_unstable();
        Ok(numbers)
    }

    fn describe(&self, topic: &str) -> Result<MetadataResponseTopic> {
        let ask = MetadataRequest::default().with_topics(Some(vec![
            MetadataRequestTopic::default().with_name(Some(TopicName(text(topic)))),
        ]));
        let mut answer = self.connect()?.call(&ask, METADATA_VERSION)?;
        ensure!(answer.topics.len() == 1, "metadata without topic {topic}");
        Ok(answer.topics.remove(0))
    }

    /// A leader is named in the metadata a moment before it serves, so both are asked.
    fn wait_for_partitions(&self, topic: &str, count: i32) -> Result<()> {
        let what = format!("leaders of {count} partitions of {topic}");
        let count = usize::try_from(count)?;
        wait_for(SHOW_TIMEOUT, &what, || {
            let marks = self.watermarks(topic);
            Ok(marks.is_ok_and(|marks| marks.len() == count))
        })
    }
}

pub(super) fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}
