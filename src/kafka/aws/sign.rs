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

#[cfg(test)]
mod tests {
    use aws_sigv4::http_request::{PercentEncodingMode, UriPathNormalizationMode};

    use super::*;
    use crate::kafka::aws::chain;

    /// The example of "Authenticating Requests: Using Query Parameters" in the reference of
    /// Amazon S3: the one presigned request whose signature AWS has published.
    #[test]
    fn the_published_example_of_a_presigned_request_has_its_signature() {
        let mut settings = SigningSettings::default();
        settings.signature_location = SignatureLocation::QueryParams;
        settings.expires_in = Some(Duration::from_secs(86_400));
        settings.percent_encoding_mode = PercentEncodingMode::Single;
        settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
        let key = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
        let credentials = chain::new("AKIAIOSFODNN7EXAMPLE", key, None, None);
        // 2013-05-24T00:00:00Z
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_369_353_600);
        let url = "https://examplebucket.s3.amazonaws.com/test.txt";
        let body = SignableBody::UnsignedPayload;
        let request = SignableRequest::new("GET", url, std::iter::empty(), body);
        let signed = run(request, "s3", "us-east-1", &credentials, time, settings).unwrap();
        let signature = signed
            .params()
            .iter()
            .find(|(name, _)| *name == "X-Amz-Signature");
        assert_eq!(
            signature.unwrap().1,
            "aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"
        );
    }
}
