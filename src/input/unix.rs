//! A Unix stream socket input: binds the path safely, accepts, limits connections.
//!
//! Does not read from connections; that is `connection`.

use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc::UnboundedSender;
use tokio::task::{JoinError, JoinSet};
use tracing::{info, warn};

use super::activation::Handed;
use super::connection::{self, Context};
use super::framing::{Decoder, LineMemory};
use super::park::{Parked, Rest};
use super::seldom::Seldom;
use super::stats::InputStats;
use super::stop::Stop;
use crate::config::UnixConfig;
use crate::event::{Peer, Source};
use crate::spool::Appender;

/// Wait after a failed accept, e.g. when the process has no file descriptor left.
pub const ACCEPT_RETRY: Duration = Duration::from_millis(200);

/// Why a socket could not be bound.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Something that is no socket is at the path.
    #[error("{path} exists and is not a socket; move it away or choose another path")]
    NotASocket {
        /// The path.
        path: PathBuf,
    },
    /// Another program answers there.
    #[error("another program listens on {path}; stop it or choose another path")]
    InUse {
        /// The path.
        path: PathBuf,
    },
    /// The group is not known on this host.
    #[error("the group \"{group}\" for {path} is not known on this host")]
    NoGroup {
        /// Its name.
        group: String,
        /// The path.
        path: PathBuf,
    },
    /// The system refused.
    #[error("cannot {action} {path}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// The path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// A bound socket that does not accept yet.
#[derive(Debug)]
pub struct BoundSocket {
    listener: UnixListener,
    /// The file that goes with the socket; none when a service manager owns it.
    owned: Option<PathBuf>,
}

impl BoundSocket {
    /// Takes the socket that was handed over for this path, permissions and all; binds one
    /// where there is none.
    pub fn claim_or_bind(config: &UnixConfig, handed: &mut Handed) -> Result<Self, BindError> {
        let Some(listener) = handed.claim(&config.path) else {
            return Self::bind(config);
        };
        let ready = listener.set_nonblocking(true);
        let listener = ready.and_then(|()| UnixListener::from_std(listener));
        let listener = listener.map_err(|source| BindError::Io {
            action: "use the socket handed over for",
            path: config.path.clone(),
            source,
        })?;
        Ok(Self {
            listener,
            owned: None,
        })
    }

    /// Binds with the permissions of `config` in force from the first instant.
    ///
    /// A stale socket is replaced; anything else at the path is refused.
    pub fn bind(config: &UnixConfig) -> Result<Self, BindError> {
        let path = config.path.clone();
        let io = |action| {
            let path = path.clone();
            move |source| BindError::Io {
                action,
                path,
                source,
            }
        };
        remove_stale(&path)?;
        // Nobody may connect between bind and chmod.
        let old = rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o177));
        let bound = UnixListener::bind(&path);
        rustix::process::umask(old);
        let listener = bound.map_err(io("bind"))?;
        if let Some(group) = &config.group {
            let gid = group_id(group, &path)?;
            std::os::unix::fs::chown(&path, None, Some(gid)).map_err(io("change the group of"))?;
        }
        let mode = std::fs::Permissions::from_mode(config.mode);
        std::fs::set_permissions(&path, mode).map_err(io("set the mode of"))?;
        Ok(Self {
            listener,
            owned: Some(path),
        })
    }
}

impl BoundSocket {
    /// The socket, to accept from.
    pub fn listener(&self) -> &UnixListener {
        &self.listener
    }
}

impl Drop for BoundSocket {
    fn drop(&mut self) {
        if let Some(path) = &self.owned {
            let _ = std::fs::remove_file(path);
        }
    }
}

fn remove_stale(path: &Path) -> Result<(), BindError> {
    let owned = || path.to_owned();
    let found = match std::fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => {
            return Err(BindError::Io {
                action: "look at",
                path: owned(),
                source,
            });
        }
    };
    if !found.file_type().is_socket() {
        return Err(BindError::NotASocket { path: owned() });
    }
    if !is_abandoned(path).map_err(|source| BindError::Io {
        action: "tell whether a program listens on",
        path: owned(),
        source,
    })? {
        return Err(BindError::InUse { path: owned() });
    }
    std::fs::remove_file(path).map_err(|source| BindError::Io {
        action: "remove the stale socket",
        path: owned(),
        source,
    })
}

/// Whether nobody listens on the stream socket at `path`. Does not wait, not even for a
/// program whose backlog is full.
fn is_abandoned(path: &Path) -> io::Result<bool> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    match connect(&socket, &SocketAddrUnix::new(path)?) {
        Err(Errno::CONNREFUSED) => Ok(true),
        Ok(()) | Err(Errno::AGAIN) => Ok(false),
        // Of another kind (`/dev/log`, say), or of another user.
        Err(error) => Err(error.into()),
    }
}

/// Looks a group up by number, else by name in `/etc/group` (group(5)).
fn group_id(group: &str, path: &Path) -> Result<u32, BindError> {
    if let Ok(gid) = group.parse() {
        return Ok(gid);
    }
    let table = std::fs::read_to_string("/etc/group").unwrap_or_default();
    table
        .lines()
        .filter_map(|line| {
            let mut fields = line.split(':');
            (fields.next() == Some(group)).then(|| fields.nth(1)?.parse().ok())?
        })
        .next()
        .ok_or_else(|| BindError::NoGroup {
            group: group.to_owned(),
            path: path.to_owned(),
        })
}

/// What every socket input of the daemon shares.
#[derive(Clone)]
pub struct Shared {
    /// Where events go.
    pub appender: Appender,
    /// Daemon-wide budget for unfinished lines.
    pub memory: Arc<LineMemory>,
    /// Largest event, bytes.
    pub max_event_bytes: u32,
}

/// One input and the tasks of its connections.
struct Input {
    name: Arc<str>,
    config: UnixConfig,
    shared: Shared,
    stats: Arc<InputStats>,
    stop: Stop,
    connections: JoinSet<Option<(UnixStream, Rest)>>,
    parking: UnboundedSender<Parked>,
}

/// Goes on with the connections in `parked`, accepts until `stop`, and returns when every
/// connection has ended or rests. One that rests goes to `parking` at once, whatever the
/// others still wait for.
pub async fn run(
    socket: BoundSocket,
    (name, config): (Arc<str>, UnixConfig),
    shared: Shared,
    stats: Arc<InputStats>,
    parked: Vec<(StdUnixStream, Rest)>,
    parking: UnboundedSender<Parked>,
    stop: Stop,
) {
    info!(input = %name, path = %config.path.display(), resumed = parked.len(), "listening");
    let mut input = Input {
        name,
        config,
        shared,
        stats,
        stop,
        connections: JoinSet::new(),
        parking,
    };
    for (stream, rest) in parked {
        let ready = stream.set_nonblocking(true);
        match ready.and_then(|()| UnixStream::from_std(stream)) {
            Ok(stream) => input.serve(stream, rest),
            Err(error) => warn!(input = %input.name, %error, "cannot resume a connection"),
        }
    }
    input.accept_all(&socket).await;
    drop(socket);
    while let Some(ended) = input.connections.join_next().await {
        input.end(ended);
    }
}

impl Input {
    async fn accept_all(&mut self, socket: &BoundSocket) {
        let (mut refusals, mut failures) = (Seldom::default(), Seldom::default());
        loop {
            let accepted = tokio::select! {
                accepted = socket.listener.accept() => accepted,
                Some(ended) = self.connections.join_next() => {
                    self.end(ended);
                    continue;
                }
                () = self.stop.asked() => return,
            };
            while let Some(ended) = self.connections.try_join_next() {
                self.end(ended);
            }
            let open = self.connections.len();
            match accepted {
                Ok(_) if open >= self.config.max_connections as usize => {
                    self.stats.connections_refused.fetch_add(1, Relaxed);
                    if refusals.is_due() {
                        warn!(input = %self.name, limit = self.config.max_connections,
                            "connections are refused: max_connections reached");
                    }
                }
                Ok((stream, _)) => self.serve(stream, Rest::default()),
                Err(error) => {
                    if failures.is_due() {
                        warn!(input = %self.name, %error,
                            "cannot accept connections; trying again");
                    }
                    tokio::time::sleep(ACCEPT_RETRY).await;
                }
            }
        }
    }

    /// Parks what rests of a connection: it may hear of a stop before the input does.
    fn end(&mut self, ended: Result<Option<(UnixStream, Rest)>, JoinError>) {
        self.count_open();
        if let Ok(Some((stream, rest))) = ended
            && let Ok(stream) = stream.into_std()
        {
            let input = self.name.clone();
            // Once nobody takes it any more, it ends.
            let _ = self.parking.send(Parked {
                input,
                stream,
                rest,
            });
        }
    }

    fn count_open(&self) {
        let open = self.connections.len();
        self.stats.connections.store(open as u64, Relaxed);
    }

    fn serve(&mut self, stream: UnixStream, begin: Rest) {
        self.stats.connections_total.fetch_add(1, Relaxed);
        let context = context(&stream, &self.name, &self.config, &self.shared, &self.stats);
        let decoder = Decoder::new(self.shared.max_event_bytes, self.shared.memory.clone());
        let serving = connection::serve(stream, decoder, begin, context, self.stop.clone());
        self.connections.spawn(serving);
        self.count_open();
    }
}

fn context(
    stream: &UnixStream,
    name: &Arc<str>,
    config: &UnixConfig,
    shared: &Shared,
    stats: &Arc<InputStats>,
) -> Context {
    let peer = stream.peer_cred().ok().map(|cred| Peer {
        uid: cred.uid(),
        gid: cred.gid(),
        pid: cred.pid().unwrap_or(0),
    });
    Context {
        source: Arc::new(Source {
            input: name.clone(),
            peer,
            file: None,
        }),
        appender: shared.appender.clone(),
        ack: config.ack,
        accept_unterminated: config.accept_unterminated,
        idle_timeout: config.idle_timeout,
        stats: stats.clone(),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::{UnixDatagram, UnixListener as StdUnixListener};

    use super::*;

    fn refused(path: &Path) -> BindError {
        let bound = BoundSocket::bind(&UnixConfig::new(path.to_owned()));
        assert!(path.exists(), "what was there is gone");
        bound.expect_err("it is not ours")
    }

    #[tokio::test]
    async fn only_a_socket_that_nobody_listens_on_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        drop(StdUnixListener::bind(&path).unwrap());
        drop(BoundSocket::bind(&UnixConfig::new(path.clone())).unwrap());
        assert!(!path.exists(), "and goes with us");

        // As `/dev/log` is.
        let _datagram = UnixDatagram::bind(&path).unwrap();
        assert!(matches!(refused(&path), BindError::Io { .. }));
    }

    #[tokio::test]
    async fn a_program_that_accepts_nothing_is_not_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let listener = StdUnixListener::bind(&path).unwrap();
        rustix::net::listen(&listener, 0).unwrap();
        let _waits = StdUnixStream::connect(&path).unwrap();
        assert!(!is_abandoned(&path).unwrap());
        assert!(matches!(refused(&path), BindError::InUse { .. }));
    }
}
