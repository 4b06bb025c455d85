//! The broker's `server.properties`: listeners, TLS, SASL, access rules. Starts nothing.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::Result;

use super::home::Version;
use super::pki::Pki;
use super::ports::Ports;

/// Users that every SASL mechanism knows, with their passwords. `admin` may do everything,
/// the others nothing until a test adds a rule.
pub const USERS: [(&str, &str); 3] = [
    ("alice", "alice-secret"),
    ("bob", "bob-secret"),
    ("admin", "admin-secret"),
];

/// A listener of the broker. Without SASL and client certificate a client is the super user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listener {
    /// Plain TCP; super user.
    Plaintext,
    /// TLS; super user.
    Ssl,
    /// TLS that demands a client certificate; the user is its common name.
    Mtls,
    /// PLAIN, SCRAM-SHA-256 and SCRAM-SHA-512 over TLS.
    SaslSsl,
    /// The same over plain TCP.
    SaslPlaintext,
    /// TLS with a certificate that has ended.
    Expired,
    /// TLS with a certificate for another host.
    WrongHost,
    /// TLS with a certificate that is not valid yet.
    Early,
    /// TLS with a certificate that is signed by its own key.
    SelfSigned,
    /// Like `SaslSsl`, and it demands a client certificate as well.
    MtlsSasl,
    /// Between broker and controller; not for clients.
    Controller,
}

impl Listener {
    pub(super) const ALL: [Self; 11] = [
        Self::Plaintext,
        Self::Ssl,
        Self::Mtls,
        Self::SaslSsl,
        Self::SaslPlaintext,
        Self::Expired,
        Self::WrongHost,
        Self::Early,
        Self::SelfSigned,
        Self::MtlsSasl,
        Self::Controller,
    ];

    /// Name in the broker's configuration and its protocol.
    fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::Plaintext => ("PLAINTEXT", "PLAINTEXT"),
            Self::Ssl => ("SSL", "SSL"),
            Self::Mtls => ("MTLS", "SSL"),
            Self::SaslSsl => ("SASL_SSL", "SASL_SSL"),
            Self::SaslPlaintext => ("SASL_PLAINTEXT", "SASL_PLAINTEXT"),
            Self::Expired => ("EXPIRED", "SSL"),
            Self::WrongHost => ("WRONG_HOST", "SSL"),
            Self::Early => ("EARLY", "SSL"),
            Self::SelfSigned => ("SELF_SIGNED", "SSL"),
            Self::MtlsSasl => ("MTLS_SASL", "SASL_SSL"),
            Self::Controller => ("CONTROLLER", "PLAINTEXT"),
        }
    }
}

/// Arguments of the format tool that add every user to both SCRAM mechanisms.
pub(super) fn scram_arguments() -> Vec<String> {
    let mut arguments = Vec::new();
    for (name, password) in USERS {
        for mechanism in ["SCRAM-SHA-256", "SCRAM-SHA-512"] {
            arguments.push("--add-scram".to_owned());
            arguments.push(format!("{mechanism}=[name={name},password={password}]"));
        }
    }
    arguments
}

/// What one broker's configuration depends on.
pub(super) struct Properties<'a> {
    pub(super) version: Version,
    pub(super) ports: &'a Ports,
    pub(super) log_dir: &'a Path,
    pub(super) pki: &'a Pki,
    /// Keys of the tokens that OAUTHBEARER takes.
    pub(super) jwks: &'a Path,
    /// Whether to run with few threads.
    pub(super) small: bool,
    /// Lines that come last and win.
    pub(super) extra: &'a [(String, String)],
}

impl Properties<'_> {
    /// The text of `server.properties`.
    pub(super) fn text(&self) -> Result<String> {
        let mut text = String::from(FIXED);
        if self.small {
            text.push_str(SMALL);
        }
        if self.version.has_share_groups() {
            text.push_str(SHARE_GROUPS);
        }
        self.add_listeners(&mut text)?;
        self.add_tls(&mut text)?;
        add_sasl(&mut text)?;
        self.add_bearer(&mut text)?;
        writeln!(text, "log.dirs={}", self.log_dir.display())?;
        for (key, value) in self.extra {
            writeln!(text, "{key}={value}")?;
        }
        Ok(text)
    }

    fn add_listeners(&self, text: &mut String) -> Result<()> {
        let mut listeners = Vec::new();
        let mut protocols = Vec::new();
        for listener in Listener::ALL {
            let (name, protocol) = listener.names();
            listeners.push(format!("{name}://{}", self.ports.address(listener)));
            protocols.push(format!("{name}:{protocol}"));
        }
        let controller = self.ports.address(Listener::Controller);
        writeln!(text, "listeners={}", listeners.join(","))?;
        writeln!(
            text,
            "listener.security.protocol.map={}",
            protocols.join(",")
        )?;
        writeln!(text, "controller.quorum.voters={NODE_ID}@{controller}")?;
        Ok(())
    }

    fn add_tls(&self, text: &mut String) -> Result<()> {
        let pki = self.pki;
        let mut key_store = |prefix: &str, file: &Path| {
            writeln!(text, "{prefix}ssl.keystore.type=PEM")?;
            writeln!(text, "{prefix}ssl.keystore.location={}", file.display())
        };
        key_store("", &pki.server.both)?;
        key_store("listener.name.expired.", &pki.expired_server.both)?;
        key_store("listener.name.wrong_host.", &pki.wrong_host_server.both)?;
        key_store("listener.name.early.", &pki.early_server.both)?;
        key_store("listener.name.self_signed.", &pki.self_signed_server.both)?;
        writeln!(text, "ssl.truststore.type=PEM")?;
        writeln!(text, "ssl.truststore.location={}", pki.ca.display())?;
        Ok(())
    }
}

impl Properties<'_> {
    /// OAUTHBEARER at one listener, by tokens of the test's own issuer.
    fn add_bearer(&self, text: &mut String) -> Result<()> {
        const SECURITY: &str = "org.apache.kafka.common.security.oauthbearer";
        let validator = match self.version {
            Version::V3_9 => "secured.OAuthBearerValidatorCallbackHandler",
            _ => "OAuthBearerValidatorCallbackHandler",
        };
        let listener = "listener.name.sasl_ssl";
        let prefix = format!("{listener}.oauthbearer");
        writeln!(
            text,
            "{listener}.sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512,OAUTHBEARER\n\
             {prefix}.sasl.jaas.config={SECURITY}.OAuthBearerLoginModule required;\n\
             {prefix}.sasl.server.callback.handler.class={SECURITY}.{validator}\n\
             {prefix}.sasl.oauthbearer.jwks.endpoint.url=file://{}\n\
             {prefix}.sasl.oauthbearer.expected.audience=kafka\n\
             {prefix}.sasl.oauthbearer.expected.issuer=test",
            self.jwks.display(),
        )?;
        Ok(())
    }
}

fn add_sasl(text: &mut String) -> Result<()> {
    const MODULES: &str = "org.apache.kafka.common.security";
    let users: Vec<String> = USERS
        .iter()
        .map(|(name, password)| format!("user_{name}=\"{password}\""))
        .collect();
    for listener in ["sasl_ssl", "sasl_plaintext", "mtls_sasl"] {
        let prefix = format!("listener.name.{listener}");
        writeln!(
            text,
            "{prefix}.plain.sasl.jaas.config={MODULES}.plain.PlainLoginModule required {};",
            users.join(" "),
        )?;
        for mechanism in ["scram-sha-256", "scram-sha-512"] {
            writeln!(
                text,
                "{prefix}.{mechanism}.sasl.jaas.config=\
                 {MODULES}.scram.ScramLoginModule required;",
            )?;
        }
    }
    Ok(())
}

/// Node id of the one broker.
pub(super) const NODE_ID: i32 = 1;

/// The same for every broker. `ANONYMOUS` is whoever connects without SASL or a client
/// certificate, the broker itself included. The session is short because a killed broker may
/// register again only when its old session has ended, but long enough for a busy machine.
/// The default buffer of the log cleaner alone would fill the small heap.
const FIXED: &str = "\
process.roles=broker,controller
node.id=1
inter.broker.listener.name=PLAINTEXT
controller.listener.names=CONTROLLER
listener.name.mtls.ssl.client.auth=required
listener.name.mtls_sasl.ssl.client.auth=required
ssl.principal.mapping.rules=RULE:^.*CN=([^,]+).*$/$1/,DEFAULT
sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:ANONYMOUS;User:admin
allow.everyone.if.no.acl.found=false
auto.create.topics.enable=false
offsets.topic.num.partitions=1
offsets.topic.replication.factor=1
transaction.state.log.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
group.initial.rebalance.delay.ms=0
controller.quorum.election.timeout.ms=200
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500
log.cleaner.dedupe.buffer.size=2097152
";

/// Few threads: tests share the machine with the build.
const SMALL: &str = "\
num.network.threads=2
num.io.threads=2
background.threads=2
num.recovery.threads.per.data.dir=1
";

/// Kafka 4 alone knows these.
const SHARE_GROUPS: &str = "\
share.coordinator.state.topic.num.partitions=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
";
