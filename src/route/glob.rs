//! Patterns of `match()`: `*` any run of characters, `?` any one, `[a-z]` one of a set,
//! `\` takes the next character as it is.
//!
//! Linear in the text whatever the pattern: the pieces between stars are searched one after
//! the other and never again, each by a substring search or by a bit-parallel one
//! (Baeza-Yates and Gonnet's shift-and), so nothing backtracks.

use memchr::memmem;

/// Most characters between two stars when there are `?` or sets among them: one bit each.
const PIECE_MAX: usize = 64;

/// A pattern, ready to be applied.
#[derive(Debug, Clone)]
pub struct Glob {
    pieces: Vec<Piece>,
}

/// A pattern that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GlobError(pub(super) &'static str);

impl std::fmt::Display for GlobError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0)
    }
}

/// What stands between two stars.
#[derive(Debug, Clone)]
enum Piece {
    Literal(Box<memmem::Finder<'static>>),
    Classes(Classes),
}

#[derive(Debug, Clone)]
enum Class {
    Any,
    One(char),
    Set {
        ranges: Vec<(char, char)>,
        inverted: bool,
    },
}

impl Class {
    fn has(&self, c: char) -> bool {
        match self {
            Self::Any => true,
            Self::One(one) => *one == c,
            Self::Set { ranges, inverted } => {
                ranges.iter().any(|(low, high)| (*low..=*high).contains(&c)) != *inverted
            }
        }
    }
}

/// A piece with `?` or sets.
#[derive(Debug, Clone)]
struct Classes {
    classes: Vec<Class>,
    /// For each ASCII character the positions that accept it, as bits.
    ascii: Box<[u64; 128]>,
}

impl Classes {
    fn new(classes: Vec<Class>) -> Result<Self, GlobError> {
        if classes.len() > PIECE_MAX {
            let what = "has more than 64 characters between two stars, with ? or [] among them";
            return Err(GlobError(what));
        }
        let mut ascii = Box::new([0; 128]);
        for (code, mask) in (0_u8..).zip(ascii.iter_mut()) {
            *mask = mask_of(&classes, char::from(code));
        }
        Ok(Self { classes, ascii })
    }

    fn mask(&self, c: char) -> u64 {
        let known = self.ascii.get(c as usize).copied();
        known.unwrap_or_else(|| mask_of(&self.classes, c))
    }

    /// Where the first match in `text` ends.
    fn find_end(&self, text: &str) -> Option<usize> {
        let Some(last) = self.classes.len().checked_sub(1) else {
            return Some(0);
        };
        let mut reached: u64 = 0;
        for (at, c) in text.char_indices() {
            reached = (reached << 1 | 1) & self.mask(c);
            if reached >> last & 1 == 1 {
                return Some(at + c.len_utf8());
            }
        }
        None
    }

    /// Where a match that begins with the text ends.
    fn prefix_end(&self, text: &str) -> Option<usize> {
        let mut chars = text.char_indices();
        for class in &self.classes {
            chars.next().filter(|&(_, c)| class.has(c))?;
        }
        Some(text.len() - chars.as_str().len())
    }

    /// Where a match that ends with the text begins.
    fn suffix_start(&self, text: &str) -> Option<usize> {
        let mut chars = text.chars();
        for class in self.classes.iter().rev() {
            chars.next_back().filter(|&c| class.has(c))?;
        }
        Some(chars.as_str().len())
    }
}

fn mask_of(classes: &[Class], c: char) -> u64 {
    let bits = classes.iter().enumerate();
    bits.filter(|(_, class)| class.has(c))
        .fold(0, |mask, (bit, _)| mask | 1 << bit)
}

impl Piece {
    fn new(classes: Vec<Class>) -> Result<Self, GlobError> {
        let literal: Option<String> = classes
            .iter()
            .map(|class| match class {
                Class::One(c) => Some(*c),
                _ => None,
            })
            .collect();
        Ok(match literal {
            Some(text) => {
                Self::Literal(Box::new(memmem::Finder::new(text.as_bytes()).into_owned()))
            }
            None => Self::Classes(Classes::new(classes)?),
        })
    }

    fn find_end(&self, text: &str) -> Option<usize> {
        match self {
            Self::Literal(finder) => Some(finder.find(text.as_bytes())? + finder.needle().len()),
            Self::Classes(classes) => classes.find_end(text),
        }
    }

    fn prefix_end(&self, text: &str) -> Option<usize> {
        match self {
            Self::Literal(finder) => {
                let needle = finder.needle();
                text.as_bytes().starts_with(needle).then_some(needle.len())
            }
            Self::Classes(classes) => classes.prefix_end(text),
        }
    }

    fn suffix_start(&self, text: &str) -> Option<usize> {
        match self {
            Self::Literal(finder) => {
                let needle = finder.needle();
                let ends = text.as_bytes().ends_with(needle);
                ends.then(|| text.len() - needle.len())
            }
            Self::Classes(classes) => classes.suffix_start(text),
        }
    }
}

impl Glob {
    /// Prepares a pattern.
    pub fn new(pattern: &str) -> Result<Self, GlobError> {
        let mut pieces = Vec::new();
        let mut classes = Vec::new();
        let mut chars = pattern.chars();
        while let Some(c) = chars.next() {
            match c {
                '*' => pieces.push(Piece::new(std::mem::take(&mut classes))?),
                '?' => classes.push(Class::Any),
                '[' => classes.push(read_set(&mut chars)?),
                '\\' => {
                    let c = chars.next().ok_or(GlobError("ends with a backslash"))?;
                    classes.push(Class::One(c));
                }
                c => classes.push(Class::One(c)),
            }
        }
        pieces.push(Piece::new(classes)?);
        Ok(Self { pieces })
    }

    /// Whether the pattern describes the whole of `text`.
    pub fn matches(&self, text: &str) -> bool {
        let Some((first, rest)) = self.pieces.split_first() else {
            return false;
        };
        let Some(end) = first.prefix_end(text) else {
            return false;
        };
        let mut text = text.get(end..).unwrap_or_default();
        let Some((last, middle)) = rest.split_last() else {
            return text.is_empty();
        };
        // The end is fixed first, so that what is left in the middle may take the leftmost
        // match each time.
        let Some(start) = last.suffix_start(text) else {
            return false;
        };
        text = text.get(..start).unwrap_or_default();
        for piece in middle {
            let Some(end) = piece.find_end(text) else {
                return false;
            };
            text = text.get(end..).unwrap_or_default();
        }
        true
    }
}

fn read_set(chars: &mut std::str::Chars<'_>) -> Result<Class, GlobError> {
    const OPEN: GlobError = GlobError("has a [ without its ]");
    let mut ranges = Vec::new();
    let mut c = chars.next().ok_or(OPEN)?;
    let inverted = matches!(c, '!' | '^');
    if inverted {
        c = chars.next().ok_or(OPEN)?;
    }
    loop {
        if c == ']' && !ranges.is_empty() {
            return Ok(Class::Set { ranges, inverted });
        }
        let low = match c {
            '\\' => chars.next().ok_or(OPEN)?,
            c => c,
        };
        c = chars.next().ok_or(OPEN)?;
        let mut high = low;
        if c == '-' && !chars.as_str().starts_with(']') {
            high = chars.next().ok_or(OPEN)?;
            if high == '\\' {
                high = chars.next().ok_or(OPEN)?;
            }
            c = chars.next().ok_or(OPEN)?;
        }
        if high < low {
            return Err(GlobError("has a range that runs backwards"));
        }
        ranges.push((low, high));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use proptest::prelude::*;

    use super::*;
    use crate::route::testing::by_definition;

    fn matches(pattern: &str, text: &str) -> bool {
        Glob::new(pattern).unwrap().matches(text)
    }

    #[test]
    fn patterns_describe_whole_texts() {
        for (pattern, text) in [
            ("Order *", "Order Completed"),
            ("*", ""),
            ("", ""),
            ("a?c", "aéc"),
            ("*.*", "1.0"),
            ("a*b*c", "abbc"),
            ("[a-c]x[!0-9]", "bxy"),
            ("\\*", "*"),
            ("a[]]b", "a]b"),
            ("*a?b*", "xxaabab"),
            ("[a-]*", "-z"),
            ("a**b", "ab"),
            ("ab*b", "abb"),
        ] {
            assert!(matches(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in [
            ("Order *", "Orders"),
            ("", "a"),
            ("a?c", "ac"),
            ("a*b", "abc"),
            ("[a-c]", "d"),
            ("ab*b", "ab"),
            ("a*a", "a"),
            ("\\?", "x"),
            ("[^a]", "a"),
        ] {
            assert!(!matches(pattern, text), "{pattern} {text}");
        }
    }

    #[test]
    fn broken_patterns_are_refused() {
        let long = format!("{}?", "a".repeat(PIECE_MAX));
        for pattern in ["[a", "a\\", "[", "[z-a]", "[a-", long.as_str()] {
            assert!(Glob::new(pattern).is_err(), "{pattern}");
        }
    }

    #[test]
    fn the_worst_pattern_takes_linear_time() {
        let glob = Glob::new(&"a*?a*".repeat(50)).unwrap();
        let text = "a".repeat(1 << 20) + "b";
        let start = Instant::now();
        for _ in 0..4 {
            std::hint::black_box(glob.matches(&text));
        }
        let glob = Glob::new(&format!("*{}b*", "?".repeat(60))).unwrap();
        assert!(!glob.matches(&"a".repeat(1 << 20)));
        assert!(start.elapsed().as_millis() < 2_000, "{:?}", start.elapsed());
    }

    proptest! {
        #[test]
        fn it_agrees_with_the_definition(pattern in "[ab?*]{0,8}", text in "[ab]{0,10}") {
            prop_assert_eq!(matches(&pattern, &text), by_definition(&pattern, &text));
        }

        #[test]
        fn any_pattern_is_survived(pattern in any::<String>(), text in any::<String>()) {
            if let Ok(glob) = Glob::new(&pattern) {
                glob.matches(&text);
            }
        }
    }
}
