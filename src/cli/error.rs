//! Why a command failed, and with which exit code.

use std::io;
use std::path::PathBuf;

use super::exit;
use crate::config::Report;
use crate::daemon::RunError;
use crate::kafka::ListError;
use crate::kafka::doctor::Kind;
use crate::logging::LogError;

/// A failed command.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// The configuration is refused; the report names every mistake.
    #[error("{0}")]
    Config(Report),
    /// Tests of the configuration's routes fail.
    #[error("{}", .0.join("\n"))]
    RouteTests(Vec<String>),
    /// Nobody answers on the control socket.
    #[error("the daemon does not answer on {path}; is it running, and may you write there?")]
    NotRunning {
        /// The control socket.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The daemon said no, in its own words.
    #[error("the daemon refused: {0}")]
    Refused(String),
    /// The daemon answered what this version does not understand.
    #[error("the daemon's answer is not understood: {0}")]
    Answer(String),
    /// Lines that were to be pushed are not safe.
    #[error("not durable: {reason}; {settled} of {sent} lines are settled")]
    NotDurable {
        /// What went wrong.
        reason: String,
        /// Lines written to the socket.
        sent: u64,
        /// Lines from the first on that were answered.
        settled: u64,
    },
    /// The daemon could not start.
    #[error("the daemon cannot start")]
    Run(#[from] RunError),
    /// Flags that fit the syntax and not each other.
    #[error("{0}; see --help")]
    Usage(String),
    /// The cluster did not tell its topics.
    #[error(transparent)]
    Cluster(#[from] ListError),
    /// The doctor found something that stops events.
    #[error("events do not flow: {}", .0.words())]
    Unwell(Kind),
    /// Logging could not be set up.
    #[error("logging")]
    Log(#[from] LogError),
    /// Standard input or output failed.
    #[error("{what}")]
    Io {
        /// What was being done.
        what: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

impl CliError {
    /// The exit code, see [`exit`].
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Config(_) | Self::RouteTests(_) => exit::CONFIG,
            Self::NotRunning { .. } | Self::Refused(_) | Self::Cluster(_) => exit::UNAVAILABLE,
            Self::Answer(_) | Self::Io { .. } | Self::Log(_) | Self::Run(_) => exit::SOFTWARE,
            Self::NotDurable { .. } => exit::TEMPFAIL,
            Self::Usage(_) => exit::USAGE,
            Self::Unwell(kind) => exit::of_kind(*kind),
        }
    }
}
