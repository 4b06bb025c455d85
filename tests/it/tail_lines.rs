//! What becomes of the lines of log files, by the real daemon through to the scripted
//! cluster: where each event says it is, long lines, several lines as one event, and
//! `spoolway tail`.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::Duration;

use spoolway_test_support::daemon::Daemon;
use spoolway_test_support::kafka::wait::wait_for;
use spoolway_test_support::scripted::{Cluster, Record};

const WITHIN: Duration = Duration::from_secs(60);

/// A running daemon that follows `logs/{app}/*`, and the directory of the app "web".
fn start(cluster: &Cluster, more: &str) -> (Daemon, PathBuf) {
    cluster.create_topic("events", 1);
    let mut daemon = Daemon::builder(env!("CARGO_BIN_EXE_spoolway"))
        .bootstrap(&cluster.bootstrap())
        .route("headers = [[\"at\", \"{@capture.app} {@file_name} {@offset}\"]]")
        .prepare()
        .unwrap();
    let logs = daemon.folder().join("logs");
    fs::create_dir_all(logs.join("web")).unwrap();
    let mut config = File::options().append(true).open(daemon.config()).unwrap();
    let include = format!("{}/{{app}}/*", logs.display());
    write!(
        config,
        "[[input]]\nname = \"logs\"\ntype = \"file\"\ninclude = [{include:?}]\n\
         start = \"beginning\"\nscan_interval = \"100ms\"\n{more}\n"
    )
    .unwrap();
    daemon.start().unwrap();
    (daemon, logs.join("web"))
}

fn append(path: &Path, bytes: &[u8]) {
    let mut file = File::options()
        .create(true)
        .append(true)
        .open(path)
        .unwrap();
    file.write_all(bytes).unwrap();
}

fn wait_for_records(cluster: &Cluster, daemon: &Daemon, count: usize) -> Vec<Record> {
    let waited = wait_for(WITHIN, "the records", || {
        Ok(cluster.records("events", 0).len() >= count)
    });
    waited.unwrap_or_else(|error| panic!("{error}\n{}", daemon.log()));
    cluster.records("events", 0)
}

/// Value, header "at", and whether it is flagged as cut.
fn seen(records: &[Record]) -> Vec<(String, String, bool)> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let seen = records.iter().map(|record| {
        let cut = record.header("spoolway-cut");
        assert!(cut.is_none_or(|value| value == b"true"));
        assert!(record.header("spoolway-id").is_some());
        (
            text(record.value_bytes()),
            text(record.header("at").unwrap()),
            cut.is_some(),
        )
    });
    seen.collect()
}

fn tail(daemon: &Daemon, args: &[&str]) -> Output {
    daemon.command("tail").args(args).output().unwrap()
}

#[test]
fn each_record_tells_its_place_and_a_long_line_is_cut_flagged_and_counted() {
    let cluster = Cluster::start(1);
    let (daemon, web) = start(&cluster, "max_line = \"256B\"");
    let long = "y".repeat(300);
    append(
        &web.join("a.log"),
        format!("one\r\n\n{long}\nlast\nhal").as_bytes(),
    );
    let records = wait_for_records(&cluster, &daemon, 4);
    let at = |offset: u64| format!("web a.log {offset}");
    assert_eq!(
        seen(&records),
        [
            ("one".to_owned(), at(0), false),
            (String::new(), at(5), false),
            ("y".repeat(256), at(6), true),
            ("last".to_owned(), at(307), false),
        ]
    );
    let counted = || Ok(daemon.status_json()?["inputs"][1]["cut_bytes"] == 44);
    wait_for(WITHIN, "the left out bytes to be counted", counted).unwrap();
    assert_eq!(daemon.status_json().unwrap()["inputs"][1]["cut_lines"], 1);
}

#[test]
fn several_lines_are_one_event_also_when_a_kill_came_between_them() {
    let cluster = Cluster::start(1);
    let rules = "[input.multiline]\nstart = '^A'\ntimeout = \"1s\"";
    let (mut daemon, web) = start(&cluster, rules);
    let path = web.join("a.log");
    append(&path, b"A 1\n at x\nA 2\n");
    wait_for_records(&cluster, &daemon, 1);
    daemon.kill9().unwrap();
    append(&path, b" at y\n");
    daemon.start().unwrap();
    // What was acknowledged just before the kill may come again.
    let is_last = |found: &(String, String, bool)| found.0.ends_with(" at y");
    let all = || Ok(seen(&cluster.records("events", 0)).iter().any(is_last));
    let waited = wait_for(WITHIN, "the last line", all);
    waited.unwrap_or_else(|error| panic!("{error}\n{}", daemon.log()));
    let mut found = seen(&cluster.records("events", 0));
    found.dedup();
    assert_eq!(found.first().unwrap().0, "A 1\n at x");
    let rest: String = found[1..].iter().map(|(text, ..)| text.as_str()).collect();
    // The first half may have been an event of its own when the kill came late.
    assert!(rest == "A 2\n at y" || rest == "A 2 at y", "{found:?}");
}

#[test]
fn encodings_become_utf_8_and_damaged_compressed_files_are_not_taken_for_lines() {
    let cluster = Cluster::start(1);
    let (daemon, web) = start(&cluster, "encoding = \"utf-16le\"");
    append(&web.join("a.log.1.gz"), b"\x1F\x8B\x08\x00\x0A\x00\x0A\x00");
    let text = "\u{FEFF}é1\r\n€2\n".encode_utf16();
    append(
        &web.join("a.log"),
        &text.flat_map(u16::to_le_bytes).collect::<Vec<_>>(),
    );
    let records = wait_for_records(&cluster, &daemon, 2);
    let expected = [("é1", "web a.log 2"), ("€2", "web a.log 10")];
    let expected = expected.map(|(text, at)| (text.to_owned(), at.to_owned(), false));
    assert_eq!(seen(&records), expected);
    let told = || {
        let status = tail(&daemon, &["status", "a.log.1.gz"]);
        Ok(String::from_utf8_lossy(&status.stdout).contains("cannot be unpacked"))
    };
    wait_for(WITHIN, "the damage to be shown", told).unwrap();
}

#[test]
fn the_command_shows_files_and_moves_a_checkpoint_only_when_it_is_meant() {
    let cluster = Cluster::start(1);
    let (daemon, web) = start(&cluster, "");
    let path = web.join("a.log");
    append(&path, b"one\ntwo\n");
    wait_for_records(&cluster, &daemon, 2);
    let name = path.to_str().unwrap();
    let status = tail(&daemon, &["status"]);
    let screen = String::from_utf8_lossy(&status.stdout).into_owned();
    assert!(status.status.success() && screen.contains(name), "{screen}");
    let json = tail(&daemon, &["status", "--json", "web"]);
    let file: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!((&file["offset"], &file["lag"]), (&8.into(), &0.into()));
    let refused = tail(&daemon, &["seek", name, "start"]);
    let words = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        !refused.status.success() && words.contains("--yes"),
        "{words}"
    );
    let moved = tail(&daemon, &["seek", name, "4", "--yes"]);
    let words = String::from_utf8_lossy(&moved.stdout).into_owned();
    assert!(words.contains("goes on at byte 4"), "{words}");
    let records = wait_for_records(&cluster, &daemon, 3);
    assert_eq!(records[2].value_bytes(), b"two");
    assert_eq!(
        tail(&daemon, &["seek", name, "middle"]).status.code(),
        Some(64)
    );
    fs::remove_file(&path).unwrap();
    let forgotten = || Ok(tail(&daemon, &["forget", name]).status.success());
    wait_for(WITHIN, "a removed file to be forgotten", forgotten).unwrap();
}
