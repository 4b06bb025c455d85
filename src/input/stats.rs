//! Counters of one input, read by status. Counts only; decides nothing.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::framing::{Framed, Refusal};

/// What one input has seen since the daemon started.
#[derive(Debug, Default)]
pub struct InputStats {
    /// Connections open now.
    pub connections: AtomicU64,
    /// Connections taken.
    pub connections_total: AtomicU64,
    /// Connections turned away at the limit.
    pub connections_refused: AtomicU64,
    /// Connections that ended with answers unread: the writer went away, or was closed
    /// because it did not read.
    pub closed_unread: AtomicU64,
    /// Events framed.
    pub events: AtomicU64,
    /// Their payload, bytes.
    pub bytes: AtomicU64,
    /// Lines refused as too long.
    pub too_long: AtomicU64,
    /// Lines refused because unfinished lines took too much memory.
    pub busy: AtomicU64,
    /// Lines refused because the spool was full.
    pub spool_full: AtomicU64,
    /// Lines refused because the spool failed.
    pub not_stored: AtomicU64,
}

impl InputStats {
    /// Counts one read.
    pub fn received(&self, framed: &Framed) {
        self.events.fetch_add(framed.events.len() as u64, Relaxed);
        self.bytes
            .fetch_add(framed.events.payload_bytes() as u64, Relaxed);
        for (_, reason) in &framed.refused {
            self.refused(*reason, 1);
        }
    }

    /// Counts refused lines.
    pub fn refused(&self, reason: Refusal, lines: u64) {
        let counter = match reason {
            Refusal::Busy => &self.busy,
            Refusal::SpoolFull => &self.spool_full,
            Refusal::TooLong => &self.too_long,
            // Dead letters are counted by the ledger.
            Refusal::DeadLettered => return,
            Refusal::NotStored => &self.not_stored,
        };
        counter.fetch_add(lines, Relaxed);
    }

    /// Counts a writer that was closed for not reading.
    pub fn closed_unread(&self) {
        self.closed_unread.fetch_add(1, Relaxed);
    }
}
