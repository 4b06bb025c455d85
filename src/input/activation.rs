//! Sockets that a service manager has bound already (sd_listen_fds(3), systemd.socket(5)).
//!
//! They outlive the daemon: while it restarts, writers wait in the backlog and none is
//! refused. Each is claimed by the input whose path is its address. Binds nothing.

use std::io;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

/// What was handed over and not claimed yet.
#[derive(Debug, Default)]
pub struct Handed {
    listeners: Vec<(PathBuf, UnixListener)>,
}

impl Handed {
    /// Takes all of them out of the environment. To be called once, before the first thread
    /// starts, because the variables are removed so that no child inherits them.
    ///
    /// # Errors
    /// When one is no listening Unix stream socket with a path.
    pub fn take() -> io::Result<Self> {
        let mut fds = listenfd::ListenFd::from_env();
        let mut listeners = Vec::new();
        for index in 0..fds.len() {
            let Some(listener) = fds.take_unix_listener(index)? else {
                continue;
            };
            let address = listener.local_addr()?;
            let path = address.as_pathname().ok_or_else(|| {
                io::Error::other("a socket without a path was handed over; use ListenStream=/path")
            })?;
            listeners.push((path.to_owned(), listener));
        }
        Ok(Self { listeners })
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
        Self { listeners }
    }
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
    fn a_socket_that_no_input_names_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let mut handed = Handed::of(vec![(path.clone(), listener)]);
        assert!(handed.claim(Path::new("/elsewhere")).is_none());
        assert_eq!(handed.unclaimed().collect::<Vec<_>>(), [path]);
    }
}
