//! The producer against a real Apache Kafka: every way in, every codec, and a broker that
//! dies under load.

use std::path::PathBuf;
use std::time::Duration;

use spoolway::config::sasl::PasswordLogin;
use spoolway::config::{
    Compression, KafkaConfig, PemSource, SaslConfig, SaslMechanism, Secret, SecretSource,
    TlsConfig, TlsIdentity,
};
use spoolway::kafka::{HeaderRef, RecordRef, TopicView};
use spoolway_test_support::kafka::{Kafka, Listener};

use crate::producer_rig::{Rig, config, topic};

/// A configuration for one of the broker's listeners, patient enough for a JVM.
pub(crate) fn at(kafka: &Kafka, listener: Listener) -> KafkaConfig {
    KafkaConfig {
        request_timeout: Duration::from_secs(5),
        connect_timeout: Duration::from_secs(5),
        ..config(&kafka.address(listener).to_string())
    }
}

fn tls(ca: PathBuf) -> Option<TlsConfig> {
    Some(TlsConfig {
        ca: Some(PemSource::File(ca)),
        ..TlsConfig::system()
    })
}

pub(crate) fn sasl(mechanism: SaslMechanism, password: SecretSource) -> Option<SaslConfig> {
    Some(SaslConfig::Password(PasswordLogin {
        mechanism,
        username: "alice".into(),
        password,
    }))
}

pub(crate) fn inline(text: &str) -> SecretSource {
    SecretSource::Inline(Secret::new(text.into()))
}

/// Sends five events to a topic of its own and reads them back.
#[track_caller]
pub(crate) fn delivers(kafka: &Kafka, name: &str, config: &KafkaConfig) {
    kafka.admin().create_topic(name, 1, &[]).expect("a topic");
    kafka.admin().allow_produce("alice", name).expect("a rule");
    let mut rig = Rig::start(config);
    rig.send(name, 0, 5);
    rig.settle();
    assert_eq!(read(kafka, name), [1, 2, 3, 4, 5]);
}

/// The events of a topic with one partition, in its order.
pub(crate) fn read(kafka: &Kafka, name: &str) -> Vec<u64> {
    let records = kafka.admin().read_all(name).expect("records");
    let values = records.iter().map(|r| r.value.clone().expect("a value"));
    let texts = values.map(|v| String::from_utf8(v.to_vec()).expect("a number"));
    texts.map(|t| t.parse().expect("a number")).collect()
}

#[test]
fn delivers_over_plain_tcp_tls_and_mutual_tls() {
    let kafka = Kafka::shared();
    let pki = kafka.pki();
    delivers(kafka, "way-plain", &at(kafka, Listener::Plaintext));
    let mut ssl = at(kafka, Listener::Ssl);
    ssl.tls = tls(pki.ca.clone());
    delivers(kafka, "way-ssl", &ssl);
    let mut mtls = at(kafka, Listener::Mtls);
    mtls.tls = tls(pki.ca.clone());
    if let Some(tls) = &mut mtls.tls {
        tls.identity = Some(TlsIdentity {
            certificate: PemSource::File(pki.client.certificate.clone()),
            key: PemSource::File(pki.client.key.clone()),
            key_password: None,
        });
    }
    delivers(kafka, "way-mtls", &mtls);
}

#[test]
fn logs_in_with_every_mechanism() {
    let kafka = Kafka::shared();
    let ways = [
        ("sasl-plain", SaslMechanism::Plain),
        ("sasl-256", SaslMechanism::ScramSha256),
        ("sasl-512", SaslMechanism::ScramSha512),
    ];
    for (name, mechanism) in ways {
        let mut config = at(kafka, Listener::SaslSsl);
        config.tls = tls(kafka.pki().ca.clone());
        config.sasl = sasl(mechanism, inline("alice-secret"));
        delivers(kafka, name, &config);
    }
    let mut config = at(kafka, Listener::SaslPlaintext);
    config.sasl = sasl(SaslMechanism::ScramSha512, inline("alice-secret"));
    delivers(kafka, "sasl-no-tls", &config);
}

#[test]
fn a_wrong_password_is_told_in_words_and_mended_without_a_restart() {
    let kafka = Kafka::shared();
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("password");
    let write = |text: &str| {
        use std::os::unix::fs::OpenOptionsExt;
        let mut options = std::fs::OpenOptions::new();
        let options = options.create(true).write(true).truncate(true).mode(0o600);
        let mut file = options.open(&file).expect("a file");
        std::io::Write::write_all(&mut file, text.as_bytes()).expect("written");
    };
    for (name, mechanism) in [
        ("mend-plain", SaslMechanism::Plain),
        ("mend-256", SaslMechanism::ScramSha256),
        ("mend-512", SaslMechanism::ScramSha512),
    ] {
        write("not-the-password");
        let mut config = at(kafka, Listener::SaslSsl);
        config.tls = tls(kafka.pki().ca.clone());
        config.sasl = sasl(mechanism, SecretSource::File(file.clone()));
        kafka.admin().create_topic(name, 1, &[]).expect("a topic");
        kafka.admin().allow_produce("alice", name).expect("a rule");
        let mut rig = Rig::start(&config);
        rig.send(name, 0, 5);
        let told = |text: &str| text.contains("alice") && text.contains("check sasl.username");
        rig.wait("the refusal is told", |p| {
            p.status().halted.as_deref().is_some_and(told)
        });
        let status = format!("{:?}", rig.producer.status());
        assert!(!status.contains("not-the-password"), "{status}");
        write("alice-secret");
        rig.settle();
        assert_eq!(read(kafka, name), [1, 2, 3, 4, 5]);
        assert_eq!(rig.producer.status().halted, None);
    }
}

#[test]
fn certificate_trouble_is_told_in_words() {
    let kafka = Kafka::shared();
    let pki = kafka.pki();
    let troubles = [
        (Listener::Ssl, pki.foreign_ca.clone(), "unknown authority"),
        (Listener::WrongHost, pki.ca.clone(), "another host name"),
        (Listener::Expired, pki.ca.clone(), "has expired"),
        (Listener::Mtls, pki.ca.clone(), "refuses our certificate"),
        (
            Listener::Ssl,
            pki.ca.with_extension("absent"),
            "cannot read",
        ),
    ];
    for (listener, ca, words) in troubles {
        let mut config = at(kafka, listener);
        config.tls = tls(ca);
        let rig = Rig::start(&config);
        rig.producer.want_topic(&topic("way-trouble"));
        rig.wait(words, |p| {
            p.status()
                .halted
                .as_deref()
                .is_some_and(|h| h.contains(words))
        });
    }
}

#[test]
fn a_wrong_security_protocol_is_told_in_words() {
    let kafka = Kafka::shared();
    let mut tls_to_plain = at(kafka, Listener::Plaintext);
    tls_to_plain.tls = tls(kafka.pki().ca.clone());
    let plain_to_tls = at(kafka, Listener::Ssl);
    let mut login_without = at(kafka, Listener::Plaintext);
    login_without.sasl = sasl(SaslMechanism::Plain, inline("alice-secret"));
    for config in [tls_to_plain, plain_to_tls, login_without] {
        let rig = Rig::start(&config);
        rig.producer.want_topic(&topic("way-trouble"));
        rig.wait("security.protocol is named", |p| {
            let error = p.status().control.error.clone();
            error.is_some_and(|e| e.contains("security.protocol"))
        });
    }
}

#[test]
fn the_name_is_not_verified_only_when_told_so() {
    let kafka = Kafka::shared();
    let mut config = at(kafka, Listener::WrongHost);
    config.tls = tls(kafka.pki().ca.clone());
    if let Some(tls) = &mut config.tls {
        tls.verify_hostname = false;
    }
    delivers(kafka, "any-name", &config);
    config.tls = tls(kafka.pki().foreign_ca.clone());
    if let Some(tls) = &mut config.tls {
        tls.verify_hostname = false;
    }
    let rig = Rig::start(&config);
    rig.producer.want_topic(&topic("any-name"));
    rig.wait("the chain is still verified", |p| {
        let halted = p.status().halted.clone();
        halted.is_some_and(|h| h.contains("unknown authority"))
    });
}

#[test]
fn every_codec_is_read_back_byte_for_byte() {
    let kafka = Kafka::shared();
    let noise: Vec<u8> = std::iter::repeat_with(|| fastrand::u8(..))
        .take(400_000)
        .collect();
    let even = "even ".repeat(100_000).into_bytes();
    let headers = [
        HeaderRef {
            name: b"twice",
            value: Some(b"1"),
        },
        HeaderRef {
            name: b"twice",
            value: Some(b"2"),
        },
        HeaderRef {
            name: b"null",
            value: None,
        },
        HeaderRef {
            name: b"empty",
            value: Some(b""),
        },
    ];
    let records = [
        RecordRef {
            key: None,
            value: Some(b"plain"),
            timestamp: None,
            headers: &[],
        },
        RecordRef {
            key: Some(b"key"),
            value: Some(&even),
            timestamp: None,
            headers: &headers,
        },
        RecordRef {
            key: Some(b""),
            value: None,
            timestamp: None,
            headers: &headers,
        },
        RecordRef {
            key: None,
            value: Some(&noise),
            timestamp: None,
            headers: &[],
        },
        RecordRef {
            key: None,
            value: Some(b""),
            timestamp: None,
            headers: &[],
        },
    ];
    for (name, compression) in [
        ("codec-none", Compression::None),
        ("codec-gzip", Compression::Gzip(6)),
        ("codec-snappy", Compression::Snappy),
        ("codec-lz4", Compression::Lz4),
        ("codec-zstd", Compression::Zstd(3)),
    ] {
        let mut config = at(kafka, Listener::Plaintext);
        config.compression = compression;
        kafka.admin().create_topic(name, 1, &[]).expect("a topic");
        let mut rig = Rig::start(&config);
        // Twice, as the codecs keep state between batches.
        rig.send_records(name, &records);
        rig.send_records(name, &records);
        rig.settle();
        let stored = kafka.admin().read_all(name).expect("records");
        assert_eq!(stored.len(), 2 * records.len(), "{name}");
        for (sent, got) in records.iter().chain(&records).zip(&stored) {
            assert_eq!(sent.key, got.key.as_deref(), "{name}");
            assert!(
                sent.value == got.value.as_deref(),
                "{name}: a value differs"
            );
            let got_headers = got.headers.iter();
            let got_headers = got_headers.map(|(n, v)| (n.as_bytes().to_vec(), v.clone()));
            let sent_headers = sent.headers.iter();
            let sent_headers =
                sent_headers.map(|h| (h.name.to_vec(), h.value.map(|v| v.to_vec().into())));
            assert!(got_headers.eq(sent_headers), "{name}: headers differ");
        }
    }
}

#[test]
fn a_broker_killed_and_restarted_under_load_loses_and_doubles_nothing() {
    let mut kafka = Kafka::builder().start().expect("a broker");
    kafka.admin().create_topic("kill", 1, &[]).expect("a topic");
    let mut config = at(&kafka, Listener::Plaintext);
    config.request_timeout = Duration::from_secs(2);
    let mut rig = Rig::start(&config);
    let mut sent = 0_u64;
    for round in 0..3 {
        let goal = sent + 200;
        while sent < goal {
            while rig.unresolved() >= 5 {
                rig.poll();
                std::thread::yield_now();
            }
            rig.send("kill", 0, 50);
            sent += 1;
        }
        // The last ones are on their way while the broker dies.
        if round < 2 {
            kafka.kill9().expect("killed");
            kafka.start().expect("started again");
        }
    }
    rig.settle();
    assert_eq!(read(&kafka, "kill"), (1..=sent * 50).collect::<Vec<u64>>());
    assert_eq!(rig.acked, (1..=sent * 50).collect::<Vec<u64>>());
}

#[test]
fn a_frozen_broker_is_left_and_taken_up_again() {
    let mut kafka = Kafka::builder().start().expect("a broker");
    kafka
        .admin()
        .create_topic("freeze", 1, &[])
        .expect("a topic");
    let mut config = at(&kafka, Listener::Plaintext);
    config.request_timeout = Duration::from_millis(700);
    config.connect_timeout = Duration::from_millis(700);
    let mut rig = Rig::start(&config);
    rig.send("freeze", 0, 1);
    rig.settle();
    kafka.pause().expect("paused");
    for _ in 0..5 {
        rig.send("freeze", 0, 10);
    }
    let name = topic("freeze");
    rig.wait("the silence is noticed", |p| {
        let cluster = p.cluster();
        let Some(TopicView::Known { partitions }) = cluster.topics.get(&name) else {
            return false;
        };
        partitions.iter().all(|p| !p.available)
    });
    kafka.resume().expect("resumed");
    rig.settle();
    assert_eq!(read(&kafka, "freeze"), (1..=51).collect::<Vec<u64>>());
    kafka.stop().expect("stopped");
}
