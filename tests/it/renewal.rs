//! What is renewed while events flow: logins before their session ends (KIP-368), and
//! certificates when their files change.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use spoolway::config::sasl::{PasswordLogin, SaslMechanism};
use spoolway::config::{PemSource, SaslConfig, TlsConfig, TlsIdentity};
use spoolway_test_support::kafka::{Identity, Kafka, Listener};
use spoolway_test_support::scripted::Cluster;

use crate::producer_kafka::{at, inline, read, sasl};
use crate::producer_rig::{PATIENCE, Rig, config, log};

/// Keeps some batches in flight until `done`, and says how many events were sent.
#[track_caller]
fn load(rig: &mut Rig, topic: &str, mut done: impl FnMut(&Rig) -> bool) -> u64 {
    let deadline = Instant::now() + PATIENCE;
    let mut sent = 0;
    while !done(rig) {
        assert!(Instant::now() < deadline, "{:#?}", rig.producer.status());
        rig.poll();
        if rig.unresolved() < 5 {
            rig.send(topic, 0, 2);
            sent += 2;
        } else {
            std::thread::yield_now();
        }
    }
    rig.settle();
    sent
}

/// Nothing was sent twice, and the connections to the leaders never failed.
#[track_caller]
fn was_smooth(rig: &Rig) {
    let status = rig.producer.status();
    assert_eq!(status.totals.resent_batches, 0, "{status:#?}");
    let errors = status
        .brokers
        .iter()
        .filter_map(|b| b.connection.error.as_ref());
    assert_eq!(errors.count(), 0, "{status:#?}");
}

#[test]
fn a_login_is_renewed_on_its_connection_while_batches_are_in_flight() {
    let cluster = Cluster::start(1);
    cluster.create_topic("events", 1);
    let lifetime = Some(Duration::from_secs(2));
    cluster.demand_login("PLAIN", lifetime, Arc::new(|_| Ok(Vec::new())));
    let mut config = config(&cluster.bootstrap());
    config.sasl = Some(SaslConfig::Password(PasswordLogin {
        mechanism: SaslMechanism::Plain,
        username: "alice".into(),
        password: inline("x"),
    }));
    let mut rig = Rig::start(&config);
    // Two connections log in first: the one for metadata, the one to the leader.
    let sent = load(&mut rig, "events", |_| cluster.logins() >= 5);
    assert_eq!(log(&cluster, "events", 0), (1..=sent).collect::<Vec<u64>>());
    was_smooth(&rig);
    assert_eq!(cluster.connections(), 2, "renewed in place");
}

#[test]
fn a_broker_that_ends_sessions_never_ends_ours() {
    let kafka = Kafka::builder()
        .property("connections.max.reauth.ms", "2500")
        .start()
        .unwrap();
    kafka.admin().create_topic("reauth", 1, &[]).unwrap();
    kafka.admin().allow_produce("alice", "reauth").unwrap();
    let mut config = at(&kafka, Listener::SaslSsl);
    config.tls = Some(trusting(&kafka));
    config.sasl = sasl(SaslMechanism::ScramSha512, inline("alice-secret"));
    let mut rig = Rig::start(&config);
    let until = Instant::now() + Duration::from_secs(9);
    let sent = load(&mut rig, "reauth", |_| Instant::now() > until);
    was_smooth(&rig);
    assert_eq!(read(&kafka, "reauth"), (1..=sent).collect::<Vec<u64>>());
}

fn trusting(kafka: &Kafka) -> TlsConfig {
    TlsConfig {
        ca: Some(PemSource::File(kafka.pki().ca.clone())),
        ..TlsConfig::system()
    }
}

#[test]
fn replaced_certificates_are_taken_up_while_events_flow() {
    let kafka = Kafka::shared();
    let pki = kafka.pki();
    let folder = tempfile::tempdir().unwrap();
    let (certificate, key) = (folder.path().join("c.pem"), folder.path().join("k.pem"));
    let put = |from: &Path, to: &Path| {
        // As a rotation does it: never half a file.
        let partial = to.with_extension("partial");
        std::fs::copy(from, &partial).unwrap();
        std::fs::rename(&partial, to).unwrap();
    };
    let Identity {
        certificate: c,
        key: k,
        ..
    } = &pki.client;
    put(c, &certificate);
    put(k, &key);
    kafka.admin().create_topic("rotation", 1, &[]).unwrap();
    kafka.admin().allow_produce("alice", "rotation").unwrap();
    let mut config = at(kafka, Listener::Mtls);
    config.tls = Some(TlsConfig {
        identity: Some(TlsIdentity {
            certificate: PemSource::File(certificate.clone()),
            key: PemSource::File(key.clone()),
            key_password: None,
        }),
        ..trusting(kafka)
    });
    let ours = |rig: &Rig| -> Option<SystemTime> {
        let status = rig.producer.status();
        let mut all = status.certificates.iter();
        let ours = all.find(|c| c.whose.starts_with("ours"));
        ours.map(|c| c.not_after)
    };
    let mut rig = Rig::start(&config);
    let mut sent = load(&mut rig, "rotation", |rig| ours(rig).is_some());
    let before = ours(&rig);
    // The new certificate comes before its key: the old pair serves on.
    put(&pki.renewed_client.certificate, &certificate);
    let until = Instant::now() + Duration::from_secs(7);
    sent += load(&mut rig, "rotation", |_| Instant::now() > until);
    assert_eq!(ours(&rig), before);
    was_smooth(&rig);
    put(&pki.renewed_client.key, &key);
    sent += load(&mut rig, "rotation", |rig| ours(rig) != before);
    was_smooth(&rig);
    assert_eq!(read(kafka, "rotation"), (1..=sent).collect::<Vec<u64>>());
}
