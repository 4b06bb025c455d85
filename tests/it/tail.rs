//! Log files, by the real daemon through to the scripted cluster: rotation, kill -9 and
//! restart in the middle, and what the operator is shown.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use spoolway_test_support::daemon::Daemon;
use spoolway_test_support::kafka::wait::wait_for;
use spoolway_test_support::scripted::{Cluster, Record};

const WITHIN: Duration = Duration::from_secs(60);

/// A daemon that follows `logs/*.log` in its folder, not started yet.
fn prepare(cluster: &Cluster, more: &str) -> (Daemon, PathBuf) {
    let daemon = Daemon::builder(env!("CARGO_BIN_EXE_spoolway"))
        .bootstrap(&cluster.bootstrap())
        .prepare()
        .unwrap();
    let logs = daemon.folder().join("logs");
    fs::create_dir(&logs).unwrap();
    let mut config = File::options().append(true).open(daemon.config()).unwrap();
    let include = format!("{}/*.log", logs.display());
    write!(
        config,
        "[[input]]\nname = \"logs\"\ntype = \"file\"\ninclude = [{include:?}]\n\
         start = \"beginning\"\nscan_interval = \"100ms\"\n{more}\n"
    )
    .unwrap();
    (daemon, logs)
}

fn append(path: &Path, text: &str) {
    let mut file = File::options()
        .create(true)
        .append(true)
        .open(path)
        .unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

/// Each line with the spool's ids that it came under: two of them are a line read twice, one
/// of them in two records is a record sent twice.
fn lines(cluster: &Cluster) -> BTreeMap<String, BTreeSet<Vec<u8>>> {
    let mut lines = BTreeMap::<String, BTreeSet<Vec<u8>>>::new();
    for record in cluster.records("events", 0) {
        let text = String::from_utf8(record.value_bytes().to_vec()).unwrap();
        lines.entry(text).or_default().insert(id(&record));
    }
    lines
}

fn id(record: &Record) -> Vec<u8> {
    record.header("spoolway-id").unwrap().to_vec()
}

fn wait_for_lines(cluster: &Cluster, daemon: &Daemon, count: usize) {
    let waited = wait_for(WITHIN, "the lines", || Ok(lines(cluster).len() >= count));
    waited.unwrap_or_else(|error| {
        let there = lines(cluster).len();
        panic!("{error}: {there} of {count}\n{}", daemon.log());
    });
}

fn assert_each_read_once(cluster: &Cluster, written: &[String]) {
    let found = lines(cluster);
    let missing: Vec<&String> = written
        .iter()
        .filter(|line| !found.contains_key(*line))
        .collect();
    assert!(
        missing.is_empty(),
        "{} lost, the first: {:?}",
        missing.len(),
        missing.first()
    );
    let twice: Vec<_> = found.iter().filter(|(_, ids)| ids.len() > 1).collect();
    assert!(
        twice.is_empty(),
        "{} read twice, the first: {:?}",
        twice.len(),
        twice.first()
    );
    assert_eq!(found.len(), written.len(), "lines that nobody wrote");
}

fn ask(daemon: &Daemon, request: &Value) -> Value {
    use std::io::{BufRead, BufReader};
    let path = daemon.spool_dir().join("control.sock");
    let mut stream = std::os::unix::net::UnixStream::connect(path).unwrap();
    writeln!(stream, "{request}").unwrap();
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer).unwrap();
    serde_json::from_str(&answer).unwrap()
}

#[test]
fn lines_of_a_rotated_file_reach_kafka_once_through_kill_9_at_any_moment() {
    let cluster = Cluster::start(1);
    cluster.create_topic("events", 1);
    let (mut daemon, logs) = prepare(&cluster, "");
    daemon.start().unwrap();
    let path = logs.join("app.log");
    let mut written = Vec::new();
    for round in 0..12 {
        for batch in 0..20 {
            let fresh: Vec<String> = (0..50)
                .map(|n| format!("round {round} batch {batch} line {n} {}", "x".repeat(n)))
                .collect();
            append(&path, &(fresh.join("\n") + "\n"));
            written.extend(fresh);
            if batch == 7 && round % 2 == 0 {
                daemon.kill9().unwrap();
            }
            if batch == 13 {
                for old in (1..5).rev() {
                    let name = |n: u32| logs.join(format!("app.log.{n}"));
                    let _ = fs::rename(name(old), name(old + 1));
                }
                fs::rename(&path, logs.join("app.log.1")).unwrap();
            }
            if batch == 15 && round % 2 == 0 {
                daemon.start().unwrap();
            }
        }
        // Each generation is read before logrotate would delete it.
        wait_for_lines(&cluster, &daemon, written.len());
    }
    assert_each_read_once(&cluster, &written);
    let status = daemon.status_json().unwrap();
    let input = &status["inputs"][1];
    assert_eq!(
        (&input["type"], &input["possible_losses"]),
        (&json!("file"), &json!(0))
    );
    assert!(daemon.sigterm(WITHIN).unwrap().success());
    daemon.start().unwrap();
    append(&path, "the last line\n");
    written.push("the last line".to_owned());
    wait_for_lines(&cluster, &daemon, written.len());
    assert_each_read_once(&cluster, &written);
}

#[test]
fn an_operator_sees_each_file_and_is_warned_before_a_change_doubles_lines() {
    let cluster = Cluster::start(1);
    cluster.create_topic("events", 1);
    let (mut daemon, logs) = prepare(&cluster, "");
    daemon.start().unwrap();
    let path = logs.join("app.log");
    append(&path, "one\ntwo\n");
    wait_for_lines(&cluster, &daemon, 2);
    let answer = ask(&daemon, &json!({"cmd": "tail-status"}));
    let file = &answer["data"]["files"][0];
    assert_eq!(file["path"], json!(path), "{answer}");
    assert_eq!(
        (&file["offset"], &file["lag"], &file["state"]),
        (&json!(8), &json!(0), &json!("listed"))
    );
    let seek = json!({"cmd": "tail-seek", "file": path, "to": {"offset": 4}});
    let answer = ask(&daemon, &seek);
    assert!(
        answer["error"].as_str().unwrap().contains("doubled"),
        "{answer}"
    );
    let seek = json!({"cmd": "tail-seek", "file": path, "to": "beginning", "yes": true});
    assert_eq!(ask(&daemon, &seek)["data"]["file"]["offset"], 0);
    wait_for(WITHIN, "both lines again", || {
        Ok(cluster.records("events", 0).len() == 4)
    })
    .unwrap();
    let forget = json!({"cmd": "tail-forget", "file": "/no/such/file"});
    assert!(
        ask(&daemon, &forget)["error"]
            .as_str()
            .unwrap()
            .contains("not followed")
    );
}

#[test]
fn what_is_written_while_the_spool_is_full_waits_in_the_files_also_when_they_are_deleted() {
    let cluster = Cluster::start(1);
    let (mut daemon, logs) = prepare(&cluster, "");
    let config = fs::read_to_string(daemon.config()).unwrap();
    let small = "[spool]\nmax_bytes = \"48MiB\"\ngeneration_bytes = \"16MiB\"\n\
        compression = \"none\"\nwhen_full = \"reject\"\n";
    let config = config.replacen("[spool]\n", small, 1);
    let config = config.replacen("[kafka]\n", "[kafka]\nmetadata.max.age.ms = 1000\n", 1);
    fs::write(daemon.config(), config).unwrap();
    daemon.start().unwrap();
    let mut written = Vec::new();
    for number in 0..10 {
        let path = logs.join(format!("{number}.log"));
        let lines: Vec<String> = (0..1000)
            .map(|n| format!("{number} {n} {}", "y".repeat(8000)))
            .collect();
        append(&path, &(lines.join("\n") + "\n"));
        written.extend(lines);
    }
    let full = || Ok(daemon.status_json()?["spool"]["full"].is_string());
    wait_for(WITHIN, "a full spool", full).unwrap();
    let late = logs.join("late.log");
    append(&late, "written while the spool was full\n");
    written.push("written while the spool was full".to_owned());
    let followed = || Ok(daemon.status_json()?["inputs"][1]["files"] == 11);
    wait_for(WITHIN, "the late file to be seen", followed).unwrap();
    for file in fs::read_dir(&logs).unwrap() {
        fs::remove_file(file.unwrap().path()).unwrap();
    }
    let reported = || Ok(daemon.status_json()?["inputs"][1]["deleted_files"].as_u64() > Some(0));
    wait_for(WITHIN, "the deleted files to be reported", reported).unwrap();
    cluster.create_topic("events", 1);
    wait_for_lines(&cluster, &daemon, written.len());
    assert_each_read_once(&cluster, &written);
}

/// A daemon that removes what is delivered, and looks for topics every second.
fn prepare_removal(cluster: &Cluster, more: &str) -> (Daemon, PathBuf) {
    let more = format!("delete_after_delivery = true\ndelete_grace = \"1s\"\n{more}");
    let (daemon, logs) = prepare(cluster, &more);
    let config = fs::read_to_string(daemon.config()).unwrap();
    let config = config.replacen("[kafka]\n", "[kafka]\nmetadata.max.age.ms = 1000\n", 1);
    fs::write(daemon.config(), config).unwrap();
    (daemon, logs)
}

#[test]
fn a_file_is_removed_once_kafka_has_all_of_it_and_not_before() {
    let cluster = Cluster::start(1);
    let (mut daemon, logs) = prepare_removal(&cluster, "read_once = true");
    daemon.start().unwrap();
    let path = logs.join("a.log");
    append(&path, "one\ntwo\n");
    let accepted = || Ok(daemon.status_json()?["ledger"]["accepted"] == 2);
    wait_for(WITHIN, "both lines in the spool", accepted).unwrap();
    // A look that could have removed it comes ten times a second.
    let looked = || {
        let answer = ask(&daemon, &json!({"cmd": "tail-status"}));
        Ok(answer["data"]["files"][0]["finished"] == true)
    };
    wait_for(WITHIN, "the end of reading", looked).unwrap();
    assert!(path.exists(), "Kafka has nothing of it");
    cluster.create_topic("events", 1);
    wait_for(WITHIN, "the removal", || Ok(!path.exists())).unwrap();
    let mut values: Vec<_> = lines(&cluster).into_keys().collect();
    values.sort();
    assert_eq!(values, ["one", "two"]);
    assert_eq!(daemon.status_json().unwrap()["inputs"][1]["removed"], 1);
}

#[test]
fn a_file_that_was_open_at_a_kill_9_is_removed_once_kafka_has_all_of_it() {
    let cluster = Cluster::start(1);
    let (mut daemon, logs) = prepare_removal(&cluster, "");
    daemon.start().unwrap();
    let path = logs.join("a.log");
    let accepted = |daemon: &Daemon, count: u64| {
        let is_there = || Ok(daemon.status_json()?["ledger"]["accepted"] == count);
        wait_for(WITHIN, "the lines in the spool", is_there).unwrap();
    };
    append(&path, "one\ntwo\n");
    accepted(&daemon, 2);
    daemon.kill9().unwrap();
    daemon.start().unwrap();
    append(&path, "three\n");
    accepted(&daemon, 3);
    assert!(path.exists(), "Kafka has nothing of it");
    cluster.create_topic("events", 1);
    wait_for(WITHIN, "the removal", || Ok(!path.exists())).unwrap();
    let written = ["one", "two", "three"].map(str::to_owned);
    assert_each_read_once(&cluster, &written);
}
