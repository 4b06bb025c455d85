//! The real binary and its configuration: exit codes, what it prints, and what it must never
//! print. Commands that ask a daemon are in `cli_ask`, those about routes in `cli_routes`.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// A secret that no output may contain.
const CANARY: &str = "canary-correct-horse";

pub(crate) fn spoolway(args: &[&str]) -> Output {
    with_stdin(args, b"")
}

pub(crate) fn with_stdin(args: &[&str], input: &[u8]) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_spoolway"))
        .args(args)
        .env_remove("JOURNAL_STREAM")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A child that fails early does not read its input; that is not what is tested.
    let _ = child.stdin.take().unwrap().write_all(input);
    child.wait_with_output().unwrap()
}

#[track_caller]
pub(crate) fn assert_exit(output: &Output, code: i32) -> (String, String) {
    let out = String::from_utf8_lossy(&output.stdout).into_owned();
    let err = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(
        output.status.code(),
        Some(code),
        "stdout:\n{out}\nstderr:\n{err}"
    );
    (out, err)
}

pub(crate) fn write(dir: &Path, name: &str, text: &str) -> PathBuf {
    let path = dir.join(name);
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    path
}

pub(crate) fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn version_and_help_go_to_stdout_and_usage_errors_are_64() {
    let (out, _) = assert_exit(&spoolway(&["--version"]), 0);
    assert_eq!(out, format!("spoolway {}\n", env!("CARGO_PKG_VERSION")));
    let (out, _) = assert_exit(&spoolway(&["--help"]), 0);
    assert!(
        out.contains("dead-letter") && out.contains("78 configuration"),
        "{out}"
    );
    for wrong in [
        &["chekc"][..],
        &[],
        &["run", "--socket", "x"],
        &["dead-letter", "retry"],
        &["dead-letter", "drop", "--all"],
        &["push", "--timeout", "5"],
    ] {
        let (out, err) = assert_exit(&spoolway(wrong), 64);
        assert!(out.is_empty() && !err.is_empty(), "{wrong:?}");
    }
}

#[test]
fn check_reports_every_mistake_with_its_line_and_exits_78() {
    let dir = tempfile::tempdir().unwrap();
    let file = write(
        dir.path(),
        "bad.toml",
        "[spool]\ndirr = \"/s\"\nmax_bytes = \"10\"\n[[input]]\nname = \"a\"\ntype = \"unix\"\n\
         path = \"/p\"\nack = \"sure\"\n[kafka]\nbootstrap.servers = \"k:1\"\nacks = 0\n\
         [[route]]\ntopic = \"t\"\n",
    );
    let (out, err) = assert_exit(&spoolway(&["check", text(&file)]), 78);
    assert!(out.is_empty(), "{out}");
    for (line, part) in [
        (1, "dir: is missing"),
        (2, "did you mean dir?"),
        (3, "no unit"),
        (8, "\"sure\" is not a choice"),
        (11, "may lose"),
    ] {
        let place = format!("{}:{line}:", text(&file));
        assert!(
            err.lines()
                .any(|l| l.starts_with(&place) && l.contains(part)),
            "{part}:\n{err}"
        );
    }
    let (out, _) = assert_exit(&spoolway(&["check", "--json", text(&file)]), 78);
    let verdict: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(verdict["ok"], false);
    assert_eq!(verdict["diagnostics"].as_array().unwrap().len(), 5, "{out}");
    assert_eq!(verdict["diagnostics"][2]["line"], 3);
}

#[test]
fn run_refuses_what_check_refuses() {
    let dir = tempfile::tempdir().unwrap();
    let file = write(dir.path(), "bad.toml", "[spool]\nmax_byts = \"1GiB\"\n");
    let (_, check) = assert_exit(&spoolway(&["check", text(&file)]), 78);
    let (_, run) = assert_exit(&spoolway(&["run", "--config", text(&file)]), 78);
    assert_eq!(check, run);
    let (_, err) = assert_exit(&spoolway(&["run", "--config", "/does/not/exist"]), 78);
    assert!(
        err.contains("/does/not/exist: error: cannot read the file"),
        "{err}"
    );
    let flags = [
        "run",
        "--socket",
        "s",
        "--brokers",
        "nowhere",
        "--topic",
        "a b",
        "--spool-dir",
    ];
    let (_, err) = assert_exit(&spoolway(&[&flags[..], &["d"]].concat()), 78);
    assert!(
        err.contains("has no port") && err.contains("topic"),
        "{err}"
    );
}

#[test]
fn the_shipped_sample_passes_check() {
    let sample = concat!(env!("CARGO_MANIFEST_DIR"), "/packaging/spoolway.toml");
    let (out, err) = assert_exit(&spoolway(&["check", sample]), 0);
    assert!(out.contains(": ok\n") && err.is_empty(), "{out}{err}");
}

#[test]
fn config_init_writes_a_sample_that_passes_and_never_replaces_a_file() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("new.toml");
    assert_exit(&spoolway(&["config", "init", text(&file)]), 0);
    assert_exit(&spoolway(&["check", text(&file)]), 0);
    let mode = fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    fs::write(&file, "# mine").unwrap();
    let (_, err) = assert_exit(&spoolway(&["config", "init", text(&file)]), 64);
    assert!(err.contains("exists already"), "{err}");
    assert_eq!(fs::read_to_string(&file).unwrap(), "# mine");
    let (out, _) = assert_exit(&spoolway(&["config", "init"]), 0);
    assert_eq!(out, include_str!("../../packaging/spoolway.toml"));
}

#[test]
fn drop_ins_are_merged_shown_with_their_origin_and_checked_alone() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("conf.d")).unwrap();
    let main = write(
        dir.path(),
        "main.toml",
        &format!(
            "[spool]\ndir = \"/s\"\n[[input]]\nname = \"a\"\ntype = \"unix\"\npath = \"/p\"\n\
             [[route]]\ntopic = \"t\"\n[kafka]\nbootstrap.servers = \"k:1\"\n\
             security.protocol = \"SASL_SSL\"\nsasl.mechanism = \"PLAIN\"\n\
             sasl.username = \"u\"\nsasl.password = \"{CANARY}\"\n"
        ),
    );
    let drop_in = write(
        dir.path(),
        "conf.d/20-slow.toml",
        "[kafka]\nlinger.ms = 9\n",
    );
    write(dir.path(), "conf.d/.hidden.toml", "no toml");
    write(dir.path(), "conf.d/README", "no toml");
    let show = ["config", "show", "--origin", "--config", text(&main)];
    let (out, err) = assert_exit(&spoolway(&show), 0);
    let origin = format!("linger.ms = 9  # {}:2", text(&drop_in));
    assert!(out.lines().any(|line| line == origin), "{out}");
    assert!(out.contains("sasl.password = \"***\""), "{out}");
    assert!(!out.contains(CANARY) && !err.contains(CANARY));

    assert_exit(&spoolway(&["check", text(&drop_in)]), 0);
    let loose = write(dir.path(), "loose.toml", "[kafka]\nlinger.mss = 9\n");
    let alone = ["check", "--drop-in", text(&loose)];
    let (_, err) = assert_exit(&spoolway(&alone), 78);
    assert!(
        err.contains("loose.toml:2:") && !err.contains("missing"),
        "{err}"
    );

    write(dir.path(), "conf.d/30.toml", "[kafka]\nlinger.ms = 1\n");
    let (out, err) = assert_exit(&spoolway(&show), 78);
    assert!(out.is_empty(), "{out}");
    assert!(
        err.contains("30.toml:2:") && err.contains("20-slow.toml:2 already"),
        "{err}"
    );
}

#[test]
fn the_schema_is_json_and_knows_the_keys() {
    let (out, _) = assert_exit(&spoolway(&["config", "schema"]), 0);
    let schema: serde_json::Value = serde_json::from_str(&out).unwrap();
    let max = &schema["properties"]["spool"]["properties"]["max_bytes"];
    assert_eq!(max["default"], "10GiB");
}

#[test]
fn check_tries_the_secrets_and_never_prints_them() {
    let dir = tempfile::tempdir().unwrap();
    let secret = write(dir.path(), "password", CANARY);
    let config = |password: &str| {
        format!(
            "[spool]\ndir = \"/s\"\n[[input]]\nname = \"a\"\ntype = \"unix\"\npath = \"/p\"\n\
             [[route]]\ntopic = \"t\"\n[kafka]\nbootstrap.servers = \"k:1\"\n\
             security.protocol = \"SASL_SSL\"\nsasl.mechanism = \"PLAIN\"\n\
             sasl.username = \"u\"\nsasl.password = {password}\n"
        )
    };
    let from_file = format!("{{ file = \"{}\" }}", text(&secret));
    let file = write(dir.path(), "file.toml", &config(&from_file));
    assert_exit(&spoolway(&["check", text(&file)]), 0);
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o644)).unwrap();
    let (_, err) = assert_exit(&spoolway(&["check", text(&file)]), 78);
    assert!(
        err.contains("file.toml:14:") && err.contains("chmod 600"),
        "{err}"
    );
    for (index, password) in [
        format!("\"{CANARY}\""),
        format!("[\"{CANARY}\"]"),
        format!("\"{CANARY}\"\nsasl.pasword = \"{CANARY}\""),
        format!("\"{CANARY}"),
        format!("{{ file = \"/x\", fil = \"{CANARY}\" }}"),
    ]
    .iter()
    .enumerate()
    {
        let file = write(dir.path(), &format!("{index}.toml"), &config(password));
        for args in [
            &["check", text(&file)][..],
            &["check", "--json", text(&file)],
        ] {
            let output = spoolway(args);
            let all = [output.stdout, output.stderr].concat();
            assert!(
                !String::from_utf8_lossy(&all).contains(CANARY),
                "{password}"
            );
        }
    }
}
