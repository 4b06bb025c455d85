//! File inputs as written: what is accepted, and what each mistake is answered with.

use std::path::Path;
use std::time::Duration;

use crate::config::*;

const BEFORE: &str = "[spool]\ndir = \"/var/spool/s\"\n[[input]]\nname = \"logs\"\n\
    type = \"file\"\n";

const AFTER: &str = "\n[kafka]\nbootstrap.servers = \"k:9092\"\n[[route]]\ntopic = \"t\"\n";

fn load(lines: &str) -> Result<Loaded, Report> {
    from_text(
        &format!("{BEFORE}{lines}{AFTER}"),
        "f.toml",
        &Context::default(),
    )
}

#[track_caller]
fn file(lines: &str) -> FileConfig {
    let loaded = load(lines).unwrap_or_else(|report| panic!("{report}"));
    match loaded
        .config
        .inputs
        .into_iter()
        .next()
        .map(|input| input.kind)
    {
        Some(InputKind::File(file)) => *file,
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn refusal(lines: &str) -> String {
    load(lines).expect_err("this has to be refused").to_string()
}

#[test]
fn patterns_alone_are_enough_and_bring_the_defaults() {
    let mut patterns = FilePatterns::default();
    patterns.include("/l/*.log").unwrap();
    assert_eq!(
        file("include = \"/l/*.log\""),
        FileConfig::new(patterns.clone())
    );
    patterns.include("/{app}/**/x").unwrap();
    patterns.exclude("*.tmp").unwrap();
    let read = file("include = [\"/l/*.log\", \"/{app}/**/x\"]\nexclude = [\"*.tmp\"]");
    assert_eq!(read.patterns, patterns);
}

#[test]
fn every_key_of_a_file_input_is_read() {
    let read = file(
        "include = \"/l/*.log\"\nstart = \"beginning\"\nmax_line = \"64KiB\"\n\
         line_ending = \"lf\"\nencoding = \"utf-16le\"\nread_once = true\n\
         delete_after_delivery = true\ndelete_grace = \"1m\"\n\
         follow_symlinks_into = \"/srv\"\nscan_interval = \"1s\"\nmax_open_files = 7\n\
         max_deleted_files = 8\nmax_deleted_bytes = \"9KiB\"\n[input.multiline]\n\
         continue = '^\\s'\ntimeout = \"3s\"\nmax_lines = 9\nmax_bytes = \"128KiB\"",
    );
    assert_eq!(
        (read.start, read.line_ending),
        (StartAt::Beginning, LineEnding::Lf)
    );
    assert_eq!(
        (read.max_line, read.encoding),
        (64 << 10, Encoding::Utf16Le)
    );
    assert!(read.read_once && read.delete_after_delivery);
    assert_eq!(read.delete_grace, Duration::from_secs(60));
    assert_eq!(read.follow_symlinks_into, [Path::new("/srv")]);
    assert_eq!(read.scan_interval, Duration::from_secs(1));
    assert_eq!((read.max_open_files, read.max_deleted_files), (7, 8));
    assert_eq!(read.max_deleted_bytes, 9 << 10);
    let mut multiline =
        MultilineConfig::new(MultilineRule::Continue(LinePattern::new("^\\s").unwrap()));
    multiline.timeout = Duration::from_secs(3);
    multiline.max_lines = 9;
    multiline.max_bytes = 128 << 10;
    assert_eq!(read.multiline, Some(multiline));
}

#[test]
fn mistakes_are_named_with_what_to_do() {
    let with = |lines: &str| refusal(&format!("include = \"/l/*\"\n{lines}"));
    for (text, words) in [
        (refusal("start = \"end\""), "include: is missing"),
        (refusal("include = []"), "include: is missing"),
        (
            refusal("include = \"app.log\""),
            "\"app.log\" is no absolute path",
        ),
        (
            refusal("include = [\"/a\", 1]"),
            "include: takes a string, or an array of strings",
        ),
        (refusal("include = \"/proc/*/status\""), "is in /proc"),
        (
            refusal("include = [\"/a\", \"/a\"]"),
            "is a pattern of input \"logs\" already",
        ),
        (refusal("inclde = \"/a\""), "did you mean include?"),
        (with("start = \"begining\""), "did you mean \"beginning\"?"),
        (
            with("exclude = \"a/b\""),
            "exclude: \"a/b\" is no absolute path",
        ),
        (with("mode = \"0600\""), "mode: is not a known key"),
        (
            with("max_line = \"2MiB\""),
            "max_line: 2MiB of the file can become more",
        ),
        (
            with("encoding = \"latin-1\"\nmax_line = \"1MiB\""),
            "512KiB fit",
        ),
        (
            with("delete_after_delivery = true"),
            "set start = \"beginning\"",
        ),
        (
            with("follow_symlinks_into = \"../x\""),
            "no absolute path without ..",
        ),
        (
            with("[input.multiline]\nstart = '['"),
            "start: \"[\" is no regular expression",
        ),
        (
            with("[input.multiline]\nstart = 'a'\nend = 'b'"),
            "end: is a second rule beside start",
        ),
        (
            with("[input.multiline]\ntimeout = \"1s\""),
            "start: is missing",
        ),
        (
            with("[input.multiline]\nstart = 'a'\nmax_bytes = \"1KiB\""),
            "is less than max_line",
        ),
        (
            with("[input.multiline]\nstrat = 'a'"),
            "did you mean start?",
        ),
    ] {
        assert!(text.contains(words), "{words}\n{text}");
    }
}

#[test]
fn the_spool_is_never_an_input() {
    for include in [
        "/var/**",
        "/var/spool/s/*.log",
        "/var/spool/*/format",
        "/**/db",
    ] {
        let text = refusal(&format!("include = \"{include}\""));
        assert!(
            text.contains("would read the spool itself"),
            "{include} {text}"
        );
    }
    file("include = \"/var/**/*.log\"");
    file("include = \"/var/**\"\nexclude = \"/var/spool/s/**\"");
}

#[test]
fn the_default_limit_of_a_line_follows_the_limit_of_an_event() {
    assert_eq!(
        file("include = \"/l\"\nencoding = \"latin-1\"").max_line,
        512 << 10
    );
    let text = format!("{BEFORE}include = \"/l\"\n[input.multiline]\nend = 'x'{AFTER}");
    let text = text.replace("[[input]]", "max_event_bytes = \"64KiB\"\n[[input]]");
    let loaded = from_text(&text, "f", &Context::default()).unwrap();
    let InputKind::File(file) = &loaded.config.inputs[0].kind else {
        panic!("a file input was configured");
    };
    assert_eq!(file.max_line, 64 << 10);
    assert_eq!(file.multiline.as_ref().map(|m| m.max_bytes), Some(64 << 10));
}

#[test]
fn check_warns_of_patterns_that_find_nothing_here() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("a.log"), "x\n").unwrap();
    let context = Context {
        probe_files: true,
        ..Context::default()
    };
    let warnings = |include: &str| {
        let include = include.replace("DIR", &dir.path().display().to_string());
        let text = format!("{BEFORE}include = \"{include}\"{AFTER}");
        let loaded = from_text(&text, "f", &context).unwrap_or_else(|report| panic!("{report}"));
        loaded.warnings.to_string()
    };
    assert_eq!(warnings("DIR/*.log"), "");
    assert_eq!(warnings("DIR/**/{app}.log"), "");
    assert!(warnings("DIR/*.txt").contains("matches no file now"));
    assert!(warnings("DIR/none/*").contains("cannot be searched here"));
    let journal = warnings("/var/log/**/*.{log,journal}");
    assert!(journal.contains("journalctl"), "{journal}");
}

#[test]
fn the_file_input_of_the_shipped_sample_is_accepted_as_it_stands() {
    let sample = include_str!("../../../../packaging/spoolway.toml");
    let (_, block) = sample
        .split_once("# [[input]]\n")
        .expect("a commented file input");
    let (block, _) = block.split_once("\n\n").expect("its end");
    let lines = block
        .lines()
        .map(|line| line.strip_prefix("# ").unwrap_or(line));
    let lines: Vec<&str> = lines
        .filter(|line| !line.starts_with("name") && !line.starts_with("type"))
        .collect();
    let read = file(&lines.join("\n"));
    assert_eq!(read.patterns.included().len(), 2);
    let defaults = FileConfig::new(read.patterns.clone());
    assert_eq!(
        (read.start, read.max_line),
        (defaults.start, defaults.max_line)
    );
    assert!(read.multiline.is_some());
}

#[test]
fn the_input_of_the_documentation_is_accepted() {
    let text = include_str!("../../../../docs/tailing.md");
    let (_, block) = text.split_once("```toml\n").expect("a configuration");
    let (block, _) = block.split_once("```").expect("its end");
    let rest = "\n[spool]\ndir = \"/s\"\n[kafka]\nbootstrap.servers = \"k:9092\"\n";
    from_text(&format!("{block}{rest}"), "f", &Context::default())
        .unwrap_or_else(|report| panic!("{report}"));
}

#[test]
fn a_route_that_asks_for_a_capture_that_no_pattern_makes_is_warned_about() {
    let with = |topic: &str| {
        let text = format!("{BEFORE}include = \"/l/{{app}}/*\"{AFTER}");
        let text = text.replace("topic = \"t\"", &format!("topic = \"{topic}\""));
        let loaded = from_text(&text, "f", &Context::default());
        loaded
            .unwrap_or_else(|report| panic!("{report}"))
            .warnings
            .to_string()
    };
    assert_eq!(with("logs-{@capture.app}"), "");
    let words = with("logs-{@capture.appp}");
    assert!(words.contains("no include pattern has {appp}"), "{words}");
    assert!(words.contains("did you mean @capture.app?"), "{words}");
}
