//! The `sasl.*` properties: how the login is proven, and with what.

use super::secret::read_secret;
use super::{Protocol, aws, bearer, refuse_unused};
use crate::config::parse::Context;
use crate::config::sasl::{AwsCarrier, PasswordLogin};
use crate::config::section::{Entry, Section};
use crate::config::{PemSource, SaslConfig, SaslMechanism};

const MECHANISM: &str = "sasl.mechanism";
const USERNAME: &str = "sasl.username";
const PASSWORD: &str = "sasl.password";
const HTTPS_CA: &str = "https.ca.location";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mechanism {
    Password(SaslMechanism),
    Bearer,
    MskIam,
}

const MECHANISMS: [(&str, Mechanism); 5] = [
    ("PLAIN", Mechanism::Password(SaslMechanism::Plain)),
    (
        "SCRAM-SHA-256",
        Mechanism::Password(SaslMechanism::ScramSha256),
    ),
    (
        "SCRAM-SHA-512",
        Mechanism::Password(SaslMechanism::ScramSha512),
    ),
    ("OAUTHBEARER", Mechanism::Bearer),
    ("AWS_MSK_IAM", Mechanism::MskIam),
];

/// Reads every `sasl.*` property.
pub(super) fn read(
    section: &mut Section<'_, '_>,
    protocol: Option<Protocol>,
    context: &Context,
) -> Option<SaslConfig> {
    let mechanism = section.take_alias(MECHANISM, &["sasl.mechanisms"]);
    let username = section.take(USERNAME);
    let password = section.take(PASSWORD);
    let bearer = bearer::Given::take(section);
    let aws = aws::Given::take(section);
    let https_ca = section.take(HTTPS_CA);
    if protocol.is_some_and(|p| !p.sasl) {
        let given = [
            (MECHANISM, &mechanism),
            (USERNAME, &username),
            (PASSWORD, &password),
            (HTTPS_CA, &https_ca),
        ];
        let given = given.into_iter().chain(bearer.named()).chain(aws.named());
        for (key, entry) in given {
            if let Some(entry) = entry {
                refuse_unused(section, key, entry, "SASL");
            }
        }
        return None;
    }
    if mechanism.is_none() && protocol.is_some() {
        section.absent(MECHANISM, "set it, e.g. \"SCRAM-SHA-512\"");
    }
    let ca = https_ca.and_then(|entry| section.path_of(HTTPS_CA, &entry));
    let ca = ca.map(|path| PemSource::File(path.into_inner()));
    let chosen = mechanism
        .and_then(|entry| section.text_of(MECHANISM, &entry))
        .and_then(|text| section.choice_of(MECHANISM, &text, &MECHANISMS));
    let with_aws = aws.any();
    match chosen {
        None | Some(Mechanism::Password(_)) => {
            refuse_others(section, &bearer.named(), "OAUTHBEARER");
            refuse_others(section, &aws.named(), "AWS_MSK_IAM");
        }
        Some(Mechanism::MskIam) => {
            refuse_others(section, &bearer.named(), "OAUTHBEARER");
            refuse_others(section, &passwords(&username, &password), "PLAIN");
        }
        Some(Mechanism::Bearer) => {
            refuse_others(section, &passwords(&username, &password), "PLAIN");
        }
    }
    match chosen {
        Some(Mechanism::MskIam) => Some(SaslConfig::Aws(aws.read(
            section,
            AwsCarrier::Payload,
            ca,
            context,
        )?)),
        Some(Mechanism::Bearer) if with_aws || bearer.wants_aws(section) => Some(SaslConfig::Aws(
            aws.read(section, AwsCarrier::Token, ca, context)?,
        )),
        Some(Mechanism::Bearer) => Some(SaslConfig::Bearer(bearer.read(section, ca, context)?)),
        None | Some(Mechanism::Password(_)) => {
            let wanted = protocol.is_some();
            let login = read_password(section, username, password, wanted, context)?;
            let Some(Mechanism::Password(mechanism)) = chosen else {
                return None;
            };
            Some(SaslConfig::Password(PasswordLogin { mechanism, ..login }))
        }
    }
}

type Named<'e, 'a> = (&'static str, &'e Option<Entry<'a>>);

fn passwords<'e, 'a>(
    username: &'e Option<Entry<'a>>,
    password: &'e Option<Entry<'a>>,
) -> [Named<'e, 'a>; 2] {
    [(USERNAME, username), (PASSWORD, password)]
}

/// A key of another mechanism is a misunderstanding worth an error.
fn refuse_others(section: &mut Section<'_, '_>, given: &[Named<'_, '_>], mechanism: &str) {
    for (key, entry) in given {
        if let Some(entry) = entry {
            let what = format!("goes with sasl.mechanism = \"{mechanism}\" and not with this one");
            let help = Some("remove the line, or change sasl.mechanism".to_owned());
            section.fault(key, entry.key.clone(), &what, help);
        }
    }
}

fn read_password(
    section: &mut Section<'_, '_>,
    username: Option<Entry<'_>>,
    password: Option<Entry<'_>>,
    wanted: bool,
    context: &Context,
) -> Option<PasswordLogin> {
    if username.is_none() && wanted {
        section.absent(USERNAME, "set it");
    }
    if password.is_none() && wanted {
        section.absent(
            PASSWORD,
            "set it, e.g. { file = \"/etc/spoolway/password\" }",
        );
    }
    let username = username.and_then(|entry| section.text_of(USERNAME, &entry));
    let password = password.and_then(|entry| read_secret(section, PASSWORD, &entry, context));
    Some(PasswordLogin {
        mechanism: SaslMechanism::Plain,
        username: username?.into_inner(),
        password: password?,
    })
}
