//! Certificates, keys and revocation lists as the configuration gives them: a PEM file, PEM
//! text, or the bare base64 body without its BEGIN and END lines.
//!
//! Read when asked, so that a renewed file is taken up. Decides no trust.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use pkcs8::EncryptedPrivateKeyInfo;
use rustls::pki_types::pem::{PemObject, SectionKind};
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use zeroize::Zeroizing;

use super::secret::{SecretError, SecretSource};

/// Largest PEM file read, in bytes; system bundles have about 250 KiB, revocation lists of
/// large authorities some MiB.
pub const PEM_BYTES_MAX: u64 = 16 << 20;

/// Where PEM text is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PemSource {
    /// A file; read by the user that the daemon runs as.
    File(PathBuf),
    /// The text itself, or a secret that holds it.
    Text(SecretSource),
}

/// Why there is nothing to use. No text contains any of it.
#[derive(Debug, thiserror::Error)]
pub enum PemError {
    /// Opening or reading failed.
    #[error("cannot read {path}: {source}; it must be a PEM file this user may read")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// More than [`PEM_BYTES_MAX`].
    #[error("{0} is longer than 16 MiB")]
    TooLong(PathBuf),
    /// The secret that holds the text cannot be read.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// Nothing of this kind is in it.
    #[error("{origin} holds no {wanted} in PEM format")]
    Nothing {
        /// The file, or "the text".
        origin: String,
        /// What was looked for.
        wanted: &'static str,
    },
    /// A certificate is none.
    #[error("{origin} holds a damaged certificate: {reason}")]
    Damaged {
        /// The file, or "the text".
        origin: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The key is encrypted and no password is configured.
    #[error("{0} holds an encrypted key; set ssl.key.password")]
    Locked(String),
    /// The password does not open the key, or its cipher is not known.
    #[error("the key in {0} does not open: {1}; check ssl.key.password")]
    WrongPassword(String, pkcs8::Error),
    /// Encryption that is older than PKCS#8.
    #[error(
        "{0} holds a key in the old encrypted form of openssl; convert it with `openssl pkcs8 \
             -topk8`"
    )]
    OldEncryption(String),
}

/// Labels of RFC 7468 and of openssl that may be missing around a bare body.
const CERTIFICATE: &str = "CERTIFICATE";

impl PemSource {
    /// Every certificate in it, in its order; at least one.
    ///
    /// # Errors
    /// See [`PemError`].
    pub fn certificates(&self) -> Result<Vec<CertificateDer<'static>>, PemError> {
        let text = self.read()?;
        let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
        let found = found.unwrap_or_default();
        if found.is_empty() {
            return Err(self.nothing("certificate"));
        }
        for certificate in &found {
            if let Err(error) = super::certificate::Facts::of(certificate) {
                let (origin, reason) = (self.origin(), error.to_string());
                return Err(PemError::Damaged { origin, reason });
            }
        }
        Ok(found)
    }

    /// The first private key in it: PKCS#8, encrypted PKCS#8, PKCS#1 or SEC1.
    ///
    /// # Errors
    /// See [`PemError`].
    pub fn private_key(
        &self,
        password: Option<&SecretSource>,
    ) -> Result<PrivateKeyDer<'static>, PemError> {
        let text = self.read()?;
        if contains(&text, b"Proc-Type: 4,ENCRYPTED") {
            return Err(PemError::OldEncryption(self.origin()));
        }
        if let Ok(key) = PrivateKeyDer::from_pem_slice(&text) {
            return Ok(key);
        }
        let body = private_key_body(&text).ok_or_else(|| self.nothing("private key"))?;
        if let Ok(locked) = EncryptedPrivateKeyInfo::try_from(body.as_slice()) {
            let password = password.ok_or_else(|| PemError::Locked(self.origin()))?;
            let opened = locked.decrypt(password.read()?.expose());
            let opened = opened.map_err(|e| PemError::WrongPassword(self.origin(), e))?;
            return key_of(opened.as_bytes()).ok_or_else(|| self.nothing("private key"));
        }
        key_of(&body).ok_or_else(|| self.nothing("private key"))
    }

    /// The words for where it comes from.
    fn origin(&self) -> String {
        match self {
            Self::File(path) | Self::Text(SecretSource::File(path)) => path.display().to_string(),
            Self::Text(_) => "the text".to_owned(),
        }
    }

    fn nothing(&self, wanted: &'static str) -> PemError {
        let origin = self.origin();
        PemError::Nothing { origin, wanted }
    }

    /// The text with BEGIN and END lines, whichever way it came.
    fn read(&self) -> Result<Zeroizing<Vec<u8>>, PemError> {
        let text = match self {
            Self::File(path) => read_file(path)?,
            Self::Text(source) => {
                // Line ends are written as \n where a value has to be on one line.
                let text = source.read()?.expose().replace("\\n", "\n");
                Zeroizing::new(text.into_bytes())
            }
        };
        if contains(&text, b"-----BEGIN ") {
            return Ok(text);
        }
        Ok(Zeroizing::new(enclosed(&text)))
    }
}

/// Revocation lists of a PEM file; at least one.
///
/// # Errors
/// See [`PemError`].
pub fn revocation_lists(
    path: &Path,
) -> Result<Vec<CertificateRevocationListDer<'static>>, PemError> {
    let text = read_file(path)?;
    let found: Result<Vec<_>, _> = CertificateRevocationListDer::pem_slice_iter(&text).collect();
    match found {
        Ok(lists) if !lists.is_empty() => Ok(lists),
        _ => Err(PemSource::File(path.to_owned()).nothing("revocation list (X509 CRL)")),
    }
}

fn read_file(path: &Path) -> Result<Zeroizing<Vec<u8>>, PemError> {
    let mut bytes = Zeroizing::new(Vec::new());
    let opened = File::open(path);
    let read = opened.and_then(|file| file.take(PEM_BYTES_MAX + 1).read_to_end(&mut bytes));
    let length = read.map_err(|source| PemError::Read {
        path: path.to_owned(),
        source,
    })?;
    if length as u64 > PEM_BYTES_MAX {
        return Err(PemError::TooLong(path.to_owned()));
    }
    Ok(bytes)
}

/// A bare body as the body of a certificate; what it really is shows its content.
fn enclosed(body: &[u8]) -> Vec<u8> {
    let characters = body.iter().copied().filter(|b| !b.is_ascii_whitespace());
    let mut text = format!("-----BEGIN {CERTIFICATE}-----").into_bytes();
    for (index, character) in characters.enumerate() {
        if index % 64 == 0 {
            text.push(b'\n');
        }
        text.push(character);
    }
    text.extend_from_slice(format!("\n-----END {CERTIFICATE}-----\n").as_bytes());
    text
}

/// The first section that may hold a key: rustls knows no label for encrypted ones, and a
/// bare body stands under [`CERTIFICATE`].
fn private_key_body(text: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    const LOCKED: &[u8] = b"ENCRYPTED PRIVATE KEY";
    let relabelled = if contains(text, LOCKED) {
        let text = String::from_utf8_lossy(text).replace("ENCRYPTED PRIVATE KEY", "PRIVATE KEY");
        Zeroizing::new(text.into_bytes())
    } else {
        Zeroizing::new(text.to_vec())
    };
    let sections = <(SectionKind, Vec<u8>)>::pem_slice_iter(&relabelled);
    let mut sections = sections.filter_map(Result::ok);
    let (_, body) = sections.find(|(kind, body)| match kind {
        SectionKind::PrivateKey => true,
        _ => super::certificate::Facts::of(body).is_err(),
    })?;
    Some(Zeroizing::new(body))
}

fn key_of(der: &[u8]) -> Option<PrivateKeyDer<'static>> {
    PrivateKeyDer::try_from(der.to_vec()).ok()
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    memchr::memmem::find(text, part).is_some()
}
