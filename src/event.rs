//! Events as inputs hand them in: bytes, and where they came from.
//!
//! Owns no I/O and no sequence numbers; those are given by the spool.

use std::path::Path;
use std::sync::Arc;

pub use crate::clock::UnixMillis;

/// Size of an event that room for ends is made by, in bytes.
const USUAL_EVENT_BYTES: usize = 128;

/// Several whole events of one source, as one read delivered them.
///
/// What travels between owners is a read, never a single event: a hand-over per event
/// would cap the daemon near 400,000 events a second.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct EventBuf {
    bytes: Vec<u8>,
    ends: Vec<u32>,
}

impl EventBuf {
    /// An empty buffer with room for `bytes` of payload, so that it need not grow by copies.
    pub fn with_room(bytes: usize) -> Self {
        Self {
            bytes: Vec::with_capacity(bytes),
            ends: Vec::with_capacity(bytes / USUAL_EVENT_BYTES),
        }
    }

    /// Appends one event. An empty event is an event.
    ///
    /// The caller keeps a buffer below 4 GiB; framing closes one far earlier.
    pub fn push(&mut self, event: &[u8]) {
        self.bytes.extend_from_slice(event);
        self.ends.push(self.bytes.len() as u32);
    }

    /// Number of events.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is no event.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Payload bytes of all events together.
    pub fn payload_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Memory this buffer accounts for, in bytes: payload plus four per event.
    pub fn memory_bytes(&self) -> usize {
        self.bytes.len() + 4 * self.ends.len()
    }

    /// The payload of all events, end to end.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The end of each event within [`EventBuf::bytes`].
    pub fn ends(&self) -> &[u32] {
        &self.ends
    }

    /// The events in order.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let mut start = 0;
        self.ends.iter().map(move |&end| {
            let event = self.bytes.get(start..end as usize).unwrap_or_default();
            start = end as usize;
            event
        })
    }

    /// Forgets the events, keeps the memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
    }
}

/// Where events came from; recorded once per run of events in a block.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Source {
    /// `name` of the `[[input]]`.
    pub input: Arc<str>,
    /// The process at the other end of a Unix socket, when the kernel named it.
    pub peer: Option<Peer>,
    /// The log file, when they were read from one.
    pub file: Option<Arc<FileSource>>,
}

impl Source {
    /// Events of the input of this name, from nobody in particular.
    pub fn of_input(input: &str) -> Self {
        Self {
            input: input.into(),
            peer: None,
            file: None,
        }
    }
}

/// Credentials of a socket's peer at connect time (`SO_PEERCRED`, unix(7)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Peer {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// Process id; 0 when unknown. Never trusted, only recorded.
    pub pid: i32,
}

/// The log file that events were read from, as it was called at that time.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct FileSource {
    /// Inode number (`st_ino`, stat(2)).
    pub inode: u64,
    /// Device of the file system (`st_dev`).
    pub device: u64,
    /// Where it was found; any bytes but NUL, at most 4,095 of them.
    pub path: Box<Path>,
    /// Name and text of each capture of the `include` pattern, in the pattern's order.
    pub captures: Box<[(Arc<str>, Box<str>)]>,
}

/// Where the events of a read lie in their file, for `count` events in a row: each begins
/// `gap` bytes after the end of the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileRun {
    /// Number of events, at least 1.
    pub count: u32,
    /// Offset of the first byte of the first event.
    pub offset: u64,
    /// Bytes between two events, usually those of the line end. An event whose length in the
    /// file is not its length here (another encoding) is a run of its own.
    pub gap: u8,
    /// Whether the events are the beginnings of lines over the limit.
    pub is_cut: bool,
}

/// Where one event lies in its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FilePlace {
    /// Offset of its first byte, from the start of the file's content.
    pub offset: u64,
    /// Whether it is the beginning of a line over the limit.
    pub is_cut: bool,
}

/// How far an input has come with one thing it reads. Opaque to everyone but that input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// Names the thing: chosen at random by the input when it first sees it.
    pub key: u64,
    /// What the input wants to find after a restart; `None` forgets the key.
    pub value: Option<Arc<[u8]>>,
}
