//! The `sasl.oauthbearer.*` properties: where a token comes from, and what goes with it.
//!
//! Names: KIP-768 and KIP-1139, librdkafka's CONFIGURATION.md; `access.token` is ours.

use std::path::PathBuf;

use toml::Spanned;

use super::secret::read_secret;
use crate::config::parse::Context;
use crate::config::sasl::{BearerLogin, OidcClient, TokenSource};
use crate::config::section::{Entry, Section};
use crate::config::{PemSource, SecretSource};

const METHOD: &str = "sasl.oauthbearer.method";
const TOKEN: &str = "sasl.oauthbearer.access.token";
const ENDPOINT: &str = "sasl.oauthbearer.token.endpoint.url";
const CLIENT_ID: &str = "sasl.oauthbearer.client.credentials.client.id";
const CLIENT_SECRET: &str = "sasl.oauthbearer.client.credentials.client.secret";
const SCOPE: &str = "sasl.oauthbearer.scope";
const EXTENSIONS: &str = "sasl.oauthbearer.extensions";

/// `sasl.oauthbearer.method`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Method {
    Token,
    Oidc,
    AwsMskIam,
}

const METHODS: [(&str, Method); 4] = [
    ("token", Method::Token),
    ("default", Method::Token),
    ("oidc", Method::Oidc),
    ("aws-msk-iam", Method::AwsMskIam),
];

/// Every entry of this login.
pub(super) struct Given<'a> {
    method: Option<Entry<'a>>,
    token: Option<Entry<'a>>,
    endpoint: Option<Entry<'a>>,
    client_id: Option<Entry<'a>>,
    client_secret: Option<Entry<'a>>,
    scope: Option<Entry<'a>>,
    extensions: Option<Entry<'a>>,
}

impl<'a> Given<'a> {
    pub(super) fn take(section: &mut Section<'a, '_>) -> Self {
        Self {
            method: section.take(METHOD),
            token: section.take(TOKEN),
            endpoint: section.take(ENDPOINT),
            client_id: section.take_alias(CLIENT_ID, &["sasl.oauthbearer.client.id"]),
            client_secret: section.take_alias(CLIENT_SECRET, &["sasl.oauthbearer.client.secret"]),
            scope: section.take(SCOPE),
            extensions: section.take(EXTENSIONS),
        }
    }

    pub(super) fn named(&self) -> [(&'static str, &Option<Entry<'a>>); 7] {
        [
            (METHOD, &self.method),
            (TOKEN, &self.token),
            (ENDPOINT, &self.endpoint),
            (CLIENT_ID, &self.client_id),
            (CLIENT_SECRET, &self.client_secret),
            (SCOPE, &self.scope),
            (EXTENSIONS, &self.extensions),
        ]
    }

    fn method(&self, section: &mut Section<'_, '_>) -> Option<Method> {
        let text = section.text_of(METHOD, self.method.as_ref()?)?;
        section.choice_of(METHOD, &text, &METHODS)
    }

    /// Whether the token is one that AWS IAM credentials sign.
    pub(super) fn wants_aws(&self, section: &mut Section<'_, '_>) -> bool {
        self.method(section) == Some(Method::AwsMskIam)
    }

    pub(super) fn read(
        self,
        section: &mut Section<'_, '_>,
        ca: Option<PemSource>,
        context: &Context,
    ) -> Option<BearerLogin> {
        let extensions = self
            .extensions
            .as_ref()
            .and_then(|entry| section.text_of(EXTENSIONS, entry))
            .map(|text| read_extensions(section, &text));
        let method = self.method(section);
        let token = match (method, &self.token, &self.endpoint) {
            (Some(Method::Token) | None, Some(entry), None) => {
                TokenSource::Given(read_secret(section, TOKEN, entry, context)?)
            }
            (Some(Method::Oidc) | None, None, Some(entry)) => {
                let url = section.text_of(ENDPOINT, entry)?;
                match url.get_ref().strip_prefix("file://") {
                    Some(path) => TokenSource::Given(SecretSource::File(PathBuf::from(path))),
                    None => TokenSource::Oidc(self.oidc(section, &url, ca, context)?),
                }
            }
            _ => {
                let help = format!(
                    "set {TOKEN} = {{ file = \"..\" }}, or {ENDPOINT} with the client's \
                     credentials, or {METHOD} = \"aws-msk-iam\"; one of them"
                );
                section.absent(TOKEN, &help);
                return None;
            }
        };
        Some(BearerLogin {
            token,
            extensions: extensions.unwrap_or_default(),
        })
    }

    fn oidc(
        &self,
        section: &mut Section<'_, '_>,
        url: &Spanned<String>,
        ca: Option<PemSource>,
        context: &Context,
    ) -> Option<OidcClient> {
        if !is_safe(url.get_ref()) {
            let help = Some("only https keeps the client secret and the token to you".to_owned());
            section.fault(ENDPOINT, url.span(), "is no https:// address", help);
        }
        for (key, entry) in [
            (CLIENT_ID, &self.client_id),
            (CLIENT_SECRET, &self.client_secret),
        ] {
            if entry.is_none() {
                section.absent(key, "set it, the token endpoint asks for it");
            }
        }
        let id = self.client_id.as_ref();
        let id = id.and_then(|entry| section.text_of(CLIENT_ID, entry));
        let secret = self.client_secret.as_ref();
        let secret = secret.and_then(|entry| read_secret(section, CLIENT_SECRET, entry, context));
        let scope = self.scope.as_ref();
        let scope = scope.and_then(|entry| section.text_of(SCOPE, entry));
        Some(OidcClient {
            endpoint: url.get_ref().clone(),
            client_id: id?.into_inner(),
            client_secret: secret?,
            scope: scope.map(Spanned::into_inner),
            ca,
        })
    }
}

/// TLS, or a sidecar on this very host.
fn is_safe(url: &str) -> bool {
    let local = ["http://127.0.0.1:", "http://localhost:", "http://[::1]:"];
    url.starts_with("https://") || local.iter().any(|prefix| url.starts_with(prefix))
}

/// `name=value` pairs with commas; names are letters and values printable (KIP-342). A part
/// without `=` belongs to the value before it: several identity pools are one extension.
fn read_extensions(section: &mut Section<'_, '_>, text: &Spanned<String>) -> Vec<(String, String)> {
    let mut pairs: Vec<(String, String)> = Vec::new();
    for pair in text
        .get_ref()
        .split(',')
        .filter(|pair| !pair.trim().is_empty())
    {
        let printable = |text: &str| text.chars().all(|c| c.is_ascii_graphic() || c == ' ');
        let goes_on = !pair.contains('=') && printable(pair);
        if let Some((_, value)) = pairs.last_mut().filter(|_| goes_on) {
            *value += &format!(",{}", pair.trim());
            continue;
        }
        let (name, value) = pair.trim().split_once('=').unwrap_or((pair, ""));
        let named = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphabetic());
        let valued = !value.is_empty() && printable(value);
        if named && valued && name != "auth" {
            pairs.push((name.to_owned(), value.to_owned()));
        } else {
            let what = format!("{pair:?} is no extension");
            let help = "write name=value with letters for the name, e.g. logicalCluster=lkc-1";
            section.fault(EXTENSIONS, text.span(), &what, Some(help.to_owned()));
        }
    }
    pairs
}
