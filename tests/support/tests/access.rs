//! Who may do what on the shared test broker, over each listener, seen by Kafka's own tools
//! and by the wire client; and what the wire client can change.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use bytes::Bytes;
use kafka_protocol::messages::{SaslAuthenticateRequest, SaslHandshakeRequest};
use kafka_protocol::protocol::StrBytes;
use spoolway_test_support::kafka::{Identity, Kafka, Listener, ProducerTest, USERS};
use spoolway_test_support::wire::{Access, Connection, Operation, Resource};

/// Sent by each run of the Java producer; each one that is refused takes about a second.
const RECORDS: u64 = 3;

/// Error code of a refused login; 0 = welcome.
fn log_in(kafka: &Kafka, user: &str, password: &str) -> Result<i16> {
    let mut connection = Connection::open(kafka.address(Listener::SaslPlaintext))?;
    let hello = SaslHandshakeRequest::default().with_mechanism(StrBytes::from_static_str("PLAIN"));
    assert_eq!(connection.call(&hello, 1)?.error_code, 0);
    let token = format!("\0{user}\0{password}");
    let login = SaslAuthenticateRequest::default().with_auth_bytes(Bytes::from(token));
    Ok(connection.call(&login, 2)?.error_code)
}

/// Sends some records to `topic` with the Java producer.
fn send(kafka: &Kafka, topic: &str, listener: Listener, properties: &[String]) -> Result<u64> {
    let address = format!("bootstrap.servers={}", kafka.address(listener));
    let fixed = ["acks=all", "max.block.ms=5000", "delivery.timeout.ms=10000"];
    let more = ["linger.ms=0", "request.timeout.ms=5000", &address];
    let properties = properties.iter().map(String::as_str);
    let properties: Vec<&str> = fixed.into_iter().chain(more).chain(properties).collect();
    let test = ProducerTest {
        topic,
        records: RECORDS,
        record_bytes: 100,
        properties: &properties,
    };
    kafka.producer_performance(&test)?;
    kafka.admin().count(topic)
}

fn trust(ca: &Path) -> Vec<String> {
    vec![
        "ssl.truststore.type=PEM".to_owned(),
        format!("ssl.truststore.location={}", ca.display()),
    ]
}

fn mutual(ca: &Path, client: &Identity) -> Vec<String> {
    let mut properties = trust(ca);
    properties.push("security.protocol=SSL".to_owned());
    properties.push("ssl.keystore.type=PEM".to_owned());
    properties.push(format!("ssl.keystore.location={}", client.both.display()));
    properties
}

fn scram(ca: &Path, mechanism: &str, user: &str, password: &str) -> Vec<String> {
    const MODULE: &str = "org.apache.kafka.common.security.scram.ScramLoginModule";
    let mut properties = trust(ca);
    properties.push("security.protocol=SASL_SSL".to_owned());
    properties.push(format!("sasl.mechanism={mechanism}"));
    properties.push(format!(
        "sasl.jaas.config={MODULE} required username=\"{user}\" password=\"{password}\";"
    ));
    properties
}

#[test]
fn plain_lets_every_user_in_by_its_password_alone() {
    let kafka = Kafka::shared();
    for (user, password) in USERS {
        assert_eq!(log_in(kafka, user, password).unwrap(), 0);
        assert_eq!(log_in(kafka, user, "guess").unwrap(), 58);
    }
}

#[test]
fn scram_users_produce_over_tls_where_a_rule_allows_it() {
    let kafka = Kafka::shared();
    let admin = kafka.admin();
    admin.create_topic("scram", 1, &[]).unwrap();
    admin.allow_produce("alice", "scram").unwrap();
    let ca = &kafka.pki().ca;
    for (mechanism, total) in [("SCRAM-SHA-256", RECORDS), ("SCRAM-SHA-512", 2 * RECORDS)] {
        let alice = scram(ca, mechanism, "alice", "alice-secret");
        assert_eq!(
            send(kafka, "scram", Listener::SaslSsl, &alice).unwrap(),
            total
        );
    }
    let bob = scram(ca, "SCRAM-SHA-256", "bob", "bob-secret");
    // The tool may end well though each record was refused: the log decides.
    let _ = send(kafka, "scram", Listener::SaslSsl, &bob);
    assert_eq!(admin.count("scram").unwrap(), 2 * RECORDS);
}

#[test]
fn a_client_certificate_names_the_user() {
    let kafka = Kafka::shared();
    let admin = kafka.admin();
    admin.create_topic("mutual", 1, &[]).unwrap();
    let topic = Resource::Topic("mutual");
    admin
        .create_acl("User:alice", topic, Operation::Write, Access::Allow)
        .unwrap();
    let pki = kafka.pki();
    let sent = send(
        kafka,
        "mutual",
        Listener::Mtls,
        &mutual(&pki.ca, &pki.client),
    )
    .unwrap();
    assert_eq!(sent, RECORDS);
    let foreign = mutual(&pki.ca, &pki.foreign_client);
    let _ = send(kafka, "mutual", Listener::Mtls, &foreign);
    assert_eq!(admin.count("mutual").unwrap(), RECORDS);
}

#[test]
fn topics_grow_change_and_go() {
    let admin = Kafka::shared().admin();
    admin.create_topic("changing", 1, &[]).unwrap();
    admin.create_partitions("changing", 3).unwrap();
    assert_eq!(admin.partitions("changing").unwrap(), [0, 1, 2]);
    admin
        .alter_topic_configs("changing", &[("max.message.bytes", Some("2000"))])
        .unwrap();
    admin
        .alter_topic_configs("changing", &[("max.message.bytes", None)])
        .unwrap();
    admin
        .alter_client_quota("changing-client", "producer_byte_rate", Some(1e6))
        .unwrap();
    admin
        .alter_client_quota("changing-client", "producer_byte_rate", None)
        .unwrap();
    admin.delete_topic("changing").unwrap();
    assert!(admin.partitions("changing").is_err());
}

#[test]
fn the_console_consumer_reads_what_the_java_producer_sent() {
    let kafka = Kafka::shared();
    kafka.admin().create_topic("tools", 1, &[]).unwrap();
    assert_eq!(
        send(kafka, "tools", Listener::Plaintext, &[]).unwrap(),
        RECORDS
    );
    let records = kafka.admin().read_all("tools").unwrap();
    let printed = kafka.console_consumer("tools", RECORDS).unwrap();
    let values: Vec<&[u8]> = records
        .iter()
        .map(|record| record.value.as_deref().unwrap())
        .collect();
    assert!(printed.lines().map(str::as_bytes).eq(values));
}

#[test]
fn a_paused_broker_answers_once_it_is_resumed() {
    let mut kafka = Kafka::builder().start().unwrap();
    let admin = kafka.admin();
    kafka.pause().unwrap();
    let asked = std::thread::spawn(move || admin.brokers());
    std::thread::park_timeout(Duration::from_millis(300));
    assert!(!asked.is_finished());
    kafka.resume().unwrap();
    assert_eq!(asked.join().unwrap().unwrap(), [1]);
    kafka.restart().unwrap();
    assert_eq!(admin.brokers().unwrap(), [1]);
}
