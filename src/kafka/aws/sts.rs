//! AWS STS: temporary credentials of a role, for keys or for a web identity.
//!
//! Two calls of its query API (2011-06-15); the answer is XML, of which four elements count.

use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use zeroize::Zeroizing;

use super::metadata::moment;
use super::sign;
use super::{AwsFailure, Env, chain, suffix};
use crate::config::PemSource;
use crate::config::sasl::AwsRole;
use crate::kafka::https::{Client, Method, Question, encoded};

/// One STS endpoint.
pub(super) struct Sts<'a> {
    pub(super) region: &'a str,
    pub(super) ca: Option<&'a PemSource>,
    pub(super) env: Env,
    pub(super) limit: Duration,
}

impl Sts<'_> {
    /// AssumeRole, signed with `with`.
    pub(super) fn assume_role(
        &self,
        role: &AwsRole,
        with: &Credentials,
    ) -> Result<Credentials, AwsFailure> {
        let mut form = form("AssumeRole", role);
        if let Some(id) = &role.external_id {
            form.push_str(&format!("&ExternalId={}", encoded(id)));
        }
        let url = self.endpoint();
        let now = SystemTime::now();
        let signed = sign::headers(&url, "sts", self.region, &form, with, now)?;
        self.call(&url, form, signed, &role.arn)
    }

    /// AssumeRoleWithWebIdentity, with the token in `file`; nothing is signed.
    pub(super) fn assume_role_with_token(
        &self,
        role: &AwsRole,
        file: &str,
    ) -> Result<Credentials, AwsFailure> {
        let token = std::fs::read_to_string(file).map_err(|error| AwsFailure::Source {
            origin: format!("web identity token {file}"),
            reason: error.to_string(),
        })?;
        let mut form = form("AssumeRoleWithWebIdentity", role);
        form.push_str(&format!("&WebIdentityToken={}", encoded(token.trim())));
        self.call(&self.endpoint(), form, Vec::new(), &role.arn)
    }

    /// The regional endpoint, or the one that the AWS SDKs' own variable names.
    fn endpoint(&self) -> String {
        (self.env)("AWS_ENDPOINT_URL_STS")
            .unwrap_or_else(|| format!("https://sts.{}.{}/", self.region, suffix(self.region)))
    }

    fn call(
        &self,
        url: &str,
        form: Zeroizing<String>,
        signed: Vec<(String, String)>,
        arn: &str,
    ) -> Result<Credentials, AwsFailure> {
        let known = ["authorization", "x-amz-date", "x-amz-security-token"];
        let headers = known.into_iter().filter_map(|known| {
            let (_, value) = signed.iter().find(|(name, _)| name == known)?;
            Some((known, Zeroizing::new(value.clone())))
        });
        let client = Client::new(self.ca, self.limit)?;
        let body = client.ask(Question {
            method: Method::Post(form),
            url,
            headers: headers.collect(),
        })?;
        let wanted = |name: &str| {
            element(&body, name).ok_or_else(|| AwsFailure::Source {
                origin: format!("STS for {arn}"),
                reason: format!("its answer has no {name}"),
            })
        };
        let id = wanted("AccessKeyId")?;
        let secret = wanted("SecretAccessKey")?;
        let session = wanted("SessionToken")?;
        let end = moment(wanted("Expiration")?);
        Ok(chain::new(id, secret, Some(session.to_owned()), end))
    }
}

fn form(action: &str, role: &AwsRole) -> Zeroizing<String> {
    Zeroizing::new(format!(
        "Action={action}&Version=2011-06-15&RoleArn={}&RoleSessionName={}",
        encoded(&role.arn),
        encoded(&role.session_name)
    ))
}

/// The text of the first element of this name. Keys and tokens hold no character that XML
/// writes in another way.
fn element<'x>(xml: &'x str, name: &str) -> Option<&'x str> {
    let (_, rest) = xml.split_once(&format!("<{name}>"))?;
    let (text, _) = rest.split_once(&format!("</{name}>"))?;
    Some(text.trim())
}
