//! Support for tests.

pub mod kafka;
pub mod wire;
