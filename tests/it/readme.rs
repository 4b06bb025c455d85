//! What README.md and the documents tell the reader to type: it is run, or at least
//! known to the command line. The package's commands are run by tests/package.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use spoolway::cli::exit;
use spoolway::input::framing::Refusal;
use spoolway_test_support::kafka::wait::wait_for;

use crate::cli::assert_exit;
use crate::route_rig::{WITHIN, daemon, write};

const CONFIGURATION: &str = include_str!("../../docs/configuration.md");
const README: &str = include_str!("../../README.md");
const OPERATIONS: &str = include_str!("../../docs/operations.md");
const TAILING: &str = include_str!("../../docs/tailing.md");
const TROUBLESHOOTING: &str = include_str!("../../docs/troubleshooting.md");

/// The fenced blocks of a language.
fn blocks<'t>(text: &'t str, language: &str) -> Vec<&'t str> {
    let fence = format!("```{language}\n");
    let after = text.split(fence.as_str()).skip(1);
    after.filter_map(|rest| rest.split("```").next()).collect()
}

#[test]
fn the_first_look_of_the_readme_makes_an_event_durable() {
    let look = blocks(README, "sh")
        .into_iter()
        .find(|block| block.contains("--socket ./app.sock"));
    let binary = env!("CARGO_BIN_EXE_spoolway");
    let script = look
        .expect("a first look in the README")
        .replace("cargo build --release\n", "")
        .replace("target/release/spoolway", binary)
        // A person is slower than a start.
        .replace(
            "echo ",
            "while ! [ -S app.sock ]; do sleep 0.05; done; echo ",
        );
    assert!(script.matches(binary).count() == 2, "{script}");
    let dir = tempfile::tempdir().unwrap();
    let script = format!("{script}result=$?; kill $!; wait; exit $result");
    let output = Command::new("timeout")
        .args(["60", "sh", "-c", &script])
        .current_dir(dir.path())
        .output()
        .unwrap();
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{script}\n{err}");
}

#[test]
fn the_configuration_of_the_readme_is_accepted() {
    let text = blocks(README, "toml")
        .into_iter()
        .find(|block| block.contains("[spool]"));
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("readme.toml");
    fs::write(&file, text.expect("a configuration in the README")).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_spoolway"))
        .args(["check", "--without-files"])
        .arg(&file)
        .output()
        .unwrap();
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{err}");
}

/// The commands of "See what it does", and what only the answer of each holds here.
const ANSWERS: [(&str, &str); 7] = [
    (
        "status",
        "3 accepted, 3 durable, 2 delivered, 1 dead-lettered",
    ),
    ("kafka test", "readme-answers"),
    ("topics", "readme-answers"),
    ("dead-letter list", "no route takes it"),
    ("tail status", "followed.log"),
    ("route test FILE", "key: seven"),
    ("config show --origin", "topic = \"readme-answers\"  # "),
];

#[test]
fn the_commands_of_the_readme_tell_what_a_running_daemon_does() {
    let (_, section) = README.split_once("\n## See what it does\n").unwrap();
    let lines = blocks(section, "sh")[0].lines();
    let shown = lines.map(|line| line.split('#').next().unwrap_or_default().trim());
    let known = ANSWERS.map(|(command, _)| format!("spoolway {command}"));
    assert_eq!(shown.collect::<Vec<_>>(), known);

    let dir = tempfile::tempdir().unwrap();
    let (sample, log) = (dir.path().join("sample"), dir.path().join("followed.log"));
    fs::write(&sample, "{\"id\":\"seven\"}\n").unwrap();
    fs::write(&log, "{\"id\":2}\n").unwrap();
    let lines = format!(
        "key = [\"id\"]\ntrigger = \"id != null\"\n\
         [[input]]\nname = \"logs\"\ntype = \"file\"\ninclude = [{log:?}]\nstart = \"beginning\""
    );
    let daemon = daemon("readme-answers", &lines);
    let _writer = write(&daemon, &["{\"id\":1}", "{\"no\":1}"]);
    wait_for(WITHIN, "the events and the line to be resolved", || {
        let ledger = &daemon.status_json()?["ledger"];
        Ok(ledger["accepted"] == 3 && ledger["in_spool"] == 0)
    })
    .unwrap();
    for (command, told) in ANSWERS {
        let words = command.replace("FILE", sample.to_str().unwrap());
        let mut run = Command::new(env!("CARGO_BIN_EXE_spoolway"));
        run.args(words.split(' '));
        let output = run.arg("--config").arg(daemon.config()).output().unwrap();
        let (out, _) = assert_exit(&output, 0);
        assert!(out.contains(told), "{command}: {out}");
    }
}

/// The headings of a page as links name them.
fn headings(page: &str) -> BTreeSet<String> {
    let headings = page.lines().filter(|line| line.starts_with('#'));
    let kept = |c: char| match c {
        ' ' => Some('-'),
        c if c.is_alphanumeric() || "-_".contains(c) => Some(c.to_ascii_lowercase()),
        _ => None,
    };
    let named = headings.map(|line| line.trim_start_matches('#').trim());
    named
        .map(|line| line.chars().filter_map(kept).collect())
        .collect()
}

/// The pages that the README leads to, itself included; each link on them leads to a page.
fn pages(root: &Path) -> BTreeSet<PathBuf> {
    let (mut open, mut seen) = (vec![root.join("README.md")], BTreeSet::new());
    while let Some(page) = open.pop() {
        let text = fs::read_to_string(&page).unwrap();
        let links = text.split("](").skip(1);
        let links = links.filter_map(|rest| rest.split(')').next());
        for link in links.filter(|link| !link.is_empty() && !link.contains("://")) {
            let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = match path {
                "" => Ok(page.clone()),
                path => page.with_file_name(path).canonicalize(),
            };
            let target =
                target.unwrap_or_else(|error| panic!("{}: {link}: {error}", page.display()));
            // The packages hold the pages, and nothing else that a link could lead to.
            let is_page = target
                .extension()
                .is_some_and(|extension| extension == "md");
            assert!(is_page, "{}: {link} is in no package", page.display());
            if !anchor.is_empty() {
                let found = headings(&fs::read_to_string(&target).unwrap());
                assert!(found.contains(anchor), "{}: {link}", page.display());
            }
            if !seen.contains(&target) {
                open.push(target);
            }
        }
        seen.insert(page);
    }
    seen
}

fn root() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    root.canonicalize().unwrap()
}

#[test]
fn every_document_is_reached_from_the_readme_by_links_that_lead_to_pages() {
    let root = root();
    let seen = pages(&root);
    for folder in ["docs", "docs/vendors"] {
        for entry in fs::read_dir(root.join(folder)).unwrap() {
            let page = entry.unwrap().path();
            assert!(page.is_dir() || seen.contains(&page), "{}", page.display());
        }
    }
}

#[test]
fn every_document_is_in_both_packages() {
    let root = root();
    let manifest = fs::read_to_string(root.join("Cargo.toml")).unwrap();
    let (_, packages) = manifest.split_once("[package.metadata.deb]").unwrap();
    let (deb, rpm) = packages
        .split_once("[package.metadata.generate-rpm]")
        .unwrap();
    for page in pages(&root) {
        let page = page.strip_prefix(&root).unwrap();
        let folder = page.parent().unwrap().display();
        let sources = [
            format!("\"{}\"", page.display()),
            format!("\"{folder}/*.md\""),
            "\"docs/**/*.md\"".to_owned(),
        ];
        // Only the folder docs is taken as a whole.
        let sources = &sources[..if page.starts_with("docs") { 3 } else { 1 }];
        for package in [deb, rpm] {
            let is_taken = sources.iter().any(|source| package.contains(source));
            assert!(is_taken, "{}: {package}", page.display());
        }
    }
}

#[test]
fn every_reason_for_a_refused_line_and_every_exit_code_is_documented() {
    for reason in [
        Refusal::Busy,
        Refusal::DeadLettered,
        Refusal::NotStored,
        Refusal::SpoolFull,
        Refusal::TooLong,
    ] {
        let row = format!("| `{}` |", reason.as_str());
        assert!(README.contains(&row), "{row}");
    }
    let (_, codes) = CONFIGURATION.split_once("## Exit codes").unwrap();
    for code in [
        exit::OK,
        exit::USAGE,
        exit::UNAVAILABLE,
        exit::SOFTWARE,
        exit::TEMPFAIL,
        exit::CONFIG,
    ] {
        assert!(codes.contains(&format!("| {code} |")), "{code}");
    }
}

#[test]
fn every_command_that_the_documents_show_exists() {
    let shown = [README, OPERATIONS, TAILING, TROUBLESHOOTING].map(|text| blocks(text, "sh"));
    let commands = shown.iter().flatten().flat_map(|block| block.lines());
    let commands = commands.filter_map(|line| line.trim().strip_prefix("spoolway "));
    let mut count = 0;
    for command in commands {
        let words = command.split(['#', '|']).next().unwrap_or_default();
        let output = Command::new(env!("CARGO_BIN_EXE_spoolway"))
            .args(words.split_whitespace())
            .arg("--help")
            .output()
            .unwrap();
        assert!(output.status.success(), "spoolway {words}");
        count += 1;
    }
    assert!(count > 3, "{count}");
}
