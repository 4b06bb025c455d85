//! Every key of the configuration: name, type, default, range and effect, in words.
//!
//! The tables of docs/configuration.md and the JSON schema are made from this one; tests
//! compare it with the keys that the parser knows. Parses and checks nothing itself.

mod input;
mod kafka;
mod route;
mod tables;

/// What may be written as the value of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Something with a form of its own, in words.
    Any,
    /// One word out of these.
    Choice(&'static [&'static str]),
    /// A string with a unit of time.
    Duration,
    /// `true` or `false`.
    Flag,
    /// A string, or an array of strings.
    List,
    /// A whole number.
    Number,
    /// Kafka's bare number of milliseconds or bytes, or a string with a unit.
    Quantity,
    /// A string, or a table that names where the secret is.
    Secret,
    /// A string with a unit of size.
    Size,
    /// A table within the table, by its name in [`TABLES`].
    Table(&'static str),
    /// Any string.
    Text,
}

/// One key.
#[derive(Debug, Clone, Copy)]
pub(super) struct Key {
    /// As the file has it, dotted where Kafka does.
    pub(super) name: &'static str,
    /// What may be written.
    pub(super) kind: Kind,
    /// Other accepted spellings.
    pub(super) also: &'static [&'static str],
    /// The default, or `required`, in Markdown.
    pub(super) default: &'static str,
    /// What is accepted, in Markdown.
    pub(super) range: &'static str,
    /// What it does, in Markdown.
    pub(super) effect: &'static str,
}

impl Key {
    /// The default without the marks of Markdown; a text is still in its quotes.
    pub(super) fn plain_default(&self) -> &'static str {
        self.default.trim_matches('`')
    }

    /// The default without any mark of Markdown, also where it is words; a text is still in
    /// its quotes. None where there is none, or where the words say what has to be set.
    pub(super) fn default_in_words(&self) -> Option<String> {
        let words = self.default.replace('`', "");
        let unset = ["none", "required", "see "];
        let is_value = !words.is_empty() && !unset.iter().any(|start| words.starts_with(start));
        is_value.then_some(words)
    }
}

/// One table of the file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Table {
    /// Its name; empty for the top level, dotted for a table within another.
    pub(super) name: &'static str,
    /// The `type` that a table of the list has, when they differ.
    pub(super) variant: Option<&'static str>,
    /// Whether it may be given several times.
    pub(super) many: bool,
    /// Its keys.
    pub(super) keys: &'static [Key],
}

const fn table(name: &'static str, keys: &'static [Key]) -> Table {
    Table {
        name,
        variant: None,
        many: false,
        keys,
    }
}

const fn many(name: &'static str, keys: &'static [Key]) -> Table {
    Table {
        name,
        variant: None,
        many: true,
        keys,
    }
}

const fn of_type(name: &'static str, variant: &'static str, keys: &'static [Key]) -> Table {
    Table {
        name,
        variant: Some(variant),
        many: true,
        keys,
    }
}

/// All tables, in the order of the reference.
pub(super) const TABLES: [Table; 10] = [
    table("", &tables::TOP),
    table("spool", &tables::SPOOL),
    of_type("input", "unix", &input::UNIX),
    of_type("input", "file", &input::FILE),
    table("input.multiline", &input::MULTILINE),
    table("kafka", kafka::KAFKA),
    many("route", &route::ROUTE),
    table("routing", &route::ROUTING),
    table("control", &tables::CONTROL),
    table("log", &tables::LOG),
];

/// The keys of `[kafka]`.
pub(super) fn kafka_keys() -> impl Iterator<Item = &'static Key> {
    kafka::KAFKA.iter()
}

/// Whether a key of `[kafka]`, by its own name or another spelling, holds a secret.
pub(super) fn is_secret(name: &str) -> bool {
    let mut keys = kafka::KAFKA.iter().filter(|key| key.kind == Kind::Secret);
    keys.any(|key| key.name == name || key.also.contains(&name))
}

impl Table {
    /// Whether it is a table within another.
    pub(super) fn is_inner(&self) -> bool {
        self.name.contains('.')
    }

    /// The rows of this table in docs/configuration.md, with their head.
    fn reference(&self) -> String {
        let aliases = self.keys.iter().any(|key| !key.also.is_empty());
        let (also, line) = if aliases {
            (" also |", "---|")
        } else {
            ("", "")
        };
        let mut text =
            format!("| key |{also} default | range | effect |\n|---|{line}---|---|---|\n");
        for key in self.keys {
            let spelled: Vec<String> = key.also.iter().map(|name| format!("`{name}`")).collect();
            let cells = [key.default, key.range, key.effect];
            let mut row = format!("| `{}` |", key.name);
            if aliases {
                row += &cell(&spelled.join(", "));
            }
            row.extend(cells.into_iter().map(cell));
            text += &format!("{row}\n");
        }
        text
    }
}

fn cell(words: &str) -> String {
    if words.is_empty() {
        " |".to_owned()
    } else {
        format!(" {words} |")
    }
}

/// `document` with each table of keys written anew: what follows a heading that names a
/// table, up to the end of the first Markdown table.
pub fn refresh_reference(document: &str) -> String {
    let mut pending: Option<&Table> = None;
    let mut skipping = false;
    let mut text = String::new();
    for line in document.lines() {
        if let Some(heading) = line.strip_prefix("## ") {
            pending = TABLES
                .iter()
                .find(|table| heading.starts_with(&table.heading()));
        }
        if line.starts_with("| key |")
            && let Some(table) = pending.take()
        {
            text += &table.reference();
            skipping = true;
        }
        skipping &= line.starts_with('|');
        if !skipping {
            text += line;
            text.push('\n');
        }
    }
    text
}

impl Table {
    /// How the reference's heading for it begins.
    fn heading(&self) -> String {
        match (self.name, self.many) {
            ("", _) => "Top level".to_owned(),
            (name, false) => format!("`[{name}]`"),
            (name, true) => match self.variant {
                Some(variant) => format!("`[[{name}]]` of type `{variant}`"),
                None => format!("`[[{name}]]`"),
            },
        }
    }
}

#[cfg(test)]
mod tests;
