//! `spoolway kafka test` and `spoolway topics`: each trouble is provoked, and the right cause,
//! advice and exit code have to come out.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

use serde_json::Value;
use spoolway_test_support::kafka::{Kafka, Listener};

/// A configuration with these lines in `[kafka]` and these topics, in a folder of its own.
pub(crate) struct Config {
    _folder: tempfile::TempDir,
    file: PathBuf,
}

impl Config {
    pub(crate) fn new(kafka: &str, topics: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("spoolway.toml");
        let routes: Vec<String> = topics
            .iter()
            .map(|topic| format!("[[route]]\ntopic = \"{topic}\"\n"))
            .collect();
        let text = format!(
            "[spool]\ndir = \"/nowhere\"\n[[input]]\nname = \"app\"\ntype = \"unix\"\n\
             path = \"/nowhere/s\"\n[kafka]\n{kafka}\n{}",
            routes.join("")
        );
        fs::write(&file, text).unwrap();
        Self {
            _folder: folder,
            file,
        }
    }

    pub(crate) fn run(&self, args: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_spoolway"))
            .args(args)
            .arg("--config")
            .arg(&self.file)
            .output()
            .unwrap()
    }

    /// Runs `kafka test --json` and gives exit code and findings.
    pub(crate) fn examine(&self, args: &[&str]) -> Exam {
        let output = self.run(&[&["kafka", "test", "--json"], args].concat());
        let answer = serde_json::from_slice(&output.stdout);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        Exam {
            code: output.status.code().unwrap(),
            answer: answer.unwrap_or_else(|e| panic!("{e}: {error}")),
        }
    }
}

/// What `kafka test --json` said.
#[derive(Debug)]
pub(crate) struct Exam {
    pub(crate) code: i32,
    pub(crate) answer: Value,
}

impl Exam {
    /// The steps of this name, each as result, cause and advice.
    pub(crate) fn step(&self, name: &str) -> Vec<(String, String, String)> {
        let steps = self.answer["steps"].as_array().unwrap().iter();
        let of_name = steps.filter(|step| step["step"] == name);
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        of_name
            .map(|s| (text(&s["result"]), text(&s["what"]), text(&s["todo"])))
            .collect()
    }

    #[track_caller]
    pub(crate) fn is_ok(&self) {
        assert_eq!(self.code, 0, "{:#}", self.answer);
        assert_eq!(self.answer["ok"], true);
    }

    /// One step has this name, and failed with these words in cause and advice.
    #[track_caller]
    pub(crate) fn fails(&self, step: &str, kind: &str, code: i32, cause: &str, advice: &str) {
        assert_eq!(self.answer["kind"], kind, "{:#}", self.answer);
        assert_eq!(self.code, code, "{:#}", self.answer);
        let found = self.step(step);
        let right = |(result, what, todo): &(String, String, String)| {
            result == "FAIL" && what.contains(cause) && todo.contains(advice)
        };
        assert!(found.iter().any(right), "{:#}", self.answer);
    }
}

/// Lines of `[kafka]` for a listener of the broker, with short times.
pub(crate) fn at(kafka: &Kafka, listener: Listener) -> String {
    let plain = match listener {
        Listener::Plaintext => "security.protocol = \"PLAINTEXT\"\n",
        _ => "",
    };
    format!(
        "bootstrap.servers = \"{}\"\nsocket.connection.setup.timeout.ms = 5000\n\
         request.timeout.ms = 5000\n{plain}",
        kafka.address(listener)
    )
}

#[test]
fn a_healthy_cluster_is_ok_in_every_step() {
    let kafka = Kafka::shared();
    kafka.admin().create_topic("doctor-ok", 3, &[]).unwrap();
    let config = Config::new(&at(kafka, Listener::Plaintext), &["doctor-ok"]);
    let exam = config.examine(&[]);
    exam.is_ok();
    for (step, words) in [
        ("dns", "127.0.0.1"),
        ("tcp", "connected"),
        ("versions", "a Kafka broker"),
        ("cluster", "brokers: 1"),
        ("listener", "reachable"),
        ("topic", "exists"),
        ("partitions", "partitions: 3, replicas: 1"),
        ("write", "may write"),
    ] {
        let found = exam.step(step);
        assert!(found[0].1.contains(words), "{step}: {:#}", exam.answer);
        assert_eq!(found[0].0, "OK", "{step}");
    }
    let screen = config.run(&["kafka", "test"]);
    let screen = String::from_utf8(screen.stdout).unwrap();
    assert!(
        screen.contains("OK    partitions doctor-ok: partitions: 3"),
        "{screen}"
    );
}

#[test]
fn topics_lists_names_partitions_and_replicas() {
    let kafka = Kafka::shared();
    kafka.admin().create_topic("listing-a", 3, &[]).unwrap();
    kafka.admin().create_topic("listing-b", 1, &[]).unwrap();
    let config = Config::new(&at(kafka, Listener::Plaintext), &["t"]);
    let output = config.run(&["topics", "listing-*"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(
        text,
        "listing-a             3 partitions, 1 replica\n\
         listing-b             1 partition, 1 replica\n"
    );
    let output = config.run(&["topics", "--json", "*-b"]);
    let topic: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(topic["name"], "listing-b");
    assert_eq!(topic["partitions"], 1);
    let output = config.run(&["topics", "[z-"]);
    assert_eq!(output.status.code(), Some(64));
}

#[test]
fn a_closed_port_is_a_failed_connection() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = closed.local_addr().unwrap();
    drop(closed);
    let config = Config::new(&format!("bootstrap.servers = \"{address}\""), &["t"]);
    let exam = config.examine(&[]);
    exam.fails(
        "tcp",
        "connection",
        69,
        "refused",
        "nothing listens on that port",
    );
    let output = config.run(&["topics"]);
    assert_eq!(output.status.code(), Some(69));
}
