//! What `[kafka]` takes from elsewhere: a Java `properties_file`, and the login that
//! `sasl.jaas.config` holds.
//!
//! Both become keys of the table before it is checked, with the place that they come from;
//! what the table itself says wins over the file. Checks no values.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Read;
use std::ops::Range;
use std::os::unix::fs::PermissionsExt;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::alias::official;
use super::foreign::foreign;
use super::jaas::{self, Jaas, LoginModule};
use super::keys::is_secret;
use super::parts;
use super::properties::{self, PROPERTIES_BYTES_MAX, PropertiesError};
use super::report::Sink;

/// The key that names the file.
pub(super) const PROPERTIES_FILE: &str = "properties_file";

/// The key that holds a login.
pub(super) const JAAS_CONFIG: &str = "sasl.jaas.config";

/// What the extensions of a bearer login become.
const EXTENSIONS: &str = "sasl.oauthbearer.extensions";

/// Deepest nesting of dotted keys that is looked at.
const DEPTH_MAX: usize = 16;

/// Parses the texts into one document, as [`parts::read`] does, and lays over it what
/// `[kafka]` takes from elsewhere.
pub(super) fn read<'a>(padded: &'a [String], sink: &mut Sink) -> Spanned<DeTable<'a>> {
    let mut document = parts::read(padded, sink);
    let kafka = document.get_mut().get_mut("kafka");
    if let Some(DeValue::Table(kafka)) = kafka.map(Spanned::get_mut) {
        add_properties(kafka, sink);
        add_login(kafka, sink);
    }
    document
}

/// A key or value that stands in no TOML: its place is a point.
fn placed<T>(at: usize, value: T) -> Spanned<T> {
    Spanned::new(at..at, value)
}

fn insert(table: &mut DeTable<'_>, at: usize, key: String, value: String) {
    let value = DeValue::String(Cow::Owned(value));
    table.insert(placed(at, Cow::Owned(key)), placed(at, value));
}

/// Every key with a text, by its dotted name.
fn texts(table: &DeTable<'_>) -> BTreeMap<String, Spanned<String>> {
    let mut found = BTreeMap::new();
    collect("", table, 0, &mut found);
    found
}

fn collect(
    prefix: &str,
    table: &DeTable<'_>,
    depth: usize,
    found: &mut BTreeMap<String, Spanned<String>>,
) {
    for (key, value) in table {
        let name = match prefix {
            "" => key.get_ref().to_string(),
            prefix => format!("{prefix}.{}", key.get_ref()),
        };
        match value.get_ref() {
            DeValue::Table(inner) if depth < DEPTH_MAX && !is_secret(&name) => {
                collect(&name, inner, depth + 1, found);
            }
            other => {
                let text = other.as_str().unwrap_or_default().to_owned();
                found.insert(name, Spanned::new(value.span(), text));
            }
        }
    }
}

fn add_properties(kafka: &mut DeTable<'_>, sink: &mut Sink) {
    let Some(value) = kafka.get(PROPERTIES_FILE) else {
        return;
    };
    let span = value.span();
    // Of another type: the parser says so.
    let Some(path) = value.get_ref().as_str().map(str::to_owned) else {
        return;
    };
    let (text, exposed) = match read_file(&path) {
        Ok(read) => read,
        Err(reason) => {
            let message = format!("[kafka] {PROPERTIES_FILE}: {path} {reason}");
            return sink.error(span, message, None);
        }
    };
    let base = sink.add_part(&path, &text);
    let found = match properties::parse(&text) {
        Ok(found) => found,
        Err(error) => {
            let at = match &error {
                PropertiesError::Escape { at } => base + at..base + at,
                PropertiesError::TooLarge | PropertiesError::TooMany => span,
            };
            let message = format!("[kafka] {PROPERTIES_FILE}: {path} {error}");
            return sink.error(at, message, None);
        }
    };
    // The last of several counts, as in Java.
    let last: BTreeMap<String, (String, usize)> = found
        .into_iter()
        .map(|p| (p.key, (p.value, base + p.at)))
        .collect();
    let own = texts(kafka).into_keys();
    let own: BTreeSet<String> = own.map(|key| official(&key).to_owned()).collect();
    let mut secrets = false;
    for (key, (value, at)) in last {
        if let Some(reason) = foreign(&key) {
            let message = format!("[kafka] {key}: is not used, because {reason}");
            sink.warning(at..at, message, None);
        } else if !own.contains(official(&key)) {
            secrets |= is_secret(&key);
            insert(kafka, at, key, value.trim().to_owned());
        }
    }
    if secrets && exposed {
        let message = format!(
            "[kafka] {PROPERTIES_FILE}: {path} holds a secret, and other users can read it"
        );
        sink.warning(span, message, Some(format!("run chmod 600 {path}")));
    }
}

/// The text, in Java's ISO 8859-1, and whether others may read it.
fn read_file(path: &str) -> Result<(String, bool), String> {
    let failed = |error: std::io::Error| format!("cannot be read: {error}");
    let file = File::open(path).map_err(failed)?;
    let exposed = file.metadata().map_err(failed)?.permissions().mode() & 0o044 != 0;
    let mut bytes = Vec::new();
    let most = PROPERTIES_BYTES_MAX as u64 + 1;
    file.take(most).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() > PROPERTIES_BYTES_MAX {
        return Err(PropertiesError::TooLarge.to_string());
    }
    Ok((bytes.into_iter().map(char::from).collect(), exposed))
}

fn add_login(kafka: &mut DeTable<'_>, sink: &mut Sink) {
    let set = texts(kafka);
    let Some(text) = set.get(JAAS_CONFIG) else {
        return;
    };
    let span = text.span();
    let fault = |sink: &mut Sink, what: &str| {
        sink.error(span.clone(), format!("[kafka] {JAAS_CONFIG}: {what}"), None);
    };
    let login = match jaas::parse(text.get_ref()) {
        Ok(login) => login,
        Err(error) => return fault(sink, &error.to_string()),
    };
    let mechanism = ["sasl.mechanism", "sasl.mechanisms"];
    let mechanism = mechanism.iter().find_map(|key| set.get(*key));
    if let Some(word) = mechanism.filter(|word| !fits(login.module, word.get_ref())) {
        let what = format!(
            "its login module is not that of sasl.mechanism, {}",
            word.get_ref()
        );
        return fault(sink, &what);
    }
    for &(option, key) in keys_of(&login) {
        let Some(value) = login.option(option) else {
            continue;
        };
        match set.get(key) {
            // Both in TOML, or both in the file: which is meant, only a person knows.
            Some(other) if other.span().is_empty() == span.is_empty() => {
                return fault(sink, &format!("says the same as {key}; keep one of them"));
            }
            Some(_) => {}
            None => insert(kafka, span.start, key.to_owned(), value.expose().to_owned()),
        }
    }
    if let Err(what) = add_extensions(kafka, &set, &login, &span) {
        return fault(sink, &what);
    }
    for (option, _) in &login.options {
        let known = keys_of(&login).iter().any(|(known, _)| known == option);
        if !known && extension(&login, option).is_none() {
            let option = option.escape_debug();
            let message = format!("[kafka] {JAAS_CONFIG}: option {option} is not used");
            sink.warning(span.clone(), message, None);
        }
    }
}

/// The name of the SASL extension that an option of the module stands for (KIP-768).
fn extension<'o>(login: &Jaas, option: &'o str) -> Option<&'o str> {
    let bearer = login.module == LoginModule::OAuthBearer;
    option.strip_prefix("extension_").filter(|_| bearer)
}

/// Lays the extensions over the table as librdkafka writes them, all in one property.
fn add_extensions(
    kafka: &mut DeTable<'_>,
    set: &BTreeMap<String, Spanned<String>>,
    login: &Jaas,
    span: &Range<usize>,
) -> Result<(), String> {
    let options = login.options.iter();
    let pairs: Vec<(&str, &str)> = options
        .filter_map(|(option, value)| Some((extension(login, option)?, value.expose())))
        .collect();
    let Some((first, _)) = pairs.first() else {
        return Ok(());
    };
    let ambiguous = |value: &str| value.split(',').skip(1).any(|part| part.contains('='));
    if let Some((name, _)) = pairs.iter().find(|(_, value)| ambiguous(value)) {
        return Err(format!(
            "option extension_{name} looks like several extensions"
        ));
    }
    match set.get(EXTENSIONS) {
        Some(other) if other.span().is_empty() == span.is_empty() => Err(format!(
            "extension_{first} says the same as {EXTENSIONS}; keep one of them"
        )),
        Some(_) => Ok(()),
        None => {
            let pairs = pairs.iter().map(|(name, value)| format!("{name}={value}"));
            let pairs = pairs.collect::<Vec<_>>().join(",");
            insert(kafka, span.start, EXTENSIONS.to_owned(), pairs);
            Ok(())
        }
    }
}

fn fits(module: LoginModule, mechanism: &str) -> bool {
    match module {
        LoginModule::Plain => mechanism.eq_ignore_ascii_case("PLAIN"),
        LoginModule::Scram => mechanism.to_ascii_uppercase().starts_with("SCRAM-"),
        LoginModule::OAuthBearer => mechanism.eq_ignore_ascii_case("OAUTHBEARER"),
        LoginModule::MskIam => mechanism.eq_ignore_ascii_case("AWS_MSK_IAM"),
    }
}

/// The property that each option of a login module stands for.
fn keys_of(login: &Jaas) -> &'static [(&'static str, &'static str)] {
    match login.module {
        LoginModule::Plain | LoginModule::Scram => {
            &[("username", "sasl.username"), ("password", "sasl.password")]
        }
        // KIP-1139 moved them out of the JAAS text under these names.
        LoginModule::OAuthBearer => &[
            ("clientId", "sasl.oauthbearer.client.credentials.client.id"),
            (
                "clientSecret",
                "sasl.oauthbearer.client.credentials.client.secret",
            ),
            ("scope", "sasl.oauthbearer.scope"),
        ],
        // The README of aws-msk-iam-auth.
        LoginModule::MskIam => &[
            ("awsProfileName", "sasl.aws.profile"),
            ("awsRoleArn", "sasl.aws.role.arn"),
            ("awsRoleSessionName", "sasl.aws.role.session.name"),
            ("awsRoleExternalId", "sasl.aws.role.external.id"),
            ("awsRoleAccessKeyId", "sasl.aws.access.key.id"),
            ("awsRoleSecretAccessKey", "sasl.aws.secret.access.key"),
            ("awsRoleSessionToken", "sasl.aws.session.token"),
        ],
    }
}

#[cfg(test)]
mod tests;
