//! The steps to a connection, how far an attempt came, and why it failed.

use std::io;
use std::net::SocketAddr;

use rskafka::messenger::SyncVersionsError;

use crate::config::HostPort;
use crate::kafka::sasl::SaslFailure;
use crate::kafka::tls::{TlsFailure, TlsSession};

/// The steps to a connection, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(in crate::kafka) enum Step {
    #[error("name lookup")]
    Dns,
    #[error("TCP")]
    Tcp,
    #[error("TLS handshake")]
    Tls,
    #[error("version exchange")]
    Versions,
    #[error("SASL login")]
    Sasl,
}

/// How far an attempt came.
#[derive(Debug)]
pub(in crate::kafka) struct Trace {
    /// The step it is in; the last one after a success.
    pub(in crate::kafka) step: Step,
    /// What the name resolved to.
    pub(in crate::kafka) addresses: Vec<SocketAddr>,
    /// The address that took the connection.
    pub(in crate::kafka) peer: Option<SocketAddr>,
    /// What was agreed in the handshake.
    pub(in crate::kafka) tls: Option<TlsSession>,
}

impl Default for Trace {
    fn default() -> Self {
        Self {
            step: Step::Dns,
            addresses: Vec::new(),
            peer: None,
            tls: None,
        }
    }
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(in crate::kafka) enum ConnectError {
    #[error("cannot resolve {host}: {source}; check the name and the host's DNS")]
    Resolve { host: String, source: io::Error },
    #[error("{host} resolves to no address; check the name")]
    NoAddress { host: String },
    #[error("cannot connect to {address}: {source}")]
    Tcp {
        address: SocketAddr,
        source: io::Error,
    },
    #[error("cannot set up a socket: {0}")]
    Socket(io::Error),
    #[error("no connection to {to} within {seconds} s ({step})")]
    TimedOut {
        to: HostPort,
        seconds: u64,
        step: Step,
    },
    #[error(transparent)]
    Tls(#[from] TlsFailure),
    #[error(
        "the broker did not tell its versions: {0}; is this a Kafka listener{hint}",
        hint = " of the configured security.protocol?"
    )]
    Versions(#[from] SyncVersionsError),
    #[error(transparent)]
    Sasl(#[from] SaslFailure),
}

impl ConnectError {
    /// The step that failed.
    pub(in crate::kafka) fn step(&self) -> Step {
        match self {
            Self::Resolve { .. } | Self::NoAddress { .. } => Step::Dns,
            Self::Tcp { .. } | Self::Socket(_) => Step::Tcp,
            Self::TimedOut { step, .. } => *step,
            Self::Tls(_) => Step::Tls,
            Self::Versions(_) => Step::Versions,
            Self::Sasl(_) => Step::Sasl,
        }
    }

    /// Whether only a person can mend it. It is retried all the same.
    pub(in crate::kafka) fn needs_person(&self) -> bool {
        match self {
            Self::Tls(failure) => failure.needs_person(),
            Self::Sasl(failure) => failure.needs_person(),
            _ => false,
        }
    }
}
