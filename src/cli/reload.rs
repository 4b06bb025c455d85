//! SIGHUP: loads the configuration again and says what of it takes effect.

use crate::config::{Config, ConfigSource, changes};
use crate::logging::LogHandle;

/// Loads `source` again at each call. The closure gets the running configuration and gives
/// the one that runs from now on: the old one with the live parts of the new one.
///
/// # Errors
/// The closure's error is the report in words; the old configuration stays in force.
pub fn reloader(
    source: ConfigSource,
    log: LogHandle,
) -> impl FnMut(&Config) -> Result<Config, String> + Send {
    move |running| {
        let loaded = source.load().map_err(|report| report.to_string())?;
        for warning in loaded.warnings.lines() {
            tracing::warn!("{warning}");
        }
        let new = loaded.config;
        log.set_filter(&new.log.filter)
            .map_err(|error| error.to_string())?;
        let changes = changes(running, &new);
        if changes.is_empty() {
            tracing::info!("configuration reloaded, nothing changed");
        }
        for change in changes {
            if change.live {
                tracing::info!("configuration reloaded: {change}");
            } else {
                tracing::warn!("configuration reloaded: {change}");
            }
        }
        Ok(running.with_live_parts(new))
    }
}
