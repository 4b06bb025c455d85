//! `type = "unix"`: a socket that programs write to.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::Spanned;
use toml::de::DeValue;

use super::Seen;
use crate::config::parse::SOCKET_PATH_MAX;
use crate::config::section::Section;
use crate::config::{AckMode, UnixConfig};

/// Most connections one input may be allowed; each costs a task and a descriptor.
const CONNECTIONS_MAX: u64 = 65_536;

const IDLE_TIMEOUT_MAX: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// Reads the keys of a socket; none when its path is wrong.
pub(super) fn read(
    section: &mut Section<'_, '_>,
    name: &str,
    seen: &mut Seen,
) -> Option<UnixConfig> {
    let path = read_path(section, name, seen);
    let mut unix = UnixConfig::new(path.clone().unwrap_or_default());
    unix.mode = read_mode(section, unix.mode);
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
    path.map(|_| unix)
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
pub(in crate::config::parse) fn socket_path_fault(path: &Path) -> Option<String> {
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
