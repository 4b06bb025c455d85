//! The certificates that the TLS listeners of the test broker show, seen by rustls.

use std::io::Write;
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{CertificateError, ClientConfig, ClientConnection, Error, RootCertStore};
use spoolway_test_support::kafka::{Kafka, Listener};

/// Shakes hands with `listener`, trusting `ca` alone, and returns why not if it fails.
fn shake_hands(kafka: &Kafka, listener: Listener, ca: &Path, host: &str) -> Result<(), Error> {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_file(ca).unwrap())
        .unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let host = ServerName::try_from(host.to_owned()).unwrap();
    let mut session = ClientConnection::new(Arc::new(config), host)?;
    let mut stream = TcpStream::connect(kafka.address(listener)).unwrap();
    while session.is_handshaking() {
        if let Err(error) = session.complete_io(&mut stream) {
            let inner = error
                .get_ref()
                .and_then(|inner| inner.downcast_ref::<Error>());
            return Err(inner.unwrap_or_else(|| panic!("{error}")).clone());
        }
    }
    stream.flush().unwrap();
    Ok(())
}

#[test]
fn good_certificates_are_good_for_the_name_and_for_the_address() {
    let kafka = Kafka::shared();
    let ca = &kafka.pki().ca;
    for host in ["localhost", "127.0.0.1"] {
        assert_eq!(shake_hands(kafka, Listener::Ssl, ca, host), Ok(()));
        assert_eq!(shake_hands(kafka, Listener::SaslSsl, ca, host), Ok(()));
    }
}

#[test]
fn bad_certificates_are_bad_in_the_way_they_are_named_for() {
    let kafka = Kafka::shared();
    let pki = kafka.pki();
    let error = |listener, ca| shake_hands(kafka, listener, ca, "localhost").unwrap_err();

    assert!(matches!(
        error(Listener::Expired, &pki.ca),
        Error::InvalidCertificate(
            CertificateError::Expired | CertificateError::ExpiredContext { .. }
        ),
    ));
    assert!(matches!(
        error(Listener::WrongHost, &pki.ca),
        Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. }
        ),
    ));
    assert_eq!(
        error(Listener::Ssl, &pki.foreign_ca),
        Error::InvalidCertificate(CertificateError::UnknownIssuer),
    );
}
