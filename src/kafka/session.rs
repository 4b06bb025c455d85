//! A connection for questions one at a time: each with a deadline, nothing retried.
//!
//! For the command line, which asks once and says what it heard, and for the coordinator of
//! transactions. The producer's other connections live in `broker` and `control`.

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
        match timeout(self.limit, self.connection.messenger.request(body)).await {
            Ok(answer) => answer.map_err(|error| request_failure(&error)),
            Err(_) => Err(format!(
                "no answer within {} ms (request.timeout.ms)",
                self.limit.as_millis()
            )),
        }
    }
}
