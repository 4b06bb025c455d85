//! The message of PLAIN (RFC 4616). Sends nothing.

use zeroize::Zeroizing;

use crate::config::Secret;

/// A name or a password that cannot be sent.
#[derive(Debug, thiserror::Error)]
#[error("the {0} holds a NUL character, which no login can carry; change it")]
pub(super) struct BadLogin(&'static str);

/// No other identity, then the name and the password.
pub(super) fn message(username: &str, password: &Secret) -> Result<Zeroizing<Vec<u8>>, BadLogin> {
    let password = password.expose();
    for (part, text) in [("user name", username), ("password", password)] {
        if text.contains('\0') {
            return Err(BadLogin(part));
        }
    }
    // In its full length at once: a vector that grows would leave copies behind.
    let mut message = Zeroizing::new(Vec::with_capacity(2 + username.len() + password.len()));
    for text in [username, password] {
        message.push(0);
        message.extend_from_slice(text.as_bytes());
    }
    Ok(message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_message_is_name_and_password_behind_a_nul_each() {
        let password = Secret::new("tanstaaf\u{fc}".to_owned());
        let message = message("tim", &password).unwrap();
        assert_eq!(message.as_slice(), "\0tim\0tanstaaf\u{fc}".as_bytes());
    }

    #[test]
    fn a_name_cannot_carry_a_password_of_its_own() {
        let password = Secret::new("secret".to_owned());
        assert!(message("tim\0another", &password).is_err());
        let password = Secret::new("hid\0den".to_owned());
        let error = message("tim", &password).unwrap_err().to_string();
        assert!(
            error.contains("password") && !error.contains("hid"),
            "{error}"
        );
    }
}
