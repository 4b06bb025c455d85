//! `sasl.jaas.config`: the login of a Java client in JAAS's own notation.
//!
//! `module flag key="value" …;` with the quoting of `java.io.StreamTokenizer`, as
//! Kafka's `JaasConfig` reads it. Knows the three login modules of Kafka that Spoolway
//! has a mechanism for, and that of AWS for Amazon MSK; does not log in. No error or `Debug`
//! shows the value of an option.

use super::Secret;

/// Longest text that is read, in bytes; a token of OAUTHBEARER may be in it.
pub const JAAS_BYTES_MAX: usize = 64 << 10;

/// Most options of a login.
pub const JAAS_OPTIONS_MAX: usize = 64;

/// A login module of Kafka.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoginModule {
    /// `PlainLoginModule`
    Plain,
    /// `ScramLoginModule`
    Scram,
    /// `OAuthBearerLoginModule`
    OAuthBearer,
    /// `IAMLoginModule` of aws-msk-iam-auth
    MskIam,
}

/// What a text says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Jaas {
    /// How to log in.
    pub module: LoginModule,
    /// Options in their order.
    pub options: Vec<(String, Secret)>,
}

/// Why a text is no login. Names nothing of what an option is set to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JaasError {
    /// Longer than [`JAAS_BYTES_MAX`].
    #[error("is longer than {JAAS_BYTES_MAX} bytes")]
    TooLarge,
    /// More than [`JAAS_OPTIONS_MAX`].
    #[error("has more than {JAAS_OPTIONS_MAX} options")]
    TooMany,
    /// Not one of the four.
    #[error(
        "names a login module that is not supported; use PlainLoginModule, ScramLoginModule \
         or OAuthBearerLoginModule of Kafka, or IAMLoginModule of AWS"
    )]
    Module,
    /// Second word.
    #[error("has no control flag behind the module; write required")]
    Flag,
    /// `key=value` was expected.
    #[error("has an option that is not written as key=\"value\"")]
    Option,
    /// The same key twice.
    #[error("sets option {0} twice")]
    Twice(String),
    /// A quote without its end.
    #[error("has a quote without its end")]
    Quote,
    /// No `;`, or something behind it.
    #[error("does not end with a semicolon behind its one login module")]
    End,
}

const MODULES: [(&str, LoginModule); 4] = [
    (
        "org.apache.kafka.common.security.plain.PlainLoginModule",
        LoginModule::Plain,
    ),
    (
        "org.apache.kafka.common.security.scram.ScramLoginModule",
        LoginModule::Scram,
    ),
    (
        "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule",
        LoginModule::OAuthBearer,
    ),
    (
        "software.amazon.msk.auth.iam.IAMLoginModule",
        LoginModule::MskIam,
    ),
];

/// The control flags of `AppConfigurationEntry`; with one module each means the same.
const FLAGS: [&str; 4] = ["required", "requisite", "sufficient", "optional"];

impl Jaas {
    /// The value of an option.
    pub fn option(&self, name: &str) -> Option<&Secret> {
        let mut options = self.options.iter();
        options.find(|(key, _)| key == name).map(|(_, value)| value)
    }
}

/// Reads a text.
///
/// # Errors
/// See [`JaasError`].
pub fn parse(text: &str) -> Result<Jaas, JaasError> {
    if text.len() > JAAS_BYTES_MAX {
        return Err(JaasError::TooLarge);
    }
    let mut tokens = Tokens(text);
    let module = match tokens.next_token()? {
        Some(Token::Word(name)) => MODULES.iter().find(|(known, _)| *known == name),
        _ => None,
    };
    let module = module.map(|(_, module)| *module).ok_or(JaasError::Module)?;
    match tokens.next_token()? {
        Some(Token::Word(flag)) if FLAGS.iter().any(|f| f.eq_ignore_ascii_case(&flag)) => {}
        _ => return Err(JaasError::Flag),
    }
    let mut options: Vec<(String, Secret)> = Vec::new();
    loop {
        let key = match tokens.next_token()? {
            Some(Token::End) => break,
            Some(Token::Word(key)) => key,
            None => return Err(JaasError::End),
            Some(Token::Equals) => return Err(JaasError::Option),
        };
        let (Some(Token::Equals), Some(Token::Word(value))) =
            (tokens.next_token()?, tokens.next_token()?)
        else {
            return Err(JaasError::Option);
        };
        if options.iter().any(|(known, _)| *known == key) {
            return Err(JaasError::Twice(key));
        }
        if options.len() >= JAAS_OPTIONS_MAX {
            return Err(JaasError::TooMany);
        }
        options.push((key, Secret::new(value)));
    }
    match tokens.next_token()? {
        None => Ok(Jaas { module, options }),
        Some(_) => Err(JaasError::End),
    }
}

/// A login as [`parse`] reads it.
pub fn write(jaas: &Jaas) -> String {
    let name = MODULES.iter().find(|(_, module)| *module == jaas.module);
    let mut text = format!("{} required", name.map_or("", |(name, _)| *name));
    for (key, value) in &jaas.options {
        let quoted = value.expose().chars().map(|c| match c {
            '"' | '\\' => format!("\\{c}"),
            '\n' => "\\n".to_owned(),
            '\r' => "\\r".to_owned(),
            other => other.to_string(),
        });
        text += &format!(" {key}=\"{}\"", quoted.collect::<String>());
    }
    text + ";"
}

enum Token {
    /// A word, or what was in quotes.
    Word(String),
    Equals,
    End,
}

/// The text that is left.
struct Tokens<'a>(&'a str);

impl Tokens<'_> {
    fn next_token(&mut self) -> Result<Option<Token>, JaasError> {
        self.skip_blank();
        let mut chars = self.0.chars();
        let Some(first) = chars.next() else {
            return Ok(None);
        };
        match first {
            ';' => self.0 = chars.as_str(),
            '=' => self.0 = chars.as_str(),
            '"' | '\'' => {
                self.0 = chars.as_str();
                return self.quoted(first).map(|text| Some(Token::Word(text)));
            }
            _ => {
                let ends = |c: char| c.is_whitespace() || matches!(c, ';' | '=' | '"' | '\'');
                let end = self.0.find(ends).unwrap_or(self.0.len());
                let (word, rest) = self.0.split_at_checked(end).unwrap_or((self.0, ""));
                self.0 = rest;
                return Ok(Some(Token::Word(word.to_owned())));
            }
        }
        Ok(Some(if first == ';' {
            Token::End
        } else {
            Token::Equals
        }))
    }

    /// White space, and comments as Java has them.
    fn skip_blank(&mut self) {
        loop {
            self.0 = self.0.trim_start();
            let comment = if self.0.starts_with("//") {
                self.0.find('\n')
            } else if self.0.starts_with("/*") {
                self.0.find("*/").map(|at| at + 2)
            } else {
                return;
            };
            self.0 = comment.and_then(|at| self.0.get(at..)).unwrap_or("");
        }
    }

    /// Up to the closing quote; a quote ends with its line. Escapes as in Java's strings.
    fn quoted(&mut self, quote: char) -> Result<String, JaasError> {
        let mut text = String::new();
        let mut chars = self.0.chars();
        loop {
            let c = chars.next().filter(|c| !matches!(c, '\n' | '\r'));
            match c.ok_or(JaasError::Quote)? {
                c if c == quote => {
                    self.0 = chars.as_str();
                    return Ok(text);
                }
                '\\' => {
                    let rest = chars.as_str();
                    let (c, after) = escaped(rest).ok_or(JaasError::Quote)?;
                    text.push(c);
                    chars = after.chars();
                }
                c => text.push(c),
            }
        }
    }
}

/// The character behind a backslash, and what follows: a letter of Java's, up to three
/// octal digits (the first at most 3), or the character itself.
fn escaped(rest: &str) -> Option<(char, &str)> {
    let first = rest.chars().next()?;
    if first.is_digit(8) {
        let most = if first <= '3' { 3 } else { 2 };
        let digits = rest
            .chars()
            .take(most)
            .take_while(|c| c.is_digit(8))
            .count();
        let (digits, after) = rest.split_at_checked(digits)?;
        let code = u8::from_str_radix(digits, 8).ok()?;
        return Some((char::from(code), after));
    }
    let plain = match first {
        'a' => '\u{7}',
        'b' => '\u{8}',
        'f' => '\u{c}',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'v' => '\u{b}',
        other => other,
    };
    rest.get(first.len_utf8()..).map(|after| (plain, after))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PLAIN: &str = "org.apache.kafka.common.security.plain.PlainLoginModule";

    #[test]
    fn a_login_as_the_documentation_of_kafka_writes_it_is_read() {
        let text =
            format!("{PLAIN} required \\\n username=\"alice\" password=\"a;l=i \\\"c\\\\e\";");
        let text = text.replace("\\\n", "\n");
        let jaas = parse(&text).unwrap();
        assert_eq!(jaas.module, LoginModule::Plain);
        assert_eq!(jaas.option("username").unwrap().expose(), "alice");
        assert_eq!(jaas.option("password").unwrap().expose(), "a;l=i \"c\\e");
        let bare = format!("{PLAIN} Required username=alice password='it\\47s' ; // end");
        let jaas = parse(&bare).unwrap();
        assert_eq!(jaas.option("password").unwrap().expose(), "it's");
    }

    #[test]
    fn each_mistake_has_its_words_and_shows_no_value() {
        for (text, error) in [
            ("com.sun.Krb5LoginModule required;", JaasError::Module),
            ("", JaasError::Module),
            (PLAIN, JaasError::Flag),
            (&format!("{PLAIN} username=\"a\";"), JaasError::Flag),
            (&format!("{PLAIN} required username;"), JaasError::Option),
            (
                &format!("{PLAIN} required password=\"canary;"),
                JaasError::Quote,
            ),
            (
                &format!("{PLAIN} required password=\"canary\""),
                JaasError::End,
            ),
            (
                &format!("{PLAIN} required; {PLAIN} required;"),
                JaasError::End,
            ),
            (
                &format!("{PLAIN} required a=canary a=canary;"),
                JaasError::Twice("a".into()),
            ),
        ] {
            let found = parse(text).unwrap_err();
            assert_eq!(found, error, "{text}");
            assert!(!format!("{found} {found:?}").contains("canary"));
        }
        let jaas = parse(&format!("{PLAIN} required password=canary;"));
        assert!(!format!("{jaas:?}").contains("canary"));
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "[ -~\\\\\n\"';=é]{0,80}") {
            let _ = parse(&text);
            let _ = parse(&format!("{PLAIN} required {text}"));
        }

        #[test]
        fn what_is_written_is_read_back(
            options in prop::collection::btree_map("[a-z.]{1,8}", "(?s).{0,30}", 0..5)
        ) {
            let jaas = Jaas {
                module: LoginModule::Scram,
                options: options.into_iter().map(|(k, v)| (k, Secret::new(v))).collect(),
            };
            prop_assert_eq!(parse(&write(&jaas)).unwrap(), jaas);
        }
    }
}
