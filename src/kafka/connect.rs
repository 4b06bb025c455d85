//! Opens a connection to a broker: name, TCP, TLS, versions, login; all under one deadline.
//!
//! Files and secrets are read again for each connection, so that what a person mends is
//! taken up without a restart. Does not retry; its callers do, each with its own backoff.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rskafka::messenger::{Messenger, RequestError, SyncVersionsError};
use rskafka::protocol::frame::ReadError;
use socket2::{SockRef, Socket, TcpKeepalive};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Instant, timeout, timeout_at};

use super::backoff::Backoff;
use super::canonical::Names;
use super::link::{Link, Pulse, Stream};
use super::sasl::{Keep, Login, SaslFailure};
use super::status::CertificateStatus;
use super::tls::{self, Files, TlsFailure, TlsSession};
use super::upkeep;
use crate::config::certificate::Facts;
use crate::config::{DnsLookup, HostPort, KafkaConfig};

/// Largest answer that is read. Ours are small: an answer to a produce request takes some
/// 100 bytes a partition, metadata some 100 bytes a partition of the wanted topics.
const MAX_ANSWER_BYTES: usize = 8 << 20;

/// Bytes the kernel may take from us beyond what it can send now. Small, so that bytes
/// taken mean bytes sent and the request deadline sees a slow link as alive.
const NOT_SENT_LOW_WATER: u32 = 128 << 10;

/// Most certificates that the status shows: as many brokers as a big cluster has.
const CERTIFICATES_MAX: usize = 256;

/// Idle time before the first keepalive probe, and between probes: a broker that vanished
/// while nothing was sent is noticed within about a minute.
const KEEPALIVE: Duration = Duration::from_secs(20);

/// The steps to a connection, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Step {
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
pub(super) struct Trace {
    /// The step it is in; the last one after a success.
    pub(super) step: Step,
    /// What the name resolved to.
    pub(super) addresses: Vec<SocketAddr>,
    /// The address that took the connection.
    pub(super) peer: Option<SocketAddr>,
    /// What was agreed in the handshake.
    pub(super) tls: Option<TlsSession>,
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
pub(super) enum ConnectError {
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
    #[error("no connection to {host}:{port} within {seconds} s ({step})")]
    TimedOut {
        host: String,
        port: u16,
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
    pub(super) fn step(&self) -> Step {
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
    pub(super) fn needs_person(&self) -> bool {
        match self {
            Self::Tls(failure) => failure.needs_person(),
            Self::Sasl(failure) => failure.needs_person(),
            _ => false,
        }
    }
}

/// What connections need from the configuration.
#[derive(Debug)]
pub(super) struct Connector {
    config: KafkaConfig,
    keep: Keep,
    names: Names,
    /// By whose they are.
    certificates: Mutex<BTreeMap<String, Facts>>,
}

impl Connector {
    pub(super) fn new(config: KafkaConfig) -> Arc<Self> {
        Arc::new(Self {
            config,
            keep: Keep::default(),
            names: Names::default(),
            certificates: Mutex::default(),
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
                host: to.host.clone(),
                port: to.port,
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
        let tcp = self.tcp(to, deadline, trace).await?;
        let socket = SockRef::from(&tcp).try_clone();
        let socket = socket.map_err(ConnectError::Socket)?;
        let stream = match &self.config.tls {
            None => Stream::Plain(tcp),
            Some(tls) => {
                trace.step = Step::Tls;
                let (stream, session) = tls::handshake(tls, &to.host, tcp).await?;
                self.note(to, &session);
                trace.tls = Some(session);
                Stream::Tls(Box::new(stream))
            }
        };
        let pulse = Pulse::new();
        let link = Link::new(stream, pulse.clone());
        let client_id = self.config.client_id.clone();
        trace.step = Step::Versions;
        let mut messenger = Messenger::new(link, MAX_ANSWER_BYTES, client_id);
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

    /// Remembers what the status tells of certificates.
    fn note(&self, to: &HostPort, session: &TlsSession) {
        let broker = format!("broker {}:{}", to.host, to.port);
        let known = [
            (broker, &session.certificate),
            ("ours (ssl.certificate.location)".to_owned(), &session.ours),
            ("authority (ssl.ca.location)".to_owned(), &session.authority),
        ];
        // Poisoned only by a panic in here, which has none.
        let Ok(mut certificates) = self.certificates.lock() else {
            return;
        };
        for (whose, facts) in known {
            if certificates.len() >= CERTIFICATES_MAX && !certificates.contains_key(&whose) {
                certificates.pop_first();
            }
            if let Some(facts) = facts {
                certificates.insert(whose, facts.clone());
            }
        }
    }

    /// Certificates by the last handshakes.
    pub(super) fn certificates(&self) -> Vec<CertificateStatus> {
        let Ok(certificates) = self.certificates.lock() else {
            return Vec::new();
        };
        let all = certificates.iter();
        all.map(|(whose, facts)| CertificateStatus {
            whose: whose.clone(),
            subject: facts.subject.clone(),
            not_after: facts.not_after,
        })
        .collect()
    }

    /// Tries every address of the name in turn, each within its share of the time.
    async fn tcp(
        &self,
        to: &HostPort,
        deadline: Instant,
        trace: &mut Trace,
    ) -> Result<TcpStream, ConnectError> {
        let host = || to.host.clone();
        let found = tokio::net::lookup_host((to.host.as_str(), to.port)).await;
        let found = found.map_err(|source| ConnectError::Resolve {
            host: host(),
            source,
        })?;
        let addresses: Vec<SocketAddr> = found.collect();
        trace.step = Step::Tcp;
        trace.addresses.clone_from(&addresses);
        let mut left = u32::try_from(addresses.len()).unwrap_or(u32::MAX);
        let mut failure = ConnectError::NoAddress { host: host() };
        for address in addresses {
            let share = deadline.saturating_duration_since(Instant::now()) / left.max(1);
            left = left.saturating_sub(1);
            let tried = timeout(share, self.tcp_to(address)).await;
            let tried = tried.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
            match tried {
                Ok(stream) => {
                    trace.peer = Some(address);
                    return Ok(stream);
                }
                Err(source) => failure = ConnectError::Tcp { address, source },
            }
        }
        Err(failure)
    }

    async fn tcp_to(&self, address: SocketAddr) -> io::Result<TcpStream> {
        let socket = if address.is_ipv4() {
            TcpSocket::new_v4()?
        } else {
            TcpSocket::new_v6()?
        };
        if let Some(bytes) = self.config.send_buffer {
            socket.set_send_buffer_size(bytes)?;
        }
        if let Some(bytes) = self.config.receive_buffer {
            socket.set_recv_buffer_size(bytes)?;
        }
        let stream = socket.connect(address).await?;
        // Without it 9 to 60 kB requests wait 44 ms for a delayed ACK (measured).
        stream.set_nodelay(true)?;
        let tuned = SockRef::from(&stream);
        tuned.set_tcp_keepalive(
            &TcpKeepalive::new()
                .with_time(KEEPALIVE)
                .with_interval(KEEPALIVE)
                .with_retries(2),
        )?;
        tuned.set_tcp_user_timeout(Some(self.config.request_timeout))?;
        tuned.set_tcp_notsent_lowat(NOT_SENT_LOW_WATER)?;
        Ok(stream)
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

/// The TLS alert that ended the version exchange, if one did.
fn versions_alert(failure: &SyncVersionsError) -> Option<&rustls::Error> {
    match failure {
        SyncVersionsError::RequestError(error) => alert(error),
        _ => None,
    }
}

fn alert(error: &RequestError) -> Option<&rustls::Error> {
    let source = match error {
        RequestError::Poisoned(cause) => return alert(cause),
        RequestError::ReadFramedMessageError(ReadError::IO(source)) | RequestError::IO(source) => {
            source
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn kernel_buffers_have_the_size_that_is_asked_for() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let mut config = KafkaConfig::new(Vec::new());
        config.send_buffer = Some(64 << 10);
        config.receive_buffer = Some(48 << 10);
        let connector = Connector::new(config);
        let address = listener.local_addr().unwrap();
        let stream = connector.tcp_to(address).await.unwrap();
        let socket = SockRef::from(&stream);
        // The kernel takes twice as much, for its own accounts (socket(7)).
        assert_eq!(socket.send_buffer_size().unwrap(), 128 << 10);
        assert_eq!(socket.recv_buffer_size().unwrap(), 96 << 10);
    }
}
