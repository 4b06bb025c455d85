//! What a certificate says about itself: whose it is, and how long it is good.
//!
//! For `check`, `status` and error texts. Verifies no signature and decides no trust.

use std::time::{SystemTime, UNIX_EPOCH};

use x509_cert::Certificate;
use x509_cert::der::Decode;

use super::{PemSource, TlsConfig};

/// What it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// Subject as RFC 4514 writes it, e.g. `CN=broker-1,O=Example`.
    pub subject: String,
    /// Not good before.
    pub not_before: SystemTime,
    /// Not good after.
    pub not_after: SystemTime,
    /// Issuer and subject are the same.
    pub self_signed: bool,
}

/// The bytes are no X.509 certificate.
#[derive(Debug, thiserror::Error)]
#[error("not an X.509 certificate: {0}")]
pub struct NotACertificate(x509_cert::der::Error);

impl Facts {
    /// Reads a certificate in DER.
    ///
    /// # Errors
    /// When the bytes are no certificate, or one with more behind it.
    pub fn of(der: &[u8]) -> Result<Self, NotACertificate> {
        let parsed = Certificate::from_der(der).map_err(NotACertificate)?;
        let inner = parsed.tbs_certificate;
        Ok(Self {
            subject: inner.subject.to_string(),
            not_before: UNIX_EPOCH + inner.validity.not_before.to_unix_duration(),
            not_after: UNIX_EPOCH + inner.validity.not_after.to_unix_duration(),
            self_signed: inner.subject == inner.issuer,
        })
    }
}

/// Every certificate that `config` names and that can be read, with the key that names it.
pub fn configured(config: &TlsConfig) -> Vec<(&'static str, Facts)> {
    let ours = config.identity.as_ref().map(|i| &i.certificate);
    let named = [
        ("ssl.ca.location", config.ca.as_ref()),
        ("ssl.certificate.location", ours),
    ];
    let mut found = Vec::new();
    for (key, source) in named {
        let Some(Ok(certificates)) = source.map(PemSource::certificates) else {
            continue;
        };
        let facts = certificates.iter().filter_map(|der| Facts::of(der).ok());
        found.extend(facts.map(|facts| (key, facts)));
    }
    found
}

/// A time as it is shown: RFC 3339, UTC, seconds.
pub fn in_words(time: SystemTime) -> String {
    humantime::format_rfc3339_seconds(time).to_string()
}
