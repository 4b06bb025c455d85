//! Why there is no TLS session: the cause as a type, and the words for a person.
//!
//! The causes are told apart here once; `kafka test` and the log use the same words. Does
//! not verify anything itself.

use std::io;

use rustls::pki_types::InvalidDnsNameError;
use rustls::{AlertDescription, CertificateError};

use super::material::MaterialError;
use super::verify::SelfSigned;

/// Why there is no TLS session.
#[derive(Debug, thiserror::Error)]
pub(in crate::kafka) enum TlsFailure {
    #[error(transparent)]
    Material(#[from] MaterialError),
    #[error("TLS with {host}: {host} is not a host name: {source}")]
    Name {
        host: String,
        source: InvalidDnsNameError,
    },
    #[error("TLS with {host}: {cause}: {reason}")]
    Handshake {
        host: String,
        cause: TlsCause,
        reason: String,
    },
    #[error(
        "TLS with {host}: the connection ended in the handshake ({source}); if it stays so, \
             check the port and security.protocol"
    )]
    Io { host: String, source: io::Error },
    #[error("TLS set-up: {reason}")]
    Setup { reason: String },
}

impl TlsFailure {
    /// Whether only a person can mend it.
    pub(in crate::kafka) fn needs_person(&self) -> bool {
        !matches!(self, Self::Io { .. })
    }
}

/// What one side did not like about the other. `Display` says what to do about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(in crate::kafka) enum TlsCause {
    #[error("the broker's certificate is signed by an unknown authority; check ssl.ca.location")]
    UnknownIssuer,
    #[error(
        "the broker's certificate is self-signed; name that certificate in ssl.ca.location, \
             or have it signed by a CA"
    )]
    SelfSigned,
    #[error(
        "the broker's certificate is for another host name; use a name that it carries in \
             bootstrap.servers and advertised.listeners"
    )]
    WrongHost,
    #[error("the broker's certificate has expired; renew it, or mend this host's clock")]
    Expired,
    #[error("the broker's certificate is not valid yet; mend this host's clock")]
    NotYetValid,
    #[error("the broker's certificate is revoked by ssl.crl.location; give the broker another")]
    Revoked,
    #[error(
        "ssl.crl.location is not good for the broker's certificate; fetch the authority's \
             current list"
    )]
    RevocationList,
    #[error(
        "the broker refuses our certificate because it has expired; renew \
             ssl.certificate.location"
    )]
    OursExpired,
    #[error("the broker refuses our certificate because it is revoked; get another")]
    OursRevoked,
    #[error(
        "the broker refuses our certificate or its absence; check ssl.certificate.location \
             and ssl.key.location"
    )]
    OursRefused,
    #[error("the answer is not TLS; check the port and security.protocol")]
    NotTls,
    #[error("broker and client share no TLS version or cipher; the broker needs TLS 1.2 or 1.3")]
    Protocol,
    #[error("the handshake failed")]
    Other,
}

impl TlsCause {
    fn of(error: &rustls::Error) -> Self {
        match error {
            rustls::Error::InvalidCertificate(error) => Self::of_certificate(error),
            rustls::Error::InvalidCertRevocationList(_) => Self::RevocationList,
            rustls::Error::AlertReceived(alert) => Self::of_alert(*alert),
            rustls::Error::InvalidMessage(_) => Self::NotTls,
            rustls::Error::PeerIncompatible(_) => Self::Protocol,
            _ => Self::Other,
        }
    }

    fn of_certificate(error: &CertificateError) -> Self {
        match error {
            CertificateError::UnknownIssuer => Self::UnknownIssuer,
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                Self::WrongHost
            }
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => Self::Expired,
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                Self::NotYetValid
            }
            CertificateError::Revoked => Self::Revoked,
            CertificateError::UnknownRevocationStatus
            | CertificateError::ExpiredRevocationList
            | CertificateError::ExpiredRevocationListContext { .. } => Self::RevocationList,
            CertificateError::Other(error) if error.0.is::<SelfSigned>() => Self::SelfSigned,
            _ => Self::Other,
        }
    }

    fn of_alert(alert: AlertDescription) -> Self {
        match alert {
            AlertDescription::CertificateExpired => Self::OursExpired,
            AlertDescription::CertificateRevoked => Self::OursRevoked,
            AlertDescription::CertificateRequired
            | AlertDescription::BadCertificate
            | AlertDescription::UnknownCA
            | AlertDescription::CertificateUnknown
            | AlertDescription::AccessDenied
            | AlertDescription::HandshakeFailure => Self::OursRefused,
            AlertDescription::ProtocolVersion | AlertDescription::InsufficientSecurity => {
                Self::Protocol
            }
            _ => Self::Other,
        }
    }
}

/// Finds the words for what rustls or the peer did not like.
pub(in crate::kafka) fn explain(host: &str, error: &rustls::Error) -> TlsFailure {
    TlsFailure::Handshake {
        host: host.to_owned(),
        cause: TlsCause::of(error),
        reason: error.to_string(),
    }
}
