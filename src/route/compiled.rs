//! One route, bound to the merged plan: does it take an event, and what does it make of it?
//!
//! Writes into memory that is used again for the next event.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::field::{Field, Fields, Slots, View, looks_inside};
use super::json::PlanBuilder;
use super::meta::Meta;
use super::path::Path;
use super::payload::PayloadSpec;
use super::spec::{HeaderSpec, KeySpec, PartitionSpec, RouteSpec};
use super::template::{Pick, Template};
use super::trigger::Trigger;
use super::value::Value;

/// A route, ready to be applied.
#[derive(Debug)]
pub(super) struct Route {
    pub(super) name: Arc<str>,
    trigger: Option<Trigger>,
    integrations: Option<Integrations>,
    /// Whether the event must be parsed to know if the route takes it.
    pub(super) looks_to_match: bool,
    /// Whether it must be parsed to send it.
    pub(super) looks_to_send: bool,
    /// Index of its topic in the router's list, when it is always the same.
    pub(super) topic: Option<usize>,
    pub(super) spec: RouteSpec,
}

/// Segment's integrations object: `integrations.All` and `integrations.<name>`.
#[derive(Debug)]
struct Integrations {
    all: Field,
    own: Field,
}

impl Integrations {
    fn new(name: &str) -> Self {
        let field = |name: &str| Field::json(Path::of(["integrations", name]));
        Self {
            all: field("All"),
            own: field(name),
        }
    }

    /// Whether the event may go to this destination: its own word counts, where options in
    /// an object mean yes; without one, `All` may say no.
    fn allow(&self, view: &View<'_>, slots: &Slots) -> bool {
        match view.value(&self.own, slots) {
            Value::Null => view.value(&self.all, slots) != Value::Bool(false),
            own => own != Value::Bool(false),
        }
    }
}

impl Fields for Integrations {
    fn each_field(&mut self, visit: &mut dyn FnMut(&mut Field)) {
        visit(&mut self.all);
        visit(&mut self.own);
    }
}

impl Route {
    /// Binds a copy of `spec`; `topic` is the index of its fixed topic.
    pub(super) fn new(spec: &RouteSpec, topic: Option<usize>, plan: &mut PlanBuilder) -> Self {
        let mut route = Self {
            name: spec.name.clone(),
            trigger: spec.trigger.clone(),
            integrations: spec.integrations.as_deref().map(Integrations::new),
            looks_to_match: false,
            looks_to_send: false,
            topic,
            spec: spec.clone(),
        };
        if let Some(trigger) = &mut route.trigger {
            route.looks_to_match |= looks_inside(trigger);
            trigger.each_field(&mut |field| field.bind(plan));
        }
        if let Some(integrations) = &mut route.integrations {
            route.looks_to_match = true;
            integrations.each_field(&mut |field| field.bind(plan));
        }
        route.looks_to_send = looks_inside(&mut route.spec);
        route.spec.each_field(&mut |field| field.bind(plan));
        route
    }

    /// Whether it takes the event, which has been looked into when that is needed.
    pub(super) fn takes(&self, view: &View<'_>, slots: &Slots) -> bool {
        let allowed = self.integrations.as_ref();
        let wanted = self.trigger.as_ref();
        allowed.is_none_or(|integrations| integrations.allow(view, slots))
            && wanted.is_none_or(|trigger| trigger.holds(view, slots))
    }
}

impl RouteSpec {
    /// Names of the captures that the route asks for, `app` for `@capture.app`.
    pub fn captures(&self) -> BTreeSet<String> {
        let mut names = BTreeSet::new();
        let mut note = |field: &mut Field| {
            if let Field::Meta(Meta::Capture(name)) = field {
                names.insert(name.to_string());
            }
        };
        // Visiting takes something to bind, so a copy.
        let mut copy = self.clone();
        copy.each_field(&mut note);
        if let Some(trigger) = &mut copy.trigger {
            trigger.each_field(&mut note);
        }
        names
    }
}

/// The fields of what is sent; the trigger's are bound on their own.
impl Fields for RouteSpec {
    fn each_field(&mut self, visit: &mut dyn FnMut(&mut Field)) {
        self.topic.each_field(visit);
        match &mut self.key {
            Some(KeySpec::Fields(pick)) => pick.each_field(visit),
            Some(KeySpec::Template(template)) => template.each_field(visit),
            None => {}
        }
        if let Some(PartitionSpec::Fields(pick)) = &mut self.partition {
            pick.each_field(visit);
        }
        for header in &mut self.headers {
            if let Some(value) = &mut header.value {
                value.each_field(visit);
            }
        }
        self.payload.each_field(visit);
        if let Some(timestamp) = &mut self.timestamp {
            timestamp.each_field(visit);
        }
        if let Some(tombstone) = &mut self.tombstone {
            tombstone.each_field(visit);
        }
    }
}

impl KeySpec {
    /// Writes the key to `out`, which is empty. False when the event has none.
    pub(super) fn render(&self, view: &View<'_>, slots: &Slots, out: &mut Vec<u8>) -> bool {
        match self {
            Self::Fields(pick) => push_scalar(pick, view, slots, out),
            Self::Template(template) => template.render(view, slots, out).is_ok(),
        }
    }
}

fn push_scalar(pick: &Pick, view: &View<'_>, slots: &Slots, out: &mut Vec<u8>) -> bool {
    let value = pick.scalar(view, slots);
    let text = value.as_ref().and_then(Value::scalar);
    if let Some(text) = text {
        out.extend_from_slice(text.as_bytes());
    }
    text.is_some()
}

impl PartitionSpec {
    /// The partition that the event asks for; `None` when it names none.
    ///
    /// # Errors
    /// The value, when it is no partition.
    pub(super) fn of(&self, view: &View<'_>, slots: &Slots) -> Result<Option<i32>, String> {
        let pick = match self {
            Self::Fixed(partition) => return Ok(Some(*partition)),
            Self::Fields(pick) => pick,
        };
        let Some(value) = pick.value(view, slots) else {
            return Ok(None);
        };
        let text = value.scalar().unwrap_or_default();
        let number = text.parse::<i32>().ok().filter(|number| *number >= 0);
        number.map(Some).ok_or_else(|| value.shown())
    }
}

impl HeaderSpec {
    /// Appends the value; false when it is null. An array or object alone goes as JSON.
    pub(super) fn render(&self, view: &View<'_>, slots: &Slots, out: &mut Vec<u8>) -> bool {
        let Some(template) = &self.value else {
            return false;
        };
        let start = out.len();
        if let Some(Value::List(json) | Value::Object(json)) = only_value(template, view, slots) {
            out.extend_from_slice(json.as_bytes());
            return true;
        }
        let rendered = template.render(view, slots, out).is_ok();
        if !rendered {
            out.truncate(start);
        }
        rendered
    }
}

fn only_value<'x>(template: &'x Template, view: &View<'x>, slots: &Slots) -> Option<Value<'x>> {
    template.only_hole()?.value(view, slots)
}

impl PayloadSpec {
    /// Appends the value of a mapping. `None` when the value is null, false when it is the
    /// event itself.
    pub(super) fn render(&self, view: &View<'_>, slots: &Slots, out: &mut Vec<u8>) -> Option<bool> {
        match self {
            Self::Event => Some(false),
            Self::Tombstone => None,
            Self::Mapping(mapping) => mapping.render(view, slots, out).then_some(true),
        }
    }
}
