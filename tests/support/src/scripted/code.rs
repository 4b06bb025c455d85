//! Kafka's error codes by name, as far as the scripted broker or its tests use them.
//!
//! Source: the protocol guide's table of error codes.

/// No error.
pub const NONE: i16 = 0;
/// The checksum does not match.
pub const CORRUPT_MESSAGE: i16 = 2;
/// The broker does not know the topic or partition.
pub const UNKNOWN_TOPIC_OR_PARTITION: i16 = 3;
/// There is no leader at the moment.
pub const LEADER_NOT_AVAILABLE: i16 = 5;
/// This broker does not lead the partition.
pub const NOT_LEADER_OR_FOLLOWER: i16 = 6;
/// The replicas did not answer in time; the batch may be in the log.
pub const REQUEST_TIMED_OUT: i16 = 7;
/// Larger than `max.message.bytes`.
pub const MESSAGE_TOO_LARGE: i16 = 10;
/// The coordinator is still loading.
pub const COORDINATOR_LOAD_IN_PROGRESS: i16 = 14;
/// Fewer replicas in sync than `min.insync.replicas`; not appended.
pub const NOT_ENOUGH_REPLICAS: i16 = 19;
/// The same, but appended.
pub const NOT_ENOUGH_REPLICAS_AFTER_APPEND: i16 = 20;
/// No right to write to the topic.
pub const TOPIC_AUTHORIZATION_FAILED: i16 = 29;
/// The version of the request is not spoken here.
pub const UNSUPPORTED_VERSION: i16 = 35;
/// The sequence number is not the next one.
pub const OUT_OF_ORDER_SEQUENCE_NUMBER: i16 = 45;
/// The epoch is older than the one the broker knows.
pub const INVALID_PRODUCER_EPOCH: i16 = 47;
/// The log directory failed.
pub const KAFKA_STORAGE_ERROR: i16 = 56;
/// The broker does not know the producer id.
pub const UNKNOWN_PRODUCER_ID: i16 = 59;
/// A record did not pass the broker's checks.
pub const INVALID_RECORD: i16 = 87;
