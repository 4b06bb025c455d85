//! The words of a trigger, one at a time, with their places.

use crate::route::meta::name_length;
use crate::route::path::{Path, begins_path, quoted};

/// One word.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token {
    /// A field path, or a keyword that looks like one.
    Path(Path),
    /// A name after `@`.
    At(String),
    /// A string in quotes.
    Text(String),
    /// A number, as written.
    Number(String),
    /// A sign: `(`, `)`, `[`, `]`, `,`, `!` or a comparison.
    Sign(&'static str),
    /// The end of the trigger.
    End,
}

/// Signs, longer ones first.
const SIGNS: [&str; 12] = [
    "!=", ">=", "<=", "(", ")", "[", "]", ",", "!", "=", ">", "<",
];

/// Signs of other languages, and what is written here instead.
const FOREIGN: [(&str, &str); 4] = [
    ("==", "write = here"),
    ("&&", "write and here"),
    ("||", "write or here"),
    ("<>", "write != here"),
];

/// A word that is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LexError {
    pub(super) at: usize,
    pub(super) what: String,
    pub(super) help: Option<String>,
}

/// Reads the word at `at`, after white space. Returns it with its first byte and the byte
/// after it.
pub(super) fn token(source: &str, at: usize) -> Result<(Token, usize, usize), LexError> {
    let rest = source.get(at..).unwrap_or_default();
    let start = at + rest.len() - rest.trim_start().len();
    let rest = rest.trim_start();
    let Some(first) = rest.chars().next() else {
        return Ok((Token::End, source.len(), source.len()));
    };
    let fail = |at: usize, what: &str, help: Option<&str>| LexError {
        at,
        what: what.to_owned(),
        help: help.map(str::to_owned),
    };
    if let Some((sign, help)) = FOREIGN.iter().find(|(sign, _)| rest.starts_with(sign)) {
        return Err(fail(start, &format!("{sign} is not known"), Some(help)));
    }
    if let Some(&sign) = SIGNS.iter().find(|sign| rest.starts_with(**sign)) {
        return Ok((Token::Sign(sign), start, start + sign.len()));
    }
    match first {
        '"' | '\'' => {
            let (text, length) =
                quoted(rest).map_err(|_| fail(start, "the string has no closing quote", None))?;
            Ok((Token::Text(text), start, start + length))
        }
        '@' => {
            let rest = rest.get(1..).unwrap_or_default();
            let length = name_length(rest);
            let name = rest.get(..length).unwrap_or_default().to_owned();
            Ok((Token::At(name), start, start + 1 + length))
        }
        '-' | '0'..='9' => {
            let length = number_length(rest.as_bytes())
                .ok_or_else(|| fail(start, "this is not a number", None))?;
            let number = rest.get(..length).unwrap_or_default().to_owned();
            Ok((Token::Number(number), start, start + length))
        }
        c if begins_path(c) => {
            let (path, length) =
                Path::parse_prefix(rest).map_err(|e| fail(start + e.at, e.what, None))?;
            Ok((Token::Path(path), start, start + length))
        }
        c => {
            let help = Some("strings stand in quotes");
            Err(fail(start, &format!("{c:?} has no meaning here"), help))
        }
    }
}

/// Bytes of the JSON number that `text` begins with.
fn number_length(text: &[u8]) -> Option<usize> {
    let digits = |from: usize| {
        let rest = text.get(from..).unwrap_or_default();
        let count = rest.iter().take_while(|b| b.is_ascii_digit()).count();
        (count > 0).then_some(from + count)
    };
    let start = usize::from(text.first() == Some(&b'-'));
    let mut end = digits(start)?;
    if text.get(start) == Some(&b'0') && end > start + 1 {
        return None;
    }
    if text.get(end) == Some(&b'.') {
        end = digits(end + 1)?;
    }
    if let Some(b'e' | b'E') = text.get(end) {
        let sign = matches!(text.get(end + 1), Some(b'+' | b'-'));
        end = digits(end + 1 + usize::from(sign))?;
    }
    Some(end)
}
