//! Help for tests: one event seen through bound references, and what a pattern means.

use super::field::{Fields, Slots, View};
use super::json::PlanBuilder;
use super::meta::{Event, Host};
use crate::event::{Peer, Source};

/// Where the events of tests come from.
pub(super) fn source() -> Source {
    Source {
        input: "app".into(),
        peer: Some(Peer {
            uid: 1000,
            gid: 100,
            pid: 7,
        }),
        file: None,
    }
}

/// Binds `thing` and looks at `event` with it; an event that is not JSON has no fields.
pub(super) fn with_bound<T: Fields, R>(
    event: &str,
    thing: &mut T,
    look: impl FnOnce(&T, &View<'_>, &Slots) -> R,
) -> R {
    let mut builder = PlanBuilder::default();
    thing.each_field(&mut |field| field.bind(&mut builder));
    let (source, host) = (
        source(),
        Host {
            name: "edge-7".into(),
            spool_id: 0xab,
        },
    );
    let event = Event {
        seq: 7,
        source: &source,
        offset: None,
        received: 1_700_000_000_123,
        bytes: event.as_bytes(),
    };
    let mut view = View::new(event, &host);
    let mut slots = Slots::default();
    let _ = view.look_inside(&builder.build(), &mut slots);
    look(thing, &view, &slots)
}

/// The textbook definition of `*` and `?` in a text without separators, to compare with.
pub(crate) fn by_definition(pattern: &str, text: &str) -> bool {
    let mut pattern = pattern.chars();
    let Some(first) = pattern.next() else {
        return text.is_empty();
    };
    let (rest, mut after) = (pattern.as_str(), text.chars());
    match (first, after.next()) {
        ('*', _) => text
            .char_indices()
            .map(|(at, _)| at)
            .chain([text.len()])
            .any(|skip| by_definition(rest, &text[skip..])),
        (_, None) => false,
        (p, Some(t)) => (p == '?' || p == t) && by_definition(rest, after.as_str()),
    }
}
