//! The `sasl.*` properties: how the login is proven, and with what.

use super::secret::read_secret;
use super::{Protocol, refuse_unused};
use crate::config::parse::Context;
use crate::config::section::Section;
use crate::config::{SaslConfig, SaslMechanism};

const PASSWORD: &str = "sasl.password";

const MECHANISMS: [(&str, SaslMechanism); 3] = [
    ("PLAIN", SaslMechanism::Plain),
    ("SCRAM-SHA-256", SaslMechanism::ScramSha256),
    ("SCRAM-SHA-512", SaslMechanism::ScramSha512),
];

/// Reads every `sasl.*` property.
pub(super) fn read(
    section: &mut Section<'_, '_>,
    protocol: Option<Protocol>,
    context: &Context,
) -> Option<SaslConfig> {
    let mechanism = section.take_alias("sasl.mechanism", &["sasl.mechanisms"]);
    let username = section.take("sasl.username");
    let password = section.take(PASSWORD);
    if protocol.is_some_and(|p| !p.sasl) {
        let given = [
            ("sasl.mechanism", &mechanism),
            ("sasl.username", &username),
            (PASSWORD, &password),
        ];
        for (key, entry) in given {
            if let Some(entry) = entry {
                refuse_unused(section, key, entry, "SASL");
            }
        }
        return None;
    }
    let required = [
        (
            "sasl.mechanism",
            mechanism.is_none(),
            "set it, e.g. \"SCRAM-SHA-512\"",
        ),
        ("sasl.username", username.is_none(), "set it"),
        (
            PASSWORD,
            password.is_none(),
            "set it, e.g. { file = \"/etc/spoolway/password\" }",
        ),
    ];
    for (key, absent, help) in required {
        if absent && protocol.is_some() {
            section.absent(key, help);
        }
    }
    let mechanism = mechanism
        .and_then(|entry| section.text_of("sasl.mechanism", &entry))
        .and_then(|text| section.choice_of("sasl.mechanism", &text, &MECHANISMS));
    let username = username.and_then(|entry| section.text_of("sasl.username", &entry));
    let password = password.and_then(|entry| read_secret(section, PASSWORD, &entry, context));
    let username = username?.into_inner();
    Some(SaslConfig {
        mechanism: mechanism?,
        username,
        password: password?,
    })
}
