//! The verdict on a broker's certificate: webpki's, less what the configuration takes from
//! it, and with what webpki refuses or does not say clearly: self-signed certificates.

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, OtherError, SignatureScheme};

use crate::config::certificate::Facts;

/// The broker's certificate is signed by its own key, and that key is not trusted.
#[derive(Debug, thiserror::Error)]
#[error("issuer and subject are the same, and it is not a trusted authority")]
pub(super) struct SelfSigned;

/// Verifies a broker's certificate.
#[derive(Debug)]
pub(super) struct BrokerVerifier {
    /// `None`: every certificate is good, as `enable.ssl.certificate.verification = false`
    /// asks for. That the peer holds its key is verified all the same.
    pub(super) webpki: Option<Arc<WebPkiServerVerifier>>,
    /// False: the chain and nothing about the name, as when
    /// `ssl.endpoint.identification.algorithm` is set to the empty string.
    pub(super) verify_name: bool,
    /// What is trusted as it stands, by `ssl.ca.location`.
    pub(super) trusted: Vec<CertificateDer<'static>>,
    pub(super) algorithms: WebPkiSupportedAlgorithms,
}

impl BrokerVerifier {
    /// A self-signed certificate that is trusted as it stands. webpki refuses it where it
    /// is also marked as an authority, as `openssl req -x509` marks it.
    fn verify_itself(
        &self,
        certificate: &CertificateDer<'_>,
        name: &ServerName<'_>,
        now: UnixTime,
    ) -> Result<ServerCertVerified, CertificateError> {
        let facts = Facts::of(certificate).map_err(|_| CertificateError::BadEncoding)?;
        let now = UNIX_EPOCH + Duration::from_secs(now.as_secs());
        if now < facts.not_before {
            return Err(CertificateError::NotValidYet);
        }
        if now > facts.not_after {
            return Err(CertificateError::Expired);
        }
        if self.verify_name {
            let parsed = ParsedCertificate::try_from(certificate);
            let parsed = parsed.map_err(|_| CertificateError::BadEncoding)?;
            verify_server_name(&parsed, name).map_err(|_| CertificateError::NotValidForName)?;
        }
        Ok(ServerCertVerified::assertion())
    }
}

impl ServerCertVerifier for BrokerVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let Some(webpki) = &self.webpki else {
            return Ok(ServerCertVerified::assertion());
        };
        match webpki.verify_server_cert(end_entity, intermediates, name, ocsp, now) {
            // webpki looks at the name last, after chain, time and usage.
            Err(rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) if !self.verify_name => Ok(ServerCertVerified::assertion()),
            Err(rustls::Error::InvalidCertificate(
                CertificateError::UnknownIssuer | CertificateError::Other(_),
            )) if is_self_signed(end_entity) => {
                if self.trusted.iter().any(|trusted| trusted == end_entity) {
                    return Ok(self.verify_itself(end_entity, name, now)?);
                }
                let error = CertificateError::Other(OtherError(Arc::new(SelfSigned)));
                Err(error.into())
            }
            verdict => verdict,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

fn is_self_signed(certificate: &CertificateDer<'_>) -> bool {
    Facts::of(certificate).is_ok_and(|facts| facts.self_signed)
}
