//! `spoolway run`: configuration, logging, and then the daemon has it.

use super::CliError;
use super::args::RunArgs;
use super::reload::reloader;
use crate::{daemon, logging};

pub(super) fn run(args: RunArgs) -> Result<(), CliError> {
    // Files of the spool hold events: nobody else's to read, whatever mode its folder has.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    let source = args.source();
    let loaded = source.load().map_err(CliError::Config)?;
    let log = logging::init(&loaded.config.log)?;
    for warning in loaded.warnings.lines() {
        tracing::warn!("{warning}");
    }
    let reload = Box::new(reloader(source, log));
    Ok(daemon::run(loaded.config, reload)?)
}
