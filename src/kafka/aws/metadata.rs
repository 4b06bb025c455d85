//! Credentials of the place we run in: a container (ECS, EKS Pod Identity) or an EC2
//! instance (IMDSv2). Both are asked over plain HTTP that does not leave the host.

use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use serde::Deserialize;
use zeroize::Zeroizing;

use super::{AwsFailure, Env, chain};
use crate::kafka::https::{Client, Method, Question};

/// Where ECS gives credentials.
const CONTAINER: &str = "http://169.254.170.2";

/// Hosts that a container may be told to ask over plain HTTP: ECS, EKS, and itself.
const CONTAINER_HOSTS: [&str; 6] = [
    "http://169.254.170.2",
    "http://169.254.170.23",
    "http://[fd00:ec2::23]",
    "http://127.0.0.1",
    "http://localhost",
    "http://[::1]",
];

/// Where an EC2 instance asks about itself.
const INSTANCE: &str = "http://169.254.169.254";

/// Longest wait for the instance's answer: elsewhere nobody answers at that address.
const INSTANCE_LIMIT: Duration = Duration::from_secs(1);

/// How long a session with the instance's metadata lasts, in seconds; we need one request.
const SESSION_SECONDS: &str = "60";

/// What both sources answer.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    access_key_id: String,
    secret_access_key: String,
    token: Option<String>,
    expiration: Option<String>,
}

/// Where the container's credentials are: a path at ECS's address, or a whole address.
/// `None` when this is no container.
fn container_url(env: Env) -> Option<String> {
    let relative = env("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI");
    let relative = relative.map(|path| format!("{CONTAINER}{path}"));
    relative.or_else(|| env("AWS_CONTAINER_CREDENTIALS_FULL_URI"))
}

/// Whether nothing that is sent there leaves the host.
fn is_on_host(url: &str) -> bool {
    CONTAINER_HOSTS.iter().any(|base| {
        let Some(rest) = url.strip_prefix(base) else {
            return false;
        };
        // A port, and no user name that hides another host.
        let port = rest.strip_prefix(':').unwrap_or_default();
        let digits = port.trim_start_matches(|c: char| c.is_ascii_digit());
        let path = if port.is_empty() { rest } else { digits };
        path.starts_with('/')
    })
}

/// The credentials of the container; `None` when this is none.
pub(super) fn container(env: Env, limit: Duration) -> Result<Option<Credentials>, AwsFailure> {
    let Some(url) = container_url(env) else {
        return Ok(None);
    };
    let wrong = |reason: &str| AwsFailure::Source {
        origin: format!("container credentials at {url}"),
        reason: reason.to_owned(),
    };
    if !is_on_host(&url) {
        return Err(wrong("is not an address on this host"));
    }
    let mut headers = Vec::new();
    if let Some(token) = env("AWS_CONTAINER_AUTHORIZATION_TOKEN") {
        headers.push(("Authorization", Zeroizing::new(token)));
    } else if let Some(file) = env("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE") {
        let token = std::fs::read_to_string(&file);
        let token = token.map_err(|e| wrong(&format!("cannot read {file}: {e}")))?;
        headers.push(("Authorization", Zeroizing::new(token.trim().to_owned())));
    }
    let question = Question {
        method: Method::Get,
        url: &url,
        headers,
    };
    let body = Client::local(limit).ask(question)?;
    credentials(&body, &format!("container credentials at {url}")).map(Some)
}

/// The credentials of the instance's role.
pub(super) fn instance(env: Env) -> Result<Credentials, AwsFailure> {
    if env("AWS_EC2_METADATA_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true")) {
        let last = "AWS_EC2_METADATA_DISABLED is set".to_owned();
        return Err(AwsFailure::NoCredentials { last });
    }
    let base = env("AWS_EC2_METADATA_SERVICE_ENDPOINT");
    let base = base.unwrap_or_else(|| INSTANCE.to_owned());
    let base = base.trim_end_matches('/');
    let client = Client::local(INSTANCE_LIMIT);
    let session = client.ask(Question {
        method: Method::Put,
        url: &format!("{base}/latest/api/token"),
        headers: vec![(
            "X-aws-ec2-metadata-token-ttl-seconds",
            Zeroizing::new(SESSION_SECONDS.to_owned()),
        )],
    });
    let session = session.map_err(|error| AwsFailure::NoCredentials {
        last: format!("instance metadata: {error}"),
    })?;
    let get = |path: &str| {
        client.ask(Question {
            method: Method::Get,
            url: &format!("{base}/latest/meta-data/iam/security-credentials/{path}"),
            headers: vec![("X-aws-ec2-metadata-token", session.clone())],
        })
    };
    let role = get("").map_err(|error| AwsFailure::NoCredentials {
        last: format!("the instance has no role: {error}"),
    })?;
    let role = role.lines().next().unwrap_or_default().trim().to_owned();
    credentials(&get(&role)?, &format!("instance role {role:?}"))
}

fn credentials(body: &str, origin: &str) -> Result<Credentials, AwsFailure> {
    let answer: Answer = serde_json::from_str(body).map_err(|error| AwsFailure::Source {
        origin: origin.to_owned(),
        // The text of the answer may hold the keys; only the place is told.
        reason: format!("its answer is not understood at column {}", error.column()),
    })?;
    let end = answer.expiration.as_deref().and_then(moment);
    if end.is_some_and(|end| end <= SystemTime::now()) {
        let origin = origin.to_owned();
        return Err(AwsFailure::Expired { origin });
    }
    let Answer {
        access_key_id,
        secret_access_key,
        token,
        ..
    } = answer;
    Ok(chain::new(&access_key_id, &secret_access_key, token, end))
}

/// A time as AWS writes it (RFC 3339, UTC).
pub(super) fn moment(text: &str) -> Option<SystemTime> {
    humantime::parse_rfc3339(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_of_ecs_names_a_path_and_one_of_eks_an_address() {
        let path = |name: &str| match name {
            "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI" => Some("/v2/credentials/edge".to_owned()),
            "AWS_CONTAINER_CREDENTIALS_FULL_URI" => Some("http://localhost/x".to_owned()),
            _ => None,
        };
        let whole = |name: &str| match name {
            "AWS_CONTAINER_CREDENTIALS_FULL_URI" => {
                Some("http://169.254.170.23/v1/credentials".to_owned())
            }
            _ => None,
        };
        let ecs = container_url(path).unwrap();
        assert_eq!(ecs, "http://169.254.170.2/v2/credentials/edge");
        assert_eq!(
            container_url(whole).unwrap(),
            "http://169.254.170.23/v1/credentials"
        );
        assert_eq!(container_url(|_| None), None);
        assert!(is_on_host(&ecs));
    }

    #[test]
    fn credentials_are_asked_for_on_this_host_only() {
        for url in [
            "http://169.254.170.23/v1/credentials",
            "http://127.0.0.1:8080/x",
            "http://[::1]:80/x",
        ] {
            assert!(is_on_host(url), "{url}");
        }
        for url in [
            "http://169.254.170.2@elsewhere.example/x",
            "http://169.254.170.2:80@elsewhere.example/x",
            "http://127.0.0.1.elsewhere.example/x",
            "http://localhost:80",
            "https://elsewhere.example/x",
        ] {
            assert!(!is_on_host(url), "{url}");
        }
    }
}
