//! TLS against a real Apache Kafka: every form of certificate, and every trouble with one.

use std::path::Path;
use std::process::Command;

use spoolway::config::{
    DnsLookup, KafkaConfig, PemSource, SaslMechanism, Secret, SecretSource, TlsConfig, TlsIdentity,
};
use spoolway_test_support::kafka::{Kafka, Listener, Pki};

use crate::doctor;
use crate::producer_kafka::{at, delivers, inline, sasl};
use crate::producer_rig::{Rig, topic};

fn trusting(ca: &Path) -> TlsConfig {
    TlsConfig {
        ca: Some(PemSource::File(ca.to_owned())),
        ..TlsConfig::system()
    }
}

fn text(pem: String) -> PemSource {
    PemSource::Text(SecretSource::Inline(Secret::new(pem)))
}

/// What is between the BEGIN and END lines.
fn body(file: &Path) -> String {
    let pem = std::fs::read_to_string(file).unwrap();
    let lines = pem.lines().filter(|line| !line.starts_with("-----"));
    lines.collect::<Vec<_>>().join("\n")
}

fn alice(pki: &Pki) -> TlsIdentity {
    TlsIdentity {
        certificate: PemSource::File(pki.client.certificate.clone()),
        key: PemSource::File(pki.client.key.clone()),
        key_password: None,
    }
}

#[test]
fn pem_is_taken_as_text_and_without_its_first_and_last_line() {
    let kafka = Kafka::shared();
    let pki = kafka.pki();
    let whole = |path: &Path| std::fs::read_to_string(path).unwrap();
    let form = |name: &str, make: &dyn Fn(&Path) -> String| {
        let mut config = at(kafka, Listener::Mtls);
        config.tls = Some(TlsConfig {
            ca: Some(text(make(&pki.ca))),
            identity: Some(TlsIdentity {
                certificate: text(make(&pki.client.certificate)),
                key: text(make(&pki.client.key)),
                key_password: None,
            }),
            ..TlsConfig::system()
        });
        delivers(kafka, name, &config);
    };
    form("pem-whole", &whole);
    form("pem-one-line", &|path| whole(path).replace('\n', "\\n"));
    form("pem-body", &body);
    form("pem-body-one-line", &|path| body(path).replace('\n', " "));
}

#[test]
fn an_encrypted_key_opens_with_its_password() {
    let kafka = Kafka::shared();
    let pki = kafka.pki();
    let folder = tempfile::tempdir().unwrap();
    let locked = folder.path().join("locked.pem");
    let openssl = Command::new("openssl")
        .args([
            "pkcs8",
            "-topk8",
            "-v2",
            "aes-256-cbc",
            "-passout",
            "pass:horse",
        ])
        .arg("-in")
        .arg(&pki.client.key)
        .arg("-out")
        .arg(&locked)
        .status();
    assert!(openssl.unwrap().success());
    let mut config = at(kafka, Listener::Mtls);
    let with = |key: PemSource, password: Option<&str>| TlsConfig {
        identity: Some(TlsIdentity {
            key,
            key_password: password.map(inline),
            ..alice(pki)
        }),
        ..trusting(&pki.ca)
    };
    config.tls = Some(with(PemSource::File(locked.clone()), Some("horse")));
    delivers(kafka, "key-locked", &config);
    config.tls = Some(with(text(body(&locked)), Some("horse")));
    delivers(kafka, "key-locked-body", &config);
    for (password, words) in [
        (None, "set ssl.key.password"),
        (Some("cow"), "does not open"),
    ] {
        config.tls = Some(with(PemSource::File(locked.clone()), password));
        halts(&config, words);
    }
}

#[test]
fn several_authorities_are_trusted_and_a_login_goes_with_a_certificate() {
    let kafka = Kafka::shared();
    let pki = kafka.pki();
    let both = [&pki.foreign_ca, &pki.ca].map(|ca| std::fs::read_to_string(ca).unwrap());
    let mut config = at(kafka, Listener::Mtls);
    config.tls = Some(TlsConfig {
        ca: Some(text(both.concat())),
        identity: Some(alice(pki)),
        ..TlsConfig::system()
    });
    delivers(kafka, "ca-both", &config);
    let mut config = at(kafka, Listener::MtlsSasl);
    config.tls = Some(TlsConfig {
        identity: Some(alice(pki)),
        ..trusting(&pki.ca)
    });
    config.sasl = sasl(SaslMechanism::ScramSha512, inline("alice-secret"));
    delivers(kafka, "certificate-and-login", &config);
    config.tls = Some(trusting(&pki.ca));
    halts(&config, "refuses our certificate or its absence");
}

#[test]
fn a_self_signed_certificate_is_refused_until_it_is_trusted_itself() {
    let kafka = Kafka::shared();
    let pki = kafka.pki();
    let mut config = at(kafka, Listener::SelfSigned);
    config.tls = Some(trusting(&pki.ca));
    halts(&config, "is self-signed; name that certificate");
    config.tls = Some(trusting(&pki.self_signed_server.certificate));
    delivers(kafka, "self-signed", &config);
}

#[test]
fn a_bootstrap_alias_is_verified_by_its_canonical_name_when_asked() {
    let kafka = Kafka::shared();
    let mut config = at(kafka, Listener::Ssl);
    config.tls = Some(trusting(&kafka.pki().ca));
    // Another spelling of 127.0.0.1, which no certificate carries.
    config.bootstrap[0].host = "0x7f000001".into();
    halts(&config, "is for another host name");
    config.dns_lookup = DnsLookup::CanonicalBootstrap;
    delivers(kafka, "canonical", &config);
}

#[test]
fn the_versions_of_tls_that_are_named_are_spoken() {
    let kafka = Kafka::shared();
    kafka.admin().create_topic("tls-versions", 1, &[]).unwrap();
    for (line, version) in [
        ("", "TLSv1_3 with"),
        ("ssl.enabled.protocols = \"TLSv1.2\"", "TLSv1_2 with"),
        ("ssl.enabled.protocols = \"TLSv1.3\"", "TLSv1_3 with"),
        ("ssl.protocol = \"TLSv1.2\"", "TLSv1_2 with"),
    ] {
        let ca = &kafka.pki().ca;
        let way = doctor::at(kafka, Listener::Ssl, "SSL");
        let lines = format!("{way}ssl.ca.location = {ca:?}\n{line}");
        let exam = doctor::Config::new(&lines, &["tls-versions"]).examine(&[]);
        exam.is_ok();
        assert!(exam.step("tls")[0].1.contains(version), "{line}: {exam:?}");
    }
}

#[test]
fn revocation_lists_are_obeyed() {
    let kafka = Kafka::shared();
    let pki = kafka.pki();
    let mut config = at(kafka, Listener::Ssl);
    let with = |list: &Path| TlsConfig {
        crl_file: Some(list.to_owned()),
        ..trusting(&pki.ca)
    };
    config.tls = Some(with(&pki.clean_crl));
    delivers(kafka, "not-revoked", &config);
    config.tls = Some(with(&pki.revoking_crl));
    halts(&config, "is revoked by ssl.crl.location");
    config.tls = Some(with(&pki.stale_crl));
    halts(&config, "fetch the authority's current list");
}

#[test]
fn certificates_out_of_their_time_are_told_apart() {
    let kafka = Kafka::shared();
    let pki = kafka.pki();
    let mut config = at(kafka, Listener::Early);
    config.tls = Some(trusting(&pki.ca));
    halts(&config, "is not valid yet");
    let mut config = at(kafka, Listener::Mtls);
    for (client, words) in [
        (&pki.expired_client, "refuses our certificate"),
        (&pki.foreign_client, "refuses our certificate"),
    ] {
        config.tls = Some(TlsConfig {
            identity: Some(TlsIdentity {
                certificate: PemSource::File(client.certificate.clone()),
                key: PemSource::File(client.key.clone()),
                key_password: None,
            }),
            ..trusting(&pki.ca)
        });
        halts(&config, words);
    }
}

#[test]
fn nothing_is_verified_only_when_told_so() {
    let kafka = Kafka::shared();
    let mut config = at(kafka, Listener::SelfSigned);
    config.tls = Some(TlsConfig {
        verify_certificate: false,
        ..TlsConfig::system()
    });
    delivers(kafka, "unverified", &config);
}

/// A producer of this configuration stops and says these words.
#[track_caller]
fn halts(config: &KafkaConfig, words: &str) {
    let rig = Rig::start(config);
    rig.producer.want_topic(&topic("way-trouble"));
    rig.wait(words, |p| {
        let halted = p.status().halted.clone();
        halted.is_some_and(|h| h.contains(words))
    });
}

#[test]
fn what_is_no_certificate_is_named_with_its_setting() {
    let kafka = Kafka::shared();
    let mut config = at(kafka, Listener::Ssl);
    config.tls = Some(TlsConfig {
        ca: Some(text("?!".into())),
        ..TlsConfig::system()
    });
    halts(&config, "ssl.ca.location: the text holds no certificate");
}
