//! The login at Amazon MSK with AWS IAM: credentials, and what is made of them.
//!
//! - `chain`: where credentials come from; `profile`, `metadata` and `sts` are its sources.
//! - `sign`: signature version 4.
//!
//! Layouts: aws-msk-iam-auth (AWS_MSK_IAM) and aws-msk-iam-sasl-signer (OAUTHBEARER).

mod chain;
mod metadata;
mod profile;
mod sign;
mod sts;
#[cfg(test)]
mod tests;

use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::json;
use zeroize::Zeroizing;

use super::cache::Cache;
use super::https::{HttpFailure, encoded};
use crate::config::sasl::AwsLogin;
use crate::config::secret::SecretError;

/// How we call ourselves in the signed request.
const AGENT: &str = concat!("spoolway/", env!("CARGO_PKG_VERSION"));

/// Why there are no credentials, or no signature. No text contains a secret.
#[derive(Debug, thiserror::Error)]
pub(in crate::kafka) enum AwsFailure {
    #[error(
        "AWS: no credentials: none in sasl.aws.access.key.id, the environment, ~/.aws, a web \
             identity, a container or an instance ({last}); configure one of them"
    )]
    NoCredentials { last: String },
    #[error("AWS: no region; set sasl.aws.region")]
    NoRegion,
    #[error("AWS: {0}")]
    Secret(#[from] SecretError),
    #[error("AWS: {0}; check the role, its trust policy and the credentials")]
    Http(#[from] HttpFailure),
    #[error("AWS: {origin}: {reason}")]
    Source { origin: String, reason: String },
    #[error("AWS: the credentials of {origin} have expired; renew them")]
    Expired { origin: String },
    #[error("AWS: signing failed: {reason}")]
    Signing { reason: String },
    #[error("AWS: {0}")]
    Task(String),
}

impl AwsFailure {
    /// Whether only a person can mend it.
    pub(in crate::kafka) fn needs_person(&self) -> bool {
        match self {
            Self::Http(failure) => failure.needs_person(),
            Self::Task(_) => false,
            _ => true,
        }
    }
}

/// The environment of the process; tests bring their own.
pub(super) type Env = fn(&str) -> Option<String>;

fn process_env(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Credentials with the region to sign for.
#[derive(Debug, Clone)]
pub(in crate::kafka) struct Signer {
    credentials: Credentials,
    region: String,
}

/// Finds credentials and region for a broker. Temporary ones are used again while they are
/// good.
pub(in crate::kafka) async fn signer(
    login: &AwsLogin,
    host: &str,
    cache: &Cache<Signer>,
    limit: Duration,
) -> Result<Signer, AwsFailure> {
    let (login, host) = (login.clone(), host.to_owned());
    let fetch = async move {
        let found = tokio::task::spawn_blocking(move || find(&login, &host, process_env, limit));
        let signer = found.await.map_err(|e| AwsFailure::Task(e.to_string()))??;
        let end = signer.credentials.expiry();
        Ok((signer, end))
    };
    cache.get(fetch).await
}

fn find(login: &AwsLogin, host: &str, env: Env, limit: Duration) -> Result<Signer, AwsFailure> {
    let chain = chain::Chain { login, env, limit };
    let region = login.region.clone();
    let region = region
        .or_else(|| region_of(host))
        .or_else(|| env("AWS_REGION"))
        .or_else(|| env("AWS_DEFAULT_REGION"))
        .or_else(|| chain.profile_region())
        .ok_or(AwsFailure::NoRegion)?;
    let credentials = chain.credentials(&region)?;
    if credentials
        .expiry()
        .is_some_and(|end| end <= SystemTime::now())
    {
        let origin = "this source".to_owned();
        return Err(AwsFailure::Expired { origin });
    }
    Ok(Signer {
        credentials,
        region,
    })
}

/// The region in a broker's name: `b-1.name.id.c2.kafka.REGION.amazonaws.com`, also with
/// `kafka-serverless`.
fn region_of(host: &str) -> Option<String> {
    let (inner, _) = host.split_once(".amazonaws.com")?;
    let mut labels = inner.rsplit('.');
    let region = labels.next()?;
    labels.next().filter(|label| label.starts_with("kafka"))?;
    Some(region.to_owned())
}

impl Signer {
    /// The one message of AWS_MSK_IAM for the broker called `host`.
    pub(in crate::kafka) fn payload(
        &self,
        host: &str,
        now: SystemTime,
    ) -> Result<Zeroizing<Vec<u8>>, AwsFailure> {
        let mut payload = json!({
            "version": "2020_10_22",
            "host": host,
            "user-agent": AGENT,
        });
        for (name, value) in sign::presign(host, &self.region, &self.credentials, now)? {
            if let Some(fields) = payload.as_object_mut() {
                fields.insert(name.to_lowercase(), value.into());
            }
        }
        Ok(Zeroizing::new(payload.to_string().into_bytes()))
    }

    /// The same as a token for OAUTHBEARER: a signed URL, in base64.
    pub(in crate::kafka) fn token(&self, now: SystemTime) -> Result<Zeroizing<String>, AwsFailure> {
        let host = format!("kafka.{}.{}", self.region, suffix(&self.region));
        let query = sign::presign(&host, &self.region, &self.credentials, now)?;
        let agent = ("User-Agent".to_owned(), AGENT.to_owned());
        let pairs = query.iter().chain([&agent]);
        let pairs = pairs.map(|(name, value)| format!("{name}={}", encoded(value)));
        let pairs: Vec<String> = pairs.collect();
        let url = Zeroizing::new(format!("https://{host}/?{}", pairs.join("&")));
        Ok(Zeroizing::new(
            BASE64_URL_SAFE_NO_PAD.encode(url.as_bytes()),
        ))
    }

    /// The access key, to name in errors; it is no secret.
    pub(in crate::kafka) fn access_key_id(&self) -> &str {
        self.credentials.access_key_id()
    }
}

/// The domain of a region's services.
fn suffix(region: &str) -> &'static str {
    if region.starts_with("cn-") {
        "amazonaws.com.cn"
    } else {
        "amazonaws.com"
    }
}
