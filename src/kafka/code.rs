//! Kafka's error codes that are told apart by name, beyond what the table in `outcome` says.
//!
//! Names and numbers: <https://kafka.apache.org/protocol#protocol_error_codes>. Decides
//! nothing.

pub(super) const CORRUPT_MESSAGE: i16 = 2;
