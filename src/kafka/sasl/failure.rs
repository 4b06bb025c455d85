//! Why a login failed, in words that say what to do. No text contains a secret.

use rskafka::messenger::RequestError;

use crate::config::secret::SecretError;
use crate::kafka::aws::AwsFailure;
use crate::kafka::connect::request_failure;
use crate::kafka::https::HttpFailure;

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
    #[error("SASL {mechanism} login of {username:?} was refused: {reason}; {todo}")]
    Refused {
        mechanism: &'static str,
        /// User name, subject of a token or access key.
        username: String,
        reason: String,
        todo: &'static str,
    },
    #[error("SASL OAUTHBEARER: the token has expired on {end}; put a new one in its place")]
    OldToken { end: String },
    #[error("SASL OAUTHBEARER: token endpoint: {0}; check sasl.oauthbearer.*")]
    Http(#[from] HttpFailure),
    #[error("SASL OAUTHBEARER: {url} answers no access_token; is it a token endpoint?")]
    Endpoint { url: String },
    #[error("SASL: {0}")]
    Aws(#[from] AwsFailure),
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
        match self {
            Self::Connection(_) => false,
            Self::Http(failure) => failure.needs_person(),
            Self::Aws(failure) => failure.needs_person(),
            _ => true,
        }
    }
}

impl From<RequestError> for SaslFailure {
    fn from(error: RequestError) -> Self {
        Self::Connection(request_failure(&error))
    }
}
