//! The systemd notify protocol (sd_notify(3)): READY, STATUS, WATCHDOG, RELOADING, STOPPING.
//!
//! Silent when the daemon was not started by a service manager. Decides nothing about health.

use std::time::Duration;

use sd_notify::NotifyState;
use tracing::debug;

/// How often the watchdog wants a sign of life, when it does: half of `WatchdogSec`, as
/// sd_watchdog_enabled(3) advises.
pub(super) fn watchdog_interval() -> Option<Duration> {
    sd_notify::watchdog_enabled().map(|timeout| timeout / 2)
}

/// The spool is recovered and the inputs listen. Never waits for Kafka.
pub(super) fn ready() {
    tell(&[NotifyState::Ready]);
}

/// One line for `systemctl status`.
pub(super) fn status(line: &str) {
    tell(&[NotifyState::Status(line)]);
}

/// Intake and drain have both made progress, or had nothing to do.
pub(super) fn alive() {
    tell(&[NotifyState::Watchdog]);
}

/// A reload has begun; [`ready`] ends it.
pub(super) fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(_) => tell(&[NotifyState::Reloading]),
    }
}

/// An ordered stop has begun.
pub(super) fn stopping() {
    tell(&[NotifyState::Stopping]);
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        debug!(%error, "cannot tell the service manager");
    }
}
