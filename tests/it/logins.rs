//! Logins without a password, against a real Apache Kafka: bearer tokens, and AWS keys at a
//! broker that judges them as Amazon MSK does.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use spoolway::config::sasl::{AwsCarrier, AwsKeys, AwsLogin, BearerLogin, OidcClient, TokenSource};
use spoolway::config::{
    PemSource, SaslConfig, SaslMechanism, SecretSource, TlsConfig, TlsIdentity,
};
use spoolway_test_support::https::Server;
use spoolway_test_support::kafka::wait::wait_for;
use spoolway_test_support::kafka::{Account, Kafka, Listener, REGION, Version};

use crate::producer_kafka::{at, delivers, inline, read, sasl};
use crate::producer_rig::{PATIENCE, Rig};
use crate::secrets::{keeps_to_itself, search};

const HOUR: Duration = Duration::from_secs(3600);

fn bearer(token: TokenSource) -> Option<SaslConfig> {
    Some(SaslConfig::Bearer(BearerLogin {
        token,
        extensions: Vec::new(),
    }))
}

fn secret_file(folder: &Path, text: &str) -> PathBuf {
    let path = folder.join("token");
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    path
}

fn trusted(kafka: &Kafka) -> Option<TlsConfig> {
    Some(TlsConfig {
        ca: Some(PemSource::File(kafka.pki().ca.clone())),
        ..TlsConfig::system()
    })
}

#[test]
fn a_token_file_is_read_again_at_each_login() {
    let kafka = Kafka::shared();
    let folder = tempfile::tempdir().unwrap();
    let old = kafka.issuer().old_token("alice");
    let file = secret_file(folder.path(), &old);
    let mut config = at(kafka, Listener::SaslSsl);
    config.tls = trusted(kafka);
    config.sasl = bearer(TokenSource::Given(SecretSource::File(file)));
    let name = "bearer-file";
    kafka.admin().create_topic(name, 1, &[]).unwrap();
    kafka.admin().allow_produce("alice", name).unwrap();
    let mut rig = Rig::start(&config);
    rig.send(name, 0, 5);
    let told = |words: &str, rig: &Rig| {
        rig.wait(words, |p| {
            let halted = p.status().halted.clone();
            halted.is_some_and(|h| h.contains(words))
        });
        assert!(!format!("{:?}", rig.producer.status()).contains(&old));
    };
    told("the token has expired on", &rig);
    let mut forged = kafka.issuer().token("alice", HOUR);
    forged.truncate(forged.len() - 8);
    secret_file(folder.path(), &format!("{forged}AAAAAAAA\n"));
    told("check the token's issuer", &rig);
    secret_file(folder.path(), &kafka.issuer().token("alice", HOUR));
    rig.settle();
    assert_eq!(read(kafka, name), [1, 2, 3, 4, 5]);
}

#[test]
fn client_credentials_are_changed_for_a_token_over_https() {
    let kafka = Kafka::shared();
    let token = kafka.issuer().token("alice", HOUR);
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let endpoint = Server::start(Some(&kafka.pki().server), move |ask| {
        count.fetch_add(1, Ordering::Relaxed);
        // edge-client:correct-horse
        let good =
            ask.header("authorization") == Some("Basic ZWRnZS1jbGllbnQ6Y29ycmVjdC1ob3JzZQ==");
        let form = "grant_type=client_credentials&scope=kafka%20write";
        if ask.line != "POST /token" || ask.body != form {
            return (404, "not here".into());
        }
        if !good {
            return (401, "{\"error\":\"invalid_client\"}".into());
        }
        (
            200,
            format!("{{\"access_token\":\"{token}\",\"expires_in\":3600}}"),
        )
    })
    .unwrap();
    let mut config = at(kafka, Listener::SaslSsl);
    config.tls = trusted(kafka);
    let client = |secret: &str, ca: PathBuf| {
        bearer(TokenSource::Oidc(OidcClient {
            endpoint: format!("{}/token", endpoint.url()),
            client_id: "edge-client".into(),
            client_secret: inline(secret),
            scope: Some("kafka write".into()),
            ca: Some(PemSource::File(ca)),
        }))
    };
    config.sasl = client("correct-horse", kafka.pki().ca.clone());
    delivers(kafka, "bearer-oidc", &config);
    let fetched = asked.load(Ordering::Relaxed);
    assert_eq!(fetched, 1, "both connections of a producer share one token");
    for (secret, ca, words) in [
        (
            "wrong-horse",
            &kafka.pki().ca,
            "answered 401: {\\\"error\\\":\\\"invalid_client",
        ),
        (
            "correct-horse",
            &kafka.pki().foreign_ca,
            "check https.ca.location",
        ),
    ] {
        config.sasl = client(secret, ca.clone());
        let rig = Rig::start(&config);
        rig.producer.want_topic(&"bearer-oidc".into());
        rig.wait(words, |p| {
            let halted = p.status().halted.clone();
            halted.is_some_and(|h| h.contains(words) && !h.contains(secret))
        });
    }
}

/// A broker for AWS keys, in which every one of these accounts may write to `events`.
fn msk() -> &'static Kafka {
    static BROKER: OnceLock<Kafka> = OnceLock::new();
    BROKER.get_or_init(|| {
        let account = |id: &str, secret: &str, session: Option<&str>| Account {
            id: id.to_owned(),
            secret: secret.to_owned(),
            session: session.map(str::to_owned),
        };
        let accounts = [
            account("AKIAEXAMPLE", "canary/secret+key", None),
            account("AKIAEXAMPLE", "canary/secret+key", Some("canary-session=")),
            account("ASIAROLE", "role-secret", Some("role-session")),
        ];
        let kafka = Kafka::builder().aws(&accounts).start().unwrap();
        kafka.admin().create_topic("events", 1, &[]).unwrap();
        for account in &accounts {
            kafka.admin().allow_produce(&account.id, "events").unwrap();
        }
        kafka
    })
}

fn aws(carrier: AwsCarrier, secret: &str) -> AwsLogin {
    AwsLogin {
        carrier,
        region: Some(REGION.into()),
        keys: Some(AwsKeys {
            id: "AKIAEXAMPLE".into(),
            secret: inline(secret),
            session: None,
        }),
        profile: None,
        role: None,
        ca: None,
    }
}

const CARRIERS: [AwsCarrier; 2] = [AwsCarrier::Payload, AwsCarrier::Token];

/// Five events by this login; the topic has them.
#[track_caller]
fn logs_in(name: &str, login: AwsLogin) {
    let kafka = msk();
    let mut config = at(kafka, Listener::SaslPlaintext);
    config.sasl = Some(SaslConfig::Aws(login));
    kafka.admin().create_topic(name, 1, &[]).unwrap();
    kafka.admin().allow_produce("AKIAEXAMPLE", name).unwrap();
    let mut rig = Rig::start(&config);
    rig.send(name, 0, 5);
    rig.settle();
    assert_eq!(read(kafka, name), [1, 2, 3, 4, 5]);
}

/// The login is refused, and what is told of it names the key and no secret.
#[track_caller]
fn is_refused(login: AwsLogin) {
    let mut config = at(msk(), Listener::SaslPlaintext);
    config.sasl = Some(SaslConfig::Aws(login));
    let rig = Rig::start(&config);
    rig.producer.want_topic(&"events".into());
    rig.wait("the refusal is told", |p| {
        let halted = p.status().halted.clone();
        halted.is_some_and(|h| {
            h.contains("AKIAEXAMPLE") && h.contains("Access denied") && !h.contains("canary")
        })
    });
}

#[test]
fn aws_iam_keys_log_in_by_both_mechanisms_with_a_signature_that_holds() {
    for carrier in CARRIERS {
        logs_in(
            &format!("iam-{carrier:?}"),
            aws(carrier, "canary/secret+key"),
        );
        is_refused(aws(carrier, "canary/other"));
        let mut elsewhere = aws(carrier, "canary/secret+key");
        elsewhere.region = Some("us-east-1".into());
        is_refused(elsewhere);
    }
}

#[test]
fn an_aws_session_token_goes_into_the_signature() {
    for carrier in CARRIERS {
        let mut login = aws(carrier, "canary/secret+key");
        let with_session = |login: &mut AwsLogin, session: &str| {
            if let Some(keys) = &mut login.keys {
                keys.session = Some(inline(session));
            }
        };
        with_session(&mut login, "canary-session=");
        logs_in(&format!("session-{carrier:?}"), login.clone());
        with_session(&mut login, "canary-other");
        is_refused(login);
    }
}

/// Temporary credentials of `role`, as STS answers them.
const OF_ROLE: &str = "<AssumeRoleResponse><Credentials><AccessKeyId>ASIAROLE</AccessKeyId>\
    <SecretAccessKey>role-secret</SecretAccessKey><SessionToken>role-session</SessionToken>\
    <Expiration>2099-01-01T00:00:00Z</Expiration></Credentials></AssumeRoleResponse>";

#[test]
fn an_aws_role_is_assumed_with_the_keys_and_the_session_is_used() {
    let kafka = Kafka::shared();
    let sts = Server::start(Some(&kafka.pki().server), |ask| {
        let signed = ask.header("authorization").is_some_and(|value| {
            value.starts_with("AWS4-HMAC-SHA256 Credential=AKIAEXAMPLE/")
                && value.contains("/eu-west-1/sts/aws4_request")
        });
        let role = "Version=2011-06-15&RoleArn=arn%3Aaws%3Aiam%3A%3A1%3Arole%2Fedge&\
                    RoleSessionName=spoolway";
        let assumed = format!("Action=AssumeRole&{role}&ExternalId=x-1");
        let by_token = format!("Action=AssumeRoleWithWebIdentity&{role}&WebIdentityToken=pod-jwt");
        if (ask.body == assumed && signed) || ask.body == by_token {
            (200, OF_ROLE.into())
        } else {
            (403, "<Error><Code>AccessDenied</Code></Error>".into())
        }
    })
    .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let arn = "arn:aws:iam::1:role/edge";
    let keys = "sasl.aws.access.key.id = \"AKIAEXAMPLE\"\n\
                sasl.aws.secret.access.key = { env = \"KEY\" }\n\
                sasl.aws.role.external.id = \"x-1\"\n\
                sasl.aws.role.arn = \"arn:aws:iam::1:role/edge\"";
    let profile = format!(
        "[profile edge]\nrole_arn = {arn}\nsource_profile = base\nexternal_id = x-1\n\
         [profile base]\naws_access_key_id = AKIAEXAMPLE\n\
         aws_secret_access_key = canary/secret+key\n"
    );
    let by_profile = [("AWS_CONFIG_FILE", file("config", &profile))];
    let by_identity = [
        ("AWS_WEB_IDENTITY_TOKEN_FILE", file("jwt", "pod-jwt\n")),
        ("AWS_ROLE_ARN", arn.to_owned()),
    ];
    let ways: [(&[(&str, String)], &str); 3] = [
        (&[], keys),
        (&by_profile, "sasl.aws.profile = \"edge\""),
        (&by_identity, ""),
    ];
    for (environment, settings) in ways {
        let mut environment = environment.to_vec();
        environment.push(("AWS_ENDPOINT_URL_STS", format!("{}/", sts.url())));
        let lines = format!(
            "sasl.mechanism = \"OAUTHBEARER\"\nsasl.oauthbearer.method = \"aws-msk-iam\"\n\
             sasl.aws.region = \"eu-west-1\"\nhttps.ca.location = {:?}\n{settings}",
            kafka.pki().ca
        );
        run_daemon(&environment, &lines);
    }
}

#[test]
fn kafka_3_9_takes_every_login_as_the_newest_does() {
    let kafka = Kafka::builder().version(Version::V3_9).start().unwrap();
    let token = kafka.issuer().token("alice", HOUR);
    let password = |mechanism| sasl(mechanism, inline("alice-secret"));
    let logins = [
        ("v39-plain", password(SaslMechanism::Plain)),
        ("v39-256", password(SaslMechanism::ScramSha256)),
        ("v39-512", password(SaslMechanism::ScramSha512)),
        ("v39-bearer", bearer(TokenSource::Given(inline(&token)))),
    ];
    let mut config = at(&kafka, Listener::SaslSsl);
    config.tls = trusted(&kafka);
    for (name, login) in logins {
        config.sasl = login;
        delivers(&kafka, name, &config);
    }
    let certificate = TlsIdentity {
        certificate: PemSource::File(kafka.pki().client.certificate.clone()),
        key: PemSource::File(kafka.pki().client.key.clone()),
        key_password: None,
    };
    for (name, listener, login) in [
        ("v39-certificate", Listener::Mtls, None),
        (
            "v39-certificate-512",
            Listener::MtlsSasl,
            password(SaslMechanism::ScramSha512),
        ),
    ] {
        let mut config = at(&kafka, listener);
        config.tls = trusted(&kafka);
        if let Some(tls) = &mut config.tls {
            tls.identity = Some(certificate.clone());
        }
        config.sasl = login;
        delivers(&kafka, name, &config);
    }
}

#[test]
fn aws_credentials_come_from_environment_profile_container_and_instance() {
    let keys = r#"{"AccessKeyId":"AKIAEXAMPLE","SecretAccessKey":"canary/secret+key",
                   "Token":"canary-session=","Expiration":"2099-01-01T00:00:00Z"}"#;
    let host = Server::start(None, move |ask| {
        let session = ask.header("x-aws-ec2-metadata-token") == Some("the-session");
        let ttl = ask.header("x-aws-ec2-metadata-token-ttl-seconds").is_some();
        let path = "GET /latest/meta-data/iam/security-credentials/";
        match ask.line.as_str() {
            "GET /container" if ask.header("authorization") == Some("pod") => (200, keys.into()),
            "PUT /latest/api/token" if ttl => (200, "the-session".into()),
            line if line == path && session => (200, "edge-role".into()),
            line if line == format!("{path}edge-role") && session => (200, keys.into()),
            _ => (403, String::new()),
        }
    })
    .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let profile = folder.path().join("credentials");
    let text = "[edge]\naws_access_key_id = AKIAEXAMPLE\n\
                aws_secret_access_key = canary/secret+key\naws_session_token = canary-session=\n";
    std::fs::write(&profile, text).unwrap();
    let profile = profile.display().to_string();
    let token = folder.path().join("pod-token");
    std::fs::write(&token, "pod\n").unwrap();
    let token = token.display().to_string();
    let text = |text: &str| text.to_owned();
    let sources: [&[(&str, String)]; 5] = [
        &[
            ("AWS_ACCESS_KEY_ID", text("AKIAEXAMPLE")),
            ("AWS_SECRET_ACCESS_KEY", text("canary/secret+key")),
            ("AWS_SESSION_TOKEN", text("canary-session=")),
        ],
        &[
            ("AWS_SHARED_CREDENTIALS_FILE", profile),
            ("AWS_PROFILE", text("edge")),
        ],
        &[
            (
                "AWS_CONTAINER_CREDENTIALS_FULL_URI",
                format!("{}/container", host.url()),
            ),
            ("AWS_CONTAINER_AUTHORIZATION_TOKEN", text("pod")),
        ],
        &[
            (
                "AWS_CONTAINER_CREDENTIALS_FULL_URI",
                format!("{}/container", host.url()),
            ),
            ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", token),
        ],
        &[("AWS_EC2_METADATA_SERVICE_ENDPOINT", host.url())],
    ];
    for source in sources {
        let mut environment = source.to_vec();
        environment.push(("AWS_REGION", text("eu-west-1")));
        run_daemon(&environment, "sasl.mechanism = \"AWS_MSK_IAM\"");
    }
}

/// A daemon with this environment delivers ten events, and nowhere writes a secret down.
#[track_caller]
fn run_daemon(environment: &[(&str, String)], kafka: &str) {
    use spoolway_test_support::daemon::{Daemon, Journal};
    let mut builder = Daemon::builder(env!("CARGO_BIN_EXE_spoolway"))
        .bootstrap(&msk().address(Listener::SaslPlaintext).to_string())
        .topic("events")
        .ack("broker")
        .kafka("security.protocol = \"SASL_PLAINTEXT\"")
        .kafka("allow_sasl_plaintext = true")
        .root("[log]\nfilter = \"trace\"\nformat = \"text\"")
        .env("HOME", "/nonexistent")
        .env("KEY", "canary/secret+key");
    for (name, value) in environment {
        builder = builder.env(name, value);
    }
    for line in kafka.lines() {
        builder = builder.kafka(line);
    }
    let daemon = builder.start().unwrap();
    let mut writer = daemon.writer().unwrap();
    for number in 1..=10 {
        writer.send(&Journal::event(1, number)).unwrap();
    }
    writer.wait_acked(10).unwrap();
    keeps_to_itself(
        &daemon,
        &["canary", "role-secret", "role-session", "pod-jwt"],
    );
}

#[test]
fn a_wrong_authority_and_a_wrong_password_keep_the_queue_until_both_are_mended() {
    use spoolway_test_support::daemon::{Daemon, Journal};
    const WRONG: &str = "canary-wrong-horse";
    let kafka = Kafka::shared();
    let folder = tempfile::tempdir().unwrap();
    let password = secret_file(folder.path(), WRONG);
    let ca = folder.path().join("ca.pem");
    std::fs::copy(&kafka.pki().foreign_ca, &ca).unwrap();
    kafka.admin().create_topic("mended", 1, &[]).unwrap();
    kafka.admin().allow_produce("alice", "mended").unwrap();
    let daemon = Daemon::builder(env!("CARGO_BIN_EXE_spoolway"))
        .bootstrap(&kafka.address(Listener::SaslSsl).to_string())
        .topic("mended")
        .kafka("security.protocol = \"SASL_SSL\"")
        .kafka(&format!("ssl.ca.location = {ca:?}"))
        .kafka("sasl.mechanism = \"PLAIN\"")
        .kafka("sasl.username = \"alice\"")
        .kafka(&format!("sasl.password = {{ file = {password:?} }}"))
        .kafka("reconnect.backoff.max.ms = 200")
        .root("[log]\nfilter = \"trace\"")
        .start()
        .unwrap();
    let mut writer = daemon.writer().unwrap();
    for number in 1..=50 {
        writer.send(&Journal::event(1, number)).unwrap();
    }
    writer.wait_acked(50).unwrap();
    let until = |what: &str, done: &dyn Fn(&serde_json::Value) -> bool| {
        let waited = wait_for(PATIENCE, what, || {
            let status = daemon.status_json()?;
            anyhow::ensure!(!status.to_string().contains("canary"), "{status}");
            Ok(done(&status))
        });
        waited.unwrap();
    };
    let halted = |words: &'static str| {
        move |status: &serde_json::Value| {
            let told = status["kafka"]["halted"].as_str();
            told.is_some_and(|told| told.contains(words)) && status["ledger"]["in_spool"] == 50
        }
    };
    until("the authority", &halted("signed by an unknown authority"));
    std::fs::copy(&kafka.pki().ca, &ca).unwrap();
    until(
        "the password",
        &halted("check sasl.username and sasl.password"),
    );
    secret_file(folder.path(), "alice-secret");
    until("delivery", &|status| status["ledger"]["delivered"] == 50);
    until("no complaint is left", &|status| {
        status["kafka"]["halted"].is_null()
    });
    let shown = daemon.command("status").output().unwrap();
    let shown = String::from_utf8(shown.stdout).unwrap();
    assert!(
        shown.contains("certificate broker") && shown.contains("days_left=36"),
        "{shown}"
    );
    assert_eq!(kafka.admin().read_all("mended").unwrap().len(), 50);
    for secret in [WRONG, "alice-secret"] {
        search(daemon.folder(), secret);
    }
    let check = daemon.command("check").output().unwrap();
    let check = String::from_utf8(check.stdout).unwrap();
    assert!(check.contains("CN=Spoolway test CA, good until"), "{check}");
}
