//! DescribeQuorum: the only answer of a broker that tells its time without a write.
//!
//! For the leader of the metadata quorum, "last caught up" is the moment of the answer
//! (org.apache.kafka.raft.LeaderState), so it is the controller's clock. Version 1 alone,
//! the first with that field: Kafka 3.3 on, without ZooKeeper, with the right to describe
//! the cluster. All versions are "flexible": compact lengths and tagged fields (KIP-482).

use std::io::Cursor;

use rskafka::protocol::api_key::ApiKey;
use rskafka::protocol::api_version::{ApiVersion, ApiVersionRange};
use rskafka::protocol::messages::{
    ReadVersionedError, ReadVersionedType, RequestBody, WriteVersionedError, WriteVersionedType,
};
use rskafka::protocol::primitives::Int16;
use rskafka::protocol::traits::ReadError;

use super::{Read, versions};
use crate::kafka::read::Reader;

/// Kafka's number of the request.
const DESCRIBE_QUORUM: i16 = 55;

/// The topic that the quorum keeps; it has one partition.
const METADATA_TOPIC: &[u8] = b"__cluster_metadata";

/// Asks the controller about its quorum.
#[derive(Debug)]
pub(in crate::kafka) struct QuorumQuery;

impl RequestBody for QuorumQuery {
    type ResponseBody = Quorum;
    const API_KEY: ApiKey = ApiKey::Unknown(Int16(DESCRIBE_QUORUM));
    const API_VERSION_RANGE: ApiVersionRange = versions(1, 1);
    const FIRST_TAGGED_FIELD_IN_REQUEST_VERSION: ApiVersion = ApiVersion(Int16(0));
}

impl WriteVersionedType<Vec<u8>> for QuorumQuery {
    fn write_versioned(
        &self,
        out: &mut Vec<u8>,
        _version: ApiVersion,
    ) -> Result<(), WriteVersionedError> {
        // Compact lengths are one more than they say; a zero closes each list of tags.
        out.extend_from_slice(&[2, METADATA_TOPIC.len() as u8 + 1]);
        out.extend_from_slice(METADATA_TOPIC);
        out.push(2);
        out.extend_from_slice(&0_i32.to_be_bytes());
        out.extend_from_slice(&[0, 0, 0]);
        Ok(())
    }
}

/// The answer to [`QuorumQuery`].
#[derive(Debug, Default, PartialEq)]
pub(in crate::kafka) struct Quorum {
    pub(in crate::kafka) code: i16,
    /// The controller's clock, milliseconds since the Unix epoch.
    pub(in crate::kafka) controller_ms: Option<i64>,
}

impl ReadVersionedType<Cursor<Vec<u8>>> for Quorum {
    fn read_versioned(
        cursor: &mut Cursor<Vec<u8>>,
        _version: ApiVersion,
    ) -> Result<Self, ReadVersionedError> {
        let mut reader = Reader::at(cursor);
        let answer = Self::read(&mut reader)
            .map_err(|e| ReadVersionedError::ReadError(ReadError::Malformed(e.into())))?;
        let end = reader.position();
        cursor.set_position(end);
        Ok(answer)
    }
}

impl Quorum {
    fn read(r: &mut Reader<'_>) -> Read<Self> {
        let mut quorum = Self {
            code: r.i16()?,
            controller_ms: None,
        };
        for _ in 0..r.compact_len()? {
            let name = r.compact_len()?;
            r.bytes(name)?;
            for _ in 0..r.compact_len()? {
                let _partition = r.i32()?;
                let _code = r.i16()?;
                let leader = r.i32()?;
                let _leader_epoch = r.i32()?;
                let _high_watermark = r.i64()?;
                // Voters, then observers; the leader is a voter.
                for _ in 0..2 {
                    for _ in 0..r.compact_len()? {
                        let replica = r.i32()?;
                        let _log_end = r.i64()?;
                        let _last_fetch_ms = r.i64()?;
                        let caught_up_ms = r.i64()?;
                        r.tags()?;
                        if replica == leader && caught_up_ms > 0 {
                            quorum.controller_ms = Some(caught_up_ms);
                        }
                    }
                }
                r.tags()?;
            }
            r.tags()?;
        }
        r.tags()?;
        Ok(quorum)
    }
}
