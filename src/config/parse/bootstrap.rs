//! `bootstrap.servers` and `client.dns.lookup`: the brokers asked first, as `host:port`, and
//! by which names.
//!
//! Resolves no names; that happens at each connect.

use crate::config::section::Section;
use crate::config::{DnsLookup, HostPort};

/// Most entries of `bootstrap.servers`.
const BOOTSTRAP_MAX: usize = 64;

/// Reads the list; `None` when any entry of it is wrong.
pub(super) fn read(section: &mut Section<'_, '_>) -> Option<Vec<HostPort>> {
    const KEY: &str = "bootstrap.servers";
    let Some(entry) = section.take_alias(KEY, &["metadata.broker.list"]) else {
        section.absent(
            KEY,
            "set it, e.g. bootstrap.servers = \"kafka1:9092,kafka2:9092\"",
        );
        return None;
    };
    let Some(list) = entry.list() else {
        section.wrong_type(KEY, &entry, "a string \"host:port,host:port\"");
        return None;
    };
    if list.len() > BOOTSTRAP_MAX {
        let what = format!("has {} servers, {BOOTSTRAP_MAX} are enough", list.len());
        section.fault(KEY, entry.value.span(), &what, None);
        return None;
    }
    let mut servers = Vec::new();
    for server in &list {
        match parse_server(server) {
            Ok(parsed) => servers.push(parsed),
            Err(what) => {
                let help = Some("write host:port, or [address]:port for IPv6".to_owned());
                let what = format!("{server:?} {what}");
                section.fault(KEY, entry.value.span(), &what, help);
            }
        }
    }
    (servers.len() == list.len()).then_some(servers)
}

/// Reads `client.dns.lookup`; Kafka's names.
pub(super) fn read_lookup(section: &mut Section<'_, '_>) -> DnsLookup {
    let choices = [
        ("use_all_dns_ips", DnsLookup::AllAddresses),
        (
            "resolve_canonical_bootstrap_servers_only",
            DnsLookup::CanonicalBootstrap,
        ),
    ];
    section.choice("client.dns.lookup", DnsLookup::AllAddresses, &choices)
}

fn parse_server(text: &str) -> Result<HostPort, &'static str> {
    if text.is_empty() {
        return Err("is an empty entry");
    }
    if text.contains("://") {
        return Err("has a protocol; that goes to security.protocol");
    }
    let (host, port) = text.rsplit_once(':').ok_or("has no port")?;
    let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
    if bare.is_none() && host.contains(':') {
        return Err("is an IPv6 address without brackets");
    }
    let host = bare.unwrap_or(host);
    let strange =
        |c: char| c.is_whitespace() || c.is_control() || matches!(c, '/' | '[' | ']' | '@');
    if host.is_empty() || host.contains(strange) {
        return Err("has no usable host name");
    }
    match port.parse() {
        Ok(port) if port > 0 => Ok(HostPort {
            host: host.to_owned(),
            port,
        }),
        _ => Err("has no port between 1 and 65535"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_read_with_names_and_both_kinds_of_addresses() {
        let server = |text| parse_server(text).map(|s| (s.host, s.port));
        assert_eq!(server("kafka1:9092"), Ok(("kafka1".into(), 9092)));
        assert_eq!(server("[::1]:9093"), Ok(("::1".into(), 9093)));
        for wrong in [
            "",
            "kafka",
            "kafka:",
            "kafka:0",
            "kafka:99999",
            "::1:9092",
            ":9092",
            "SSL://k:9092",
            "a b:1",
        ] {
            assert!(server(wrong).is_err(), "{wrong}");
        }
    }
}
