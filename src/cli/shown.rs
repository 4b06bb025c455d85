//! What a daemon's answer says, as people read it: on one line, in round numbers, and without
//! what a terminal would obey.
//!
//! Places in an answer are JSON pointers (RFC 6901).

use serde_json::Value;

use crate::config::format_size;

/// A text that others wrote, on one line and without what a terminal would obey.
pub(super) fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '"' | '\'' | '\\' => out.push(c),
            _ => out.extend(c.escape_debug()),
        }
    }
    out
}

/// A value on one line, without control characters.
pub(super) fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => printable(text),
        Value::Array(parts) => parts.iter().map(plain).collect::<Vec<_>>().join(": "),
        other => other.to_string(),
    }
}

pub(super) fn at<'v>(value: &'v Value, pointer: &str) -> &'v Value {
    value.pointer(pointer).unwrap_or(&Value::Null)
}

pub(super) fn number(value: &Value, pointer: &str) -> Option<u64> {
    at(value, pointer).as_u64()
}

pub(super) fn text(value: &Value, pointer: &str) -> Option<String> {
    let text = at(value, pointer)
        .as_str()
        .filter(|text| !text.is_empty())?;
    Some(printable(text))
}

pub(super) fn list<'v>(value: &'v Value, pointer: &str) -> &'v [Value] {
    at(value, pointer)
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default()
}

/// A size rounded to three digits or so: this is read, not parsed.
pub(super) fn rounded_size(bytes: u64) -> String {
    let units = [(40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")];
    match units.into_iter().find(|(shift, _)| bytes >> shift > 0) {
        Some((shift, unit)) if !bytes.is_multiple_of(1 << shift) => {
            format!("{:.1}{unit}", bytes as f64 / (1u64 << shift) as f64)
        }
        _ => format_size(bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_stay_and_control_characters_do_not() {
        assert_eq!(printable("type \"a\" in 'b\\c'"), "type \"a\" in 'b\\c'");
        assert_eq!(printable("a\n\u{1b}[2Jé"), "a\\n\\u{1b}[2Jé");
    }
}
