//! A secret in the configuration: its text, or where it is read from.
//!
//! Its value is never put into a message.

use toml::de::DeValue;

use crate::config::parse::Context;
use crate::config::section::{Entry, Section};
use crate::config::{Secret, SecretError, SecretSource};

/// The source of a secret: the text itself, or a table that names where it is.
pub(super) fn read_secret(
    section: &mut Section<'_, '_>,
    key: &str,
    entry: &Entry<'_>,
    context: &Context,
) -> Option<SecretSource> {
    const HELP: &str = "write { file = \"..\" }, { env = \"..\" } or { credential = \"..\" }";
    let source = match entry.value.get_ref() {
        DeValue::String(text) => {
            if context.text_exposed {
                let what = "is written into a file that other users can read";
                section.caution(key, entry.value.span(), what, Some(HELP.to_owned()));
            }
            SecretSource::Inline(Secret::new(text.to_string()))
        }
        DeValue::Table(table) => {
            let mut inner = Section::of(
                format!("[kafka] {key}"),
                entry.key.clone(),
                table,
                section.sink,
            );
            let file = inner
                .path("file")
                .map(|path| SecretSource::File(path.into_inner()));
            let env = inner
                .text("env")
                .map(|name| SecretSource::Env(name.into_inner()));
            let credential = read_credential(&mut inner);
            inner.finish();
            let mut sources = [file, env, credential].into_iter().flatten();
            let (first, second) = (sources.next(), sources.next());
            if first.is_none() || second.is_some() {
                let what = "names no source, or more than one";
                section.fault(key, entry.value.span(), what, Some(HELP.to_owned()));
                return None;
            }
            first?
        }
        _ => {
            section.wrong_type(key, entry, HELP);
            return None;
        }
    };
    if context.probe_files {
        match source.read() {
            Ok(_) => {}
            // Whoever checks by hand sees none, and the daemon does: no mistake of the file's.
            Err(error @ SecretError::NoCredentials(_)) => {
                let what = format!("not looked at: {error}");
                section.caution(key, entry.value.span(), &what, None);
            }
            Err(error) => section.fault(key, entry.value.span(), &error.to_string(), None),
        }
    }
    Some(source)
}

/// A credential is a plain file name inside one directory, never a way out of it.
fn read_credential(section: &mut Section<'_, '_>) -> Option<SecretSource> {
    let name = section.text("credential")?;
    let text = name.get_ref();
    if text.is_empty() || text.contains(['/', '\0']) || text.starts_with('.') {
        let help = Some("use the name that LoadCredential= has before its colon".to_owned());
        section.fault(
            "credential",
            name.span(),
            "is not a credential's name",
            help,
        );
        return None;
    }
    Some(SecretSource::Credential(name.into_inner()))
}
