//! Secrets: where they come from, and a value that does not print itself.
//!
//! Reads a secret when asked, so that a rotated file is picked up at the next login.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

/// Longest secret read, in bytes. A larger file is some other file.
pub const SECRET_BYTES_MAX: u64 = 64 << 10;

/// The directory in which systemd puts the credentials of a unit (systemd.exec(5)).
const CREDENTIALS_DIRECTORY: &str = "CREDENTIALS_DIRECTORY";

/// A secret in memory: zeroed on drop, `Debug` prints nothing of it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes the text as a secret.
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// The text itself. Greppable, and called only where a protocol needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

/// Where a secret is read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretSource {
    /// `{ credential = "name" }`: a file in `$CREDENTIALS_DIRECTORY` (systemd.exec(5)).
    Credential(String),
    /// `{ env = "NAME" }`
    Env(String),
    /// `{ file = "path" }`; refused when other users may read it.
    File(PathBuf),
    /// Written into the configuration itself.
    Inline(Secret),
}

/// Why a secret could not be read. No text contains any of it.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The variable is unset or not UTF-8.
    #[error("environment variable {0} is not set, or is not UTF-8")]
    Env(String),
    /// The process was not started with credentials.
    #[error(
        "credential {0:?}: $CREDENTIALS_DIRECTORY is not set; only a unit with LoadCredential= \
         has it (for a command: systemd-run --pipe --wait -p LoadCredential=..)"
    )]
    NoCredentials(String),
    /// Opening or reading failed.
    #[error("secret file {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Others may read the file, the group may change it, or it is open to the group of a
    /// user that is neither root nor ourselves.
    #[error(
        "secret file {path} is open to other users (mode {mode:04o}); run chmod 600 on it, or \
             give it to root:spoolway with mode 640"
    )]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The file is longer than [`SECRET_BYTES_MAX`], not UTF-8, or not a regular file.
    #[error("secret file {0} is not a regular UTF-8 text file of at most 64 KiB")]
    NotText(PathBuf),
    /// Nothing is left once the line end is trimmed.
    #[error("the secret from {0} is empty")]
    Empty(String),
}

impl SecretSource {
    /// Reads the secret now. One line end at the end is trimmed, as editors add it.
    ///
    /// # Errors
    /// See [`SecretError`]; the caller may try again later, files are replaced by rotation.
    pub fn read(&self) -> Result<Secret, SecretError> {
        self.read_with(&|name| std::env::var_os(name))
    }

    fn read_with(&self, env: &dyn Fn(&str) -> Option<OsString>) -> Result<Secret, SecretError> {
        let (secret, origin) = match self {
            Self::Inline(secret) => (secret.clone(), "the configuration".to_owned()),
            Self::Env(name) => {
                let value = env(name).and_then(|v| v.into_string().ok());
                let value = value.ok_or_else(|| SecretError::Env(name.clone()))?;
                (Secret::new(value), format!("environment variable {name}"))
            }
            Self::Credential(name) => {
                let directory = env(CREDENTIALS_DIRECTORY)
                    .ok_or_else(|| SecretError::NoCredentials(name.clone()))?;
                let path = Path::new(&directory).join(name);
                // systemd itself decides who may read these, also with ACLs in the mode bits.
                (read_file(&path, true)?, path.display().to_string())
            }
            Self::File(path) => {
                let guarded = env(CREDENTIALS_DIRECTORY).is_some_and(|d| path.starts_with(&d));
                (read_file(path, guarded)?, path.display().to_string())
            }
        };
        if secret.expose().is_empty() {
            return Err(SecretError::Empty(origin));
        }
        Ok(secret)
    }
}

fn read_file(path: &Path, guarded: bool) -> Result<Secret, SecretError> {
    let failed = |source| SecretError::Read {
        path: path.to_owned(),
        source,
    };
    // The mode is asked of the open file, so that the answer is about what is read.
    let file = File::open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    let mode = metadata.permissions().mode() & 0o777;
    if !guarded && is_exposed(mode, metadata.uid()) {
        return Err(SecretError::Exposed {
            path: path.to_owned(),
            mode,
        });
    }
    let mut text = Zeroizing::new(Vec::new());
    if !metadata.is_file() || metadata.len() > SECRET_BYTES_MAX {
        return Err(SecretError::NotText(path.to_owned()));
    }
    file.take(SECRET_BYTES_MAX)
        .read_to_end(&mut text)
        .map_err(failed)?;
    let text = std::str::from_utf8(&text).map_err(|_| SecretError::NotText(path.to_owned()))?;
    let text = text.strip_suffix('\n').unwrap_or(text);
    let text = text.strip_suffix('\r').unwrap_or(text);
    Ok(Secret::new(text.to_owned()))
}

/// A group may read what root or ourselves gave it: so a service's secret is root:spoolway
/// with mode 0640, and the service cannot change it.
fn is_exposed(mode: u32, owner: u32) -> bool {
    const GROUP_READ: u32 = 0o040;
    let beyond_owner = mode & 0o077;
    let trusted = owner == 0 || owner == rustix::process::geteuid().as_raw();
    beyond_owner & !GROUP_READ != 0 || (beyond_owner != 0 && !trusted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    const CANARY: &str = "correct-horse-canary";

    fn secret_file(content: &[u8], mode: u32) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        (dir, path)
    }

    #[test]
    fn one_line_end_is_trimmed_and_spaces_are_kept() {
        let (_dir, path) = secret_file(b" pass word \r\n", 0o600);
        assert_eq!(
            SecretSource::File(path).read().unwrap().expose(),
            " pass word "
        );
    }

    #[test]
    fn a_file_that_others_may_read_is_refused_without_its_content() {
        for mode in [0o604, 0o644, 0o660, 0o650, 0o666] {
            let (_dir, path) = secret_file(CANARY.as_bytes(), mode);
            let error = SecretSource::File(path).read().unwrap_err();
            assert!(matches!(error, SecretError::Exposed { .. }));
            assert!(!format!("{error} {error:?}").contains(CANARY));
        }
    }

    #[test]
    fn a_file_that_root_or_ourselves_gave_to_a_group_to_read_is_taken() {
        let (_dir, path) = secret_file(CANARY.as_bytes(), 0o640);
        assert_eq!(SecretSource::File(path).read().unwrap().expose(), CANARY);
        let ourselves = rustix::process::geteuid().as_raw();
        assert!(!is_exposed(0o640, 0) && !is_exposed(0o640, ourselves));
        assert!(is_exposed(0o640, ourselves + 4711), "a stranger's group");
        assert!(!is_exposed(0o600, ourselves + 4711), "ours by other rights");
    }

    #[test]
    fn a_credential_is_read_from_the_directory_of_systemd_whatever_its_mode() {
        let (dir, path) = secret_file(CANARY.as_bytes(), 0o440);
        let root = dir.path().as_os_str().to_owned();
        let env = |name: &str| (name == CREDENTIALS_DIRECTORY).then(|| root.clone());
        let credential = SecretSource::Credential("secret".into());
        assert_eq!(credential.read_with(&env).unwrap().expose(), CANARY);
        assert_eq!(
            SecretSource::File(path).read_with(&env).unwrap().expose(),
            CANARY
        );
        let error = credential.read_with(&|_| None).unwrap_err();
        assert!(error.to_string().contains("LoadCredential"), "{error}");
    }

    #[test]
    fn an_unset_variable_and_an_empty_file_are_errors() {
        let error = SecretSource::Env("NOPE".into())
            .read_with(&|_| None)
            .unwrap_err();
        assert!(error.to_string().contains("NOPE"));
        let (_dir, path) = secret_file(b"\n", 0o600);
        assert!(matches!(
            SecretSource::File(path).read(),
            Err(SecretError::Empty(_))
        ));
    }

    #[test]
    fn debug_prints_nothing_of_a_secret() {
        let source = SecretSource::Inline(Secret::new(CANARY.into()));
        assert!(!format!("{source:?}").contains(CANARY));
    }
}
