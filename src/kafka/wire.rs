//! The requests we send and the answers we read, as types for `rskafka`'s messenger.
//!
//! Own types because `rskafka`'s cannot say what we need: produce with prepared bytes and
//! per-record errors (v8), metadata that never creates a topic, producer ids, the broker's
//! text when it refuses a login. Versions below the "flexible" ones, but for transactions.
//! Layouts: <https://kafka.apache.org/protocol#protocol_messages>.
//!
//! An answer is read from a slice with every length checked against what is left of it, so
//! that malformed bytes end in an error and never in a panic or a large allocation.

use std::io::Cursor;
use std::sync::Arc;

use bytes::Bytes;
use rskafka::protocol::api_key::ApiKey;
use rskafka::protocol::api_version::{ApiVersion, ApiVersionRange};
use rskafka::protocol::messages::{
    ReadVersionedError, ReadVersionedType, RequestBody, WriteVersionedError, WriteVersionedType,
};
use rskafka::protocol::primitives::Int16;
use rskafka::protocol::traits::ReadError;

use super::read::{Form, Reader};

/// First version of Produce whose answer names the refused records (KIP-467).
const PRODUCE_RECORD_ERRORS: i16 = 8;

/// First version of Produce with tagged fields (KIP-482).
const PRODUCE_TAGGED: i16 = 9;

/// For requests whose versions here all come before tagged fields.
const NEVER: ApiVersion = ApiVersion(Int16(i16::MAX));

const fn versions(min: i16, max: i16) -> ApiVersionRange {
    ApiVersionRange::new(ApiVersion(Int16(min)), ApiVersion(Int16(max)))
}

/// A question: which request it is, in which versions, and from which on it has tagged fields.
macro_rules! question {
    ($request:ty => $answer:ty, $key:ident, $min:literal ..= $max:literal, tagged $tagged:expr) => {
        impl RequestBody for $request {
            type ResponseBody = $answer;
            const API_KEY: ApiKey = ApiKey::$key;
            const API_VERSION_RANGE: ApiVersionRange = versions($min, $max);
            const FIRST_TAGGED_FIELD_IN_REQUEST_VERSION: ApiVersion = $tagged;
        }

        impl WriteVersionedType<Vec<u8>> for $request {
            fn write_versioned(
                &self,
                out: &mut Vec<u8>,
                version: ApiVersion,
            ) -> Result<(), WriteVersionedError> {
                self.write(out, version.0.0);
                Ok(())
            }
        }
    };
}

/// An answer that can be read.
macro_rules! answer {
    ($answer:ty) => {
        impl ReadVersionedType<Cursor<Vec<u8>>> for $answer {
            fn read_versioned(
                cursor: &mut Cursor<Vec<u8>>,
                version: ApiVersion,
            ) -> Result<Self, ReadVersionedError> {
                let mut reader = Reader::at(cursor);
                let answer = Self::read(&mut reader, version.0.0)
                    .map_err(|e| ReadVersionedError::ReadError(ReadError::Malformed(e.into())))?;
                let end = reader.position();
                cursor.set_position(end);
                Ok(answer)
            }
        }
    };
}

macro_rules! request {
    ($request:ty => $answer:ty, $key:ident, $min:literal ..= $max:literal) => {
        question!($request => $answer, $key, $min..=$max, tagged NEVER);
        answer!($answer);
    };
}

mod open;
mod position;
mod txn;

pub(super) use open::{StableEndQuery, StateQuery, TransactionState};
pub(super) use position::{Fetch, Fetched, FirstOffsetQuery};
pub(super) use txn::{
    AddPartitions, CoordinatorQuery, EndTxn, EndTxnBumping, FeaturesQuery, ImplicitProduce,
    TxnProducerId,
};

request!(Produce => Produced, Produce, 3..=8);
request!(MetadataQuery => Metadata, Metadata, 4..=7);
request!(NewProducerId => ProducerId, InitProducerId, 0..=1);
request!(SaslToken => SaslAnswer, SaslAuthenticate, 0..=1);
request!(SaslHello => SaslMechanisms, SaslHandshake, 1..=1);

type Read<T> = Result<T, super::read::Malformed>;

mod admin;
mod quorum;
mod settings;

pub(super) use admin::{Cluster, ClusterPartition, ClusterQuery, ClusterTopic};
pub(super) use quorum::QuorumQuery;
pub(super) use settings::{CreatedTopics, NewTopics, Settings, SettingsOf, SettingsQuery};

/// Batches for one broker, at most one per partition, grouped by topic.
#[derive(Debug)]
pub(super) struct Produce {
    /// Whose word is waited for: -1 all replicas in sync, 1 the leader, 0 nobody.
    pub(super) acks: i16,
    /// Set when the batches belong to a transaction.
    pub(super) transactional_id: Option<Arc<str>>,
    /// How long the broker may wait for its replicas.
    pub(super) timeout_ms: i32,
    pub(super) topics: Vec<TopicBatches>,
}

/// Batches of one topic.
#[derive(Debug)]
pub(super) struct TopicBatches {
    pub(super) topic: Arc<str>,
    /// Partition and batch.
    pub(super) batches: Vec<(i32, Bytes)>,
}

impl Produce {
    fn write(&self, out: &mut Vec<u8>, _version: i16) {
        let all = self.topics.iter().flat_map(|t| &t.batches);
        out.reserve(64 + all.map(|(_, records)| records.len() + 300).sum::<usize>());
        put_nullable(out, self.transactional_id.as_deref());
        out.extend_from_slice(&self.acks.to_be_bytes());
        out.extend_from_slice(&self.timeout_ms.to_be_bytes());
        put_len(out, self.topics.len());
        for TopicBatches { topic, batches } in &self.topics {
            put_string(out, topic);
            put_len(out, batches.len());
            for (partition, records) in batches {
                out.extend_from_slice(&partition.to_be_bytes());
                put_len(out, records.len());
                out.extend_from_slice(records);
            }
        }
    }
}

/// The answer to [`Produce`].
#[derive(Debug, Default, PartialEq)]
pub(super) struct Produced {
    pub(super) parts: Vec<ProducedPart>,
    pub(super) throttle_ms: i32,
}

impl Produced {
    /// What stands for the answer that a broker does not give with acks=0.
    pub(super) fn unasked(request: &Produce) -> Self {
        let parts = request.topics.iter().flat_map(|topic| {
            topic.batches.iter().map(|(partition, _)| ProducedPart {
                topic: topic.topic.to_string(),
                partition: *partition,
                ..ProducedPart::default()
            })
        });
        Self {
            parts: parts.collect(),
            throttle_ms: 0,
        }
    }
}

/// The answer for one batch.
#[derive(Debug, Default, PartialEq)]
pub(super) struct ProducedPart {
    pub(super) topic: String,
    pub(super) partition: i32,
    pub(super) code: i16,
    /// Index of the first refused record, v8 on.
    pub(super) record_index: Option<u32>,
    pub(super) message: Option<String>,
    /// Where the first record landed.
    pub(super) base_offset: i64,
    /// The broker's clock, when the topic keeps that (LogAppendTime); else -1.
    pub(super) append_time_ms: i64,
}

impl Produced {
    fn read(r: &mut Reader<'_>, version: i16) -> Read<Self> {
        let form = Form::of(version >= PRODUCE_TAGGED);
        let mut parts = Vec::new();
        for _ in 0..r.count(form)? {
            let topic = r.text(form)?;
            for _ in 0..r.count(form)? {
                parts.push(ProducedPart::read(r, version, form, &topic)?);
            }
            r.end(form)?;
        }
        let throttle_ms = r.i32()?;
        r.end(form)?;
        Ok(Self { parts, throttle_ms })
    }
}

impl ProducedPart {
    fn read(r: &mut Reader<'_>, version: i16, form: Form, topic: &str) -> Read<Self> {
        let partition = r.i32()?;
        let code = r.i16()?;
        let base_offset = r.i64()?;
        let append_time_ms = r.i64()?;
        if version >= 5 {
            let _log_start_offset = r.i64()?;
        }
        let mut record_index = None;
        let mut message = None;
        if version >= PRODUCE_RECORD_ERRORS {
            for _ in 0..r.count(form)? {
                let index = u32::try_from(r.i32()?).ok();
                let text = r.nullable_text(form)?;
                r.end(form)?;
                if record_index.is_none() {
                    record_index = index;
                    message = text;
                }
            }
            let text = r.nullable_text(form)?;
            message = message.or(text);
        }
        r.end(form)?;
        Ok(Self {
            topic: topic.to_owned(),
            partition,
            code,
            record_index,
            message,
            base_offset,
            append_time_ms,
        })
    }
}

/// Asks for brokers and for the leaders of these topics; never creates one.
#[derive(Debug)]
pub(super) struct MetadataQuery {
    pub(super) topics: Vec<Arc<str>>,
}

impl MetadataQuery {
    fn write(&self, out: &mut Vec<u8>, _version: i16) {
        put_len(out, self.topics.len());
        for topic in &self.topics {
            put_string(out, topic);
        }
        out.push(0); // allow_auto_topic_creation
    }
}

/// The answer to [`MetadataQuery`].
#[derive(Debug, Default, PartialEq)]
pub(super) struct Metadata {
    pub(super) brokers: Vec<MetadataBroker>,
    pub(super) topics: Vec<MetadataTopic>,
}

/// A broker's address as it advertises it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct MetadataBroker {
    pub(super) id: i32,
    pub(super) host: String,
    pub(super) port: u16,
}

/// A topic.
#[derive(Debug, PartialEq)]
pub(super) struct MetadataTopic {
    pub(super) code: i16,
    pub(super) name: String,
    /// Partition and its leader, ascending by partition.
    pub(super) partitions: Vec<(i32, Option<i32>)>,
}

impl MetadataBroker {
    /// The brokers of a metadata answer, racks left out.
    fn read_all(r: &mut Reader<'_>) -> Read<Vec<Self>> {
        let mut brokers = Vec::new();
        for _ in 0..r.len()? {
            let id = r.i32()?;
            let host = r.string()?;
            let port = u16::try_from(r.i32()?).map_err(|_| r.bad("a port beyond 65535"))?;
            let _rack = r.nullable()?;
            brokers.push(Self { id, host, port });
        }
        Ok(brokers)
    }
}

impl Metadata {
    fn read(r: &mut Reader<'_>, version: i16) -> Read<Self> {
        let _throttle_ms = r.i32()?;
        let brokers = MetadataBroker::read_all(r)?;
        let _cluster_id = r.nullable()?;
        let _controller = r.i32()?;
        let mut topics = Vec::new();
        for _ in 0..r.len()? {
            let code = r.i16()?;
            let name = r.string()?;
            let _internal = r.bytes(1)?;
            let mut partitions = Vec::new();
            for _ in 0..r.len()? {
                let _code = r.i16()?;
                let id = r.i32()?;
                let leader = r.i32()?;
                if version >= 7 {
                    let _leader_epoch = r.i32()?;
                }
                let nodes = if version >= 5 { 3 } else { 2 }; // replicas, in sync, offline
                for _ in 0..nodes {
                    let count = r.len()?;
                    r.bytes(count * 4)?;
                }
                partitions.push((id, Some(leader).filter(|l| *l >= 0)));
            }
            partitions.sort_unstable();
            topics.push(MetadataTopic {
                code,
                name,
                partitions,
            });
        }
        Ok(Self { brokers, topics })
    }
}

/// Asks for a producer id, without transactions.
#[derive(Debug)]
pub(super) struct NewProducerId;

impl NewProducerId {
    fn write(&self, out: &mut Vec<u8>, _version: i16) {
        put_nullable(out, None); // transactional id
        out.extend_from_slice(&i32::MAX.to_be_bytes()); // transaction timeout: not used
    }
}

/// The answer to [`NewProducerId`].
#[derive(Debug, PartialEq)]
pub(super) struct ProducerId {
    pub(super) code: i16,
    pub(super) id: i64,
    pub(super) epoch: i16,
}

impl ProducerId {
    fn read(r: &mut Reader<'_>, _version: i16) -> Read<Self> {
        let _throttle_ms = r.i32()?;
        Ok(Self {
            code: r.i16()?,
            id: r.i64()?,
            epoch: r.i16()?,
        })
    }
}

/// Names the SASL mechanism.
#[derive(Debug)]
pub(super) struct SaslHello {
    pub(super) mechanism: &'static str,
}

impl SaslHello {
    fn write(&self, out: &mut Vec<u8>, _version: i16) {
        put_string(out, self.mechanism);
    }
}

/// The answer to [`SaslHello`].
#[derive(Debug, PartialEq)]
pub(super) struct SaslMechanisms {
    pub(super) code: i16,
    pub(super) mechanisms: Vec<String>,
}

impl SaslMechanisms {
    fn read(r: &mut Reader<'_>, _version: i16) -> Read<Self> {
        let code = r.i16()?;
        let mut mechanisms = Vec::new();
        for _ in 0..r.len()? {
            mechanisms.push(r.string()?);
        }
        Ok(Self { code, mechanisms })
    }
}

/// A step of the SASL exchange. Holds a secret; no `Debug`.
pub(super) struct SaslToken(pub(super) zeroize::Zeroizing<Vec<u8>>);

impl SaslToken {
    fn write(&self, out: &mut Vec<u8>, _version: i16) {
        put_len(out, self.0.len());
        out.extend_from_slice(&self.0);
    }
}

/// The answer to [`SaslToken`].
#[derive(Debug, PartialEq)]
pub(super) struct SaslAnswer {
    pub(super) code: i16,
    pub(super) message: Option<String>,
    pub(super) token: Vec<u8>,
    /// The login is good for so long; 0 = without end. KIP-368.
    pub(super) lifetime_ms: i64,
}

impl SaslAnswer {
    fn read(r: &mut Reader<'_>, version: i16) -> Read<Self> {
        let code = r.i16()?;
        let message = r.nullable()?;
        let length = r.len()?;
        let token = r.bytes(length)?.to_vec();
        let lifetime_ms = if version >= 1 { r.i64()? } else { 0 };
        Ok(Self {
            code,
            message,
            token,
            lifetime_ms,
        })
    }
}

/// Lengths here are bounded by `max.request.size` and the names' own limits.
fn put_len(out: &mut Vec<u8>, len: usize) {
    out.extend_from_slice(&(len as i32).to_be_bytes());
}

fn put_string(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(&(text.len() as i16).to_be_bytes());
    out.extend_from_slice(text.as_bytes());
}

fn put_nullable(out: &mut Vec<u8>, text: Option<&str>) {
    match text {
        Some(text) => put_string(out, text),
        None => out.extend_from_slice(&(-1_i16).to_be_bytes()),
    }
}

#[cfg(test)]
mod tests;
