//! Spoolway gets every event off an edge host and into Apache Kafka.
//!
//! The tree is the architecture. Data flows one way and imports follow it:
//!
//! - [`clock`]: the host's clock as a number.
//! - [`event`]: what an input hands in, and where it came from.
//! - [`proof`]: sequence numbers and the tokens that carry the promise.
//! - [`config`]: the configuration, parsed once into checked types.
//! - [`input`]: Unix sockets and log files; frames lines, answers writers.
//! - [`spool`]: the durable queue on disk; the only home of `sled`.
//! - [`route`]: which topic, key and payload an event gets; pure.
//! - [`drain`]: reads the spool, routes, builds batches, settles outcomes.
//! - [`kafka`]: the producer; the only home of `rskafka`.
//! - [`daemon`]: wires the owners together, starts, watches and stops them.
//! - [`cli`]: the commands of the `spoolway` binary.
//! - [`logging`]: log lines on standard error.
//! - [`memory`]: how the allocator is set up.
//! - `room`: room at the end of a buffer, for a compressor to write into.
//!
//! `tests/it/tidy.rs` reads the imports and fails when an arrow points back. Who owns what,
//! and where to begin reading, is in docs/architecture.md.

pub mod cli;
pub mod clock;
pub mod config;
pub mod daemon;
pub mod drain;
pub mod event;
pub mod input;
pub mod kafka;
pub mod logging;
pub mod memory;
pub mod proof;
mod room;
pub mod route;
pub mod spool;
