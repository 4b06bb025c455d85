//! The pass over one event: is it JSON (RFC 8259), and where do the wanted fields stand?
//!
//! Linear in the event's length for a given plan. Recursion is bounded by [`DEPTH_MAX`].

use super::plan::{Node, Plan};
use super::text::unescape;

/// Deepest nesting of an event that routes look into, as serde_json has it.
pub(super) const DEPTH_MAX: usize = 128;

/// What kind of value stands at a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::route) enum Kind {
    /// Nothing.
    #[default]
    Absent,
    /// `null`
    Null,
    /// `true`
    True,
    /// `false`
    False,
    /// A number.
    Number,
    /// A string without escapes, quotes included.
    Plain,
    /// A string with escapes, quotes included.
    Escaped,
    /// An array.
    Array,
    /// An object.
    Object,
}

/// Where a wanted field stands in the event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::route) struct Found {
    /// First byte.
    pub(in crate::route) start: u32,
    /// One past the last byte.
    pub(in crate::route) end: u32,
    /// What it is.
    pub(in crate::route) kind: Kind,
}

/// Why an event is not JSON that can be looked into.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{what} at byte {at}")]
pub(in crate::route) struct JsonFault {
    /// Byte within the event, from 0.
    pub(in crate::route) at: usize,
    /// What stands there, or is missing there.
    pub(in crate::route) what: &'static str,
}

/// Checks all of `event` and notes each field of `plan` in `slots`, which it clears first.
/// Where an object has a name twice, the last counts, as in most JSON readers.
///
/// # Errors
/// When the event is no JSON document, is not UTF-8, or nests deeper than [`DEPTH_MAX`].
pub(in crate::route) fn scan<'e>(
    event: &'e [u8],
    plan: &Plan,
    slots: &mut Vec<Found>,
) -> Result<&'e str, JsonFault> {
    slots.clear();
    slots.resize(plan.slots(), Found::default());
    if u32::try_from(event.len()).is_err() {
        return Err(JsonFault {
            at: 0,
            what: "more than 4 GiB",
        });
    }
    let text = std::str::from_utf8(event).map_err(|error| JsonFault {
        at: error.valid_up_to(),
        what: "no UTF-8",
    })?;
    let mut scanner = Scanner {
        bytes: event,
        at: 0,
        plan,
        slots,
    };
    scanner.value(plan.root(), 0)?;
    scanner.space();
    match scanner.peek() {
        None => Ok(text),
        Some(_) => Err(scanner.fault("something after the end")),
    }
}

struct Scanner<'e, 'p> {
    bytes: &'e [u8],
    at: usize,
    plan: &'p Plan,
    slots: &'p mut Vec<Found>,
}

impl<'p> Scanner<'_, 'p> {
    #[inline]
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    #[cold]
    fn fault(&self, what: &'static str) -> JsonFault {
        JsonFault { at: self.at, what }
    }

    #[inline]
    fn space(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    fn value(&mut self, node: Option<&'p Node>, depth: usize) -> Result<(), JsonFault> {
        self.space();
        let start = self.at;
        if let Some(node) = node {
            // An earlier value under the same name may have left something here.
            for &slot in self.plan.below(node) {
                if let Some(found) = self.slots.get_mut(slot as usize) {
                    *found = Found::default();
                }
            }
        }
        let kind = match self.peek() {
            Some(b'"') => self.string()?,
            Some(b'{') => self.object(node.filter(|n| n.has_names()), depth)?,
            Some(b'[') => self.array(node.filter(|n| n.has_items()), depth)?,
            Some(b't') => self.word(b"true", Kind::True)?,
            Some(b'f') => self.word(b"false", Kind::False)?,
            Some(b'n') => self.word(b"null", Kind::Null)?,
            Some(b'-' | b'0'..=b'9') => self.number()?,
            Some(_) => return Err(self.fault("no JSON value")),
            None => return Err(self.fault("a value is missing")),
        };
        let slot = node.and_then(|node| node.slot);
        if let Some(found) = slot.and_then(|slot| self.slots.get_mut(slot as usize)) {
            // The event's length fits, so its places do.
            *found = Found {
                start: start as u32,
                end: self.at as u32,
                kind,
            };
        }
        Ok(())
    }

    fn object(&mut self, node: Option<&'p Node>, depth: usize) -> Result<Kind, JsonFault> {
        self.enter(depth)?;
        self.space();
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(Kind::Object);
        }
        loop {
            self.space();
            if self.peek() != Some(b'"') {
                return Err(self.fault("a name is missing"));
            }
            let start = self.at + 1;
            let kind = self.string()?;
            let child = node.and_then(|node| {
                let name = self.bytes.get(start..self.at - 1)?;
                match kind {
                    Kind::Plain => self.plan.named(node, name),
                    _ => {
                        let name = unescape(std::str::from_utf8(name).ok()?);
                        self.plan.named(node, name.as_bytes())
                    }
                }
            });
            self.space();
            if self.peek() != Some(b':') {
                return Err(self.fault("a colon is missing"));
            }
            self.at += 1;
            self.value(child, depth + 1)?;
            if self.closes(b'}')? {
                return Ok(Kind::Object);
            }
        }
    }

    fn array(&mut self, node: Option<&'p Node>, depth: usize) -> Result<Kind, JsonFault> {
        self.enter(depth)?;
        self.space();
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(Kind::Array);
        }
        for position in 0.. {
            let child = node.and_then(|node| self.plan.item(node, position));
            self.value(child, depth + 1)?;
            if self.closes(b']')? {
                break;
            }
        }
        Ok(Kind::Array)
    }

    fn enter(&mut self, depth: usize) -> Result<(), JsonFault> {
        if depth >= DEPTH_MAX {
            return Err(self.fault("nesting deeper than 128"));
        }
        self.at += 1;
        Ok(())
    }

    /// After a member: true at the end of the container, false after a comma.
    #[inline]
    fn closes(&mut self, close: u8) -> Result<bool, JsonFault> {
        self.space();
        match self.peek() {
            Some(b',') => {
                self.at += 1;
                Ok(false)
            }
            Some(byte) if byte == close => {
                self.at += 1;
                Ok(true)
            }
            _ => Err(self.fault("a comma or a closing bracket is missing")),
        }
    }

    fn word(&mut self, word: &[u8], kind: Kind) -> Result<Kind, JsonFault> {
        if self.bytes.get(self.at..self.at + word.len()) != Some(word) {
            return Err(self.fault("no JSON value"));
        }
        self.at += word.len();
        Ok(kind)
    }

    fn number(&mut self) -> Result<Kind, JsonFault> {
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        match self.peek() {
            Some(b'0') => self.at += 1,
            _ => self.digits()?,
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.peek() {
            self.at += 1;
            if let Some(b'+' | b'-') = self.peek() {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(Kind::Number)
    }

    fn digits(&mut self) -> Result<(), JsonFault> {
        let start = self.at;
        while let Some(b'0'..=b'9') = self.peek() {
            self.at += 1;
        }
        match self.at > start {
            true => Ok(()),
            false => Err(self.fault("a digit is missing")),
        }
    }

    fn string(&mut self) -> Result<Kind, JsonFault> {
        self.at += 1;
        let mut kind = Kind::Plain;
        loop {
            self.at += plain_prefix(self.bytes.get(self.at..).unwrap_or_default());
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(kind);
                }
                Some(b'\\') => {
                    kind = Kind::Escaped;
                    self.escape()?;
                }
                Some(_) => return Err(self.fault("a control character in a string")),
                None => return Err(self.fault("a string without an end")),
            }
        }
    }

    fn escape(&mut self) -> Result<(), JsonFault> {
        self.at += 1;
        let length = match self.peek() {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => 1,
            Some(b'u') => 5,
            _ => return Err(self.fault("an unknown escape")),
        };
        let hex = self.bytes.get(self.at + 1..self.at + length);
        if !hex.is_some_and(|hex| hex.iter().all(u8::is_ascii_hexdigit)) {
            return Err(self.fault("an escape without four hex digits"));
        }
        self.at += length;
        Ok(())
    }
}

/// Bytes before the first quote, backslash or control character; eight at a time.
#[inline]
fn plain_prefix(bytes: &[u8]) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    // Bytes that are zero in `word` have their high bit set; so may bytes above the first of
    // them, which does not matter because only the first is asked for.
    let zeros = |word: u64| word.wrapping_sub(ONES) & !word & HIGH;
    let mut length = 0;
    let mut words = bytes.chunks_exact(8);
    for chunk in &mut words {
        let word = u64::from_le_bytes(chunk.try_into().unwrap_or_default());
        let control = word.wrapping_sub(ONES * 0x20) & !word & HIGH;
        let quote = zeros(word ^ (ONES * u64::from(b'"')));
        let backslash = zeros(word ^ (ONES * u64::from(b'\\')));
        let special = control | quote | backslash;
        if special != 0 {
            return length + (special.trailing_zeros() / 8) as usize;
        }
        length += 8;
    }
    let rest = words.remainder().iter();
    length
        + rest
            .take_while(|&&b| b != b'"' && b != b'\\' && b >= 0x20)
            .count()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::route::json::PlanBuilder;
    use crate::route::path::Path;

    fn find(paths: &[&str], event: &str) -> Result<Vec<String>, JsonFault> {
        let mut builder = PlanBuilder::default();
        for path in paths {
            builder.slot(&Path::parse(path).unwrap()).unwrap();
        }
        let mut slots = Vec::new();
        scan(event.as_bytes(), &builder.build(), &mut slots)?;
        let text = |found: &Found| event[found.start as usize..found.end as usize].to_owned();
        Ok(slots.iter().map(text).collect())
    }

    #[test]
    fn every_wanted_field_is_found_in_one_pass() {
        let event = r#" {"a":{"b":"x","n":-1.50e3 , "l":[ 1, {"z":null}]},"b":true,"A":"\u0041"} "#;
        let paths = [
            "a.b", "a.n", "a.l[1].z", "a.l", "b", "c", "A", "a.l[7]", "a.b.c",
        ];
        let found = find(&paths, event).unwrap();
        let wanted = [
            "\"x\"",
            "-1.50e3",
            "null",
            "[ 1, {\"z\":null}]",
            "true",
            "",
            "\"\\u0041\"",
        ];
        assert_eq!(found[..7], wanted);
        assert_eq!(found[7..], ["", ""]);
        assert_eq!(find(&["$"], " [1] ").unwrap(), ["[1]"]);
    }

    #[test]
    fn of_equal_names_the_last_counts_with_all_that_is_below() {
        let event = r#"{"a":{"b":1},"a":{"c":2},"x":1,"\u0078":2}"#;
        assert_eq!(find(&["a.b", "a.c", "x"], event).unwrap(), ["", "2", "2"]);
    }

    #[test]
    fn many_names_are_found_as_well() {
        let names: Vec<String> = (0..40).map(|n| format!("f{n}")).collect();
        let paths: Vec<&str> = names.iter().map(String::as_str).collect();
        let found = find(&paths, r#"{"f7":7,"f39":39,"g":0}"#).unwrap();
        assert_eq!((found[7].as_str(), found[39].as_str()), ("7", "39"));
    }

    #[test]
    fn what_is_not_json_is_refused_with_its_place() {
        let cases = [
            ("", 0),
            ("plain", 0),
            ("{\"a\":}", 5),
            ("{\"a\":1,}", 7),
            ("[1 2]", 3),
            ("01", 1),
            ("\"a", 2),
            ("\"\u{1}\"", 1),
            ("\"\\x\"", 2),
            ("\"\\u12g4\"", 2),
            ("1.", 2),
            ("{} x", 3),
            ("nul", 0),
            ("-", 1),
            ("{1:2}", 1),
            ("{\"a\" 1}", 5),
        ];
        for (event, at) in cases {
            assert_eq!(find(&["a"], event).unwrap_err().at, at, "{event}");
        }
        let deep = "[".repeat(DEPTH_MAX) + &"]".repeat(DEPTH_MAX);
        assert!(find(&["a"], &deep).is_ok());
        assert!(find(&["a"], &format!("[{deep}]")).is_err());
        assert!(scan(b"\"\xff\"", &Plan::default(), &mut Vec::new()).is_err());
    }

    proptest! {
        #[test]
        fn it_agrees_with_serde_json(event in r#"[\[\]{}",:0-9aetrufls\\n. -]{0,24}"#) {
            let ours = find(&["a"], &event).is_ok();
            let theirs = serde_json::from_str::<serde::de::IgnoredAny>(&event).is_ok();
            prop_assert_eq!(ours, theirs);
        }

        #[test]
        fn any_bytes_are_survived(event in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = scan(&event, &Plan::default(), &mut Vec::new());
        }

        #[test]
        fn a_field_is_found_wherever_it_stands(
            before in "[a-z \"\\\\\n\u{e9}]{0,30}",
            value in any::<f64>(),
        ) {
            let event = serde_json::json!({ "a": before, "n": { "x": value }, "z": [before] });
            let found = find(&["n.x", "a"], &event.to_string()).unwrap();
            prop_assert_eq!(&found[0], &event["n"]["x"].to_string());
            prop_assert_eq!(&found[1], &event["a"].to_string());
        }
    }
}
