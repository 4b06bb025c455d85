//! A reference to a field or to metadata, and the way to its value.
//!
//! A reference is parsed once, bound to a slot of the merged plan once, and then looked up.

use std::fmt;

use super::json::{Found, JsonFault, Plan, PlanBuilder, scan};
use super::meta::{Event, Host, Meta};
use super::path::Path;
use super::value::Value;

/// A slot that no plan has: the reference is not bound, and its value is null.
const UNBOUND: u32 = u32::MAX;

/// A field of the event or a piece of metadata.
#[derive(Debug, Clone)]
pub(super) enum Field {
    /// A path into the event.
    Json {
        /// Where it stands.
        path: Path,
        /// Its place in the plan.
        slot: u32,
    },
    /// Metadata.
    Meta(Meta),
}

impl Field {
    /// A reference to `path`, not bound yet.
    pub(super) fn json(path: Path) -> Self {
        let slot = UNBOUND;
        Self::Json { path, slot }
    }

    /// Whether the event has to be parsed for it.
    pub(super) fn looks_inside(&self) -> bool {
        matches!(self, Self::Json { .. })
    }

    /// Gives it a slot of the plan.
    pub(super) fn bind(&mut self, plan: &mut PlanBuilder) {
        if let Self::Json { path, slot } = self {
            *slot = plan.slot(path).unwrap_or(UNBOUND);
        }
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Json { path, .. } => write!(f, "{path}"),
            Self::Meta(meta) => write!(f, "{meta}"),
        }
    }
}

/// Whatever holds references, so that all of them can be visited.
pub(super) trait Fields {
    /// Calls `visit` with every reference.
    fn each_field(&mut self, visit: &mut dyn FnMut(&mut Field));
}

/// Whether any reference in `thing` needs the event parsed.
pub(super) fn looks_inside(thing: &mut dyn Fields) -> bool {
    let mut inside = false;
    thing.each_field(&mut |field| inside |= field.looks_inside());
    inside
}

/// Memory of one scan, used again for the next event.
#[derive(Debug, Default)]
pub(super) struct Slots {
    found: Vec<Found>,
}

/// One event as the routes see it.
pub(super) struct View<'a> {
    /// The event itself.
    pub(super) event: Event<'a>,
    /// What does not depend on the event.
    pub(super) host: &'a Host,
    text: Option<&'a str>,
}

impl<'a> View<'a> {
    /// The event, not looked into yet.
    pub(super) fn new(event: Event<'a>, host: &'a Host) -> Self {
        Self {
            event,
            host,
            text: None,
        }
    }

    /// Parses the event, the first time only.
    ///
    /// # Errors
    /// When it is no JSON.
    pub(super) fn look_inside(&mut self, plan: &Plan, slots: &mut Slots) -> Result<(), JsonFault> {
        if self.text.is_none() {
            self.text = Some(scan(self.event.bytes, plan, &mut slots.found)?);
        }
        Ok(())
    }

    /// The value of `field`; null as long as the event has not been looked into.
    pub(super) fn value(&self, field: &Field, slots: &Slots) -> Value<'a> {
        match field {
            Field::Meta(meta) => meta.value(&self.event, self.host),
            Field::Json { slot, .. } => {
                let found = slots.found.get(*slot as usize);
                match (self.text, found) {
                    (Some(text), Some(&found)) => Value::of(text, found),
                    _ => Value::Null,
                }
            }
        }
    }
}
