//! The pages for the four products: every row names a test, and the test exists. Their
//! configurations, and those of the page about logins, pass `spoolway check`.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

pub(crate) const PAGES: [&str; 4] = ["segment", "rudderstack", "signalsmith", "airbyte"];

/// What a product's page begins with: a configuration, an event, and what becomes of it.
pub(crate) struct Example<'p> {
    pub(crate) config: &'p str,
    pub(crate) event: &'p str,
    /// The output of `route test`.
    pub(crate) shown: &'p str,
}

impl<'p> Example<'p> {
    pub(crate) fn of(page: &'p str) -> Self {
        let block = |language: &str| {
            let (_, rest) = page
                .split_once(&format!("```{language}\n"))
                .expect(language);
            rest.split("```").next().expect("an end")
        };
        let command = block("sh");
        Self {
            config: block("toml"),
            event: command.split('\'').nth(1).expect("an event in quotes"),
            shown: block("text"),
        }
    }
}

/// Rows that say themselves that nothing is there to test.
const NOT_DONE: &str = "not done";

fn sources(folder: &Path, found: &mut String) {
    let mut entries: Vec<PathBuf> = fs::read_dir(folder)
        .expect("tests run in the package's root")
        .map(|entry| entry.expect("a folder can be read").path())
        .collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            *found += &fs::read_to_string(&path).expect("sources are UTF-8");
        }
    }
}

#[test]
fn every_row_of_a_products_page_names_a_test_that_exists() {
    let mut code = String::new();
    sources(Path::new("tests/it"), &mut code);
    sources(Path::new("src"), &mut code);
    for page in PAGES {
        let text = fs::read_to_string(format!("docs/{page}.md")).expect("the page");
        let rows: Vec<&str> = text
            .lines()
            .filter(|line| line.starts_with("| ") && !line.ends_with("| test |"))
            .collect();
        assert!(rows.len() > 8, "{page} has its table");
        for row in rows {
            if row.contains(NOT_DONE) {
                continue;
            }
            let cells: Vec<&str> = row.trim_matches('|').split(" | ").collect();
            let tests = cells.last().expect("a row has cells");
            let names: Vec<&str> = tests.split('`').skip(1).step_by(2).collect();
            assert!(!names.is_empty(), "{page} names no test: {row}");
            for name in names {
                assert!(
                    code.contains(&format!("fn {name}(")),
                    "{page}: no test {name}"
                );
            }
        }
    }
}

#[test]
fn every_configuration_of_the_page_about_logins_passes_check() {
    let page = fs::read_to_string("docs/logins.md").expect("the page");
    let blocks: Vec<&str> = page
        .split("```toml\n")
        .skip(1)
        .filter_map(|rest| rest.split("```").next())
        .collect();
    assert!(blocks.len() > 8, "the page has its configurations");
    for block in blocks {
        let text = format!(
            "[spool]\ndir = \"/s\"\n[[input]]\nname = \"app\"\ntype = \"unix\"\n\
             path = \"/r/s\"\n[[route]]\ntopic = \"t\"\n[kafka]\n{block}"
        );
        let context = spoolway::config::Context::default();
        let loaded = spoolway::config::from_text(&text, "logins.md", &context);
        let loaded = loaded.unwrap_or_else(|report| panic!("{block}\n{report}"));
        assert_eq!(loaded.warnings.to_string(), "", "{block}");
    }
}

#[test]
fn the_configuration_that_begins_a_products_page_passes_check_and_does_what_the_page_shows() {
    for page in PAGES {
        let text = fs::read_to_string(format!("docs/{page}.md")).expect("the page");
        let example = Example::of(&text);
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("page.toml");
        fs::write(&file, example.config).expect("a file");
        let run = |args: &[&str]| {
            let mut command = Command::new(env!("CARGO_BIN_EXE_spoolway"));
            let mut child = command
                .args(args)
                .arg("--config")
                .arg(&file)
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .expect("the binary");
            let mut stdin = child.stdin.take().expect("a pipe");
            // `check` does not read it and may be gone already.
            let _ = writeln!(stdin, "{}", example.event);
            drop(stdin);
            let output = child.wait_with_output().expect("its end");
            assert!(output.status.success(), "{page}: {args:?}");
            String::from_utf8(output.stdout).expect("text")
        };
        run(&["check", "--without-files"]);
        let shown = run(&["route", "test", "--partitions", "6", "-"]);
        assert_eq!(shown, example.shown, "{page}");
    }
}
