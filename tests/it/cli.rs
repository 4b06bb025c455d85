//! The real binary: exit codes, what it prints, and what it must never print.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread::JoinHandle;

use serde_json::json;

/// A secret that no output may contain.
const CANARY: &str = "canary-correct-horse";

fn spoolway(args: &[&str]) -> Output {
    with_stdin(args, b"")
}

fn with_stdin(args: &[&str], input: &[u8]) -> Output {
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
fn assert_exit(output: &Output, code: i32) -> (String, String) {
    let out = String::from_utf8_lossy(&output.stdout).into_owned();
    let err = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(
        output.status.code(),
        Some(code),
        "stdout:\n{out}\nstderr:\n{err}"
    );
    (out, err)
}

fn write(dir: &Path, name: &str, text: &str) -> PathBuf {
    let path = dir.join(name);
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    path
}

fn text(path: &Path) -> &str {
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

#[test]
fn push_without_a_daemon_is_75_and_status_69() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("no.sock");
    let (_, err) = assert_exit(
        &with_stdin(&["push", "--socket", text(&socket)], b"a\n"),
        75,
    );
    assert!(
        err.contains("cannot connect to") && err.contains("no.sock"),
        "{err}"
    );
    let (_, err) = assert_exit(&spoolway(&["status", "--control", text(&socket)]), 69);
    assert!(
        err.contains("does not answer") && err.contains("is it running"),
        "{err}"
    );
    let (_, err) = assert_exit(
        &spoolway(&["dead-letter", "list", "--control", text(&socket)]),
        69,
    );
    assert!(err.contains("no.sock"), "{err}");
}

/// A daemon for one connection: `serve` plays its part.
fn daemon<T: Send + 'static>(
    path: &Path,
    serve: impl FnOnce(UnixStream) -> T + Send + 'static,
) -> JoinHandle<T> {
    let listener = UnixListener::bind(path).unwrap();
    std::thread::spawn(move || serve(listener.accept().unwrap().0))
}

#[test]
fn push_sends_every_line_and_succeeds_when_all_are_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("s");
    let served = daemon(&socket, |mut stream| {
        let mut all = Vec::new();
        stream.read_to_end(&mut all).unwrap();
        stream.write_all(b"{\"ack\":1}\n{\"ack\":").unwrap();
        stream.write_all(b"3}\n").unwrap();
        all
    });
    let pushed = with_stdin(
        &["push", "--ack", "--socket", text(&socket)],
        b"one\n\x00\xff\nlast",
    );
    assert_exit(&pushed, 0);
    assert_eq!(served.join().unwrap(), b"one\n\x00\xff\nlast\n");
}

#[test]
fn push_does_not_succeed_when_a_line_stays_without_an_answer() {
    let dir = tempfile::tempdir().unwrap();
    let closed = dir.path().join("closed");
    let served = daemon(&closed, |mut stream| {
        stream.read_to_end(&mut Vec::new()).unwrap();
        stream.write_all(b"{\"ack\":1}\n").unwrap();
    });
    let pushed = with_stdin(&["push", "--ack", "--socket", text(&closed)], b"a\nb\n");
    let (_, err) = assert_exit(&pushed, 75);
    assert!(err.contains("1 of 2 lines are settled"), "{err}");
    served.join().unwrap();

    let silent = dir.path().join("silent");
    let served = daemon(&silent, |mut stream| {
        stream.read_to_end(&mut Vec::new()).unwrap();
        stream
    });
    let args = [
        "push",
        "--ack",
        "--timeout",
        "300ms",
        "--socket",
        text(&silent),
    ];
    let (_, err) = assert_exit(&with_stdin(&args, b"a\n"), 75);
    assert!(err.contains("no answer for 300ms"), "{err}");
    served.join().unwrap();
}

#[test]
fn push_names_refused_lines_and_exits_75() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("s");
    let served = daemon(&socket, |mut stream| {
        stream.read_to_end(&mut Vec::new()).unwrap();
        stream
            .write_all(b"{\"nack\":2,\"reason\":\"too_long\"}\n{\"ack\":2}\n")
            .unwrap();
    });
    let pushed = with_stdin(&["push", "--ack", "--socket", text(&socket)], b"a\nb\n");
    let (_, err) = assert_exit(&pushed, 75);
    assert!(err.contains("line 2 was refused: too_long"), "{err}");
    served.join().unwrap();
}

/// Runs a command against a control socket that answers once; gives the request as well.
fn ask(args: &[&str], answer: &'static str) -> (Output, serde_json::Value) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("control.sock");
    let served = daemon(&path, move |stream| {
        let mut line = String::new();
        BufReader::new(&stream).read_line(&mut line).unwrap();
        (&stream).write_all(answer.as_bytes()).unwrap();
        serde_json::from_str(&line).unwrap()
    });
    let output = spoolway(&[args, &["--control", text(&path)]].concat());
    (output, served.join().unwrap())
}

#[test]
fn status_asks_and_shows_the_ledger() {
    let answer = "{\"ok\":true,\"data\":{\"ledger\":{\"accepted\":5}}}\n";
    let (output, asked) = ask(&["status"], answer);
    let (out, _) = assert_exit(&output, 0);
    assert!(out.contains("5 accepted"), "{out}");
    assert_eq!(asked, json!({"cmd": "status"}));
    let (output, _) = ask(&["status", "--json"], answer);
    assert_eq!(output.stdout, b"{\"ledger\":{\"accepted\":5}}\n");
    let (output, _) = ask(&["status"], "not json\n");
    assert_exit(&output, 70);
}

#[test]
fn dead_letter_shows_exact_bytes_and_passes_refusals_on() {
    let letter = "{\"ok\":true,\"data\":{\"seq\":9,\"reason\":\"no\",\"bytes_hex\":\"00ff0a\"}}\n";
    let (output, asked) = ask(&["dead-letter", "show", "9"], letter);
    assert_eq!(output.stdout, b"\x00\xff\n");
    let (_, err) = assert_exit(&output, 0);
    assert!(
        err.contains("reason: no") && !err.contains("00ff0a"),
        "{err}"
    );
    assert_eq!(asked, json!({"cmd": "dead-letter-show", "seq": 9}));

    let refusal = "{\"ok\":false,\"error\":\"there is no dead letter 4\"}\n";
    let (output, asked) = ask(&["dead-letter", "drop", "4", "5", "--yes"], refusal);
    let (_, err) = assert_exit(&output, 69);
    assert!(err.contains("there is no dead letter 4"), "{err}");
    assert_eq!(asked, json!({"cmd": "dead-letter-drop", "seqs": [4, 5]}));

    let done = "{\"ok\":true,\"data\":{\"retried\":3}}\n";
    let (output, asked) = ask(&["dead-letter", "retry", "--all"], done);
    assert_eq!(assert_exit(&output, 0).0, "3 sent again\n");
    assert_eq!(asked, json!({"cmd": "dead-letter-retry", "all": true}));

    let list = "{\"ok\":true,\"data\":[{\"seq\":1},{\"seq\":2}]}\n";
    let (output, asked) = ask(&["dead-letter", "list", "--json", "--limit", "2"], list);
    assert_eq!(assert_exit(&output, 0).0, "{\"seq\":1}\n{\"seq\":2}\n");
    assert_eq!(
        asked,
        json!({"cmd": "dead-letter-list", "from": 0, "limit": 2})
    );
}

/// A configuration with these tables of routes.
fn routed(dir: &Path, routes: &str) -> PathBuf {
    let text = format!(
        "[spool]\ndir = \"{0}/spool\"\n[[input]]\nname = \"app\"\ntype = \"unix\"\n\
         path = \"{0}/s\"\n[kafka]\nbootstrap.servers = \"k:9092\"\n{routes}",
        text(dir)
    );
    write(dir, "routes.toml", &text)
}

#[test]
fn route_test_shows_what_would_be_sent() {
    let dir = tempfile::tempdir().unwrap();
    let config = routed(
        dir.path(),
        "[[route]]\nname = \"orders\"\ntrigger = 'type = \"order\"'\ntopic = \"o-{shop}\"\n\
         key = [\"id\"]\nheaders = [[\"from\", \"{@input}\"]]\npayload = { n = \"{n}\" }\n\
         [[route]]\ntopic = \"pages\"\ntrigger = '@page'\ntombstone = 'true'\ndefault_partition = 4\n",
    );
    let events =
        b"{\"type\":\"order\",\"shop\":\"x\",\"id\":7,\"n\":1.0}\n{\"type\":\"page\"}\nno\n";
    let args = ["route", "test", "--config", text(&config), "-"];
    let (out, _) = assert_exit(&with_stdin(&args, events), 0);
    let wanted = "event 1: route orders\n  topic: o-x\n  partition: by the key\n  key: 7\n  \
                  header from: app\n  payload: {\"n\":1.0}\n\
                  event 2: route pages\n  topic: pages\n  partition: 4\n  key: null\n  \
                  payload: null\n\
                  event 3: dead letter: it is not JSON (no JSON value at byte 0), and every \
                  route looks into it\n";
    assert_eq!(out, wanted);
    // By the Java client's hash, as in tests/fixtures/murmur2.txt.
    let args = [&args[..], &["--partitions", "6"]].concat();
    let (out, _) = assert_exit(&with_stdin(&args, events), 0);
    let partition = spoolway::route::partition::keyed_partition(b"7", 6);
    assert!(
        out.contains(&format!("partition: {partition}, by the key\n")),
        "{out}"
    );
}

#[test]
fn check_runs_the_tests_of_routes() {
    let dir = tempfile::tempdir().unwrap();
    let with = |key: &str| {
        let config = routed(
            dir.path(),
            &format!(
                "[[route]]\ntopic = \"t\"\npreset = \"rudderstack\"\n[[route.test]]\n\
                 event = '{{\"anonymousId\":\"a\"}}'\nkey = \"{key}\"\ntopic = \"t\"\n"
            ),
        );
        spoolway(&["check", text(&config)])
    };
    assert_exit(&with("a"), 0);
    let (_, err) = assert_exit(&with("b"), 78);
    assert!(
        err.contains("test 1 of route t: the key is a, not b"),
        "{err}"
    );
}

#[test]
fn the_tests_of_routes_compare_all_headers_in_order_and_the_timestamp() {
    let dir = tempfile::tempdir().unwrap();
    let with = |headers: &str, timestamp: &str| {
        let config = routed(
            dir.path(),
            &format!(
                "[[route]]\ntopic = \"t\"\nheaders = [[\"h\", \"{{k}}\"], [\"n\"]]\n\
                 timestamp = \"at\"\n[[route.test]]\nevent = '{{\"k\":1,\"at\":1500}}'\n\
                 headers = {headers}\ntimestamp = \"{timestamp}\"\n"
            ),
        );
        spoolway(&["check", text(&config)])
    };
    let (right, time) = (r#"[["h", "1"], ["n"]]"#, "1970-01-01T00:00:01.500Z");
    assert_exit(&with(right, time), 0);
    let (_, err) = assert_exit(&with(r#"[["n"], ["h", "1"]]"#, time), 78);
    let wanted = "the list of headers is [h: 1, n: null], not [n: null, h: 1]";
    assert!(err.contains(wanted), "{err}");
    let (_, err) = assert_exit(&with(right, "sent"), 78);
    let wanted = "the timestamp is 1970-01-01T00:00:01.500Z, not sent";
    assert!(err.contains(wanted), "{err}");
}

#[test]
fn check_shows_what_a_preset_expands_to() {
    let dir = tempfile::tempdir().unwrap();
    let show = |preset: &str| {
        let table = format!("[[route]]\ntopic = \"t\"\npreset = \"{preset}\"\n");
        let config = routed(dir.path(), &table);
        assert_exit(&spoolway(&["check", "--show", text(&config)]), 0).0
    };
    for (preset, lines) in [
        (
            "segment",
            &[
                "trigger = \"@segment\"",
                "integrations = \"Kafka\"",
                "\"round-robin\"",
            ][..],
        ),
        ("rudderstack", &["key = [\"userId\", \"anonymousId\"]"][..]),
        ("signalsmith", &["key = [\"id\"]"][..]),
        (
            "airbyte",
            &[
                "key = [\"@uuid\"]",
                "\"_airbyte_data\" = \"{record.data|$}\"",
            ][..],
        ),
    ] {
        let shown = show(preset);
        for line in lines {
            assert!(shown.contains(line), "{preset} {line}:\n{shown}");
        }
        // What is shown is a configuration, and the same one.
        let routes = &shown[shown.find("[routing]").unwrap()..];
        let again = spoolway(&["check", "--show", text(&routed(dir.path(), routes))]);
        assert!(assert_exit(&again, 0).0.ends_with(routes));
    }
}

#[test]
fn a_broken_trigger_is_shown_with_a_caret() {
    let dir = tempfile::tempdir().unwrap();
    let config = routed(
        dir.path(),
        "[[route]]\ntopic = \"t\"\ntrigger = 'type = and'\n",
    );
    let (_, err) = assert_exit(&spoolway(&["check", text(&config)]), 78);
    let wanted = "11:11: error: [[route]] trigger: expected a value\n    type = and\n           ^";
    assert!(err.contains(wanted), "{err}");
    let config = routed(dir.path(), "[[route]]\ntopic = \"{type}\"\n");
    let (_, err) = assert_exit(&spoolway(&["check", text(&config)]), 78);
    assert!(err.contains("lets an event pick any topic"), "{err}");
}
