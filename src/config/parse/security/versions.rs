//! `ssl.enabled.protocols` and `ssl.protocol`: which versions of TLS are spoken.
//!
//! As Kafka has them: the list is offered, and `ssl.protocol = "TLSv1.2"` takes 1.3 out of
//! it. Below TLS 1.2 nothing is spoken; asking for it is an error and not overlooked.

use crate::config::TlsVersions;
use crate::config::section::{Entry, Section};

pub(super) const ENABLED: &str = "ssl.enabled.protocols";
pub(super) const PROTOCOL: &str = "ssl.protocol";

/// Java's names of what is older than TLS 1.2.
const OLDER: [&str; 6] = ["SSL", "SSLv2", "SSLv3", "SSLv2Hello", "TLSv1", "TLSv1.1"];

const V1_2: &str = "TLSv1.2";
const V1_3: &str = "TLSv1.3";

/// Reads both.
pub(super) fn read(
    section: &mut Section<'_, '_>,
    enabled: Option<&Entry<'_>>,
    protocol: Option<&Entry<'_>>,
) -> TlsVersions {
    let (mut v1_2, mut v1_3) = (true, true);
    if let Some(entry) = enabled {
        let Some(names) = entry.list() else {
            section.wrong_type(ENABLED, entry, "a string \"TLSv1.2,TLSv1.3\"");
            return TlsVersions::Both;
        };
        (v1_2, v1_3) = (false, false);
        for name in names {
            match name.as_str() {
                V1_2 => v1_2 = true,
                V1_3 => v1_3 = true,
                other => refuse(section, ENABLED, entry, other),
            }
        }
    }
    if let Some(entry) = protocol {
        match entry.list().as_deref() {
            // JSSE's name for all versions.
            Some([name]) if name == V1_3 || name == "TLS" => {}
            Some([name]) if name == V1_2 => v1_3 = false,
            Some([name]) => refuse(section, PROTOCOL, entry, name),
            _ => section.wrong_type(PROTOCOL, entry, "a string \"TLSv1.3\""),
        }
    }
    match (v1_2, v1_3) {
        (true, true) => TlsVersions::Both,
        (true, false) => TlsVersions::Only1_2,
        (false, true) => TlsVersions::Only1_3,
        (false, false) => {
            if let Some(entry) = enabled.or(protocol) {
                let what = format!("leaves no version of TLS together with {PROTOCOL}");
                let help = format!("use {V1_2}, {V1_3} or both");
                section.fault(ENABLED, entry.value.span(), &what, Some(help));
            }
            TlsVersions::Both
        }
    }
}

fn refuse(section: &mut Section<'_, '_>, key: &'static str, entry: &Entry<'_>, name: &str) {
    let (what, help) = if OLDER.iter().any(|older| older.eq_ignore_ascii_case(name)) {
        let what = format!("{name} is broken, and TLS 1.2 is the least that is spoken");
        (
            what,
            "remove it; a broker that has nothing newer needs an update",
        )
    } else {
        (
            format!("{name:?} is no version of TLS"),
            "use TLSv1.2 or TLSv1.3",
        )
    };
    section.fault(key, entry.value.span(), &what, Some(help.to_owned()));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse::tests::{accepted, refusal, with_kafka};

    fn versions(lines: &str) -> TlsVersions {
        accepted(with_kafka(lines)).kafka.tls.unwrap().versions
    }

    #[test]
    fn versions_are_those_of_the_list_less_what_the_protocol_takes_out() {
        for (lines, expected) in [
            ("", TlsVersions::Both),
            (
                "ssl.enabled.protocols = \"TLSv1.2,TLSv1.3\"",
                TlsVersions::Both,
            ),
            ("ssl.enabled.protocols = \"TLSv1.2\"", TlsVersions::Only1_2),
            (
                "ssl.enabled.protocols = [\"TLSv1.3\"]",
                TlsVersions::Only1_3,
            ),
            ("ssl.protocol = \"TLSv1.3\"", TlsVersions::Both),
            ("ssl.protocol = \"TLS\"", TlsVersions::Both),
            ("ssl.protocol = \"TLSv1.2\"", TlsVersions::Only1_2),
        ] {
            assert_eq!(versions(lines), expected, "{lines}");
        }
    }

    #[test]
    fn what_is_older_than_tls_1_2_is_refused_with_the_reason() {
        for (lines, words) in [
            (
                "ssl.enabled.protocols = \"TLSv1.2, TLSv1.1\"",
                "TLSv1.1 is broken",
            ),
            ("ssl.protocol = \"SSLv3\"", "TLS 1.2 is the least"),
            (
                "ssl.enabled.protocols = \"TLSv1.4\"",
                "use TLSv1.2 or TLSv1.3",
            ),
            ("ssl.enabled.protocols = 3", "a string"),
            (
                "ssl.enabled.protocols = \"TLSv1.3\"\nssl.protocol = \"TLSv1.2\"",
                "leaves no version",
            ),
        ] {
            let text = refusal(with_kafka(lines));
            assert!(text.contains(words), "{text}");
        }
        let plain = "security.protocol = \"PLAINTEXT\"\nssl.protocol = \"TLSv1.3\"";
        assert!(refusal(with_kafka(plain)).contains("ssl.protocol"));
    }
}
