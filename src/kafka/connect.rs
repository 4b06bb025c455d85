//! Opens a connection to a broker: name, TCP, TLS, versions, login; all under one deadline.
//!
//! Files and secrets are read again for each connection, so that what a person mends is
//! taken up without a restart. Does not retry; its callers do, each with its own backoff.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rskafka::messenger::{Messenger, RequestError, SyncVersionsError};
use rskafka::protocol::frame::ReadError;
use socket2::{SockRef, Socket, TcpKeepalive};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Instant, timeout, timeout_at};

use super::link::{Link, Pulse, Stream};
use super::sasl::{self, SaslFailure};
use super::tls::{self, TlsFailure};
use crate::config::{HostPort, KafkaConfig};

/// Largest answer that is read. Ours are small: an answer to a produce request takes some
/// 100 bytes a partition, metadata some 100 bytes a partition of the wanted topics.
const MAX_ANSWER_BYTES: usize = 8 << 20;

/// Bytes the kernel may take from us beyond what it can send now. Small, so that bytes
/// taken mean bytes sent and the request deadline sees a slow link as alive.
const NOT_SENT_LOW_WATER: u32 = 128 << 10;

/// Idle time before the first keepalive probe, and between probes: a broker that vanished
/// while nothing was sent is noticed within about a minute.
const KEEPALIVE: Duration = Duration::from_secs(20);

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
        step: &'static str,
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
}

impl Connector {
    pub(super) fn new(config: KafkaConfig) -> Arc<Self> {
        Arc::new(Self { config })
    }

    pub(super) fn config(&self) -> &KafkaConfig {
        &self.config
    }

    /// Opens a connection that is ready for requests.
    pub(super) async fn connect(&self, to: &HostPort) -> Result<Connection, ConnectError> {
        let deadline = Instant::now() + self.config.connect_timeout;
        let mut step = "name lookup and TCP";
        match timeout_at(deadline, self.open(to, deadline, &mut step)).await {
            Ok(opened) => opened,
            Err(_) => Err(ConnectError::TimedOut {
                host: to.host.clone(),
                port: to.port,
                seconds: self.config.connect_timeout.as_secs(),
                step,
            }),
        }
    }

    async fn open(
        &self,
        to: &HostPort,
        deadline: Instant,
        step: &mut &'static str,
    ) -> Result<Connection, ConnectError> {
        let tcp = self.tcp(to, deadline).await?;
        let socket = SockRef::from(&tcp).try_clone();
        let socket = socket.map_err(ConnectError::Socket)?;
        let stream = match &self.config.tls {
            None => Stream::Plain(tcp),
            Some(tls) => {
                *step = "TLS handshake";
                Stream::Tls(Box::new(tls::handshake(tls, &to.host, tcp).await?))
            }
        };
        let pulse = Pulse::new();
        let link = Link::new(stream, pulse.clone());
        let client_id = self.config.client_id.clone();
        *step = "version exchange";
        let mut messenger = Messenger::new(link, MAX_ANSWER_BYTES, client_id);
        if let Err(failure) = messenger.sync_versions().await {
            // In TLS 1.3 the broker's verdict on our certificate comes after the handshake.
            return Err(match versions_alert(&failure) {
                Some(alert) => tls::explain(&to.host, alert).into(),
                None => failure.into(),
            });
        }
        let mut lifetime = None;
        if let Some(sasl) = &self.config.sasl {
            *step = "SASL login";
            lifetime = sasl::login(&messenger, sasl).await?;
        }
        Ok(Connection {
            messenger: Arc::new(messenger),
            pulse,
            socket,
            lifetime,
        })
    }

    /// Tries every address of the name in turn, each within its share of the time.
    async fn tcp(&self, to: &HostPort, deadline: Instant) -> Result<TcpStream, ConnectError> {
        let host = || to.host.clone();
        let found = tokio::net::lookup_host((to.host.as_str(), to.port)).await;
        let found = found.map_err(|source| ConnectError::Resolve {
            host: host(),
            source,
        })?;
        let addresses: Vec<SocketAddr> = found.collect();
        let mut left = u32::try_from(addresses.len()).unwrap_or(u32::MAX);
        let mut failure = ConnectError::NoAddress { host: host() };
        for address in addresses {
            let share = deadline.saturating_duration_since(Instant::now()) / left.max(1);
            left = left.saturating_sub(1);
            let tried = timeout(share, self.tcp_to(address)).await;
            let tried = tried.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
            match tried {
                Ok(stream) => return Ok(stream),
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
