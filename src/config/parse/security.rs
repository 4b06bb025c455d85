//! The security part of `[kafka]`: TLS, SASL, and the files they need.
//!
//! Values of secrets are never put into a message.

use std::fs::File;
use std::io::Read;
use std::path::PathBuf;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use toml::Spanned;
use toml::de::DeValue;

use super::Context;
use crate::config::section::{Entry, Section};
use crate::config::{
    KafkaConfig, SaslConfig, SaslMechanism, Secret, SecretSource, TlsConfig, TlsIdentity,
};

/// The one property whose value may be a table.
pub(super) const PASSWORD: &str = "sasl.password";

const ALLOW_PLAINTEXT: &str = "allow_sasl_plaintext";

/// Largest PEM file read by a check, in bytes; system bundles have about 250 KiB.
const PEM_BYTES_MAX: u64 = 16 << 20;

/// `security.protocol`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Protocol {
    tls: bool,
    sasl: bool,
}

const PROTOCOLS: [(&str, Protocol); 4] = [
    (
        "PLAINTEXT",
        Protocol {
            tls: false,
            sasl: false,
        },
    ),
    (
        "SSL",
        Protocol {
            tls: true,
            sasl: false,
        },
    ),
    (
        "SASL_PLAINTEXT",
        Protocol {
            tls: false,
            sasl: true,
        },
    ),
    (
        "SASL_SSL",
        Protocol {
            tls: true,
            sasl: true,
        },
    ),
];

const MECHANISMS: [(&str, SaslMechanism); 3] = [
    ("PLAIN", SaslMechanism::Plain),
    ("SCRAM-SHA-256", SaslMechanism::ScramSha256),
    ("SCRAM-SHA-512", SaslMechanism::ScramSha512),
];

/// Reads every `ssl.*` and `sasl.*` property into `kafka`.
pub(super) fn read(section: &mut Section<'_, '_>, kafka: &mut KafkaConfig, context: &Context) {
    let text = section.text("security.protocol");
    let protocol = match &text {
        None => Some(Protocol {
            tls: false,
            sasl: false,
        }),
        Some(text) => section.choice_of("security.protocol", text, &PROTOCOLS),
    };
    let allowed = section.flag(ALLOW_PLAINTEXT, false);
    let tls = read_tls(section, protocol, context);
    let sasl = read_sasl(section, protocol, context);
    let Some(protocol) = protocol else { return };
    if protocol.sasl && !protocol.tls {
        let span = text.map_or(0..0, |text| text.span());
        let key = "security.protocol";
        if allowed {
            let what = "sends the password or its proof, and every event, unencrypted";
            section.caution(key, span, what, Some("use SASL_SSL".to_owned()));
        } else {
            let what = "SASL_PLAINTEXT shows logins and events to the network";
            let help = format!("use SASL_SSL, or accept it with {ALLOW_PLAINTEXT} = true");
            section.fault(key, span, what, Some(help));
        }
    }
    kafka.tls = tls.filter(|_| protocol.tls);
    kafka.sasl = sasl.filter(|_| protocol.sasl);
}

/// A key of a layer that `security.protocol` leaves out is a misunderstanding worth an
/// error: the user believes to be protected by it.
fn refuse_unused(section: &mut Section<'_, '_>, key: &str, entry: &Entry<'_>, layer: &str) {
    let what = format!("needs {layer}, which security.protocol leaves out");
    let help = if layer == "TLS" {
        "SSL or SASL_SSL"
    } else {
        "SASL_SSL"
    };
    let help = Some(format!(
        "set security.protocol = \"{help}\", or remove the line"
    ));
    section.fault(key, entry.key.clone(), &what, help);
}

fn read_tls(
    section: &mut Section<'_, '_>,
    protocol: Option<Protocol>,
    context: &Context,
) -> Option<TlsConfig> {
    const ALGORITHM: &str = "ssl.endpoint.identification.algorithm";
    let ca = section.take_alias("ssl.ca.location", &["ssl.truststore.location"]);
    let keystore = section.take("ssl.keystore.location");
    let chain = section.take("ssl.certificate.location");
    let key = section.take("ssl.key.location");
    let algorithm = section.take(ALGORITHM);
    if protocol.is_some_and(|p| !p.tls) {
        let given = [
            ("ssl.ca.location", &ca),
            ("ssl.keystore.location", &keystore),
            ("ssl.certificate.location", &chain),
            ("ssl.key.location", &key),
            (ALGORITHM, &algorithm),
        ];
        for (key, entry) in given {
            if let Some(entry) = entry {
                refuse_unused(section, key, entry, "TLS");
            }
        }
        return None;
    }
    let ca_file = ca.and_then(|entry| pem_path(section, "ssl.ca.location", &entry));
    if let Some(path) = ca_file.as_ref().filter(|_| context.probe_files) {
        probe_certificates(section, "ssl.ca.location", path);
    }
    let identity = read_identity(section, keystore, chain, key, context);
    let verify_hostname = algorithm.is_none_or(|entry| read_algorithm(section, ALGORITHM, &entry));
    Some(TlsConfig {
        ca_file: ca_file.map(Spanned::into_inner),
        identity,
        verify_hostname,
    })
}

fn read_algorithm(section: &mut Section<'_, '_>, key: &str, entry: &Entry<'_>) -> bool {
    let Some(text) = section.text_of(key, entry) else {
        return true;
    };
    let choices = [("https", true), ("", false), ("none", false)];
    let verify = section.choice_of(key, &text, &choices).unwrap_or(true);
    if !verify {
        let what = "HOST NAMES ARE NOT VERIFIED: anyone with a certificate of this CA can pose \
                    as a broker and take the events";
        section.caution(key, text.span(), what, Some("remove the line".to_owned()));
    }
    verify
}

/// A path to a PEM file; Java's own store formats are told apart by their usual names.
fn pem_path(
    section: &mut Section<'_, '_>,
    key: &str,
    entry: &Entry<'_>,
) -> Option<Spanned<PathBuf>> {
    let path = section.path_of(key, entry)?;
    let extension = path
        .get_ref()
        .extension()
        .and_then(|e| e.to_str())
        .unwrap_or_default();
    if ["jks", "p12", "pfx", "pkcs12"].contains(&extension.to_lowercase().as_str()) {
        let help = Some("convert it to PEM with keytool and openssl".to_owned());
        section.fault(
            key,
            path.span(),
            "is a Java or PKCS#12 store by its name",
            help,
        );
        return None;
    }
    Some(path)
}

/// A client certificate: two files, or one PEM keystore that holds both.
fn read_identity(
    section: &mut Section<'_, '_>,
    keystore: Option<Entry<'_>>,
    chain: Option<Entry<'_>>,
    key: Option<Entry<'_>>,
    context: &Context,
) -> Option<TlsIdentity> {
    const CHAIN: &str = "ssl.certificate.location";
    const KEY: &str = "ssl.key.location";
    let (chain, key) = match (keystore, chain, key) {
        (None, None, None) => return None,
        (Some(store), None, None) => (store.clone(), store),
        (None, Some(chain), Some(key)) => (chain, key),
        (Some(store), ..) => {
            let help = Some(format!("keep either it, or {CHAIN} and {KEY}"));
            section.fault(
                "ssl.keystore.location",
                store.key,
                "says the same twice",
                help,
            );
            return None;
        }
        (None, Some(only), None) => {
            let help = Some(format!("add {KEY}"));
            section.fault(CHAIN, only.key, "has no private key beside it", help);
            return None;
        }
        (None, None, Some(only)) => {
            let help = Some(format!("add {CHAIN}"));
            section.fault(KEY, only.key, "has no certificate beside it", help);
            return None;
        }
    };
    let certificate_file = pem_path(section, CHAIN, &chain)?;
    let key_file = pem_path(section, KEY, &key)?;
    if context.probe_files {
        probe_certificates(section, CHAIN, &certificate_file);
        probe_key(section, KEY, &key_file);
    }
    Some(TlsIdentity {
        certificate_file: certificate_file.into_inner(),
        key_file: key_file.into_inner(),
    })
}

fn read_sasl(
    section: &mut Section<'_, '_>,
    protocol: Option<Protocol>,
    context: &Context,
) -> Option<SaslConfig> {
    let mechanism = section.take_alias("sasl.mechanism", &["sasl.mechanisms"]);
    let username = section.take("sasl.username");
    let password = section.take(PASSWORD);
    if protocol.is_some_and(|p| !p.sasl) {
        let given = [
            ("sasl.mechanism", &mechanism),
            ("sasl.username", &username),
            (PASSWORD, &password),
        ];
        for (key, entry) in given {
            if let Some(entry) = entry {
                refuse_unused(section, key, entry, "SASL");
            }
        }
        return None;
    }
    let required = [
        (
            "sasl.mechanism",
            mechanism.is_none(),
            "set it, e.g. \"SCRAM-SHA-512\"",
        ),
        ("sasl.username", username.is_none(), "set it"),
        (
            PASSWORD,
            password.is_none(),
            "set it, e.g. { file = \"/etc/spoolway/password\" }",
        ),
    ];
    for (key, absent, help) in required {
        if absent && protocol.is_some() {
            section.absent(key, help);
        }
    }
    let mechanism = mechanism
        .and_then(|entry| section.text_of("sasl.mechanism", &entry))
        .and_then(|text| section.choice_of("sasl.mechanism", &text, &MECHANISMS));
    let username = username.and_then(|entry| section.text_of("sasl.username", &entry));
    let password = password.and_then(|entry| read_password(section, &entry, context));
    let username = username?.into_inner();
    Some(SaslConfig {
        mechanism: mechanism?,
        username,
        password: password?,
    })
}

fn read_password(
    section: &mut Section<'_, '_>,
    entry: &Entry<'_>,
    context: &Context,
) -> Option<SecretSource> {
    const HELP: &str = "write { file = \"..\" }, { env = \"..\" } or { credential = \"..\" }";
    let source = match entry.value.get_ref() {
        DeValue::String(text) => {
            if context.text_exposed {
                let what = "is written into a file that other users can read";
                section.caution(PASSWORD, entry.value.span(), what, Some(HELP.to_owned()));
            }
            SecretSource::Inline(Secret::new(text.to_string()))
        }
        DeValue::Table(table) => {
            let mut inner = Section::of(
                "[kafka] sasl.password",
                entry.key.clone(),
                table,
                section.sink,
            );
            let file = inner
                .path("file")
                .map(|path| SecretSource::File(path.into_inner()));
            let env = inner
                .text("env")
                .map(|name| SecretSource::Env(name.into_inner()));
            let credential = read_credential(&mut inner);
            inner.finish();
            let mut sources = [file, env, credential].into_iter().flatten();
            let (first, second) = (sources.next(), sources.next());
            if first.is_none() || second.is_some() {
                let what = "names no source, or more than one";
                section.fault(PASSWORD, entry.value.span(), what, Some(HELP.to_owned()));
                return None;
            }
            first?
        }
        _ => {
            section.wrong_type(PASSWORD, entry, HELP);
            return None;
        }
    };
    if context.probe_files
        && let Err(error) = source.read()
    {
        section.fault(PASSWORD, entry.value.span(), &error.to_string(), None);
    }
    Some(source)
}

/// A credential is a plain file name inside one directory, never a way out of it.
fn read_credential(section: &mut Section<'_, '_>) -> Option<SecretSource> {
    let name = section.text("credential")?;
    let text = name.get_ref();
    if text.is_empty() || text.contains(['/', '\0']) || text.starts_with('.') {
        let help = Some("use the name that LoadCredential= has before its colon".to_owned());
        section.fault(
            "credential",
            name.span(),
            "is not a credential's name",
            help,
        );
        return None;
    }
    Some(SecretSource::Credential(name.into_inner()))
}

fn read_pem(section: &mut Section<'_, '_>, key: &str, path: &Spanned<PathBuf>) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let opened = File::open(path.get_ref());
    let read = opened.and_then(|file| file.take(PEM_BYTES_MAX).read_to_end(&mut bytes));
    if let Err(error) = read {
        let what = format!("cannot read {}: {error}", path.get_ref().display());
        section.fault(key, path.span(), &what, None);
        return None;
    }
    Some(bytes)
}

fn probe_certificates(section: &mut Section<'_, '_>, key: &str, path: &Spanned<PathBuf>) {
    let Some(bytes) = read_pem(section, key, path) else {
        return;
    };
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    if !certificates.is_ok_and(|list| !list.is_empty()) {
        let what = format!("{} holds no PEM certificate", path.get_ref().display());
        section.fault(key, path.span(), &what, None);
    }
}

fn probe_key(section: &mut Section<'_, '_>, key: &str, path: &Spanned<PathBuf>) {
    let Some(bytes) = read_pem(section, key, path) else {
        return;
    };
    let bytes = zeroize::Zeroizing::new(bytes);
    if PrivateKeyDer::from_pem_slice(&bytes).is_err() {
        let what = format!(
            "{} holds no unencrypted PEM private key",
            path.get_ref().display()
        );
        section.fault(key, path.span(), &what, None);
    }
}
