//! Secrets: where they come from, and a value that does not print itself.
//!
//! Reads a secret when asked, so that a rotated file is picked up at the next login.

use std::path::PathBuf;

use zeroize::Zeroizing;

/// A secret in memory: zeroed on drop, `Debug` prints nothing of it.
#[derive(Clone)]
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
#[derive(Debug, Clone)]
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
