//! Amazon MSK's side of a login, by hand: signature version 4 recomputed with hmac and sha2
//! alone, for the payload of AWS_MSK_IAM and for the token of OAUTHBEARER.
//!
//! Shares no code with the program under test.

use std::collections::BTreeMap;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};

/// Who may log in.
#[derive(Debug, Clone)]
pub struct Account {
    /// Access key id.
    pub id: String,
    /// Secret access key.
    pub secret: String,
    /// Session token that has to be there, or must not.
    pub session: Option<String>,
    /// Region that has to be signed for.
    pub region: String,
}

impl Account {
    /// Judges the JSON of AWS_MSK_IAM that came to the broker called `host`.
    pub fn judge_payload(&self, host: &str, message: &[u8]) -> Result<Vec<u8>, String> {
        let payload: serde_json::Value =
            serde_json::from_slice(message).map_err(|e| format!("no JSON: {e}"))?;
        let fields = payload.as_object().ok_or("no object")?;
        if fields.get("version") != Some(&"2020_10_22".into()) {
            return Err("wrong version".into());
        }
        if fields.get("host") != Some(&host.into()) {
            return Err("signed for another host".into());
        }
        let mut query = BTreeMap::new();
        for (name, value) in fields {
            let name = match name.as_str() {
                "action" => "Action",
                "x-amz-algorithm" => "X-Amz-Algorithm",
                "x-amz-credential" => "X-Amz-Credential",
                "x-amz-date" => "X-Amz-Date",
                "x-amz-expires" => "X-Amz-Expires",
                "x-amz-security-token" => "X-Amz-Security-Token",
                "x-amz-signature" => "X-Amz-Signature",
                "x-amz-signedheaders" => "X-Amz-SignedHeaders",
                "version" | "host" | "user-agent" => continue,
                other => return Err(format!("unknown field {other}")),
            };
            let value = value.as_str().ok_or("a field is no string")?;
            query.insert(name.to_owned(), value.to_owned());
        }
        self.judge(host, query)?;
        Ok(br#"{"version":"2020_10_22","request-id":"test"}"#.to_vec())
    }

    /// Judges the first message of OAUTHBEARER.
    pub fn judge_bearer(&self, message: &[u8]) -> Result<Vec<u8>, String> {
        let text = std::str::from_utf8(message).map_err(|e| e.to_string())?;
        let token = text
            .strip_prefix("n,,\u{1}auth=Bearer ")
            .and_then(|rest| rest.strip_suffix("\u{1}\u{1}"))
            .ok_or("not the first message of OAUTHBEARER")?;
        let url = BASE64_URL_SAFE_NO_PAD.decode(token);
        let url = String::from_utf8(url.map_err(|e| e.to_string())?).map_err(|e| e.to_string())?;
        let host = format!("kafka.{}.amazonaws.com", self.region);
        let query = url
            .strip_prefix(&format!("https://{host}/?"))
            .ok_or("another address")?;
        let mut pairs = BTreeMap::new();
        for pair in query.split('&') {
            let (name, value) = pair.split_once('=').ok_or("no pair")?;
            if name != "User-Agent" {
                pairs.insert(name.to_owned(), decoded(value)?);
            }
        }
        self.judge(&host, pairs)?;
        Ok(Vec::new())
    }

    fn judge(&self, host: &str, mut query: BTreeMap<String, String>) -> Result<(), String> {
        let given = query.remove("X-Amz-Signature").ok_or("no signature")?;
        let wanted = |name: &str| query.get(name).cloned().ok_or(format!("no {name}"));
        if wanted("Action")? != "kafka-cluster:Connect" {
            return Err("another action".into());
        }
        if query.get("X-Amz-Security-Token") != self.session.as_ref() {
            return Err("another session".into());
        }
        let date = wanted("X-Amz-Date")?;
        let day = date.get(..8).ok_or("no date")?;
        let scope = format!("{day}/{}/kafka-cluster/aws4_request", self.region);
        if wanted("X-Amz-Credential")? != format!("{}/{scope}", self.id) {
            return Err("Access denied".into());
        }
        let canonical: Vec<String> = query
            .iter()
            .map(|(name, value)| format!("{}={}", encoded(name), encoded(value)))
            .collect();
        let empty = hex(&Sha256::digest(b""));
        let request = format!(
            "GET\n/\n{}\nhost:{host}\n\nhost\n{empty}",
            canonical.join("&")
        );
        let text = format!(
            "AWS4-HMAC-SHA256\n{date}\n{scope}\n{}",
            hex(&Sha256::digest(request.as_bytes()))
        );
        let mut key = mac(format!("AWS4{}", self.secret).as_bytes(), day);
        for part in [&*self.region, "kafka-cluster", "aws4_request"] {
            key = mac(&key, part);
        }
        if hex(&mac(&key, &text)) == given {
            Ok(())
        } else {
            Err("Access denied".into())
        }
    }
}

fn mac(key: &[u8], text: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("any length is a key");
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn encoded(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                out.push(char::from(byte));
            }
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

fn decoded(text: &str) -> Result<String, String> {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        rest = tail;
        if first != b'%' {
            bytes.push(first);
            continue;
        }
        let (digits, tail) = rest.split_at_checked(2).ok_or("cut %")?;
        rest = tail;
        let digits = std::str::from_utf8(digits).map_err(|e| e.to_string())?;
        bytes.push(u8::from_str_radix(digits, 16).map_err(|e| e.to_string())?);
    }
    String::from_utf8(bytes).map_err(|e| e.to_string())
}
