//! Producer ids: one for an idempotent producer, or that of a transactional id (KIP-98).

use std::sync::Arc;

use super::Read;
use super::put::{put_nullable, put_string};
use crate::kafka::code;
use crate::kafka::core::Identity;
use crate::kafka::read::Reader;

question!(NewProducerId => ProducerId, InitProducerId, 0..=1, tagged NEVER);
question!(TxnProducerId => ProducerId, InitProducerId, 0..=1, tagged NEVER);
answer!(ProducerId);

/// Asks for a producer id, without transactions.
#[derive(Debug)]
pub(in crate::kafka) struct NewProducerId;

impl NewProducerId {
    fn write(&self, out: &mut Vec<u8>, _version: i16) {
        put_nullable(out, None); // transactional id
        out.extend_from_slice(&i32::MAX.to_be_bytes()); // transaction timeout: not used
    }
}

/// Asks for the producer id of a transactional id: fences whoever had it before, and aborts
/// what that one left open.
#[derive(Debug)]
pub(in crate::kafka) struct TxnProducerId {
    pub(in crate::kafka) transactional_id: Arc<str>,
    /// After this long the coordinator aborts a transaction by itself.
    pub(in crate::kafka) timeout_ms: i32,
}

impl TxnProducerId {
    fn write(&self, out: &mut Vec<u8>, _version: i16) {
        put_string(out, &self.transactional_id);
        out.extend_from_slice(&self.timeout_ms.to_be_bytes());
    }
}

/// The answer to both.
#[derive(Debug, PartialEq)]
pub(in crate::kafka) struct ProducerId {
    pub(in crate::kafka) code: i16,
    pub(in crate::kafka) id: i64,
    pub(in crate::kafka) epoch: i16,
}

impl ProducerId {
    /// Whom it makes us. Going on with the id -1 of an error would switch idempotence off
    /// (measured).
    pub(in crate::kafka) fn given(&self) -> Option<Identity> {
        let identity = Identity {
            id: self.id,
            epoch: self.epoch,
        };
        Some(identity).filter(|_| self.code == code::NONE && self.id >= 0)
    }

    fn read(r: &mut Reader<'_>, _version: i16) -> Read<Self> {
        let _throttle_ms = r.i32()?;
        Ok(Self {
            code: r.i16()?,
            id: r.i64()?,
            epoch: r.i16()?,
        })
    }
}
