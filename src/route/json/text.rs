//! Reading and writing JSON text where somebody has to look into it.
//!
//! Everything here is given text that [`super::scan`] has passed.

use std::borrow::Cow;

/// The text that a JSON string without its quotes stands for. Half of a surrogate pair
/// becomes U+FFFD, since it is no character.
pub(in crate::route) fn unescape(raw: &str) -> Cow<'_, str> {
    let Some(first) = memchr::memchr(b'\\', raw.as_bytes()) else {
        return Cow::Borrowed(raw);
    };
    let mut text = String::with_capacity(raw.len());
    let mut rest = raw;
    let mut next = Some(first);
    while let Some(at) = next {
        let (before, escape) = rest.split_at(at);
        text.push_str(before);
        let (c, length) = escaped_char(escape);
        text.push(c);
        rest = escape.get(length..).unwrap_or_default();
        next = memchr::memchr(b'\\', rest.as_bytes());
    }
    text.push_str(rest);
    Cow::Owned(text)
}

/// The character that `escape` begins with, and how many bytes of it that takes.
fn escaped_char(escape: &str) -> (char, usize) {
    match escape.as_bytes().get(1) {
        Some(b'b') => ('\u{8}', 2),
        Some(b'f') => ('\u{c}', 2),
        Some(b'n') => ('\n', 2),
        Some(b'r') => ('\r', 2),
        Some(b't') => ('\t', 2),
        Some(b'u') => unicode_char(escape),
        Some(&other) => (char::from(other), 2),
        None => (char::REPLACEMENT_CHARACTER, escape.len()),
    }
}

fn unicode_char(escape: &str) -> (char, usize) {
    let unit = |at: usize| u16::from_str_radix(escape.get(at..at + 4)?, 16).ok();
    let Some(high) = unit(2) else {
        return (char::REPLACEMENT_CHARACTER, escape.len());
    };
    let low = match escape.get(6..8) {
        Some("\\u") => unit(8),
        _ => None,
    };
    let pair = [high, low.unwrap_or_default()];
    let decoded = char::decode_utf16(pair).next();
    match decoded {
        Some(Ok(c)) if c.len_utf16() == 2 => (c, 12),
        Some(Ok(c)) => (c, 6),
        _ => (char::REPLACEMENT_CHARACTER, 6),
    }
}

/// Appends `text` as a JSON string with its quotes.
pub(in crate::route) fn push_string(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    let mut start = 0;
    let needs_escape = |b: u8| b == b'"' || b == b'\\' || b < 0x20;
    for (at, byte) in text.bytes().enumerate().filter(|&(_, b)| needs_escape(b)) {
        out.extend_from_slice(text.as_bytes().get(start..at).unwrap_or_default());
        start = at + 1;
        match byte {
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            control => out.extend_from_slice(format!("\\u{control:04x}").as_bytes()),
        }
    }
    out.extend_from_slice(text.as_bytes().get(start..).unwrap_or_default());
    out.push(b'"');
}

/// The elements of the array that `array` is, each as its own text.
pub(in crate::route) fn items(array: &str) -> impl Iterator<Item = &str> {
    let inside = array
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    let mut rest = inside.unwrap_or_default().trim_ascii();
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let end = item_end(rest.as_bytes());
        let item = rest.get(..end)?.trim_ascii();
        rest = rest.get(end + 1..).unwrap_or_default();
        Some(item)
    })
}

/// Where the first element ends: at a comma outside strings and brackets, or at the end.
fn item_end(bytes: &[u8]) -> usize {
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for (at, &byte) in bytes.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.saturating_sub(1),
            b',' if depth == 0 => return at,
            _ => {}
        }
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_lone_surrogate_becomes_the_replacement_character() {
        assert_eq!(unescape(r"a\ud800b"), "a\u{fffd}b");
        assert_eq!(unescape(r"\ud83d\ude00\/\u00e9"), "\u{1f600}/\u{e9}");
    }

    #[test]
    fn an_array_falls_into_its_elements() {
        let array = r#"[ 1 , "a,]" , [2,3], {"x":"\",","y":[1]},true]"#;
        let wanted = ["1", "\"a,]\"", "[2,3]", r#"{"x":"\",","y":[1]}"#, "true"];
        assert_eq!(items(array).collect::<Vec<_>>(), wanted);
        assert_eq!(items("[ ]").count(), 0);
    }

    proptest! {
        #[test]
        fn strings_survive_being_written_and_read(text in any::<String>()) {
            let mut json = Vec::new();
            push_string(&text, &mut json);
            let json = String::from_utf8(json).unwrap();
            prop_assert_eq!(&serde_json::from_str::<String>(&json).unwrap(), &text);
            prop_assert_eq!(unescape(&json[1..json.len() - 1]), text.as_str());
            let theirs = serde_json::to_string(&text).unwrap();
            prop_assert_eq!(unescape(&theirs[1..theirs.len() - 1]), text.as_str());
        }
    }
}
