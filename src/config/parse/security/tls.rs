//! The `ssl.*` properties: whom we trust, who we are, and what is not verified.

use std::ops::Range;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use toml::Spanned;

use super::secret::read_secret;
use super::{Protocol, refuse_unused, versions};
use crate::config::certificate::{Facts, in_words};
use crate::config::parse::Context;
use crate::config::pem::{PemError, revocation_lists};
use crate::config::section::{Entry, Section};
use crate::config::{PemSource, SecretSource, TlsConfig, TlsIdentity};

const CA: &str = "ssl.ca.location";
const CA_TEXT: &str = "ssl.ca.pem";
const KEYSTORE: &str = "ssl.keystore.location";
const CHAIN: &str = "ssl.certificate.location";
const CHAIN_TEXT: &str = "ssl.certificate.pem";
const KEY: &str = "ssl.key.location";
const KEY_TEXT: &str = "ssl.key.pem";
const KEY_PASSWORD: &str = "ssl.key.password";
const REVOKED: &str = "ssl.crl.location";
const ALGORITHM: &str = "ssl.endpoint.identification.algorithm";
const VERIFY: &str = "enable.ssl.certificate.verification";

/// A certificate that ends within this time is worth a warning.
const ENDS_SOON: Duration = Duration::from_secs(14 * 24 * 60 * 60);

/// Every entry of this layer, as taken from the table.
struct Given<'a> {
    ca: Option<Entry<'a>>,
    ca_text: Option<Entry<'a>>,
    keystore: Option<Entry<'a>>,
    chain: Option<Entry<'a>>,
    chain_text: Option<Entry<'a>>,
    key: Option<Entry<'a>>,
    key_text: Option<Entry<'a>>,
    key_password: Option<Entry<'a>>,
    revoked: Option<Entry<'a>>,
    algorithm: Option<Entry<'a>>,
    verify: Option<Entry<'a>>,
    enabled: Option<Entry<'a>>,
    protocol: Option<Entry<'a>>,
}

impl<'a> Given<'a> {
    fn take(section: &mut Section<'a, '_>) -> Self {
        Self {
            ca: section.take_alias(CA, &["ssl.truststore.location"]),
            ca_text: section.take_alias(CA_TEXT, &["ssl.truststore.certificates"]),
            keystore: section.take(KEYSTORE),
            chain: section.take(CHAIN),
            chain_text: section.take_alias(CHAIN_TEXT, &["ssl.keystore.certificate.chain"]),
            key: section.take(KEY),
            key_text: section.take_alias(KEY_TEXT, &["ssl.keystore.key"]),
            key_password: section.take_alias(KEY_PASSWORD, &["ssl.keystore.password"]),
            revoked: section.take(REVOKED),
            algorithm: section.take(ALGORITHM),
            verify: section.take(VERIFY),
            enabled: section.take(versions::ENABLED),
            protocol: section.take(versions::PROTOCOL),
        }
    }

    fn named(&self) -> [(&'static str, &Option<Entry<'a>>); 13] {
        [
            (CA, &self.ca),
            (CA_TEXT, &self.ca_text),
            (KEYSTORE, &self.keystore),
            (CHAIN, &self.chain),
            (CHAIN_TEXT, &self.chain_text),
            (KEY, &self.key),
            (KEY_TEXT, &self.key_text),
            (KEY_PASSWORD, &self.key_password),
            (REVOKED, &self.revoked),
            (ALGORITHM, &self.algorithm),
            (VERIFY, &self.verify),
            (versions::ENABLED, &self.enabled),
            (versions::PROTOCOL, &self.protocol),
        ]
    }
}

/// Reads every `ssl.*` property.
pub(super) fn read(
    section: &mut Section<'_, '_>,
    protocol: Option<Protocol>,
    context: &Context,
) -> Option<TlsConfig> {
    let given = Given::take(section);
    if protocol.is_some_and(|p| !p.tls) {
        for (key, entry) in given.named() {
            // A line that asks for what is safe anyway asks for nothing here.
            let idle = key == VERIFY && is_true(entry.as_ref());
            if let Some(entry) = entry.as_ref().filter(|_| !idle) {
                refuse_unused(section, key, entry, "TLS");
            }
        }
        return None;
    }
    let versions = versions::read(section, given.enabled.as_ref(), given.protocol.as_ref());
    let ca = read_pem(section, (CA, given.ca), (CA_TEXT, given.ca_text), context);
    if let Some(ca) = ca.as_ref().filter(|_| context.probe_files) {
        probe_certificates(section, ca, CA);
    }
    let revoked = given.revoked.and_then(|e| section.path_of(REVOKED, &e));
    if let Some(path) = revoked.as_ref().filter(|_| context.probe_files)
        && let Err(error) = revocation_lists(path.get_ref())
    {
        section.fault(REVOKED, path.span(), &error.to_string(), None);
    }
    let chain = read_pem(
        section,
        (CHAIN, given.chain),
        (CHAIN_TEXT, given.chain_text),
        context,
    );
    let key = read_pem(
        section,
        (KEY, given.key),
        (KEY_TEXT, given.key_text),
        context,
    );
    let store = given.keystore.and_then(|e| pem_path(section, KEYSTORE, &e));
    let password = given
        .key_password
        .and_then(|entry| read_secret(section, KEY_PASSWORD, &entry, context));
    let identity = read_identity(section, store, chain, key, password, context);
    let verify_hostname = given
        .algorithm
        .is_none_or(|entry| read_algorithm(section, ALGORITHM, &entry));
    let verify_certificate = given
        .verify
        .is_none_or(|entry| read_verification(section, &entry));
    Some(TlsConfig {
        ca: ca.map(Spanned::into_inner),
        identity,
        verify_hostname,
        verify_certificate,
        crl_file: revoked.map(Spanned::into_inner),
        versions,
    })
}

fn is_true(entry: Option<&Entry<'_>>) -> bool {
    entry.is_some_and(|e| {
        let value = e.value.get_ref();
        value.as_bool() == Some(true) || value.as_str() == Some("true")
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

fn read_verification(section: &mut Section<'_, '_>, entry: &Entry<'_>) -> bool {
    let verify = is_true(Some(entry));
    let value = entry.value.get_ref();
    if !verify && value.as_bool() != Some(false) && value.as_str() != Some("false") {
        section.wrong_type(VERIFY, entry, "true or false");
        return true;
    }
    if !verify {
        let what = "CERTIFICATES ARE NOT VERIFIED: anyone on the way can pose as a broker and \
                    take the events and the login; for tests only";
        let help = "remove the line, and name the CA in ssl.ca.location";
        section.caution(VERIFY, entry.key.clone(), what, Some(help.to_owned()));
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

type Named<'a> = (&'static str, Option<Entry<'a>>);

/// PEM from a file, or as text in the configuration; not both.
fn read_pem(
    section: &mut Section<'_, '_>,
    (file_key, file): Named<'_>,
    (text_key, text): Named<'_>,
    context: &Context,
) -> Option<Spanned<PemSource>> {
    match (file, text) {
        (None, None) => None,
        (Some(entry), None) => {
            let path = pem_path(section, file_key, &entry)?;
            let span = path.span();
            Some(Spanned::new(span, PemSource::File(path.into_inner())))
        }
        (None, Some(entry)) => {
            // Certificates are no secret: only the key is worth the warning about its place.
            let open = Context {
                text_exposed: context.text_exposed && text_key == KEY_TEXT,
                ..context.clone()
            };
            let source = read_secret(section, text_key, &entry, &open)?;
            Some(Spanned::new(entry.value.span(), PemSource::Text(source)))
        }
        (Some(_), Some(entry)) => {
            let help = Some(format!("keep either it, or {file_key}"));
            section.fault(text_key, entry.key, "says the same twice", help);
            None
        }
    }
}

/// A client certificate: chain and key, or one PEM keystore that holds both.
fn read_identity(
    section: &mut Section<'_, '_>,
    keystore: Option<Spanned<PathBuf>>,
    chain: Option<Spanned<PemSource>>,
    key: Option<Spanned<PemSource>>,
    password: Option<SecretSource>,
    context: &Context,
) -> Option<TlsIdentity> {
    let (chain, key) = match (keystore, chain, key) {
        (None, None, None) => return None,
        (Some(store), None, None) => {
            let span = store.span();
            let both = Spanned::new(span, PemSource::File(store.into_inner()));
            (both.clone(), both)
        }
        (None, Some(chain), Some(key)) => (chain, key),
        (Some(store), ..) => {
            let help = Some(format!("keep either it, or {CHAIN} and {KEY}"));
            section.fault(KEYSTORE, store.span(), "says the same twice", help);
            return None;
        }
        (None, Some(only), None) => {
            let help = Some(format!("add {KEY} or {KEY_TEXT}"));
            section.fault(CHAIN, only.span(), "has no private key beside it", help);
            return None;
        }
        (None, None, Some(only)) => {
            let help = Some(format!("add {CHAIN} or {CHAIN_TEXT}"));
            section.fault(KEY, only.span(), "has no certificate beside it", help);
            return None;
        }
    };
    if context.probe_files {
        probe_certificates(section, &chain, CHAIN);
        if let Err(error) = key.get_ref().private_key(password.as_ref()) {
            unusable(section, KEY, key.span(), &error);
        }
    }
    Some(TlsIdentity {
        certificate: chain.into_inner(),
        key: key.into_inner(),
        key_password: password,
    })
}

/// Reads the certificates, and says which are out of their time or soon will be.
fn probe_certificates(section: &mut Section<'_, '_>, source: &Spanned<PemSource>, key: &str) {
    let found = source.get_ref().certificates();
    let facts: Result<Vec<Facts>, PemError> = found.map(|found| {
        let facts = found.iter().filter_map(|der| Facts::of(der).ok());
        facts.collect()
    });
    match facts {
        Err(error) => unusable(section, key, source.span(), &error),
        Ok(facts) => {
            for words in facts.iter().filter_map(|f| trouble(f, SystemTime::now())) {
                section.caution(key, source.span(), &words, None);
            }
        }
    }
}

/// A secret that cannot be read was told where it stands.
fn unusable(section: &mut Section<'_, '_>, key: &str, span: Range<usize>, error: &PemError) {
    if !matches!(error, PemError::Secret(_)) {
        section.fault(key, span, &error.to_string(), None);
    }
}

fn trouble(facts: &Facts, now: SystemTime) -> Option<String> {
    let Facts {
        subject,
        not_before,
        not_after,
        ..
    } = facts;
    if *not_after < now {
        return Some(format!("{subject} has expired on {}", in_words(*not_after)));
    }
    if *not_before > now {
        let start = in_words(*not_before);
        return Some(format!("{subject} is not valid before {start}"));
    }
    (*not_after < now + ENDS_SOON).then(|| format!("{subject} expires on {}", in_words(*not_after)))
}
