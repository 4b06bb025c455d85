//! One HTTP request at a time, for token endpoints and AWS: blocking, with a deadline, no
//! redirect, and answers of a bounded size.
//!
//! Secrets travel in headers and bodies; no error carries either.

use std::sync::Arc;
use std::time::Duration;

use ureq::tls::{Certificate, RootCerts, TlsConfig};
use zeroize::Zeroizing;

use crate::config::PemSource;
use crate::config::pem::PemError;

/// Largest answer read: a token of a large directory has some 10 KiB.
const ANSWER_BYTES_MAX: u64 = 256 << 10;

/// Most characters of a refusal's text that go into an error.
const REASON_CHARS_MAX: usize = 300;

/// Why there is no answer to use.
#[derive(Debug, thiserror::Error)]
pub(in crate::kafka) enum HttpFailure {
    #[error("https.ca.location: {0}")]
    Ca(#[from] PemError),
    #[error("the system has no trusted certificates; set https.ca.location")]
    NoRoots,
    #[error("{url}: {reason}")]
    Connection { url: String, reason: String },
    #[error("{url}: TLS: {reason}; check https.ca.location, the address and the clock")]
    Tls { url: String, reason: String },
    #[error("{url} answered {status}: {reason}")]
    Status {
        url: String,
        status: u16,
        reason: String,
    },
}

impl HttpFailure {
    /// Whether only a person can mend it.
    pub(in crate::kafka) fn needs_person(&self) -> bool {
        match self {
            Self::Connection { .. } => false,
            Self::Status { status, .. } => (400..500).contains(status) && *status != 429,
            Self::Ca(_) | Self::NoRoots | Self::Tls { .. } => true,
        }
    }
}

/// What is asked.
pub(in crate::kafka) struct Question<'a> {
    pub(in crate::kafka) method: Method,
    pub(in crate::kafka) url: &'a str,
    pub(in crate::kafka) headers: Vec<(&'static str, Zeroizing<String>)>,
}

/// The methods we use.
pub(in crate::kafka) enum Method {
    Get,
    Put,
    /// With a form as its body.
    Post(Zeroizing<String>),
}

/// Asks; holds no connection between two questions.
pub(in crate::kafka) struct Client {
    agent: ureq::Agent,
}

impl Client {
    /// For addresses on the internet: `ca` replaces the system's roots, the proxy of the
    /// environment is used.
    pub(in crate::kafka) fn new(
        ca: Option<&PemSource>,
        limit: Duration,
    ) -> Result<Self, HttpFailure> {
        let found = match ca {
            Some(source) => source.certificates()?,
            None => rustls_native_certs::load_native_certs().certs,
        };
        if found.is_empty() {
            return Err(HttpFailure::NoRoots);
        }
        let roots = found
            .iter()
            .map(|der| Certificate::from_der(der).to_owned());
        let roots: Vec<Certificate<'static>> = roots.collect();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = TlsConfig::builder()
            .root_certs(RootCerts::Specific(Arc::new(roots)))
            .unversioned_rustls_crypto_provider(provider)
            .build();
        let config = settings(limit).tls_config(tls).build();
        Ok(Self {
            agent: config.new_agent(),
        })
    }

    /// For addresses on this host or its hypervisor: plain HTTP, no proxy.
    pub(in crate::kafka) fn local(limit: Duration) -> Self {
        let config = settings(limit).proxy(None).build();
        Self {
            agent: config.new_agent(),
        }
    }

    /// The body of a good answer.
    pub(in crate::kafka) fn ask(
        &self,
        question: Question<'_>,
    ) -> Result<Zeroizing<String>, HttpFailure> {
        // ureq traces the bytes on the wire, secrets included.
        let quiet = tracing::subscriber::NoSubscriber::default();
        tracing::subscriber::with_default(quiet, || self.exchange(question))
    }

    fn exchange(&self, question: Question<'_>) -> Result<Zeroizing<String>, HttpFailure> {
        let failed = |error: ureq::Error| failure(question.url, &error);
        let answer = match question.method {
            Method::Get => with(self.agent.get(question.url), &question.headers).call(),
            Method::Put => with(self.agent.put(question.url), &question.headers).send_empty(),
            Method::Post(form) => with(self.agent.post(question.url), &question.headers)
                .header("Content-Type", "application/x-www-form-urlencoded")
                .send(form.as_str()),
        };
        let mut answer = answer.map_err(failed)?;
        let body = answer.body_mut().with_config().limit(ANSWER_BYTES_MAX);
        let body = body.lossy_utf8(true).read_to_string();
        let body = Zeroizing::new(body.map_err(failed)?);
        let status = answer.status().as_u16();
        if !(200..300).contains(&status) {
            return Err(HttpFailure::Status {
                url: question.url.to_owned(),
                status,
                reason: reason(&body),
            });
        }
        Ok(body)
    }
}

type Settings = ureq::config::ConfigBuilder<ureq::typestate::AgentScope>;

fn settings(limit: Duration) -> Settings {
    ureq::Agent::config_builder()
        .timeout_global(Some(limit))
        .max_redirects(0)
        .http_status_as_error(false)
        .max_idle_connections(0)
        .user_agent(concat!("spoolway/", env!("CARGO_PKG_VERSION")))
}

fn with<B>(
    mut builder: ureq::RequestBuilder<B>,
    headers: &[(&'static str, Zeroizing<String>)],
) -> ureq::RequestBuilder<B> {
    for (name, value) in headers {
        builder = builder.header(*name, value.as_str());
    }
    builder
}

fn failure(url: &str, error: &ureq::Error) -> HttpFailure {
    let (url, reason) = (url.to_owned(), error.to_string());
    let inner = match error {
        ureq::Error::Io(io) => io.get_ref(),
        _ => None,
    };
    let is_tls = matches!(error, ureq::Error::Tls(_) | ureq::Error::Rustls(_))
        || inner.is_some_and(|inner| inner.is::<rustls::Error>());
    if is_tls {
        HttpFailure::Tls { url, reason }
    } else {
        HttpFailure::Connection { url, reason }
    }
}

/// The text of a refusal: what OAuth 2.0 (RFC 6749 section 5.2) and AWS put into it, cut.
fn reason(body: &str) -> String {
    let text: String = body.chars().take(REASON_CHARS_MAX).collect();
    let text = text.replace(char::is_whitespace, " ");
    if text.trim().is_empty() {
        "no reason given".to_owned()
    } else {
        text.trim().escape_debug().to_string()
    }
}

/// Percent-encoding for forms, and as AWS signatures want it: all but the unreserved
/// characters of RFC 3986.
pub(in crate::kafka) fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}
