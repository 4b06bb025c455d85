//! The login: SASL PLAIN and SCRAM over a fresh connection.
//!
//! The mechanisms are rsasl's, as in `rskafka`; the exchange is our own, because
//! `rskafka`'s drops the broker's error text and the lifetime of the session (KIP-368).
//! The password is read at each login and appears in no error and no log.

use std::time::Duration;

use rsasl::prelude::{Mechname, SASLClient, SASLConfig};
use rskafka::messenger::Messenger;
use zeroize::Zeroizing;

use super::link::Link;
use super::wire::{SaslHello, SaslToken};
use crate::config::{SaslConfig, SaslMechanism};

mod failure;

pub(super) use failure::SaslFailure;

/// Messages that a login may take; SCRAM takes two.
const MAX_STEPS: usize = 8;

/// Answer of a listener without SASL.
const ILLEGAL_SASL_STATE: i16 = 34;

fn name(mechanism: SaslMechanism) -> &'static str {
    match mechanism {
        SaslMechanism::Plain => "PLAIN",
        SaslMechanism::ScramSha256 => "SCRAM-SHA-256",
        SaslMechanism::ScramSha512 => "SCRAM-SHA-512",
    }
}

/// Logs in; gives the time after which the broker wants another login, if any.
pub(super) async fn login(
    messenger: &Messenger<Link>,
    config: &SaslConfig,
) -> Result<Option<Duration>, SaslFailure> {
    let mechanism = name(config.mechanism);
    let broken = |reason: String| SaslFailure::Exchange { mechanism, reason };
    let offer = messenger.request(SaslHello { mechanism }).await?;
    if offer.code == ILLEGAL_SASL_STATE {
        return Err(SaslFailure::NoLogin);
    }
    if offer.code != 0 {
        let offered = offer.mechanisms.join(", ");
        return Err(SaslFailure::Mechanism {
            wanted: mechanism,
            offered,
        });
    }
    let password = config.password.read()?;
    let credentials =
        SASLConfig::with_credentials(None, config.username.clone(), password.expose().to_owned());
    let client = SASLClient::new(credentials.map_err(|e| broken(e.to_string()))?);
    let chosen = Mechname::parse(mechanism.as_bytes()).map_err(|e| broken(e.to_string()))?;
    let session = client.start_suggested(&[chosen]);
    let mut session = session.map_err(|e| broken(e.to_string()))?;
    let mut received: Option<Vec<u8>> = None;
    for _ in 0..MAX_STEPS {
        let mut token = Zeroizing::new(Vec::new());
        let step = session.step(received.as_deref(), &mut *token);
        let state = step.map_err(|e| broken(format!("the broker's answer is wrong: {e}")))?;
        let mut lifetime = None;
        if state.has_sent_message() {
            let answer = messenger.request(SaslToken(token)).await?;
            if answer.code != 0 {
                let reason = answer
                    .message
                    .unwrap_or_else(|| format!("code {}", answer.code));
                let username = config.username.clone();
                return Err(SaslFailure::Refused {
                    mechanism,
                    username,
                    reason,
                });
            }
            lifetime = u64::try_from(answer.lifetime_ms).ok().filter(|ms| *ms > 0);
            received = Some(answer.token);
        }
        if state.is_finished() {
            return Ok(lifetime.map(Duration::from_millis));
        }
    }
    Err(broken("the login does not come to an end".into()))
}
