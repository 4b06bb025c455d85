//! An issuer of tokens: signs JWTs with a key of its own, and publishes that key as the JWKS
//! file that a broker validates by.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Result, anyhow};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use serde_json::json;

/// The issuer.
#[derive(Debug)]
pub struct Issuer {
    key: EcdsaKeyPair,
    /// Its public key.
    pub jwks: PathBuf,
}

impl Issuer {
    /// Makes a key and writes `jwks.json` into `folder`.
    pub fn make(folder: &Path) -> Result<Self> {
        let random = SystemRandom::new();
        let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let document = EcdsaKeyPair::generate_pkcs8(algorithm, &random);
        let document = document.map_err(|e| anyhow!("no key: {e}"))?;
        let key = EcdsaKeyPair::from_pkcs8(algorithm, document.as_ref(), &random);
        let key = key.map_err(|e| anyhow!("no key: {e}"))?;
        // 0x04, x, y.
        let (x, y) = key.public_key().as_ref()[1..].split_at(32);
        let jwks = folder.join("jwks.json");
        let set = json!({"keys": [{
            "kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": "test",
            "x": BASE64.encode(x), "y": BASE64.encode(y),
        }]});
        fs::write(&jwks, set.to_string())?;
        Ok(Self { key, jwks })
    }

    /// A token for this user and the audience `kafka`, good for so long.
    pub fn token(&self, user: &str, time: Duration) -> String {
        let now = seconds(SystemTime::now());
        self.signed(user, now, now + time.as_secs())
    }

    /// A token whose time ended an hour ago.
    pub fn old_token(&self, user: &str) -> String {
        let now = seconds(SystemTime::now());
        self.signed(user, now - 7200, now - 3600)
    }

    fn signed(&self, user: &str, from: u64, to: u64) -> String {
        let head = json!({"alg": "ES256", "kid": "test", "typ": "JWT"}).to_string();
        let claims = json!({
            "sub": user, "aud": "kafka", "iss": "test", "scope": "kafka", "iat": from, "exp": to,
        });
        let body = claims.to_string();
        let text = format!("{}.{}", BASE64.encode(head), BASE64.encode(body));
        let random = SystemRandom::new();
        let signature = self
            .key
            .sign(&random, text.as_bytes())
            .expect("a signature");
        format!("{text}.{}", BASE64.encode(signature))
    }
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH)
        .expect("after 1970")
        .as_secs()
}
