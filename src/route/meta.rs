//! What Spoolway itself knows of an event: where it came from, when, and its stable names.
//!
//! Reads no clock and asks no system; everything comes with the event or with the router.

use std::borrow::Cow;
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
    /// `@file`: path of the file that the event was read from; null for sockets.
    File,
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

/// Every name, for parsing and for suggestions.
pub(super) const NAMES: [(&str, Meta); 10] = [
    ("file", Meta::File),
    ("gid", Meta::Gid),
    ("host", Meta::Host),
    ("id", Meta::Id),
    ("input", Meta::Input),
    ("pid", Meta::Pid),
    ("received", Meta::Received),
    ("seq", Meta::Seq),
    ("uid", Meta::Uid),
    ("uuid", Meta::Uuid),
];

impl Meta {
    /// The metadata of that name, without the `@`.
    pub(super) fn named(name: &str) -> Option<Self> {
        let found = NAMES.iter().find(|(known, _)| *known == name);
        found.map(|&(_, meta)| meta)
    }

    /// Its value for `event`.
    pub(super) fn value<'a>(self, event: &Event<'a>, host: &'a Host) -> Value<'a> {
        let number = |number: Option<i64>| match number {
            Some(number) => Value::Number(Cow::Owned(number.to_string())),
            None => Value::Null,
        };
        let peer = event.source.peer;
        match self {
            Self::Input => Value::Text(Cow::Borrowed(&event.source.input)),
            // No input reads files yet, so no event has one.
            Self::File => Value::Null,
            Self::Uid => number(peer.map(|peer| peer.uid.into())),
            Self::Gid => number(peer.map(|peer| peer.gid.into())),
            Self::Pid => number(peer.map(|peer| peer.pid.into())),
            Self::Host => Value::Text(Cow::Borrowed(&host.name)),
            Self::Received => number(Some(event.received)),
            Self::Seq => Value::Number(Cow::Owned(event.seq.to_string())),
            Self::Id => Value::Text(Cow::Owned(stable_id(host.spool_id, event.seq))),
            Self::Uuid => Value::Text(Cow::Owned(uuid::of(host.spool_id, event.seq))),
        }
    }
}

/// The id of event `seq` of a spool: the same after every retry and restart.
fn stable_id(spool_id: u64, seq: Seq) -> String {
    format!("{spool_id:016x}-{seq}")
}
