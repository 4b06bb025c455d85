//! The client's side of SCRAM-SHA-256 and SCRAM-SHA-512 (RFC 5802, RFC 7677) without channel
//! binding, on ring's HMAC and PBKDF2.
//!
//! Messages in, messages out: sends nothing and reads no secret's source. Kafka's brokers and
//! clients hash a password's bytes as they are (`ScramFormatter.normalize`), so we do not change
//! it after SASLprep (RFC 4013) either. What we hold of a secret is zeroed; what ring holds in
//! its keys is not.

use std::num::NonZeroU32;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::{digest, hmac, pbkdf2};
use zeroize::Zeroizing;

use crate::config::Secret;

/// Fewest rounds of hashing taken: RFC 7677 section 4, and what Kafka's clients take.
const ROUNDS_MIN: u32 = 4096;

/// Most rounds of hashing taken, about a second of one core. Kafka stores at most 16,384,
/// librdkafka takes as many as we do. Whoever answers names the number before it has shown
/// that it knows the password: without a limit it could have us hash for hours.
const ROUNDS_MAX: u32 = 1_000_000;

/// Longest answer read, in bytes. Kafka's have about a hundred.
const ANSWER_BYTES_MAX: usize = 4096;

/// In front of the first message: no channel binding, no other identity.
const HEADER: &str = "n,,";

/// [`HEADER`] again, in base64.
const BINDING: &str = "biws";

/// Bytes of chance in a nonce.
const NONCE_BYTES: usize = 24;

/// The system gives no random numbers.
#[derive(Debug, thiserror::Error)]
#[error("no random numbers from the system: {0}; look at this host's kernel log")]
pub(super) struct NoChance(getrandom::Error);

/// Why the broker's answer is not taken.
#[derive(Debug, thiserror::Error)]
pub(super) enum BadAnswer {
    #[error("the broker's answer has {0} bytes, and {max} are taken", max = ANSWER_BYTES_MAX)]
    Length(usize),
    #[error("the broker's answer has no {0} as RFC 5802 wants it; is it a Kafka broker?")]
    Form(&'static str),
    #[error("the broker wants an extension that nobody has defined: {0}; is it a Kafka broker?")]
    Extension(String),
    #[error("the broker's answer does not begin with our nonce; somebody is in between")]
    Nonce,
    #[error(
        "the broker wants {0} rounds of hashing, and {min} to {max} are taken; store the \
             user's password anew with such a number",
        min = ROUNDS_MIN, max = ROUNDS_MAX
    )]
    Rounds(String),
    #[error("the broker refuses: {0}; check sasl.username and sasl.password")]
    Refused(String),
    #[error("the broker cannot show that it knows the password; somebody may be in between")]
    Signature,
}

/// The hash of a mechanism.
#[derive(Debug, Clone, Copy)]
pub(super) enum Hash {
    Sha256,
    Sha512,
}

impl Hash {
    fn digest(self) -> &'static digest::Algorithm {
        match self {
            Self::Sha256 => &digest::SHA256,
            Self::Sha512 => &digest::SHA512,
        }
    }

    fn hmac(self, key: &[u8]) -> hmac::Key {
        match self {
            Self::Sha256 => hmac::Key::new(hmac::HMAC_SHA256, key),
            Self::Sha512 => hmac::Key::new(hmac::HMAC_SHA512, key),
        }
    }

    /// `Hi` of RFC 5802: PBKDF2 with an output as long as the hash.
    fn salted(self, password: &Secret, salt: &[u8], rounds: NonZeroU32) -> Zeroizing<Vec<u8>> {
        let algorithm = match self {
            Self::Sha256 => pbkdf2::PBKDF2_HMAC_SHA256,
            Self::Sha512 => pbkdf2::PBKDF2_HMAC_SHA512,
        };
        let mut salted = Zeroizing::new(vec![0; self.digest().output_len()]);
        pbkdf2::derive(
            algorithm,
            rounds,
            salt,
            password.expose().as_bytes(),
            &mut salted,
        );
        salted
    }
}

/// A login that has begun.
pub(super) struct First {
    hash: Hash,
    nonce: String,
    /// The message without its header.
    bare: String,
}

impl First {
    /// With a nonce of its own.
    pub(super) fn new(hash: Hash, username: &str) -> Result<Self, NoChance> {
        let mut chance = [0; NONCE_BYTES];
        getrandom::fill(&mut chance).map_err(NoChance)?;
        Ok(Self::with(hash, username, STANDARD.encode(chance)))
    }

    fn with(hash: Hash, username: &str, nonce: String) -> Self {
        let name = username.replace('=', "=3D").replace(',', "=2C");
        let bare = format!("n={name},r={nonce}");
        Self { hash, nonce, bare }
    }

    /// What is sent first.
    pub(super) fn message(&self) -> Zeroizing<Vec<u8>> {
        Zeroizing::new(format!("{HEADER}{}", self.bare).into_bytes())
    }

    /// Answers what the broker says to the first message. Takes the time of the rounds that
    /// the broker wants.
    pub(super) fn proof(self, answer: &[u8], password: &Secret) -> Result<Proof, BadAnswer> {
        let answer = read(answer)?;
        let mut parts = answer.split(',');
        let nonce = value(parts.next(), "r=").ok_or(BadAnswer::Form("nonce"))?;
        if nonce.len() <= self.nonce.len() || !nonce.starts_with(&self.nonce) {
            return Err(BadAnswer::Nonce);
        }
        let salt = value(parts.next(), "s=").and_then(|salt| STANDARD.decode(salt).ok());
        let salt = salt.ok_or(BadAnswer::Form("salt"))?;
        let rounds = value(parts.next(), "i=").ok_or(BadAnswer::Form("number of rounds"))?;
        let rounds = taken(rounds).ok_or_else(|| BadAnswer::Rounds(printable(rounds)))?;

        let salted = self.hash.salted(password, &salt, rounds);
        let salted = self.hash.hmac(&salted);
        let client_key = hmac::sign(&salted, b"Client Key");
        let stored_key = digest::digest(self.hash.digest(), client_key.as_ref());
        let server_key = hmac::sign(&salted, b"Server Key");

        let last = format!("c={BINDING},r={nonce}");
        let whole = format!("{},{answer},{last}", self.bare);
        let signature = hmac::sign(&self.hash.hmac(stored_key.as_ref()), whole.as_bytes());
        let pairs = client_key.as_ref().iter().zip(signature.as_ref());
        let proof = STANDARD.encode(pairs.map(|(key, mask)| key ^ mask).collect::<Vec<u8>>());
        Ok(Proof {
            message: Zeroizing::new(format!("{last},p={proof}").into_bytes()),
            server: self.hash.hmac(server_key.as_ref()),
            whole,
        })
    }
}

/// A login that waits for the broker's verdict.
pub(super) struct Proof {
    message: Zeroizing<Vec<u8>>,
    server: hmac::Key,
    whole: String,
}

impl Proof {
    /// What is sent second.
    pub(super) fn message(&self) -> Zeroizing<Vec<u8>> {
        self.message.clone()
    }

    /// Whether the broker has taken the proof, and knows the password itself.
    pub(super) fn verify(&self, answer: &[u8]) -> Result<(), BadAnswer> {
        let first = read(answer)?.split(',').next();
        let signature = value(first, "v=").and_then(|text| STANDARD.decode(text).ok());
        let signature = signature.ok_or(BadAnswer::Form("signature"))?;
        // In a time that does not tell how many bytes are right.
        let verdict = hmac::verify(&self.server, self.whole.as_bytes(), &signature);
        verdict.map_err(|_| BadAnswer::Signature)
    }
}

/// The text of an answer that is neither a refusal nor begins with `m=`, the extension that
/// must be understood (section 5.1).
fn read(answer: &[u8]) -> Result<&str, BadAnswer> {
    if answer.len() > ANSWER_BYTES_MAX {
        return Err(BadAnswer::Length(answer.len()));
    }
    let answer = std::str::from_utf8(answer).map_err(|_| BadAnswer::Form("text"))?;
    let first = answer.split(',').next();
    if let Some(reason) = value(first, "e=") {
        return Err(BadAnswer::Refused(printable(reason)));
    }
    if let Some(extension) = value(first, "m=") {
        return Err(BadAnswer::Extension(printable(extension)));
    }
    Ok(answer)
}

fn printable(text: &str) -> String {
    text.escape_debug().to_string()
}

fn value<'a>(part: Option<&'a str>, name: &str) -> Option<&'a str> {
    part?.strip_prefix(name)
}

fn taken(rounds: &str) -> Option<NonZeroU32> {
    if !rounds.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let rounds: u32 = rounds.parse().ok()?;
    let fine = (ROUNDS_MIN..=ROUNDS_MAX).contains(&rounds);
    NonZeroU32::new(rounds).filter(|_| fine)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONCE: &str = "rOprNGfwEbeRWgbNEkqO";
    const ANSWER: &str =
        "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";

    fn secret(text: &str) -> Secret {
        Secret::new(text.to_owned())
    }

    fn first() -> First {
        First::with(Hash::Sha256, "user", NONCE.to_owned())
    }

    fn text(message: &[u8]) -> &str {
        std::str::from_utf8(message).unwrap()
    }

    /// Section 3 of RFC 7677.
    const VERDICT: &[u8] = b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";

    #[track_caller]
    fn refusal<T>(outcome: Result<T, BadAnswer>) -> String {
        let error = outcome.err().map(|error| error.to_string());
        error.unwrap_or_else(|| "taken".to_owned())
    }

    /// Section 3 of RFC 7677.
    #[test]
    fn the_exchange_of_the_rfc_is_spoken_word_for_word() {
        assert_eq!(text(&first().message()), "n,,n=user,r=rOprNGfwEbeRWgbNEkqO");
        let proof = first().proof(ANSWER.as_bytes(), &secret("pencil")).unwrap();
        assert_eq!(
            text(&proof.message()),
            "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
             p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
        );
        proof.verify(VERDICT).unwrap();
        proof.verify(&[VERDICT, b",x=later"].concat()).unwrap();
    }

    /// The same exchange with the longer hash; worked out with Python's hashlib.
    #[test]
    fn the_longer_hash_gives_what_another_implementation_gives() {
        let first = First::with(Hash::Sha512, "user", NONCE.to_owned());
        let proof = first.proof(ANSWER.as_bytes(), &secret("pencil")).unwrap();
        let message = text(&proof.message()).to_owned();
        let (_, sent) = message.split_once(",p=").unwrap();
        assert_eq!(
            sent,
            "gMGXRcevScNtxZ6/8lQYpGtnsNAc3mGcmNomv+xnoOMw\
             +3R2xNJdMNnzMlTN8PPC6wdp6dybEmDYXYTxwnYPJQ=="
        );
        let verdict = b"v=ZQnYEgWQMFmmsM8aQMF0nDDCy/AgCzkwk8CmMZYcMg\
             0vSVlKDanekLtifDSeVGT4+5ZxXnJq199RVG2rR7N7Zw==";
        proof.verify(verdict).unwrap();
    }

    #[test]
    fn a_broker_that_does_not_know_the_password_is_found_out() {
        let known = secret("pencil");
        let verify = |password: &Secret, verdict: &[u8]| {
            let proof = first().proof(ANSWER.as_bytes(), password).unwrap();
            refusal(proof.verify(verdict))
        };
        assert!(verify(&secret("another"), VERDICT).contains("knows the password"));
        let mut wrong = VERDICT.to_vec();
        wrong[5] ^= 1;
        assert!(verify(&known, &wrong).contains("knows the password"));
        let short = b"v=6rriTRBi23WpRR/wtup+";
        assert!(verify(&known, short).contains("knows the password"));
        for nothing in [b"".as_slice(), b"v=?", b"r=x", b"x=y,v=AAAA", &[0xff]] {
            assert!(verify(&known, nothing).contains("as RFC 5802 wants it"));
        }
    }

    #[test]
    fn a_refusal_is_told_in_the_brokers_words_at_either_answer() {
        let told = "the broker refuses: unknown-user\\n; check sasl.username and sasl.password";
        let answer = b"e=unknown-user\n,x=y";
        let (one, two) = (secret("pencil"), first());
        assert_eq!(refusal(two.proof(answer, &one)), told);
        let proof = first().proof(ANSWER.as_bytes(), &one).unwrap();
        assert_eq!(refusal(proof.verify(answer)), told);
    }

    #[test]
    fn an_answer_that_is_not_to_our_message_is_refused() {
        for (answer, words) in [
            ("", "no nonce"),
            ("x=y,r=rOprNGfwEbeRWgbNEkqOx,s=AAAA,i=4096", "no nonce"),
            ("m=a,r=rOprNGfwEbeRWgbNEkqOx,s=AAAA,i=4096", "defined: a;"),
            ("r=rOprNGfwEbeRWgbNEkqO,s=AAAA,i=4096", "our nonce"),
            ("r=another-one-and-a-longer-one,s=AAAA,i=4096", "our nonce"),
            ("r=rOprNGfwEbeRWgbNEkqOx", "no salt"),
            ("r=rOprNGfwEbeRWgbNEkqOx,s=?,i=4096", "no salt"),
            ("r=rOprNGfwEbeRWgbNEkqOx,i=4096,s=AAAA", "no salt"),
            ("r=rOprNGfwEbeRWgbNEkqOx,s=AAAA", "no number of rounds"),
        ] {
            let told = refusal(first().proof(answer.as_bytes(), &secret("pencil")));
            assert!(told.contains(words), "{answer}: {told}");
        }
        let long = format!("{ANSWER},x={}", "y".repeat(ANSWER_BYTES_MAX));
        for (answer, words) in [(long.as_bytes(), "4185 bytes"), (&[0xff], "no text")] {
            let told = refusal(first().proof(answer, &secret("pencil")));
            assert!(told.contains(words), "{told}");
        }
    }

    #[test]
    fn nobody_can_have_us_hash_more_than_we_want_or_less_than_is_safe() {
        let answer = |rounds: &str| format!("r={NONCE}x,s=AAAA,i={rounds}");
        for rounds in [
            "4095",
            "1000001",
            "4294967296",
            "0",
            "-1",
            "+4096",
            "",
            "many",
        ] {
            let told = refusal(first().proof(answer(rounds).as_bytes(), &secret("pencil")));
            let words = format!("wants {rounds} rounds of hashing, and 4096 to 1000000 are");
            assert!(told.contains(&words), "{told}");
        }
        for rounds in ["4096", "16384"] {
            let proof = first().proof(answer(rounds).as_bytes(), &secret("pencil"));
            assert!(proof.is_ok(), "{rounds}");
        }
        assert_eq!(taken("1000000").map(u32::from), Some(1_000_000));
    }

    #[test]
    fn a_name_cannot_carry_parts_of_its_own() {
        let first = First::with(Hash::Sha512, "a=b,r=x", NONCE.to_owned());
        let message = first.message();
        assert_eq!(text(&message), format!("n,,n=a=3Db=2Cr=3Dx,r={NONCE}"));
    }

    #[test]
    fn each_login_has_a_nonce_of_its_own() {
        let nonce = || First::new(Hash::Sha256, "user").unwrap().nonce;
        let (one, other) = (nonce(), nonce());
        assert_ne!(one, other);
        assert_eq!(one.len(), NONCE_BYTES.div_ceil(3) * 4);
        assert!(!one.contains(','));
    }

    #[test]
    fn no_error_tells_the_password() {
        let password = secret("canary-pencil");
        let told = refusal(first().proof(b"r=x,s=AAAA,i=1", &password));
        let proof = first().proof(ANSWER.as_bytes(), &password).unwrap();
        let told = format!("{told} {}", refusal(proof.verify(VERDICT)));
        assert!(!told.contains("canary"), "{told}");
    }
}
