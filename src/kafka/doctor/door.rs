//! One address, from its name to the login: where the way ends, why, and what to do.
//!
//! Looks up the name and opens TCP itself, to tell of each address; for the rest the
//! producer's own connection is made, and its error says how far it came.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::net::TcpStream;
use tokio::time::timeout;

use super::{Finding, Kind, Step, words};
use crate::config::HostPort;
use crate::kafka::connect::{ConnectError, Connector};
use crate::kafka::session::Session;

/// Most addresses of one name that are tried one by one.
const ADDRESSES_MAX: usize = 16;

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
        let subject = words(to);
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
        match Session::open(connector, to).await {
            Ok(session) => {
                door.passed(connector, &subject, None);
                door.session = Some(session);
            }
            Err(error) => {
                let (step, kind, todo) = diagnosis(connector, to, &error);
                door.passed(connector, &subject, Some(step));
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
    fn passed(&mut self, connector: &Connector, subject: &str, end: Option<Step>) {
        let config = connector.config();
        // The broker tells its versions before the login.
        let way = [
            (
                Step::Tls,
                config.tls.is_some(),
                "handshake done, certificate accepted",
            ),
            (
                Step::Versions,
                true,
                "a Kafka broker that speaks our versions",
            ),
            (Step::Login, config.sasl.is_some(), "login accepted"),
        ];
        for (step, wanted, what) in way {
            if end == Some(step) {
                return;
            }
            self.add(if wanted {
                Finding::ok(step, subject, what)
            } else {
                let what = "security.protocol has no such step";
                Finding::skip(step, subject, what)
            });
        }
    }
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
fn diagnosis(connector: &Connector, to: &HostPort, error: &ConnectError) -> (Step, Kind, String) {
    let address = words(to);
    match error {
        ConnectError::Resolve { .. } | ConnectError::NoAddress { .. } => {
            let todo = format!(
                "check the name; `getent hosts {}` asks the same resolver",
                to.host
            );
            (Step::Dns, Kind::Name, todo)
        }
        ConnectError::Tcp { .. } | ConnectError::Socket(_) => {
            let todo = "it took a connection a moment ago and now does not: look at the broker";
            (Step::Tcp, Kind::Connection, todo.to_owned())
        }
        ConnectError::TimedOut { .. } => {
            let (step, kind) = match (&connector.config().tls, &connector.config().sasl) {
                (Some(_), _) => (Step::Tls, Kind::Handshake),
                _ => (Step::Versions, Kind::Handshake),
            };
            let todo = "TCP opens and then nothing is said: the port may belong to something \
                        else, or want another security.protocol, or the broker hangs";
            (step, kind, todo.to_owned())
        }
        ConnectError::Tls(_) => {
            let todo = format!(
                "`openssl s_client -connect {address} -showcerts </dev/null` shows what the \
                 broker presents; ssl.ca.location has to hold the authority that signed it, and \
                 the name in bootstrap.servers has to be one of its names"
            );
            (Step::Tls, Kind::Handshake, todo)
        }
        ConnectError::Versions(_) => {
            let todo = "something listens there that does not answer as Kafka does over this \
                        security.protocol: a TLS port needs SSL or SASL_SSL, a plain one \
                        PLAINTEXT or SASL_PLAINTEXT; web consoles and ZooKeeper are other ports";
            (Step::Versions, Kind::Handshake, todo.to_owned())
        }
        ConnectError::Sasl(_) => {
            let todo = "check sasl.mechanism against what the cluster offers (Confluent Cloud: \
                        PLAIN with API key and secret; Amazon MSK: SCRAM-SHA-512), then user name \
                        and password; a password file must not hold more than the password";
            (Step::Login, Kind::Login, todo.to_owned())
        }
    }
}
