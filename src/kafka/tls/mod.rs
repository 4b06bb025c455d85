//! TLS towards a broker: which certificates are trusted, and who we are.
//!
//! rustls with ring, TLS 1.2 at least. Files are read at each handshake. Does not open TCP.

use std::fmt;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::ServerName;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ProtocolVersion, SupportedProtocolVersion};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::config::certificate::Facts;
use crate::config::{TlsConfig, TlsVersions};

mod failure;
mod files;
mod material;
mod verify;

pub(super) use failure::{TlsCause, TlsFailure, explain};
pub(super) use files::Files;
use material::MaterialError;
use verify::BrokerVerifier;

/// What was agreed with a broker.
#[derive(Debug, Clone)]
pub(super) struct TlsSession {
    /// `TLSv1_2` or `TLSv1_3`.
    pub(super) version: Option<ProtocolVersion>,
    /// The broker's own certificate.
    pub(super) certificate: Option<Facts>,
    /// Our own.
    pub(super) ours: Option<Facts>,
    /// The configured authority that ends first.
    pub(super) authority: Option<Facts>,
}

impl fmt::Display for TlsSession {
    /// As `TLSv1_3 with CN=kafka`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let version = self.version.and_then(|v| v.as_str()).unwrap_or("TLS");
        let subject = self.certificate.as_ref().map(|facts| &*facts.subject);
        write!(f, "{version} with {}", subject.unwrap_or("an unknown name"))
    }
}

/// Runs the handshake over `tcp` with the broker called `host`.
pub(super) async fn handshake(
    config: &TlsConfig,
    host: &str,
    tcp: TcpStream,
) -> Result<(TlsStream<TcpStream>, TlsSession), TlsFailure> {
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
    let Ours {
        config,
        ours,
        authority,
    } = built;
    match TlsConnector::from(Arc::new(config))
        .connect(name, tcp)
        .await
    {
        Ok(stream) => {
            let (_, session) = stream.get_ref();
            let chain = session.peer_certificates().unwrap_or_default();
            let session = TlsSession {
                version: session.protocol_version(),
                certificate: chain.first().and_then(|leaf| Facts::of(leaf).ok()),
                ours,
                authority,
            };
            Ok((stream, session))
        }
        Err(source) => {
            let inner = source.get_ref().and_then(|e| e.downcast_ref());
            Err(match inner {
                Some(error) => explain(host, error),
                None => TlsFailure::Io {
                    host: host.to_owned(),
                    source,
                },
            })
        }
    }
}

/// Our side of a handshake.
struct Ours {
    config: ClientConfig,
    ours: Option<Facts>,
    authority: Option<Facts>,
}

fn client_config(config: &TlsConfig) -> Result<Ours, TlsFailure> {
    let setup = |e: rustls::Error| TlsFailure::Setup {
        reason: e.to_string(),
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(spoken(config.versions))
        .map_err(setup)?;
    let verifier = verifier(config, &provider)?;
    let authorities = verifier.trusted.iter();
    let authorities = authorities.filter_map(|der| Facts::of(der).ok());
    let authority = authorities.min_by_key(|facts| facts.not_after);
    let builder = builder
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    let (config, ours) = match &config.identity {
        None => (builder.with_no_client_auth(), None),
        Some(identity) => {
            let (chain, key) = material::identity(identity)?;
            let ours = chain.first().and_then(|leaf| Facts::of(leaf).ok());
            let built = builder.with_client_auth_cert(chain, key);
            let built = built.map_err(|e| MaterialError::Identity {
                reason: e.to_string(),
            })?;
            (built, ours)
        }
    };
    Ok(Ours {
        config,
        ours,
        authority,
    })
}

/// What rustls is to speak, the newest first.
static VERSIONS: [&SupportedProtocolVersion; 2] = [&TLS13, &TLS12];

fn spoken(versions: TlsVersions) -> &'static [&'static SupportedProtocolVersion] {
    let [newest @ .., oldest] = &VERSIONS;
    match versions {
        TlsVersions::Both => &VERSIONS,
        TlsVersions::Only1_2 => std::slice::from_ref(oldest),
        TlsVersions::Only1_3 => newest,
    }
}

fn verifier(
    config: &TlsConfig,
    provider: &Arc<CryptoProvider>,
) -> Result<BrokerVerifier, TlsFailure> {
    let trusted = material::anchors(config.ca.as_ref())?;
    let webpki = if config.verify_certificate {
        let roots = Arc::new(material::roots(&trusted)?);
        let revoked = material::revoked(config)?;
        let builder = WebPkiServerVerifier::builder_with_provider(roots, provider.clone());
        // As librdkafka: the lists are about brokers, and say nothing once they are stale.
        let builder = if revoked.is_empty() {
            builder
        } else {
            builder
                .with_crls(revoked)
                .only_check_end_entity_revocation()
                .enforce_revocation_expiration()
        };
        let built = builder.build().map_err(|e| TlsFailure::Setup {
            reason: e.to_string(),
        })?;
        Some(built)
    } else {
        None
    };
    Ok(BrokerVerifier {
        webpki,
        verify_name: config.verify_hostname,
        trusted,
        algorithms: provider.signature_verification_algorithms,
    })
}
