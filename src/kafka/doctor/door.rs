//! One address, from its name to the login: where the way ends, why, and what to do.
//!
//! Looks up the name and opens TCP itself, to tell of each address; for the rest the
//! producer's own connection is made, and its error says how far it came.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime};

use tokio::net::TcpStream;
use tokio::time::timeout;

use super::{Finding, Kind, Step};
use crate::config::HostPort;
use crate::kafka::connect::{self, ConnectError, Connector, Trace};
use crate::kafka::sasl::SaslFailure;
use crate::kafka::session::Session;
use crate::kafka::tls::{TlsCause, TlsFailure, TlsSession};

/// Most addresses of one name that are tried one by one.
const ADDRESSES_MAX: usize = 16;

/// A certificate that ends within this time is warned about.
const EXPIRES_SOON: Duration = Duration::from_secs(14 * 24 * 60 * 60);

/// What became of knocking at one address.
pub(super) struct Door {
    pub(super) findings: Vec<Finding>,
    pub(super) session: Option<Session>,
}

impl Door {
    /// Goes as far in as it can.
    pub(super) async fn knock(connector: &Connector, to: &HostPort) -> Self {
        let mut door = Self {
            findings: Vec::new(),
            session: None,
        };
        let subject = to.to_string();
        let limit = connector.config().connect_timeout;
        let begin = Instant::now();
        match look_up(to, limit).await {
            Ok(addresses) => {
                let named = addresses.iter().map(ToString::to_string);
                let what = named.collect::<Vec<_>>().join(", ");
                door.add(Finding::ok(Step::Dns, &subject, what).since(begin));
                if !door.open_tcp(&addresses, limit).await {
                    return door;
                }
            }
            Err(reason) => {
                let finding = no_name(&subject, &to.host, &reason);
                door.add(finding.since(begin));
                return door;
            }
        }
        let begin = Instant::now();
        let mut trace = Trace::default();
        match Session::open(connector, to, &mut trace).await {
            Ok(session) => {
                door.passed(connector, &subject, &trace, None);
                door.session = Some(session);
            }
            Err(error) => {
                let (step, kind, todo) = diagnosis(to, &error);
                door.passed(connector, &subject, &trace, Some(step));
                let finding = Finding::fail(step, &subject, kind, error.to_string(), todo);
                door.add(finding.since(begin));
            }
        }
        door
    }

    fn add(&mut self, finding: Finding) {
        self.findings.push(finding);
    }

    /// Tries each address; whether one took the connection.
    async fn open_tcp(&mut self, addresses: &[SocketAddr], limit: Duration) -> bool {
        let share = limit / u32::try_from(addresses.len()).unwrap_or(u32::MAX).max(1);
        let mut tried = Vec::new();
        for address in addresses {
            let begin = Instant::now();
            let opened = timeout(share, TcpStream::connect(address)).await;
            let opened = opened.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
            let subject = address.to_string();
            tried.push(match opened {
                Ok(_) => Finding::ok(Step::Tcp, &subject, "connected").since(begin),
                Err(error) => no_tcp(&subject, &error).since(begin),
            });
        }
        let open = |finding: &Finding| finding.verdict == super::Verdict::Ok;
        let any = tried.iter().any(open);
        let tried = tried.into_iter();
        self.findings
            .extend(tried.map(|f| if any { f.softened() } else { f }));
        any
    }

    /// Notes the steps that went well on the way to `end`, or all the way in.
    fn passed(&mut self, connector: &Connector, subject: &str, trace: &Trace, end: Option<Step>) {
        let config = connector.config();
        // The broker tells its versions before the login.
        let way = [
            (Step::Tls, config.tls.is_some()),
            (Step::Versions, true),
            (Step::Login, config.sasl.is_some()),
        ];
        for (step, wanted) in way {
            if end == Some(step) {
                return;
            }
            self.add(match (step, &trace.tls) {
                _ if !wanted => Finding::skip(step, subject, "security.protocol has no such step"),
                (Step::Tls, Some(session)) => handshake(subject, session, SystemTime::now()),
                (Step::Login, _) => Finding::ok(step, subject, "accepted"),
                _ => Finding::ok(step, subject, "a Kafka broker that speaks our versions"),
            });
        }
    }
}

/// A handshake that was done; the certificate may end soon all the same.
fn handshake(subject: &str, session: &TlsSession, now: SystemTime) -> Finding {
    let Some(certificate) = &session.certificate else {
        return Finding::ok(Step::Tls, subject, session.to_string());
    };
    let end = humantime::format_rfc3339_seconds(certificate.not_after);
    let what = format!("{session}, good until {end}");
    let left = certificate.not_after.duration_since(now);
    if left.unwrap_or_default() >= EXPIRES_SOON {
        return Finding::ok(Step::Tls, subject, what);
    }
    let todo = "the broker's certificate ends soon and no event will flow then: renew it";
    Finding::warn(Step::Tls, subject, Kind::Handshake, what, todo)
}

async fn look_up(to: &HostPort, limit: Duration) -> Result<Vec<SocketAddr>, String> {
    let found = timeout(limit, tokio::net::lookup_host((to.host.as_str(), to.port))).await;
    let found = found.map_err(|_| format!("no answer within {} s", limit.as_secs_f32()))?;
    let found: Vec<SocketAddr> = found.map_err(|e| e.to_string())?.collect();
    if found.is_empty() {
        return Err("the name has no address".to_owned());
    }
    Ok(found.into_iter().take(ADDRESSES_MAX).collect())
}

fn no_name(subject: &str, host: &str, reason: &str) -> Finding {
    let what = format!("cannot resolve {host}: {reason}");
    let todo = format!(
        "check the spelling in bootstrap.servers; `getent hosts {host}` asks the same resolver; \
         a private name needs the DNS of its network"
    );
    Finding::fail(Step::Dns, subject, Kind::Name, what, todo)
}

fn no_tcp(subject: &str, error: &io::Error) -> Finding {
    let todo = match error.kind() {
        io::ErrorKind::ConnectionRefused => {
            "nothing listens on that port: check the port in bootstrap.servers, that the broker \
             runs, and that it listens on this address (listeners=)"
        }
        io::ErrorKind::TimedOut => {
            "no answer at all: a firewall or security group drops the packets, or the address is \
             an internal one; with a hosted cluster use its public bootstrap address"
        }
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => {
            "this host has no route there: check its network, VPN or IPv6"
        }
        _ => "check network and firewall between this host and the broker",
    };
    let what = format!("cannot connect: {error}");
    Finding::fail(Step::Tcp, subject, Kind::Connection, what, todo)
}

/// Which step failed, of what kind it is, and what to do.
fn diagnosis(to: &HostPort, error: &ConnectError) -> (Step, Kind, String) {
    let (step, kind, todo) = match error.step() {
        connect::Step::Dns => (
            Step::Dns,
            Kind::Name,
            "the name was found a moment ago and now is not: look at the DNS of this host",
        ),
        connect::Step::Tcp => (
            Step::Tcp,
            Kind::Connection,
            "it took a connection a moment ago and now does not: look at the broker",
        ),
        connect::Step::Tls => (Step::Tls, Kind::Handshake, tls_advice(error)),
        connect::Step::Versions => (
            Step::Versions,
            Kind::Handshake,
            "something listens there that does not answer as Kafka does over this \
             security.protocol: a TLS port needs SSL or SASL_SSL, a plain one PLAINTEXT or \
             SASL_PLAINTEXT; web consoles and ZooKeeper have other ports",
        ),
        connect::Step::Sasl => (Step::Login, Kind::Login, login_advice(error)),
    };
    let todo = match step {
        Step::Tls => format!(
            "{todo}; `openssl s_client -connect {} -showcerts </dev/null` shows what is presented",
            to
        ),
        _ => todo.to_owned(),
    };
    (step, kind, todo)
}

fn tls_advice(error: &ConnectError) -> &'static str {
    let ConnectError::Tls(failure) = error else {
        return "TCP opens and TLS is not answered: the port may want another security.protocol";
    };
    let cause = match failure {
        TlsFailure::Handshake { cause, .. } => cause,
        TlsFailure::Io { .. } => {
            return "the other side hung up on the first word of TLS, as a plain Kafka port does: \
                    use the TLS port, or security.protocol PLAINTEXT or SASL_PLAINTEXT";
        }
        _ => return "mend the file or setting that is named",
    };
    match cause {
        TlsCause::UnknownIssuer => {
            "put the authority that signed the broker's certificate, with its intermediates, \
             into a PEM file and name it in ssl.ca.location; the system's authorities count only \
             without it"
        }
        TlsCause::SelfSigned => {
            "save the broker's own certificate as a PEM file and name it in ssl.ca.location"
        }
        TlsCause::WrongHost => {
            "use a name from the certificate in bootstrap.servers, or have the broker's \
             certificate made for the name in use (subjectAltName); only for a test set \
             ssl.endpoint.identification.algorithm = \"\""
        }
        TlsCause::Expired => {
            "have the broker's certificate renewed; if it is good by another clock, this \
             host's clock is wrong (`timedatectl`)"
        }
        TlsCause::NotYetValid => {
            "this host's clock is behind (`timedatectl`), or the certificate \
             was made for later"
        }
        TlsCause::OursExpired | TlsCause::OursRevoked => {
            "get a new client certificate for ssl.certificate.location; it is read again at \
             each connection"
        }
        TlsCause::OursRefused => {
            "this listener wants a client certificate that its truststore knows: set \
             ssl.certificate.location and ssl.key.location to one signed by that authority"
        }
        TlsCause::NotTls => {
            "the port is not a TLS port: use the TLS port, or security.protocol PLAINTEXT or \
             SASL_PLAINTEXT"
        }
        TlsCause::Protocol => "let the broker offer TLS 1.2 or 1.3 (ssl.enabled.protocols)",
        TlsCause::Revoked => {
            "its authority has withdrawn it, so nothing is sent to whoever holds its key: have \
             the broker's certificate replaced"
        }
        TlsCause::RevocationList => {
            "the list is over its time, or of another authority: have it fetched again before \
             its nextUpdate; it is read at each connection"
        }
        TlsCause::Other => "look at the certificate and at the broker's log",
    }
}

fn login_advice(error: &ConnectError) -> &'static str {
    match error {
        ConnectError::Sasl(SaslFailure::NoLogin) => {
            "this listener has no login: use the port of a SASL listener, or security.protocol \
             PLAINTEXT or SSL"
        }
        ConnectError::Sasl(SaslFailure::Mechanism { .. }) => {
            "set sasl.mechanism to one that is offered (Confluent Cloud: PLAIN with API key and \
             secret; Amazon MSK: SCRAM-SHA-512 or IAM)"
        }
        ConnectError::Sasl(SaslFailure::Secret(_)) => "mend the file or variable that is named",
        ConnectError::Sasl(SaslFailure::OldToken { .. }) => {
            "find out why nothing renews the token file; it is read again at each login"
        }
        ConnectError::Sasl(SaslFailure::Http(_) | SaslFailure::Endpoint { .. }) => {
            "no token, so nothing was asked of the broker: check the endpoint's address, the \
             client id and secret, the scope, and https.ca.location"
        }
        ConnectError::Sasl(SaslFailure::Aws(_)) => {
            "nothing was asked of the broker: docs/logins.md lists where AWS credentials and \
             the region may come from"
        }
        ConnectError::Sasl(SaslFailure::Refused { mechanism, .. })
            if ["OAUTHBEARER", "AWS_MSK_IAM"].contains(mechanism) =>
        {
            "the broker does not accept the token or signature: check what the message names, \
             and this host's clock (`timedatectl`)"
        }
        ConnectError::Sasl(SaslFailure::Connection(_)) => {
            "the broker hung up in the middle of the login: its log says why; some do so after \
             a wrong password"
        }
        ConnectError::Sasl(SaslFailure::Refused {
            mechanism: "PLAIN" | "SCRAM-SHA-256" | "SCRAM-SHA-512",
            ..
        }) => {
            "check user name and password, and that the cluster has this user for this \
             sasl.mechanism (SCRAM users are made for each mechanism); a password file must \
             hold the password and nothing else"
        }
        _ => "mend what is named (docs/logins.md); signed tokens need a right clock as well",
    }
}
