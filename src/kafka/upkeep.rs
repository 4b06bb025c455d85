//! What keeps a connection good while it carries requests: another login before the session
//! ends (KIP-368), and a successor when the files of its TLS session have changed.
//!
//! During a login nothing else may be sent on the connection (KIP-368), so commands wait; what
//! is already sent is answered before. A successor is made while the old connection serves
//! on; it takes over when nothing is in flight. So neither loses or repeats a request.

use std::future::{Future, pending};
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::connect::{ConnectError, Connection, Connector};
use super::sasl::SaslFailure;
use crate::config::HostPort;

/// Part of a session after which the next login is made.
const LOGIN_RENEWAL: f64 = 0.8;

/// A broker takes no second login within a second of the one before (KIP-368).
const LOGIN_PAUSE: Duration = Duration::from_millis(1100);

/// How often the files of a TLS session are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(5);

type Work<'c, T> = Pin<Box<dyn Future<Output = T> + Send + 'c>>;

/// When a session of this length is renewed, seen from its login.
pub(super) fn renewal(lifetime: Duration) -> Duration {
    lifetime.mul_f64(LOGIN_RENEWAL).max(LOGIN_PAUSE)
}

/// The work for one connection.
pub(super) struct Upkeep<'c> {
    connector: &'c Arc<Connector>,
    connection: &'c Connection,
    address: &'c HostPort,
    login_at: Option<Instant>,
    login: Option<Work<'c, Result<Option<Duration>, SaslFailure>>>,
    look_at: Option<Instant>,
    coming: Option<Work<'c, Result<Connection, ConnectError>>>,
    successor: Option<Connection>,
}

impl<'c> Upkeep<'c> {
    pub(super) fn new(
        connector: &'c Arc<Connector>,
        connection: &'c Connection,
        address: &'c HostPort,
    ) -> Self {
        let now = Instant::now();
        Self {
            connector,
            connection,
            address,
            login_at: connection.lifetime.map(|l| now + renewal(l)),
            login: None,
            look_at: connection.files.as_ref().map(|_| now + LOOK_EVERY),
            coming: None,
            successor: None,
        }
    }

    /// Whether new requests have to wait.
    pub(super) fn holds_requests(&self) -> bool {
        self.login.is_some() || self.successor.is_some()
    }

    /// The connection that takes over, once nothing is in flight on this one.
    pub(super) fn successor(&mut self) -> Option<Connection> {
        self.successor.take()
    }

    /// Begins what is due.
    pub(super) fn begin(&mut self) {
        let now = Instant::now();
        let due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        if due(self.login_at) && !self.holds_requests() {
            self.login_at = None;
            let work = self.connector.login_again(self.connection, self.address);
            self.login = Some(Box::pin(work));
        }
        if due(self.look_at) && self.coming.is_none() && self.successor.is_none() {
            self.look_at = Some(now + LOOK_EVERY);
            if self.connector.files() != self.connection.files {
                let (connector, address) = (self.connector, self.address);
                let work = async move { connector.connect(address, 0).await };
                self.coming = Some(Box::pin(work));
            }
        }
    }

    /// When something is due next.
    pub(super) fn due(&self) -> Option<Instant> {
        [self.login_at, self.look_at].into_iter().flatten().min()
    }

    /// Goes on with what has begun, for ever when nothing has. Safe to drop half-way.
    pub(super) async fn step(&mut self) -> Result<(), SaslFailure> {
        tokio::select! {
            done = work(&mut self.login) => {
                self.login = None;
                self.login_at = done?.map(|l| Instant::now() + renewal(l));
            }
            done = work(&mut self.coming) => {
                self.coming = None;
                match done {
                    Ok(successor) => self.successor = Some(successor),
                    // The old session is still good; the files may be half replaced.
                    Err(error) => tracing::warn!(
                        host = self.address.host,
                        "certificate files have changed, and no connection can be made with \
                         them; going on with the old ones: {error}"
                    ),
                }
            }
        }
        Ok(())
    }
}

async fn work<T>(begun: &mut Option<Work<'_, T>>) -> T {
    match begun {
        Some(work) => work.await,
        None => pending().await,
    }
}
