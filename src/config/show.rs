//! The merged configuration as one text: every key in force, with the place it comes from,
//! and no secret.
//!
//! Shows only what the parser accepts, so that a password under a mistyped key stays unseen.

use std::ops::Range;
use std::path::Path;

use toml::de::{DeTable, DeValue};

use super::keys::{Key, Kind, TABLES, Table};
use super::load::read_parts;
use super::overlay;
use super::parse::{Context, parse};
use super::parts::Parts;
use super::report::{Report, Sink};
use super::section::{Entry, Section};

/// What is printed instead of a secret.
const MASK: &str = "\"***\"";

/// The configuration at `path` with its drop-ins, as TOML. With `origin` each key says from
/// which line of which file it comes, and those that are not set show their default.
///
/// # Errors
/// The report of every mistake; then nothing is shown.
pub fn show(path: &Path, mut context: Context, origin: bool) -> Result<String, Report> {
    let parts = read_parts(path, &mut context)?;
    parse(parts.clone(), &context)?;
    Ok(render(parts, origin))
}

fn render(parts: Parts, origin: bool) -> String {
    let padded = parts.padded();
    let mut sink = Sink::new(parts, false);
    let document = overlay::read(&padded, &mut sink);
    let mut page = Page {
        text: String::new(),
        origin,
    };
    for table in TABLES.iter().filter(|table| !table.is_inner()) {
        page.table(table, document.get_ref(), &mut sink);
    }
    page.text
}

struct Page {
    text: String,
    origin: bool,
}

impl Page {
    fn table(&mut self, table: &Table, root: &DeTable<'_>, sink: &mut Sink) {
        if table.name.is_empty() {
            return self.keys(table, root, sink);
        }
        match root.get(table.name).map(|value| value.get_ref()) {
            Some(DeValue::Table(inner)) => {
                self.head(&format!("[{}]", table.name));
                self.keys(table, inner, sink);
            }
            Some(DeValue::Array(items)) => {
                let tables = items.iter().filter_map(|item| item.get_ref().as_table());
                for inner in tables.filter(|inner| is_of(table, inner)) {
                    self.head(&format!("[[{}]]", table.name));
                    self.keys(table, inner, sink);
                }
            }
            _ if self.origin && !table.many => {
                self.head(&format!("[{}]", table.name));
                self.keys(table, &DeTable::new(), sink);
            }
            _ => {}
        }
    }

    fn head(&mut self, title: &str) {
        if !self.text.is_empty() {
            self.text.push('\n');
        }
        self.text += &format!("{title}\n");
    }

    /// The keys in the order of the reference.
    fn keys(&mut self, table: &Table, inner: &DeTable<'_>, sink: &mut Sink) {
        let dotted = table.name == "kafka";
        let mut set = if dotted {
            Section::flattened("", 0..0, inner, sink).rest()
        } else {
            Section::of("", 0..0, inner, sink).rest()
        };
        let mut within = Vec::new();
        for key in table.keys {
            let names = [&[key.name], key.also].concat();
            let found = names
                .iter()
                .find_map(|name| Some((*name, set.remove(*name)?)));
            match (found, key.kind) {
                (Some((_, entry)), Kind::Table(name)) => within.push((name, entry)),
                (Some((name, entry)), _) => {
                    self.line(name, &value(key.kind, &entry, sink), &entry, sink)
                }
                (None, _) => self.default(key),
            }
        }
        if table.name.is_empty() {
            return;
        }
        for (name, entry) in within {
            let table = TABLES.iter().find(|table| table.name == name);
            if let (Some(table), Some(inner)) = (table, entry.value.get_ref().as_table()) {
                self.head(&format!("[{name}]"));
                self.keys(table, inner, sink);
            }
        }
        // Accepted because they ask for what happens anyway.
        for (name, entry) in set {
            self.line(&name, &value(Kind::Text, &entry, sink), &entry, sink);
        }
    }

    fn line(&mut self, name: &str, value: &str, entry: &Entry<'_>, sink: &Sink) {
        self.text += &format!("{name} = {value}");
        if self.origin {
            self.text += &format!("  # {}", sink.parts().line_at(entry.key.start));
        }
        self.text.push('\n');
    }

    fn default(&mut self, key: &Key) {
        if self.origin && key.default != "required" {
            let default = key.default_in_words().unwrap_or_else(|| "none".to_owned());
            self.text += &format!("# {} = {default}  # default\n", key.name);
        }
    }
}

/// Whether a table of a list is of the type that `table` describes.
fn is_of(table: &Table, inner: &DeTable<'_>) -> bool {
    let kind = inner.get("type").and_then(|kind| kind.get_ref().as_str());
    let same = |wanted: &str| kind.is_some_and(|kind| kind.eq_ignore_ascii_case(wanted));
    table.variant.is_none_or(same)
}

/// A value as it was written, an array on one line.
fn value(kind: Kind, entry: &Entry<'_>, sink: &Sink) -> String {
    let written = |span: Range<usize>| sink.parts().text.get(span).unwrap_or_default();
    match entry.value.get_ref() {
        DeValue::String(_) if kind == Kind::Secret => MASK.to_owned(),
        // Not from TOML, so that it has no text there.
        DeValue::String(text) if entry.value.span().is_empty() => {
            toml::Value::from(text.as_ref()).to_string()
        }
        DeValue::Array(items) => {
            let items: Vec<&str> = items.iter().map(|item| written(item.span())).collect();
            format!("[{}]", items.join(", "))
        }
        _ => written(entry.value.span()).to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts() -> Parts {
        let mut parts = Parts::file(
            "main.toml",
            "stop_timeout = \"9s\"\n[spool]\ndir = \"/s\"\n[[input]]\nname = \"a\"\n\
             type = \"unix\"\npath = \"/a\"\n[kafka]\nbootstrap.servers = [\n\"k:1\"\n]\n\
             sasl.password = \"canary-horse\"\nacks = \"all\"\n[[route]]\ntopic = \"t\"\n",
        );
        parts.add("conf.d/1.toml", "\n[kafka]\n\"linger.ms\" = 7\n");
        parts
    }

    #[test]
    fn the_merged_file_is_shown_in_the_order_of_the_reference_without_the_secret() {
        assert_eq!(
            render(parts(), false),
            "stop_timeout = \"9s\"\n\n[spool]\ndir = \"/s\"\n\n[[input]]\nname = \"a\"\n\
             type = \"unix\"\npath = \"/a\"\n\n[kafka]\nbootstrap.servers = [\"k:1\"]\n\
             sasl.password = \"***\"\nacks = \"all\"\nlinger.ms = 7\n\n[[route]]\ntopic = \"t\"\n"
        );
    }

    #[test]
    fn with_its_origin_each_key_names_file_and_line_or_is_a_default() {
        let text = render(parts(), true);
        for line in [
            "dir = \"/s\"  # main.toml:3",
            "linger.ms = 7  # conf.d/1.toml:3",
            "# max_bytes = \"10GiB\"  # default",
            "# filter = \"info\"  # default",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
        assert!(!text.contains("canary"));
        text.parse::<toml::Table>().unwrap();
    }

    #[test]
    fn a_default_is_shown_in_words_without_a_mark_of_the_reference() {
        let text = render(parts(), true);
        for line in [
            "# security.protocol = SSL, or SASL_SSL with a sasl. key  # default",
            "# sasl.aws.access.key.id = none  # default",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
        for line in text.lines().filter(|line| line.ends_with("# default")) {
            assert!(!line.contains('`') && !line.contains("]("), "{line}");
        }
    }
}
