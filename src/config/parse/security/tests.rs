//! TLS and SASL: what is accepted, contradictions, and that no secret is ever printed.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::config::sasl::{AwsCarrier, TokenSource};
use crate::config::*;

const CANARY: &str = "canary-hunter2";

fn with_kafka(lines: &str, context: &Context) -> Result<Loaded, Report> {
    let text = format!(
        "[spool]\ndir = \"/s\"\n[[input]]\nname = \"app\"\ntype = \"unix\"\npath = \"/r/s\"\n\
         [[route]]\ntopic = \"t\"\n[kafka]\nbootstrap.servers = \"k:9092\"\n{lines}\n"
    );
    from_text(&text, "f.toml", context)
}

fn load(lines: &str) -> Result<Loaded, Report> {
    with_kafka(lines, &Context::default())
}

fn sasl(protocol: &str, password: &str) -> String {
    format!(
        "security.protocol = \"{protocol}\"\nsasl.mechanism = \"SCRAM-SHA-512\"\n\
         sasl.username = \"edge\"\nsasl.password = {password}"
    )
}

#[test]
fn sasl_over_tls_reads_each_kind_of_password_source() {
    for (password, source) in [
        ("{ file = \"/p\" }", SecretSource::File("/p".into())),
        ("{ env = \"P\" }", SecretSource::Env("P".into())),
        (
            "{ credential = \"p\" }",
            SecretSource::Credential("p".into()),
        ),
        ("\"p\"", SecretSource::Inline(Secret::new("p".into()))),
    ] {
        let kafka = load(&sasl("SASL_SSL", password)).unwrap().config.kafka;
        let Some(SaslConfig::Password(login)) = kafka.sasl else {
            panic!("SASL is on");
        };
        assert_eq!(
            (login.mechanism, login.password),
            (SaslMechanism::ScramSha512, source)
        );
        assert!(kafka.tls.is_some_and(|tls| tls.verify_hostname));
    }
}

#[test]
fn a_password_source_has_to_be_exactly_one_that_is_known() {
    for password in [
        "{}",
        "{ file = \"a\", env = \"b\" }",
        "{ fil = \"a\" }",
        "7",
        "{ credential = \"../x\" }",
        "[\"canary-hunter2\"]",
    ] {
        let text = load(&sasl("SASL_SSL", password)).unwrap_err().to_string();
        assert!(
            text.contains("sasl.password") && !text.contains(CANARY),
            "{password}: {text}"
        );
    }
}

#[test]
fn sasl_without_encryption_needs_the_allow_flag_and_is_warned_about() {
    let lines = sasl("SASL_PLAINTEXT", "\"p\"");
    let text = load(&lines).unwrap_err().to_string();
    assert!(text.contains("allow_sasl_plaintext = true"), "{text}");
    let loaded = load(&format!("{lines}\nallow_sasl_plaintext = true")).unwrap();
    assert!(loaded.config.kafka.sasl.is_some() && loaded.config.kafka.tls.is_none());
    assert!(loaded.warnings.to_string().contains("unencrypted"));
}

#[test]
fn tls_is_on_unless_it_is_switched_off_by_name() {
    let kafka = load("").unwrap().config.kafka;
    let tls = kafka.tls.expect("TLS without a word about it");
    assert!(tls.verify_hostname && tls.verify_certificate && kafka.sasl.is_none());
    let login = sasl("SASL_SSL", "\"p\"");
    let (_, login) = login.split_once('\n').unwrap();
    let kafka = load(login).unwrap().config.kafka;
    assert!(kafka.tls.is_some() && kafka.sasl.is_some());
    let kafka = load("security.protocol = \"PLAINTEXT\"")
        .unwrap()
        .config
        .kafka;
    assert!(kafka.tls.is_none() && kafka.sasl.is_none());
}

#[test]
fn unverified_certificates_are_warned_about_loudly() {
    let off = "enable.ssl.certificate.verification = false";
    let loaded = load(off).unwrap();
    assert!(!loaded.config.kafka.tls.unwrap().verify_certificate);
    let warnings = loaded.warnings.to_string();
    assert!(
        warnings.contains("CERTIFICATES ARE NOT VERIFIED"),
        "{warnings}"
    );
    let on = "enable.ssl.certificate.verification = true";
    let loaded = load(on).unwrap();
    assert!(loaded.config.kafka.tls.unwrap().verify_certificate);
    assert!(load(&format!("security.protocol = \"PLAINTEXT\"\n{on}")).is_ok());
    assert!(load(&format!("security.protocol = \"PLAINTEXT\"\n{off}")).is_err());
    assert!(load("enable.ssl.certificate.verification = \"perhaps\"").is_err());
}

#[test]
fn pem_is_taken_as_text_and_never_printed() {
    let text = format!(
        "ssl.ca.pem = \"MIIB\"\nssl.certificate.pem = \"MIIB\"\nssl.key.pem = \"{CANARY}\"\n\
         ssl.key.password = \"{CANARY}\""
    );
    let loaded = load(&text).unwrap();
    let identity = loaded.config.kafka.tls.clone().unwrap().identity.unwrap();
    assert!(matches!(identity.key, PemSource::Text(_)) && identity.key_password.is_some());
    assert!(!format!("{loaded:?}").contains(CANARY));
    let probing = Context {
        probe_files: true,
        ..Context::default()
    };
    let report = with_kafka(&text, &probing).unwrap_err();
    let words = report.to_string();
    assert!(
        words.contains("the text holds no private key") && !words.contains(CANARY),
        "{words}"
    );
    let twice = "ssl.ca.pem = \"x\"\nssl.ca.location = \"/x\"";
    assert!(load(twice).unwrap_err().to_string().contains("twice"));
}

#[test]
fn settings_of_a_layer_that_is_switched_off_are_refused() {
    let plain = "security.protocol = \"PLAINTEXT\"\nssl.ca.location = \"/ca.pem\"";
    let text = load(plain).unwrap_err().to_string();
    assert!(
        text.contains("needs TLS, which security.protocol leaves out"),
        "{text}"
    );
    let text = load(&sasl("SSL", "\"canary-hunter2\""))
        .unwrap_err()
        .to_string();
    assert_eq!(text.matches("needs SASL").count(), 3, "{text}");
    assert!(!text.contains(CANARY));
    let text = load("security.protocol = \"SASL_SSL\"")
        .unwrap_err()
        .to_string();
    assert_eq!(text.matches("is missing").count(), 3, "{text}");
}

#[test]
fn host_names_are_verified_unless_switched_off_with_a_loud_warning() {
    let ssl = "security.protocol = \"SSL\"\nssl.endpoint.identification.algorithm = ";
    let loaded = load(&format!("{ssl}\"\"")).unwrap();
    assert!(
        loaded
            .config
            .kafka
            .tls
            .is_some_and(|tls| !tls.verify_hostname)
    );
    assert!(
        loaded
            .warnings
            .to_string()
            .contains("HOST NAMES ARE NOT VERIFIED")
    );
    let loaded = load(&format!("{ssl}\"https\"")).unwrap();
    assert!(
        loaded
            .config
            .kafka
            .tls
            .is_some_and(|tls| tls.verify_hostname)
    );
    assert!(load(&format!("{ssl}\"httpss\"")).is_err());
}

#[test]
fn a_client_certificate_needs_both_parts_or_one_pem_keystore() {
    let tls = |lines: &str| load(&format!("security.protocol = \"SSL\"\n{lines}"));
    let both = "ssl.certificate.location = \"/c.pem\"\nssl.key.location = \"/k.pem\"";
    assert!(
        tls(both)
            .unwrap()
            .config
            .kafka
            .tls
            .unwrap()
            .identity
            .is_some()
    );
    let identity = tls("ssl.keystore.location = \"/both.pem\"\nssl.keystore.type = \"PEM\"")
        .unwrap()
        .config
        .kafka
        .tls
        .unwrap()
        .identity
        .unwrap();
    assert_eq!(identity.key, identity.certificate);
    assert!(tls("ssl.key.location = \"/k.pem\"").is_err());
    assert!(tls("ssl.certificate.location = \"/c.pem\"").is_err());
    assert!(tls(&format!("{both}\nssl.keystore.location = \"/b.pem\"")).is_err());
    let text = tls("ssl.truststore.location = \"/t.jks\"")
        .unwrap_err()
        .to_string();
    assert!(text.contains("convert it to PEM"), "{text}");
}

#[test]
fn probing_names_files_that_are_missing_exposed_or_no_pem() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, content: &str, mode| {
        let path = dir.path().join(name);
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path.display().to_string()
    };
    let password = file("password", CANARY, 0o644);
    let nonsense = file("ca.pem", CANARY, 0o644);
    let lines = format!(
        "{}\nssl.ca.location = \"{nonsense}\"\nssl.key.location = \"{nonsense}\"\n\
         ssl.certificate.location = \"/does/not/exist.pem\"",
        sasl("SASL_SSL", &format!("{{ file = \"{password}\" }}"))
    );
    assert!(load(&lines).is_ok(), "without probing no file is touched");
    let probing = Context {
        probe_files: true,
        ..Context::default()
    };
    let report = with_kafka(&lines, &probing).unwrap_err();
    let text = report.to_string();
    for part in [
        "f.toml:14:",
        "chmod 600",
        "f.toml:15:",
        "holds no certificate in PEM format",
        "holds no private key in PEM format",
        "cannot read /does/not/exist.pem",
    ] {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
    assert!(!text.contains(CANARY) && !format!("{report:?}").contains(CANARY));
}

#[test]
fn a_credential_that_only_the_unit_sees_is_a_warning_and_an_unset_variable_a_mistake() {
    let probing = Context {
        probe_files: true,
        ..Context::default()
    };
    let of = |source: &str| {
        let key = format!("ssl.certificate.pem = \"MIIB\"\nssl.key.pem = {source}");
        [sasl("SASL_SSL", source), key].map(|lines| with_kafka(&lines, &probing))
    };
    let [password, key] = of("{ credential = \"absent\" }");
    let told = password.unwrap().warnings.to_string();
    assert!(told.contains("not looked at: credential"), "{told}");
    let told = key.unwrap_err().to_string();
    assert!(told.contains("warning: [kafka] ssl.key.pem"), "{told}");
    assert!(!told.contains("error: [kafka] ssl.key"), "{told}");
    let [password, ..] = of("{ env = \"SPOOLWAY_TEST_IS_NOT_SET\" }");
    assert!(password.is_err());
}

#[test]
fn an_inline_password_is_never_printed_and_warned_about_in_an_open_file() {
    let exposed = Context {
        text_exposed: true,
        ..Context::default()
    };
    let password = format!("\"{CANARY}\"");
    let loaded = with_kafka(&sasl("SASL_SSL", &password), &exposed).unwrap();
    assert!(loaded.warnings.to_string().contains("other users can read"));
    assert!(!format!("{loaded:?}").contains(CANARY));
    for wrong in [
        "sasl.pasword",
        "ssl.key.pasword",
        "sasl.password.x",
        "password",
    ] {
        let text = load(&format!("{wrong} = \"{CANARY}\""))
            .unwrap_err()
            .to_string();
        assert!(!text.contains(CANARY), "{text}");
    }
}

fn login(lines: &str) -> Result<SaslConfig, String> {
    let loaded = load(lines).map_err(|report| report.to_string())?;
    Ok(loaded.config.kafka.sasl.expect("a login"))
}

#[test]
fn a_bearer_token_comes_from_a_secret_a_file_url_or_an_endpoint() {
    let with = |lines: &str| login(&format!("sasl.mechanism = \"OAUTHBEARER\"\n{lines}"));
    let token = |login| match login {
        Ok(SaslConfig::Bearer(bearer)) => bearer.token,
        other => panic!("{other:?}"),
    };
    let file = TokenSource::Given(SecretSource::File("/run/token".into()));
    let secret = "sasl.oauthbearer.access.token = { file = \"/run/token\" }";
    assert_eq!(token(with(secret)), file);
    let url = "sasl.oauthbearer.token.endpoint.url = \"file:///run/token\"";
    assert_eq!(token(with(url)), file);
    let client = "sasl.oauthbearer.token.endpoint.url = \"https://idp/token\"\n\
                  sasl.oauthbearer.client.id = \"edge\"\nsasl.oauthbearer.scope = \"kafka\"\n\
                  sasl.oauthbearer.client.secret = { env = \"S\" }\n\
                  sasl.oauthbearer.extensions = \"logicalCluster=lkc-1, \
                  identityPoolId=pool-2, pool-3\"";
    match with(client) {
        Ok(SaslConfig::Bearer(bearer)) => {
            assert_eq!(
                bearer.extensions[1],
                ("identityPoolId".into(), "pool-2,pool-3".into())
            );
            assert!(matches!(bearer.token, TokenSource::Oidc(oidc) if oidc.client_id == "edge"));
        }
        other => panic!("{other:?}"),
    }
    for (wrong, words) in [
        ("", "is missing"),
        (&*client.replace("https", "http"), "no https:// address"),
        (
            &*client.replace("logicalCluster=", "auth="),
            "is no extension",
        ),
        (
            &*format!("{secret}\nsasl.username = \"u\""),
            "goes with sasl.mechanism",
        ),
        (
            &*client.replace("sasl.oauthbearer.client.id", "#"),
            "client.id: is missing",
        ),
    ] {
        let text = with(wrong).unwrap_err();
        assert!(text.contains(words), "{wrong}: {text}");
    }
}

#[test]
fn aws_credentials_go_over_either_mechanism_and_are_whole_or_absent() {
    let keys = "sasl.aws.access.key.id = \"AKIA\"\n\
                sasl.aws.secret.access.key = { env = \"S\" }\n\
                sasl.aws.role.arn = \"arn:aws:iam::1:role/edge\"";
    for (mechanism, carrier) in [
        ("AWS_MSK_IAM", AwsCarrier::Payload),
        ("OAUTHBEARER", AwsCarrier::Token),
    ] {
        let Ok(SaslConfig::Aws(aws)) = login(&format!("sasl.mechanism = \"{mechanism}\"\n{keys}"))
        else {
            panic!("{mechanism}");
        };
        assert_eq!(aws.carrier, carrier);
        assert_eq!(aws.keys.unwrap().id, "AKIA");
        assert_eq!(aws.role.unwrap().session_name, "spoolway");
    }
    let bare = login("sasl.mechanism = \"AWS_MSK_IAM\"").unwrap();
    assert!(matches!(bare, SaslConfig::Aws(aws) if aws.keys.is_none()));
    let method = "sasl.mechanism = \"OAUTHBEARER\"\nsasl.oauthbearer.method = \"aws-msk-iam\"";
    assert!(matches!(login(method).unwrap(), SaslConfig::Aws(_)));
    for (wrong, words) in [
        ("sasl.aws.access.key.id = \"A\"", "stands alone"),
        ("sasl.aws.role.arn = \"edge\"", "is not the ARN of a role"),
        ("sasl.aws.role.external.id = \"x\"", "add sasl.aws.role.arn"),
        ("sasl.aws.region = \"eu west\"", "has spaces"),
    ] {
        let text = login(&format!("sasl.mechanism = \"AWS_MSK_IAM\"\n{wrong}")).unwrap_err();
        assert!(text.contains(words), "{wrong}: {text}");
    }
}
