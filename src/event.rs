//! Events as inputs hand them in: bytes, and where they came from.
//!
//! Owns no I/O and no sequence numbers; those are given by the spool.

use std::sync::Arc;

/// Milliseconds since the Unix epoch, as the host's clock read when the event arrived.
pub type UnixMillis = i64;

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
