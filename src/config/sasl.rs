//! SASL towards the brokers: the kinds of login, and what each needs.
//!
//! Values only; the exchange is in `kafka::sasl`. Secrets are read at each login.

use super::{PemSource, SecretSource};

/// How the login is proven.
#[derive(Debug, Clone, PartialEq)]
pub enum SaslConfig {
    /// PLAIN or SCRAM.
    Password(PasswordLogin),
    /// OAUTHBEARER (RFC 7628, KIP-255).
    Bearer(BearerLogin),
    /// AWS IAM, for Amazon MSK.
    Aws(AwsLogin),
}

/// A user name and a password.
#[derive(Debug, Clone, PartialEq)]
pub struct PasswordLogin {
    /// `sasl.mechanism`
    pub mechanism: SaslMechanism,
    /// `sasl.username`
    pub username: String,
    /// `sasl.password`; read again at every login.
    pub password: SecretSource,
}

/// The SASL mechanisms with a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SaslMechanism {
    /// RFC 4616
    Plain,
    /// RFC 7677
    ScramSha256,
    /// RFC 5802 with SHA-512
    ScramSha512,
}

/// A token that somebody else issued.
#[derive(Debug, Clone, PartialEq)]
pub struct BearerLogin {
    /// Where the token comes from.
    pub token: TokenSource,
    /// `sasl.oauthbearer.extensions` (KIP-342), in their order.
    pub extensions: Vec<(String, String)>,
}

/// Where a bearer token comes from.
#[derive(Debug, Clone, PartialEq)]
pub enum TokenSource {
    /// `sasl.oauthbearer.access.token`, or a `file:` URL; read again at every login.
    Given(SecretSource),
    /// OAuth 2.0 client credentials (RFC 6749 section 4.4, KIP-768).
    Oidc(OidcClient),
}

/// A client of an OAuth 2.0 token endpoint.
#[derive(Debug, Clone, PartialEq)]
pub struct OidcClient {
    /// `sasl.oauthbearer.token.endpoint.url`; https, or http on this host.
    pub endpoint: String,
    /// `sasl.oauthbearer.client.credentials.client.id`
    pub client_id: String,
    /// `sasl.oauthbearer.client.credentials.client.secret`
    pub client_secret: SecretSource,
    /// `sasl.oauthbearer.scope`
    pub scope: Option<String>,
    /// `https.ca.location`: replaces the system's roots.
    pub ca: Option<PemSource>,
}

/// AWS IAM.
#[derive(Debug, Clone, PartialEq)]
pub struct AwsLogin {
    /// The mechanism that carries the signature.
    pub carrier: AwsCarrier,
    /// `sasl.aws.region`; without it the broker's name tells, or the environment.
    pub region: Option<String>,
    /// Long-lived or temporary keys from the settings; they win over all other sources.
    pub keys: Option<AwsKeys>,
    /// `sasl.aws.profile`: this profile and no other source.
    pub profile: Option<String>,
    /// The role to assume with these credentials.
    pub role: Option<AwsRole>,
    /// `https.ca.location`: replaces the system's roots.
    pub ca: Option<PemSource>,
}

/// What carries the signature to the broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AwsCarrier {
    /// The mechanism AWS_MSK_IAM: a JSON payload.
    Payload,
    /// OAUTHBEARER with a signed URL as its token.
    Token,
}

/// Keys of an IAM user, or of a session.
#[derive(Debug, Clone, PartialEq)]
pub struct AwsKeys {
    /// `sasl.aws.access.key.id`
    pub id: String,
    /// `sasl.aws.secret.access.key`
    pub secret: SecretSource,
    /// `sasl.aws.session.token`
    pub session: Option<SecretSource>,
}

/// A role to assume (STS AssumeRole).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AwsRole {
    /// `sasl.aws.role.arn`
    pub arn: String,
    /// `sasl.aws.role.session.name`. Default `spoolway`.
    pub session_name: String,
    /// `sasl.aws.role.external.id`
    pub external_id: Option<String>,
}

impl SaslConfig {
    /// The mechanism as SASL names it.
    pub fn mechanism(&self) -> &'static str {
        match self {
            Self::Password(login) => match login.mechanism {
                SaslMechanism::Plain => "PLAIN",
                SaslMechanism::ScramSha256 => "SCRAM-SHA-256",
                SaslMechanism::ScramSha512 => "SCRAM-SHA-512",
            },
            Self::Bearer(_) => "OAUTHBEARER",
            Self::Aws(login) => match login.carrier {
                AwsCarrier::Payload => "AWS_MSK_IAM",
                AwsCarrier::Token => "OAUTHBEARER",
            },
        }
    }

    /// The user name, where the configuration has one; else it is in the token.
    pub fn username(&self) -> Option<&str> {
        match self {
            Self::Password(login) => Some(&login.username),
            Self::Bearer(_) | Self::Aws(_) => None,
        }
    }
}
