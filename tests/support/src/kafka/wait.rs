//! Waiting for a condition, with a deadline. No test sleeps for a fixed time.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// Pause between two looks.
const PACE: Duration = Duration::from_millis(20);

/// Calls `done` until it says true, for at most `patience`; then an error that names `what`.
///
/// # Errors
///
/// Whatever `done` fails with, at once, or the end of the patience.
pub fn wait_for(
    patience: Duration,
    what: &str,
    mut done: impl FnMut() -> Result<bool>,
) -> Result<()> {
    let deadline = Instant::now() + patience;
    while !done()? {
        if Instant::now() >= deadline {
            bail!("waited {patience:?} in vain for {what}");
        }
        std::thread::park_timeout(PACE);
    }
    Ok(())
}
