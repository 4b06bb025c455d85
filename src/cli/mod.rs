//! The commands of the `spoolway` binary: arguments in, exit code out.
//!
//! Thin: `run` hands over to the daemon, `check` to the parser, the others talk to a running
//! daemon over its sockets. Data goes to standard output, talk to standard error.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{CommandFactory, Parser};

pub use args::DEFAULT_CONFIG;
use args::{Cli, Command};
pub use error::CliError;
pub use reload::reloader;

mod args;
mod check;
mod config;
mod control;
mod dead_letter;
mod error;
pub mod exit;
mod kafka;
mod push;
mod reload;
mod route;
mod run;
mod shown;
mod status;
mod tail;
mod topics;

/// Runs the command that the arguments name, the first of which is the program's name.
/// Failures are printed once, here.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are no failures and go to standard output. When that is
            // closed there is nobody left to tell.
            let code = if error.use_stderr() {
                exit::USAGE
            } else {
                exit::OK
            };
            let _ = error.print();
            return ExitCode::from(code);
        }
    };
    let result = match cli.command {
        Command::Run(args) => run::run(args),
        Command::Check(args) => check::check(&args),
        Command::Config(args) => config::config(args),
        Command::Push(args) => push::push(&args),
        Command::Status(args) => status::status(&args),
        Command::Route { command } => route::route(&command),
        Command::Tail(args) => tail::tail(&args),
        Command::DeadLetter(args) => dead_letter::dead_letter(&args),
        Command::Kafka { command } => kafka::kafka(&command),
        Command::Topics(args) => topics::topics(&args),
    };
    match result {
        Ok(()) => ExitCode::from(exit::OK),
        Err(error) => {
            print_error(&error);
            ExitCode::from(error.exit_code())
        }
    }
}

/// The command line's definition, for man pages and completions.
pub fn definition() -> clap::Command {
    Cli::command()
}

/// The error and everything below it, on one line; a report on its own lines.
fn print_error(error: &CliError) {
    if let CliError::Config(report) = error {
        eprintln!("{report}");
        return;
    }
    let mut line = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        line += &format!(": {cause}");
        source = cause.source();
    }
    eprintln!("spoolway: {line}");
}
