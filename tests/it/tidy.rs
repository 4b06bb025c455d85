//! The tree is the architecture: this reads it and fails when an arrow points back.

use std::fs;
use std::path::{Path, PathBuf};

/// Which modules of the crate each may import. Data flows input → spool → drain → kafka;
/// the drain stands between and knows both neighbours.
const MAY_IMPORT: [(&str, &[&str]); 14] = [
    ("clock", &[]),
    ("event", &["clock"]),
    ("proof", &[]),
    ("room", &[]),
    ("route", &["event", "proof"]),
    ("config", &["route"]),
    ("spool", &["config", "event", "proof", "room"]),
    ("kafka", &["clock", "config", "proof", "room"]),
    ("input", &["clock", "config", "event", "spool"]),
    (
        "drain",
        &["clock", "config", "kafka", "proof", "route", "spool"],
    ),
    ("logging", &["config"]),
    ("memory", &[]),
    (
        "daemon",
        &[
            "clock", "config", "drain", "event", "input", "kafka", "proof", "route", "spool",
        ],
    ),
    (
        "cli",
        &["config", "daemon", "event", "kafka", "logging", "route"],
    ),
];

/// Longest source file; beyond, a room is crowded.
const FILE_LINES_MAX: usize = 600;

const LINE_CHARS_MAX: usize = 100;

struct Source {
    path: PathBuf,
    text: String,
}

impl Source {
    /// Top-level module that the file belongs to.
    fn module(&self) -> String {
        let inside = self
            .path
            .strip_prefix("src")
            .expect("sources are below src");
        let first = inside.components().next().expect("a path has a component");
        let name = Path::new(first.as_os_str())
            .file_stem()
            .expect("a file has a name");
        name.to_string_lossy().into_owned()
    }

    /// Code without comments and without the file's own tests.
    fn code(&self) -> String {
        let code = self
            .text
            .split("#[cfg(test)]\nmod tests")
            .next()
            .unwrap_or_default();
        let lines = code
            .lines()
            .map(|line| line.split("//").next().unwrap_or_default());
        lines.collect::<Vec<_>>().join("\n")
    }
}

fn sources() -> Vec<Source> {
    let mut found = Vec::new();
    let mut folders = vec![PathBuf::from("src")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("tests run in the package's root") {
            let path = entry.expect("a folder can be read").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).expect("sources are UTF-8");
                found.push(Source { path, text });
            }
        }
    }
    assert!(found.len() > 30, "the sources were found");
    found
}

/// Names after `crate::` in the code, `use crate::{a, b}` included.
fn imports(code: &str) -> Vec<String> {
    let mut names = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        let rest = &code[at + "crate::".len()..];
        if let Some(list) = rest.strip_prefix('{') {
            let list = list.split('}').next().unwrap_or_default();
            names.extend(list.split(',').map(|item| first_name(item.trim())));
        } else {
            names.push(first_name(rest));
        }
    }
    names.retain(|name| !name.is_empty());
    names
}

fn first_name(path: &str) -> String {
    path.chars()
        .take_while(|c| c.is_alphanumeric() || *c == '_')
        .collect()
}

#[test]
fn imports_follow_the_data() {
    let mut wrong = Vec::new();
    for source in sources() {
        let module = source.module();
        // Tests may stand on anything.
        if module == "main" || module == "lib" || source.path.ends_with("tests.rs") {
            continue;
        }
        let rule = MAY_IMPORT.iter().find(|(name, _)| *name == module);
        let Some((_, allowed)) = rule else {
            wrong.push(format!(
                "{}: module {module} has no rule",
                source.path.display()
            ));
            continue;
        };
        for import in imports(&source.code()) {
            if import != module && !allowed.contains(&import.as_str()) {
                wrong.push(format!("{} imports {import}", source.path.display()));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "arrows that point back:\n{}",
        wrong.join("\n")
    );
}

#[test]
fn the_rule_sees_every_form_of_import() {
    let code = "use crate::spool::Appender;\nuse crate::{config, drain::Drain};\ncrate::kafka::x()";
    assert_eq!(imports(code), ["spool", "config", "drain", "kafka"]);
}

#[test]
fn one_file_knows_sled_and_one_folder_knows_rskafka() {
    for source in sources() {
        let path = source.path.to_string_lossy().into_owned();
        let code = source.code();
        if code.contains("sled::") {
            assert_eq!(path, "src/spool/store.rs", "{path} names sled");
        }
        if code.contains("rskafka::") {
            assert!(path.starts_with("src/kafka/"), "{path} names rskafka");
        }
    }
}

#[test]
fn authorities_are_handed_out_in_one_place() {
    for source in sources() {
        let path = source.path.to_string_lossy().into_owned();
        let tests = path.ends_with("/tests.rs");
        if source.code().contains("proof::issue") && !tests {
            assert_eq!(path, "src/daemon/mod.rs", "{path} makes its own proofs");
        }
    }
}

#[test]
fn unsafe_code_stays_in_two_files() {
    const UNSAFE: [&str; 2] = ["src/memory.rs", "src/spool/barrier.rs"];
    for source in sources() {
        let path = source.path.to_string_lossy().into_owned();
        if source.code().contains("unsafe {") || source.code().contains("unsafe(") {
            assert!(UNSAFE.contains(&&*path), "{path} has unsafe code");
        }
    }
}

#[test]
fn every_file_says_what_it_owns_and_stays_readable() {
    for source in sources() {
        let path = source.path.display();
        assert!(
            source.text.starts_with("//! "),
            "{path} does not say what it owns"
        );
        let lines = source.text.lines().count();
        assert!(lines <= FILE_LINES_MAX, "{path} has {lines} lines");
        for (number, line) in source.text.lines().enumerate() {
            let chars = line.chars().count();
            assert!(
                chars <= LINE_CHARS_MAX,
                "{path}:{} has {chars} characters",
                number + 1
            );
        }
    }
}
