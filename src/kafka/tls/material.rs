//! What a TLS session needs of ours, read from the configured files: trusted authorities,
//! our certificate and key. Read at each handshake; keeps nothing.

use std::path::{Path, PathBuf};

use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::config::TlsIdentity;

/// Why our own side of TLS is not usable.
#[derive(Debug, thiserror::Error)]
pub(in crate::kafka) enum MaterialError {
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
}

pub(super) fn roots(ca_file: Option<&Path>) -> Result<RootCertStore, MaterialError> {
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
                return Err(MaterialError::NoRoots);
            }
        }
    }
    Ok(store)
}

/// Our chain, leaf first, and its key.
pub(super) type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

pub(super) fn identity(config: &TlsIdentity) -> Result<Identity, MaterialError> {
    let chain = certificates(&config.certificate_file)?;
    let key = PrivateKeyDer::from_pem_file(&config.key_file)
        .map_err(|e| unreadable(&config.key_file, e))?;
    Ok((chain, key))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, MaterialError> {
    let found = CertificateDer::pem_file_iter(path).map_err(|e| unreadable(path, e))?;
    let found: Result<Vec<_>, _> = found.collect();
    let found = found.map_err(|e| unreadable(path, e))?;
    if found.is_empty() {
        return Err(MaterialError::NoCertificate {
            path: path.to_owned(),
        });
    }
    Ok(found)
}

fn unreadable(path: &Path, reason: impl std::fmt::Display) -> MaterialError {
    MaterialError::File {
        path: path.to_owned(),
        reason: reason.to_string(),
    }
}
