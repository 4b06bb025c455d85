//! Signals, as messages: SIGTERM and SIGINT ask for an ordered stop, SIGHUP for a reload.
//!
//! Decides nothing; the daemon's main task does.

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use tokio::sync::mpsc::{self, error::TrySendError};

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
                if !pass_on(&sender, request) {
                    return;
                }
            }
        })?;
    Ok(receiver)
}

/// Hands a request over; false when nobody listens any more.
fn pass_on(sender: &mpsc::Sender<Request>, request: Request) -> bool {
    match (sender.try_send(request), request) {
        (Ok(()), _) => true,
        // A full mailbox holds a reload already, but not the word to stop.
        (Err(TrySendError::Full(_)), Request::Reload) => true,
        (Err(TrySendError::Full(_)), Request::Stop) => sender.blocking_send(request).is_ok(),
        (Err(TrySendError::Closed(_)), _) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stop_is_heard_behind_any_number_of_reloads() {
        let (sender, mut receiver) = mpsc::channel(WAITING);
        let signals = std::thread::spawn(move || {
            assert!((0..100).all(|_| pass_on(&sender, Request::Reload)));
            assert!(pass_on(&sender, Request::Stop));
        });
        let mut last = None;
        while let Some(request) = receiver.blocking_recv() {
            last = Some(request);
        }
        signals.join().unwrap();
        assert_eq!(last, Some(Request::Stop));
    }
}
