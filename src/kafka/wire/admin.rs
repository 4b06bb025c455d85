//! Requests about the cluster itself: brokers, topics with their replicas, settings.
//!
//! For one-off questions; the producer asks its own, smaller ones (see `wire`).

use std::io::Cursor;
use std::sync::Arc;

use rskafka::protocol::api_key::ApiKey;
use rskafka::protocol::api_version::{ApiVersion, ApiVersionRange};
use rskafka::protocol::messages::{
    ReadVersionedError, ReadVersionedType, RequestBody, WriteVersionedError, WriteVersionedType,
};
use rskafka::protocol::traits::ReadError;

use super::{MetadataBroker, NEVER, Read, put_len, put_string, versions};
use crate::kafka::read::Reader;

request!(ClusterQuery => Cluster, Metadata, 4..=7);

/// Asks for the brokers and for topics; never creates one.
#[derive(Debug)]
pub(in crate::kafka) struct ClusterQuery {
    /// `None` asks for all topics that the asker may see.
    pub(in crate::kafka) topics: Option<Vec<Arc<str>>>,
}

impl ClusterQuery {
    fn write(&self, out: &mut Vec<u8>, _version: i16) {
        match &self.topics {
            None => out.extend_from_slice(&(-1_i32).to_be_bytes()),
            Some(topics) => {
                put_len(out, topics.len());
                topics.iter().for_each(|topic| put_string(out, topic));
            }
        }
        out.push(0); // allow_auto_topic_creation
    }
}

/// The answer to [`ClusterQuery`].
#[derive(Debug, Default, PartialEq)]
pub(in crate::kafka) struct Cluster {
    pub(in crate::kafka) id: Option<String>,
    pub(in crate::kafka) brokers: Vec<MetadataBroker>,
    pub(in crate::kafka) topics: Vec<ClusterTopic>,
}

/// A topic with everything that Metadata tells of it.
#[derive(Debug, Default, PartialEq)]
pub(in crate::kafka) struct ClusterTopic {
    pub(in crate::kafka) code: i16,
    pub(in crate::kafka) name: String,
    pub(in crate::kafka) internal: bool,
    pub(in crate::kafka) partitions: Vec<ClusterPartition>,
}

/// A partition.
#[derive(Debug, Default, PartialEq)]
pub(in crate::kafka) struct ClusterPartition {
    pub(in crate::kafka) id: i32,
    pub(in crate::kafka) leader: Option<i32>,
    pub(in crate::kafka) replicas: usize,
    pub(in crate::kafka) in_sync: usize,
}

impl Cluster {
    fn read(r: &mut Reader<'_>, version: i16) -> Read<Self> {
        let _throttle_ms = r.i32()?;
        let brokers = MetadataBroker::read_all(r)?;
        let id = r.nullable()?;
        let _controller = r.i32()?;
        let mut topics = Vec::new();
        for _ in 0..r.len()? {
            topics.push(ClusterTopic::read(r, version)?);
        }
        Ok(Self {
            id,
            brokers,
            topics,
        })
    }
}

impl ClusterTopic {
    fn read(r: &mut Reader<'_>, version: i16) -> Read<Self> {
        let code = r.i16()?;
        let name = r.string()?;
        let internal = r.bytes(1)? != [0];
        let mut partitions = Vec::new();
        for _ in 0..r.len()? {
            partitions.push(ClusterPartition::read(r, version)?);
        }
        partitions.sort_unstable_by_key(|partition| partition.id);
        Ok(Self {
            code,
            name,
            internal,
            partitions,
        })
    }
}

impl ClusterPartition {
    fn read(r: &mut Reader<'_>, version: i16) -> Read<Self> {
        let _code = r.i16()?;
        let id = r.i32()?;
        let leader = Some(r.i32()?).filter(|leader| *leader >= 0);
        if version >= 7 {
            let _leader_epoch = r.i32()?;
        }
        let replicas = nodes(r)?;
        let in_sync = nodes(r)?;
        if version >= 5 {
            nodes(r)?; // offline
        }
        Ok(Self {
            id,
            leader,
            replicas,
            in_sync,
        })
    }
}

/// The length of a list of broker ids, which is skipped.
fn nodes(r: &mut Reader<'_>) -> Read<usize> {
    let count = r.len()?;
    r.bytes(count * 4)?;
    Ok(count)
}
