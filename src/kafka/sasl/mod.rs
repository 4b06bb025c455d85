//! The login: PLAIN, SCRAM, OAUTHBEARER and AWS_MSK_IAM over a connection, fresh or not.
//!
//! Our own, because `rskafka`'s drops the broker's error text and the lifetime of the session
//! (KIP-368), and the library under it hashes as many rounds as any answer asks for.
//! Secrets are read at each login and appear in no error and no log.

use std::time::{Duration, SystemTime};

use rskafka::messenger::Messenger;
use zeroize::Zeroizing;

use super::aws::{self, Signer};
use super::cache::Cache;
use super::code;
use super::link::Link;
use super::wire::{SaslAnswer, SaslHello, SaslToken};
use crate::config::SaslConfig;
use crate::config::sasl::{
    AwsCarrier, AwsLogin, BearerLogin, PasswordLogin, SaslMechanism, TokenSource,
};

mod bearer;
mod failure;
mod oidc;
mod plain;
mod scram;

pub(super) use failure::SaslFailure;
use oidc::Token;

/// What is kept between two logins.
#[derive(Debug, Default)]
pub(super) struct Keep {
    token: Cache<Token>,
    signer: Cache<Signer>,
}

/// One login over one connection.
pub(super) struct Login<'a> {
    pub(super) messenger: &'a Messenger<Link>,
    pub(super) config: &'a SaslConfig,
    /// The broker's name, which AWS_MSK_IAM signs.
    pub(super) host: &'a str,
    pub(super) keep: &'a Keep,
    /// Longest time for a token or for credentials.
    pub(super) limit: Duration,
}

impl Login<'_> {
    /// Logs in; gives the time after which the broker wants another login, if any.
    pub(super) async fn run(&self) -> Result<Option<Duration>, SaslFailure> {
        self.hello().await?;
        let last = match self.config {
            SaslConfig::Password(login) => self.password(login).await,
            SaslConfig::Bearer(login) => self.bearer(login).await,
            SaslConfig::Aws(login) => self.aws(login).await,
        };
        if matches!(last, Err(SaslFailure::Refused { .. })) {
            self.keep.token.forget().await;
            self.keep.signer.forget().await;
        }
        let lifetime = u64::try_from(last?.lifetime_ms).ok().filter(|ms| *ms > 0);
        Ok(lifetime.map(Duration::from_millis))
    }

    async fn hello(&self) -> Result<(), SaslFailure> {
        let mechanism = self.config.mechanism();
        let offer = self.messenger.request(SaslHello { mechanism }).await?;
        match offer.code {
            code::NONE => Ok(()),
            // A listener without SASL.
            code::ILLEGAL_SASL_STATE => Err(SaslFailure::NoLogin),
            _ => Err(SaslFailure::Mechanism {
                wanted: mechanism,
                offered: offer.mechanisms.join(", "),
            }),
        }
    }

    /// Sends one message; `who` and `todo` are for the words of a refusal.
    async fn step(
        &self,
        token: Zeroizing<Vec<u8>>,
        who: &str,
        todo: &'static str,
    ) -> Result<SaslAnswer, SaslFailure> {
        let answer = self.messenger.request(SaslToken(token)).await?;
        if answer.code == code::NONE {
            return Ok(answer);
        }
        let reason = answer.message;
        Err(SaslFailure::Refused {
            mechanism: self.config.mechanism(),
            username: who.to_owned(),
            reason: reason.unwrap_or_else(|| format!("code {}", answer.code)),
            todo,
        })
    }

    fn broken(&self, reason: impl ToString) -> SaslFailure {
        SaslFailure::Exchange {
            mechanism: self.config.mechanism(),
            reason: reason.to_string(),
        }
    }

    async fn password(&self, login: &PasswordLogin) -> Result<SaslAnswer, SaslFailure> {
        const TODO: &str = "check sasl.username and sasl.password";
        let who = &login.username;
        let password = login.password.read()?;
        let hash = match login.mechanism {
            SaslMechanism::Plain => {
                let message = plain::message(who, &password).map_err(|e| self.broken(e))?;
                return self.step(message, who, TODO).await;
            }
            SaslMechanism::ScramSha256 => scram::Hash::Sha256,
            SaslMechanism::ScramSha512 => scram::Hash::Sha512,
        };
        let first = scram::First::new(hash, who).map_err(|e| self.broken(e))?;
        let answer = self.step(first.message(), who, TODO).await?;
        // The rounds may take a second, which is no time to keep other connections waiting.
        let hashing = move || first.proof(&answer.token, &password);
        let proof = tokio::task::spawn_blocking(hashing).await;
        let proof = proof.map_err(|e| SaslFailure::Connection(e.to_string()))?;
        let proof = proof.map_err(|e| self.broken(e))?;
        let answer = self.step(proof.message(), who, TODO).await?;
        proof.verify(&answer.token).map_err(|e| self.broken(e))?;
        Ok(answer)
    }

    async fn bearer(&self, login: &BearerLogin) -> Result<SaslAnswer, SaslFailure> {
        let token = match &login.token {
            TokenSource::Given(source) => Token::given(source)?,
            TokenSource::Oidc(client) => {
                let fetch = oidc::fetch(client.clone(), self.limit);
                self.keep.token.get(fetch).await?
            }
        };
        const TODO: &str = "check the token's issuer, audience, scope and time, and \
                            sasl.oauthbearer.extensions";
        let who = token.subject();
        self.token(token.text(), &login.extensions, &who, TODO)
            .await
    }

    /// The exchange of OAUTHBEARER: a refusal comes as a JSON text that wants an answer
    /// before the broker says what it thinks (RFC 7628 section 3.2.3).
    async fn token(
        &self,
        token: &str,
        extensions: &[(String, String)],
        who: &str,
        todo: &'static str,
    ) -> Result<SaslAnswer, SaslFailure> {
        let first = bearer::first_message(token, extensions).map_err(|e| self.broken(e))?;
        let answer = self.step(first, who, todo).await?;
        if answer.token.is_empty() {
            return Ok(answer);
        }
        let verdict = String::from_utf8_lossy(&answer.token).into_owned();
        let farewell = Zeroizing::new(bearer::FAREWELL.to_vec());
        self.step(farewell, who, todo).await?;
        Err(SaslFailure::Refused {
            mechanism: self.config.mechanism(),
            username: who.to_owned(),
            reason: verdict.escape_debug().to_string(),
            todo,
        })
    }

    async fn aws(&self, login: &AwsLogin) -> Result<SaslAnswer, SaslFailure> {
        const TODO: &str = "check the credentials, kafka-cluster:Connect in their policy, \
                            sasl.aws.region and this host's clock";
        let signer = aws::signer(login, self.host, &self.keep.signer, self.limit).await?;
        let who = signer.access_key_id();
        let now = SystemTime::now();
        match login.carrier {
            AwsCarrier::Payload => self.step(signer.payload(self.host, now)?, who, TODO).await,
            AwsCarrier::Token => self.token(&signer.token(now)?, &[], who, TODO).await,
        }
    }
}
