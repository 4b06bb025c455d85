//! What Spoolway's tests, benches and demo run against: a real Apache Kafka, a scripted broker
//! that misbehaves on demand, and a client to look at what arrived.

pub mod daemon;
pub mod https;
pub mod issuer;
pub mod kafka;
pub mod scripted;
pub mod wire;
