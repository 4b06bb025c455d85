//! Certificates for the TLS listeners and for clients, made fresh for each broker.
//!
//! All are PEM files in one folder; keys are EC P-256 in PKCS#8. Nothing here outlives its
//! broker.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams,
    SerialNumber, date_time_ymd,
};
use time::{Duration, OffsetDateTime};

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
    /// Like `server`, but it begins in 2090.
    pub early_server: Identity,
    /// For `localhost` and `127.0.0.1`, signed by its own key and marked as an authority, as
    /// `openssl req -x509` makes it.
    pub self_signed_server: Identity,
    /// A revocation list of `ca` that revokes nothing of the broker's.
    pub clean_crl: PathBuf,
    /// One that revokes `server`.
    pub revoking_crl: PathBuf,
    /// One whose time is over.
    pub stale_crl: PathBuf,
    /// A client whose common name is `alice`.
    pub client: Identity,
    /// Like `client`, but it ends a year later.
    pub renewed_client: Identity,
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
        let now = OffsetDateTime::now_utc();
        let day = Duration::days(1);
        let present = (now - day, now + 365 * day);
        let longer = (now - day, now + 730 * day);
        let past = (date_time_ymd(2020, 1, 1), date_time_ymd(2021, 1, 1));
        let future = (date_time_ymd(2090, 1, 1), date_time_ymd(2091, 1, 1));
        let leaf = |name: &str, hosts: &[&str], signer: &Authority, time: Time| {
            Leaf { hosts, time }.write(folder, name, signer)
        };
        let list = |name: &str, serial: u8, next: OffsetDateTime| {
            revocation_list(folder, name, &authority, serial, next)
        };
        Ok(Self {
            server: leaf("server", &LOCAL, &authority, present)?,
            expired_server: leaf("expired-server", &LOCAL, &authority, past)?,
            wrong_host_server: leaf("wrong-host", &["elsewhere.example"], &authority, present)?,
            early_server: leaf("early-server", &LOCAL, &authority, future)?,
            self_signed_server: self_signed(folder)?,
            clean_crl: list("clean.crl", SERVER_SERIAL + 1, now + day)?,
            revoking_crl: list("revoking.crl", SERVER_SERIAL, now + day)?,
            stale_crl: list("stale.crl", SERVER_SERIAL + 1, now - day)?,
            client: leaf("client", &[], &authority, present)?,
            renewed_client: leaf("renewed-client", &[], &authority, longer)?,
            expired_client: leaf("expired-client", &[], &authority, past)?,
            foreign_client: leaf("foreign-client", &[], &foreign, present)?,
            ca,
            foreign_ca,
        })
    }
}

/// Serial number of every server certificate.
const SERVER_SERIAL: u8 = 7;

/// First and last moment of a certificate.
type Time = (OffsetDateTime, OffsetDateTime);

fn revocation_list(
    folder: &Path,
    name: &str,
    signer: &Authority,
    serial: u8,
    next_update: OffsetDateTime,
) -> Result<PathBuf> {
    let this_update = next_update - Duration::days(7);
    let revoked = RevokedCertParams {
        serial_number: SerialNumber::from_slice(&[serial]),
        revocation_time: this_update,
        reason_code: None,
        invalidity_date: None,
    };
    let list = CertificateRevocationListParams {
        this_update,
        next_update,
        crl_number: SerialNumber::from_slice(&[1]),
        issuing_distribution_point: None,
        revoked_certs: vec![revoked],
        key_identifier_method: KeyIdMethod::Sha256,
    };
    let path = folder.join(name);
    fs::write(&path, list.signed_by(signer)?.pem()?)?;
    Ok(path)
}

fn self_signed(folder: &Path) -> Result<Identity> {
    let mut params = CertificateParams::new(LOCAL.map(str::to_owned).to_vec())?;
    params.distinguished_name.push(DnType::CommonName, "itself");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate()?;
    let certificate = params.self_signed(&key)?.pem();
    write(folder, "self-signed", &certificate, &key.serialize_pem())
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
    time: Time,
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
        (params.not_before, params.not_after) = self.time;
        if !self.hosts.is_empty() {
            params.serial_number = Some(SerialNumber::from_slice(&[SERVER_SERIAL]));
        }
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, signer)?.pem();
        write(folder, name, &certificate, &key.serialize_pem())
    }
}

fn write(folder: &Path, name: &str, certificate: &str, key: &str) -> Result<Identity> {
    let identity = Identity {
        certificate: folder.join(format!("{name}.crt.pem")),
        key: folder.join(format!("{name}.key.pem")),
        both: folder.join(format!("{name}.pem")),
    };
    fs::write(&identity.certificate, certificate)?;
    fs::write(&identity.key, key)?;
    fs::write(&identity.both, key.to_owned() + certificate)?;
    Ok(identity)
}
