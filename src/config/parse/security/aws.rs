//! The `sasl.aws.*` properties: AWS IAM credentials for Amazon MSK, and the role to assume.

use toml::Spanned;

use super::secret::read_secret;
use crate::config::PemSource;
use crate::config::parse::Context;
use crate::config::sasl::{AwsCarrier, AwsKeys, AwsLogin, AwsRole};
use crate::config::section::{Entry, Section};

const REGION: &str = "sasl.aws.region";
const KEY_ID: &str = "sasl.aws.access.key.id";
const SECRET_KEY: &str = "sasl.aws.secret.access.key";
const SESSION: &str = "sasl.aws.session.token";
const PROFILE: &str = "sasl.aws.profile";
const ROLE: &str = "sasl.aws.role.arn";
const ROLE_SESSION: &str = "sasl.aws.role.session.name";
const ROLE_EXTERNAL: &str = "sasl.aws.role.external.id";

/// Name of the session of an assumed role, as it shows in CloudTrail.
const SESSION_NAME: &str = "spoolway";

/// Every entry of this login.
pub(super) struct Given<'a> {
    region: Option<Entry<'a>>,
    key_id: Option<Entry<'a>>,
    secret_key: Option<Entry<'a>>,
    session: Option<Entry<'a>>,
    profile: Option<Entry<'a>>,
    role: Option<Entry<'a>>,
    role_session: Option<Entry<'a>>,
    role_external: Option<Entry<'a>>,
}

impl<'a> Given<'a> {
    pub(super) fn take(section: &mut Section<'a, '_>) -> Self {
        Self {
            region: section.take(REGION),
            key_id: section.take(KEY_ID),
            secret_key: section.take(SECRET_KEY),
            session: section.take(SESSION),
            profile: section.take(PROFILE),
            role: section.take(ROLE),
            role_session: section.take(ROLE_SESSION),
            role_external: section.take(ROLE_EXTERNAL),
        }
    }

    pub(super) fn named(&self) -> [(&'static str, &Option<Entry<'a>>); 8] {
        [
            (REGION, &self.region),
            (KEY_ID, &self.key_id),
            (SECRET_KEY, &self.secret_key),
            (SESSION, &self.session),
            (PROFILE, &self.profile),
            (ROLE, &self.role),
            (ROLE_SESSION, &self.role_session),
            (ROLE_EXTERNAL, &self.role_external),
        ]
    }

    pub(super) fn any(&self) -> bool {
        self.named().iter().any(|(_, entry)| entry.is_some())
    }

    pub(super) fn read(
        self,
        section: &mut Section<'_, '_>,
        carrier: AwsCarrier,
        ca: Option<PemSource>,
        context: &Context,
    ) -> Option<AwsLogin> {
        let keys = self.keys(section, context);
        if let Some(entry) = self.profile.as_ref().filter(|_| keys.is_some()) {
            let help = Some(format!("keep either it, or {KEY_ID} and {SECRET_KEY}"));
            section.fault(PROFILE, entry.key.clone(), "says the same twice", help);
        }
        let role = self.role(section);
        Some(AwsLogin {
            carrier,
            region: word(section, REGION, &self.region),
            keys,
            profile: word(section, PROFILE, &self.profile),
            role,
            ca,
        })
    }

    fn keys(&self, section: &mut Section<'_, '_>, context: &Context) -> Option<AwsKeys> {
        let secret = |section: &mut Section<'_, '_>, key, entry: &Option<Entry<'_>>| {
            let entry = entry.as_ref()?;
            read_secret(section, key, entry, context)
        };
        let id = word(section, KEY_ID, &self.key_id);
        let key = secret(section, SECRET_KEY, &self.secret_key);
        let session = secret(section, SESSION, &self.session);
        let halves = [
            (KEY_ID, &self.key_id, &self.secret_key, SECRET_KEY),
            (SECRET_KEY, &self.secret_key, &self.key_id, KEY_ID),
            (SESSION, &self.session, &self.key_id, KEY_ID),
        ];
        for (name, given, other, wanted) in halves {
            if let (Some(entry), None) = (given, other) {
                let help = Some(format!("add {wanted}"));
                section.fault(name, entry.key.clone(), "stands alone", help);
            }
        }
        Some(AwsKeys {
            id: id?,
            secret: key?,
            session,
        })
    }

    fn role(&self, section: &mut Section<'_, '_>) -> Option<AwsRole> {
        let session_name = word(section, ROLE_SESSION, &self.role_session);
        let external_id = word(section, ROLE_EXTERNAL, &self.role_external);
        let others = [
            (ROLE_SESSION, &self.role_session),
            (ROLE_EXTERNAL, &self.role_external),
        ];
        for (name, entry) in others {
            if let (Some(entry), None) = (entry, &self.role) {
                let help = Some(format!("add {ROLE}"));
                section.fault(name, entry.key.clone(), "stands alone", help);
            }
        }
        let arn = section.text_of(ROLE, self.role.as_ref()?)?;
        if !arn.get_ref().starts_with("arn:") {
            let help = Some("write it as arn:aws:iam::ACCOUNT:role/NAME".to_owned());
            section.fault(ROLE, arn.span(), "is not the ARN of a role", help);
        }
        Some(AwsRole {
            arn: arn.into_inner(),
            session_name: session_name.unwrap_or_else(|| SESSION_NAME.to_owned()),
            external_id,
        })
    }
}

/// A text without spaces and control characters: it becomes part of a signed URL.
fn word(section: &mut Section<'_, '_>, key: &str, entry: &Option<Entry<'_>>) -> Option<String> {
    let text: Spanned<String> = section.text_of(key, entry.as_ref()?)?;
    let fine = |text: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_graphic());
    if !fine(text.get_ref()) {
        section.fault(key, text.span(), "is empty or has spaces in it", None);
        return None;
    }
    Some(text.into_inner())
}
