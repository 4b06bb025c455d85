//! The producer: sealed batches in, one report per batch out. The only home of `rskafka`.
//!
//! # Promise
//! Idempotent with acks=all, unless the configuration says otherwise. A batch is reported
//! [`Report::Acked`] only after an answer that proves it is in the log (as far as `acks` asks
//! for it); a retry sends the same bytes with the same producer id, epoch and sequence, so the
//! broker recognises it. Nothing is given up for its age or its failures but with
//! `delivery.timeout.ms` or `retries`. With transactions nothing is reported so before its
//! transaction is committed ([`RunReport`]). `rskafka`'s own client does not go so far: it
//! takes a throttled answer (KIP-219) for a failure and sends a batch again that is in the log.
//!
//! # Layout
//! On the drain's thread:
//! - [`BatchBuilder`] (`batch`, `codec`): encodes records, compresses once per batch.
//!
//! On tokio, behind the [`Producer`] handle:
//! - `actor`: the one task that owns all state; mailbox in, requests and reports out.
//! - `core`: its decisions about batches, without I/O; `outcome` is the table of codes, `code`
//!   names some of them.
//! - `topics`: what metadata and answers say about the wanted topics.
//! - `broker`: a task per leader, pipelining requests; `control`: one for metadata and ids;
//!   `wiring`: what each of them is given. `creation`: topics made on demand; `upkeep` renews
//!   a broker's login and certificates while requests flow.
//! - `connect`, `tls`, `sasl`, `link`: how a connection comes about, and its signs of life;
//!   `aws` and `https` are for logins that need more than a password, `canonical` for
//!   bootstrap servers behind an alias.
//! - `session`: a connection for one-off questions; `listing` and [`doctor`] stand on it.
//!   `rights` and `tools` are for the words of what a person has to do.
//! - `txn`, `position`: with transactions, when a run is committed and how far that is.
//! - `wire`, `read`: requests and answers on top of `rskafka`'s messenger.
//!
//! # Limits
//! Mailboxes are unbounded channels whose content is bounded by the caller's
//! `buffer.memory`; requests by `max.request.size`; answers by a constant in `connect`.

mod actor;
mod aws;
mod backoff;
mod batch;
mod broker;
mod cache;
mod canonical;
mod cluster;
mod code;
mod codec;
mod connect;
mod control;
mod core;
mod creation;
pub mod doctor;
#[cfg(fuzzing)]
pub mod fuzz;
mod https;
mod link;
mod listing;
mod outcome;
mod position;
mod producer;
mod read;
mod report;
mod rights;
mod sasl;
mod session;
mod status;
mod tls;
mod tools;
mod topics;
mod txn;
mod upkeep;
mod wire;
mod wiring;

pub use batch::{BatchBuilder, EncodeError, EncodedBatch, HeaderRef, RecordRef};
pub use cluster::{ClusterView, PartitionView, TopicView};
pub use codec::CodecError;
pub use listing::{ListError, TopicInfo, list_topics};
pub use position::Position;
pub use producer::{Producer, StartError};
pub use report::{Batch, Expiry, Refusal, Report, Returned, TopicPartition};
pub use status::{
    BrokerStatus, CertificateStatus, ConnectionStatus, KafkaStatus, PartitionStatus, TopicStatus,
    Totals,
};
pub use txn::{AbortCause, Recovered, RunReport, TransactionStatus};
