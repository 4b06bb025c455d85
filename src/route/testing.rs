//! Help for the tests of this module: one event seen through bound references.

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
