//! Commands that ask a daemon, and what they make of its answers.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::Output;
use std::thread::JoinHandle;

use serde_json::json;

use crate::cli::{assert_exit, spoolway, text, with_stdin};

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
