//! Counters of one file input, read by status. Counts only; decides nothing.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::turn::Portion;

/// What one file input has seen since the daemon started, and what it has in hand.
#[derive(Debug, Default)]
pub struct FileStats {
    /// Files followed now.
    pub files: AtomicU64,
    /// Of them open.
    pub open: AtomicU64,
    /// Events read.
    pub events: AtomicU64,
    /// Their payload, bytes.
    pub bytes: AtomicU64,
    /// Bytes in the files that are not in the spool yet, at the last look.
    pub lag_bytes: AtomicU64,
    /// Lines longer than `max_line`: the beginning is an event.
    pub cut_lines: AtomicU64,
    /// Bytes of those lines that were left out.
    pub cut_bytes: AtomicU64,
    /// Files that were truncated, or removed while they were not open, when something in
    /// them may not have been read.
    pub possible_losses: AtomicU64,
    /// Bytes known to be among them; what was never seen is not counted.
    pub lost_bytes: AtomicU64,
    /// Deleted files with unread bytes that are held open.
    pub deleted_files: AtomicU64,
    /// Bytes that those keep from the disk.
    pub deleted_bytes: AtomicU64,
    /// Files that were removed after their delivery.
    pub removed: AtomicU64,
    /// Files that may not be read or could not be: symbolic links, FIFOs, no permission.
    pub refused: AtomicU64,
    /// Failed reads and looks.
    pub errors: AtomicU64,
}

impl FileStats {
    /// Counts what one turn read.
    pub(super) fn read(&self, portions: &[Portion], left_out: u64) {
        for portion in portions {
            self.events.fetch_add(u64::from(portion.run.count), Relaxed);
            let bytes = portion.events.payload_bytes() as u64;
            self.bytes.fetch_add(bytes, Relaxed);
            let cut = if portion.run.is_cut {
                portion.run.count
            } else {
                0
            };
            self.cut_lines.fetch_add(u64::from(cut), Relaxed);
        }
        self.cut_bytes.fetch_add(left_out, Relaxed);
    }

    /// Counts one file of which something may be lost, `bytes` for certain.
    pub(super) fn possible_loss(&self, bytes: u64) {
        self.possible_losses.fetch_add(1, Relaxed);
        self.lost_bytes.fetch_add(bytes, Relaxed);
    }
}
