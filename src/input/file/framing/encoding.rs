//! Code units of a file's encoding: where lines end, where a line may be cut, and UTF-8.
//!
//! Pure. Slices begin at a code unit, which the framing sees to.

use std::borrow::Cow;

use crate::config::Encoding;

/// Size of a code unit in bytes.
pub(super) fn unit(encoding: Encoding) -> usize {
    match encoding {
        Encoding::Latin1 | Encoding::Utf8 => 1,
        Encoding::Utf16Be | Encoding::Utf16Le => 2,
    }
}

/// The byte order mark that a file may begin with; no part of its first line.
pub(super) fn mark(encoding: Encoding) -> &'static [u8] {
    match encoding {
        Encoding::Latin1 => b"",
        Encoding::Utf8 => b"\xEF\xBB\xBF",
        Encoding::Utf16Be => b"\xFE\xFF",
        Encoding::Utf16Le => b"\xFF\xFE",
    }
}

/// Where the first newline at or after `from` begins; `from` is at a code unit.
pub(super) fn find_newline(encoding: Encoding, bytes: &[u8], from: usize) -> Option<usize> {
    let rest = bytes.get(from..)?;
    // The position of the byte 0x0A within the unit, and the other byte's.
    let (low, high) = match encoding {
        Encoding::Latin1 | Encoding::Utf8 => return Some(from + memchr::memchr(b'\n', rest)?),
        Encoding::Utf16Be => (1, 0),
        Encoding::Utf16Le => (0, 1),
    };
    memchr::memchr_iter(b'\n', rest).find_map(|found| {
        let start = found.checked_sub(low)?;
        let is_unit = start.is_multiple_of(2) && rest.get(start + high) == Some(&0);
        is_unit.then_some(from + start)
    })
}

/// `bytes` without the ASCII character `last` at its end; none when it ends otherwise.
pub(super) fn without(encoding: Encoding, last: u8, bytes: &[u8]) -> Option<&[u8]> {
    let (end, character) = match encoding {
        Encoding::Latin1 | Encoding::Utf8 => (bytes.len().checked_sub(1)?, &[last][..]),
        Encoding::Utf16Be => (bytes.len().checked_sub(2)?, &[0, last][..]),
        Encoding::Utf16Le => (bytes.len().checked_sub(2)?, &[last, 0][..]),
    };
    let (before, found) = bytes.split_at_checked(end)?;
    let is_whole = end.is_multiple_of(character.len());
    (found == character && is_whole).then_some(before)
}

/// How many bytes of `line`, at most `max` and at least one unit, are kept of a line that is
/// longer: no character is cut in two where the text is valid.
pub(super) fn cut_at(encoding: Encoding, line: &[u8], max: usize) -> usize {
    let byte = |at: usize| line.get(at).copied().unwrap_or_default();
    let kept = match encoding {
        Encoding::Latin1 => max,
        Encoding::Utf8 => {
            // A character has at most three bytes after its first.
            let starts = (max.saturating_sub(3)..=max).rev();
            let is_start = |at: &usize| byte(*at) & 0xC0 != 0x80;
            starts.into_iter().find(is_start).unwrap_or(max)
        }
        Encoding::Utf16Be | Encoding::Utf16Le => {
            let max = max - max % 2;
            let high = if encoding == Encoding::Utf16Be { 2 } else { 1 };
            let is_pair = max >= 2 && byte(max - high) & 0xFC == 0xD8;
            if is_pair { max - 2 } else { max }
        }
    };
    kept.max(unit(encoding)).min(line.len())
}

/// The text as UTF-8; what is no character becomes U+FFFD. UTF-8 itself passes unchecked.
pub(super) fn decode(encoding: Encoding, raw: &[u8]) -> Cow<'_, [u8]> {
    let text = match encoding {
        Encoding::Utf8 => return Cow::Borrowed(raw),
        Encoding::Latin1 if raw.is_ascii() => return Cow::Borrowed(raw),
        Encoding::Latin1 => raw.iter().copied().map(char::from).collect(),
        Encoding::Utf16Be => utf16(raw, u16::from_be_bytes),
        Encoding::Utf16Le => utf16(raw, u16::from_le_bytes),
    };
    Cow::Owned(text.into_bytes())
}

/// An odd byte at the end is no character.
fn utf16(raw: &[u8], unit: fn([u8; 2]) -> u16) -> String {
    let (pairs, odd) = raw.as_chunks();
    let units = pairs.iter().copied().map(unit);
    let replaced = |decoded: Result<char, _>| decoded.unwrap_or(char::REPLACEMENT_CHARACTER);
    let odd = (!odd.is_empty()).then_some(char::REPLACEMENT_CHARACTER);
    char::decode_utf16(units).map(replaced).chain(odd).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_newline_of_utf_16_is_a_whole_unit() {
        // U+0A00 and U+000A side by side: the bytes 0A 00 at an odd place are none.
        let be = [0x0A, 0x00, 0x0A, 0x00, 0x00, 0x0A];
        assert_eq!(find_newline(Encoding::Utf16Be, &be, 0), Some(4));
        let le = [0x00, 0x0A, 0x00, 0x0A, 0x0A, 0x00];
        assert_eq!(find_newline(Encoding::Utf16Le, &le, 0), Some(4));
        assert_eq!(find_newline(Encoding::Utf16Le, b"\n", 0), None);
        assert_eq!(find_newline(Encoding::Utf8, b"a\nb\n", 2), Some(3));
    }

    #[test]
    fn any_text_becomes_utf_8_and_what_is_none_is_replaced() {
        let cases: [(Encoding, &[u8], &str); 5] = [
            (Encoding::Latin1, b"plain", "plain"),
            (Encoding::Latin1, b"\xe4\x80", "\u{e4}\u{80}"),
            (
                Encoding::Utf16Be,
                b"\0a\x20\xac\xd8\x3d\xde\x00",
                "a\u{20ac}\u{1f600}",
            ),
            (Encoding::Utf16Le, b"a\0\x00\xdeb\0", "a\u{fffd}b"),
            (Encoding::Utf16Le, b"a\0b", "a\u{fffd}"),
        ];
        for (encoding, raw, text) in cases {
            assert_eq!(decode(encoding, raw).as_ref(), text.as_bytes(), "{raw:?}");
        }
    }

    #[test]
    fn a_cut_spares_characters_and_survives_what_is_none() {
        let line = "aä€😀".as_bytes();
        let kept: Vec<usize> = (1..line.len())
            .map(|max| cut_at(Encoding::Utf8, line, max))
            .collect();
        assert_eq!(kept, [1, 1, 3, 3, 3, 6, 6, 6, 6]);
        assert_eq!(cut_at(Encoding::Utf8, &[0x80; 20], 10), 10);
        assert_eq!(cut_at(Encoding::Utf8, "😀".as_bytes(), 2), 1);
        let pair: Vec<u8> = "a😀".encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert_eq!(cut_at(Encoding::Utf16Le, &pair, 5), 2);
        let pair: Vec<u8> = "a😀".encode_utf16().flat_map(u16::to_be_bytes).collect();
        assert_eq!(cut_at(Encoding::Utf16Be, &pair, 4), 2);
    }

    #[test]
    fn every_encoding_becomes_utf_8() {
        let wide: Vec<u8> = "é😀".encode_utf16().flat_map(u16::to_be_bytes).collect();
        assert_eq!(&*decode(Encoding::Utf16Be, &wide), "é😀".as_bytes());
        assert_eq!(
            &*decode(Encoding::Latin1, b"\xE9\x80"),
            "é\u{80}".as_bytes()
        );
        assert_eq!(&*decode(Encoding::Utf8, b"\xE9\x00"), b"\xE9\x00");
        // A lone surrogate and half a unit.
        let broken = decode(Encoding::Utf16Le, b"\x3D\xD8a");
        assert!(String::from_utf8_lossy(&broken).contains('\u{FFFD}'));
    }
}
