//! What a service manager has kept for this daemon (sd_listen_fds(3), systemd.socket(5)).
//!
//! Sockets outlive the daemon: while it restarts, writers wait in the backlog and none is
//! refused. Each is claimed by the input whose path is its address. So do connections that
//! the daemon before parked, with a table of where they stand. Binds nothing.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::park::{self, Rest};

/// Name of a parked connection's descriptor, before its place in the table.
const CONNECTION: &str = "connection-";
/// Name of the descriptor that holds the table.
const TABLE: &str = "connections";
/// Largest table that is read, in bytes: all memory for lines that have begun, and names.
const TABLE_MAX: u64 = 64 << 20;

/// The name under which the `index`-th parked connection is kept.
pub fn connection_name(index: usize) -> String {
    format!("{CONNECTION}{index}")
}

/// The name under which the table of parked connections is kept.
pub fn table_name() -> &'static str {
    TABLE
}

/// What was handed over and not claimed yet.
#[derive(Debug, Default)]
pub struct Handed {
    listeners: Vec<(PathBuf, UnixListener)>,
    parked: Vec<(Arc<str>, UnixStream, Rest)>,
    kept: Vec<String>,
}

impl Handed {
    /// Takes all of them out of the environment. To be called once, before the first thread
    /// starts, because the variables are removed so that no child inherits them.
    ///
    /// # Errors
    /// When a socket is no listening Unix stream socket with a path.
    pub fn take() -> io::Result<Self> {
        let names: Vec<(i32, String)> = sd_notify::listen_fds_with_names()
            .map(Iterator::collect)
            .unwrap_or_default();
        let mut fds = listenfd::ListenFd::from_env();
        let mut handed = Self::default();
        let mut table = Vec::new();
        let mut streams = Vec::new();
        for index in 0..fds.len() {
            let name = names.get(index).map_or("", |(_, name)| name);
            if name == TABLE {
                handed.kept.push(name.to_owned());
                table = names
                    .get(index)
                    .map_or_else(Vec::new, |&(fd, _)| read_table(fd));
            } else if let Some(place) = name.strip_prefix(CONNECTION) {
                handed.kept.push(name.to_owned());
                let stream = fds.take_unix_listener(index).ok().flatten();
                streams.extend(stream.and_then(|s| Some((place.parse().ok()?, s))));
            } else if let Some(listener) = fds.take_unix_listener(index)? {
                handed.listeners.push((path_of(&listener)?, listener));
            }
        }
        handed.resume(&table, streams);
        Ok(handed)
    }

    /// Joins connections and their places in the table; what does not fit is closed, and its
    /// writer connects anew.
    fn resume(&mut self, table: &[u8], streams: Vec<(usize, UnixListener)>) {
        let rests = park::decode(table).unwrap_or_default();
        for (place, stream) in streams {
            if let Some((input, rest)) = rests.get(place) {
                // A connection, though it came as what the crate can take out.
                let stream = UnixStream::from(OwnedFd::from(stream));
                self.parked.push((input.clone(), stream, rest.clone()));
            }
        }
    }

    /// Names of what the service manager keeps and has to forget before anything is read:
    /// a descriptor that it still holds would not close with ours.
    pub fn take_kept(&mut self) -> Vec<String> {
        std::mem::take(&mut self.kept)
    }

    /// The connections that were parked by the input of that name.
    pub fn take_parked(&mut self, input: &str) -> Vec<(UnixStream, Rest)> {
        let (mine, others) = std::mem::take(&mut self.parked)
            .into_iter()
            .partition(|(name, ..)| **name == *input);
        self.parked = others;
        let mine: Vec<(Arc<str>, UnixStream, Rest)> = mine;
        mine.into_iter()
            .map(|(_, stream, rest)| (stream, rest))
            .collect()
    }

    /// The socket at `path`, when it was handed over.
    pub fn claim(&mut self, path: &Path) -> Option<UnixListener> {
        let index = self.listeners.iter().position(|(at, _)| at == path)?;
        Some(self.listeners.swap_remove(index).1)
    }

    /// Paths that nobody claimed: writers that connect there wait for ever.
    pub fn unclaimed(&self) -> impl Iterator<Item = &Path> {
        self.listeners.iter().map(|(path, _)| path.as_path())
    }

    #[cfg(test)]
    pub(super) fn of(listeners: Vec<(PathBuf, UnixListener)>) -> Self {
        Self {
            listeners,
            ..Self::default()
        }
    }
}

fn path_of(listener: &UnixListener) -> io::Result<PathBuf> {
    let address = listener.local_addr()?;
    let path = address.as_pathname().ok_or_else(|| {
        io::Error::other("a socket without a path was handed over; use ListenStream=/path")
    })?;
    Ok(path.to_owned())
}

/// The table in descriptor `fd`; empty when it cannot be read.
fn read_table(fd: i32) -> Vec<u8> {
    let mut table = Vec::new();
    // Opened anew, by name: that begins at its start, and takes no descriptor by number.
    let read = File::open(format!("/proc/self/fd/{fd}"))
        .and_then(|file| file.take(TABLE_MAX).read_to_end(&mut table));
    if let Err(error) = read {
        tracing::warn!(%error, "cannot read where parked connections stand; they are closed");
        table.clear();
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::UnixConfig;
    use crate::input::unix::BoundSocket;

    #[tokio::test]
    async fn a_socket_handed_over_is_used_and_left_alone_at_the_end() {
        let dir = tempfile::tempdir().unwrap();
        let (path, other) = (dir.path().join("a.sock"), dir.path().join("b.sock"));
        let manager = UnixListener::bind(&path).unwrap();
        let listeners = vec![(path.clone(), manager.try_clone().unwrap())];
        let mut handed = Handed::of(listeners);
        let claimed = BoundSocket::claim_or_bind(&UnixConfig::new(path.clone()), &mut handed);
        let bound = BoundSocket::claim_or_bind(&UnixConfig::new(other.clone()), &mut handed);
        assert_eq!(handed.unclaimed().count(), 0);
        drop((claimed.unwrap(), bound.unwrap()));
        assert!(!other.exists(), "a socket of our own goes with the daemon");
        // Nobody accepts now, and still the writer is not refused.
        std::os::unix::net::UnixStream::connect(&path).unwrap();
    }

    #[test]
    fn a_parked_connection_goes_to_its_input_with_its_place() {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let stranger = UnixStream::pair().unwrap().0;
        let rest = Rest {
            settled: 7,
            ..Rest::default()
        };
        let table = park::encode([("other", &Rest::default()), ("app", &rest)].into_iter());
        let as_taken = |stream: UnixStream| UnixListener::from(OwnedFd::from(stream));
        let mut handed = Handed::default();
        handed.resume(&table, vec![(1, as_taken(ours)), (9, as_taken(stranger))]);
        assert!(handed.take_parked("nobody").is_empty());
        let mine = handed.take_parked("app");
        assert_eq!(mine.len(), 1);
        assert_eq!(mine[0].1, rest);
    }

    #[test]
    fn a_socket_that_no_input_names_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let mut handed = Handed::of(vec![(path.clone(), listener)]);
        assert!(handed.claim(Path::new("/elsewhere")).is_none());
        assert_eq!(handed.unclaimed().collect::<Vec<_>>(), [path]);
    }
}
