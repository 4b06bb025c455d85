//! `spoolway kafka`: the connection to the cluster, seen from the command line.
//!
//! Asks the cluster itself; the daemon need not run.

use std::future::Future;

use clap::Subcommand;

use super::CliError;

mod explain;
mod test;

/// What to do.
#[derive(Debug, Subcommand)]
pub(super) enum KafkaCommand {
    /// Print each setting of [kafka] that is in force, and where it comes from.
    Explain(explain::ExplainArgs),
    /// Walk the whole way to the cluster and say of each step how it went.
    Test(test::TestArgs),
}

pub(super) fn kafka(command: &KafkaCommand) -> Result<(), CliError> {
    match command {
        KafkaCommand::Explain(args) => explain::explain(args),
        KafkaCommand::Test(args) => test::test(args),
    }
}

/// Runs `future` on a runtime of its own, for a command that talks to brokers.
pub(super) fn block_on<F: Future>(future: F) -> Result<F::Output, CliError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = runtime.map_err(|source| CliError::Io {
        what: "starting the network",
        source,
    })?;
    let output = runtime.block_on(future);
    // A name server that does not answer would hold up the exit: the system's look-up
    // cannot be cancelled.
    runtime.shutdown_background();
    Ok(output)
}
