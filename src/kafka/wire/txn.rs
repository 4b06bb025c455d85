//! Requests of transactions: coordinator, partitions, end (KIP-98, KIP-890).
//!
//! Plain forms wherever Kafka has one that says enough. Tagged ones only for what belongs to
//! transaction version 2: an end that raises the epoch, and whether there is that version.

use std::sync::Arc;

use rskafka::protocol::api_key::ApiKey;
use rskafka::protocol::api_version::{ApiVersion, ApiVersionRange};
use rskafka::protocol::messages::RequestBody;

use super::put::{put_compact, put_identity, put_len, put_no_tags, put_string};
use super::{ALWAYS, MetadataBroker, NEVER, Read, versions};
use crate::kafka::TopicPartition;
use crate::kafka::core::Identity;
use crate::kafka::read::{Form, Reader};

/// Kafka's number for the coordinator of a transactional id.
const KEY_OF_TRANSACTIONS: u8 = 1;

/// The tag of the finalized features in the answer to ApiVersions (KIP-584).
const FINALIZED_FEATURES: u32 = 2;

/// The feature that tells the version of transactions (KIP-890).
const TRANSACTION_VERSION: &str = "transaction.version";

question!(CoordinatorQuery => Coordinator, FindCoordinator, 1..=2, tagged NEVER);
answer!(Coordinator);
question!(AddPartitions => Added, AddPartitionsToTxn, 0..=2, tagged NEVER);
answer!(Added);
question!(EndTxn => Ended, EndTxn, 0..=2, tagged NEVER);
question!(EndTxnBumping => Ended, EndTxn, 5..=5, tagged ALWAYS);
answer!(Ended);
written!(FeaturesQuery);
answer!(Features);

/// Asks who coordinates the transactions of this id.
#[derive(Debug)]
pub(in crate::kafka) struct CoordinatorQuery {
    pub(in crate::kafka) transactional_id: Arc<str>,
}

impl CoordinatorQuery {
    fn write(&self, out: &mut Vec<u8>, _version: i16) {
        put_string(out, &self.transactional_id);
        out.push(KEY_OF_TRANSACTIONS);
    }
}

/// The answer to [`CoordinatorQuery`].
#[derive(Debug, PartialEq)]
pub(in crate::kafka) struct Coordinator {
    pub(in crate::kafka) code: i16,
    pub(in crate::kafka) broker: MetadataBroker,
}

impl Coordinator {
    fn read(r: &mut Reader<'_>, _version: i16) -> Read<Self> {
        let _throttle_ms = r.i32()?;
        let code = r.i16()?;
        let _message = r.nullable()?;
        let id = r.i32()?;
        let host = r.string()?;
        // -1 when there is none.
        let port = u16::try_from(r.i32()?).unwrap_or_default();
        let broker = MetadataBroker { id, host, port };
        Ok(Self { code, broker })
    }
}

/// Registers partitions with the transaction; the first registration begins it.
#[derive(Debug)]
pub(in crate::kafka) struct AddPartitions {
    pub(in crate::kafka) transactional_id: Arc<str>,
    pub(in crate::kafka) identity: Identity,
    pub(in crate::kafka) partitions: Vec<TopicPartition>,
}

impl AddPartitions {
    fn write(&self, out: &mut Vec<u8>, _version: i16) {
        put_string(out, &self.transactional_id);
        put_identity(out, self.identity);
        put_len(out, self.partitions.len());
        for to in &self.partitions {
            put_string(out, &to.topic);
            put_len(out, 1);
            out.extend_from_slice(&to.partition.to_be_bytes());
        }
    }
}

/// The answer to [`AddPartitions`].
#[derive(Debug, PartialEq)]
pub(in crate::kafka) struct Added {
    /// Topic, partition and code.
    pub(in crate::kafka) parts: Vec<(String, i32, i16)>,
}

impl Added {
    fn read(r: &mut Reader<'_>, _version: i16) -> Read<Self> {
        let _throttle_ms = r.i32()?;
        let mut parts = Vec::new();
        for _ in 0..r.len()? {
            let topic = r.string()?;
            for _ in 0..r.len()? {
                parts.push((topic.clone(), r.i32()?, r.i16()?));
            }
        }
        Ok(Self { parts })
    }
}

/// Commits or aborts.
#[derive(Debug, Clone)]
pub(in crate::kafka) struct EndTxn {
    pub(in crate::kafka) transactional_id: Arc<str>,
    pub(in crate::kafka) identity: Identity,
    pub(in crate::kafka) commit: bool,
}

impl EndTxn {
    fn write(&self, out: &mut Vec<u8>, _version: i16) {
        put_string(out, &self.transactional_id);
        put_identity(out, self.identity);
        out.push(u8::from(self.commit));
    }
}

/// The same with transaction version 2: the answer names the epoch of the next transaction.
#[derive(Debug)]
pub(in crate::kafka) struct EndTxnBumping(pub(in crate::kafka) EndTxn);

impl EndTxnBumping {
    fn write(&self, out: &mut Vec<u8>, _version: i16) {
        put_compact(out, &self.0.transactional_id);
        put_identity(out, self.0.identity);
        out.push(u8::from(self.0.commit));
        put_no_tags(out);
    }
}

/// The answer to [`EndTxn`] and [`EndTxnBumping`].
#[derive(Debug, PartialEq)]
pub(in crate::kafka) struct Ended {
    pub(in crate::kafka) code: i16,
    /// Whom the next transaction belongs to, when the broker says so.
    pub(in crate::kafka) next: Option<Identity>,
}

impl Ended {
    fn read(r: &mut Reader<'_>, version: i16) -> Read<Self> {
        let form = Form::of(version >= 3);
        let _throttle_ms = r.i32()?;
        let code = r.i16()?;
        let mut next = None;
        if version >= 5 {
            let (id, epoch) = (r.i64()?, r.i16()?);
            next = (id >= 0 && epoch >= 0).then_some(Identity { id, epoch });
        }
        r.end(form)?;
        Ok(Self { code, next })
    }
}

/// Asks which features the cluster has agreed upon.
#[derive(Debug)]
pub(in crate::kafka) struct FeaturesQuery;

impl RequestBody for FeaturesQuery {
    type ResponseBody = Features;
    const API_KEY: ApiKey = ApiKey::ApiVersions;
    const API_VERSION_RANGE: ApiVersionRange = versions(3, 3);
    const FIRST_TAGGED_FIELD_IN_REQUEST_VERSION: ApiVersion = ALWAYS;
    // The header of this one answer has none, so that every client can read it (KIP-511).
    const FIRST_TAGGED_FIELD_IN_RESPONSE_VERSION: ApiVersion = NEVER;
}

impl FeaturesQuery {
    fn write(&self, out: &mut Vec<u8>, _version: i16) {
        put_compact(out, env!("CARGO_PKG_NAME"));
        put_compact(out, env!("CARGO_PKG_VERSION"));
        put_no_tags(out);
    }
}

/// The answer to [`FeaturesQuery`].
#[derive(Debug, PartialEq)]
pub(in crate::kafka) struct Features {
    /// 0 when the cluster does not say.
    pub(in crate::kafka) transaction_version: i16,
}

impl Features {
    fn read(r: &mut Reader<'_>, _version: i16) -> Read<Self> {
        let form = Form::Compact;
        let _code = r.i16()?;
        for _ in 0..r.count(form)? {
            let _key_min_max = r.bytes(6)?;
            r.end(form)?;
        }
        let _throttle_ms = r.i32()?;
        let mut transaction_version = 0;
        r.each_tag(|tag, r| {
            if tag == FINALIZED_FEATURES {
                for _ in 0..r.count(form)? {
                    let name = r.text(form)?;
                    let (max, _min) = (r.i16()?, r.i16()?);
                    r.end(form)?;
                    if name == TRANSACTION_VERSION {
                        transaction_version = max;
                    }
                }
            }
            Ok(())
        })?;
        Ok(Self {
            transaction_version,
        })
    }
}
