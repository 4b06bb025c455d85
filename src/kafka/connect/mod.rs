//! Opens a connection to a broker: name, TCP, TLS, versions, login; all under one deadline.
//! `dial` has the first two of these, `steps` says how far an attempt came.
//!
//! Files and secrets are read again for each connection, so that what a person mends is
//! taken up without a restart. Does not retry; its callers do, each with its own backoff.

use std::sync::Arc;
use std::time::Duration;

use rskafka::messenger::{Messenger, RequestError, SyncVersionsError};
use rskafka::protocol::frame::{ReadError, WriteError};
use socket2::{SockRef, Socket};
use tokio::time::{Instant, timeout, timeout_at};

use super::backoff::Backoff;
use super::canonical::Names;
use super::link::{Link, Pulse, Stream};
use super::sasl::{Keep, Login, SaslFailure};
use super::status::CertificateStatus;
use super::tls::{self, Files};
use super::upkeep;
use crate::config::{DnsLookup, HostPort, KafkaConfig};

mod dial;
mod seen;
mod steps;

use seen::Seen;
pub(super) use steps::{ConnectError, Step, Trace};

/// Largest answer that is read. Ours are small: an answer to a produce request takes some
/// 100 bytes a partition, metadata some 100 bytes a partition of the wanted topics.
const ANSWER_BYTES_MAX: usize = 8 << 20;

/// What connections need from the configuration.
#[derive(Debug)]
pub(super) struct Connector {
    config: KafkaConfig,
    keep: Keep,
    names: Names,
    certificates: Seen,
}

impl Connector {
    pub(super) fn new(config: KafkaConfig) -> Arc<Self> {
        Arc::new(Self {
            config,
            keep: Keep::default(),
            names: Names::default(),
            certificates: Seen::default(),
        })
    }

    pub(super) fn config(&self) -> &KafkaConfig {
        &self.config
    }

    /// The bootstrap servers by the names that `client.dns.lookup` wants.
    pub(super) async fn bootstrap(&self) -> Vec<HostPort> {
        let servers = &self.config.bootstrap;
        match self.config.dns_lookup {
            DnsLookup::AllAddresses => servers.clone(),
            DnsLookup::CanonicalBootstrap => {
                self.names.of(servers, self.config.connect_timeout).await
            }
        }
    }

    /// Opens a connection that is ready for requests, after `failures` attempts in a row
    /// that were not: each gives the broker and the network twice the time, up to
    /// `socket.connection.setup.timeout.max.ms` (KIP-601).
    pub(super) async fn connect(
        &self,
        to: &HostPort,
        failures: u32,
    ) -> Result<Connection, ConnectError> {
        let patience = Backoff {
            first: self.config.connect_timeout,
            max: self.config.connect_timeout_max,
        };
        let mut trace = Trace::default();
        let limit = patience.plain(failures + 1);
        let opened = self.connect_within(limit, to, &mut trace).await;
        let failed = opened.as_ref().err().map(ConnectError::step);
        tracing::debug!(
            host = to.host,
            port = to.port,
            ?failed,
            ?trace,
            "connecting"
        );
        opened
    }

    /// The same as a first attempt; `trace` says how far it came, also when it fails.
    pub(super) async fn connect_traced(
        &self,
        to: &HostPort,
        trace: &mut Trace,
    ) -> Result<Connection, ConnectError> {
        let limit = self.config.connect_timeout;
        self.connect_within(limit, to, trace).await
    }

    async fn connect_within(
        &self,
        limit: Duration,
        to: &HostPort,
        trace: &mut Trace,
    ) -> Result<Connection, ConnectError> {
        let deadline = Instant::now() + limit;
        match timeout_at(deadline, self.open(to, deadline, trace)).await {
            Ok(opened) => opened,
            Err(_) => Err(ConnectError::TimedOut {
                to: to.clone(),
                seconds: limit.as_secs(),
                step: trace.step,
            }),
        }
    }

    async fn open(
        &self,
        to: &HostPort,
        deadline: Instant,
        trace: &mut Trace,
    ) -> Result<Connection, ConnectError> {
        // Before they are read: what changes meanwhile is noticed later.
        let files = self.files();
        let tcp = dial::dial(&self.config, to, deadline, trace).await?;
        let socket = SockRef::from(&tcp).try_clone();
        let socket = socket.map_err(ConnectError::Socket)?;
        let stream = match &self.config.tls {
            None => Stream::Plain(tcp),
            Some(tls) => {
                trace.step = Step::Tls;
                let (stream, session) = tls::handshake(tls, &to.host, tcp).await?;
                self.certificates.note(to, &session);
                trace.tls = Some(session);
                Stream::Tls(Box::new(stream))
            }
        };
        let pulse = Pulse::new();
        let link = Link::new(stream, pulse.clone());
        let client_id = self.config.client_id.clone();
        trace.step = Step::Versions;
        let mut messenger = Messenger::new(link, ANSWER_BYTES_MAX, client_id);
        if let Err(failure) = messenger.sync_versions().await {
            // In TLS 1.3 the broker's verdict on our certificate comes after the handshake.
            return Err(match versions_alert(&failure) {
                Some(alert) => tls::explain(&to.host, alert).into(),
                None => failure.into(),
            });
        }
        let mut lifetime = None;
        if self.config.sasl.is_some() {
            trace.step = Step::Sasl;
            lifetime = self.login(&messenger, to).await?;
        }
        Ok(Connection {
            messenger: Arc::new(messenger),
            pulse,
            socket,
            lifetime,
            made: Instant::now(),
            files,
        })
    }

    async fn login(
        &self,
        messenger: &Messenger<Link>,
        to: &HostPort,
    ) -> Result<Option<Duration>, SaslFailure> {
        let Some(config) = &self.config.sasl else {
            return Ok(None);
        };
        let login = Login {
            messenger,
            config,
            host: &to.host,
            keep: &self.keep,
            limit: self.config.connect_timeout,
        };
        login.run().await
    }

    /// Logs in once more over a connection that is in use (KIP-368); the caller sends nothing
    /// else meanwhile.
    pub(super) async fn login_again(
        &self,
        connection: &Connection,
        to: &HostPort,
    ) -> Result<Option<Duration>, SaslFailure> {
        let limit = self.config.connect_timeout;
        let done = timeout(limit, self.login(&connection.messenger, to)).await;
        done.unwrap_or_else(|_| {
            let words = format!("no end within {} ms", limit.as_millis());
            Err(SaslFailure::Connection(words))
        })
    }

    /// The state of the files that a TLS session is made with.
    pub(super) fn files(&self) -> Option<Files> {
        self.config.tls.as_ref().and_then(Files::of)
    }

    /// Whether the connection should be made anew before it is used again.
    pub(super) fn is_due(&self, connection: &Connection) -> bool {
        connection.is_session_over() || self.files() != connection.files
    }

    /// Certificates by the last handshakes.
    pub(super) fn certificates(&self) -> Vec<CertificateStatus> {
        self.certificates.all()
    }
}

/// A connection that is ready for requests. Dropping it ends it at once: what was not yet
/// sent is thrown away, so that no request arrives after its sender has given it up.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) messenger: Arc<Messenger<Link>>,
    pub(super) pulse: Arc<Pulse>,
    /// The same socket once more: the messenger keeps the stream even when it is dropped
    /// in the middle of a write.
    socket: Socket,
    /// How long the login is good for, when the broker limits it.
    pub(super) lifetime: Option<Duration>,
    made: Instant,
    /// The files that its TLS session was made with.
    pub(super) files: Option<Files>,
}

impl Connection {
    /// Whether the login is so old that the broker may soon end the connection (KIP-368).
    pub(super) fn is_session_over(&self) -> bool {
        let renewal = self.lifetime.map(upkeep::renewal);
        renewal.is_some_and(|time| self.made.elapsed() >= time)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // Failing here means that the socket is gone already.
        let _ = self.socket.set_linger(Some(Duration::ZERO));
        let _ = self.socket.shutdown(std::net::Shutdown::Both);
    }
}

/// The TLS alert that ended the version exchange, if one did; a write may have failed of it.
fn versions_alert(failure: &SyncVersionsError) -> Option<&rustls::Error> {
    match failure {
        SyncVersionsError::RequestError(error) => alert(error),
        _ => None,
    }
}

fn alert(error: &RequestError) -> Option<&rustls::Error> {
    let source = match error {
        RequestError::Poisoned(cause) => return alert(cause),
        RequestError::ReadFramedMessageError(ReadError::IO(source))
        | RequestError::WriteMessageError(WriteError::IO(source))
        | RequestError::IO(source) => source,
        _ => return None,
    };
    source.get_ref()?.downcast_ref()
}

/// The words for a failed request.
pub(super) fn request_failure(error: &RequestError) -> String {
    match error {
        RequestError::Poisoned(cause) => request_failure(cause),
        RequestError::NoVersionMatch { api_key } => {
            format!("the broker speaks no version of {api_key:?} that we speak")
        }
        other => other.to_string(),
    }
}
