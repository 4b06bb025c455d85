//! DescribeQuorum: the only answer of a broker that tells its time without a write.
//!
//! For the leader of the metadata quorum, "last caught up" is the moment of the answer
//! (org.apache.kafka.raft.LeaderState), so it is the controller's clock. Version 1 alone,
//! the first with that field: Kafka 3.3 on, without ZooKeeper, with the right to describe
//! the cluster. All versions are "flexible": compact lengths and tagged fields (KIP-482).

use rskafka::protocol::api_key::ApiKey;
use rskafka::protocol::api_version::{ApiVersion, ApiVersionRange};
use rskafka::protocol::messages::RequestBody;
use rskafka::protocol::primitives::Int16;

use super::put::{put_compact, put_count, put_no_tags};
use super::{ALWAYS, Read, versions};
use crate::kafka::read::Reader;

/// Kafka's number of the request.
const DESCRIBE_QUORUM: i16 = 55;

/// The topic that the quorum keeps; it has one partition.
const METADATA_TOPIC: &str = "__cluster_metadata";

written!(QuorumQuery);
answer!(Quorum);

/// Asks the controller about its quorum.
#[derive(Debug)]
pub(in crate::kafka) struct QuorumQuery;

impl RequestBody for QuorumQuery {
    type ResponseBody = Quorum;
    const API_KEY: ApiKey = ApiKey::Unknown(Int16(DESCRIBE_QUORUM));
    const API_VERSION_RANGE: ApiVersionRange = versions(1, 1);
    const FIRST_TAGGED_FIELD_IN_REQUEST_VERSION: ApiVersion = ALWAYS;
}

impl QuorumQuery {
    fn write(&self, out: &mut Vec<u8>, _version: i16) {
        put_count(out, 1);
        put_compact(out, METADATA_TOPIC);
        put_count(out, 1);
        out.extend_from_slice(&0_i32.to_be_bytes());
        put_no_tags(out); // of the partition
        put_no_tags(out); // of the topic
        put_no_tags(out);
    }
}

/// The answer to [`QuorumQuery`].
#[derive(Debug, Default, PartialEq)]
pub(in crate::kafka) struct Quorum {
    pub(in crate::kafka) code: i16,
    /// The controller's clock, milliseconds since the Unix epoch.
    pub(in crate::kafka) controller_ms: Option<i64>,
}

impl Quorum {
    fn read(r: &mut Reader<'_>, _version: i16) -> Read<Self> {
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
