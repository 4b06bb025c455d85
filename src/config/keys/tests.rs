//! The table of keys against what the parser accepts and what the reference says.

use super::*;
use crate::config::{Context, from_text};

const DOCUMENTATION: &str = include_str!("../../../docs/configuration.md");

/// What the parser says it knows in a table, by the help of an unknown key.
fn known_to_parser(table: &Table) -> Vec<String> {
    let mut head = match (table.name, table.many) {
        ("", _) => String::new(),
        ("input.multiline", _) => "[[input]]\ntype = \"file\"\n[input.multiline]\n".to_owned(),
        (name, false) => format!("[{name}]\n"),
        (name, true) => format!("[[{name}]]\n"),
    };
    if let Some(variant) = table.variant {
        head += &format!("type = \"{variant}\"\n");
    }
    let text = format!("{head}qqqqqq = 1\n");
    let report = from_text(&text, "f", &Context::default()).expect_err("an unknown key");
    let line = report.lines().find(|line| line.contains("qqqqqq")).unwrap();
    let (_, list) = line.split_once("known here: ").expect("a list of keys");
    list.split(", ").map(str::to_owned).collect()
}

/// Accepted because they ask for what happens anyway, or another spelling with a form of
/// its own; the reference names them below the table.
const BESIDES: &[&str] = &[
    "allow.auto.create.topics",
    "sasl.client.callback.handler.class",
    "sasl.login.callback.handler.class",
    "ssl.truststore.type",
    "ssl.keystore.type",
    "enable.metrics.push",
    "key.serializer",
    "value.serializer",
    "",
];

#[test]
fn the_table_holds_exactly_the_keys_that_the_parser_knows() {
    for table in &TABLES {
        let mut parsed = known_to_parser(table);
        if table.name.is_empty() {
            parsed.retain(|key| !TABLES.iter().any(|table| table.name == key));
        }
        parsed.retain(|key| !BESIDES.contains(&key.as_str()));
        parsed.sort();
        let names = table
            .keys
            .iter()
            .flat_map(|key| [&[key.name], key.also].concat());
        let mut named: Vec<&str> = names.collect();
        named.sort_unstable();
        assert_eq!(parsed, named, "{}", table.heading());
    }
}

#[test]
fn the_reference_is_made_from_the_table() {
    assert!(
        refresh_reference(DOCUMENTATION) == DOCUMENTATION,
        "run `make reference` and look at what it changed in docs/configuration.md"
    );
}

#[test]
fn a_choice_that_is_documented_is_accepted() {
    for table in &TABLES {
        for key in table.keys {
            if let Kind::Choice(words) = key.kind {
                for word in words.iter().filter(|word| !word.is_empty()) {
                    assert!(
                        key.range.contains(&format!("`{word}`")),
                        "{} {word}",
                        key.name
                    );
                }
            }
        }
    }
}
