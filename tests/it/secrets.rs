//! Canaries: secrets of every login, searched for in whatever a daemon and its commands
//! write, when the login works and when it does not. And whom the system trusts.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use spoolway_test_support::daemon::{Builder, Daemon, Journal};
use spoolway_test_support::https::Server;
use spoolway_test_support::kafka::wait::wait_for;
use spoolway_test_support::kafka::{Kafka, Listener};

use crate::producer_rig::PATIENCE;

/// Every command that speaks about a configuration or a running daemon.
const COMMANDS: [&[&str]; 9] = [
    &["status"],
    &["status", "--json"],
    &["config", "show"],
    &["config", "show", "--origin"],
    &["kafka", "explain"],
    &["kafka", "explain", "--json"],
    &["kafka", "test", "--json"],
    &["dead-letter", "list"],
    &["check"],
];

/// Nothing that the daemon or a command writes holds one of these.
#[track_caller]
pub(crate) fn keeps_to_itself(daemon: &Daemon, secrets: &[&str]) {
    for arguments in COMMANDS {
        let mut command = Command::new(env!("CARGO_BIN_EXE_spoolway"));
        command.args(arguments).arg("--config").arg(daemon.config());
        let output = command.output().unwrap();
        assert_ne!(output.status.code(), Some(64), "{output:?}");
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        for secret in secrets {
            assert!(
                !said.contains(secret),
                "{arguments:?} says {secret}: {said}"
            );
        }
    }
    for secret in secrets {
        search(daemon.folder(), secret);
    }
}

/// No file below `folder` holds `secret`.
#[track_caller]
pub(crate) fn search(folder: &Path, secret: &str) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            search(&path, secret);
        } else if let Ok(bytes) = std::fs::read(&path) {
            let found = bytes.windows(secret.len()).any(|w| w == secret.as_bytes());
            assert!(!found, "{secret} is in {}", path.display());
        }
    }
}

/// A secret in a file that nobody else may read.
fn hidden(folder: &Path, name: &str, text: &str) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    path
}

fn daemon(listener: Listener, topic: &str, lines: &str) -> Builder {
    let kafka = Kafka::shared();
    kafka.admin().create_topic(topic, 1, &[]).unwrap();
    kafka.admin().allow_produce("alice", topic).unwrap();
    let builder = Daemon::builder(env!("CARGO_BIN_EXE_spoolway"))
        .bootstrap(&kafka.address(listener).to_string())
        .topic(topic)
        .root("[log]\nfilter = \"trace\"");
    lines
        .lines()
        .fold(builder, |builder, line| builder.kafka(line))
}

/// Ten events arrive.
#[track_caller]
fn delivers(daemon: &Daemon) {
    let mut writer = daemon.writer().unwrap();
    for number in 1..=10 {
        writer.send(&Journal::event(1, number)).unwrap();
    }
    writer.wait_acked(10).unwrap();
    until(daemon, "delivery", |status| {
        status["ledger"]["delivered"] == 10
    });
}

#[track_caller]
fn until(daemon: &Daemon, what: &str, done: impl Fn(&serde_json::Value) -> bool) {
    let waited = wait_for(PATIENCE, what, || Ok(done(&daemon.status_json()?)));
    if let Err(error) = waited {
        panic!("{error:#}: {:#}", daemon.status_json().unwrap());
    }
}

#[test]
fn no_secret_of_a_bearer_login_is_written_down() {
    let kafka = Kafka::shared();
    let token = kafka.issuer().token("alice", Duration::from_secs(3600));
    let signature = token.rsplit('.').next().unwrap().to_owned();
    let folder = tempfile::tempdir().unwrap();
    let answer = format!("{{\"access_token\":\"{token}\",\"expires_in\":3600}}");
    let endpoint = Server::start(Some(&kafka.pki().server), move |ask| {
        // edge:canary-client-secret
        match ask.header("authorization") {
            Some("Basic ZWRnZTpjYW5hcnktY2xpZW50LXNlY3JldA==") => (200, answer.clone()),
            _ => (401, "{\"error\":\"invalid_client\"}".into()),
        }
    })
    .unwrap();
    let ca = &kafka.pki().ca;
    let login = format!(
        "security.protocol = \"SASL_SSL\"\nssl.ca.location = {ca:?}\n\
         sasl.mechanism = \"OAUTHBEARER\"\nreconnect.backoff.max.ms = 200\n"
    );
    let secret = hidden(folder.path(), "client", "canary-wrong-secret");
    let oidc = format!(
        "{login}sasl.oauthbearer.token.endpoint.url = \"{}/token\"\n\
         sasl.oauthbearer.client.id = \"edge\"\nhttps.ca.location = {ca:?}\n\
         sasl.oauthbearer.client.secret = {{ file = {secret:?} }}",
        endpoint.url()
    );
    let oidc = daemon(Listener::SaslSsl, "canary-oidc", &oidc)
        .start()
        .unwrap();
    until(&oidc, "the refusal", |status| {
        let told = status["kafka"]["halted"].as_str();
        told.is_some_and(|told| told.contains("answered 401"))
    });
    keeps_to_itself(&oidc, &["canary-wrong-secret"]);
    hidden(folder.path(), "client", "canary-client-secret");
    delivers(&oidc);
    let encoded = "ZWRnZTpjYW5hcnktY2xpZW50LXNlY3JldA";
    keeps_to_itself(&oidc, &["canary-client-secret", encoded, &signature]);

    let forged = format!("{}canary", &token[..token.len() - 6]);
    let file = hidden(folder.path(), "token", &forged);
    let given = format!("{login}sasl.oauthbearer.access.token = {{ file = {file:?} }}");
    let given = daemon(Listener::SaslSsl, "canary-token", &given)
        .start()
        .unwrap();
    until(&given, "the refusal", |status| {
        let told = status["kafka"]["halted"].as_str();
        told.is_some_and(|told| told.contains("check the token"))
    });
    keeps_to_itself(&given, &[forged.rsplit('.').next().unwrap()]);
    hidden(folder.path(), "token", &token);
    delivers(&given);
    keeps_to_itself(&given, &[&signature]);
}

#[test]
fn no_password_and_nothing_of_a_key_is_written_down() {
    let kafka = Kafka::shared();
    let pki = kafka.pki();
    let folder = tempfile::tempdir().unwrap();
    let locked = folder.path().join("locked.pem");
    let openssl = Command::new("openssl")
        .args(["pkcs8", "-topk8", "-v2", "aes-256-cbc", "-passout"])
        .args(["pass:canary-key-password", "-in"])
        .arg(&pki.client.key)
        .arg("-out")
        .arg(&locked)
        .output()
        .unwrap();
    assert!(openssl.status.success(), "{openssl:?}");
    let key = std::fs::read_to_string(&pki.client.key).unwrap();
    let key = key.lines().nth(1).unwrap();
    let opens = hidden(folder.path(), "opens", "canary-wrong-password");
    let password = hidden(folder.path(), "password", "alice-secret");
    let lines = format!(
        "security.protocol = \"SASL_SSL\"\nssl.ca.location = {:?}\n\
         ssl.certificate.location = {:?}\nssl.key.location = {locked:?}\n\
         ssl.key.password = {{ file = {opens:?} }}\nreconnect.backoff.max.ms = 200\n\
         sasl.mechanism = \"SCRAM-SHA-256\"\nsasl.username = \"alice\"\n\
         sasl.password = {{ file = {password:?} }}",
        pki.ca, pki.client.certificate,
    );
    let daemon = daemon(Listener::MtlsSasl, "canary-key", &lines)
        .start()
        .unwrap();
    until(&daemon, "the refusal", |status| {
        let told = status["kafka"]["halted"].as_str();
        told.is_some_and(|told| told.contains("does not open"))
    });
    keeps_to_itself(&daemon, &["canary-wrong-password"]);
    hidden(folder.path(), "opens", "canary-key-password");
    delivers(&daemon);
    keeps_to_itself(&daemon, &["canary-key-password", "alice-secret", key]);
}

#[test]
fn the_authorities_of_the_system_are_trusted_when_none_is_named() {
    let kafka = Kafka::shared();
    let ssl = "security.protocol = \"SSL\"\nreconnect.backoff.max.ms = 200";
    let trusting = daemon(Listener::Ssl, "system-roots", ssl)
        .env("SSL_CERT_FILE", kafka.pki().ca.to_str().unwrap())
        .start()
        .unwrap();
    delivers(&trusting);
    let stranger = kafka.pki().foreign_ca.to_str().unwrap();
    let wary = daemon(Listener::Ssl, "foreign-roots", ssl)
        .env("SSL_CERT_FILE", stranger)
        .start()
        .unwrap();
    until(&wary, "the refusal", |status| {
        let told = status["kafka"]["halted"].as_str();
        told.is_some_and(|told| told.contains("signed by an unknown authority"))
    });
}
