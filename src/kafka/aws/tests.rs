//! Signatures against fixed vectors, and each source of credentials against a small server.

use std::collections::HashMap;

use super::*;

/// 2024-01-01T00:00:00Z
fn new_year() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_704_067_200)
}

fn signer(session: Option<&str>) -> Signer {
    let session = session.map(str::to_owned);
    Signer {
        credentials: chain::new("MOCK-ACCESS-KEY", "MOCK-SECRET-KEY", session, None),
        region: "us-west-2".to_owned(),
    }
}

fn query(token: &str) -> HashMap<String, String> {
    let url = BASE64_URL_SAFE_NO_PAD.decode(token).unwrap();
    let url = String::from_utf8(url).unwrap();
    let (host, query) = url.split_once("/?").unwrap();
    assert_eq!(host, "https://kafka.us-west-2.amazonaws.com");
    let pairs = query.split('&').map(|pair| pair.split_once('=').unwrap());
    pairs.map(|(n, v)| (n.to_owned(), v.to_owned())).collect()
}

#[test]
fn the_token_of_msk_has_the_signature_that_was_computed_elsewhere() {
    for (session, signature) in [
        (
            None,
            "ebd313ebebed1abc85693655f529d1a115394aaf2f3f2ba8a590e0dc8bb85e5b",
        ),
        (
            Some("MOCK-SESSION-TOKEN"),
            "df1b4fffb3df4da326f7201f621a93f9763a83c9fbdfc9e1ee5602d9c8ecb964",
        ),
    ] {
        let token = signer(session).token(new_year()).unwrap();
        let query = query(&token);
        assert_eq!(query["X-Amz-Signature"], signature);
        assert_eq!(query["X-Amz-Expires"], "900");
        assert_eq!(query["Action"], "kafka-cluster%3AConnect");
        assert_eq!(query["X-Amz-SignedHeaders"], "host");
        assert!(query["User-Agent"].starts_with("spoolway"));
        let token = query.get("X-Amz-Security-Token").map(String::as_str);
        assert_eq!(token, session);
    }
}

#[test]
fn the_payload_of_aws_msk_iam_is_signed_for_the_broker_it_goes_to() {
    let payload = signer(Some("S"))
        .payload("b-1.example", new_year())
        .unwrap();
    let payload: serde_json::Value = serde_json::from_slice(&payload).unwrap();
    for (name, value) in [
        ("version", "2020_10_22"),
        ("host", "b-1.example"),
        ("action", "kafka-cluster:Connect"),
        ("x-amz-algorithm", "AWS4-HMAC-SHA256"),
        ("x-amz-date", "20240101T000000Z"),
        ("x-amz-expires", "900"),
        ("x-amz-signedheaders", "host"),
        ("x-amz-security-token", "S"),
    ] {
        assert_eq!(payload[name], value, "{payload}");
    }
    let credential = payload["x-amz-credential"].as_str().unwrap();
    assert_eq!(
        credential,
        "MOCK-ACCESS-KEY/20240101/us-west-2/kafka-cluster/aws4_request"
    );
}

#[test]
fn the_region_is_read_from_the_name_of_a_broker_of_msk() {
    for (host, region) in [
        (
            "b-1.edge.abc.c2.kafka.eu-west-1.amazonaws.com",
            Some("eu-west-1"),
        ),
        (
            "boot-x.c1.kafka-serverless.us-east-2.amazonaws.com",
            Some("us-east-2"),
        ),
        (
            "b-1.x.kafka.cn-north-1.amazonaws.com.cn",
            Some("cn-north-1"),
        ),
        ("s3.us-east-1.amazonaws.com", None),
        ("localhost", None),
    ] {
        assert_eq!(region_of(host).as_deref(), region, "{host}");
    }
}

#[test]
fn nothing_of_the_credentials_is_printed() {
    let text = format!("{:?}", signer(Some("MOCK-SESSION-TOKEN")));
    assert!(
        !text.contains("MOCK-SECRET-KEY") && !text.contains("MOCK-SESSION"),
        "{text}"
    );
}
