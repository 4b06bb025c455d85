//! Why a login failed, in words that say what to do. No text contains a secret.

use rskafka::messenger::RequestError;

use crate::config::secret::SecretError;
use crate::kafka::connect::request_failure;

/// Why the login failed. No text contains the password.
#[derive(Debug, thiserror::Error)]
pub(in crate::kafka) enum SaslFailure {
    #[error("SASL: this listener has no login; check the port and security.protocol")]
    NoLogin,
    #[error("SASL: {0}")]
    Secret(#[from] SecretError),
    #[error(
        "SASL: the broker does not offer {wanted} here, only {offered}; change \
             sasl.mechanism or the listener"
    )]
    Mechanism {
        wanted: &'static str,
        offered: String,
    },
    #[error(
        "SASL {mechanism} login of {username:?} was refused: {reason}; check sasl.username \
             and sasl.password"
    )]
    Refused {
        mechanism: &'static str,
        username: String,
        reason: String,
    },
    #[error("SASL {mechanism}: {reason}")]
    Exchange {
        mechanism: &'static str,
        reason: String,
    },
    #[error("SASL: connection lost during the login: {0}")]
    Connection(String),
}

impl SaslFailure {
    /// Whether only a person can mend it.
    pub(in crate::kafka) fn needs_person(&self) -> bool {
        !matches!(self, Self::Connection(_))
    }
}

impl From<RequestError> for SaslFailure {
    fn from(error: RequestError) -> Self {
        Self::Connection(request_failure(&error))
    }
}
