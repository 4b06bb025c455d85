//! The addresses that the brokers advertise: clients are sent there, whatever address they
//! began with, so each has to be reachable from here.

use std::net::IpAddr;
use std::time::Instant;

use super::door::Door;
use super::{Exam, Finding, Kind, Step, Verdict};
use crate::config::HostPort;
use crate::kafka::wire::{Metadata, MetadataBroker};

/// Most brokers that are visited; more are named and left out.
const BROKERS_MAX: usize = 64;

impl Exam<'_> {
    /// Visits each broker where it says that it is, all at once.
    pub(super) async fn listeners(&mut self, cluster: &Metadata, bootstrap: &HostPort) {
        if cluster.brokers.is_empty() {
            self.note(Finding::fail(
                Step::Listener,
                &bootstrap.to_string(),
                Kind::Listener,
                "the cluster names no broker",
                "the broker has no listener for clients of this kind; look at its listeners= and \
                 advertised.listeners=",
            ));
        }
        let connector = &*self.connector;
        let visited = cluster.brokers.iter().take(BROKERS_MAX);
        let visits = visited.map(|broker| async move {
            let to = broker.address();
            let begin = Instant::now();
            let door = Door::knock(connector, &to).await;
            (broker, to, begin.elapsed(), door)
        });
        let visits = futures_util::future::join_all(visits).await;
        for (broker, to, took, door) in visits {
            let subject = format!("broker {}", broker.id);
            let mut finding = match &door.session {
                Some(_) => {
                    let what = format!("advertises {to}, reachable");
                    Finding::ok(Step::Listener, &subject, what)
                }
                None => unreachable_listener(&subject, broker, &to, bootstrap, &door),
            };
            finding.took = took;
            self.note(finding);
            if let Some(session) = door.session {
                self.sessions.insert(broker.id, session);
            }
        }
        let left = cluster.brokers.len().saturating_sub(BROKERS_MAX);
        if left > 0 {
            let what = format!("{left} more brokers are not visited");
            self.note(Finding::skip(Step::Listener, "brokers", what));
        }
    }
}

fn unreachable_listener(
    subject: &str,
    broker: &MetadataBroker,
    to: &HostPort,
    bootstrap: &HostPort,
    door: &Door,
) -> Finding {
    let cause = door.findings.iter().rev().find_map(|f| match &f.verdict {
        Verdict::Fail(_) => Some(f.what.clone()),
        _ => None,
    });
    let cause = cause.unwrap_or_else(|| "not reachable".to_owned());
    let what = format!("advertises {}, which does not work from here: {cause}", to);
    let todo = format!(
        "events for its partitions do not arrive although {} answers: clients are sent to the \
         advertised address. {} Set advertised.listeners of that broker to an address that this \
         host can reach",
        bootstrap,
        guess(&broker.host, bootstrap)
    );
    Finding::fail(Step::Listener, subject, Kind::Listener, what, todo)
}

/// What is usually behind such an address.
fn guess(host: &str, bootstrap: &HostPort) -> &'static str {
    let loopback =
        |host: &str| host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
    if loopback(host) && !loopback(&bootstrap.host) {
        return "It is a loopback address, good only on the broker's own host.";
    }
    if host.contains(".svc") || host.ends_with(".cluster.local") {
        return "It is a name inside a Kubernetes cluster; use the bootstrap address of an \
                external listener (docs/vendors/kubernetes.md).";
    }
    if host.parse::<IpAddr>().is_ok_and(|ip| ip.is_unspecified()) {
        return "It is the address that means all interfaces, which nobody can connect to.";
    }
    if !host.contains('.') && host.parse::<IpAddr>().is_err() {
        return "It is a name without a domain, often a container or a host of another network.";
    }
    "It may be an internal address of the cluster's network; hosted clusters have a public \
     bootstrap address as well."
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unusable_address_is_recognised_by_its_look() {
        let from = HostPort {
            host: "kafka.example.com".to_owned(),
            port: 9092,
        };
        for (host, words) in [
            ("localhost", "loopback"),
            ("127.0.0.1", "loopback"),
            ("::1", "loopback"),
            (
                "kafka-0.kafka-headless.prod.svc.cluster.local",
                "Kubernetes",
            ),
            ("0.0.0.0", "all interfaces"),
            ("kafka1", "without a domain"),
            ("ip-10-0-0-7.ec2.internal", "internal address"),
        ] {
            let said = guess(host, &from);
            assert!(said.contains(words), "{host}: {said}");
        }
    }
}
