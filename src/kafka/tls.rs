//! TLS towards a broker: which certificates are trusted, and who we are.
//!
//! rustls with ring, TLS 1.2 at least. Files are read at each handshake. Does not open TCP.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, InvalidDnsNameError, PrivateKeyDer, ServerName, UnixTime};
use rustls::{
    AlertDescription, CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore,
    SignatureScheme,
};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::config::TlsConfig;

/// Why there is no TLS session.
#[derive(Debug, thiserror::Error)]
pub(super) enum TlsFailure {
    #[error("cannot read {path}: {reason}; it must be a PEM file this user may read")]
    File { path: PathBuf, reason: String },
    #[error("{path} holds no certificate in PEM format")]
    NoCertificate { path: PathBuf },
    #[error("the system has no trusted certificates; set ssl.ca.location")]
    NoRoots,
    #[error(
        "client certificate and key do not fit: {reason}; check ssl.certificate.location \
             and ssl.key.location"
    )]
    Identity { reason: String },
    #[error("TLS with {host}: {host} is not a host name: {source}")]
    Name {
        host: String,
        source: InvalidDnsNameError,
    },
    #[error("TLS with {host}: {advice}{reason}")]
    Handshake {
        host: String,
        advice: &'static str,
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
    pub(super) fn needs_person(&self) -> bool {
        !matches!(self, Self::Io { .. })
    }
}

/// Runs the handshake over `tcp` with the broker called `host`.
pub(super) async fn handshake(
    config: &TlsConfig,
    host: &str,
    tcp: TcpStream,
) -> Result<TlsStream<TcpStream>, TlsFailure> {
    let name = ServerName::try_from(host.to_owned()).map_err(|source| TlsFailure::Name {
        host: host.to_owned(),
        source,
    })?;
    let config = config.clone();
    // Reading files and the system's store takes milliseconds; not on the async threads.
    let built = tokio::task::spawn_blocking(move || client_config(&config)).await;
    let built = built.map_err(|e| TlsFailure::Setup {
        reason: e.to_string(),
    })??;
    let connected = TlsConnector::from(Arc::new(built)).connect(name, tcp).await;
    connected.map_err(|source| {
        let inner = source
            .get_ref()
            .and_then(|e| e.downcast_ref::<rustls::Error>());
        match inner {
            Some(error) => explain(host, error),
            None => TlsFailure::Io {
                host: host.to_owned(),
                source,
            },
        }
    })
}

fn client_config(config: &TlsConfig) -> Result<ClientConfig, TlsFailure> {
    let setup = |e: rustls::Error| TlsFailure::Setup {
        reason: e.to_string(),
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let roots = Arc::new(roots(config.ca_file.as_deref())?);
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(setup)?;
    let verifier = WebPkiServerVerifier::builder_with_provider(roots, provider)
        .build()
        .map_err(|e| TlsFailure::Setup {
            reason: e.to_string(),
        })?;
    let builder = if config.verify_hostname {
        builder.with_webpki_verifier(verifier)
    } else {
        builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyName(verifier)))
    };
    match &config.identity {
        None => Ok(builder.with_no_client_auth()),
        Some(identity) => {
            let chain = certificates(&identity.certificate_file)?;
            let key = PrivateKeyDer::from_pem_file(&identity.key_file)
                .map_err(|e| unreadable(&identity.key_file, e))?;
            builder
                .with_client_auth_cert(chain, key)
                .map_err(|e| TlsFailure::Identity {
                    reason: e.to_string(),
                })
        }
    }
}

fn roots(ca_file: Option<&Path>) -> Result<RootCertStore, TlsFailure> {
    let mut store = RootCertStore::empty();
    match ca_file {
        Some(path) => {
            for certificate in certificates(path)? {
                let refused = |e: rustls::Error| unreadable(path, e);
                store.add(certificate).map_err(refused)?;
            }
        }
        None => {
            let native = rustls_native_certs::load_native_certs();
            store.add_parsable_certificates(native.certs);
            if store.is_empty() {
                return Err(TlsFailure::NoRoots);
            }
        }
    }
    Ok(store)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsFailure> {
    let found = CertificateDer::pem_file_iter(path).map_err(|e| unreadable(path, e))?;
    let found: Result<Vec<_>, _> = found.collect();
    let found = found.map_err(|e| unreadable(path, e))?;
    if found.is_empty() {
        return Err(TlsFailure::NoCertificate {
            path: path.to_owned(),
        });
    }
    Ok(found)
}

fn unreadable(path: &Path, reason: impl std::fmt::Display) -> TlsFailure {
    TlsFailure::File {
        path: path.to_owned(),
        reason: reason.to_string(),
    }
}

/// Finds the words for what rustls or the peer did not like.
pub(super) fn explain(host: &str, error: &rustls::Error) -> TlsFailure {
    let host = host.to_owned();
    let advice = match error {
        rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer) => {
            "the broker's certificate is signed by an unknown authority; check ssl.ca.location: "
        }
        rustls::Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => {
            "the broker's certificate is for another host name; use a name that it carries in \
             bootstrap.servers and advertised.listeners: "
        }
        rustls::Error::InvalidCertificate(
            CertificateError::Expired | CertificateError::ExpiredContext { .. },
        ) => "the broker's certificate has expired; renew it, or mend this host's clock: ",
        rustls::Error::InvalidCertificate(
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. },
        ) => "the broker's certificate is not valid yet; mend this host's clock: ",
        rustls::Error::AlertReceived(
            AlertDescription::CertificateRequired
            | AlertDescription::BadCertificate
            | AlertDescription::UnknownCA
            | AlertDescription::CertificateUnknown
            | AlertDescription::AccessDenied
            | AlertDescription::HandshakeFailure,
        ) => {
            "the broker refuses our certificate or its absence; check \
             ssl.certificate.location and ssl.key.location: "
        }
        rustls::Error::InvalidMessage(_) => {
            "the answer is not TLS; check the port and security.protocol: "
        }
        _ => "",
    };
    TlsFailure::Handshake {
        host,
        advice,
        reason: error.to_string(),
    }
}

/// Verifies the chain and nothing about the name:
/// `ssl.endpoint.identification.algorithm` set to the empty string.
#[derive(Debug)]
struct AnyName(Arc<WebPkiServerVerifier>);

impl ServerCertVerifier for AnyName {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let verdict =
            self.0
                .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        match verdict {
            // webpki looks at the name last, after chain, time and usage.
            Err(rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            verdict => verdict,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}
