//! The integration tests, in one crate.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test, helpers included, fails by panicking"
)]

/// TLS against a real Apache Kafka.
mod certificates;
/// The real binary: exit codes and output.
mod cli;
/// The real binary, when it asks a daemon.
mod cli_ask;
/// The real binary, on routes.
mod cli_routes;
/// Topics made on demand.
mod creation;
/// Events that Kafka refused for good.
mod dead_letters;
/// What `kafka test` finds, and `topics`.
mod doctor;
/// What `kafka test` finds of transactions.
mod doctor_transactions;
/// One partition or event in trouble, and the others.
mod drain;
/// Events that go to several routes.
mod drain_copies;
/// A Java file against a real Apache Kafka.
mod java_properties;
/// Three brokers, and the leader dies.
mod leaders;
/// Logins without a password.
mod logins;
/// The producer against brokers that fail.
mod producer_faults;
/// The producer against a real Apache Kafka.
mod producer_kafka;
/// What the tests of the producer share.
mod producer_rig;
/// What the documents tell the reader to type.
mod readme;
/// What is renewed while events flow.
mod renewal;
/// The pages that map other products to routes.
mod route_docs;
/// Routes against a real Apache Kafka.
mod route_kafka;
/// What RudderStack, SignalSmith and Airbyte can say.
mod route_products;
/// Routes changed while events wait.
mod route_reload;
/// What the tests of routes share.
mod route_rig;
/// What Segment's Kafka destination can say.
mod route_segment;
/// What the settings of the four products do to a real Apache Kafka.
mod route_settings;
/// Canaries in whatever is written.
mod secrets;
/// What the settings of `[kafka]` do on the wire.
mod settings;
/// What writers are told.
mod socket;
/// The spool as its users see it.
mod spool_basics;
/// Checkpoints and the events that they cover.
mod spool_checkpoints;
/// The spool on damaged, foreign and full directories.
mod spool_damage;
/// The spool on a disk without space.
mod spool_full;
/// Spool directories that earlier builds left.
mod spool_golden;
/// The spool against a model.
mod spool_model;
/// Checkpoints of every sort.
mod spool_notes;
/// What the tests of the spool share.
mod spool_rig;
/// Log files, followed through rotation and kill -9.
mod tail;
mod tail_lines;
/// The import rules of the tree.
mod tidy;
/// Transactions that the spool does not know of.
mod transaction_recovery;
/// What the tests of transactions share.
mod transaction_rig;
/// Transactions and the rights that they need.
mod transaction_rights;
/// Transactions against a real Apache Kafka.
mod transactions;
/// The unit file by systemd's own measure.
mod unit_file;
/// The settings pages and the page of symptoms.
mod vendor_docs;
/// The oldest and the newest Kafka.
mod versions;
