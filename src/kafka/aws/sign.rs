//! Signature version 4, by the AWS SDK's own crate: for the login at Amazon MSK, and for
//! requests to STS.

use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{
    SignableBody, SignableRequest, SignatureLocation, SigningInstructions, SigningSettings, sign,
};
use aws_sigv4::sign::v4::SigningParams;

use super::AwsFailure;
use crate::kafka::https::encoded;

/// Time in which a broker takes the signature; more than 900 s is refused by MSK.
const SIGNED_FOR: Duration = Duration::from_secs(900);

/// What a broker of MSK is asked for.
pub(super) const ACTION: &str = "kafka-cluster:Connect";

/// Name of MSK in signatures.
const SERVICE: &str = "kafka-cluster";

/// The signed query for the host: parameters in the order in which they were signed.
pub(super) fn presign(
    host: &str,
    region: &str,
    credentials: &Credentials,
    now: SystemTime,
) -> Result<Vec<(String, String)>, AwsFailure> {
    let mut settings = SigningSettings::default();
    settings.signature_location = SignatureLocation::QueryParams;
    settings.expires_in = Some(SIGNED_FOR);
    let url = format!("https://{host}/?Action={}", encoded(ACTION));
    let request = SignableRequest::new("GET", &url, std::iter::empty(), SignableBody::empty());
    let instructions = run(request, SERVICE, region, credentials, now, settings)?;
    let mut query = vec![("Action".to_owned(), ACTION.to_owned())];
    let signed = instructions.params().iter();
    query.extend(signed.map(|(name, value)| ((*name).to_owned(), value.clone().into_owned())));
    Ok(query)
}

/// Headers that sign a form that is posted to `url`.
pub(super) fn headers(
    url: &str,
    service: &str,
    region: &str,
    form: &str,
    credentials: &Credentials,
    now: SystemTime,
) -> Result<Vec<(String, String)>, AwsFailure> {
    let body = SignableBody::Bytes(form.as_bytes());
    let request = SignableRequest::new("POST", url, std::iter::empty(), body);
    let settings = SigningSettings::default();
    let instructions = run(request, service, region, credentials, now, settings)?;
    let signed = instructions.headers();
    Ok(signed
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect())
}

fn run<E: std::fmt::Display>(
    request: Result<SignableRequest<'_>, E>,
    service: &str,
    region: &str,
    credentials: &Credentials,
    now: SystemTime,
    settings: SigningSettings,
) -> Result<SigningInstructions, AwsFailure> {
    let failed = |reason: String| AwsFailure::Signing { reason };
    let identity = credentials.clone().into();
    let params = SigningParams::builder()
        .identity(&identity)
        .region(region)
        .name(service)
        .time(now)
        .settings(settings)
        .build();
    let params = params.map_err(|e| failed(e.to_string()))?.into();
    let request = request.map_err(|e| failed(e.to_string()))?;
    // The crate traces what it signs, the session token included.
    let quiet = tracing::subscriber::NoSubscriber::default();
    let signed = tracing::subscriber::with_default(quiet, || sign(request, &params));
    let (instructions, _) = signed.map_err(|e| failed(e.to_string()))?.into_parts();
    Ok(instructions)
}
