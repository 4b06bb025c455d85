//! The service manager's end of sd_notify(3): a datagram socket that remembers what it heard.

use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use anyhow::{Context, Result};

/// Longest datagram taken, bytes.
const DATAGRAM: usize = 4096;
/// What the socket sends itself to end its thread.
const END: &[u8] = b"X_END=1";

/// The socket and a thread that empties it: a full one would hold up the daemon.
#[derive(Debug)]
pub(super) struct Notices {
    path: PathBuf,
    lines: Arc<Mutex<Vec<String>>>,
    thread: Option<JoinHandle<()>>,
}

impl Notices {
    pub(super) fn listen(path: &Path) -> Result<Self> {
        let socket = UnixDatagram::bind(path).with_context(|| path.display().to_string())?;
        let lines = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&lines);
        let thread = thread::spawn(move || {
            let mut buffer = [0; DATAGRAM];
            while let Ok(length) = socket.recv(&mut buffer) {
                let datagram = &buffer[..length];
                if datagram == END {
                    return;
                }
                let text = String::from_utf8_lossy(datagram);
                let mut lines = heard.lock().unwrap_or_else(PoisonError::into_inner);
                lines.extend(text.lines().map(str::to_owned));
            }
        });
        Ok(Self {
            path: path.to_owned(),
            lines,
            thread: Some(thread),
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn lines(&self) -> Vec<String> {
        self.lines
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub(super) fn has(&self, line: &str) -> bool {
        self.lines
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
            .any(|l| l == line)
    }

    /// Forgets everything, so that the next run is heard alone.
    pub(super) fn forget(&self) {
        self.lines
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
    }
}

impl Drop for Notices {
    fn drop(&mut self) {
        let sent = UnixDatagram::unbound().and_then(|socket| socket.send_to(END, &self.path));
        if let (Ok(_), Some(thread)) = (sent, self.thread.take()) {
            let _ = thread.join();
        }
    }
}
