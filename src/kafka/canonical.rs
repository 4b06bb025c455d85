//! Canonical names of the bootstrap servers (KIP-235): one alias may stand for many brokers,
//! while TLS, and logins that sign the host, want the name of the one that answers.
//!
//! As the Java client does it: every address of a name is looked up backwards
//! (`InetAddress.getCanonicalHostName`). Connects to nothing.

use std::collections::HashSet;
use std::net::{IpAddr, ToSocketAddrs};
use std::time::{Duration, SystemTime};

use futures_util::future::join_all;
use tokio::time::timeout;

use super::cache::Cache;
use crate::config::HostPort;

/// Most addresses of one name that are looked up.
const ADDRESSES_MAX: usize = 64;

/// How long the names are believed. The alias may stand for other brokers by then, and a
/// resolver that does not answer is not asked at every attempt.
const GOOD_FOR: Duration = Duration::from_secs(60);

/// The names by the last look.
#[derive(Debug, Default)]
pub(super) struct Names(Cache<Vec<HostPort>>);

impl Names {
    /// The servers by the names of their addresses, each once, in the order of `servers`.
    /// One whose name leads nowhere within `limit` stays as it is written: connecting to it
    /// fails with the reason.
    pub(super) async fn of(&self, servers: &[HostPort], limit: Duration) -> Vec<HostPort> {
        let look = async {
            let found = join_all(servers.iter().map(|server| look_up(server, limit))).await;
            let complete = found.iter().all(Option::is_some);
            let end = complete.then(|| SystemTime::now() + GOOD_FOR);
            let named = found.into_iter().zip(servers);
            let named = named.flat_map(|(names, own)| names.unwrap_or_else(|| vec![own.clone()]));
            let mut seen = HashSet::new();
            let named = named.filter(|server| seen.insert(server.clone()));
            let named: Vec<HostPort> = named.collect();
            tracing::debug!(?named, "canonical names of the bootstrap servers");
            Ok::<_, std::convert::Infallible>((named, end))
        };
        let Ok(named) = self.0.get(look).await;
        named
    }
}

/// `None` when the name has no address, or the resolver takes too long.
async fn look_up(server: &HostPort, limit: Duration) -> Option<Vec<HostPort>> {
    let HostPort { host, port } = server.clone();
    let names = tokio::task::spawn_blocking(move || canonical(&host));
    let names = timeout(limit, names).await.ok()?.ok()?;
    let servers = names.into_iter().map(|host| HostPort { host, port });
    Some(servers.collect::<Vec<_>>()).filter(|servers| !servers.is_empty())
}

/// The name of each address of `host`; blocks.
fn canonical(host: &str) -> Vec<String> {
    let addresses = addresses(host);
    addresses.map(name_of).collect()
}

fn addresses(host: &str) -> impl Iterator<Item = IpAddr> {
    let found = (host, 0).to_socket_addrs().into_iter().flatten();
    found.map(|address| address.ip()).take(ADDRESSES_MAX)
}

/// A name counts only when it leads back to the address, so that nobody takes over another's
/// by claiming it in a reverse zone. Without one the address stands for itself.
fn name_of(address: IpAddr) -> String {
    let name = dns_lookup::lookup_addr(&address).ok();
    let name = name.filter(|name| addresses(name).any(|back| back == address));
    name.unwrap_or_else(|| address.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(host: &str) -> HostPort {
        let host = host.to_owned();
        HostPort { host, port: 9092 }
    }

    #[tokio::test]
    async fn servers_are_called_by_the_names_of_their_addresses_each_once() {
        // Two spellings of 127.0.0.1; it has a name wherever there is an /etc/hosts.
        let alias = [server("127.0.0.1"), server("0x7f000001")];
        let names = Names::default();
        let named = names.of(&alias, Duration::from_secs(5)).await;
        assert_eq!(named, [server("localhost")]);
    }

    #[tokio::test]
    async fn an_address_without_a_name_stands_for_itself_and_a_dead_name_stays() {
        // Documentation ranges (RFC 5737, RFC 2606): nobody is there.
        let servers = [server("192.0.2.1"), server("nobody.invalid")];
        let names = Names::default();
        assert_eq!(names.of(&servers, Duration::from_secs(5)).await, servers);
    }
}
