//! The record value: the event as it is, a mapping, or nothing.
//!
//! What is taken from the event is copied as the text that it is, so numbers keep every
//! digit; only what the mapping adds is written anew.

use super::field::{Field, Fields, Slots, View};
use super::json::push_string;
use super::template::{Template, TemplateError};

/// Deepest nesting of a mapping.
pub const MAPPING_DEPTH_MAX: usize = 16;

/// What a record's value is made of.
#[derive(Debug, Clone)]
pub enum PayloadSpec {
    /// The event byte for byte.
    Event,
    /// A JSON text built from the event.
    Mapping(Mapping),
    /// Null: a tombstone.
    Tombstone,
}

/// A JSON text with holes.
#[derive(Debug, Clone)]
pub enum Mapping {
    /// A string. When it is one hole and nothing else, the value in the event as it stands,
    /// of whatever type.
    Text(Template),
    /// A fixed JSON text: a number or a boolean.
    Fixed(String),
    /// An object; members without a value in the event are left out.
    Object(Vec<(String, Mapping)>),
    /// An array; elements without a value in the event are null.
    List(Vec<Mapping>),
}

impl PayloadSpec {
    /// Airbyte's envelope: `_airbyte_ab_id` is the event's UUID, the same after a retry or a
    /// restart; `_airbyte_data` is the data of an Airbyte record message, or else the event.
    ///
    /// # Errors
    /// None in practice; the templates are ours.
    pub fn airbyte() -> Result<Self, TemplateError> {
        let member = |name: &str, template: &str| {
            Ok((name.to_owned(), Mapping::Text(Template::parse(template)?)))
        };
        Ok(Self::Mapping(Mapping::Object(vec![
            member("_airbyte_ab_id", "{@uuid}")?,
            member(
                "_airbyte_emitted_at",
                "{record.emitted_at|emitted_at|@received}",
            )?,
            member("_airbyte_data", "{record.data|$}")?,
        ])))
    }
}

impl Mapping {
    /// Appends the JSON text for one event. False, with nothing appended, when the event has
    /// no value for it.
    pub(super) fn render(&self, view: &View<'_>, slots: &Slots, out: &mut Vec<u8>) -> bool {
        match self {
            Self::Text(template) => text(template, view, slots, out),
            Self::Fixed(json) => {
                out.extend_from_slice(json.as_bytes());
                true
            }
            Self::Object(members) => {
                out.push(b'{');
                let mut first = true;
                for (name, member) in members {
                    let start = out.len();
                    if !first {
                        out.push(b',');
                    }
                    push_string(name, out);
                    out.push(b':');
                    if member.render(view, slots, out) {
                        first = false;
                    } else {
                        out.truncate(start);
                    }
                }
                out.push(b'}');
                true
            }
            Self::List(items) => {
                out.push(b'[');
                for (index, item) in items.iter().enumerate() {
                    if index > 0 {
                        out.push(b',');
                    }
                    if !item.render(view, slots, out) {
                        out.extend_from_slice(b"null");
                    }
                }
                out.push(b']');
                true
            }
        }
    }
}

fn text(template: &Template, view: &View<'_>, slots: &Slots, out: &mut Vec<u8>) -> bool {
    if let Some(pick) = template.only_hole() {
        let value = pick.value(view, slots);
        if let Some(value) = &value {
            value.push_json(out);
        }
        return value.is_some();
    }
    if let Some(fixed) = template.literal() {
        push_string(fixed, out);
        return true;
    }
    let mut bytes = Vec::new();
    let rendered = template.render(view, slots, &mut bytes);
    let text = rendered.ok().and_then(|()| String::from_utf8(bytes).ok());
    if let Some(text) = &text {
        push_string(text, out);
    }
    text.is_some()
}

impl Fields for Mapping {
    fn each_field(&mut self, visit: &mut dyn FnMut(&mut Field)) {
        match self {
            Self::Text(template) => template.each_field(visit),
            Self::Fixed(_) => {}
            Self::Object(members) => {
                members
                    .iter_mut()
                    .for_each(|(_, member)| member.each_field(visit));
            }
            Self::List(items) => items.iter_mut().for_each(|item| item.each_field(visit)),
        }
    }
}

impl Fields for PayloadSpec {
    fn each_field(&mut self, visit: &mut dyn FnMut(&mut Field)) {
        if let Self::Mapping(mapping) = self {
            mapping.each_field(visit);
        }
    }
}
