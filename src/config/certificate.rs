//! What a certificate says about itself: whose it is, and how long it is good.
//!
//! For `check`, `status` and error texts. Verifies no signature and decides no trust.

use std::fmt::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

use x509_cert::Certificate;
use x509_cert::attr::AttributeTypeAndValue;
use x509_cert::der::asn1::ObjectIdentifier;
use x509_cert::der::{Decode, Encode, Tag, Tagged};
use x509_cert::name::RdnSequence;

use super::{PemSource, TlsConfig};

/// Short names of what a subject is made of: RFC 4514 section 3, and the address that private
/// authorities like to add. The crate's own table of all names takes 90 KB of the binary.
const NAMES: [(ObjectIdentifier, &str); 10] = [
    (ObjectIdentifier::new_unwrap("2.5.4.3"), "CN"),
    (ObjectIdentifier::new_unwrap("2.5.4.6"), "C"),
    (ObjectIdentifier::new_unwrap("2.5.4.7"), "L"),
    (ObjectIdentifier::new_unwrap("2.5.4.8"), "ST"),
    (ObjectIdentifier::new_unwrap("2.5.4.9"), "STREET"),
    (ObjectIdentifier::new_unwrap("2.5.4.10"), "O"),
    (ObjectIdentifier::new_unwrap("2.5.4.11"), "OU"),
    (
        ObjectIdentifier::new_unwrap("0.9.2342.19200300.100.1.1"),
        "UID",
    ),
    (
        ObjectIdentifier::new_unwrap("0.9.2342.19200300.100.1.25"),
        "DC",
    ),
    (
        ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.1"),
        "EMAILADDRESS",
    ),
];

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
            subject: name(&inner.subject),
            not_before: UNIX_EPOCH + inner.validity.not_before.to_unix_duration(),
            not_after: UNIX_EPOCH + inner.validity.not_after.to_unix_duration(),
            self_signed: inner.subject == inner.issuer,
        })
    }
}

/// RFC 4514, section 2: the last part comes first.
fn name(sequence: &RdnSequence) -> String {
    let parts = sequence.0.iter().rev().map(|part| {
        let attributes: Vec<String> = part.0.iter().map(attribute).collect();
        attributes.join("+")
    });
    parts.collect::<Vec<_>>().join(",")
}

fn attribute(attribute: &AttributeTypeAndValue) -> String {
    let AttributeTypeAndValue { oid, value } = attribute;
    let short = NAMES.iter().find(|(known, _)| known == oid);
    let key = short.map_or_else(|| oid.to_string(), |(_, name)| (*name).to_owned());
    let is_text = matches!(
        value.tag(),
        Tag::Utf8String | Tag::PrintableString | Tag::Ia5String | Tag::TeletexString
    );
    match std::str::from_utf8(value.value()) {
        Ok(text) if is_text => format!("{key}={}", escaped(text)),
        _ => {
            let mut hex = format!("{key}=#");
            for byte in value.to_der().unwrap_or_default() {
                let _ = write!(hex, "{byte:02x}");
            }
            hex
        }
    }
}

/// RFC 4514, section 2.4.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let last = text.len().saturating_sub(1);
    for (at, c) in text.char_indices() {
        match c {
            '"' | '+' | ',' | ';' | '<' | '>' | '\\' => out.extend(['\\', c]),
            '#' if at == 0 => out += "\\#",
            ' ' if at == 0 || at == last => out += "\\ ",
            c if c.is_ascii_control() => {
                let _ = write!(out, "\\{:02x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out
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

#[cfg(test)]
mod tests {
    use std::str::FromStr as _;

    use super::*;

    #[test]
    fn names_are_written_as_rfc_4514_has_them() {
        for text in [
            "CN=broker-1,O=Example",
            "UID=7+CN=ä\\,b\\+\\\\,OU=\\#1\\ ,STREET=x,L=y,ST=z,C=DE,DC=org",
            "EMAILADDRESS=ca@example.org,CN=\\ a b",
            "CN=a\\0ab\\7f",
            "2.5.4.5=#0201ff",
        ] {
            let parsed = RdnSequence::from_str(text).unwrap();
            let written = name(&parsed);
            assert_eq!(RdnSequence::from_str(&written).unwrap(), parsed);
            assert_eq!(written.len(), text.len(), "{written}");
        }
    }
}
