//! The service manager's end of sd_notify(3): a datagram socket that remembers what it heard,
//! and a store for the descriptors that came with it.

use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use anyhow::{Context, Result};
use rustix::io::FdFlags;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};

/// Longest datagram taken, bytes.
const DATAGRAM: usize = 4096;
/// The first descriptor that a service manager hands over (sd_listen_fds(3)).
const FIRST: usize = 3;
/// What the socket sends itself to end its thread.
const END: &[u8] = b"X_END=1";

/// The socket and a thread that empties it: a full one would hold up the daemon.
#[derive(Debug)]
pub(super) struct Notices {
    path: PathBuf,
    lines: Arc<Mutex<Vec<String>>>,
    store: Arc<Mutex<Vec<(String, OwnedFd)>>>,
    thread: Option<JoinHandle<()>>,
}

impl Notices {
    pub(super) fn listen(path: &Path) -> Result<Self> {
        let socket = UnixDatagram::bind(path).with_context(|| path.display().to_string())?;
        let lines = Arc::new(Mutex::new(Vec::new()));
        let store = Arc::new(Mutex::new(Vec::new()));
        let (heard, kept) = (Arc::clone(&lines), Arc::clone(&store));
        let thread = thread::spawn(move || {
            let mut buffer = [0; DATAGRAM];
            while let Ok((length, descriptor)) = receive(&socket, &mut buffer) {
                let datagram = &buffer[..length];
                if datagram == END {
                    return;
                }
                let text = String::from_utf8_lossy(datagram);
                keep(&mut lock(&kept), &text, descriptor);
                lock(&heard).extend(text.lines().map(str::to_owned));
            }
        });
        Ok(Self {
            path: path.to_owned(),
            lines,
            store,
            thread: Some(thread),
        })
    }

    /// What `systemd` would give the next process: lines of `bash` that put each descriptor in
    /// its place, and the names. Empty when nothing is kept.
    pub(super) fn hand_over(&self) -> Result<(String, String)> {
        let (mut places, mut names) = (String::new(), Vec::new());
        for (index, (name, descriptor)) in lock(&self.store).iter().enumerate() {
            // For the child alone to inherit; the test keeps it, as the store does.
            rustix::io::fcntl_setfd(descriptor, FdFlags::empty())?;
            places += &format!(" {}<&{}", index + FIRST, descriptor.as_raw_fd());
            names.push(name.clone());
        }
        Ok((places, names.join(":")))
    }

    /// Number of descriptors that are kept.
    pub(super) fn kept(&self) -> usize {
        lock(&self.store).len()
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn lines(&self) -> Vec<String> {
        lock(&self.lines).clone()
    }

    pub(super) fn has(&self, line: &str) -> bool {
        lock(&self.lines).iter().any(|l| l == line)
    }

    /// Forgets everything, so that the next run is heard alone.
    pub(super) fn forget(&self) {
        lock(&self.lines).clear();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn receive(
    socket: &UnixDatagram,
    buffer: &mut [u8],
) -> rustix::io::Result<(usize, Option<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::CMSG_CLOEXEC;
    let got = recvmsg(socket, &mut [IoSliceMut::new(buffer)], &mut control, flags)?;
    let mut rights = control.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    });
    Ok((got.bytes, rights.next()))
}

/// FDSTORE=1 and FDSTOREREMOVE=1 (sd_notify(3)).
fn keep(store: &mut Vec<(String, OwnedFd)>, text: &str, descriptor: Option<OwnedFd>) {
    let mut lines = text.lines();
    let name = lines.clone().find_map(|line| line.strip_prefix("FDNAME="));
    let name = name.unwrap_or_default().to_owned();
    if lines.any(|line| line == "FDSTOREREMOVE=1") {
        store.retain(|(kept, _)| *kept != name);
    }
    store.extend(descriptor.map(|descriptor| (name, descriptor)));
}

impl Drop for Notices {
    fn drop(&mut self) {
        let sent = UnixDatagram::unbound().and_then(|socket| socket.send_to(END, &self.path));
        if let (Ok(_), Some(thread)) = (sent, self.thread.take()) {
            let _ = thread.join();
        }
    }
}
