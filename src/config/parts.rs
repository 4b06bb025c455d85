//! The texts that make up one configuration: the file and its drop-ins, in order.
//!
//! They are laid end to end, so that one offset names both file and place, and their tables
//! are merged before anything is checked. Reads no files and knows no keys.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::report::Sink;

/// Deepest nesting of tables that is merged, as deep as dotted keys are flattened.
const DEPTH_MAX: usize = 16;

/// The texts.
#[derive(Debug, Clone, Default)]
pub(super) struct Parts {
    /// All texts, each ended by a newline.
    pub(super) text: String,
    /// Names with the offset at which each text begins. None: the text is made from flags,
    /// so that its lines mean nothing to the user.
    pub(super) files: Vec<(usize, String)>,
}

impl Parts {
    /// One text under the name of its file.
    pub(super) fn file(name: &str, text: &str) -> Self {
        let mut parts = Self::default();
        parts.add(name, text);
        parts
    }

    /// The text that flags stand for.
    pub(super) fn command_line(text: &str) -> Self {
        Self {
            text: text.to_owned(),
            files: Vec::new(),
        }
    }

    /// One more text, whose tables are added to those before.
    pub(super) fn add(&mut self, name: &str, text: &str) {
        self.files.push((self.text.len(), name.to_owned()));
        self.text += text;
        self.text.push('\n');
    }

    /// The name of the file that an offset lies in.
    pub(super) fn name_at(&self, offset: usize) -> Option<&str> {
        self.at(offset).map(|(_, name)| name.as_str())
    }

    fn at(&self, offset: usize) -> Option<&(usize, String)> {
        self.files.iter().rev().find(|(start, _)| *start <= offset)
    }

    /// Line and column of an offset within its file, from 1, the column in characters.
    pub(super) fn position(&self, offset: usize) -> (usize, usize) {
        let start = self.at(offset).map_or(0, |(start, _)| *start);
        let before = self.text.get(start..offset).unwrap_or(&self.text);
        let line = before.matches('\n').count() + 1;
        let tail = before.rsplit('\n').next();
        (line, tail.map_or(0, |rest| rest.chars().count()) + 1)
    }

    /// File and line of an offset, as `name:line`.
    pub(super) fn line_at(&self, offset: usize) -> String {
        let (line, _) = self.position(offset);
        format!("{}:{line}", self.name_at(offset).unwrap_or_default())
    }

    /// Each text after as many spaces as there are bytes before it: the parser then counts
    /// offsets from the beginning of the first.
    pub(super) fn padded(&self) -> Vec<String> {
        let starts: Vec<usize> = self.files.iter().map(|(start, _)| *start).collect();
        if starts.len() <= 1 {
            return vec![self.text.clone()];
        }
        let ends = starts.iter().skip(1).copied().chain([self.text.len()]);
        starts
            .iter()
            .zip(ends)
            .map(|(&start, end)| {
                let text = self.text.get(start..end).unwrap_or_default();
                format!("{:start$}{text}", "")
            })
            .collect()
    }
}

/// Parses what [`Parts::padded`] gave into one document, syntax errors noted in `sink`.
pub(super) fn read<'a>(padded: &'a [String], sink: &mut Sink) -> Spanned<DeTable<'a>> {
    let mut whole = Spanned::new(0..0, DeTable::new());
    for (index, text) in padded.iter().enumerate() {
        let (document, errors) = DeTable::parse_recoverable(text);
        for error in errors {
            sink.syntax(error.span(), error.message());
        }
        if index == 0 {
            whole = document;
        } else {
            merge(whole.get_mut(), document.into_inner(), "", 0, sink);
        }
    }
    whole
}

/// Tables are merged, lists of tables are continued, and a key that is set twice is an
/// error: which of two values is meant, only a person knows.
fn merge<'a>(
    into: &mut DeTable<'a>,
    from: DeTable<'a>,
    prefix: &str,
    depth: usize,
    sink: &mut Sink,
) {
    for (key, value) in from {
        let name = key.get_ref().as_ref();
        let Some(present) = into.get_mut(name) else {
            into.insert(key, value);
            continue;
        };
        let earlier = present.span();
        let path = match prefix {
            "" => name.to_owned(),
            prefix => format!("{prefix}.{name}"),
        };
        match (present.get_mut(), value.into_inner()) {
            (DeValue::Table(into), DeValue::Table(from)) if depth < DEPTH_MAX => {
                merge(into, from, &path, depth + 1, sink);
            }
            (DeValue::Array(into), DeValue::Array(from)) if prefix.is_empty() => {
                from.into_iter().for_each(|item| into.push(item));
            }
            _ => sink.set_twice(&path.escape_debug().to_string(), key.span(), earlier.start),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::config::{Context, from_texts};

    const MAIN: &str = "[spool]\ndir = \"/s\"\n[[input]]\nname = \"a\"\ntype = \"unix\"\n\
        path = \"/a\"\n[kafka]\nbootstrap.servers = \"k:1\"\n[[route]]\ntopic = \"t\"\n";

    #[test]
    fn drop_ins_add_keys_and_continue_lists_in_order() {
        let input = "[[input]]\nname = \"b\"\ntype = \"unix\"\npath = \"/b\"\n";
        let more = "[spool]\nmax_bytes = \"1GiB\"\n[kafka]\nlinger.ms = 7\nbatch.events = 9\n";
        let texts = [
            ("main.toml", MAIN),
            ("conf.d/10.toml", input),
            ("conf.d/20.toml", more),
        ];
        let config = from_texts(&texts, &Context::default()).unwrap().config;
        let names: Vec<&str> = config.inputs.iter().map(|input| &*input.name).collect();
        assert_eq!(names, ["a", "b"]);
        assert_eq!(config.spool.max_bytes, 1 << 30);
        assert_eq!(config.kafka.batch_events, 9);
    }

    #[test]
    fn a_key_set_twice_is_refused_with_both_places() {
        let again = "\n[kafka]\nbootstrap.servers = \"other:1\"\n";
        let texts = [("main.toml", MAIN), ("conf.d/10.toml", again)];
        let report = from_texts(&texts, &Context::default()).unwrap_err();
        assert_eq!(
            report.to_string(),
            "conf.d/10.toml:3:11: error: kafka.bootstrap.servers: is set in main.toml:8 already; \
             keep one of them"
        );
    }

    #[test]
    fn a_mistake_in_a_drop_in_is_reported_with_its_file_and_line() {
        let wrong = "# comment\n[spool]\nmin_fre = \"1GiB\"\n";
        let texts = [("main.toml", MAIN), ("d.toml", wrong), ("e.toml", "[log\n")];
        let report = from_texts(&texts, &Context::default())
            .unwrap_err()
            .to_string();
        assert!(
            report.contains("d.toml:3:1: error: [spool] min_fre"),
            "{report}"
        );
        assert!(report.contains("e.toml:1:"), "{report}");
    }

    #[test]
    fn a_drop_in_is_checked_alone_without_asking_for_the_rest() {
        let context = Context {
            drop_in: true,
            ..Context::default()
        };
        let loose = |text: &str| from_texts(&[("d.toml", text)], &context).unwrap_err();
        assert!(!loose("[spool]\nmax_bytes = \"1GiB\"\n").has_errors());
        assert!(!loose("[kafka]\nlinger.ms = 3\n").has_errors());
        assert!(loose("[kafka]\nlinger.mss = 3\n").has_errors());
        assert!(loose("[[input]]\nname = \"b\"\ntype = \"unix\"\n").has_errors());
    }
}
