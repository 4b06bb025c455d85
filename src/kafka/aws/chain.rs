//! Where AWS credentials come from: the settings, else the sources of the AWS SDKs in their
//! order; and a role that is assumed with them.

use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;

use super::profile::{Profile, Profiles};
use super::{AwsFailure, Env, metadata, sts};
use crate::config::sasl::{AwsLogin, AwsRole};

/// Most profiles that may name each other as `source_profile`.
const PROFILE_CHAIN_MAX: usize = 8;

/// Says in the credentials' `Debug` where they came from.
pub(super) const PROVIDER: &str = "spoolway";

/// One search.
pub(super) struct Chain<'a> {
    pub(super) login: &'a AwsLogin,
    pub(super) env: Env,
    /// Longest time of one request.
    pub(super) limit: Duration,
}

impl Chain<'_> {
    /// The credentials to sign with.
    pub(super) fn credentials(&self, region: &str) -> Result<Credentials, AwsFailure> {
        let found = self.source(region)?;
        match &self.login.role {
            None => Ok(found),
            Some(role) => self.assume(role, &found, region),
        }
    }

    /// The region of the profile, if it has one.
    pub(super) fn profile_region(&self) -> Option<String> {
        let profiles = Profiles::load(self.env).ok()?;
        profiles.get(&self.profile_name())?.get("region").cloned()
    }

    fn source(&self, region: &str) -> Result<Credentials, AwsFailure> {
        if let Some(keys) = &self.login.keys {
            let secret = keys.secret.read()?;
            let session = keys.session.as_ref().map(|s| s.read()).transpose()?;
            let session = session.map(|s| s.expose().to_owned());
            return Ok(new(&keys.id, secret.expose(), session, None));
        }
        if self.login.profile.is_some() {
            return self.of_profile(region)?.ok_or_else(|| self.no_profile());
        }
        if let Some(found) = self.of_environment() {
            return Ok(found);
        }
        if let Some(found) = self.of_profile(region)? {
            return Ok(found);
        }
        if let Some(file) = (self.env)("AWS_WEB_IDENTITY_TOKEN_FILE") {
            let arn = (self.env)("AWS_ROLE_ARN").ok_or_else(|| AwsFailure::Source {
                origin: "AWS_WEB_IDENTITY_TOKEN_FILE".to_owned(),
                reason: "AWS_ROLE_ARN is not set beside it".to_owned(),
            })?;
            let session_name = (self.env)("AWS_ROLE_SESSION_NAME");
            return self.of_web_identity(&file, arn, session_name, region);
        }
        if let Some(found) = metadata::container(self.env, self.limit)? {
            return Ok(found);
        }
        metadata::instance(self.env)
    }

    fn of_environment(&self) -> Option<Credentials> {
        let id = (self.env)("AWS_ACCESS_KEY_ID")?;
        let secret = (self.env)("AWS_SECRET_ACCESS_KEY")?;
        Some(new(&id, &secret, (self.env)("AWS_SESSION_TOKEN"), None))
    }

    fn profile_name(&self) -> String {
        let named = self.login.profile.clone();
        let named = named.or_else(|| (self.env)("AWS_PROFILE"));
        named.unwrap_or_else(|| "default".to_owned())
    }

    fn no_profile(&self) -> AwsFailure {
        AwsFailure::Source {
            origin: format!("profile {:?}", self.profile_name()),
            reason: "is not in ~/.aws/credentials or ~/.aws/config, or holds no credentials; \
                     write it, or change sasl.aws.profile"
                .to_owned(),
        }
    }

    fn of_profile(&self, region: &str) -> Result<Option<Credentials>, AwsFailure> {
        let profiles = Profiles::load(self.env)?;
        self.follow(&profiles, &self.profile_name(), region, PROFILE_CHAIN_MAX)
    }

    /// The credentials of a profile, with those of its source when it names a role.
    fn follow(
        &self,
        profiles: &Profiles,
        name: &str,
        region: &str,
        depth: usize,
    ) -> Result<Option<Credentials>, AwsFailure> {
        let Some(profile) = profiles.get(name) else {
            return Ok(None);
        };
        let wrong = |reason: &str| AwsFailure::Source {
            origin: format!("profile {name:?}"),
            reason: reason.to_owned(),
        };
        for unsupported in ["credential_process", "sso_session", "sso_start_url"] {
            if profile.contains_key(unsupported) {
                return Err(wrong(&format!(
                    "{unsupported} is not supported; use keys or a role"
                )));
            }
        }
        let Some(arn) = profile.get("role_arn") else {
            return Ok(keys_of(profile));
        };
        let role = AwsRole {
            arn: arn.clone(),
            session_name: (profile.get("role_session_name").cloned())
                .unwrap_or_else(|| PROVIDER.to_owned()),
            external_id: profile.get("external_id").cloned(),
        };
        if let Some(file) = profile.get("web_identity_token_file") {
            let session_name = Some(role.session_name);
            let found = self.of_web_identity(file, role.arn, session_name, region);
            return found.map(Some);
        }
        let source = match (
            profile.get("source_profile"),
            profile.get("credential_source"),
        ) {
            // A profile may be its own source: its keys assume its role.
            (Some(source), _) if source == name => keys_of(profile),
            (Some(_), _) if depth == 0 => return Err(wrong("source_profile goes in a circle")),
            (Some(source), _) => self.follow(profiles, source, region, depth - 1)?,
            (None, Some(source)) => match source.as_str() {
                "Environment" => self.of_environment(),
                "EcsContainer" => metadata::container(self.env, self.limit)?,
                "Ec2InstanceMetadata" => Some(metadata::instance(self.env)?),
                _ => None,
            },
            (None, None) => keys_of(profile),
        };
        let source = source.ok_or_else(|| wrong("the source of its role has no credentials"))?;
        self.assume(&role, &source, region).map(Some)
    }

    fn assume(
        &self,
        role: &AwsRole,
        with: &Credentials,
        region: &str,
    ) -> Result<Credentials, AwsFailure> {
        self.sts(region).assume_role(role, with)
    }

    fn of_web_identity(
        &self,
        file: &str,
        arn: String,
        session_name: Option<String>,
        region: &str,
    ) -> Result<Credentials, AwsFailure> {
        let role = AwsRole {
            arn,
            session_name: session_name.unwrap_or_else(|| PROVIDER.to_owned()),
            external_id: None,
        };
        self.sts(region).assume_role_with_token(&role, file)
    }

    fn sts<'r>(&'r self, region: &'r str) -> sts::Sts<'r> {
        sts::Sts {
            region,
            ca: self.login.ca.as_ref(),
            env: self.env,
            limit: self.limit,
        }
    }
}

fn keys_of(profile: &Profile) -> Option<Credentials> {
    let id = profile.get("aws_access_key_id")?;
    let secret = profile.get("aws_secret_access_key")?;
    Some(new(
        id,
        secret,
        profile.get("aws_session_token").cloned(),
        None,
    ))
}

/// Credentials of this process.
pub(super) fn new(
    id: &str,
    secret: &str,
    session: Option<String>,
    end: Option<SystemTime>,
) -> Credentials {
    Credentials::new(id, secret, session, end, PROVIDER)
}
