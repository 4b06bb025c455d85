//! The security part of `[kafka]`: which layers there are; TLS is in `tls`, SASL in `sasl`.
//!
//! Values of secrets are never put into a message.

use super::Context;
use crate::config::KafkaConfig;
use crate::config::section::{Entry, Section};

mod aws;
mod bearer;
mod sasl;
mod secret;
#[cfg(test)]
mod tests;
mod tls;
mod versions;

const ALLOW_PLAINTEXT: &str = "allow_sasl_plaintext";

/// `security.protocol`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Protocol {
    tls: bool,
    sasl: bool,
}

const PROTOCOLS: [(&str, Protocol); 4] = [
    (
        "PLAINTEXT",
        Protocol {
            tls: false,
            sasl: false,
        },
    ),
    (
        "SSL",
        Protocol {
            tls: true,
            sasl: false,
        },
    ),
    (
        "SASL_PLAINTEXT",
        Protocol {
            tls: false,
            sasl: true,
        },
    ),
    (
        "SASL_SSL",
        Protocol {
            tls: true,
            sasl: true,
        },
    ),
];

/// Reads every `ssl.*` and `sasl.*` property into `kafka`.
pub(super) fn read(section: &mut Section<'_, '_>, kafka: &mut KafkaConfig, context: &Context) {
    let text = section.text("security.protocol");
    let protocol = match &text {
        // TLS unless it is switched off by name; a login when one is configured.
        None => Some(Protocol {
            tls: true,
            sasl: section.has("sasl."),
        }),
        Some(text) => section.choice_of("security.protocol", text, &PROTOCOLS),
    };
    let allowed = section.flag(ALLOW_PLAINTEXT, false);
    let tls = tls::read(section, protocol, context);
    let sasl = sasl::read(section, protocol, context);
    let Some(protocol) = protocol else { return };
    if protocol.sasl && !protocol.tls {
        let span = text.map_or(0..0, |text| text.span());
        let key = "security.protocol";
        if allowed {
            let what = "sends the password or its proof, and every event, unencrypted";
            section.caution(key, span, what, Some("use SASL_SSL".to_owned()));
        } else {
            let what = "SASL_PLAINTEXT shows logins and events to the network";
            let help = format!("use SASL_SSL, or accept it with {ALLOW_PLAINTEXT} = true");
            section.fault(key, span, what, Some(help));
        }
    }
    kafka.tls = tls.filter(|_| protocol.tls);
    kafka.sasl = sasl.filter(|_| protocol.sasl);
}

/// A key of a layer that `security.protocol` leaves out is a misunderstanding worth an
/// error: the user believes to be protected by it.
fn refuse_unused(section: &mut Section<'_, '_>, key: &str, entry: &Entry<'_>, layer: &str) {
    let what = format!("needs {layer}, which security.protocol leaves out");
    let help = if layer == "TLS" {
        "SSL or SASL_SSL"
    } else {
        "SASL_SSL"
    };
    let help = Some(format!(
        "set security.protocol = \"{help}\", or remove the line"
    ));
    section.fault(key, entry.key.clone(), &what, help);
}
