//! The table of keys against what the parser accepts and what the reference says.

use std::collections::BTreeSet;

use super::*;
use crate::config::{Context, from_text};

const DOCUMENTATION: &str = include_str!("../../../docs/configuration.md");

/// What stands before a key of a table.
fn head(table: &Table) -> String {
    let mut head = match (table.name, table.many) {
        ("", _) => String::new(),
        ("input.multiline", _) => "[[input]]\ntype = \"file\"\n[input.multiline]\n".to_owned(),
        (name, false) => format!("[{name}]\n"),
        (name, true) => format!("[[{name}]]\n"),
    };
    if let Some(variant) = table.variant {
        head += &format!("type = \"{variant}\"\n");
    }
    head
}

/// What is said of a key that is not known.
fn said_of(head: &str, key: &str) -> String {
    let text = format!("{head}{key:?} = 1\n");
    let report = from_text(&text, "f", &Context::default()).expect_err("an unknown key");
    let named = format!(" {key}: ");
    let line = report.lines().find(|line| line.contains(&named)).unwrap();
    line.to_owned()
}

/// What the parser says it knows in a table, by the help of an unknown key.
fn known_to_parser(table: &Table) -> Vec<String> {
    let line = said_of(&head(table), "qqqqqq");
    let (_, list) = line.split_once("known here: ").expect("a list of keys");
    list.split(", ").map(str::to_owned).collect()
}

/// What fingers, and habits from other programs, make of a name.
fn typos(name: &str) -> BTreeSet<String> {
    let letters: Vec<char> = name.chars().collect();
    let mut typos = BTreeSet::new();
    for at in 1..letters.len() {
        let mut one = letters.clone();
        one.swap(at - 1, at);
        typos.insert(one.iter().collect());
        one.swap(at - 1, at);
        one.insert(at, letters[at]);
        typos.insert(one.iter().collect::<String>());
        one.drain(at..at + 2);
        typos.insert(one.iter().collect());
    }
    typos.extend([
        name.to_uppercase(),
        name.replace('_', "-"),
        name.replace('.', "_"),
        name.replace(['_', '.'], ""),
        format!("{name}s"),
        format!("message_{name}"),
    ]);
    typos.remove(name);
    typos
}

#[test]
fn a_typo_in_any_key_of_any_table_is_answered_with_that_key() {
    let mut wrong = Vec::new();
    let mut asked = 0;
    for table in &TABLES {
        let head = head(table);
        let known = known_to_parser(table);
        for key in table.keys {
            let meant = [&[key.name], key.also].concat();
            for typo in typos(key.name).iter().filter(|typo| !known.contains(typo)) {
                let said = said_of(&head, typo);
                asked += 1;
                let is_meant = |name: &&str| said.contains(&format!("did you mean {name}?"));
                if !meant.iter().any(is_meant) {
                    wrong.push(said);
                }
            }
        }
    }
    assert!(asked > 1000, "only {asked}");
    assert!(
        wrong.is_empty(),
        "{} of {asked}:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

#[test]
fn a_typo_in_the_name_of_a_table_or_of_a_key_within_a_key_is_answered_as_well() {
    let route = "[[route]]\ntopic = \"t\"\n";
    for (text, near) in [
        ("[spol]\n".to_owned(), "spool"),
        ("[[inputs]]\n".to_owned(), "input"),
        ("[[rout]]\n".to_owned(), "route"),
        ("[kafak]\n".to_owned(), "kafka"),
        ("[logs]\n".to_owned(), "log"),
        (format!("{route}[[route.test]]\nevnt = 1\n"), "event"),
        (format!("{route}[[route.tests]]\n"), "test"),
        (
            "[kafka]\nsasl.password = { fle = \"/p\" }\n".to_owned(),
            "file",
        ),
        ("[[input]]\ntpye = \"file\"\n".to_owned(), "type"),
    ] {
        let report = from_text(&text, "f", &Context::default()).expect_err("a typo");
        let help = format!("is not a known key; did you mean {near}?");
        assert!(report.to_string().contains(&help), "{text}: {report}");
    }
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
