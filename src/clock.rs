//! The host's clock as a number. For stamps and ages only: whoever waits asks `Instant`.

use std::time::{SystemTime, UNIX_EPOCH};

/// Milliseconds since the Unix epoch, as the host's clock reads.
pub type UnixMillis = i64;

/// The time now; 0 while the clock stands before the epoch.
pub fn unix_ms() -> UnixMillis {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    UnixMillis::try_from(since.as_millis()).unwrap_or(UnixMillis::MAX)
}
