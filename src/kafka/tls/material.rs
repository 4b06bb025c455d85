//! What a TLS session needs of ours, as rustls wants it: trusted authorities, revocation
//! lists, our certificate and key. Read at each handshake; keeps nothing.

use rustls::RootCertStore;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};

use crate::config::pem::{PemError, revocation_lists};
use crate::config::{PemSource, TlsConfig, TlsIdentity};

/// Why our own side of TLS is not usable.
#[derive(Debug, thiserror::Error)]
pub(in crate::kafka) enum MaterialError {
    #[error("{setting}: {source}")]
    Pem {
        setting: &'static str,
        source: PemError,
    },
    #[error("ssl.ca.location: a certificate cannot be trusted: {0}")]
    Anchor(rustls::Error),
    #[error("the system has no trusted certificates; set ssl.ca.location")]
    NoRoots,
    #[error(
        "client certificate and key do not fit: {reason}; check ssl.certificate.location \
             and ssl.key.location"
    )]
    Identity { reason: String },
}

fn of(setting: &'static str) -> impl Fn(PemError) -> MaterialError {
    move |source| MaterialError::Pem { setting, source }
}

/// The configured authorities, or none when the system's are to be trusted.
pub(super) fn anchors(
    ca: Option<&PemSource>,
) -> Result<Vec<CertificateDer<'static>>, MaterialError> {
    match ca {
        None => Ok(Vec::new()),
        Some(source) => source.certificates().map_err(of("ssl.ca.location")),
    }
}

/// The store of `anchors`; of the system's certificates when there are none.
pub(super) fn roots(anchors: &[CertificateDer<'static>]) -> Result<RootCertStore, MaterialError> {
    let mut store = RootCertStore::empty();
    for certificate in anchors {
        let added = store.add(certificate.clone());
        added.map_err(MaterialError::Anchor)?;
    }
    if store.is_empty() {
        let native = rustls_native_certs::load_native_certs();
        store.add_parsable_certificates(native.certs);
    }
    if store.is_empty() {
        return Err(MaterialError::NoRoots);
    }
    Ok(store)
}

pub(super) fn revoked(
    config: &TlsConfig,
) -> Result<Vec<CertificateRevocationListDer<'static>>, MaterialError> {
    match &config.crl_file {
        None => Ok(Vec::new()),
        Some(path) => revocation_lists(path).map_err(of("ssl.crl.location")),
    }
}

/// Our chain, leaf first, and its key.
pub(super) type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

pub(super) fn identity(config: &TlsIdentity) -> Result<Identity, MaterialError> {
    let chain = config.certificate.certificates();
    let chain = chain.map_err(of("ssl.certificate.location"))?;
    let key = config.key.private_key(config.key_password.as_ref());
    Ok((chain, key.map_err(of("ssl.key.location"))?))
}
