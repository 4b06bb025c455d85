//! When the spool is full. Pure limits; the numbers are measured by others.

use std::fmt;

/// Why no more events are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FullReason {
    /// `spool.max_bytes` is reached.
    MaxBytes,
    /// The file system has fewer than `spool.min_free` bytes free.
    MinFree,
    /// Writing fails; the spool tries again by itself.
    WriteFailed,
}

impl fmt::Display for FullReason {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::MaxBytes => "spool.max_bytes is reached; raise it or let the drain catch up",
            Self::MinFree => {
                "fewer than spool.min_free bytes are free; free some disk space, or lower it"
            }
            Self::WriteFailed => "the disk does not take writes; see the last error",
        })
    }
}

/// The configured limits.
#[derive(Debug, Clone, Copy)]
pub(super) struct Quota {
    pub(super) max_bytes: u64,
    pub(super) min_free: u64,
}

/// Intake resumes only when this part of a limit, one in so many, is free again; without a
/// gap it would stop and go with every block.
const RESUME_PART: u64 = 64;

impl Quota {
    /// Whether the spool is full, given the bytes it takes, the bytes free on its file
    /// system, and whether it was full before.
    pub(super) fn check(
        &self,
        used: u64,
        free: u64,
        was: Option<FullReason>,
    ) -> Option<FullReason> {
        let gap = |reason, limit: u64| {
            if was == Some(reason) {
                limit / RESUME_PART
            } else {
                0
            }
        };
        if used
            >= self
                .max_bytes
                .saturating_sub(gap(FullReason::MaxBytes, self.max_bytes))
        {
            return Some(FullReason::MaxBytes);
        }
        if free
            < self
                .min_free
                .saturating_add(gap(FullReason::MinFree, self.min_free))
        {
            return Some(FullReason::MinFree);
        }
        None
    }
}
