//! `spoolway run`: configuration, logging, and then the daemon has it.

use super::CliError;
use super::args::RunArgs;
use crate::logging;

pub(super) fn run(args: RunArgs) -> Result<(), CliError> {
    let source = args.source();
    let loaded = source.load().map_err(CliError::Config)?;
    let _log = logging::init(&loaded.config.log)?;
    for warning in loaded.warnings.lines() {
        tracing::warn!("{warning}");
    }
    Err(CliError::Refused("this build has no daemon".to_owned()))
}
