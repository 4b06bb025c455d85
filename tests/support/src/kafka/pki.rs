//! Certificates for the TLS listeners and for clients, made fresh for each broker.
//!
//! All are PEM files in one folder; keys are EC P-256 in PKCS#8. Nothing here outlives its
//! broker.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, date_time_ymd,
};

/// A certificate and its key as PEM files.
#[derive(Debug, Clone)]
pub struct Identity {
    /// The certificate.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// Key and certificate in one file, as Kafka's PEM key store wants them.
    pub both: PathBuf,
}

/// The certificates of one broker and of its clients.
#[derive(Debug, Clone)]
pub struct Pki {
    /// The authority that signed all but `foreign_client`.
    pub ca: PathBuf,
    /// An authority that the broker does not trust and that signed nothing of the broker's.
    pub foreign_ca: PathBuf,
    /// For `localhost` and `127.0.0.1`.
    pub server: Identity,
    /// Like `server`, but it ended in 2021.
    pub expired_server: Identity,
    /// Like `server`, but for `elsewhere.example` only.
    pub wrong_host_server: Identity,
    /// A client whose common name is `alice`.
    pub client: Identity,
    /// Like `client`, but it ended in 2021.
    pub expired_client: Identity,
    /// Like `client`, but signed by `foreign_ca`.
    pub foreign_client: Identity,
}

/// Common name of client certificates: the broker takes it as the user.
const CLIENT_NAME: &str = "alice";

const LOCAL: [&str; 2] = ["localhost", "127.0.0.1"];

impl Pki {
    /// Makes all certificates as files in `folder`, which must exist.
    pub fn make(folder: &Path) -> Result<Self> {
        let authority = authority("Spoolway test CA")?;
        let foreign = self::authority("Foreign CA")?;
        let ca = folder.join("ca.pem");
        let foreign_ca = folder.join("foreign-ca.pem");
        fs::write(&ca, authority.pem())?;
        fs::write(&foreign_ca, foreign.pem())?;
        let leaf = |name: &str, hosts: &[&str], signer: &Authority, expired: bool| {
            Leaf { hosts, expired }.write(folder, name, signer)
        };
        Ok(Self {
            server: leaf("server", &LOCAL, &authority, false)?,
            expired_server: leaf("expired-server", &LOCAL, &authority, true)?,
            wrong_host_server: leaf("wrong-host", &["elsewhere.example"], &authority, false)?,
            client: leaf("client", &[], &authority, false)?,
            expired_client: leaf("expired-client", &[], &authority, true)?,
            foreign_client: leaf("foreign-client", &[], &foreign, false)?,
            ca,
            foreign_ca,
        })
    }
}

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority(name: &str) -> Result<Authority> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(CertifiedIssuer::self_signed(params, KeyPair::generate()?)?)
}

struct Leaf<'a> {
    hosts: &'a [&'a str],
    expired: bool,
}

impl Leaf<'_> {
    fn write(&self, folder: &Path, name: &str, signer: &Authority) -> Result<Identity> {
        let hosts: Vec<String> = self.hosts.iter().map(ToString::to_string).collect();
        let mut params = CertificateParams::new(hosts)?;
        let name_in_subject = if self.hosts.is_empty() {
            CLIENT_NAME
        } else {
            "kafka"
        };
        params
            .distinguished_name
            .push(DnType::CommonName, name_in_subject);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        if self.expired {
            params.not_before = date_time_ymd(2020, 1, 1);
            params.not_after = date_time_ymd(2021, 1, 1);
        }
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, signer)?.pem();
        let key = key.serialize_pem();
        let identity = Identity {
            certificate: folder.join(format!("{name}.crt.pem")),
            key: folder.join(format!("{name}.key.pem")),
            both: folder.join(format!("{name}.pem")),
        };
        fs::write(&identity.certificate, &certificate)?;
        fs::write(&identity.key, &key)?;
        fs::write(&identity.both, key + &certificate)?;
        Ok(identity)
    }
}
