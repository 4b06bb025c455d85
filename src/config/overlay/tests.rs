//! A Java file and a Java login as the configuration sees them.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use crate::config::sasl::PasswordLogin;
use crate::config::{
    Compression, Context, Loaded, Report, SaslConfig, SaslMechanism, SecretSource, from_text,
};

const JAVA: &str = "# from the Kafka team\n\
    bootstrap.servers=k1:9092,\\\n  k2:9092\n\
    security.protocol=SASL_SSL\n\
    sasl.mechanism : SCRAM-SHA-512\n\
    sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required \\\n\
    \x20 username=\"alice\" \\\n  password=\"canary-\\u0031\";\n\
    linger.ms=20 \ncompression.type=zstd\ncompression.zstd.level=7\nacks=-1\n\
    key.serializer=org.apache.kafka.common.serialization.StringSerializer\n\
    value.serializer=org.apache.kafka.common.serialization.ByteArraySerializer\n\
    retries=2147483647\nmax.in.flight.requests.per.connection=3\n\
    group.id=readers\nsession.timeout.ms=45000\nschema.registry.url=http://s\n";

/// A configuration whose `[kafka]` is `java` as a file, with `lines` beside it.
fn load(java: &str, mode: u32, lines: &str) -> (tempfile::TempDir, Result<Loaded, Report>) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("client.properties");
    fs::write(&path, java).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    let text = format!(
        "[spool]\ndir = \"/s\"\n[[input]]\nname = \"a\"\ntype = \"unix\"\npath = \"/a\"\n\
         [[route]]\ntopic = \"t\"\n[kafka]\nproperties_file = \"{}\"\n{lines}\n",
        path.display()
    );
    let loaded = from_text(&text, "main.toml", &Context::default());
    (dir, loaded)
}

fn login(sasl: Option<SaslConfig>) -> PasswordLogin {
    match sasl {
        Some(SaslConfig::Password(login)) => login,
        other => panic!("{other:?}"),
    }
}

fn refusal(java: &str, lines: &str) -> String {
    let (_dir, loaded) = load(java, 0o600, lines);
    loaded.expect_err("this has to be refused").to_string()
}

#[test]
fn a_java_file_is_taken_whole_and_the_table_wins() {
    let (_dir, loaded) = load(JAVA, 0o600, "queue.buffering.max.ms = 7");
    let loaded = loaded.unwrap_or_else(|report| panic!("{report}"));
    let kafka = loaded.config.kafka;
    assert_eq!(kafka.bootstrap.len(), 2);
    assert_eq!(kafka.linger, Duration::from_millis(7));
    assert_eq!(kafka.compression, Compression::Zstd(7));
    assert_eq!(kafka.max_in_flight, 3);
    assert!(kafka.tls.is_some());
    let sasl = login(kafka.sasl);
    assert_eq!(sasl.mechanism, SaslMechanism::ScramSha512);
    assert_eq!(sasl.username, "alice");
    let SecretSource::Inline(password) = sasl.password else {
        panic!("the password stands in the file");
    };
    assert_eq!(password.expose(), "canary-1");
    let warnings = loaded.warnings.to_string();
    for part in [
        "client.properties:17:1: warning: [kafka] group.id: is not used",
        "session.timeout.ms: is not used, because it is for consumers",
        "schema.registry.url: is not used",
    ] {
        assert!(warnings.contains(part), "{part} is not in {warnings}");
    }
    assert_eq!(loaded.warnings.diagnostics.len(), 3, "{warnings}");
    assert!(!warnings.contains("canary"));
}

#[test]
fn mistakes_in_the_file_name_its_line_and_no_secret() {
    let text = refusal("bootstrap.servers=k:1\nlinger.mss=5\n", "");
    assert!(
        text.contains("client.properties:2:1: error: [kafka] linger.mss"),
        "{text}"
    );
    assert!(text.contains("did you mean linger.ms?"), "{text}");
    let text = refusal("bootstrap.servers=k:1\nacks=1\n", "");
    assert!(
        text.contains("client.properties:2:1: error: [kafka] acks"),
        "{text}"
    );
    let text = refusal("sasl.password=canary\\u12\n", "bootstrap.servers = \"k:1\"");
    assert!(
        text.contains("client.properties:1:1") && !text.contains("canary"),
        "{text}"
    );
    let text = refusal("interceptor.classes=X\nbootstrap.servers=k:1\n", "");
    assert!(text.contains("it names Java code"), "{text}");
    let text = refusal(
        "linger.ms=5\nqueue.buffering.max.ms=6\nbootstrap.servers=k:1",
        "",
    );
    assert!(text.contains("means the same as linger.ms"), "{text}");
}

#[test]
fn the_same_setting_twice_with_the_same_value_is_no_contradiction() {
    let java = "bootstrap.servers=k:1\nlinger.ms=5\nqueue.buffering.max.ms=5\n";
    let (_dir, loaded) = load(java, 0o600, "");
    assert_eq!(
        loaded.unwrap().config.kafka.linger,
        Duration::from_millis(5)
    );
}

#[test]
fn a_file_with_a_secret_that_others_can_read_is_warned_about() {
    let (_dir, loaded) = load(JAVA, 0o644, "");
    let warnings = loaded.unwrap().warnings.to_string();
    assert!(
        warnings.contains("other users can read it; run chmod 600"),
        "{warnings}"
    );
    let (_dir, loaded) = load("bootstrap.servers=k:1\n", 0o644, "");
    assert!(loaded.unwrap().warnings.diagnostics.is_empty());
}

#[test]
fn a_missing_file_is_named() {
    let (dir, _) = load("", 0o600, "");
    drop(dir);
    let text = "[kafka]\nproperties_file = \"/nowhere/c.properties\"\n";
    let report = from_text(text, "main.toml", &Context::default()).unwrap_err();
    let text = report.to_string();
    assert!(
        text.contains("main.toml:2:19: error: [kafka] properties_file: /nowhere/c"),
        "{text}"
    );
}

#[test]
fn a_jaas_login_stands_for_user_and_password_and_contradictions_are_refused() {
    const PLAIN: &str = "org.apache.kafka.common.security.plain.PlainLoginModule required \
        username='bob' password='canary' serviceName='x';";
    let lines = |mechanism: &str, more: &str| {
        format!(
            "bootstrap.servers = \"k:1\"\nsasl.mechanism = \"{mechanism}\"\n\
             sasl.jaas.config = \"{PLAIN}\"\n{more}"
        )
    };
    let (_dir, loaded) = load("", 0o600, &lines("PLAIN", ""));
    let loaded = loaded.unwrap();
    assert_eq!(login(loaded.config.kafka.sasl).username, "bob");
    let warnings = loaded.warnings.to_string();
    assert!(
        warnings.contains("option serviceName is not used"),
        "{warnings}"
    );
    for (lines, part) in [
        (
            lines("SCRAM-SHA-256", ""),
            "is not that of sasl.mechanism, SCRAM-SHA-256",
        ),
        (
            lines("PLAIN", "sasl.username = \"x\""),
            "says the same as sasl.username",
        ),
        (
            lines("PLAIN", "").replace(";", ""),
            "does not end with a semicolon",
        ),
    ] {
        let text = refusal("", &lines);
        assert!(text.contains(part) && !text.contains("canary"), "{text}");
    }
    // The table wins over a login in the file.
    let (_dir, loaded) = load(JAVA, 0o600, "sasl.username = \"carol\"");
    assert_eq!(login(loaded.unwrap().config.kafka.sasl).username, "carol");
}

/// As Confluent's pages have it for a Java client with an identity provider.
#[test]
fn a_java_file_with_client_credentials_and_extensions_is_taken_whole() {
    let module = "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule";
    let java = |options: &str| {
        format!(
            "bootstrap.servers=k:1\nsecurity.protocol=SASL_SSL\nsasl.mechanism=OAUTHBEARER\n\
             sasl.oauthbearer.token.endpoint.url=https://idp.example/token\n\
             sasl.login.callback.handler.class=org.apache.kafka.common.security.oauthbearer.\
             secured.OAuthBearerLoginCallbackHandler\n\
             sasl.jaas.config={module} required clientId='edge' clientSecret='canary' \
             scope='kafka' {options};\n"
        )
    };
    let extensions = "extension_logicalCluster='lkc-1' extension_identityPoolId='pool-1,pool-2'";
    let (_dir, loaded) = load(&java(extensions), 0o600, "");
    let loaded = loaded.unwrap_or_else(|report| panic!("{report}"));
    assert!(
        loaded.warnings.diagnostics.is_empty(),
        "{}",
        loaded.warnings
    );
    let Some(SaslConfig::Bearer(bearer)) = loaded.config.kafka.sasl else {
        panic!("no bearer login");
    };
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let expected = [
        pair("logicalCluster", "lkc-1"),
        pair("identityPoolId", "pool-1,pool-2"),
    ];
    assert_eq!(bearer.extensions, expected);
    // The table wins over the file.
    let lines = "sasl.oauthbearer.extensions = \"logicalCluster=lkc-2\"";
    let (_dir, loaded) = load(&java(extensions), 0o600, lines);
    match loaded.unwrap().config.kafka.sasl {
        Some(SaslConfig::Bearer(bearer)) => {
            assert_eq!(bearer.extensions, [pair("logicalCluster", "lkc-2")]);
        }
        other => panic!("{other:?}"),
    }
    for (options, words) in [
        ("extension_auth='x'", "is no extension"),
        ("extension_a='1,b=2'", "looks like several extensions"),
    ] {
        let text = refusal(&java(options), "");
        assert!(text.contains(words) && !text.contains("canary"), "{text}");
    }
}

/// As the pages of Amazon MSK have it.
#[test]
fn a_java_file_with_the_login_module_of_aws_is_taken_whole() {
    let java = "bootstrap.servers=b-1.x.kafka.eu-west-1.amazonaws.com:9098\n\
        security.protocol=SASL_SSL\nsasl.mechanism=AWS_MSK_IAM\n\
        sasl.jaas.config=software.amazon.msk.auth.iam.IAMLoginModule required \
        awsRoleArn=\"arn:aws:iam::1:role/edge\" awsStsRegion=\"eu-west-1\";\n\
        sasl.client.callback.handler.class=\
        software.amazon.msk.auth.iam.IAMClientCallbackHandler\n";
    let (_dir, loaded) = load(java, 0o600, "");
    let loaded = loaded.unwrap_or_else(|report| panic!("{report}"));
    match loaded.config.kafka.sasl {
        Some(SaslConfig::Aws(aws)) => {
            assert_eq!(aws.role.unwrap().arn, "arn:aws:iam::1:role/edge");
        }
        other => panic!("{other:?}"),
    }
    let warnings = loaded.warnings.to_string();
    assert!(
        warnings.contains("option awsStsRegion is not used"),
        "{warnings}"
    );
}
