//! Routes: which topic, partition, key, headers and payload an event gets.
//!
//! Applied when the spool is drained, so that a changed route also governs the backlog. Pure:
//! no I/O, no clock, no state between events. Looks into an event only when a route needs it,
//! once for all routes, and builds no document ([`json`]).
//!
//! Knows nothing of batches, brokers or the configuration's text; [`spec`] is what the
//! configuration gives it, [`Verdict`] is what the drain gets.

pub mod partition;
pub mod payload;
pub mod spec;
pub mod template;
pub mod timestamp;
pub mod topic;
pub mod trigger;

mod caret;
mod compiled;
mod field;
mod glob;
mod json;
mod meta;
mod path;
mod preset;
mod router;
mod uuid;
mod value;

pub use glob::{Glob, GlobError};
pub use meta::{Event, Host};
pub use path::{Path, PathError};
pub use router::{Matches, Placement, Routed, RoutedTopic, Router, Scratch, Verdict};

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
