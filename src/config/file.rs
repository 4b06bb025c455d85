//! `type = "file"`: the checked settings of an input that follows log files.
//!
//! Holds patterns ready to be matched; reads no file and no directory.

use std::path::PathBuf;
use std::time::Duration;

use regex::bytes::{Regex, RegexBuilder};

use super::pattern::FilePatterns;

/// Most memory that a compiled line pattern takes, in bytes; also that of its lazy automaton.
const REGEX_BYTES_MAX: usize = 1 << 20;

/// `type = "file"`: log files, followed through every rotation.
#[derive(Debug, Clone, PartialEq)]
pub struct FileConfig {
    /// `include` and `exclude`: which files.
    pub patterns: FilePatterns,
    /// Where files begin that are there at the very first start. Default end.
    pub start: StartAt,
    /// Longest line in bytes as they are in the file; the rest is cut. Default 1 MiB.
    pub max_line: u32,
    /// What ends a line. Default auto.
    pub line_ending: LineEnding,
    /// How the file's characters are stored. Default UTF-8.
    pub encoding: Encoding,
    /// Which lines make one event together; none = each line is an event.
    pub multiline: Option<MultilineConfig>,
    /// Files are complete when they appear: read to the end, then let go. Default false.
    pub read_once: bool,
    /// A file is removed once Kafka has all its events. Default false.
    pub delete_after_delivery: bool,
    /// A delivered file has to stay unchanged for this long before it is removed.
    /// Default 5 min.
    pub delete_grace: Duration,
    /// Directories whose files may be reached by a symbolic link; empty = no link is
    /// followed. Default empty.
    pub follow_symlinks_into: Vec<PathBuf>,
    /// Time between two looks at the directories; notifications come on top. Default 10 s.
    pub scan_interval: Duration,
    /// Most files held open at once. Default 256.
    pub max_open_files: u32,
    /// Most deleted files with unread bytes that are kept open. Default 64.
    pub max_deleted_files: u32,
    /// Most bytes that deleted files may keep from the disk. Default 1 GiB.
    pub max_deleted_bytes: u64,
}

/// Where a file begins that was there before the first start. A later one always begins at
/// its first byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartAt {
    /// At its first byte.
    Beginning,
    /// With what is written from now on.
    End,
}

/// What ends a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LineEnding {
    /// LF, and one CR before it belongs to it.
    Auto,
    /// LF alone; a CR is content.
    Lf,
}

/// How characters are stored in a file. Events are UTF-8, whatever it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// ISO 8859-1.
    Latin1,
    /// UTF-8 or any other superset of ASCII: bytes pass through unchecked.
    Utf8,
    /// UTF-16, high byte first.
    Utf16Be,
    /// UTF-16, low byte first.
    Utf16Le,
}

impl Encoding {
    /// Most bytes of a file that never become more than `bytes` bytes of UTF-8.
    pub fn fitting(self, bytes: u32) -> u32 {
        match self {
            Self::Utf8 => bytes,
            // Two bytes of the file become up to three.
            Self::Utf16Be | Self::Utf16Le => bytes / 3 * 2,
            Self::Latin1 => bytes / 2,
        }
    }
}

/// `[input.multiline]`
#[derive(Debug, Clone, PartialEq)]
pub struct MultilineConfig {
    /// How lines belong together.
    pub rule: MultilineRule,
    /// An open event is finished when its file has not grown for this long. Default 2 s.
    pub timeout: Duration,
    /// Most lines of one event; the next line begins another. Default 500.
    pub max_lines: u32,
    /// Most bytes of one event as they are in the file, at least `max_line`. Default 1 MiB.
    pub max_bytes: u32,
}

/// How lines belong together.
#[derive(Debug, Clone, PartialEq)]
pub enum MultilineRule {
    /// `start`: a matching line begins an event.
    Start(LinePattern),
    /// `continue`: a matching line belongs to the event before it.
    Continue(LinePattern),
    /// `end`: a matching line is the last of its event.
    End(LinePattern),
}

/// A regular expression that is searched for in a line without its end.
#[derive(Debug, Clone)]
pub struct LinePattern {
    regex: Regex,
}

impl LinePattern {
    /// Compiles a pattern in the syntax of the crate `regex`, whose searches take linear time.
    ///
    /// # Errors
    /// The pattern is wrong, or too large when compiled.
    pub fn new(text: &str) -> Result<Self, regex::Error> {
        let mut builder = RegexBuilder::new(text);
        builder
            .size_limit(REGEX_BYTES_MAX)
            .dfa_size_limit(REGEX_BYTES_MAX);
        Ok(Self {
            regex: builder.build()?,
        })
    }

    /// Whether it is found in `line`.
    pub fn is_in(&self, line: &[u8]) -> bool {
        self.regex.is_match(line)
    }
}

impl PartialEq for LinePattern {
    fn eq(&self, other: &Self) -> bool {
        self.regex.as_str() == other.regex.as_str()
    }
}
