//! The systemd notify protocol (sd_notify(3)): READY, STATUS, WATCHDOG, RELOADING, STOPPING,
//! and connections that wait in its file descriptor store.
//!
//! Silent when the daemon was not started by a service manager. Decides nothing about health.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::time::Duration;

use rustix::fs::MemfdFlags;
use sd_notify::NotifyState;
use tracing::{debug, info};

use crate::input::activation::{connection_name, table_name};
use crate::input::park::{Parked, encode};

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

/// Leaves connections with the service manager, for the daemon that it starts next. Without
/// a store (`FileDescriptorStoreMax=`) they end here, as they do at a stop without a restart.
pub(super) fn park(parked: &[Parked]) {
    if parked.is_empty() || std::env::var_os("NOTIFY_SOCKET").is_none() {
        return;
    }
    match store(parked) {
        Ok(()) => info!(
            connections = parked.len(),
            "connections wait for the next daemon"
        ),
        Err(error) => debug!(%error, "cannot leave connections with the service manager"),
    }
}

fn store(parked: &[Parked]) -> io::Result<()> {
    let table = rustix::fs::memfd_create(table_name(), MemfdFlags::CLOEXEC)?;
    let mut table = File::from(table);
    table.write_all(&encode(parked.iter().map(|p| (&*p.input, &p.rest))))?;
    let keep = |name: &str, fd| {
        sd_notify::notify_with_fds(&[NotifyState::FdStore, NotifyState::FdName(name)], &[fd])
    };
    // The table first: a connection without its place is closed by the next daemon.
    keep(table_name(), table.as_fd())?;
    for (index, parked) in parked.iter().enumerate() {
        keep(&connection_name(index), parked.stream.as_fd())?;
    }
    Ok(())
}

/// Has the service manager forget what it kept under these names.
pub(super) fn forget(names: &[String]) {
    for name in names {
        tell(&[NotifyState::FdStoreRemove, NotifyState::FdName(name)]);
    }
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        debug!(%error, "cannot tell the service manager");
    }
}
