//! Bearer tokens: given by somebody, or fetched with client credentials (RFC 6749 section
//! 4.4, KIP-768). The broker judges them; here only their time is looked at.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use serde::Deserialize;
use zeroize::Zeroizing;

use super::SaslFailure;
use crate::config::certificate::in_words;
use crate::config::sasl::OidcClient;
use crate::config::{Secret, SecretSource};
use crate::kafka::https::{Client, Method, Question};

/// A token, with what it says about itself when it is a JWT.
#[derive(Debug, Clone)]
pub(super) struct Token {
    text: Secret,
    subject: Option<String>,
    end: Option<SystemTime>,
}

/// The claims of a JWT that are for people (RFC 7519 section 4.1).
#[derive(Deserialize, Default)]
struct Claims {
    sub: Option<String>,
    exp: Option<f64>,
}

/// The answer of a token endpoint (RFC 6749 section 5.1).
#[derive(Deserialize)]
struct Answer {
    access_token: String,
    expires_in: Option<u64>,
}

impl Token {
    /// Reads a token that somebody else puts there; it is not sent when its time is over.
    pub(super) fn given(source: &SecretSource) -> Result<Self, SaslFailure> {
        let secret = source.read()?;
        let token = Self::new(secret.expose().trim());
        if let Some(end) = token.end.filter(|end| *end <= SystemTime::now()) {
            return Err(SaslFailure::OldToken { end: in_words(end) });
        }
        Ok(token)
    }

    fn new(text: &str) -> Self {
        let claims = claims(text).unwrap_or_default();
        let seconds = claims.exp.filter(|exp| (0.0..1e12).contains(exp));
        Self {
            text: Secret::new(text.to_owned()),
            subject: claims.sub,
            end: seconds.map(|seconds| UNIX_EPOCH + Duration::from_secs_f64(seconds)),
        }
    }

    pub(super) fn text(&self) -> &str {
        self.text.expose()
    }

    /// Whose token it is, for errors.
    pub(super) fn subject(&self) -> String {
        let subject = self.subject.clone();
        subject.unwrap_or_else(|| "the token".to_owned())
    }
}

fn claims(token: &str) -> Option<Claims> {
    let body = token.split('.').nth(1)?;
    let body = BASE64_URL_SAFE_NO_PAD.decode(body).ok()?;
    serde_json::from_slice(&body).ok()
}

/// Fetches a token; with the end of its time, if the endpoint or the token says so.
pub(super) async fn fetch(
    client: OidcClient,
    limit: Duration,
) -> Result<(Token, Option<SystemTime>), SaslFailure> {
    let asked = tokio::task::spawn_blocking(move || ask(&client, limit)).await;
    asked.map_err(|error| SaslFailure::Connection(error.to_string()))?
}

fn ask(client: &OidcClient, limit: Duration) -> Result<(Token, Option<SystemTime>), SaslFailure> {
    let secret = client.client_secret.read()?;
    let pair = Zeroizing::new(format!("{}:{}", client.client_id, secret.expose()));
    let basic = Zeroizing::new(format!("Basic {}", BASE64_STANDARD.encode(pair.as_bytes())));
    let mut form = Zeroizing::new("grant_type=client_credentials".to_owned());
    if let Some(scope) = &client.scope {
        form.push_str("&scope=");
        form.push_str(&crate::kafka::https::encoded(scope));
    }
    let http = Client::new(client.ca.as_ref(), limit)?;
    let body = http.ask(Question {
        method: Method::Post(form),
        url: &client.endpoint,
        headers: vec![
            ("Authorization", basic),
            ("Accept", Zeroizing::new("application/json".to_owned())),
        ],
    })?;
    let answer: Answer = serde_json::from_str(&body).map_err(|_| SaslFailure::Endpoint {
        url: client.endpoint.clone(),
    })?;
    let access_token = Zeroizing::new(answer.access_token);
    let token = Token::new(access_token.trim());
    let told = answer
        .expires_in
        .map(|s| SystemTime::now() + Duration::from_secs(s.min(1 << 31)));
    let end = told.or(token.end);
    Ok((token, end))
}
