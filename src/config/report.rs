//! What is wrong with a configuration, said all at once: position, sentence, suggestion.
//!
//! Owns no rules. A diagnostic names keys and, where that is safe, the refused value; the
//! value of a secret never gets here.

use std::fmt;
use std::ops::Range;

use serde::Serialize;

use super::parts::Parts;

/// Similarity (Jaro-Winkler) from which a known name is offered for a mistyped one.
const SIMILAR: f64 = 0.82;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The daemon does not start with it.
    Error,
    /// The daemon starts; somebody should look at it.
    Warning,
}

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// The drop-in that it is about; none for the file that the report names.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// Line in the file, from 1; none for flags and for what is missing as a whole.
    pub line: Option<usize>,
    /// Column in characters, from 1.
    pub column: Option<usize>,
    /// The table and key, and what is wrong with it.
    pub message: String,
    /// What to do instead.
    pub help: Option<String>,
}

/// All findings of one configuration, in the order of the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The file as it was named, or `command line`.
    pub origin: String,
    /// Everything found.
    pub diagnostics: Vec<Diagnostic>,
}

impl Report {
    /// Whether the configuration is refused.
    pub fn has_errors(&self) -> bool {
        self.count(Severity::Error) > 0
    }

    /// How many findings are this bad.
    pub fn count(&self, severity: Severity) -> usize {
        self.diagnostics
            .iter()
            .filter(|d| d.severity == severity)
            .count()
    }

    /// One error about the file as a whole, such as that it cannot be read.
    pub(super) fn whole(origin: String, message: String, help: Option<String>) -> Self {
        let diagnostic = Diagnostic {
            severity: Severity::Error,
            file: None,
            line: None,
            column: None,
            message,
            help,
        };
        Self {
            origin,
            diagnostics: vec![diagnostic],
        }
    }

    /// Each finding as one line of text, and two more with a caret when its place is within a
    /// text; as [`fmt::Display`] prints them.
    pub fn lines(&self) -> impl Iterator<Item = String> + '_ {
        self.diagnostics.iter().map(|finding| {
            let mut line = finding.file.as_ref().unwrap_or(&self.origin).clone();
            if let Some(number) = finding.line {
                line += &format!(":{number}");
            }
            if let Some(column) = finding.column {
                line += &format!(":{column}");
            }
            let severity = match finding.severity {
                Severity::Error => "error",
                Severity::Warning => "warning",
            };
            line += &format!(": {severity}: {}", finding.message);
            if let Some(help) = &finding.help {
                line += &format!("; {help}");
            }
            line
        })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, line) in self.lines().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            f.write_str(&line)?;
        }
        Ok(())
    }
}

impl std::error::Error for Report {}

/// Collects findings while texts are parsed.
#[derive(Debug)]
pub(super) struct Sink {
    parts: Parts,
    /// A drop-in alone: what it lacks, another file has.
    drop_in: bool,
    found: Vec<(usize, Diagnostic)>,
    /// Where the texts are no TOML: file and line.
    broken: Vec<(Option<String>, usize)>,
}

impl Sink {
    pub(super) fn new(parts: Parts, drop_in: bool) -> Self {
        Self {
            parts,
            drop_in,
            found: Vec::new(),
            broken: Vec::new(),
        }
    }

    /// The texts that offsets are counted in.
    pub(super) fn parts(&self) -> &Parts {
        &self.parts
    }

    /// One more text that is laid at the end; returns where it begins.
    pub(super) fn add_part(&mut self, name: &str, text: &str) -> usize {
        let base = self.parts.text.len();
        self.parts.add(name, text);
        base
    }

    /// The text is no TOML at `span`. Later findings on that line would only be echoes.
    pub(super) fn syntax(&mut self, span: Option<Range<usize>>, message: &str) {
        let span = span.unwrap_or(0..0);
        self.broken.push(self.line_of(span.start));
        let message = format!("this is not valid TOML: {message}");
        self.push(Severity::Error, Some(span), message, None);
    }

    pub(super) fn error(&mut self, span: Range<usize>, message: String, help: Option<String>) {
        if !self.broken.contains(&self.line_of(span.start)) {
            self.push(Severity::Error, Some(span), message, help);
        }
    }

    pub(super) fn warning(&mut self, span: Range<usize>, message: String, help: Option<String>) {
        self.push(Severity::Warning, Some(span), message, help);
    }

    /// Something is absent. Said only when the text could be read whole.
    pub(super) fn missing(
        &mut self,
        span: Option<Range<usize>>,
        message: String,
        help: Option<String>,
    ) {
        if self.broken.is_empty() && !self.drop_in {
            self.push(Severity::Error, span, message, help);
        }
    }

    /// A key of a drop-in was set before, at the offset `earlier`.
    pub(super) fn set_twice(&mut self, key: &str, span: Range<usize>, earlier: usize) {
        let (file, line) = self.line_of(earlier);
        let place = format!("{}:{line}", file.unwrap_or_default());
        let message = format!("{key}: is set in {place} already");
        self.error(span, message, Some("keep one of them".to_owned()));
    }

    pub(super) fn into_report(mut self) -> Report {
        self.found.sort_by_key(|(offset, _)| *offset);
        let origin = match self.parts.files.into_iter().next() {
            None => "command line".to_owned(),
            Some((_, name)) => name,
        };
        let diagnostics = self
            .found
            .into_iter()
            .map(|(_, diagnostic)| diagnostic)
            .collect();
        Report {
            origin,
            diagnostics,
        }
    }

    fn push(
        &mut self,
        severity: Severity,
        span: Option<Range<usize>>,
        message: String,
        help: Option<String>,
    ) {
        let placed = span.as_ref().filter(|_| !self.parts.files.is_empty());
        let position = placed.map(|span| self.parts.position(span.start));
        let main = self.parts.name_at(0);
        let file = placed.and_then(|span| self.parts.name_at(span.start));
        let diagnostic = Diagnostic {
            severity,
            file: file.filter(|name| Some(*name) != main).map(str::to_owned),
            line: position.map(|p| p.0),
            column: position.map(|p| p.1),
            message,
            help,
        };
        // What has no position is missing altogether and comes last.
        self.found
            .push((span.map_or(usize::MAX, |s| s.start), diagnostic));
    }

    fn line_of(&self, offset: usize) -> (Option<String>, usize) {
        let file = self.parts.name_at(offset).map(str::to_owned);
        (file, self.parts.position(offset).0)
    }
}

/// The known name that one slip of the finger makes into `wrong`.
pub(super) fn slip_of<'k>(
    wrong: &str,
    known: impl IntoIterator<Item = &'k str>,
) -> Option<&'k str> {
    // A key of another program has other signs between its words.
    let plain = |name: &str| name.to_lowercase().replace(['-', '_'], ".");
    let wrong = plain(wrong);
    let is_slip = |name: &&str| strsim::osa_distance(&wrong, &plain(name)) <= 1;
    let score = |name: &str| strsim::jaro_winkler(&wrong, &plain(name));
    let slips = known.into_iter().filter(is_slip);
    slips.max_by(|a, b| score(a).total_cmp(&score(b)))
}

/// The known name that `wrong` was most likely meant to be: one slip away, or the end of it,
/// as `key` of `message_key`, or a similar one.
pub(super) fn nearest<'k>(
    wrong: &str,
    known: impl IntoIterator<Item = &'k str>,
) -> Option<&'k str> {
    let lower = wrong.to_lowercase();
    let known: Vec<&str> = known.into_iter().collect();
    let names = || known.iter().copied();
    let ends = names().filter(|name| {
        let before = lower.strip_suffix(&name.to_lowercase());
        before.is_some_and(|before| before.ends_with(['_', '-', '.']))
    });
    let similar = || {
        names()
            .map(|name| (strsim::jaro_winkler(&lower, &name.to_lowercase()), name))
            .filter(|(score, _)| *score >= SIMILAR)
            .max_by(|a, b| a.0.total_cmp(&b.0))
            .map(|(_, name)| name)
    };
    slip_of(wrong, names())
        .or_else(|| ends.max_by_key(|name| name.len()))
        .or_else(similar)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_come_in_the_order_of_the_file_with_line_and_column() {
        let mut sink = Sink::new(Parts::file("f.toml", "a = 1\nbé = 2\n"), false);
        sink.missing(None, "gone".into(), None);
        sink.error(9..10, "second".into(), Some("do it".into()));
        sink.warning(0..1, "first".into(), None);
        let report = sink.into_report();
        assert_eq!(
            report.to_string(),
            "f.toml:1:1: warning: first\nf.toml:2:3: error: second; do it\nf.toml: error: gone"
        );
        assert!(report.has_errors());
    }

    #[test]
    fn a_broken_line_is_reported_once_and_hides_what_is_missing() {
        let mut sink = Sink::new(Parts::file("f", "a = \nb = 1"), false);
        sink.syntax(Some(4..4), "no value");
        sink.error(0..1, "echo".into(), None);
        sink.missing(None, "gone".into(), None);
        sink.error(5..6, "own line".into(), None);
        assert_eq!(sink.into_report().count(Severity::Error), 2);
    }

    #[test]
    fn a_typo_finds_its_name_and_nonsense_finds_none() {
        assert_eq!(nearest("max_byts", ["dir", "max_bytes"]), Some("max_bytes"));
        assert_eq!(nearest("colour", ["dir", "max_bytes"]), None);
    }
}
