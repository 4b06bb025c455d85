//! The format of Java's `.properties` files, as `java.util.Properties` reads it.
//!
//! Escapes, continued lines, comments, and a separator of `=`, `:` or white space. Owns no
//! names and no meaning; reads no files. Everything is bounded, and no error or `Debug`
//! shows a value: it may be a password.
//! Rules: the documentation of `java.util.Properties.load(Reader)`, Java 17.

use std::iter::Peekable;
use std::str::Chars;

/// Longest text that is read, in bytes.
pub const PROPERTIES_BYTES_MAX: usize = 1 << 20;

/// Most properties of one text.
pub const PROPERTIES_MAX: usize = 1_000;

/// One property. `Debug` shows no value.
#[derive(Clone, PartialEq, Eq)]
pub struct Property {
    /// Its name, unescaped.
    pub key: String,
    /// Its value, unescaped; not trimmed at the end.
    pub value: String,
    /// Where its line begins, in bytes from the beginning of the text.
    pub at: usize,
}

impl std::fmt::Debug for Property {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}@{}", self.key, self.at)
    }
}

/// Why a text is no properties file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PropertiesError {
    /// Longer than [`PROPERTIES_BYTES_MAX`].
    #[error("is larger than {PROPERTIES_BYTES_MAX} bytes; is it the right file?")]
    TooLarge,
    /// More than [`PROPERTIES_MAX`].
    #[error("has more than {PROPERTIES_MAX} properties; is it the right file?")]
    TooMany,
    /// Java throws an exception here too.
    #[error("has a \\u that four hexadecimal digits do not follow")]
    Escape {
        /// Where its line begins, in bytes from the beginning of the text.
        at: usize,
    },
}

/// Reads all properties in order; a name may come twice, Java takes the last.
///
/// # Errors
/// See [`PropertiesError`].
pub fn parse(text: &str) -> Result<Vec<Property>, PropertiesError> {
    if text.len() > PROPERTIES_BYTES_MAX {
        return Err(PropertiesError::TooLarge);
    }
    let mut found = Vec::new();
    let mut rest = Lines { text, at: 0 };
    while let Some((at, line)) = rest.next_logical() {
        if found.len() >= PROPERTIES_MAX {
            return Err(PropertiesError::TooMany);
        }
        let (key, value) = split(&line);
        let escape = PropertiesError::Escape { at };
        found.push(Property {
            key: unescape(key).ok_or_else(|| escape.clone())?,
            value: unescape(value).ok_or(escape)?,
            at,
        });
    }
    Ok(found)
}

/// A property as one line of a file, so that [`parse`] gives it back.
pub fn write(key: &str, value: &str) -> String {
    format!("{}={}\n", escape(key), escape(value))
}

fn escape(text: &str) -> String {
    let mut units = [0; 2];
    let mut written = String::new();
    for c in text.chars() {
        if c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '/') {
            written.push(c);
        } else {
            for unit in c.encode_utf16(&mut units) {
                written += &format!("\\u{unit:04x}");
            }
        }
    }
    written
}

/// What separates words within a line.
fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\u{c}')
}

/// The lines of a text that are left.
struct Lines<'a> {
    text: &'a str,
    at: usize,
}

impl Lines<'_> {
    /// The next line of the text, its beginning, without its end.
    fn next_natural(&mut self) -> Option<(usize, &str)> {
        let rest = self.text.get(self.at..).filter(|rest| !rest.is_empty())?;
        let at = self.at;
        let end = rest.find(['\n', '\r']).unwrap_or(rest.len());
        let line = rest.get(..end)?;
        let after = rest.get(end..)?;
        let ending = if after.starts_with("\r\n") {
            2
        } else {
            usize::from(!after.is_empty())
        };
        self.at = at + end + ending;
        Some((at, line))
    }

    /// The next line that is neither blank nor a comment, with those that continue it.
    fn next_logical(&mut self) -> Option<(usize, String)> {
        loop {
            let (at, line) = self.next_natural()?;
            let line = line.trim_start_matches(is_blank);
            if line.is_empty() || line.starts_with(['#', '!']) {
                continue;
            }
            let mut whole = line.to_owned();
            while is_continued(&whole) {
                whole.pop();
                let Some((_, next)) = self.next_natural() else {
                    break;
                };
                whole += next.trim_start_matches(is_blank);
            }
            return Some((at, whole));
        }
    }
}

/// Whether an odd number of backslashes ends the line.
fn is_continued(line: &str) -> bool {
    let stripped = line.trim_end_matches('\\');
    (line.len() - stripped.len()) % 2 == 1
}

/// Name and value of a line: the first separator that is not escaped, white space around it.
fn split(line: &str) -> (&str, &str) {
    let mut escaped = false;
    let end = line.find(|c| {
        let ends = !escaped && (is_blank(c) || matches!(c, '=' | ':'));
        escaped = c == '\\' && !escaped;
        ends
    });
    let (key, rest) = line
        .split_at_checked(end.unwrap_or(line.len()))
        .unwrap_or((line, ""));
    let rest = rest.trim_start_matches(is_blank);
    let value = rest.strip_prefix(['=', ':']).unwrap_or(rest);
    (key, value.trim_start_matches(is_blank))
}

/// `None` for a `\u` without its digits.
fn unescape(text: &str) -> Option<String> {
    let mut units = Vec::new();
    let mut plain = String::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        if c == '\\' && chars.peek() == Some(&'u') {
            chars.next();
            units.push(unit(&mut chars)?);
            continue;
        }
        flush(&mut units, &mut plain);
        plain.push(match c {
            '\\' => match chars.next() {
                Some('t') => '\t',
                Some('n') => '\n',
                Some('r') => '\r',
                Some('f') => '\u{c}',
                Some(other) => other,
                None => continue,
            },
            other => other,
        });
    }
    flush(&mut units, &mut plain);
    Some(plain)
}

/// Half of a surrogate pair alone is no text; it becomes U+FFFD.
fn flush(units: &mut Vec<u16>, plain: &mut String) {
    plain.extend(
        char::decode_utf16(units.drain(..)).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)),
    );
}

fn unit(chars: &mut Peekable<Chars<'_>>) -> Option<u16> {
    let mut unit = 0;
    for _ in 0..4 {
        let digit = chars.next()?.to_digit(16)?;
        unit = unit << 4 | u16::try_from(digit).ok()?;
    }
    Some(unit)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pairs(text: &str) -> Vec<(String, String)> {
        let all = parse(text).unwrap().into_iter();
        all.map(|property| (property.key, property.value)).collect()
    }

    fn one(text: &str) -> (String, String) {
        let mut all = pairs(text);
        assert_eq!(all.len(), 1, "{text:?}");
        all.remove(0)
    }

    /// The examples of Java's own documentation of `Properties.load`.
    #[test]
    fn the_examples_of_the_java_documentation_read_as_it_says() {
        for truth in [
            "Truth = Beauty",
            " Truth:Beauty",
            "Truth                    :Beauty",
        ] {
            assert_eq!(one(truth), ("Truth".into(), "Beauty".into()));
        }
        let fruits = "fruits                           apple, banana, pear, \\\n\
                      \x20                                 cantaloupe, watermelon, \\\n\
                      \x20                                 kiwi, mango";
        let value = "apple, banana, pear, cantaloupe, watermelon, kiwi, mango";
        assert_eq!(one(fruits), ("fruits".into(), value.into()));
        assert_eq!(one("cheeses"), ("cheeses".into(), String::new()));
        assert_eq!(one("\\:\\="), (":=".into(), String::new()));
    }

    #[test]
    fn escapes_comments_and_every_line_end_are_read() {
        assert_eq!(
            pairs("# c = 1\n  ! d\r\n\r\na=1\rb=2\n"),
            [("a".into(), "1".into()), ("b".into(), "2".into())]
        );
        assert_eq!(
            one("p=a\\tb\\u00e4\\ud83d\\ude00\\\\"),
            ("p".into(), "a\tb\u{e4}\u{1f600}\\".into())
        );
        assert_eq!(one("a\\ b = c d "), ("a b".into(), "c d ".into()));
        // A comment is not continued, and a continued line may hold a hash.
        assert_eq!(pairs("#x\\\na=1\\\n  #2"), [("a".into(), "1#2".into())]);
    }

    #[test]
    fn a_broken_escape_names_its_line_and_no_value() {
        let error = parse("a=1\npassword=canary\\u12x4").unwrap_err();
        assert_eq!(error, PropertiesError::Escape { at: 4 });
        assert!(!format!("{error} {error:?}").contains("canary"));
        assert!(!format!("{:?}", parse("p=canary")).contains("canary"));
    }

    #[test]
    fn a_file_of_another_kind_is_refused_before_it_fills_the_memory() {
        let long = "a".repeat(PROPERTIES_BYTES_MAX + 1);
        assert_eq!(parse(&long), Err(PropertiesError::TooLarge));
        let many = "a\n".repeat(PROPERTIES_MAX + 1);
        assert_eq!(parse(&many), Err(PropertiesError::TooMany));
    }

    proptest! {
        #[test]
        fn no_text_panics_and_each_property_begins_within_it(
            text in "[ -~\\\\\r\n\t#!:=u0-9é]{0,80}"
        ) {
            for property in parse(&text).unwrap_or_default() {
                prop_assert!(property.at < text.len());
            }
        }

        #[test]
        fn what_is_written_is_read_back(key in "\\PC{1,20}", value in "(?s).{0,40}") {
            let read = parse(&write(&key, &value)).unwrap();
            prop_assert_eq!(&read[0].key, &key);
            prop_assert_eq!(&read[0].value, &value);
        }
    }
}
