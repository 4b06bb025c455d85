//! Finds one field of a JSON event without building the document.
//!
//! Looks only; an event that is not JSON, or lacks the field, simply has no key.

use std::borrow::Cow;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

/// A dotted path into nested objects, such as `user.id`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct JsonPath {
    steps: Vec<String>,
}

impl JsonPath {
    /// Splits `path` at its dots.
    pub(super) fn new(path: &str) -> Self {
        Self {
            steps: path.split('.').map(str::to_owned).collect(),
        }
    }

    /// The field's value: the text of a string, the digits or letters of a number or boolean
    /// as they stand. `None` for null, for a missing field, for arrays and objects, and for
    /// an event that is not JSON.
    pub(super) fn find<'a>(&self, event: &'a [u8]) -> Option<Cow<'a, [u8]>> {
        let mut json = serde_json::Deserializer::from_slice(event);
        let found = Step(&self.steps).deserialize(&mut json).ok()??.get();
        match found.as_bytes() {
            [b'"', text @ .., b'"'] if !text.contains(&b'\\') => Some(Cow::Borrowed(text)),
            [b'"', ..] => {
                let text: String = serde_json::from_str(found).ok()?;
                Some(Cow::Owned(text.into_bytes()))
            }
            [b'{' | b'[' | b'n', ..] => None,
            scalar => Some(Cow::Borrowed(scalar)),
        }
    }
}

struct Step<'s>(&'s [String]);

impl<'de> DeserializeSeed<'de> for Step<'_> {
    type Value = Option<&'de RawValue>;

    fn deserialize<D: Deserializer<'de>>(self, value: D) -> Result<Self::Value, D::Error> {
        match self.0 {
            [] => serde::Deserialize::deserialize(value).map(Some),
            _ => value.deserialize_any(self),
        }
    }
}

impl<'de> Visitor<'de> for Step<'_> {
    type Value = Option<&'de RawValue>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an object on the way to the key")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let Some((first, rest)) = self.0.split_first() else {
            return Ok(None);
        };
        let mut found = None;
        // The whole object is read even after a hit: as everywhere in JSON, the last of
        // several equal names counts.
        while let Some(name) = map.next_key::<Cow<'de, str>>()? {
            if name == first.as_str() {
                found = map.next_value_seed(Step(rest))?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(path: &str, event: &str) -> Option<String> {
        let found = JsonPath::new(path).find(event.as_bytes())?;
        Some(String::from_utf8(found.into_owned()).unwrap())
    }

    #[test]
    fn fields_are_found_by_path() {
        let event = r#"{"a":{"b":"x","n":1.50},"b":true,"z":null,"l":[1],"e":""}"#;
        assert_eq!(find("a.b", event), Some("x".to_owned()));
        assert_eq!(find("a.n", event), Some("1.50".to_owned()));
        assert_eq!(find("b", event), Some("true".to_owned()));
        assert_eq!(find("e", event), Some("".to_owned()));
        assert_eq!(find("q", r#"{"q":"a\"\u00e9"}"#), Some("a\"é".to_owned()));
        for absent in ["z", "l", "a", "q", "a.q", "b.c"] {
            assert_eq!(find(absent, event), None, "{absent}");
        }
    }

    #[test]
    fn what_is_not_json_has_no_key() {
        for event in ["", "plain text", "[1]", "{\"a\":", "\"a\""] {
            assert_eq!(find("a", event), None, "{event}");
        }
    }
}
