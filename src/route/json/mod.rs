//! Finding fields of a JSON event: one pass over the bytes, no document.
//!
//! All paths that the routes look at are merged into one [`Plan`]; [`scan`] checks the event
//! against RFC 8259 and notes where each field stands. Nothing is decoded until somebody
//! looks at it, and numbers stay the digits that they were.

mod plan;
mod scan;
mod text;

pub(super) use plan::{Plan, PlanBuilder};
pub(super) use scan::{Found, JsonFault, Kind, scan};
pub(super) use text::{items, push_string, unescape};
