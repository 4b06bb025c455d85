//! A connection for questions one at a time: each with a deadline, nothing retried.
//!
//! For the command line, which asks once and says what it heard, for the coordinator of
//! transactions, and over its own connection for `control`. That of `broker` has many requests
//! in flight.

use std::time::Duration;

use rskafka::protocol::messages::{ReadVersionedType, RequestBody, WriteVersionedType};
use tokio::time::timeout;

use super::connect::{ConnectError, Connection, Connector, Trace, request_failure};
use crate::config::HostPort;

/// A connection that is ready for questions.
#[derive(Debug)]
pub(super) struct Session {
    connection: Connection,
    /// `request.timeout.ms`
    limit: Duration,
}

impl Session {
    /// Connects to one broker and logs in; `trace` says how far it came, also when it fails.
    pub(super) async fn open(
        connector: &Connector,
        to: &HostPort,
        trace: &mut Trace,
    ) -> Result<Self, ConnectError> {
        let connection = connector.connect_traced(to, trace).await?;
        let limit = connector.config().request_timeout;
        Ok(Self { connection, limit })
    }

    /// Whether the broker has gone, or will soon want another login.
    pub(super) fn is_closed(&self) -> bool {
        self.connection.pulse.is_closed() || self.connection.is_session_over()
    }

    /// One question, one answer, or the words for why there is none.
    pub(super) async fn ask<R>(&self, body: R) -> Result<R::ResponseBody, String>
    where
        R: RequestBody + Send + WriteVersionedType<Vec<u8>>,
        R::ResponseBody: ReadVersionedType<std::io::Cursor<Vec<u8>>>,
    {
        ask(&self.connection, body, self.limit).await
    }
}

/// One question over a connection that is the caller's, `limit` being `request.timeout.ms`.
/// After an error the connection is good for nothing more.
pub(super) async fn ask<R>(
    connection: &Connection,
    body: R,
    limit: Duration,
) -> Result<R::ResponseBody, String>
where
    R: RequestBody + Send + WriteVersionedType<Vec<u8>>,
    R::ResponseBody: ReadVersionedType<std::io::Cursor<Vec<u8>>>,
{
    match timeout(limit, connection.messenger.request(body)).await {
        Ok(answer) => answer.map_err(|error| request_failure(&error)),
        Err(_) => Err(no_answer(limit)),
    }
}

/// The words for a deadline that is over.
pub(super) fn no_answer(limit: Duration) -> String {
    format!(
        "no answer within {} ms (request.timeout.ms)",
        limit.as_millis()
    )
}
