//! What a field or a piece of metadata turns out to be, and how values compare.
//!
//! Borrows from the event wherever it can. Numbers stay text: identifiers of twenty digits
//! are compared exactly, and only fractions become floating point, for comparing alone.

use std::borrow::Cow;
use std::cmp::Ordering;

use super::json::{Found, Kind, push_string, unescape};

/// A value of an event, or of its metadata.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value<'a> {
    /// `null`, or nothing there.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// The digits of a number as they stand.
    Number(Cow<'a, str>),
    /// A string.
    Text(Cow<'a, str>),
    /// The JSON text of an array.
    List(&'a str),
    /// The JSON text of an object.
    Object(&'a str),
}

impl<'a> Value<'a> {
    /// What stands at `found` in `event`.
    pub(super) fn of(event: &'a str, found: Found) -> Self {
        let raw = event.get(found.start as usize..found.end as usize);
        let raw = raw.unwrap_or_default();
        match found.kind {
            Kind::Absent | Kind::Null => Self::Null,
            Kind::True => Self::Bool(true),
            Kind::False => Self::Bool(false),
            Kind::Number => Self::Number(Cow::Borrowed(raw)),
            Kind::Plain => Self::Text(Cow::Borrowed(unquoted(raw))),
            Kind::Escaped => Self::Text(unescape(unquoted(raw))),
            Kind::Array => Self::List(raw),
            Kind::Object => Self::Object(raw),
        }
    }

    /// The value that a JSON text stands for.
    pub(super) fn of_json(raw: &'a str) -> Self {
        let kind = match raw.as_bytes().first() {
            Some(b'"') if raw.contains('\\') => Kind::Escaped,
            Some(b'"') => Kind::Plain,
            Some(b'{') => Kind::Object,
            Some(b'[') => Kind::Array,
            Some(b't') => Kind::True,
            Some(b'f') => Kind::False,
            Some(b'n') | None => Kind::Null,
            Some(_) => Kind::Number,
        };
        // Elements come from events, whose length was checked to fit.
        let end = u32::try_from(raw.len()).unwrap_or(u32::MAX);
        Self::of(
            raw,
            Found {
                start: 0,
                end,
                kind,
            },
        )
    }

    /// The text of a string, the digits of a number, `true` or `false`; `None` for null,
    /// arrays and objects.
    pub(super) fn scalar(&self) -> Option<&str> {
        match self {
            Self::Text(text) | Self::Number(text) => Some(text),
            Self::Bool(true) => Some("true"),
            Self::Bool(false) => Some("false"),
            Self::Null | Self::List(_) | Self::Object(_) => None,
        }
    }

    /// Appends the value as JSON text.
    pub(super) fn push_json(&self, out: &mut Vec<u8>) {
        match self {
            Self::Null => out.extend_from_slice(b"null"),
            Self::Text(text) => push_string(text, out),
            Self::List(raw) | Self::Object(raw) => out.extend_from_slice(raw.as_bytes()),
            scalar => out.extend_from_slice(scalar.scalar().unwrap_or_default().as_bytes()),
        }
    }

    /// The value as JSON for a message, shortened.
    pub(super) fn shown(&self) -> String {
        let mut json = Vec::new();
        self.push_json(&mut json);
        String::from_utf8_lossy(&json).chars().take(100).collect()
    }

    /// The name of its type, as `typeof` answers it.
    pub(super) fn type_name(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "boolean",
            Self::Number(_) => "number",
            Self::Text(_) => "string",
            Self::List(_) => "array",
            Self::Object(_) => "object",
        }
    }

    /// Whether both are the same; values of different types never are. Arrays and objects
    /// are the same when their JSON text is.
    pub(super) fn equals(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Number(a), Self::Number(b)) => {
                a == b || compare_numbers(a, b) == Some(Ordering::Equal)
            }
            (a, b) => a == b,
        }
    }

    /// The order of two numbers or two strings (by Unicode scalar); other pairs have none.
    pub(super) fn order(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Number(a), Self::Number(b)) => compare_numbers(a, b),
            (Self::Text(a), Self::Text(b)) => Some(a.as_ref().cmp(b.as_ref())),
            _ => None,
        }
    }
}

fn unquoted(raw: &str) -> &str {
    raw.get(1..raw.len().saturating_sub(1)).unwrap_or_default()
}

/// Whole numbers of up to 38 digits are compared exactly, all others as floating point.
fn compare_numbers(a: &str, b: &str) -> Option<Ordering> {
    if let (Some(a), Some(b)) = (whole(a), whole(b)) {
        return Some(a.cmp(&b));
    }
    let (a, b): (f64, f64) = (a.parse().ok()?, b.parse().ok()?);
    a.partial_cmp(&b)
}

/// Digits of a number that `i64` surely holds.
const SHORT: usize = 18;

fn whole(text: &str) -> Option<i128> {
    if text.len() <= SHORT {
        return text.parse::<i64>().ok().map(i128::from);
    }
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(text: &str) -> Value<'_> {
        Value::of_json(text)
    }

    #[test]
    fn long_identifiers_are_compared_digit_by_digit() {
        let (a, b) = (
            number("12345678901234567890"),
            number("12345678901234567891"),
        );
        assert!(!a.equals(&b));
        assert_eq!(a.order(&b), Some(Ordering::Less));
        assert!(number("1.0").equals(&number("1")) && number("1e2").equals(&number("100")));
        assert_eq!(number("-2").order(&number("1.5")), Some(Ordering::Less));
    }

    #[test]
    fn values_of_different_types_are_different_and_have_no_order() {
        assert!(!number("1").equals(&Value::of_json("\"1\"")));
        assert_eq!(number("1").order(&Value::of_json("\"2\"")), None);
        assert!(!Value::of_json("null").equals(&Value::of_json("false")));
        assert!(Value::of_json("\"\\u0041\"").equals(&Value::of_json("\"A\"")));
    }

    #[test]
    fn json_text_goes_out_as_it_came_in() {
        for raw in [
            "1.50",
            "12345678901234567890",
            "\"a\\n\"",
            "[1, 2]",
            "{\"a\":1}",
            "true",
            "null",
        ] {
            let mut out = Vec::new();
            Value::of_json(raw).push_json(&mut out);
            assert_eq!(String::from_utf8(out).unwrap(), raw);
        }
    }
}
