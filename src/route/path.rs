//! Paths to a field of a JSON event, such as `properties.items[0]["unit price"]`.
//!
//! Owns the notation. Finding what a path points at is the business of `json`.

use std::fmt;

/// Most steps of one path.
const STEPS_MAX: usize = 32;

/// Longest path in bytes.
const PATH_BYTES_MAX: usize = 1024;

/// A path from the top of an event. No steps means the whole event, written `$`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Path {
    steps: Vec<Step>,
}

/// One step of a path.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Step {
    /// A field of an object.
    Name(String),
    /// A position in an array, from 0.
    Index(u32),
}

/// A text that is no path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct PathError {
    /// Byte within the text.
    pub at: usize,
    /// What is wrong there.
    pub what: &'static str,
}

impl Path {
    /// Reads a text that is a path and nothing else. Names may hold any character; dots,
    /// brackets and backslashes in a name are written with a backslash before them.
    ///
    /// # Errors
    /// When a step is empty or unfinished, or the path is too long.
    pub fn parse(text: &str) -> Result<Self, PathError> {
        let (path, end) = Reader::new(text, |_| true).read()?;
        match text.len() {
            len if len == end => Ok(path),
            _ => Err(fault(end, "a path cannot go on like this")),
        }
    }

    /// Reads the path that `text` begins with, in a place where other things may follow, so
    /// that names are letters, digits, `_`, `-` and whatever has a backslash before it.
    /// Returns the path and its length in bytes.
    pub(super) fn parse_prefix(text: &str) -> Result<(Self, usize), PathError> {
        Reader::new(text, is_name_char).read()
    }

    pub(super) fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// The path through fields of these names.
    pub(super) fn of<const N: usize>(names: [&str; N]) -> Self {
        Self {
            steps: names.map(|name| Step::Name(name.to_owned())).into(),
        }
    }

    /// The field's name, when the path is a plain name at the top.
    pub(super) fn top_name(&self) -> Option<&str> {
        match self.steps.as_slice() {
            [Step::Name(name)] => Some(name),
            _ => None,
        }
    }
}

/// Whether a path can begin with `c`.
pub(super) fn begins_path(c: char) -> bool {
    is_name_char(c) && c != '-' && !c.is_ascii_digit() || matches!(c, '$' | '\\')
}

fn is_name_char(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '-')
}

fn fault(at: usize, what: &'static str) -> PathError {
    PathError { at, what }
}

struct Reader<'t> {
    text: &'t str,
    at: usize,
    is_name: fn(char) -> bool,
    path: Path,
}

impl<'t> Reader<'t> {
    fn new(text: &'t str, is_name: fn(char) -> bool) -> Self {
        Self {
            text,
            at: 0,
            is_name,
            path: Path::default(),
        }
    }

    fn read(mut self) -> Result<(Path, usize), PathError> {
        let rooted = self.peek() == Some('$');
        if rooted {
            self.at += 1;
        } else {
            self.name()?;
        }
        loop {
            match self.peek() {
                Some('.') => {
                    self.at += 1;
                    self.name()?;
                }
                Some('[') => self.bracket()?,
                _ => break,
            }
            if self.path.steps.len() > STEPS_MAX || self.at > PATH_BYTES_MAX {
                return Err(fault(self.at, "the path is too long"));
            }
        }
        Ok((self.path, self.at))
    }

    fn peek(&self) -> Option<char> {
        self.text.get(self.at..)?.chars().next()
    }

    fn name(&mut self) -> Result<(), PathError> {
        let mut name = String::new();
        while let Some(c) = self.peek() {
            if c == '\\' {
                self.at += 1;
                let Some(escaped) = self.peek() else {
                    return Err(fault(self.at, "a character must follow the backslash"));
                };
                name.push(escaped);
                self.at += escaped.len_utf8();
                continue;
            }
            if matches!(c, '.' | '[') || !(self.is_name)(c) {
                break;
            }
            name.push(c);
            self.at += c.len_utf8();
        }
        if name.is_empty() {
            return Err(fault(self.at, "a field name is missing here"));
        }
        self.path.steps.push(Step::Name(name));
        Ok(())
    }

    /// `[0]` or `["any name"]`.
    fn bracket(&mut self) -> Result<(), PathError> {
        let open = self.at;
        self.at += 1;
        let rest = self.text.get(self.at..).unwrap_or_default();
        let step = if rest.starts_with('"') {
            let (name, length) = quoted(rest)
                .map_err(|at| fault(self.at + at, "the name in brackets has no closing quote"))?;
            self.at += length;
            Step::Name(name)
        } else {
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            let index = rest.get(..digits).and_then(|digits| digits.parse().ok());
            self.at += digits;
            Step::Index(index.ok_or_else(|| {
                fault(open + 1, "a position or a quoted name belongs in brackets")
            })?)
        };
        if self.peek() != Some(']') {
            return Err(fault(self.at, "the bracket is not closed"));
        }
        self.at += 1;
        self.path.steps.push(step);
        Ok(())
    }
}

/// Reads the string that `text` begins with, in either kind of quotes; a backslash takes the
/// next character as it is. Returns its content and the bytes it takes, or where it breaks
/// off.
pub(super) fn quoted(text: &str) -> Result<(String, usize), usize> {
    let mut chars = text.char_indices();
    let Some((_, quote @ ('"' | '\''))) = chars.next() else {
        return Err(0);
    };
    let mut content = String::new();
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => content.push(chars.next().ok_or(at)?.1),
            c if c == quote => return Ok((content, at + 1)),
            c => content.push(c),
        }
    }
    Err(text.len())
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((first, rest)) = self.steps.split_first() else {
            return f.write_str("$");
        };
        match first {
            Step::Name(name) if is_plain(name) => f.write_str(name)?,
            step => write!(f, "${step}")?,
        }
        for step in rest {
            match step {
                Step::Name(name) if is_plain(name) => write!(f, ".{name}")?,
                step => write!(f, "{step}")?,
            }
        }
        Ok(())
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Index(index) => write!(f, "[{index}]"),
            Self::Name(name) => {
                write!(
                    f,
                    "[\"{}\"]",
                    name.replace('\\', "\\\\").replace('"', "\\\"")
                )
            }
        }
    }
}

fn is_plain(name: &str) -> bool {
    name.starts_with(begins_path) && name.chars().all(is_name_char)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> Result<String, usize> {
        Path::parse(text)
            .map(|path| path.to_string())
            .map_err(|e| e.at)
    }

    #[test]
    fn a_path_is_read_and_written() {
        for text in [
            "a",
            "a.b.c",
            "a[0].b",
            "$[\"x y\"].z",
            "$",
            "$[3]",
            "a_b-c",
            "größe",
        ] {
            assert_eq!(shown(text), Ok(text.to_owned()));
        }
        assert_eq!(shown("$.a.b"), Ok("a.b".to_owned()));
        assert_eq!(shown(r"a\.b.c"), Ok("$[\"a.b\"].c".to_owned()));
        assert_eq!(shown("first name.x"), Ok("$[\"first name\"].x".to_owned()));
    }

    #[test]
    fn a_fault_names_its_place() {
        for (text, at) in [
            ("", 0),
            ("a..b", 2),
            ("a.", 2),
            ("a[", 2),
            ("a[x]", 2),
            ("a[1", 3),
        ] {
            assert_eq!(shown(text), Err(at), "{text}");
        }
        assert!(shown(&"a.".repeat(100)).is_err());
        assert!(shown("a[99999999999]").is_err());
    }

    #[test]
    fn a_prefix_ends_where_the_name_ends() {
        assert_eq!(Path::parse_prefix("a.b = 1").map(|(_, end)| end), Ok(3));
        assert_eq!(Path::parse_prefix("a\\ b)").map(|(_, end)| end), Ok(4));
    }
}
