//! Signals, as messages: SIGTERM and SIGINT ask for an ordered stop, SIGHUP for a reload.
//!
//! Decides nothing; the daemon's main task does.

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use tokio::sync::mpsc;

/// What a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Request {
    /// SIGHUP
    Reload,
    /// SIGTERM or SIGINT
    Stop,
}

/// Requests that may wait; more of the same kind say nothing new.
const WAITING: usize = 8;

/// Starts listening, on a named thread of its own.
///
/// # Errors
/// When the handlers cannot be installed or the thread cannot be started.
pub(super) fn listen() -> std::io::Result<mpsc::Receiver<Request>> {
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP])?;
    let (sender, receiver) = mpsc::channel(WAITING);
    std::thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || {
            for signal in signals.forever() {
                let request = if signal == SIGHUP {
                    Request::Reload
                } else {
                    Request::Stop
                };
                // A full mailbox already holds what this would ask for.
                if let Err(mpsc::error::TrySendError::Closed(_)) = sender.try_send(request) {
                    return;
                }
            }
        })?;
    Ok(receiver)
}
