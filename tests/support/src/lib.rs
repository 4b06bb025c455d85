//! What Spoolway's tests, benches and demo run against: a real Apache Kafka, a scripted broker
//! that misbehaves on demand, and a client to look at what arrived.

pub mod daemon;
pub mod https;
pub mod issuer;
pub mod kafka;
pub mod scripted;
pub mod wire;

use std::io::Write;

/// Says what was not tested, and why: a test that did not run must not look like one that
/// passed.
pub fn skipped(what: &str, why: &str) {
    // Not by a print macro: libtest keeps what those of a passing test say to itself.
    let _ = writeln!(std::io::stderr(), "SKIPPED {what}: {why}");
}
