//! The messages of OAUTHBEARER (RFC 7628, KIP-255, KIP-342). Knows no source of tokens.

use zeroize::Zeroizing;

/// What a client says to a refusal before it is told in full.
pub(super) const FAREWELL: &[u8] = b"\x01";

/// A token that cannot be sent.
#[derive(Debug, thiserror::Error)]
#[error("the token holds a character that no token has; is the file the right one?")]
pub(super) struct BadToken;

/// `n,,` for no channel binding and no other identity, then the pairs, each ended by 0x01.
pub(super) fn first_message(
    token: &str,
    extensions: &[(String, String)],
) -> Result<Zeroizing<Vec<u8>>, BadToken> {
    // b64token of RFC 6750 section 2.1.
    let fine = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte);
    if token.is_empty() || !token.bytes().all(fine) {
        return Err(BadToken);
    }
    let mut message = Zeroizing::new(format!("n,,\x01auth=Bearer {token}\x01").into_bytes());
    for (name, value) in extensions {
        message.extend_from_slice(format!("{name}={value}\x01").as_bytes());
    }
    message.push(1);
    Ok(message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_message_is_that_of_the_rfc_with_extensions_behind_the_token() {
        let extensions = [("logicalCluster".to_owned(), "lkc-1".to_owned())];
        let message = first_message("a.b-c", &extensions).unwrap();
        let expected = b"n,,\x01auth=Bearer a.b-c\x01logicalCluster=lkc-1\x01\x01";
        assert_eq!(message.as_slice(), expected);
    }

    #[test]
    fn a_token_cannot_carry_pairs_of_its_own() {
        for token in ["", "a b", "a\x01auth=x", "a\nb"] {
            assert!(first_message(token, &[]).is_err(), "{token:?}");
        }
    }
}
