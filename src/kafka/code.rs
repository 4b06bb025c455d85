//! Kafka's error codes that are told apart by name, beyond what the table in `outcome` says.
//!
//! Names and numbers: <https://kafka.apache.org/protocol#protocol_error_codes>. Decides
//! nothing.

pub(super) const NONE: i16 = 0;
pub(super) const CORRUPT_MESSAGE: i16 = 2;
pub(super) const UNKNOWN_TOPIC_OR_PARTITION: i16 = 3;
pub(super) const LEADER_NOT_AVAILABLE: i16 = 5;
pub(super) const TOPIC_AUTHORIZATION_FAILED: i16 = 29;
pub(super) const CLUSTER_AUTHORIZATION_FAILED: i16 = 31;
pub(super) const ILLEGAL_SASL_STATE: i16 = 34;
pub(super) const TOPIC_ALREADY_EXISTS: i16 = 36;
pub(super) const INVALID_PARTITIONS: i16 = 37;
pub(super) const INVALID_REPLICATION_FACTOR: i16 = 38;
pub(super) const NOT_CONTROLLER: i16 = 41;
pub(super) const POLICY_VIOLATION: i16 = 44;
pub(super) const INVALID_PRODUCER_EPOCH: i16 = 47;
pub(super) const INVALID_PRODUCER_ID_MAPPING: i16 = 49;
pub(super) const INVALID_TRANSACTION_TIMEOUT: i16 = 50;
pub(super) const CONCURRENT_TRANSACTIONS: i16 = 51;
pub(super) const TRANSACTIONAL_ID_AUTHORIZATION_FAILED: i16 = 53;
pub(super) const OPERATION_NOT_ATTEMPTED: i16 = 55;
pub(super) const PRODUCER_FENCED: i16 = 90;
pub(super) const TRANSACTIONAL_ID_NOT_FOUND: i16 = 105;
