//! AWS keys at a real broker: Java that judges both ways to log in as Amazon MSK does, compiled
//! once for the cache, and the settings that load it.
//!
//! The judgement itself is in `tests/support/java`. Without a JDK there is no javac, so ecj
//! compiles, which `scripts/setup.sh` fetches.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use super::home::Home;

/// Who may log in with AWS keys, at the SASL_PLAINTEXT listener; the user is the key id.
#[derive(Debug, Clone)]
pub struct Account {
    /// Access key id.
    pub id: String,
    /// Secret access key.
    pub secret: String,
    /// Session token that has to be there, or must not.
    pub session: Option<String>,
}

/// Region that has to be signed for.
pub const REGION: &str = "eu-west-1";

/// The Java sources, by name.
const SOURCES: [(&str, &str); 4] = [
    (
        "AwsAccounts.java",
        include_str!("../../java/spoolway/AwsAccounts.java"),
    ),
    (
        "AwsCallbackHandler.java",
        include_str!("../../java/spoolway/AwsCallbackHandler.java"),
    ),
    (
        "AwsLoginModule.java",
        include_str!("../../java/spoolway/AwsLoginModule.java"),
    ),
    (
        "AwsSaslServer.java",
        include_str!("../../java/spoolway/AwsSaslServer.java"),
    ),
];

/// A folder of classes for the class path of `home`'s version; compiled at the first call.
pub(super) fn classes(home: &Home) -> Result<PathBuf> {
    let mut checksum = 0;
    for (_, text) in SOURCES {
        checksum = crc32c::crc32c_append(checksum, text.as_bytes());
    }
    let classes = home.inside(&format!("aws-login-{checksum:08x}"));
    let _lock = home.lock()?;
    if classes.is_dir() {
        return Ok(classes);
    }
    let sources = tempfile::tempdir()?;
    for (name, text) in SOURCES {
        fs::write(sources.path().join(name), text)?;
    }
    let partial = tempfile::tempdir_in(home.inside("."))?;
    let output = home
        .compiler()?
        .args(["-17", "-proc:none", "-d"])
        .arg(partial.path())
        .arg(sources.path())
        .output()
        .context("starting the compiler")?;
    let text = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "the compiler says:\n{text}");
    fs::rename(partial.keep(), &classes)?;
    Ok(classes)
}

/// Writes the accounts into the broker's folder; the lines of `server.properties` that let
/// them in.
pub(super) fn properties(folder: &Path, accounts: &[Account]) -> Result<Vec<(String, String)>> {
    const LISTENER: &str = "listener.name.sasl_plaintext";
    let mut text = String::new();
    for account in accounts {
        let session = account.session.as_deref().unwrap_or("-");
        writeln!(text, "{} {} {session}", account.id, account.secret)?;
    }
    let file = folder.join("aws-accounts");
    fs::write(&file, text)?;
    let mechanisms = "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512,OAUTHBEARER,AWS_MSK_IAM";
    let mut lines = vec![(
        format!("{LISTENER}.sasl.enabled.mechanisms"),
        mechanisms.to_owned(),
    )];
    for mechanism in ["oauthbearer", "aws_msk_iam"] {
        let options = format!(
            "accounts=\"{}\" region=\"{REGION}\" host=\"127.0.0.1\"",
            file.display()
        );
        lines.push((
            format!("{LISTENER}.{mechanism}.sasl.jaas.config"),
            format!("spoolway.AwsLoginModule required {options};"),
        ));
        lines.push((
            format!("{LISTENER}.{mechanism}.sasl.server.callback.handler.class"),
            "spoolway.AwsCallbackHandler".to_owned(),
        ));
    }
    Ok(lines)
}
