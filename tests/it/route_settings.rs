//! The settings that the pages of the four products map, in the words of the configuration,
//! by the real daemon against a real Apache Kafka: with each of them events arrive, and its
//! effect is seen where a broker shows it.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use spoolway_test_support::daemon::{Builder, Daemon};
use spoolway_test_support::kafka::wait::wait_for;
use spoolway_test_support::kafka::{Kafka, Listener};
use spoolway_test_support::wire::Record;

use crate::route_rig::*;

/// A daemon with these lines in `[kafka]`, before its start; alice may write to the topic.
fn with(listener: Listener, topic: &str, lines: &[&str]) -> Builder {
    let kafka = Kafka::shared();
    let builder = builder(topic, "partition = 0");
    kafka.admin().allow_produce("alice", topic).unwrap();
    let builder = builder.bootstrap(&kafka.address(listener).to_string());
    let lines = lines.iter().filter(|line| !line.is_empty());
    lines.fold(builder, |builder, line| builder.kafka(line))
}

/// What a topic holds after these events.
fn records_of(daemon: &Daemon, topic: &str, events: &[&str]) -> Vec<Record> {
    let _writer = write(daemon, events);
    wait_drained(daemon);
    Kafka::shared().admin().read_all(topic).unwrap()
}

/// Events arrive with these lines in `[kafka]`; what the topic then holds.
#[track_caller]
fn delivers(listener: Listener, topic: &str, lines: &[&str], events: &[&str]) -> Vec<Record> {
    let daemon = with(listener, topic, lines).start().unwrap();
    let records = records_of(&daemon, topic, events);
    let values: Vec<String> = records.iter().map(value).collect();
    assert_eq!(values, events, "{lines:?}");
    records
}

/// What is between the first and the last line of a PEM file, as products want it pasted.
fn body(file: &Path) -> String {
    let text = fs::read_to_string(file).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with("-----"));
    lines.collect::<Vec<_>>().join("\\n")
}

#[test]
fn tls_is_what_a_configuration_gets_that_says_nothing_about_it() {
    let kafka = Kafka::shared();
    let ca = format!("ssl.ca.pem = \"{}\"", body(&kafka.pki().ca));
    let mut daemon = with(Listener::Ssl, "tls-default", &[&ca])
        .prepare()
        .unwrap();
    let text = fs::read_to_string(daemon.config()).unwrap();
    let silent = text.replace("security.protocol = \"PLAINTEXT\"", "");
    assert_ne!(silent, text);
    fs::write(daemon.config(), silent).unwrap();
    daemon.start().unwrap();
    assert_eq!(records_of(&daemon, "tls-default", &["1", "2"]).len(), 2);
}

#[test]
fn a_client_certificate_is_pasted_without_its_first_and_last_line() {
    let pki = Kafka::shared().pki();
    let key = format!("ssl.key.pem = \"{}\"", body(&pki.client.key));
    let certificate = format!(
        "ssl.certificate.pem = \"{}\"",
        body(&pki.client.certificate)
    );
    let ca = format!("ssl.ca.pem = \"{}\"", body(&pki.ca));
    let lines = ["security.protocol = \"SSL\"", &ca, &certificate, &key];
    delivers(Listener::Mtls, "pasted", &lines, &["1", "2"]);
}

#[test]
fn an_unknown_authority_is_accepted_only_with_verification_switched_off() {
    let protocol = "security.protocol = \"SSL\"";
    let off = "enable.ssl.certificate.verification = false";
    let daemon = with(Listener::SelfSigned, "unauthorized", &[protocol]);
    let daemon = daemon.start().unwrap();
    let _writer = write(&daemon, &["kept"]);
    wait_for(WITHIN, "the refusal", || {
        let halted = daemon.status_json()?["kafka"]["halted"].clone();
        Ok(halted.as_str().is_some_and(|h| h.contains("self-signed")))
    })
    .unwrap();
    assert_eq!(ledger(&daemon, "delivered"), 0);
    drop(daemon);
    delivers(Listener::SelfSigned, "authorized", &[protocol, off], &["1"]);
}

#[test]
fn each_login_is_written_as_the_products_name_it() {
    let ca = format!("ssl.ca.location = {:?}", Kafka::shared().pki().ca);
    let module = "org.apache.kafka.common.security.scram.ScramLoginModule required";
    let jaas =
        format!("sasl.jaas.config = '{module} username=\"alice\" password=\"alice-secret\";'");
    let user = "sasl.username = \"alice\"\nsasl.password = \"alice-secret\"";
    for (topic, mechanism, login) in [
        ("as-plain", "PLAIN", user),
        ("as-scram-256", "SCRAM-SHA-256", user),
        ("as-scram-512", "SCRAM-SHA-512", user),
        ("as-jaas", "SCRAM-SHA-512", &jaas),
    ] {
        let mechanism = format!("sasl.mechanism = \"{mechanism}\"");
        let lines = ["security.protocol = \"SASL_SSL\"", &ca, &mechanism, login];
        delivers(Listener::SaslSsl, topic, &lines, &["1", "2"]);
    }
    let lines = [
        "security.protocol = \"SASL_PLAINTEXT\"",
        "sasl.mechanism = \"PLAIN\"",
        user,
    ];
    let mut refused = with(Listener::SaslPlaintext, "as-open", &lines)
        .prepare()
        .unwrap();
    refused.launch().unwrap();
    assert!(!refused.wait_exit(WITHIN).unwrap().success());
    assert!(
        refused.log().contains("allow_sasl_plaintext"),
        "{}",
        refused.log()
    );
    let lines = [lines[0], lines[1], lines[2], "allow_sasl_plaintext = true"];
    delivers(Listener::SaslPlaintext, "as-open-allowed", &lines, &["1"]);
}

#[test]
fn every_kind_of_acks_delivers_and_less_than_all_carries_no_producer_id() {
    let loss = "allow_data_loss = true";
    for (topic, lines, is_idempotent) in [
        ("acks-default", ["", ""], true),
        (
            "acks-all",
            ["acks = \"all\"", "enable.idempotence = true"],
            true,
        ),
        (
            "acks-loose",
            ["acks = \"all\"", "enable.idempotence = false"],
            false,
        ),
        ("acks-1", ["acks = 1", loss], false),
        ("acks-0", ["acks = 0", loss], false),
    ] {
        let daemon = with(Listener::Plaintext, topic, &lines).start().unwrap();
        let _writer = write(&daemon, &["1", "2", "3"]);
        let admin = Kafka::shared().admin();
        // With acks = 0 the spool is empty before the broker has looked at the batch.
        wait_for(WITHIN, "three records", || Ok(admin.count(topic)? == 3)).unwrap();
        for record in admin.read_all(topic).unwrap() {
            assert_eq!(record.producer_id >= 0, is_idempotent, "{topic}");
        }
    }
}

/// Records of each batch, in order.
fn batches(records: &[Record]) -> Vec<usize> {
    let mut sizes = BTreeMap::new();
    for record in records {
        *sizes.entry(record.batch_offset).or_default() += 1;
    }
    sizes.into_values().collect()
}

#[test]
fn a_batch_waits_for_linger_ms_and_not_longer() {
    const LINGER: Duration = Duration::from_millis(1500);
    let lines = ["linger.ms = 1500"];
    let daemon = with(Listener::Plaintext, "linger", &lines).start().unwrap();
    let begun = Instant::now();
    let _writer = write(&daemon, &["1"]);
    // A later write, and so a block of its own.
    let _writer = write(&daemon, &["2"]);
    let is_quick = begun.elapsed() < LINGER / 2;
    wait_drained(&daemon);
    assert!(begun.elapsed() >= LINGER);
    let records = Kafka::shared().admin().read_all("linger").unwrap();
    if is_quick {
        assert_eq!(batches(&records), [2]);
    }
    assert_eq!(values(&records), ["1", "2"]);
}

/// Bytes that no codec makes smaller, as text.
fn noise(events: usize, bytes: usize) -> Vec<String> {
    let mut rng = fastrand::Rng::with_seed(3);
    let mut line = || (0..bytes).map(|_| rng.alphanumeric()).collect();
    (0..events).map(|_| line()).collect()
}

#[test]
fn batch_size_and_max_request_size_bound_what_a_broker_gets() {
    let events = noise(60, 1_000);
    let events: Vec<&str> = events.iter().map(String::as_str).collect();
    for (topic, line, most) in [
        ("sized-batch", "batch.size = 10000", 10_000),
        ("sized-request", "max.request.size = 20480", 20_480),
    ] {
        let lines = [line, "linger.ms = 2000", "compression.type = \"none\""];
        let records = delivers(Listener::Plaintext, topic, &lines, &events);
        let batches = batches(&records);
        let largest = batches.iter().max().copied().unwrap();
        assert!(largest * 1_000 < most, "{topic}: {batches:?}");
        assert!((largest + 3) * 1_000 > most, "{topic}: {batches:?}");
    }
}

#[test]
fn one_batch_in_flight_and_a_number_of_retries_deliver_in_order() {
    let lines = [
        "max.in.flight.requests.per.connection = 1",
        "retries = 3",
        "batch.events = 1",
    ];
    let events: Vec<String> = (0..100).map(|n| n.to_string()).collect();
    let events: Vec<&str> = events.iter().map(String::as_str).collect();
    let records = delivers(Listener::Plaintext, "one-in-flight", &lines, &events);
    assert_eq!(batches(&records), [1; 100]);
}

#[test]
fn the_kernel_gives_the_buffers_that_are_asked_for_to_connections_with_a_broker() {
    let lines = ["send.buffer.bytes = 65536", "receive.buffer.bytes = 49152"];
    let daemon = with(Listener::Plaintext, "buffers", &lines)
        .start()
        .unwrap();
    assert_eq!(records_of(&daemon, "buffers", &["1"]).len(), 1);
    let port = Kafka::shared().address(Listener::Plaintext).port();
    let mut command = Command::new("ss");
    let output = command
        .args(["-tmnpH", &format!("dport = :{port}")])
        .output()
        .unwrap();
    let shown = String::from_utf8(output.stdout).unwrap();
    let process = format!("pid={},", daemon.process_id().unwrap());
    let after = shown.lines().skip_while(|line| !line.contains(&process));
    let ours: String = after.take(2).collect();
    // The kernel takes twice as much, for its own accounts (socket(7)).
    assert!(
        ours.contains("rb98304") && ours.contains("tb131072"),
        "{shown}"
    );
}

/// Airbyte's "sync producer": whoever is told goes on with the event in Kafka.
#[test]
fn a_writer_that_waits_for_the_broker_finds_its_event_there_when_it_is_told() {
    let daemon = builder("sync", "partition = 0").ack("broker");
    let daemon = daemon.start().unwrap();
    let mut writer = daemon.writer().unwrap();
    for number in 1..=10 {
        writer.send_acked(b"x").unwrap();
        assert_eq!(Kafka::shared().admin().count("sync").unwrap(), number);
    }
}

#[test]
fn a_silent_broker_costs_a_set_up_time_out_and_an_old_event_and_no_young_one() {
    let kafka = Kafka::builder().start().unwrap();
    kafka.admin().create_topic("silent", 1, &[]).unwrap();
    kafka.pause().unwrap();
    let daemon = Daemon::builder(env!("CARGO_BIN_EXE_spoolway"))
        .bootstrap(&kafka.bootstrap())
        .topic("silent")
        .kafka("linger.ms = 0")
        .kafka("request.timeout.ms = 1000")
        .kafka("delivery.timeout.ms = 3000")
        .kafka("socket.connection.setup.timeout.ms = 1000")
        .kafka("socket.connection.setup.timeout.max.ms = 2000")
        .start()
        .unwrap();
    let _writer = write(&daemon, &["old"]);
    wait_for(WITHIN, "both ends of patience", || {
        let status = daemon.status_json()?;
        let error = status["kafka"]["control"]["error"].as_str().unwrap_or("");
        // The second attempt has twice the time of the first, and the third has no more.
        let is_late = error.contains("within 2 s");
        Ok(is_late && status["ledger"]["dead_lettered"] == 1)
    })
    .unwrap();
    kafka.resume().unwrap();
    wait_for(WITHIN, "a connection", || {
        Ok(daemon.status_json()?["kafka"]["control"]["up"] == true)
    })
    .unwrap();
    let _writer = write(&daemon, &["young"]);
    wait_drained(&daemon);
    assert_eq!(
        values(&kafka.admin().read_all("silent").unwrap()),
        ["young"]
    );
    let reasons = daemon.dead_letters().unwrap();
    assert!(reasons.contains("delivery.timeout.ms"), "{reasons}");
}

/// Kafka in Kubernetes as it is often set up first: reached at one address, it sends clients
/// to another that they cannot reach.
#[test]
fn an_advertised_listener_that_cannot_be_reached_is_named_by_kafka_test() {
    let kafka = Kafka::builder()
        .property("advertised.listeners", "PLAINTEXT://127.0.0.1:1")
        .start()
        .unwrap();
    kafka.admin().create_topic("astray", 1, &[]).unwrap();
    let daemon = Daemon::builder(env!("CARGO_BIN_EXE_spoolway"))
        .bootstrap(&kafka.bootstrap())
        .topic("astray")
        .prepare()
        .unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_spoolway"))
        .args(["kafka", "test", "--config"])
        .arg(daemon.config())
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(!output.status.success(), "{text}");
    let failed = text.lines().find(|line| line.starts_with("FAIL"));
    assert!(
        failed.is_some_and(|line| line.contains("127.0.0.1:1")),
        "{text}"
    );
    assert!(text.contains("advertised.listeners"), "{text}");
}
