//! `[[input]]`: what is read, and what its writers are told.

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use toml::Spanned;
use toml::de::DeValue;

use super::SOCKET_PATH_MAX;
use crate::config::report::Sink;
use crate::config::section::{Entry, Section};
use crate::config::{AckMode, InputConfig, InputKind, UnixConfig};

/// Most inputs of one daemon.
const INPUTS_MAX: usize = 64;

/// Longest name of an input; it is stored with every block.
const NAME_BYTES_MAX: usize = 64;

/// Most connections one input may be allowed; each costs a task and a descriptor.
const CONNECTIONS_MAX: u64 = 65_536;

const IDLE_TIMEOUT_MAX: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// Reads all of them; a second one with the name or the path of an earlier one is refused.
pub(super) fn read_all(entry: Option<&Entry<'_>>, sink: &mut Sink) -> Vec<InputConfig> {
    let mut seen = Seen::default();
    let entries = super::tables("[[input]]", entry, INPUTS_MAX, sink);
    entries
        .iter()
        .filter_map(|entry| read(entry, &mut seen, sink))
        .collect()
}

/// Names and paths of the inputs so far.
#[derive(Default)]
struct Seen {
    names: BTreeMap<String, ()>,
    paths: BTreeMap<PathBuf, String>,
}

fn read(entry: &Entry<'_>, seen: &mut Seen, sink: &mut Sink) -> Option<InputConfig> {
    let mut section = super::table("[[input]]", entry, sink)?;
    let name = read_name(&mut section, seen);
    match section.text("type") {
        None => section.absent("type", "set type = \"unix\""),
        Some(kind) => {
            section.choice_of("type", &kind, &[("unix", ())]);
        }
    }
    let path = read_path(&mut section, name.as_deref().unwrap_or("?"), seen);
    let mut unix = UnixConfig::new(path.clone().unwrap_or_default());
    unix.mode = read_mode(&mut section, unix.mode);
    unix.group = section
        .text("group")
        .map(Spanned::into_inner)
        .filter(|group| !group.is_empty());
    let acks = [
        ("none", AckMode::None),
        ("durable", AckMode::Durable),
        ("broker", AckMode::Broker),
    ];
    unix.ack = section.choice("ack", unix.ack, &acks);
    let connections = section.number(
        "max_connections",
        u64::from(unix.max_connections),
        1..=CONNECTIONS_MAX,
    );
    unix.max_connections = u32::try_from(connections).unwrap_or(unix.max_connections);
    unix.accept_unterminated = section.flag("accept_unterminated", unix.accept_unterminated);
    let idle = Duration::ZERO..=IDLE_TIMEOUT_MAX;
    unix.idle_timeout = section.duration("idle_timeout", unix.idle_timeout, idle);
    section.finish();
    path?;
    Some(InputConfig {
        name: name?,
        kind: InputKind::Unix(unix),
    })
}

fn read_name(section: &mut Section<'_, '_>, seen: &mut Seen) -> Option<Arc<str>> {
    let Some(name) = section.text("name") else {
        section.absent(
            "name",
            "give it a short name of its own, e.g. name = \"app\"",
        );
        return None;
    };
    let span = name.span();
    let name = name.into_inner();
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.chars().all(plain) {
        let help = format!("use 1 to {NAME_BYTES_MAX} of a-z, A-Z, 0-9, dot, _ and -");
        section.fault("name", span, &format!("{name:?} is not a name"), Some(help));
        return None;
    }
    if seen.names.insert(name.clone(), ()).is_some() {
        let help = Some("give each input its own name".to_owned());
        section.fault(
            "name",
            span,
            &format!("{name:?} is used by an earlier input"),
            help,
        );
    }
    Some(name.into())
}

fn read_path(section: &mut Section<'_, '_>, name: &str, seen: &mut Seen) -> Option<PathBuf> {
    let Some(path) = section.path("path") else {
        section.absent("path", "set it, e.g. path = \"/run/spoolway/app.sock\"");
        return None;
    };
    let span = path.span();
    let path = path.into_inner();
    if let Some(what) = socket_path_fault(&path) {
        section.fault("path", span, &what, Some("use a shorter path".to_owned()));
        return None;
    }
    if let Some(other) = seen.paths.insert(path.clone(), name.to_owned()) {
        let what = format!("{path:?} is the path of input {other:?} already");
        section.fault(
            "path",
            span,
            &what,
            Some("give each input its own path".to_owned()),
        );
    }
    Some(path)
}

/// What is wrong with the path of a Unix socket.
pub(super) fn socket_path_fault(path: &Path) -> Option<String> {
    let length = path.as_os_str().as_bytes().len();
    let what = format!("{length} bytes are too long for a socket path, {SOCKET_PATH_MAX} fit");
    (length > SOCKET_PATH_MAX).then_some(what)
}

/// Permission bits as an octal string, or as a TOML octal number `0o660`.
fn read_mode(section: &mut Section<'_, '_>, default: u32) -> u32 {
    let Some(entry) = section.take("mode") else {
        return default;
    };
    let digits = match entry.value.get_ref() {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(i) if i.radix() == 8 => Some(i.as_str().to_owned()),
        _ => None,
    };
    let digits = digits.as_deref().map(|d| d.strip_prefix("0o").unwrap_or(d));
    let octal = digits.filter(|d| d.chars().all(|c| c.is_digit(8)));
    match octal.and_then(|d| u32::from_str_radix(d, 8).ok()) {
        Some(mode) if mode <= 0o777 => mode,
        _ => {
            let help = Some("write four octal digits as a string, e.g. mode = \"0660\"".to_owned());
            section.fault("mode", entry.value.span(), "is not a file mode", help);
            default
        }
    }
}
