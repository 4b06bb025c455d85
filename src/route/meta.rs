//! What Spoolway itself knows of an event: where it came from, when, and its stable names.
//!
//! Reads no clock and asks no system; everything comes with the event or with the router.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use super::uuid;
use super::value::Value;
use crate::event::{Source, UnixMillis};
use crate::proof::Seq;

/// One event on its way to the routes.
#[derive(Debug, Clone, Copy)]
pub struct Event<'a> {
    /// Its sequence number in the spool.
    pub seq: Seq,
    /// Where it came from.
    pub source: &'a Source,
    /// Where it begins in the file of its source, in bytes.
    pub offset: Option<u64>,
    /// When it was received.
    pub received: UnixMillis,
    /// The event as it was written.
    pub bytes: &'a [u8],
}

/// What is the same for all events of one daemon.
#[derive(Debug, Clone, Default)]
pub struct Host {
    /// Name of the machine.
    pub name: Arc<str>,
    /// Identity of the spool, random at its creation.
    pub spool_id: u64,
}

/// A piece of metadata, written with an `@`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Meta {
    /// `@input`: name of the `[[input]]`.
    Input,
    /// `@file`: path of the file that the event was read from; null for sockets, as are
    /// the four that follow.
    File,
    /// `@file_name`: the last part of that path.
    FileName,
    /// `@inode`: number of the file.
    Inode,
    /// `@offset`: where the event begins in the file, in bytes.
    Offset,
    /// `@capture.NAME`: what a capture of the `include` pattern holds.
    Capture(CaptureName),
    /// `@uid`: user id of the writing process.
    Uid,
    /// `@gid`: its group id.
    Gid,
    /// `@pid`: its process id.
    Pid,
    /// `@host`: name of this machine.
    Host,
    /// `@received`: when the event was received, Unix milliseconds.
    Received,
    /// `@seq`: sequence number in the spool.
    Seq,
    /// `@id`: the stable id, as in the header `spoolway-id`.
    Id,
    /// `@uuid`: the stable id as a UUID.
    Uuid,
}

/// Longest name of a capture, in bytes.
const CAPTURE_NAME_MAX: usize = 32;

/// What a reference to a capture begins with.
const CAPTURE: &str = "capture.";

/// Name of a capture, with zeros behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct CaptureName([u8; CAPTURE_NAME_MAX]);

impl CaptureName {
    fn new(name: &str) -> Option<Self> {
        let mut bytes = [0; CAPTURE_NAME_MAX];
        bytes
            .get_mut(..name.len())?
            .copy_from_slice(name.as_bytes());
        (!name.is_empty()).then_some(Self(bytes))
    }

    fn is(&self, name: &str) -> bool {
        Self::new(name).as_ref() == Some(self)
    }
}

/// Every name that is fixed, for parsing and for suggestions.
const NAMES: [(&str, Meta); 13] = [
    ("file", Meta::File),
    ("file_name", Meta::FileName),
    ("gid", Meta::Gid),
    ("host", Meta::Host),
    ("id", Meta::Id),
    ("inode", Meta::Inode),
    ("input", Meta::Input),
    ("offset", Meta::Offset),
    ("pid", Meta::Pid),
    ("received", Meta::Received),
    ("seq", Meta::Seq),
    ("uid", Meta::Uid),
    ("uuid", Meta::Uuid),
];

/// All names as they are written, with commas.
pub(super) fn known() -> String {
    let names = NAMES.iter().map(|(name, _)| format!("@{name}"));
    let all = names.chain([format!("@{CAPTURE}NAME")]);
    all.collect::<Vec<_>>().join(", ")
}

/// Length in bytes of the name that `text`, what follows an `@`, begins with.
pub(super) fn name_length(text: &str) -> usize {
    let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.');
    text.bytes().take_while(is_name).count()
}

impl fmt::Display for CaptureName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = String::from_utf8_lossy(&self.0);
        f.write_str(name.trim_end_matches('\0'))
    }
}

impl fmt::Display for Meta {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Self::Capture(name) = self {
            return write!(f, "@{CAPTURE}{name}");
        }
        let name = NAMES.iter().find(|(_, known)| known == self);
        write!(f, "@{}", name.map_or("", |(name, _)| name))
    }
}

impl Meta {
    /// The metadata of that name, without the `@`.
    pub(super) fn named(name: &str) -> Option<Self> {
        if let Some(capture) = name.strip_prefix(CAPTURE) {
            return CaptureName::new(capture).map(Self::Capture);
        }
        let found = NAMES.iter().find(|(known, _)| *known == name);
        found.map(|&(_, meta)| meta)
    }

    /// Its value for `event`.
    pub(super) fn value<'a>(self, event: &Event<'a>, host: &'a Host) -> Value<'a> {
        let number = |number: Option<i64>| match number {
            Some(number) => Value::Number(Cow::Owned(number.to_string())),
            None => Value::Null,
        };
        let unsigned = |number: Option<u64>| match number {
            Some(number) => Value::Number(Cow::Owned(number.to_string())),
            None => Value::Null,
        };
        let text = |text: Option<Cow<'a, str>>| text.map_or(Value::Null, Value::Text);
        let (peer, file) = (event.source.peer, event.source.file.as_deref());
        match self {
            Self::Input => Value::Text(Cow::Borrowed(&event.source.input)),
            Self::File => text(file.map(|file| file.path.to_string_lossy())),
            Self::FileName => {
                let name = file.and_then(|file| file.path.file_name());
                text(name.map(|name| name.to_string_lossy()))
            }
            Self::Inode => unsigned(file.map(|file| file.inode)),
            Self::Offset => unsigned(event.offset),
            Self::Capture(wanted) => {
                let captures = file.map_or(&[][..], |file| &file.captures);
                let found = captures.iter().find(|(name, _)| wanted.is(name));
                text(found.map(|(_, value)| Cow::Borrowed(&**value)))
            }
            Self::Uid => number(peer.map(|peer| peer.uid.into())),
            Self::Gid => number(peer.map(|peer| peer.gid.into())),
            Self::Pid => number(peer.map(|peer| peer.pid.into())),
            Self::Host => Value::Text(Cow::Borrowed(&host.name)),
            Self::Received => number(Some(event.received)),
            Self::Seq => unsigned(Some(event.seq)),
            Self::Id => Value::Text(Cow::Owned(stable_id(host.spool_id, event.seq))),
            Self::Uuid => Value::Text(Cow::Owned(uuid::of(host.spool_id, event.seq))),
        }
    }
}

/// The id of event `seq` of a spool: the same after every retry and restart.
fn stable_id(spool_id: u64, seq: Seq) -> String {
    format!("{spool_id:016x}-{seq}")
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::event::FileSource;

    fn of_file(name: &str) -> Option<String> {
        let source = Source {
            file: Some(Arc::new(FileSource {
                inode: u64::MAX,
                device: 1,
                path: Path::new("/var/log/web/a b.log").into(),
                captures: [("app".into(), "web".into())].into(),
            })),
            ..Source::of_input("logs")
        };
        let event = Event {
            seq: 1,
            source: &source,
            offset: Some(4096),
            received: 0,
            bytes: b"x",
        };
        let meta = Meta::named(name)?;
        assert_eq!(meta.to_string(), format!("@{name}"));
        match meta.value(&event, &Host::default()) {
            Value::Text(text) | Value::Number(text) => Some(text.into_owned()),
            _ => None,
        }
    }

    #[test]
    fn an_event_of_a_file_tells_where_it_was() {
        for (name, value) in [
            ("file", "/var/log/web/a b.log"),
            ("file_name", "a b.log"),
            ("inode", "18446744073709551615"),
            ("offset", "4096"),
            ("capture.app", "web"),
        ] {
            assert_eq!(of_file(name).as_deref(), Some(value), "{name}");
        }
        assert_eq!(of_file("capture.ap"), None);
        assert_eq!(Meta::named("capture."), None);
        assert_eq!(Meta::named(&format!("capture.{}", "x".repeat(33))), None);
    }
}
