//! Path patterns of a file input: which files are meant, and what their paths tell.
//!
//! `*` and `?` stay within a name, `**` stands for any directories, `[a-z]` for one of a
//! set, `{a,b}` for one of a few, `{app}` for a part of a name that routes may use. Each is
//! compiled to a regular expression, so that matching takes linear time. Looks at no file.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use regex::bytes::{Regex, RegexBuilder};

/// Longest pattern in bytes: the longest path of Linux, `PATH_MAX`.
const PATTERN_BYTES_MAX: usize = 4096;

/// Most memory that a compiled pattern takes, in bytes; also that of its lazy automaton.
const REGEX_BYTES_MAX: usize = 1 << 20;

/// Most captures of one pattern; their values are stored with every block of events.
const CAPTURES_MAX: usize = 8;

/// Longest name of a capture, in bytes.
const CAPTURE_NAME_MAX: usize = 32;

/// One byte of a name.
const ANY_BYTE: &str = "(?-u:[^/])";

/// Why a pattern cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// It depends on a working directory.
    #[error("is no absolute path; begin it with /")]
    Relative,
    /// It has `.`, `..`, two slashes side by side or one at its end.
    #[error("has the part {0:?}; write every directory once, and a file name or * at the end")]
    Part(String),
    /// A `**` inside a name.
    #[error("has ** within a name; write /**/ between directories, or a single *")]
    DoubleStar,
    /// A bracket, brace or backslash that is not complete.
    #[error("has {0}; write a backslash before a character that is meant as it is")]
    Open(&'static str),
    /// A capture that cannot be named so.
    #[error(
        "has the capture {{{0}}}; name it with 1 to 32 of a-z, 0-9 and _, once in a pattern, or \
        put a comma between alternatives"
    )]
    Capture(String),
    /// Too much of it.
    #[error("is too large: at most 4096 bytes, 8 captures and 1MiB when compiled")]
    TooLarge,
}

/// What the captures of a pattern hold for one path: name and value, in the pattern's order.
pub type Captures = Vec<(Arc<str>, String)>;

/// A pattern of absolute paths.
#[derive(Debug, Clone)]
pub struct PathPattern {
    text: String,
    root: PathBuf,
    /// Describes whole paths.
    paths: Regex,
    /// Describes directories that may hold such a path at any depth.
    parents: Regex,
    names: Vec<Arc<str>>,
}

impl PartialEq for PathPattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl PathPattern {
    /// Compiles a pattern of whole paths.
    ///
    /// # Errors
    /// What is wrong with it, to be said after the pattern itself.
    pub fn new(text: &str) -> Result<Self, PatternError> {
        if text.len() > PATTERN_BYTES_MAX {
            return Err(PatternError::TooLarge);
        }
        let path = text.strip_prefix('/').ok_or(PatternError::Relative)?;
        let mut names = Vec::new();
        let parts = path.split('/').map(|part| Part::new(part, &mut names));
        let parts = parts.collect::<Result<Vec<Part>, _>>()?;
        Ok(Self {
            text: text.to_owned(),
            root: root(&parts),
            paths: compile(&paths(&parts))?,
            parents: compile(&parents(&parts))?,
            names,
        })
    }

    /// The longest directory that all matching paths have in common, as far as it has no
    /// wildcard.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The pattern as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Names of the captures, in the pattern's order.
    pub fn names(&self) -> &[Arc<str>] {
        &self.names
    }

    /// Whether the pattern describes the whole of `path`.
    pub fn matches(&self, path: &Path) -> bool {
        self.paths.is_match(path.as_os_str().as_bytes())
    }

    /// What the captures hold, when the pattern describes `path`. Bytes that are no UTF-8
    /// become U+FFFD.
    pub fn captures(&self, path: &Path) -> Option<Captures> {
        let found = self.paths.captures(path.as_os_str().as_bytes())?;
        let value = |name: &Arc<str>| {
            let bytes = found.name(name).map_or(&b""[..], |part| part.as_bytes());
            (name.clone(), String::from_utf8_lossy(bytes).into_owned())
        };
        Some(self.names.iter().map(value).collect())
    }

    /// Whether a path below the directory `dir`, at any depth, can match.
    pub fn may_hold(&self, dir: &Path) -> bool {
        let dir = dir.as_os_str().as_bytes();
        self.parents.is_match(dir.strip_suffix(b"/").unwrap_or(dir))
    }
}

/// A pattern of paths that are left out: a whole path, or a name wherever it is.
#[derive(Debug, Clone)]
enum Exclude {
    Path(PathPattern),
    Name { text: String, names: Regex },
}

impl PartialEq for Exclude {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Path(one), Self::Path(other)) => one == other,
            (Self::Name { text: one, .. }, Self::Name { text: other, .. }) => one == other,
            _ => false,
        }
    }
}

impl Exclude {
    fn new(text: &str) -> Result<Self, PatternError> {
        if text.contains('/') {
            return Ok(Self::Path(PathPattern::new(text)?));
        }
        if text.len() > PATTERN_BYTES_MAX {
            return Err(PatternError::TooLarge);
        }
        let names = match Part::new(text, &mut Vec::new())? {
            Part::Directories => return Err(PatternError::DoubleStar),
            Part::Name { regex, .. } => compile(&regex)?,
        };
        let text = text.to_owned();
        Ok(Self::Name { text, names })
    }

    fn matches(&self, path: &Path) -> bool {
        match self {
            Self::Path(pattern) => pattern.matches(path),
            Self::Name { names, .. } => {
                let name = path.file_name().map(OsStr::as_bytes);
                name.is_some_and(|name| names.is_match(name))
            }
        }
    }
}

/// The files of one input: `include` without `exclude`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct FilePatterns {
    include: Vec<PathPattern>,
    exclude: Vec<Exclude>,
}

impl FilePatterns {
    /// Adds a pattern of files to read.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn include(&mut self, text: &str) -> Result<(), PatternError> {
        self.include.push(PathPattern::new(text)?);
        Ok(())
    }

    /// Adds a pattern of files and directories to leave out: with a slash of whole paths,
    /// without one of names.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn exclude(&mut self, text: &str) -> Result<(), PatternError> {
        self.exclude.push(Exclude::new(text)?);
        Ok(())
    }

    /// The patterns of files to read.
    pub fn included(&self) -> &[PathPattern] {
        &self.include
    }

    /// The captures of the first pattern that describes `path`; none when no pattern does,
    /// or when it or a directory above it is left out.
    pub fn captures(&self, path: &Path) -> Option<Captures> {
        let captures = self.include.iter().find_map(|one| one.captures(path))?;
        (!self.is_excluded(path)).then_some(captures)
    }

    /// Whether it is worth looking into the directory `dir`.
    pub fn may_hold(&self, dir: &Path) -> bool {
        self.include.iter().any(|one| one.may_hold(dir)) && !self.is_excluded(dir)
    }

    fn is_excluded(&self, path: &Path) -> bool {
        let mut above = path.ancestors();
        above.any(|path| self.exclude.iter().any(|one| one.matches(path)))
    }
}

/// What stands between two slashes.
enum Part {
    /// `**`: any directories, also none.
    Directories,
    Name {
        regex: String,
        /// The name itself, when it has no wildcard.
        literal: Option<String>,
    },
}

impl Part {
    fn new(text: &str, names: &mut Vec<Arc<str>>) -> Result<Self, PatternError> {
        match text {
            "" | "." | ".." => return Err(PatternError::Part(text.to_owned())),
            "**" => return Ok(Self::Directories),
            _ if text.contains("**") => return Err(PatternError::DoubleStar),
            _ => {}
        }
        let (mut regex, mut literal) = (String::new(), Some(String::new()));
        let mut chars = text.chars();
        while let Some(c) = chars.next() {
            let plain = match c {
                '\\' => Some(chars.next().ok_or(PatternError::Open("a \\ at its end"))?),
                '*' | '?' | '[' | '{' => None,
                c => Some(c),
            };
            match (plain, &mut literal) {
                (Some(c), Some(literal)) => literal.push(c),
                (Some(_), None) => {}
                (None, _) => literal = None,
            }
            match plain {
                Some(c) => regex += &escaped(c),
                None if c == '{' => read_braces(&mut chars, &mut regex, names)?,
                None => read_wildcard(c, &mut chars, &mut regex)?,
            }
        }
        Ok(Self::Name { regex, literal })
    }
}

fn escaped(c: char) -> String {
    regex::escape(c.encode_utf8(&mut [0; 4]))
}

/// `*`, `?` or a set, whose first character is taken already.
fn read_wildcard(
    first: char,
    chars: &mut std::str::Chars<'_>,
    regex: &mut String,
) -> Result<(), PatternError> {
    match first {
        '*' => *regex += &format!("{ANY_BYTE}*"),
        '?' => *regex += "[^/]",
        _ => {
            const OPEN: PatternError = PatternError::Open("a [ without its ]");
            let rest = chars.as_str();
            let body = rest.strip_prefix(['!', '^']).unwrap_or(rest);
            let inverted = if body.len() < rest.len() { "^" } else { "" };
            // A ] in the first place is one of the set.
            let first = body.chars().next().ok_or(OPEN)?;
            let end = body.get(first.len_utf8()..).and_then(|rest| rest.find(']'));
            let (set, rest) = body.split_at(end.ok_or(OPEN)? + first.len_utf8());
            *regex += &format!("[[{inverted}{}]--/]", read_set(set)?);
            *chars = rest.get(1..).unwrap_or_default().chars();
        }
    }
    Ok(())
}

/// The inside of a set: characters and ranges.
fn read_set(set: &str) -> Result<String, PatternError> {
    let mut regex = String::new();
    let mut chars = set.chars().peekable();
    while let Some(low) = chars.next() {
        regex += &escaped(low);
        let is_range = chars.peek() == Some(&'-') && chars.clone().nth(1).is_some();
        if is_range {
            chars.next();
            let high = chars.next().filter(|high| low <= *high);
            let high = high.ok_or(PatternError::Open("a range that runs backwards"))?;
            regex += &format!("-{}", escaped(high));
        }
    }
    Ok(regex)
}

/// Alternatives, or the name of a capture; the `{` is taken already.
fn read_braces(
    chars: &mut std::str::Chars<'_>,
    regex: &mut String,
    names: &mut Vec<Arc<str>>,
) -> Result<(), PatternError> {
    let open = PatternError::Open("a { without its }");
    let (inside, rest) = chars.as_str().split_once('}').ok_or(open)?;
    *chars = rest.chars();
    if !inside.contains(',') {
        let plain = |c: char| matches!(c, 'a'..='z' | '0'..='9' | '_');
        let is_name = (1..=CAPTURE_NAME_MAX).contains(&inside.len())
            && inside.chars().all(plain)
            && !inside.starts_with(|c: char| c.is_ascii_digit())
            && !names.iter().any(|name| &**name == inside);
        if !is_name {
            return Err(PatternError::Capture(inside.to_owned()));
        }
        if names.len() == CAPTURES_MAX {
            return Err(PatternError::TooLarge);
        }
        names.push(inside.into());
        *regex += &format!("(?P<{inside}>{ANY_BYTE}+)");
        return Ok(());
    }
    let mut alternatives = Vec::new();
    for text in inside.split(',') {
        let mut one = String::new();
        let mut chars = text.chars();
        while let Some(c) = chars.next() {
            match c {
                '\\' => {
                    let c = chars
                        .next()
                        .ok_or(PatternError::Open("a \\ before , or }"))?;
                    one += &escaped(c);
                }
                '{' => return Err(PatternError::Open("a { within braces")),
                '*' | '?' | '[' => read_wildcard(c, &mut chars, &mut one)?,
                c => one += &escaped(c),
            }
        }
        alternatives.push(one);
    }
    *regex += &format!("(?:{})", alternatives.join("|"));
    Ok(())
}

fn root(parts: &[Part]) -> PathBuf {
    let directories = parts.get(..parts.len() - 1).unwrap_or_default();
    let literals = directories.iter().map_while(|part| match part {
        Part::Name { literal, .. } => literal.as_deref(),
        Part::Directories => None,
    });
    std::iter::once("/").chain(literals).collect()
}

/// The regular expression of whole paths.
fn paths(parts: &[Part]) -> String {
    let last = parts.len() - 1;
    let parts = parts.iter().enumerate().map(|(index, part)| match part {
        Part::Directories if index == last => format!("(?:/{ANY_BYTE}+)+"),
        Part::Directories => format!("(?:/{ANY_BYTE}+)*"),
        Part::Name { regex, .. } => format!("/{regex}"),
    });
    parts.collect()
}

/// The regular expression of directories that may hold a match; the root is the empty text.
fn parents(parts: &[Part]) -> String {
    let (mut regex, mut open) = (String::new(), 0);
    for (index, part) in parts.iter().enumerate() {
        match part {
            Part::Directories => {
                regex += "(?:/(?s-u:.)+)?";
                break;
            }
            Part::Name { regex: name, .. } if index + 1 < parts.len() => {
                regex += &format!("(?:/{name}");
                open += 1;
            }
            Part::Name { .. } => {}
        }
    }
    regex + &")?".repeat(open)
}

fn compile(regex: &str) -> Result<Regex, PatternError> {
    let whole = format!(r"\A(?:{regex})\z");
    let mut builder = RegexBuilder::new(&whole);
    builder
        .size_limit(REGEX_BYTES_MAX)
        .dfa_size_limit(REGEX_BYTES_MAX);
    // The syntax is ours, so only its size can be refused.
    builder.build().map_err(|_| PatternError::TooLarge)
}

#[cfg(test)]
mod tests;
