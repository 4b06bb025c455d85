//! The producer: sealed batches in, one report per batch out. The only home of `rskafka`.
//!
//! # Promise
//! Idempotent with acks=all, always. A batch is reported [`Report::Acked`] only after an
//! answer that proves it is in the log; a retry sends the same bytes with the same producer
//! id, epoch and sequence, so the broker recognises it. Nothing expires by age.
//!
//! # Layout
//! - [`BatchBuilder`] encodes records and compresses them; runs on the drain's thread.

mod actor;
mod backoff;
mod batch;
mod broker;
mod cluster;
mod codec;
mod connect;
mod control;
mod core;
mod link;
mod outcome;
mod producer;
mod read;
mod report;
mod sasl;
mod status;
mod tls;
mod topics;
mod wire;

pub use batch::{BatchBuilder, EncodeError, EncodedBatch, HeaderRef, RecordRef};
pub use cluster::{ClusterView, PartitionView, TopicView};
pub use codec::CodecError;
pub use producer::{Producer, StartError};
pub use report::{Batch, Refusal, Report, TopicPartition};
pub use status::{BrokerStatus, ConnectionStatus, KafkaStatus, PartitionStatus, Totals};
