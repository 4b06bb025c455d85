//! One TOML table being read: typed getters that note every mistake and go on.
//!
//! A getter answers with its default after a mistake, so that one pass finds them all; the
//! caller throws the result away when anything was found. What no getter asked for is
//! unknown, and [`Section::finish`] says so. Numbers with units are in `quantity`.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::PathBuf;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::keys::is_secret;
use super::report::{Sink, nearest, slip_of};

/// Deepest nesting of dotted keys that is flattened; Kafka's longest name has 7 parts.
const DEPTH_MAX: usize = 16;

/// A key and its value, with their places in the text.
#[derive(Debug, Clone)]
pub(super) struct Entry<'a> {
    pub(super) key: Range<usize>,
    pub(super) value: &'a Spanned<DeValue<'a>>,
}

impl Entry<'_> {
    /// The parts of a text with commas, or of an array of texts, without blanks around them;
    /// `None` when it is neither.
    pub(super) fn list(&self) -> Option<Vec<String>> {
        let part = |text: &str| text.trim().to_owned();
        match self.value.get_ref() {
            DeValue::String(text) => Some(text.split(',').map(part).collect()),
            DeValue::Array(items) => items
                .iter()
                .map(|item| item.get_ref().as_str().map(part))
                .collect(),
            _ => None,
        }
    }

    /// A single value in the notation of a properties file.
    pub(super) fn scalar(&self) -> Option<String> {
        match self.value.get_ref() {
            DeValue::Boolean(flag) => Some(flag.to_string()),
            DeValue::Integer(number) => Some(number.as_str().to_owned()),
            other => other.as_str().map(str::to_owned),
        }
    }
}

/// One table and the mistakes found in it.
#[derive(Debug)]
pub(super) struct Section<'a, 's> {
    title: String,
    span: Range<usize>,
    entries: BTreeMap<String, Entry<'a>>,
    known: Vec<&'static str>,
    /// Keys with a mistake that was told.
    faulty: Vec<String>,
    pub(super) sink: &'s mut Sink,
}

impl<'a, 's> Section<'a, 's> {
    /// The table as it is; `title` is how messages name it, e.g. `[spool]`.
    pub(super) fn new(
        title: impl Into<String>,
        table: &'a Spanned<DeTable<'a>>,
        sink: &'s mut Sink,
    ) -> Self {
        Self::of(title, table.span(), table.get_ref(), sink)
    }

    /// The table under a span of its own, for tables found as values.
    pub(super) fn of(
        title: impl Into<String>,
        span: Range<usize>,
        table: &'a DeTable<'a>,
        sink: &'s mut Sink,
    ) -> Self {
        let mut entries = BTreeMap::new();
        for (key, value) in table {
            entries.insert(
                key.get_ref().to_string(),
                Entry {
                    key: key.span(),
                    value,
                },
            );
        }
        Self {
            title: title.into(),
            span,
            entries,
            known: Vec::new(),
            faulty: Vec::new(),
            sink,
        }
    }

    /// The table with nested tables flattened back to dotted names, as Kafka has them:
    /// TOML reads `linger.ms = 5` as a table `linger`. A secret stays a table.
    pub(super) fn flattened(
        title: impl Into<String>,
        span: Range<usize>,
        table: &'a DeTable<'a>,
        sink: &'s mut Sink,
    ) -> Self {
        let mut section = Self {
            title: title.into(),
            span,
            entries: BTreeMap::new(),
            known: Vec::new(),
            faulty: Vec::new(),
            sink,
        };
        section.flatten("", table, 0);
        section
    }

    fn flatten(&mut self, prefix: &str, table: &'a DeTable<'a>, depth: usize) {
        for (key, value) in table {
            let name = if prefix.is_empty() {
                key.get_ref().to_string()
            } else {
                format!("{prefix}.{}", key.get_ref())
            };
            match value.get_ref() {
                DeValue::Table(inner) if !is_secret(&name) && depth < DEPTH_MAX => {
                    self.flatten(&name, inner, depth + 1);
                }
                _ => {
                    let entry = Entry {
                        key: key.span(),
                        value,
                    };
                    if self.entries.contains_key(&name) {
                        self.fault(&name, key.span(), "is set twice", None);
                    }
                    self.entries.insert(name, entry);
                }
            }
        }
    }

    /// Notes a mistake at a place in the text.
    pub(super) fn fault(
        &mut self,
        key: &str,
        span: Range<usize>,
        what: &str,
        help: Option<String>,
    ) {
        self.faulty.push(key.to_owned());
        self.sink.error(span, self.message(key, what), help);
    }

    /// Notes something that works and that somebody should look at.
    pub(super) fn caution(
        &mut self,
        key: &str,
        span: Range<usize>,
        what: &str,
        help: Option<String>,
    ) {
        self.sink.warning(span, self.message(key, what), help);
    }

    fn message(&self, key: &str, what: &str) -> String {
        format!("{} {key}: {what}", self.title)
    }

    /// A required key is not there, or its value was no good and that was told. A table of a
    /// list is whole by itself, so that nothing else can bring the key.
    pub(super) fn absent(&mut self, key: &str, help: &str) {
        if self.faulty.iter().any(|faulty| faulty == key) {
            return;
        }
        let message = self.message(key, "is missing");
        let (span, help) = (self.span.clone(), Some(help.to_owned()));
        if self.title.starts_with("[[") {
            self.sink.error(span, message, help);
        } else {
            self.sink.missing(Some(span), message, help);
        }
    }

    /// Where the value of a key stands that nobody asked for yet.
    pub(super) fn span_of(&self, key: &str) -> Option<Range<usize>> {
        Some(self.entries.get(key)?.value.span())
    }

    /// The entry of a key, which is known from now on.
    pub(super) fn take(&mut self, key: &'static str) -> Option<Entry<'a>> {
        self.known.push(key);
        self.entries.remove(key)
    }

    /// The entry of a key that has other accepted spellings.
    pub(super) fn take_alias(
        &mut self,
        key: &'static str,
        aliases: &[&'static str],
    ) -> Option<Entry<'a>> {
        let mut found = self.take(key);
        for alias in aliases {
            let Some(entry) = self.take(alias) else {
                continue;
            };
            if let Some(first) = &found {
                if first.scalar().is_some() && first.scalar() == entry.scalar() {
                    continue;
                }
                let help = Some(format!("keep one of {key} and {alias}"));
                self.fault(
                    alias,
                    entry.key.clone(),
                    &format!("means the same as {key}"),
                    help,
                );
            } else {
                found = Some(entry);
            }
        }
        found
    }

    /// Whether a key that begins so is there and nobody has asked for it yet.
    pub(super) fn has(&self, prefix: &str) -> bool {
        self.entries.keys().any(|key| key.starts_with(prefix))
    }

    /// What nobody has asked for yet, by name.
    pub(super) fn rest(&mut self) -> BTreeMap<String, Entry<'a>> {
        std::mem::take(&mut self.entries)
    }

    /// Reports every key that nobody asked for.
    pub(super) fn finish(mut self) {
        for (key, entry) in self.rest() {
            self.unknown(&key, &entry, &[]);
        }
    }

    /// Whether one slip of the finger makes it of a key that was asked for.
    pub(super) fn is_slip(&self, key: &str) -> bool {
        slip_of(key, self.known.iter().copied()).is_some()
    }

    /// Reports one unknown key, with the nearest of the known names and of `more`.
    pub(super) fn unknown(&mut self, key: &str, entry: &Entry<'_>, more: &[&str]) {
        let known = self.known.iter().copied().chain(more.iter().copied());
        let help = nearest(key, known).map(|near| format!("did you mean {near}?"));
        let help = help.or_else(|| {
            let listed = more.is_empty() && !self.known.is_empty();
            listed.then(|| format!("known here: {}", self.known.join(", ")))
        });
        self.fault(
            &key.escape_debug().to_string(),
            entry.key.clone(),
            "is not a known key",
            help,
        );
    }

    /// The value has another type than the key takes. The value itself is not printed.
    pub(super) fn wrong_type(&mut self, key: &str, entry: &Entry<'_>, expected: &str) {
        let what = format!("takes {expected}, not {}", describe(entry.value.get_ref()));
        self.fault(key, entry.value.span(), &what, None);
    }

    /// A string.
    pub(super) fn text(&mut self, key: &'static str) -> Option<Spanned<String>> {
        let entry = self.take(key)?;
        self.text_of(key, &entry)
    }

    /// The string of an entry already taken.
    pub(super) fn text_of(&mut self, key: &str, entry: &Entry<'_>) -> Option<Spanned<String>> {
        let Some(text) = entry.value.get_ref().as_str() else {
            self.wrong_type(key, entry, "a string");
            return None;
        };
        Some(Spanned::new(entry.value.span(), text.to_owned()))
    }

    /// Strings: an array of them, or one alone. None when the key is not set or wrong.
    pub(super) fn texts(&mut self, key: &'static str) -> Option<Vec<Spanned<String>>> {
        let entry = self.take(key)?;
        let spanned = |value: &Spanned<DeValue<'_>>| {
            let text = value.get_ref().as_str()?.to_owned();
            Some(Spanned::new(value.span(), text))
        };
        let texts: Option<Vec<_>> = match entry.value.get_ref() {
            DeValue::Array(array) => array.iter().map(spanned).collect(),
            _ => spanned(entry.value).map(|text| vec![text]),
        };
        if texts.is_none() {
            self.wrong_type(key, &entry, "a string, or an array of strings");
        }
        texts
    }

    /// A path: a string that is not empty and has no NUL.
    pub(super) fn path(&mut self, key: &'static str) -> Option<Spanned<PathBuf>> {
        let entry = self.take(key)?;
        self.path_of(key, &entry)
    }

    /// The path of an entry already taken.
    pub(super) fn path_of(&mut self, key: &str, entry: &Entry<'_>) -> Option<Spanned<PathBuf>> {
        let text = self.text_of(key, entry)?;
        let span = text.span();
        let text = text.into_inner();
        if text.is_empty() || text.contains('\0') {
            self.fault(key, span, "is not a path: it is empty or holds a NUL", None);
            return None;
        }
        Some(Spanned::new(span, PathBuf::from(text)))
    }

    /// `true` or `false`.
    pub(super) fn flag(&mut self, key: &'static str, default: bool) -> bool {
        let entry = self.take(key);
        entry
            .and_then(|entry| self.flag_of(key, &entry))
            .unwrap_or(default)
    }

    /// The flag of an entry already taken; as text it is what a properties file has.
    pub(super) fn flag_of(&mut self, key: &str, entry: &Entry<'_>) -> Option<bool> {
        let value = entry.value.get_ref();
        let parsed = value.as_bool().or(match value.as_str() {
            Some("true") => Some(true),
            Some("false") => Some(false),
            _ => None,
        });
        if parsed.is_none() {
            self.wrong_type(key, entry, "true or false");
        }
        parsed
    }

    /// One word out of a few.
    pub(super) fn choice<T: Copy>(
        &mut self,
        key: &'static str,
        default: T,
        choices: &[(&str, T)],
    ) -> T {
        let Some(text) = self.text(key) else {
            return default;
        };
        self.choice_of(key, &text, choices).unwrap_or(default)
    }

    /// The choice that a string already taken stands for; Kafka's words are upper case in
    /// some clients and lower case in others, so case does not matter.
    pub(super) fn choice_of<T: Copy>(
        &mut self,
        key: &str,
        text: &Spanned<String>,
        choices: &[(&str, T)],
    ) -> Option<T> {
        let word = text.get_ref();
        let found = choices
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(word));
        if found.is_none() {
            let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
            let help = match nearest(word, names.iter().copied()) {
                Some(near) => format!("did you mean {near:?}?"),
                None => format!("use one of {}", names.join(", ")),
            };
            self.fault(
                key,
                text.span(),
                &format!("{word:?} is not a choice here"),
                Some(help),
            );
        }
        found.map(|(_, value)| *value)
    }
}

fn describe(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "a number",
        DeValue::Float(_) => "a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "an array",
        DeValue::Table(_) => "a table",
    }
}
