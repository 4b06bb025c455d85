//! Support for tests.

pub mod kafka;
pub mod scripted;
pub mod wire;
