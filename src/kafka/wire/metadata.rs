//! Metadata: the brokers, and the topics with their partitions.

use std::sync::Arc;

use super::Read;
use super::put::{put_len, put_string};
use crate::config::HostPort;
use crate::kafka::read::Reader;

request!(MetadataQuery => Metadata, Metadata, 4..=7);

/// Asks for the brokers and for topics; never creates one.
#[derive(Debug)]
pub(in crate::kafka) struct MetadataQuery {
    /// `None` asks for all topics that the asker may see.
    pub(in crate::kafka) topics: Option<Vec<Arc<str>>>,
}

impl MetadataQuery {
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

/// The answer to [`MetadataQuery`].
#[derive(Debug, Default, PartialEq)]
pub(in crate::kafka) struct Metadata {
    pub(in crate::kafka) cluster_id: Option<String>,
    pub(in crate::kafka) brokers: Vec<MetadataBroker>,
    pub(in crate::kafka) topics: Vec<MetadataTopic>,
}

/// A broker's address as it advertises it.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::kafka) struct MetadataBroker {
    pub(in crate::kafka) id: i32,
    pub(in crate::kafka) host: String,
    pub(in crate::kafka) port: u16,
}

/// A topic.
#[derive(Debug, Default, PartialEq)]
pub(in crate::kafka) struct MetadataTopic {
    pub(in crate::kafka) code: i16,
    pub(in crate::kafka) name: String,
    pub(in crate::kafka) internal: bool,
    /// Ascending by number.
    pub(in crate::kafka) partitions: Vec<MetadataPartition>,
}

/// A partition.
#[derive(Debug, Default, PartialEq)]
pub(in crate::kafka) struct MetadataPartition {
    pub(in crate::kafka) id: i32,
    pub(in crate::kafka) leader: Option<i32>,
    pub(in crate::kafka) replicas: usize,
    pub(in crate::kafka) in_sync: usize,
}

impl Metadata {
    fn read(r: &mut Reader<'_>, version: i16) -> Read<Self> {
        let _throttle_ms = r.i32()?;
        let mut brokers = Vec::new();
        for _ in 0..r.len()? {
            brokers.push(MetadataBroker::read(r)?);
        }
        let cluster_id = r.nullable()?;
        let _controller = r.i32()?;
        let mut topics = Vec::new();
        for _ in 0..r.len()? {
            topics.push(MetadataTopic::read(r, version)?);
        }
        Ok(Self {
            cluster_id,
            brokers,
            topics,
        })
    }
}

impl MetadataBroker {
    /// Where it says that it is.
    pub(in crate::kafka) fn address(&self) -> HostPort {
        HostPort {
            host: self.host.clone(),
            port: self.port,
        }
    }

    fn read(r: &mut Reader<'_>) -> Read<Self> {
        let id = r.i32()?;
        let host = r.string()?;
        let port = u16::try_from(r.i32()?).map_err(|_| r.bad("a port beyond 65535"))?;
        let _rack = r.nullable()?;
        Ok(Self { id, host, port })
    }
}

impl MetadataTopic {
    fn read(r: &mut Reader<'_>, version: i16) -> Read<Self> {
        let code = r.i16()?;
        let name = r.string()?;
        let internal = r.bytes(1)? != [0];
        let mut partitions = Vec::new();
        for _ in 0..r.len()? {
            partitions.push(MetadataPartition::read(r, version)?);
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

impl MetadataPartition {
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
