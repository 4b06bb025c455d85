//! Texts with holes, such as `orders-{properties.store|'unknown'}`.
//!
//! A hole names fields, metadata or a text in single quotes, tried from left to right until
//! one has a value. `{{` and `}}` stand for braces. What a template is used for, and what a
//! missing value means there, is decided elsewhere.

use super::caret::Caret;
use super::field::{Field, Fields, Slots, View};
use super::meta::{self, Meta};
use super::path::{Path, quoted};
use super::preset;
use super::value::Value;

/// Longest template in bytes.
pub const TEMPLATE_BYTES_MAX: usize = 4 * 1024;

/// Most alternatives of one hole.
const ALTERNATIVES_MAX: usize = 16;

/// A text that is no template, or no list of alternatives. Its display shows the text with
/// a caret under the place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}{}", Caret { source: source_text, at: *at })]
pub struct TemplateError {
    /// The template as it was written.
    pub source_text: String,
    /// Byte of the place.
    pub at: usize,
    /// What is wrong there.
    pub what: String,
}

/// Values to choose from: the first that is there.
#[derive(Debug, Clone)]
pub struct Pick {
    alternatives: Vec<Alternative>,
}

#[derive(Debug, Clone)]
enum Alternative {
    Field(Field),
    Text(String),
}

/// A text with holes.
#[derive(Debug, Clone)]
pub struct Template {
    source: String,
    pieces: Vec<Piece>,
}

#[derive(Debug, Clone)]
enum Piece {
    Literal(String),
    Hole(Pick),
}

/// No alternative of a hole has a value that can stand in a text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the event has no {0}")]
pub(super) struct Missing(pub(super) String);

impl Pick {
    /// Reads fields and metadata, each as a text of its own, e.g. `userId` and `@input`. A
    /// field may have any characters, dots separate.
    ///
    /// # Errors
    /// When one of them is no path and no metadata, or when there are none or too many.
    pub fn fields<'t>(fields: impl IntoIterator<Item = &'t str>) -> Result<Self, TemplateError> {
        let mut alternatives = Vec::new();
        for text in fields {
            let fail = |at: usize, what: &str| TemplateError {
                source_text: text.to_owned(),
                at,
                what: what.to_owned(),
            };
            if alternatives.len() >= ALTERNATIVES_MAX {
                return Err(fail(0, "there are too many alternatives"));
            }
            let field = match text.strip_prefix('@') {
                Some(name) => {
                    let meta = Meta::named(name).ok_or_else(|| fail(0, &unknown_meta(name)))?;
                    Field::Meta(meta)
                }
                None => Field::json(Path::parse(text).map_err(|e| fail(e.at, e.what))?),
            };
            alternatives.push(Alternative::Field(field));
        }
        Ok(Self { alternatives })
    }

    /// The first alternative that is not null.
    pub(super) fn value<'x>(&'x self, view: &View<'x>, slots: &Slots) -> Option<Value<'x>> {
        self.alternatives.iter().find_map(|alternative| {
            let value = alternative.value(view, slots);
            (value != Value::Null).then_some(value)
        })
    }

    /// The first alternative with a text, a number or a boolean; an empty text only when no
    /// other has one, because an empty identifier is none.
    pub(super) fn scalar<'x>(&'x self, view: &View<'x>, slots: &Slots) -> Option<Value<'x>> {
        let mut empty = None;
        for alternative in &self.alternatives {
            let value = alternative.value(view, slots);
            match value.scalar() {
                None => {}
                Some("") => empty = empty.or(Some(value)),
                Some(_) => return Some(value),
            }
        }
        empty
    }

    /// The alternatives as they are written in a configuration.
    pub fn shown(&self) -> Vec<String> {
        let shown = self
            .alternatives
            .iter()
            .map(|alternative| match alternative {
                Alternative::Field(field) => field.to_string(),
                Alternative::Text(text) => format!("'{text}'"),
            });
        shown.collect()
    }

    fn names(&self) -> String {
        self.shown().join(", and no ")
    }
}

impl Alternative {
    fn value<'x>(&'x self, view: &View<'x>, slots: &Slots) -> Value<'x> {
        match self {
            Self::Field(field) => view.value(field, slots),
            Self::Text(text) => Value::Text(text.as_str().into()),
        }
    }
}

impl Fields for Pick {
    fn each_field(&mut self, visit: &mut dyn FnMut(&mut Field)) {
        for alternative in &mut self.alternatives {
            if let Alternative::Field(field) = alternative {
                visit(field);
            }
        }
    }
}

impl Template {
    /// Compiles `source`.
    ///
    /// # Errors
    /// The first mistake, with its place.
    pub fn parse(source: &str) -> Result<Self, TemplateError> {
        let fail = |at: usize, what: &str| TemplateError {
            source_text: source.to_owned(),
            at,
            what: what.to_owned(),
        };
        if source.len() > TEMPLATE_BYTES_MAX {
            return Err(fail(0, "the template is too long"));
        }
        let mut pieces = Vec::new();
        let mut literal = String::new();
        let mut at = 0;
        while let Some(c) = source.get(at..).and_then(|rest| rest.chars().next()) {
            let rest = source.get(at..).unwrap_or_default();
            if rest.starts_with("{{") || rest.starts_with("}}") {
                literal.push(c);
                at += 2;
            } else if c == '{' {
                if !literal.is_empty() {
                    pieces.push(Piece::Literal(std::mem::take(&mut literal)));
                }
                let (pick, end) = hole(source, at + 1).map_err(|(at, what)| fail(at, &what))?;
                pieces.push(Piece::Hole(pick));
                at = end;
            } else if c == '}' {
                return Err(fail(
                    at,
                    "a brace is closed that was never opened; write }}",
                ));
            } else {
                literal.push(c);
                at += c.len_utf8();
            }
        }
        if !literal.is_empty() {
            pieces.push(Piece::Literal(literal));
        }
        Ok(Self {
            source: source.to_owned(),
            pieces,
        })
    }

    /// The template as it was written.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The text, when there is no hole in it.
    pub fn literal(&self) -> Option<&str> {
        match self.pieces.as_slice() {
            [] => Some(""),
            [Piece::Literal(text)] => Some(text),
            _ => None,
        }
    }

    /// The text before the first hole.
    pub fn prefix(&self) -> &str {
        match self.pieces.first() {
            Some(Piece::Literal(text)) => text,
            _ => "",
        }
    }

    /// The hole, when the template is nothing else.
    pub(super) fn only_hole(&self) -> Option<&Pick> {
        match self.pieces.as_slice() {
            [Piece::Hole(pick)] => Some(pick),
            _ => None,
        }
    }

    /// Appends the text for one event.
    pub(super) fn render(
        &self,
        view: &View<'_>,
        slots: &Slots,
        out: &mut Vec<u8>,
    ) -> Result<(), Missing> {
        for piece in &self.pieces {
            match piece {
                Piece::Literal(text) => out.extend_from_slice(text.as_bytes()),
                Piece::Hole(pick) => {
                    let value = pick.scalar(view, slots);
                    let text = value.as_ref().and_then(Value::scalar);
                    let text = text.ok_or_else(|| Missing(pick.names()))?;
                    out.extend_from_slice(text.as_bytes());
                }
            }
        }
        Ok(())
    }
}

impl Fields for Template {
    fn each_field(&mut self, visit: &mut dyn FnMut(&mut Field)) {
        for piece in &mut self.pieces {
            if let Piece::Hole(pick) = piece {
                pick.each_field(visit);
            }
        }
    }
}

/// Reads a hole from after its brace; returns where the text goes on.
fn hole(source: &str, start: usize) -> Result<(Pick, usize), (usize, String)> {
    let mut alternatives = Vec::new();
    let mut at = start;
    loop {
        let rest = source.get(at..).unwrap_or_default();
        at += rest.len() - rest.trim_start().len();
        if alternatives.len() >= ALTERNATIVES_MAX {
            return Err((at, "there are too many alternatives".to_owned()));
        }
        at = alternative(source, at, &mut alternatives)?;
        let rest = source.get(at..).unwrap_or_default();
        at += rest.len() - rest.trim_start().len();
        match rest.trim_start().chars().next() {
            Some('|') => at += 1,
            Some('}') => return Ok((Pick { alternatives }, at + 1)),
            None => return Err((start - 1, "the brace is not closed".to_owned())),
            Some(_) => return Err((at, "expected | or }".to_owned())),
        }
    }
}

fn alternative(
    source: &str,
    at: usize,
    into: &mut Vec<Alternative>,
) -> Result<usize, (usize, String)> {
    let rest = source.get(at..).unwrap_or_default();
    if rest.starts_with('\'') {
        let (text, length) =
            quoted(rest).map_err(|_| (at, "the text has no closing quote".to_owned()))?;
        into.push(Alternative::Text(text));
        return Ok(at + length);
    }
    if let Some(name) = rest.strip_prefix('@') {
        let length = meta::name_length(name);
        let name = name.get(..length).unwrap_or_default();
        let meta = Meta::named(name).ok_or_else(|| (at, unknown_meta(name)))?;
        into.push(Alternative::Field(Field::Meta(meta)));
        return Ok(at + 1 + length);
    }
    let (path, length) = Path::parse_prefix(rest).map_err(|e| (at + e.at, e.what.to_owned()))?;
    let short = path.top_name().filter(|_| !rest.starts_with('$'));
    match short.and_then(preset::template_name) {
        Some(meaning) => {
            for text in meaning.split('|') {
                alternative(text, 0, into).map_err(|(_, what)| (at, what))?;
            }
        }
        None => into.push(Alternative::Field(Field::json(path))),
    }
    Ok(at + length)
}

fn unknown_meta(name: &str) -> String {
    format!("@{name} is not known; known are {}", meta::known())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::route::testing::with_bound;

    fn render(template: &str, event: &str) -> Result<String, String> {
        let mut template = Template::parse(template).map_err(|e| e.to_string())?;
        let mut out = Vec::new();
        let result = with_bound(event, &mut template, |template, view, slots| {
            template
                .render(view, slots, &mut out)
                .map_err(|missing| missing.to_string())
        });
        result.map(|()| String::from_utf8(out).unwrap())
    }

    #[test]
    fn holes_are_filled_from_left_to_right() {
        let event =
            r#"{"a":"x","n":12.50,"b":true,"e":"","z":null,"host":"own","record":{"stream":"s"}}"#;
        for (template, wanted) in [
            ("t-{a}-{n}-{b}", "t-x-12.50-true"),
            ("{z|q|'none'}", "none"),
            ("{e|a}", "x"),
            ("{e}", ""),
            ("{{{a}}}", "{x}"),
            ("{host} {$.host}", "edge-7 own"),
            ("{stream}", "s"),
            ("{ @input | a }", "app"),
            ("", ""),
        ] {
            assert_eq!(render(template, event).as_deref(), Ok(wanted), "{template}");
        }
        assert_eq!(
            render("{a}{q|z}", event),
            Err("the event has no q, and no z".to_owned())
        );
        assert!(render("{record}", event).is_err());
    }

    #[test]
    fn a_fault_has_a_caret_under_its_place() {
        let error = Template::parse("tö-{a b}").unwrap_err();
        assert_eq!(
            error.to_string(),
            "expected | or }\n    tö-{a b}\n          ^"
        );
        for (template, at) in [("a}b", 1), ("a{b", 1), ("{}", 1), ("{@x}", 1), ("{'a}", 1)] {
            assert_eq!(Template::parse(template).unwrap_err().at, at, "{template}");
        }
    }

    proptest! {
        #[test]
        fn any_template_is_survived(source in any::<String>(), event in any::<String>()) {
            let _ = render(&source, &event);
        }

        #[test]
        fn nearly_right_templates_are_survived(source in r"[a-z{}|'@$.\[\]0-9 \\]{0,30}") {
            let _ = render(&source, "{\"a\":1}");
        }
    }
}
