//! Logins at the scripted broker: SaslHandshake and SaslAuthenticate, judged by the test.
//!
//! Read and written by hand. A request on a connection without a login, or on one whose
//! login has ended, closes the connection, as a broker does (KIP-368).

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Buf, BufMut, Bytes};

use super::answer::Reply;
use super::state::State;

const API_VERSIONS: i16 = 18;
const HANDSHAKE: i16 = 17;
const AUTHENTICATE: i16 = 36;
const UNSUPPORTED_MECHANISM: i16 = 33;
const FAILED: i16 = 58;

/// Requests and versions that a broker with logins offers besides.
pub(super) const OFFERED: [(i16, i16, i16); 2] = [(HANDSHAKE, 0, 1), (AUTHENTICATE, 0, 1)];

/// Says what to answer to the client's message, or why it is refused.
pub type Judge = Arc<dyn Fn(&[u8]) -> Result<Vec<u8>, String> + Send + Sync>;

/// The logins of a cluster.
#[derive(Clone)]
pub(super) struct Gate {
    pub(super) mechanism: String,
    pub(super) judge: Judge,
    /// After this time a login has to be made anew.
    pub(super) lifetime: Option<Duration>,
    /// End of the login of each connection; `None` = without end.
    pub(super) inside: BTreeMap<u64, Option<Instant>>,
    /// Logins that were accepted.
    pub(super) accepted: u64,
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Gate({})", self.mechanism)
    }
}

/// Answers what belongs to a login, and lets nobody pass without one.
pub(super) fn intercept(state: &mut State, connection: u64, frame: &Bytes) -> Option<Reply> {
    let gate = state.gate.as_mut()?;
    let mut rest = frame.clone();
    if rest.remaining() < 10 {
        return Some(Reply::Close);
    }
    let (key, version, correlation) = (rest.get_i16(), rest.get_i16(), rest.get_i32());
    let name = usize::try_from(rest.get_i16()).unwrap_or(0);
    rest.advance(name.min(rest.remaining()));
    match key {
        HANDSHAKE => {
            let length = usize::try_from(rest.get_i16()).unwrap_or(0);
            let wanted = rest.split_to(length.min(rest.remaining()));
            let known = wanted == gate.mechanism.as_bytes();
            let mut body = Vec::new();
            body.put_i16(if known { 0 } else { UNSUPPORTED_MECHANISM });
            body.put_i32(1);
            body.put_i16(gate.mechanism.len() as i16);
            body.put_slice(gate.mechanism.as_bytes());
            Some(send(correlation, &body, false))
        }
        AUTHENTICATE => {
            let length = usize::try_from(rest.get_i32()).unwrap_or(0);
            let message = rest.split_to(length.min(rest.remaining()));
            let verdict = (gate.judge)(&message);
            let mut body = Vec::new();
            match &verdict {
                Ok(answer) => {
                    body.put_i16(0);
                    body.put_i16(-1);
                    body.put_i32(answer.len() as i32);
                    body.put_slice(answer);
                    gate.accepted += 1;
                    let end = gate.lifetime.map(|l| Instant::now() + l);
                    gate.inside.insert(connection, end);
                }
                Err(reason) => {
                    body.put_i16(FAILED);
                    body.put_i16(reason.len() as i16);
                    body.put_slice(reason.as_bytes());
                    body.put_i32(0);
                }
            }
            if version >= 1 {
                let lifetime = gate.lifetime.map_or(0, |l| l.as_millis() as i64);
                body.put_i64(lifetime);
            }
            Some(send(correlation, &body, verdict.is_err()))
        }
        API_VERSIONS => None,
        _ => {
            let end = gate.inside.get(&connection);
            let inside = end.is_some_and(|end| end.is_none_or(|end| end > Instant::now()));
            (!inside).then_some(Reply::Close)
        }
    }
}

fn send(correlation: i32, body: &[u8], close: bool) -> Reply {
    let mut bytes = Vec::new();
    bytes.put_i32(4 + body.len() as i32);
    bytes.put_i32(correlation);
    bytes.put_slice(body);
    Reply::Send {
        bytes,
        after: Duration::ZERO,
        close,
    }
}
