//! `spoolway kafka test` and `spoolway topics`: each trouble is provoked, and the right cause,
//! advice and exit code have to come out.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use spoolway_test_support::daemon::Daemon;
use spoolway_test_support::kafka::{Kafka, Listener, Version};
use spoolway_test_support::scripted::Cluster;
use spoolway_test_support::wire::{Access, Operation, Resource};

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

/// Lines of `[kafka]` for a listener of the broker and a protocol, with short times.
pub(crate) fn at(kafka: &Kafka, listener: Listener, protocol: &str) -> String {
    format!(
        "bootstrap.servers = \"{}\"\nsecurity.protocol = \"{protocol}\"\n\
         socket.connection.setup.timeout.ms = 5000\nrequest.timeout.ms = 5000\n",
        kafka.address(listener)
    )
}

/// The same for the listener of the super user.
pub(crate) fn plain(kafka: &Kafka) -> String {
    at(kafka, Listener::Plaintext, "PLAINTEXT")
}

/// Lines for these addresses, without TLS.
fn servers(list: &str) -> String {
    format!("bootstrap.servers = \"{list}\"\nsecurity.protocol = \"PLAINTEXT\"\n")
}

#[test]
fn a_healthy_cluster_is_ok_in_every_step() {
    let kafka = Kafka::shared();
    kafka.admin().create_topic("doctor-ok", 3, &[]).unwrap();
    let config = Config::new(&plain(kafka), &["doctor-ok"]);
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
    let made = Config::new(&plain(kafka), &["doctor-{kind}"]).examine(&[]);
    made.is_ok();
    assert_eq!(made.step("topic")[0].0, "SKIP", "{:#}", made.answer);
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
    let config = Config::new(&plain(kafka), &["t"]);
    let output = config.run(&["topics", "listing-*"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(
        text,
        "listing-a             3 partitions, 1 replica\n\
         listing-b             1 partition, 1 replica\n"
    );
    let output = config.run(&["topics", "--json", "listing-b"]);
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
    let config = Config::new(&servers(&address.to_string()), &["t"]);
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

/// Lines for a SASL listener over TLS.
fn login(kafka: &Kafka, user: &str, password: &str) -> String {
    format!(
        "{}sasl.mechanism = \"SCRAM-SHA-512\"\n\
         sasl.username = \"{user}\"\nsasl.password = \"{password}\"\nssl.ca.location = {:?}\n",
        at(kafka, Listener::SaslSsl, "SASL_SSL"),
        kafka.pki().ca
    )
}

/// Lines for a TLS listener that is trusted by `ca`.
fn tls(kafka: &Kafka, listener: Listener, ca: &Path) -> String {
    format!("{}ssl.ca.location = {ca:?}\n", at(kafka, listener, "SSL"))
}

fn connection_troubles(kafka: &Kafka) {
    let examine = |lines: &str| Config::new(lines, &["any"]).examine(&[]);
    let pki = kafka.pki();
    let exam = examine(&login(kafka, "alice", "canary-wrong-password"));
    exam.fails(
        "login",
        "login",
        67,
        "was refused",
        "check user name and password",
    );
    assert!(!exam.answer.to_string().contains("canary-wrong-password"));
    for (listener, ca, cause, advice) in [
        (
            Listener::Expired,
            &pki.ca,
            "has expired",
            "certificate renewed",
        ),
        (
            Listener::WrongHost,
            &pki.ca,
            "another host name",
            "subjectAltName",
        ),
        (
            Listener::Ssl,
            &pki.foreign_ca,
            "unknown authority",
            "name it in ssl.ca.location",
        ),
        (Listener::Early, &pki.ca, "not valid yet", "timedatectl"),
        (
            Listener::SelfSigned,
            &pki.ca,
            "self-signed",
            "broker's own certificate as a PEM file",
        ),
        (
            Listener::Mtls,
            &pki.ca,
            "refuses our certificate",
            "wants a client certificate",
        ),
        (
            Listener::Plaintext,
            &pki.ca,
            "ended in the handshake",
            "as a plain Kafka port does",
        ),
    ] {
        let exam = examine(&tls(kafka, listener, ca));
        exam.fails("tls", "handshake", 76, cause, advice);
        let address = kafka.address(listener).to_string();
        let command = format!("openssl s_client -connect {address}");
        assert!(
            exam.step("tls")[0].2.contains(&command),
            "{:#}",
            exam.answer
        );
    }
    for (list, cause, advice) in [
        (&pki.revoking_crl, "is revoked", "certificate replaced"),
        (&pki.stale_crl, "ssl.crl.location", "fetched again"),
    ] {
        let lines = tls(kafka, Listener::Ssl, &pki.ca);
        let exam = examine(&format!("{lines}ssl.crl.location = {list:?}\n"));
        exam.fails("tls", "handshake", 76, cause, advice);
    }
    let exam = examine(&at(kafka, Listener::Ssl, "PLAINTEXT"));
    exam.fails(
        "versions",
        "handshake",
        76,
        "Kafka listener",
        "needs SSL or SASL_SSL",
    );
    let plain = format!(
        "{}allow_sasl_plaintext = true\n\
         sasl.mechanism = \"PLAIN\"\nsasl.username = \"alice\"\nsasl.password = \"x\"\n",
        at(kafka, Listener::Plaintext, "SASL_PLAINTEXT")
    );
    let exam = examine(&plain);
    exam.fails("login", "login", 67, "no login", "port of a SASL listener");
}

fn topic_troubles(kafka: &Kafka) {
    let admin = kafka.admin();
    let examine = |lines: &str, topic: &str| Config::new(lines, &[topic]).examine(&[]);
    let plain = plain(kafka);
    admin.create_topic("Doctor-Case", 1, &[]).unwrap();
    let exam = examine(&plain, "doctor-case");
    exam.fails(
        "topic",
        "topic",
        66,
        "does not exist",
        "did you mean \"Doctor-Case\"?",
    );

    let creates = format!("{plain}topic.auto.create = true\n");
    let exam = examine(&creates, "doctor-later");
    exam.is_ok();
    let said = &exam.step("topic")[0].1;
    assert!(said.contains("creates it for the first event"), "{said}");
    assert!(
        admin.partitions("doctor-later").is_err(),
        "asking creates nothing"
    );
    let exam = examine(
        &format!("{creates}topic.auto.replication = 3\n"),
        "doctor-later",
    );
    exam.fails("topic", "topic", 66, "as many brokers", "create it by hand");

    let alice = login(kafka, "alice", "alice-secret");
    let may_not = format!("{alice}topic.auto.create = true\n");
    let see = Resource::Topic("doctor-never");
    admin
        .create_acl("User:alice", see, Operation::Describe, Access::Allow)
        .unwrap();
    let exam = examine(&may_not, "doctor-never");
    exam.fails("topic", "permission", 77, "grant CREATE", "mend that");
    admin.create_topic("doctor-hidden", 1, &[]).unwrap();
    let exam = examine(&alice, "doctor-hidden");
    let advice = "--allow-principal User:alice --operation Write --topic doctor-hidden";
    exam.fails("topic", "permission", 77, "may not see it", advice);
    let rule = |operation| {
        let topic = Resource::Topic("doctor-hidden");
        admin
            .create_acl("User:alice", topic, operation, Access::Allow)
            .unwrap();
    };
    rule(Operation::Describe);
    let exam = examine(&alice, "doctor-hidden");
    exam.fails(
        "write",
        "permission",
        77,
        "may see the topic and not write",
        "grant Write",
    );
    rule(Operation::Write);
    let exam = examine(&alice, "doctor-hidden");
    exam.is_ok();
    // What this login may not look at is said, and hinders nothing.
    assert_eq!(exam.step("size")[0].0, "SKIP", "{:#}", exam.answer);
    assert!(
        exam.step("tls")[0].1.contains("good until"),
        "{:#}",
        exam.answer
    );
    assert_eq!(exam.step("login")[0].0, "OK");
    assert!(
        admin.read_all("doctor-hidden").unwrap().is_empty(),
        "nothing is written"
    );

    let small = [("max.message.bytes", "100000")];
    admin.create_topic("doctor-small", 1, &small).unwrap();
    let exam = examine(&plain, "doctor-small");
    exam.fails(
        "size",
        "size",
        65,
        "max.message.bytes is 100000",
        "batch.size = 100000",
    );
    let fitting = format!("{plain}batch.size = 90000\n");
    let exam = examine(&fitting, "doctor-small");
    exam.is_ok();
    assert_eq!(
        exam.step("size")[0].0,
        "WARN",
        "the largest event does not fit"
    );

    let strict = [("min.insync.replicas", "2")];
    admin.create_topic("doctor-strict", 1, &strict).unwrap();
    let exam = examine(&plain, "doctor-strict");
    exam.fails(
        "partitions",
        "partition",
        75,
        "NOT_ENOUGH_REPLICAS",
        "min.insync.replicas",
    );
}

fn sending(kafka: &Kafka) {
    let admin = kafka.admin();
    let plain = plain(kafka);
    let kept = [("message.timestamp.type", "LogAppendTime")];
    admin.create_topic("doctor-send", 1, &kept).unwrap();
    let config = Config::new(
        &format!("{plain}test_topic = \"doctor-send\"\n"),
        &["events"],
    );
    let exam = config.examine(&["--send"]);
    exam.is_ok();
    let said = &exam.step("send")[0].1;
    assert!(said.contains("in partition 0 at offset 0"), "{said}");
    let records = admin.read_all("doctor-send").unwrap();
    let (name, mark) = &records[0].headers[0];
    assert_eq!(&**name, "spoolway-test");
    let mark = String::from_utf8(mark.clone().unwrap().to_vec()).unwrap();
    assert!(said.contains(&mark), "{said}");
    assert!(records[0].value.is_some());
    // Once by the quorum's clock, once by the topic's.
    let clocks = exam.step("clock");
    assert_eq!(clocks.len(), 2, "{:#}", exam.answer);
    for (result, what, _) in &clocks {
        assert!(result == "OK" && what.contains("ms"), "{what}");
    }
    let exam = config.examine(&["--send", "--topic", "doctor-send"]);
    assert!(
        exam.step("send")[0].1.contains("at offset 1"),
        "{:#}",
        exam.answer
    );
    let unnamed = Config::new(&plain, &["events"]).run(&["kafka", "test", "--send"]);
    assert_eq!(
        unnamed.status.code(),
        Some(64),
        "no topic of a route is written to"
    );

    let narrow = [("message.timestamp.before.max.ms", "0")];
    admin.create_topic("doctor-late", 1, &narrow).unwrap();
    let config = Config::new(&plain, &["events"]);
    let send = || config.examine(&["--send", "--topic", "doctor-late"]);
    // A record that arrives in the millisecond it was stamped in is not late.
    let late = (0..100)
        .map(|_| send())
        .find(|exam| exam.step("send")[0].0 != "OK");
    late.expect("a refusal").fails(
        "send",
        "clock",
        65,
        "INVALID_TIMESTAMP",
        "compare the clocks",
    );
}

#[test]
fn every_trouble_of_the_connection_is_named_on_the_newest_kafka() {
    connection_troubles(Kafka::shared());
}

#[test]
fn every_trouble_of_a_topic_is_named_on_the_newest_kafka() {
    topic_troubles(Kafka::shared());
}

#[test]
fn the_marked_record_lands_where_it_is_said_on_the_newest_kafka() {
    sending(Kafka::shared());
}

#[test]
fn all_of_this_holds_on_kafka_3_9() {
    let kafka = Kafka::builder().version(Version::V3_9).start().unwrap();
    connection_troubles(&kafka);
    topic_troubles(&kafka);
    sending(&kafka);
}

#[test]
fn a_broker_that_advertises_an_unusable_address_explains_missing_events() {
    let cluster = Cluster::start(2);
    cluster.create_topic("t", 2);
    let first = cluster.address(1);
    cluster.broker_down(2);
    let config = Config::new(&servers(&first.to_string()), &["t"]);
    let exam = config.examine(&[]);
    let address = cluster.address(2).to_string();
    let cause = format!("advertises {address}, which does not work from here");
    exam.fails("listener", "listener", 69, &cause, "advertised.listeners");
    assert!(
        exam.step("listener")[0].1.contains("reachable"),
        "broker 1 is fine"
    );
    cluster.take_violations();
}

#[test]
fn names_and_silence_are_told_apart_and_one_good_server_is_enough() {
    let kafka = Kafka::shared();
    kafka.admin().create_topic("doctor-two", 1, &[]).unwrap();
    let unknown = servers("no-such-host.invalid:9092");
    let exam = Config::new(&unknown, &["t"]).examine(&[]);
    exam.fails(
        "dns",
        "name",
        68,
        "cannot resolve",
        "getent hosts no-such-host.invalid",
    );

    let good = kafka.address(Listener::Plaintext);
    let both = servers(&format!("no-such-host.invalid:9092,{good}"));
    let exam = Config::new(&both, &["doctor-two"]).examine(&[]);
    exam.is_ok();
    assert_eq!(exam.step("dns")[0].0, "WARN");

    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap();
    let lines = servers(&address.to_string());
    let exam = Config::new(&lines, &["t"]).examine(&["--timeout", "300ms"]);
    exam.fails("dns", "time", 75, "not done within 0.3 s", "--timeout");
    let short = format!("{lines}socket.connection.setup.timeout.ms = 300");
    let exam = Config::new(&short, &["t"]).examine(&[]);
    exam.fails(
        "versions",
        "handshake",
        76,
        "version exchange",
        "security.protocol",
    );
}

#[test]
fn an_ipv6_address_does_for_bootstrap_and_brokers() {
    let kafka = Kafka::builder().ipv6().start().unwrap();
    assert!(kafka.bootstrap().starts_with("[::1]:"));
    kafka.admin().create_topic("six", 1, &[]).unwrap();
    let exam = Config::new(&plain(&kafka), &["six"]).examine(&[]);
    exam.is_ok();
    let listener = &exam.step("listener")[0].1;
    let wanted = format!("advertises {}, reachable", kafka.bootstrap());
    assert_eq!(*listener, wanted);
    let daemon = Daemon::builder(env!("CARGO_BIN_EXE_spoolway"))
        .bootstrap(&kafka.bootstrap())
        .topic("six")
        .start()
        .unwrap();
    let mut writer = daemon.writer().unwrap();
    writer.send(b"over IPv6").unwrap();
    writer.wait_acked(1).unwrap();
    let within = std::time::Duration::from_secs(30);
    let records = kafka.admin().wait_for_records("six", 1, within).unwrap();
    assert_eq!(records[0].value.as_deref(), Some(&b"over IPv6"[..]));
}
